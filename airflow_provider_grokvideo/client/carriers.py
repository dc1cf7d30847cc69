"""HTTP clients of workers and triggerer, on httpx."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import platform
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from airflow_provider_grokvideo.client import exchange
from airflow_provider_grokvideo.client.account import Account
from airflow_provider_grokvideo.client.exchange import Reading, Sending, watchdog
from airflow_provider_grokvideo.client.flow import Call, Flow, Pause, Reply, refusal
from airflow_provider_grokvideo.client.logs import cut_logs
from airflow_provider_grokvideo.client.tls import trust
from airflow_provider_grokvideo.core.errors import ServiceUnavailable
from airflow_provider_grokvideo.core.redaction import foreign, without_key
from airflow_provider_grokvideo.core.retrying import TransportFault
from airflow_provider_grokvideo.provider_info import __version__

T = TypeVar("T")

CHUNK = 1024 * 1024

KEPT_OPEN = 60.0
"""Seconds that an idle connection of the triggerer stays open: polls are often more than httpx's 5 s apart, and a new
TLS connection costs more than the rest of a poll."""

LARGEST_FILE = 500 * 1024 * 1024
"""Largest stored file in bytes, the same as for a download."""

LONGEST_SAVE = 900.0
"""Seconds that the download of a stored file may take in total."""

log = logging.getLogger(__name__)


PARSED_HERE = 64 * 1024
"""Largest response in bytes that the triggerer parses in its event loop; larger ones are parsed in a thread."""


def user_agent() -> str:
    """Return the User-Agent header: package, Python and httpx with their versions."""
    return f"airflow-provider-grokvideo/{__version__} python/{platform.python_version()} httpx/{httpx.__version__}"


class Client:
    """HTTP client of a worker. Not thread-safe; close it, or use it as a context manager."""

    def __init__(self, account: Account, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._account = account
        self._sleep = sleep
        self._http = _client(httpx.Client, account)
        self._open: Any = None
        self._paid = Sending()

    def run(self, flow: Flow[T]) -> T:
        """Run a flow and return its result."""
        outcome: Reply | TransportFault | None = None
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

    @property
    def may_have_bought(self) -> bool:
        """Whether any byte of the last submit reached a socket; if so, an interruption left it unconfirmed."""
        return self._paid.began

    @cut_logs()
    def save(self, path: str, into: Path) -> tuple[str, int]:
        """Download a path below the base URL into a file; return its SHA-256 and its length.

        Raises:
            GrokVideoError: The service refused, or the transfer was interrupted.
        """
        call, sending = Call("GET", path), Sending(stream=self._open, plain=self._account.is_plain)
        until = time.monotonic() + LONGEST_SAVE
        try:
            request = self._http.build_request(call.method, _url(self._account, call), **_per_call(self._account, call))
            request.extensions["trace"] = sending.trace
            with watchdog(sending, until), closing(self._http.send(request, stream=True)) as answer:
                if answer.status_code != 200:
                    reading = Reading(answer.headers, until)
                    for chunk in answer.iter_raw():
                        reading.take(chunk)
                    raise refusal(_reply(self._account, call, answer, reading))
                return _written(answer, into)
        except (httpx.HTTPError, exchange.AnswerTooLarge) as problem:
            what = exchange.fault(problem, sending, self._account.api_key).what
            raise ServiceUnavailable(f"{call} was interrupted: {what}") from problem

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _send(self, call: Call) -> Reply | TransportFault:
        sending = Sending(stream=self._open, plain=self._account.is_plain)
        if call.paid:
            self._paid = sending
        try:
            with cut_logs(), _body(call) as body, self._for(call) as http:
                request = http.build_request(
                    call.method, _url(self._account, call), **_per_call(self._account, call), **body
                )
                request.extensions["trace"] = sending.trace
                until = time.monotonic() + _longest(self._account, call)
                with watchdog(sending, until):
                    answer = http.send(request, stream=True)
                    with closing(answer):
                        reading = Reading(answer.headers, until)
                        for chunk in answer.iter_raw():
                            reading.take(chunk)
                self._open = None if call.paid else sending.stream
            return _reply(self._account, call, answer, reading)
        except Exception as problem:  # noqa: BLE001 - whether it was sent is what counts, not what the error is called
            return exchange.fault(problem, sending, self._account.api_key)

    @contextmanager
    def _for(self, call: Call) -> Iterator[httpx.Client]:
        if not call.paid:
            yield self._http
            return
        # A submit on a kept-alive connection that the server just closed would be lost without telling whether it
        # arrived, so each submit has a connection of its own.
        with _client(httpx.Client, self._account) as http:
            yield http


def _written(answer: httpx.Response, into: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with into.open("wb") as file:
        for chunk in answer.iter_bytes(CHUNK):
            size += len(chunk)
            if size > LARGEST_FILE:
                raise exchange.AnswerTooLarge(f"the file is larger than {LARGEST_FILE} bytes")
            file.write(chunk)
            digest.update(chunk)
    return digest.hexdigest(), size


class AsyncClient:
    """HTTP client of the triggerer. Bound to one event loop; close it, or use it as a context manager.

    Args:
        account: The account.
        sleep: Waits for the seconds of a pause.
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
        self._http = _client(httpx.AsyncClient, account, limits=limits)

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow and return its result."""
        outcome: Reply | TransportFault | None = None
        try:
            while True:
                step = await _next(flow, outcome)
                if isinstance(step, Pause):
                    await self._sleep(step.seconds)
                    outcome = None
                else:
                    outcome = await self._send(step)
        except _Ended as end:
            result: T = end.value
            return result

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def _send(self, call: Call) -> Reply | TransportFault:
        from anyio import fail_after

        sending, seconds = Sending(plain=self._account.is_plain), _longest(self._account, call)
        try:
            with cut_logs(), _body(call) as body:
                async with self._for(call) as http:
                    request = http.build_request(
                        call.method, _url(self._account, call), **_per_call(self._account, call), **body
                    )
                    request.extensions["trace"] = sending.atrace
                    # Not by asyncio.wait_for: its task outlives a second cancellation, and the socket with it.
                    with fail_after(seconds):
                        answer, reading = await _exchanged(http, request, seconds)
            return _reply(self._account, call, answer, reading)
        except TimeoutError:
            return exchange.fault(httpx.ReadTimeout("the response did not end in time"), sending, self._account.api_key)
        except Exception as problem:  # noqa: BLE001 - whether it was sent is what counts, not what the error is called
            return exchange.fault(problem, sending, self._account.api_key)

    @asynccontextmanager
    async def _for(self, call: Call) -> AsyncIterator[httpx.AsyncClient]:
        if not call.paid:
            yield self._http
            return
        async with _client(httpx.AsyncClient, self._account) as http:
            yield http


async def _exchanged(http: httpx.AsyncClient, request: httpx.Request, seconds: float) -> tuple[httpx.Response, Reading]:
    answer = await http.send(request, stream=True)
    try:
        reading = Reading(answer.headers, time.monotonic() + seconds)
        async for chunk in answer.aiter_raw():
            reading.take(chunk)
    finally:
        await answer.aclose()
    return answer, reading


class _Ended(Exception):
    """A flow's result; StopIteration cannot leave a coroutine."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


