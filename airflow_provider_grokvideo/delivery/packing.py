"""Undo the compression of a download that came compressed although it was asked for as it is."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_grokvideo.core.packing import HEAD, MOST_LAYERS, WINDOW, TooManyParts, labels, packed, pieces


class Unusable(Exception):
    """A file is packed and cannot be unpacked; the message says why, as part of a sentence."""


@dataclass(frozen=True)
class Plain:
    """A file that was unpacked: its hash, its length, and what is worth a warning."""

    sha256: str
    bytes: int
    odd: str


def unpack(file: Path, label: str | None, max_bytes: int) -> Plain | None:
    """Unpack a file in its place, all layers of it; return None if it was not packed.

    Args:
        file: The file.
        label: Its ``Content-Encoding``, several with commas, the one that was applied last at the end.
        max_bytes: The most that may come out of any layer.

    Raises:
        Unusable: It is packed in a way that nothing here unpacks, is damaged, cut, or becomes too large.
    """
    told, found = labels(label), list[str]()
    plain = None
    for _ in range(MOST_LAYERS):
        named = told.pop() if told else None
        how = packed(_head(file), named)
        if how is None or (one := _layer(file, how, named, max_bytes)) is None:
            break
        found.append(how)
        plain = Plain(*one, f"it came compressed ({', '.join(found)}) and was unpacked")
    return plain


def _layer(file: Path, how: str, label: str | None, max_bytes: int) -> tuple[str, int] | None:
    """Unpack one layer; return None where what looked packed is not, and nothing said that it is."""
    if how not in WINDOW:
        raise Unusable(f"is compressed ({how}) although it was asked for as it is")
    plain = file.with_name(f"{file.name}.plain")
    try:
        result = _written(file, plain, how, max_bytes)
        plain.replace(file)
    except (zlib.error, EOFError, TooManyParts) as error:
        if how == "deflate" and label is None:
            return None
        raise Unusable(f"is compressed ({how}) and damaged: {error}") from error
    finally:
        plain.unlink(missing_ok=True)
    return result


def _written(file: Path, plain: Path, how: str, max_bytes: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as source, plain.open("wb") as into:
        for piece in pieces(source.read, WINDOW[how]):
            size += len(piece)
            if size > max_bytes:
                raise Unusable(f"is too large: more than the {max_bytes} bytes that are allowed")
            into.write(piece)
            digest.update(piece)
    return digest.hexdigest(), size


def _head(file: Path) -> bytes:
    with file.open("rb") as source:
        return source.read(HEAD)
