"""Send what a flow says, with httpx: once for workers, once for the triggerer."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import platform
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from airflow_provider_grokvideo.client.account import Account
from airflow_provider_grokvideo.client.flow import Call, Flow, Pause, Reply, refusal
from airflow_provider_grokvideo.client.tls import trust
from airflow_provider_grokvideo.core.errors import ServiceUnavailable
from airflow_provider_grokvideo.core.retrying import Fault
from airflow_provider_grokvideo.provider_info import __version__

T = TypeVar("T")

CHUNK = 1024 * 1024

KEPT_OPEN = 60.0
"""Seconds that an unused connection of the triggerer stays open: looks are often more than httpx's 5 s apart, and a new
TLS connection costs more than all the rest of a look."""

log = logging.getLogger(__name__)


_LASTING = ("the server's TLS certificate is not trusted", "the host name is not known")
"""What is wrong now is wrong a second later, too."""


def user_agent() -> str:
    """Return how we name ourselves: package, version and Python."""
    return f"airflow-provider-grokvideo/{__version__} python/{platform.python_version()} httpx/{httpx.__version__}"


class Client:
    """Runs flows for a worker. Not thread-safe; close it, or use it as a context manager."""

    def __init__(self, account: Account, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._account = account
        self._sleep = sleep
        self._http = httpx.Client(**_settings(account))

    def run(self, flow: Flow[T]) -> T:
        """Carry out a flow and return its result."""
        outcome: Reply | Fault | None = None
        try:
            while True:
                step = flow.send(outcome)
                if isinstance(step, Pause):
                    self._sleep(step.seconds)
                    outcome = None
                else:
                    outcome = self._send(step)
        except StopIteration as end:
            result: T = end.value
            return result

    def save(self, path: str, into: Path) -> tuple[str, int]:
        """Stream what is below the base URL into a file; return its SHA-256 and its length.

        Raises:
            GrokVideoError: The service refused, or the transfer broke off.
        """
        digest, size = hashlib.sha256(), 0
        call = Call("GET", path)
        try:
            with (
                self._http.stream(call.method, _url(self._account, call), **_per_call(self._account, call)) as answer,
                into.open("wb") as file,
            ):
                if answer.status_code != 200:
                    raise refusal(Reply(answer.status_code, answer.headers, answer.read()))
                for chunk in answer.iter_bytes(CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
        except httpx.HTTPError as problem:
            raise ServiceUnavailable(f"{call} broke off: {_describe(problem)}") from problem
        return digest.hexdigest(), size

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _send(self, call: Call) -> Reply | Fault:
        try:
            with _body(call) as body, self._for(call) as http:
                answer = http.request(call.method, _url(self._account, call), **body, **_per_call(self._account, call))
        except httpx.HTTPError as problem:
            return _fault(problem)
        return _reply(call, answer)

    @contextmanager
    def _for(self, call: Call) -> Iterator[httpx.Client]:
        if not call.paid:
            yield self._http
            return
        # A start on a kept-alive connection that the server just closed would be lost without telling whether it
        # arrived, so each start has a connection of its own.
        with httpx.Client(**_settings(self._account)) as http:
            yield http


class AsyncClient:
    """Runs flows for the triggerer. Bound to one event loop; close it, or use it as a context manager.

    Args:
        account: Where to send calls.
        sleep: Carries out pauses.
        connections: The most connections to keep open at once.
    """

    def __init__(
        self,
        account: Account,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        connections: int = 10,
    ) -> None:
        self._account = account
        self._sleep = sleep
        limits = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEPT_OPEN
        )
        self._http = httpx.AsyncClient(**_settings(account), limits=limits)

    async def run(self, flow: Flow[T]) -> T:
        """Carry out a flow and return its result."""
        outcome: Reply | Fault | None = None
        try:
            while True:
                step = flow.send(outcome)
                if isinstance(step, Pause):
                    await self._sleep(step.seconds)
                    outcome = None
                else:
                    outcome = await self._send(step)
        except StopIteration as end:
            result: T = end.value
            return result

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def _send(self, call: Call) -> Reply | Fault:
        try:
            with _body(call) as body:
                async with self._for(call) as http:
                    answer = await http.request(
                        call.method, _url(self._account, call), **body, **_per_call(self._account, call)
                    )
        except httpx.HTTPError as problem:
            return _fault(problem)
        return _reply(call, answer)

    @asynccontextmanager
    async def _for(self, call: Call) -> AsyncIterator[httpx.AsyncClient]:
        if not call.paid:
            yield self._http
            return
        async with httpx.AsyncClient(**_settings(self._account)) as http:
            yield http


def _settings(account: Account) -> dict[str, Any]:
    return {
        "headers": {"Authorization": f"Bearer {account.api_key}", "User-Agent": user_agent()},
        "follow_redirects": False,
        # A proxy cannot reach the worker's own loopback, and must not see an emulator's traffic.
        "trust_env": not account.is_local,
        "verify": trust(),
        "timeout": account.timeout,
    }


def _per_call(account: Account, call: Call) -> dict[str, Any]:
    seconds = account.submit_timeout if call.paid or call.upload else account.timeout
    return {
        "headers": {"x-client-request-id": str(uuid.uuid4())},
        "timeout": httpx.Timeout(seconds, connect=min(seconds, account.timeout)),
    }


def _url(account: Account, call: Call) -> str:
    return f"{account.base_url}{call.path}"


@contextmanager
def _body(call: Call) -> Iterator[dict[str, Any]]:
    if call.upload is None:
        yield {} if call.json is None else {"json": call.json}
        return
    with call.upload.path.open("rb") as stream:
        yield {"data": call.form, "files": {"file": (call.upload.filename, stream, call.upload.mime)}}


def _reply(call: Call, answer: httpx.Response) -> Reply:
    # One line for each start, so that a log tells the service's own name for it; looks are too many for that.
    level = logging.INFO if call.paid else logging.DEBUG
    log.log(level, "%s: HTTP %s, x-request-id %s", call, answer.status_code, answer.headers.get("x-request-id"))
    return Reply(answer.status_code, answer.headers, answer.content)


def _fault(problem: httpx.HTTPError) -> Fault:
    """Say whether the service can have received a call that failed with `problem`."""
    what = _describe(problem)
    match problem:
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout() | httpx.ProxyError():
            return Fault("not_sent", what, lasting=what.startswith(_LASTING))
        case httpx.UnsupportedProtocol() | httpx.LocalProtocolError():
            return Fault("not_sent", what, lasting=True)
        case _:
            return Fault("unknown", what)


def _describe(problem: httpx.HTTPError) -> str:
    said = str(problem) or type(problem).__name__
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return f"{_LASTING[0]}: {said}"
    if "SSL" in said or "TLS" in said:
        return f"TLS failed: {said}"
    if isinstance(problem, httpx.ConnectError) and (
        "Name or service" in said or "getaddrinfo" in said or "resolution" in said
    ):
        return f"{_LASTING[1]}: {said}"
    if isinstance(problem, httpx.TimeoutException):
        return f"timed out ({type(problem).__name__})"
    return said
