"""A real Airflow with videos of every outcome, two users of different rights, and a real browser."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from packaging.version import Version
from PIL import Image
from stack import AirflowStack

from airflow_provider_grokvideo.core import cards
from airflow_provider_grokvideo.emulator import Emulator

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
PASSWORDS = {"admin": "admin", "guest": "guest"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
OF_AIRFLOW = "signal is aborted without reason"
"""What Airflow 3.2's own page says when it is left while it loads."""

ASKING = ("awaiting_input", "deferred")
"""States of a task that has asked a person: from Airflow 3.3 on, and before."""

TROUBLES = {
    "moderated:b": "Something that must not be shown",
    "failed:internal_error": "A machine that breaks",
    "expired": "A dream that is forgotten",
    "lost_answer": "An echo in a tunnel",
}

TABLE_TROUBLES = {"moderated:b": "A fight that nobody should see", "failed:internal_error": "A clock without hands"}
"""Of rows of a table."""


@dataclass
class Studio:
    """The stack with its videos.

    Attributes:
        stack: Airflow.
        emulator: The service.
        out: Where the videos are.
        runs: The run id of each DAG.
    """

    stack: AirflowStack
    emulator: Emulator
    out: Path
    runs: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Airflow's address."""
        return self.stack.url

    def query(self, dag_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return a task instance as the query of a route."""
        return {"dag_id": dag_id, "run_id": self.runs[dag_id], "task_id": task_id, "map_index": map_index}

    def tab(self, dag_id: str, task_id: str, map_index: int = -1) -> str:
        """Return the address of a task instance's Video tab in Airflow's UI."""
        mapped = "" if map_index < 0 else f"/mapped/{map_index}"
        return f"{self.url}/dags/{dag_id}/runs/{self.runs[dag_id]}/tasks/{task_id}{mapped}/plugin/grokvideo"

    def page(self, dag_id: str, task_id: str, map_index: int = -1) -> str:
        """Return the address of a task instance's page outside of Airflow's UI."""
        return str(httpx.URL(f"{self.url}/grokvideo/video", params=self.query(dag_id, task_id, map_index)))

    def card(self, dag_id: str, task_id: str) -> str:
        """Return the path of a card in Airflow's REST API."""
        run_id = quote(self.runs[dag_id], safe="")
        return f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{cards.KEY}"

    @contextmanager
    def edited(self, dag_id: str, task_id: str) -> Iterator[Callable[[Any], None]]:
        """Yield how to write another value for a card, as people can who may edit XCom; it is put back afterwards.

        A dict without a schema is written over the card's parts; all else takes its place.
        """
        path = self.card(dag_id, task_id)
        before = self.stack.api.call("GET", path)["value"]
        while isinstance(before, str):
            before = json.loads(before)

        def write(change: Any) -> None:
            value = {**before, **change} if isinstance(change, dict) and "schema" not in change else change
            self.stack.api.call("PATCH", path, json={"value": value, "map_index": -1})

        try:
            yield write
        finally:
            write({})

    def get(self, path: str, user: str | None = "admin", *, headers: dict[str, str] | None = None, **query: Any) -> Any:
        """Ask a route of the page as a user; nobody is logged in with None."""
        known = {} if user is None else {"Authorization": f"Bearer {self.token(user)}"}
        with httpx.Client(base_url=self.url, trust_env=False, timeout=60) as client:
            return client.get(f"/grokvideo/{path}", params=query, headers={**known, **(headers or {})})

    def token(self, user: str) -> str:
        """Return a token of a user."""
        answer = httpx.post(
            f"{self.url}/auth/token", json={"username": user, "password": PASSWORDS[user]}, trust_env=False, timeout=60
        )
        return str(answer.json()["access_token"])

    def wait(self, dag_id: str, settled: Callable[[list[dict[str, Any]]], bool], timeout: float = 150.0) -> None:
        """Wait until the task instances of a run are as they should be."""
        deadline = time.monotonic() + timeout
        while not settled(found := self.stack.api.task_instances(dag_id, self.runs[dag_id])):
            states = {each["task_id"]: each["state"] for each in found}
            assert time.monotonic() < deadline, f"{dag_id} is not as it should be: {states}"
            time.sleep(0.5)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the browser's tests last: Playwright leaves its event loop running here, and no other can run beside it."""
    items.sort(key=lambda item: "browser" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Start Airflow and the emulator, and make the videos."""
    home = tmp_path_factory.mktemp("airflow")
    out = tmp_path_factory.mktemp("videos")
    picture = out / "picture.png"
    Image.new("RGB", (640, 360), (40, 90, 160)).save(picture)
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS))
    # Every look tells the progress: with every second answer empty, the triggerer's looks could get all that tell it.
    with Emulator(tempo="seconds:4", quirks={"pending_body": "json"}) as emulator:
        for fault, prompt in (*TROUBLES.items(), *TABLE_TROUBLES.items()):
            emulator.script(fault, prompt=prompt)
        emulator.script("wrong_bytes", prompt="A letter in a bottle", times=9)
        connection = {
            "conn_type": "grokvideo",
            "host": emulator.base_url,
            "password": emulator.api_key,
            "extra": {"poll_interval": 1},
        }
        env = {
            "AIRFLOW_CONN_GROKVIDEO_DEFAULT": json.dumps(connection),
            "GROKVIDEO_TEST_OUTPUT": str(out),
            "GROKVIDEO_TEST_PICTURE": str(picture),
            "AIRFLOW__CORE__AUTH_MANAGER": "per_dag.PerDagAuthManager",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,guest:viewer",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])),
        }
        if Version(version("apache-airflow")) < Version("3.3"):
            env["AIRFLOW__GROKVIDEO__JOURNAL_PATH"] = str(tmp_path_factory.mktemp("journal"))
        with AirflowStack(home, HERE / "dags", env, login=("admin", PASSWORDS["admin"])) as stack:
            studio = Studio(stack, emulator, out)
            for dag_id in ("films", "troubles", "secret_films", "reviewed", "tables"):
                studio.runs[dag_id] = stack.api.trigger(dag_id)
            studio.wait("films", _ended)
            studio.wait("secret_films", _ended)
            studio.wait("tables", _ended)
            studio.wait("reviewed", lambda found: _ended([ti for ti in found if ti["task_id"] == "film"]))
            studio.wait("troubles", lambda found: _ended([ti for ti in found if ti["task_id"] != "asking"]))
            emulator.set_tempo("seconds:3600")
            studio.runs["patience"] = stack.api.trigger("patience")
            under_way = {"waiting": "deferred", "sensed": "deferred", "late": "failed", "submitted": "success"}
            studio.wait("reviewed", lambda found: {"success"} < {ti["state"] for ti in found} <= {"success", *ASKING})
            studio.wait("patience", lambda found: under_way == {ti["task_id"]: ti["state"] for ti in found})
            yield studio


def _ended(found: list[dict[str, Any]]) -> bool:
    return bool(found) and all(ti["state"] in ("success", "failed", "skipped") for ti in found)


def chromium() -> str | None:
    """Return where Chromium is on this machine."""
    named = os.environ.get("GROKVIDEO_BROWSER")
    return named or next((found for name in BROWSERS if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium without a window."""
    where = chromium()
    if where is None:
        told = "no Chromium here: install Debian's package chromium, or name one in GROKVIDEO_BROWSER"
        if os.environ.get("GROKVIDEO_NEED_BROWSER"):
            pytest.fail(told)
        pytest.skip(told)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=where, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def tolerated() -> Callable[[str], None]:
    """Return how to name an HTTP status that a test asks for on purpose: browsers log it as an error."""
    known: list[str] = []

    def tolerate(status: str) -> None:
        known.append(f"status of {status}")

    tolerate.known = known  # type: ignore[attr-defined]
    return tolerate


@pytest.fixture
def open_page(browser: Browser, studio: Studio, tolerated: Any) -> Iterator[Callable[..., Page]]:
    """Return how to open a page as a user; a word in the browser's console that is an error fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_(
        address: str, *, user: str | None = "admin", dark: bool = False, width: int = 1280, height: int = 900
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            base_url=studio.url,
            timezone_id="UTC",
        )
        contexts.append(context)
        if user is not None:
            context.add_cookies([{"name": "_token", "value": studio.token(user), "url": studio.url}])
        theme = "dark" if dark else "light"
        context.add_init_script(f"try {{ localStorage.setItem('theme', '{theme}') }} catch {{}}")
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("console", lambda said: complaints.append(f"{page.url}: {said.text}") if said.type == "error" else None)
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    known = (*tolerated.known, OF_AIRFLOW)
    assert [] == [each for each in complaints if not any(text in each for text in known)]