async def _next(flow: Flow[Any], outcome: Reply | TransportFault | None) -> Call | Pause:
    """Run the next step of a flow; a large response is parsed in a thread, so that other waits continue."""

    def step() -> Call | Pause:
        try:
            return flow.send(outcome)
        except StopIteration as end:
            raise _Ended(end.value) from None

    if isinstance(outcome, Reply) and len(outcome.body) > PARSED_HERE:
        return await asyncio.to_thread(step)
    return step()


def _client(kind: Callable[..., T], account: Account, **more: Any) -> T:
    """Create an httpx client.

    Raises:
        ServiceUnavailable: A proxy setting or a certificate file is invalid; nothing was sent.
    """
    try:
        return kind(**_settings(account), **more)
    except Exception as problem:
        raise exchange.unusable(problem) from problem


def _settings(account: Account) -> dict[str, Any]:
    return {
        "headers": {
            "Authorization": f"Bearer {account.api_key}",
            "User-Agent": user_agent(),
            "Accept-Encoding": "identity",
        },
        "follow_redirects": False,
        # A proxy cannot reach the worker's own loopback, and must not see an emulator's traffic or a key in plain http.
        "trust_env": not account.is_local and not account.is_plain,
        "verify": trust(),
        "timeout": account.timeout,
    }


def _seconds(account: Account, call: Call) -> float:
    return account.submit_timeout if call.paid or call.upload else account.timeout


def _longest(account: Account, call: Call) -> float:
    """Return the seconds that a whole exchange may take, with any number of reads."""
    # An upload takes as long as its bytes do.
    return exchange.PATIENCE * _seconds(account, call) * (10 if call.upload else 1)


def _per_call(account: Account, call: Call) -> dict[str, Any]:
    seconds = _seconds(account, call)
    typed = {} if call.json is None else {"Content-Type": "application/json"}
    return {
        "headers": {"x-client-request-id": call.client_id, **typed},
        "timeout": httpx.Timeout(seconds, connect=min(seconds, account.timeout)),
    }


def _url(account: Account, call: Call) -> str:
    return f"{account.base_url}{call.path}"


@contextmanager
def _body(call: Call) -> Iterator[dict[str, Any]]:
    if call.upload is None:
        body = exchange.encoded(call.json)
        yield {} if body is None else {"content": body}
        return
    with call.upload.path.open("rb") as stream:
        yield {"data": call.form, "files": {"file": (call.upload.filename, stream, call.upload.mime)}}


def _reply(account: Account, call: Call, answer: httpx.Response, reading: Reading) -> Reply:
    # One line for each submit, so that a log has xAI's own id of it; polls are too many for that.
    level = logging.INFO if call.paid else logging.DEBUG
    headers = {name: without_key(value, account.api_key) for name, value in answer.headers.items()}
    service_id = foreign(headers.get("x-request-id", ""), 100) or None
    log.log(
        level,
        "%s: HTTP %s, x-request-id %s, x-client-request-id %s",
        call,
        answer.status_code,
        service_id,
        call.client_id,
    )
    return Reply(answer.status_code, headers, reading.body(account.api_key))
