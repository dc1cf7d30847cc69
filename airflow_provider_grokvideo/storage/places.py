"""Local and object storage with the operations that deliveries and journals need.

In every storage, an object is complete or missing. The methods differ:

* Local: a part file in the same directory, flushed to disk, then renamed over the final name, which is atomic.
* S3 and Google Cloud Storage: one upload to the final name. Both show an object only when its upload is complete
  (a multipart upload when it is closed). A temporary key and a move would be a second, server-side copy: more
  expensive, slower and no safer.
* Any other: a part object, then the storage's own move. Some of them (SFTP, HDFS, SMB) show a file while it grows.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from airflow_provider_grokvideo.core.errors import DeliveryFailed, GrokVideoError, InvalidInput
from airflow_provider_grokvideo.storage.local import LocalPlace
from airflow_provider_grokvideo.storage.objects import ObjectPlace

_BROUGHT_BY = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "s3a": "apache-airflow-providers-amazon[s3fs]",
    "s3n": "apache-airflow-providers-amazon[s3fs]",
    "gs": "apache-airflow-providers-google",
    "gcs": "apache-airflow-providers-google",
    "abfs": "apache-airflow-providers-microsoft-azure",
    "abfss": "apache-airflow-providers-microsoft-azure",
    "adl": "apache-airflow-providers-microsoft-azure",
    "sftp": "apache-airflow-providers-sftp",
    "ssh": "apache-airflow-providers-sftp",
}
_NOTHING_SENT = "Nothing was sent or billed."
_LOG = logging.getLogger(__name__)


class Place(Protocol):
    """A directory, local or in object storage; names are those of the files in it."""

    def prepare(self) -> None:
        """Create the directory, if the storage has directories."""

    def put(self, local: Path, name: str) -> None:
        """Store a local file under a name, completely or not at all."""

    def copy(self, source: str, name: str) -> None:
        """Copy a file to another name, completely or not at all."""

    def write(self, name: str, data: bytes) -> None:
        """Store a few bytes under a name, completely or not at all."""

    def create(self, name: str, data: bytes) -> bool:
        """Store a few bytes unless the name is taken; return whether they were stored."""

    def read(self, name: str) -> bytes | None:
        """Return what is stored under a name, not much more than :data:`LARGEST_READ`; None if nothing is."""

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""

    def part(self, name: str, start: int, end: int) -> bytes:
        """Return the bytes of a file from `start` up to, but not including, `end`."""

    def size(self, name: str) -> int | None:
        """Return the size of a file; None if it does not exist."""

    def remove(self, name: str) -> None:
        """Delete a file, if allowed; never fails."""

    def is_no_file(self, name: str) -> bool:
        """Say whether a name is taken by something that is not a file, such as a directory."""

    def check_names(self, names: Iterable[str]) -> None:
        """Check that files of these names can be written.

        Raises:
            OSError: One of them cannot be written; the message names it.
        """


def open_place(directory: str, *, is_local: bool, field: str, shown: str) -> Place:
    """Open a directory, without reading or writing.

    Args:
        directory: A local path or an ObjectStorage URL.
        is_local: Whether it is a local path.
        field: The operator argument, for messages.
        shown: Its value, for messages.

    Raises:
        InvalidInput: No filesystem is registered for the scheme, or the connection in the URL does not exist.
    """
    if is_local:
        return LocalPlace(Path(directory))
    fs, path = open_storage(directory, field=field, shown=shown)
    return ObjectPlace(fs, path, directory.partition("://")[0])


def open_storage(url: str, *, field: str, shown: str) -> tuple[Any, str]:
    """Return the fsspec filesystem of an ObjectStorage URL and its path in it, as ``ObjectStoragePath`` would.

    The path is not parsed further: ``ObjectStoragePath`` itself takes ``#`` and ``?`` for parts of a URL.

    Raises:
        InvalidInput: No filesystem is registered for the scheme, or the connection in the URL does not exist.
    """
    from airflow.sdk.io import attach

    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    conn_id, _, bucket = host.rpartition("@")
    try:
        fs = attach(scheme, conn_id or None).fs
    except (ValueError, ImportError) as error:
        package = _BROUGHT_BY.get(scheme)
        hint = f"install {package} on the workers" if package else "no installed provider supports this storage"
        raise InvalidInput(field, shown, f"storage that Airflow can open; {hint} ({error})") from error
    except Exception as error:
        if type(error).__name__ == "AirflowNotFoundException":
            raise InvalidInput(field, shown, f"a URL with an existing connection ({error})") from error
        raise DeliveryFailed(f"The storage of {url} cannot be opened: {reason(error)}") from error
    return fs, fs._strip_protocol(f"{scheme}://{bucket}{slash}{path}")


@contextmanager
def before_purchase(field: str, where: str) -> Iterator[None]:
    """Turn errors of the storage into errors that say that nothing was sent.

    Raises:
        InvalidInput: The destination or its permissions must be changed.
        DeliveryFailed: The problem may be temporary.
    """
    try:
        yield
    except GrokVideoError:
        raise
    except OSError as error:
        lasting = isinstance(
            error, PermissionError | FileNotFoundError | NotADirectoryError | IsADirectoryError | FileExistsError
        )
        if not lasting and error.errno not in (errno.ENAMETOOLONG, errno.EROFS, errno.EINVAL, errno.ELOOP):
            raise DeliveryFailed(f"Cannot write to {where}: {reason(error)}", advice=_NOTHING_SENT) from error
        raise InvalidInput(field, where, f"a location that this worker can write to ({reason(error)})") from error
    except Exception as error:
        raise DeliveryFailed(f"Cannot write to {where}: {reason(error)}", advice=_NOTHING_SENT) from error


@contextmanager
def while_storing(where: str) -> Iterator[None]:
    """Turn errors of the storage into :class:`DeliveryFailed`."""
    try:
        yield
    except GrokVideoError:
        raise
    except Exception as error:
        raise DeliveryFailed(f"The video could not be stored at {where}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Return an error of a storage library as one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
