"""The places a journal may be in, and a gate before S3 that loses answers, refuses, or knows no conditions."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_grokvideo.storage.directories import LocalTree, ObjectTree, Storage, open_tree

ERROR = "<Error><Code>{code}</Code><Message>{text}</Message></Error>"


class Gate:
    """Stands before an S3 server and passes everything on, except where it is told otherwise.

    Attributes:
        url: Its own address.
        loses: How many answers to a write get lost on their way back.
        refuses: Whether everything is forbidden.
        knows_conditions: Whether it takes a write that must not overwrite.
    """

    def __init__(self, server: str) -> None:
        self.server = server
        self.url = ""
        self.loses = 0
        self.refuses = False
        self.knows_conditions = True

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        if self.refuses:
            return self._send(handler, 403, "AccessDenied", "Access Denied")
        if not self.knows_conditions and "If-None-Match" in handler.headers:
            words = "A header you provided implies functionality that is not implemented"
            return self._send(handler, 501, "NotImplemented", words)
        passed = {name: value for name, value in handler.headers.items() if name.lower() != "host"}
        found = httpx.request(
            handler.command, f"{self.server}{handler.path}", headers=passed, content=body, trust_env=False
        )
        if handler.command == "PUT" and self.loses:
            self.loses -= 1
            handler.close_connection = True
            return None
        handler.send_response(found.status_code)
        for name, value in found.headers.items():
            if name.lower() not in ("content-length", "connection", "date", "server", "transfer-encoding"):
                handler.send_header(name, value)
        length_of_object = found.headers.get("content-length", "0")
        handler.send_header(
            "Content-Length", length_of_object if handler.command == "HEAD" else str(len(found.content))
        )
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(found.content)
        return None

    def _send(self, handler: BaseHTTPRequestHandler, status: int, code: str, text: str) -> None:
        content = ERROR.format(code=code, text=text).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/xml")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)


@pytest.fixture
def gate(s3: Any, _s3_server: str) -> Iterator[Gate]:
    """Put a gate before S3 and attach what is behind it in its place."""
    import s3fs
    from airflow.sdk.io import attach
    from airflow.sdk.io.store import _STORE_CACHE

    state = Gate(_s3_server)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            state.answer(self)

        def do_HEAD(self) -> None:
            state.answer(self)

        def do_PUT(self) -> None:
            state.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        _STORE_CACHE.pop("s3", None)
        fs = s3fs.S3FileSystem(
            key="test",
            secret="test",
            endpoint_url=state.url,
            client_kwargs={"region_name": "us-east-1"},
            config_kwargs={"retries": {"max_attempts": 1}, "connect_timeout": 2},
            skip_instance_cache=True,
        )
        attach("s3", fs=fs)
        yield state
        http.shutdown()
        thread.join(5)


def no_links(source: Any, target: Any) -> None:
    """Fail as a filesystem without hard links does."""
    raise OSError(95, "Operation not supported")


@pytest.fixture(params=["local", "local without links", "s3", "memory", "directories elsewhere"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Return an empty journal directory in each kind of place."""
    match request.param:
        case "s3" | "memory":
            return open_tree(f"{request.getfixturevalue(request.param).url}/journal")
        case "directories elsewhere":
            from fsspec.implementations.local import LocalFileSystem

            # As on SFTP: nothing makes directories but us.
            fs = LocalFileSystem(auto_mkdir=False, skip_instance_cache=True)
            return ObjectTree(fs, str(tmp_path / "journal"), "sftp://host/journal")
        case "local without links":
            monkeypatch.setattr(os, "link", no_links)
    return LocalTree(tmp_path / "journal")


@pytest.fixture(params=["local", "local without links", "s3"])
def exclusive_tree(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Return an empty journal directory in each kind of place where creating is exclusive."""
    if request.param == "s3":
        return open_tree(f"{request.getfixturevalue('s3').url}/journal")
    if request.param == "local without links":
        monkeypatch.setattr(os, "link", no_links)
    return LocalTree(tmp_path / "journal")


@pytest.fixture
def at_once() -> Callable[[int, Callable[[int], Any]], list[Any]]:
    """Return how to call a function in so many threads at the same moment; it gets the thread's number."""

    def run(count: int, call: Callable[[int], Any]) -> list[Any]:
        ready = threading.Barrier(count)
        results: list[Any] = [None] * count

        def one(number: int) -> None:
            ready.wait(20)
            try:
                results[number] = call(number)
            except Exception as error:  # noqa: BLE001 - the caller looks at it
                results[number] = error

        threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return results

    return run
