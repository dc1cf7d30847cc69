"""Delivery by xAI: it uploads the video to a signed URL, and no byte passes through the worker.

The journal has the name of the uploaded object before the submit. So an existing object proves that the request was
accepted, even if the response was lost (contract §3.5).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_grokvideo.client.logs import cut_logs
from airflow_provider_grokvideo.core.errors import DeliveryFailed, GrokVideoError, InvalidInput
from airflow_provider_grokvideo.core.redaction import shareable
from airflow_provider_grokvideo.delivery.deliver import SIDECAR_SCHEMA, Delivered, Expectation, verify
from airflow_provider_grokvideo.delivery.store import store
from airflow_provider_grokvideo.media import poster
from airflow_provider_grokvideo.media.probe import probe_structure
from airflow_provider_grokvideo.provider_info import __version__
from airflow_provider_grokvideo.storage import destination as destinations
from airflow_provider_grokvideo.storage.names import hidden
from airflow_provider_grokvideo.storage.places import before_purchase, open_storage, while_storing

LONGEST = 7 * 24 * 3600
"""Longest validity of an S3 signature, in seconds."""

BLOCK = 64 * 1024
"""Bytes of one ranged read: the box headers and the index of a clip are small and far apart."""

_SIGNS = ("s3", "s3a", "s3n")
_LOG = logging.getLogger(__name__)


def upload_uri(destination: str, token: str) -> str:
    """Return the object that xAI uploads to: beside the destination, hidden, and only for this purchase.

    Raises:
        InvalidInput: The destination is not in S3-compatible object storage.
    """
    to = destinations.target(destination, default_name="video")
    if to.is_local or not to.directory.startswith(tuple(f"{scheme}://" for scheme in _SIGNS)):
        raise InvalidInput("deliver_via", "upload", f"'download', because {to.uri} is not in S3 (s3://...)")
    return f"{to.directory}/{hidden(to.stem, f'.{token}.upload.mp4')}"


@cut_logs()
def signed(uri: str, seconds: float) -> str:
    """Return a URL, signed by the storage, that accepts one PUT to an object for some time.

    It uses signature version 4, which leaves the content type to xAI.

    Raises:
        InvalidInput: The storage cannot sign.
        DeliveryFailed: Signing failed now; nothing was sent.
    """
    fs, path = open_storage(uri, field="destination", shown=uri)
    with before_purchase("deliver_via", uri):
        try:
            options = dict(fs.storage_options)
            config = {**(options.pop("config_kwargs", None) or {}), "signature_version": "s3v4"}
            signer = type(fs)(**options, config_kwargs=config)
            address = signer.sign(path, expiration=int(min(seconds, LONGEST)), client_method="put_object")
        except (AttributeError, NotImplementedError, TypeError) as error:
            raise InvalidInput(
                "deliver_via", "upload", f"'download', because the storage cannot sign uploads ({error})"
            ) from error
    return str(address)


def arrived(uri: str) -> bool:
    """Return whether xAI has uploaded the video; an object store shows only complete objects.

    Raises:
        DeliveryFailed: The storage does not respond.
        InvalidInput: The storage is not installed.
    """
    directory, _, name = uri.rpartition("/")
    fs, path = open_storage(directory, field="destination", shown=uri)
    with while_storing(uri):
        fs.invalidate_cache()
        return bool(fs.exists(f"{path}/{name}"))


def default_name(uri: str) -> str:
    """Return the file name of a video without a request id."""
    return uri.rpartition("/")[2].strip(".").removesuffix(".upload.mp4")


def discard(uri: str) -> None:
    """Delete the upload of a delivered video; if this fails, leave it to a lifecycle rule.

    Not part of :func:`take_over`, because the upload is the only proof until the delivery is recorded.
    """
    directory, _, name = uri.rpartition("/")
    try:
        fs, path = open_storage(directory, field="destination", shown=uri)
        with while_storing(uri):
            fs.rm_file(f"{path}/{name}")
    except GrokVideoError as error:
        _LOG.warning("The video was delivered, but its upload %s could not be deleted: %s", uri, error.what)


def take_over(
    uri: str,
    *,
    destination: str,
    request_id: str | None,
    expected: Expectation,
    manifest: Mapping[str, Any],
    request: Mapping[str, Any],
    owner: Mapping[str, Any],
    log: logging.Logger = _LOG,
) -> Delivered:
    """Check the structure of the uploaded video, and let the storage copy it to its destination.

    Args:
        uri: From :func:`upload_uri`.
        destination: As :func:`~airflow_provider_grokvideo.storage.destination.target` reads it.
        request_id: The request id; None if unknown.
        expected: The expected properties of the video.
        manifest: Its manifest, for the sidecar.
        request: Its request, for the sidecar.
        owner: The task instance.
        log: The task's log.

    Raises:
        DeliveryFailed: It is missing, is not the expected video, or could not be copied. The final name is unchanged.
    """
    directory, _, name = uri.rpartition("/")
    to = destinations.target(destination, default_name=request_id or default_name(uri))
    if not arrived(uri):
        raise DeliveryFailed(f"xAI reported the video done but did not upload it to {uri}", request_id=request_id)
    fs, path = open_storage(directory, field="destination", shown=uri)
    with while_storing(uri), fs.open(f"{path}/{name}", "rb", block_size=BLOCK) as file:
        found = probe_structure(file)
        odd = verify(found, expected, log=log)
        picture = poster.make(file, log=log)
    measured = {
        "sha256": None,
        "bytes": found.bytes,
        "duration": found.duration,
        "width": found.width,
        "height": found.height,
        "has_audio": found.has_audio,
        "checked": found.checked,
        "warnings": odd,
    }
    sidecar = {
        **shareable(manifest),
        **measured,
        "schema": SIDECAR_SCHEMA,
        "provider_version": __version__,
        "request": shareable(request),
        "request_id": request_id,
        "upload": uri,
    }
    stored = store(name, to, sidecar=sidecar, poster=picture, owner=owner, log=log)
    log.info("Delivered %s (%d bytes, uploaded by xAI, %s)", stored.uri, found.bytes, found.checked)
    return Delivered(**stored.addresses(), **measured)  # type: ignore[arg-type]
