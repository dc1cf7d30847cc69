"""The emulator as the measurements use it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from processes import Family, ProcessFailed, clean_environment, tail


class Emulator:
    """The emulator in a process of its own, with the clip of all videos rendered already.

    Args:
        home: A folder for its files.
        tempo: How long a video takes, in the emulator's words.
        request: What all videos ask for.
    """

    def __init__(self, home: Path, tempo: str, request: Mapping[str, Any]) -> None:
        self._home = home
        self._tempo = tempo
        self._request = request
        self._family = Family()
        self.connection: dict[str, str] = {}

    def __enter__(self) -> Emulator:
        try:
            self._start()
            self._render()
        except BaseException:
            self._family.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._family.stop()

    def reset(self) -> None:
        """Forget all videos and counts; the rendered clip stays."""
        self._control("POST", "reset")

    def ledger(self) -> dict[str, Any]:
        """Return what was accepted and how often each video was looked at."""
        known: dict[str, Any] = self._control("GET", "ledger")
        return known

    def _start(self) -> None:
        ready = self._home / "emulator.json"
        # Hand-written code reads JSON from every answer, also from "not yet".
        options = ["--tempo", self._tempo, "--quirk", "pending_body=json", "--ready-file", str(ready)]
        process = self._family.add(
            "emulator",
            [sys.executable, "-m", "airflow_provider_grokvideo.emulator", *options],
            env=clean_environment(),
            log=self._home / "emulator.log",
            cwd=self._home,
        )
        process.start()
        deadline = time.monotonic() + 30
        while not ready.exists():
            process.check()
            if time.monotonic() > deadline:
                raise ProcessFailed(f"The emulator was not ready after 30 s. Its last lines:\n{tail(process.log)}")
            time.sleep(0.1)
        known = json.loads(ready.read_text())
        self.connection = {"conn_type": "grokvideo", "host": known["base_url"], "password": known["api_key"]}

    def _render(self) -> None:
        prompt = f"{self._request['prompt']} [[emulator: tempo=at-once]]"
        with httpx.Client(
            base_url=self.connection["host"],
            headers={"Authorization": f"Bearer {self.connection['password']}"},
            timeout=60,
            trust_env=False,
        ) as client:
            words = {"model": "grok-imagine-video", **self._request, "prompt": prompt}
            request_id = client.post("/videos/generations", json=words).raise_for_status().json()["request_id"]
            job = client.get(f"/videos/{request_id}").raise_for_status().json()
        httpx.get(job["video"]["url"], timeout=60, trust_env=False).raise_for_status()

    def _control(self, method: str, what: str) -> Any:
        origin = self.connection["host"].removesuffix("/v1")
        answer = httpx.request(method, f"{origin}/_emulator/{what}", timeout=30, trust_env=False)
        return answer.raise_for_status().json()
