"""Reading single JSON values the way the service's deserialiser does: a wrong type is a 422 in plain text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_grokvideo.emulator.orders import Medium, StorageOrder

Body = Mapping[str, Any]

_DATA_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+(;[\w=.+-]+)*;base64,", re.IGNORECASE)
_HOURS = (3600, 2_592_000)


@dataclass
class FieldRefused(Exception):
    """The service refuses a submit: HTTP status, the code of the body, a sentence.

    ``plain`` bodies are text/plain, as axum writes them; the others are ``{"code", "error"}``.
    """

    status: int
    code: str
    message: str
    plain: bool = False


def invalid(message: str) -> FieldRefused:
    """A value the service understands and does not want: 400."""
    return FieldRefused(400, "invalid-argument", message)


def malformed(message: str) -> FieldRefused:
    """A body that cannot be deserialised: 422 in plain text (contract §7)."""
    text = f"Failed to deserialize the JSON body into the target type: {message}"
    return FieldRefused(422, "unprocessable", text, plain=True)


def text(body: Body, name: str) -> str | None:
    """Read an optional string."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise malformed(f"{name}: invalid type: {_type_name(value)}, expected a string")
    return value


def choice(body: Body, name: str, variants: tuple[str, ...]) -> str | None:
    """Read an optional enum value."""
    value = text(body, name)
    if value is not None and value not in variants:
        listed = ", ".join(f"`{variant}`" for variant in variants)
        raise malformed(f"{name}: unknown variant `{value}`, expected one of {listed}")
    return value


def flag(body: Body, name: str) -> bool | None:
    """Read an optional boolean."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise malformed(f"{name}: invalid type: {_type_name(value)}, expected a boolean")
    return value


def integer(body: Body, name: str, numeric_text: bool = False) -> int | None:
    """Read an optional whole number; ``numeric_text`` allows ``"8"`` too."""
    value = body.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if numeric_text and isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,9}", value):
        return int(value)
    raise malformed(f"{name}: invalid type: {_type_name(value)}, expected i32")


def number(body: Body, name: str) -> float:
    """Read a number that must be there."""
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        problem = f"missing field `{name}`" if value is None else f"{name}: invalid type: {_type_name(value)}"
        raise malformed(problem)
    return float(value)


def struct(value: Any, name: str) -> Body:
    """Insist on a JSON object."""
    if not isinstance(value, Mapping):
        raise malformed(f"{name}: invalid type: {_type_name(value)}, expected struct")
    return value


def structs(body: Body, name: str) -> list[Body]:
    """Read an optional array of objects."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise malformed(f"{name}: invalid type: {_type_name(value)}, expected a sequence")
    return [struct(item, f"{name}[{index}]") for index, item in enumerate(value)]


def medium(value: Any, name: str) -> Medium:
    """Read ``{"url"}`` or ``{"file_id"}``: exactly one of them."""
    fields = struct(value, name)
    url, file_id = text(fields, "url"), text(fields, "file_id")
    if bool(url) == bool(file_id):
        raise invalid(f"{name}: exactly one of url and file_id must be set")
    if url and not url.startswith(("https://", "http://")) and not _DATA_URI.match(url):
        raise invalid(f"{name}.url is neither an http(s) URL nor a base64 data: URI")
    return Medium(url or None, file_id or None)


def storage(body: Body) -> StorageOrder | None:
    """Read ``storage_options`` (contract §5.3)."""
    if body.get("storage_options") is None:
        return None
    fields = struct(body["storage_options"], "storage_options")
    filename = text(fields, "filename")
    if filename is None:
        raise malformed("storage_options: missing field `filename`")
    if not filename:
        raise invalid("storage_options.filename must not be empty")
    public = fields.get("public_url")
    public_after: int | None = None
    if isinstance(public, Mapping):
        public_after = lifetime(public, "public_url.expires_after", "expires_after")
    elif public is not None and not isinstance(public, bool):
        raise malformed(f"public_url: invalid type: {_type_name(public)}")
    after = lifetime(fields, "storage_options.expires_after", "expires_after")
    return StorageOrder(filename, after, bool(public) or isinstance(public, Mapping), public_after)


def lifetime(body: Body, label: str, name: str) -> int | None:
    """Read an optional life in seconds: 3600 to 2592000."""
    seconds = integer(body, name)
    if seconds is not None and not _HOURS[0] <= seconds <= _HOURS[1]:
        raise invalid(f"{label} must be between {_HOURS[0]} and {_HOURS[1]} seconds, got {seconds}")
    return seconds


def upload_url(body: Body) -> str | None:
    """Read ``output.upload_url`` (contract §3.5)."""
    if body.get("output") is None:
        return None
    url = text(struct(body["output"], "output"), "upload_url")
    if url is None:
        raise malformed("output: missing field `upload_url`")
    if not url.startswith(("https://", "http://")):
        raise invalid("output.upload_url is not an http(s) URL")
    return url


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return f"boolean `{str(value).lower()}`"
    if isinstance(value, str):
        return f'string "{value[:60]}"'
    if isinstance(value, int):
        return f"integer `{value}`"
    if isinstance(value, float):
        return f"floating point `{value}`"
    if value is None:
        return "null"
    return "sequence" if isinstance(value, list) else "map"
