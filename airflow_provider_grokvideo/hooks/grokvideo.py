"""Airflow hook for the Grok video API."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseHook

from airflow_provider_grokvideo.client import flow
from airflow_provider_grokvideo.client.account import ENV_KEY, Account, account_from, account_from_env, check_conn_id
from airflow_provider_grokvideo.compat import AirflowNotFoundException, conf
from airflow_provider_grokvideo.core.errors import AuthenticationFailed, GrokVideoError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_grokvideo.client.carriers import AsyncClient, Client
    from airflow_provider_grokvideo.core.jobs import Job, StoredFile
    from airflow_provider_grokvideo.core.requests import VideoRequest

INPUT_FILE_SECONDS = 24 * 3600
"""Seconds that xAI keeps an uploaded input: longer than any request takes."""


class GrokVideoHook(BaseHook):
    """Client of the Grok video API with the key of an Airflow connection.

    The connection's password is the API key and its host the base URL (default ``https://api.x.ai/v1``). Extra fields:
    ``timeout``, ``submit_timeout`` and ``poll_interval`` in seconds, ``requests_per_second``, ``witness``,
    ``allow_http``. If the connection does not exist and ``[grokvideo] allow_env_key`` is on, the key is taken from the
    environment variable ``XAI_API_KEY``.

    :param grokvideo_conn_id: Airflow connection of type ``grokvideo``.
    """

    conn_name_attr = "grokvideo_conn_id"
    default_conn_name = "grokvideo_default"
    conn_type = "grokvideo"
    hook_name = "Grok video"

    def __init__(self, grokvideo_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grokvideo_conn_id = grokvideo_conn_id
        self._known: Account | None = None

    def get_conn(self) -> Client:
        """Return the sync client; the hook has one."""
        return self._client

    async def get_async_conn(self) -> AsyncClient:
        """Return a new async client for the running event loop; close it."""
        from airflow_provider_grokvideo.client.carriers import AsyncClient

        return AsyncClient(await self.aaccount())

    def account(self) -> Account:
        """Return the account of the connection, which is looked up once.

        :raises AuthenticationFailed: The connection does not exist or has no key.
        :raises InvalidInput: Its host or another field is invalid.
        """
        if self._known is None:
            check_conn_id(self.grokvideo_conn_id)
            try:
                connection = self.get_connection(self.grokvideo_conn_id)
            except AirflowNotFoundException:
                self._known = self._without_connection()
            else:
                self._known = self._with_connection(connection, connection.extra_dejson)
        return self._known

    def use(self, account: Account) -> None:
        """Use an account instead of the connection's."""
        self._known = account

    async def aaccount(self) -> Account:
        """Return the account as :meth:`account`, without blocking the event loop."""
        if self._known is None:
            check_conn_id(self.grokvideo_conn_id)
            try:
                connection = await self.aget_connection(self.grokvideo_conn_id)
            except AirflowNotFoundException:
                self._known = self._without_connection()
            else:
                self._known = self._with_connection(connection, connection.extra_dejson)
        return self._known

    def submit(self, request: VideoRequest, *, client_id: str | None = None) -> str:
        """Submit a request, which costs money. It is not sent again if xAI may have accepted it.

        :param client_id: The ``x-client-request-id`` of all attempts, for xAI support; a random one if not given.
        :returns: The request id.
        :raises AmbiguousSubmit: The response was lost; the request may be accepted and billed.
        :raises RequestRejected: xAI refused the request; nothing was accepted.
        """
        return self._run(flow.submit(request, client_id=client_id))

    @property
    def may_have_bought(self) -> bool:
        """Whether any byte of the last submit reached a socket; if so, an interruption left it unconfirmed."""
        return "_client" in self.__dict__ and self._client.may_have_bought

    def get_job(self, request_id: str, *, uploads: bool = False) -> Job:
        """Poll a request once; polls are free.

        :param uploads: The request has ``output.upload_url``, so done without a link is a success.
        :raises AuthenticationFailed: The key was refused; this says nothing about the request.
        :raises ServiceUnavailable: There was no usable response; this says nothing about the request.
        """
        return _seen(self._run(flow.poll(request_id, uploads=uploads)), self.grokvideo_conn_id)

    async def aget_job(self, request_id: str, *, uploads: bool = False) -> Job:
        """Poll a request once, as :meth:`get_job`, without blocking the event loop."""
        try:
            async with await self.get_async_conn() as client:
                found = await client.run(flow.poll(request_id, uploads=uploads))
        except GrokVideoError as error:
            raise error.about(conn_id=self.grokvideo_conn_id) from None
        return _seen(found, self.grokvideo_conn_id)

    def upload(self, path: Path, filename: str, mime: str) -> str:
        """Upload an input file and return its file id; xAI deletes it after a day."""
        return self._run(flow.upload(flow.Upload(path, filename, mime), expires_after=INPUT_FILE_SECONDS))

    def download(self, file_id: str, into: Path) -> tuple[str, int]:
        """Download a file stored by xAI into a local one; return its SHA-256 and its length."""
        try:
            return self.get_conn().save(f"/files/{quote(file_id, safe='')}/content", into)
        except GrokVideoError as error:
            raise error.about(conn_id=self.grokvideo_conn_id) from error.__cause__

    def find_file(self, filename: str) -> StoredFile | None:
        """Find the stored file with exactly this name; free. A missing file proves nothing."""
        return self._run(flow.find_file(filename))

    def test_connection(self) -> tuple[bool, str]:
        """Check the API key, its team and its models; this is free."""
        try:
            with self.get_conn() as client:
                key = client.run(flow.document("/api-key"))
                me = _optional(client, "/me")
                models = _optional(client, "/video-generation-models")
        except GrokVideoError as error:
            return False, str(error.about(conn_id=self.grokvideo_conn_id))
        finally:
            self.__dict__.pop("_client", None)
        return _health(key, me, models)

    @cached_property
    def _client(self) -> Client:
        from airflow_provider_grokvideo.client.carriers import Client

        return Client(self.account())

    def _run(self, steps: flow.Flow[flow.T]) -> flow.T:
        try:
            return self.get_conn().run(steps)
        except GrokVideoError as error:
            raise error.about(conn_id=self.grokvideo_conn_id) from None

    def _with_connection(self, connection: Connection, extra: Mapping[str, Any]) -> Account:
        if (connection.conn_type or self.conn_type) != self.conn_type:
            raise AuthenticationFailed(
                f"the connection has the type {connection.conn_type!r}, so its password is not an xAI API key",
                conn_id=self.grokvideo_conn_id,
                advice=f"Nothing was sent. Use a connection of type {self.conn_type}.",
            )
        try:
            return account_from(
                host=connection.host,
                port=connection.port,
                schema=connection.schema,
                password=connection.password,
                extra=extra,
            )
        except GrokVideoError as error:
            raise error.about(conn_id=self.grokvideo_conn_id) from None

    def _without_connection(self) -> Account:
        allowed = conf.getboolean("grokvideo", "allow_env_key", fallback=False)
        account = account_from_env() if allowed else None
        if account is not None:
            self.log.info("Connection %s does not exist; using the key in %s", self.grokvideo_conn_id, ENV_KEY)
            return account
        hint = f"{ENV_KEY} is not set" if allowed else f"[grokvideo] allow_env_key is off, so {ENV_KEY} is not used"
        raise AuthenticationFailed(
            f"the connection does not exist, and {hint}",
            conn_id=self.grokvideo_conn_id,
            advice=(
                "Create it in Admin > Connections (type Grok video), with 'airflow connections add "
                f"{self.grokvideo_conn_id} --conn-type grokvideo --conn-password xai-...', or as the environment "
                f"variable AIRFLOW_CONN_{self.grokvideo_conn_id.upper()}."
            ),
        )


