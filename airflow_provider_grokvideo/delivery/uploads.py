"""Delivery by the service itself: it uploads the video to an address that we sign, and no byte passes through here.

The object it uploads to has a name that the journal knows before the start is sent. So an object that is there proves
that the start was accepted, even where its answer was lost (contract §3.5).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_grokvideo.client.logs import cut_logs
from airflow_provider_grokvideo.core.errors import DeliveryFailed, GrokVideoError, InvalidInput
from airflow_provider_grokvideo.core.redaction import shareable
from airflow_provider_grokvideo.delivery import destination as destinations
from airflow_provider_grokvideo.delivery import poster
from airflow_provider_grokvideo.delivery.deliver import SIDECAR_SCHEMA, Delivered, Expectation, verify
from airflow_provider_grokvideo.delivery.places import before_purchase, hidden, open_storage, while_storing
from airflow_provider_grokvideo.delivery.probe import probe_structure
from airflow_provider_grokvideo.delivery.store import store
from airflow_provider_grokvideo.provider_info import __version__

LONGEST = 7 * 24 * 3600
"""Seconds that an S3 signature can last at most."""

BLOCK = 64 * 1024
"""Bytes of one ranged read: box headers and the index of a clip are small, and far apart."""

_SIGNS = ("s3", "s3a", "s3n")
_LOG = logging.getLogger(__name__)


def upload_uri(destination: str, token: str) -> str:
    """Return the object that the service uploads to: beside the destination, hidden, and this purchase's alone.

    Raises:
        InvalidInput: The destination is not in S3-compatible object storage.
    """
    to = destinations.target(destination, default_name="video")
    if to.is_local or not to.directory.startswith(tuple(f"{scheme}://" for scheme in _SIGNS)):
        raise InvalidInput("deliver_via", "upload", f"used with a destination in S3 (s3://...), not {to.uri}")
    return f"{to.directory}/{hidden(to.stem, f'.{token}.upload.mp4')}"


@cut_logs()
def signed(uri: str, seconds: float) -> str:
    """Return an address that accepts one PUT to an object for some time, by the storage's own signing.

    Signature version 4 is asked for: it leaves the content type open, which the service chooses.

    Raises:
        InvalidInput: The storage cannot sign.
        DeliveryFailed: It does not work now; nothing was sent.
    """
    fs, path = open_storage(uri, field="destination", shown=uri)
    with before_purchase("deliver_via", uri):
        try:
            options = dict(fs.storage_options)
            config = {**(options.pop("config_kwargs", None) or {}), "signature_version": "s3v4"}
            signer = type(fs)(**options, config_kwargs=config)
            address = signer.sign(path, expiration=int(min(seconds, LONGEST)), client_method="put_object")
        except (AttributeError, NotImplementedError, TypeError) as error:
            raise InvalidInput("deliver_via", "upload", f"used with storage that signs uploads ({error})") from error
    return str(address)


def arrived(uri: str) -> bool:
    """Say whether the service has uploaded; an object store shows an object only when it is whole.

    Raises:
        DeliveryFailed: The storage does not answer.
        InvalidInput: There is no such storage here.
    """
    directory, _, name = uri.rpartition("/")
    fs, path = open_storage(directory, field="destination", shown=uri)
    with while_storing(uri):
        fs.invalidate_cache()
        return bool(fs.exists(f"{path}/{name}"))


def default_name(uri: str) -> str:
    """Return the name that a video without a request id gets in a directory."""
    return uri.rpartition("/")[2].strip(".").removesuffix(".upload.mp4")


def discard(uri: str) -> None:
    """Remove an upload that was delivered; what fails is left to a lifecycle rule.

    Not part of :func:`take_over`, because until the delivery is written down the upload is all that proves it.
    """
    directory, _, name = uri.rpartition("/")
    try:
        fs, path = open_storage(directory, field="destination", shown=uri)
        with while_storing(uri):
            fs.rm_file(f"{path}/{name}")
    except GrokVideoError as error:
        _LOG.warning("The upload %s was delivered and could not be removed: %s", uri, error.what)


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
    """Check what the service uploaded by its structure, and let the storage copy it to its destination.

    Args:
        uri: From :func:`upload_uri`.
        destination: As :func:`~airflow_provider_grokvideo.delivery.destination.target` reads it.
        request_id: The video's; None if nobody knows it.
        expected: What the video should be like.
        manifest: What is known about it, for the sidecar.
        request: What was asked for, for the sidecar.
        owner: The task instance.
        log: The task's.

    Raises:
        DeliveryFailed: It is not there, is not what was bought, or could not be copied. Nothing new is under the final
            name.
    """
    directory, _, name = uri.rpartition("/")
    to = destinations.target(destination, default_name=request_id or default_name(uri))
    if not arrived(uri):
        raise DeliveryFailed(f"The service says done and has not uploaded to {uri}", request_id=request_id)
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
    log.info("Delivered %s (%d bytes, uploaded by the service, %s)", stored.uri, found.bytes, found.checked)
    return Delivered(**stored.addresses(), **measured)  # type: ignore[arg-type]