def _seen(found: Job | GrokVideoError, conn_id: str) -> Job:
    if isinstance(found, GrokVideoError):
        raise found.about(conn_id=conn_id)
    return found


def _optional(client: Client, path: str) -> dict[str, Any] | None:
    """Return a document, or None: not every account or gateway has it."""
    try:
        return client.run(flow.document(path))
    except GrokVideoError:
        return None


def _health(key: Mapping[str, Any], me: Mapping[str, Any] | None, models: Mapping[str, Any] | None) -> tuple[bool, str]:
    """Return whether this key can make videos, with one message (contract §2.2)."""
    blocks = {
        "team_blocked": "its team is blocked",
        "api_key_blocked": "it is blocked",
        "api_key_disabled": "it is disabled",
    }
    name = f"{key.get('name') or 'without a name'} ({key.get('redacted_api_key') or 'key'})"
    if problems := [text for flag, text in blocks.items() if key.get(flag)]:
        return False, f"The API key {name} cannot be used: {' and '.join(problems)}. See the xAI console."
    said = [f"The API key {name} works"]
    rows = models.get("models") if models else None
    if isinstance(rows, list):
        ids = [str(row.get("id")) for row in rows if isinstance(row, dict)]
        said.append(f"video models: {', '.join(ids)}" if ids else "but no video model is allowed")
    acls = [str(acl) for acl in key.get("acls") or []]
    if not any(acl == "api-key:endpoint:*" or "video" in acl for acl in acls):
        said.append("its access list has no video endpoint, so xAI may refuse to submit")
    zdr = (me or {}).get("zdr_status")
    if zdr == "zdr":
        said.append("zero data retention is on: every request needs output.upload_url")
    elif zdr:
        said.append("zero data retention is off")
    return True, "; ".join(said) + "."
