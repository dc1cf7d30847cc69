"""Delivery of a finished video: download, check, storage and sidecar."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_grokvideo.client.allowed import NOTHING_ALLOWED, Allowed
from airflow_provider_grokvideo.core.errors import DeliveryFailed
from airflow_provider_grokvideo.core.redaction import shareable
from airflow_provider_grokvideo.delivery import store
from airflow_provider_grokvideo.delivery.download import Fetched, LinkExpired, fetch
from airflow_provider_grokvideo.media import poster
from airflow_provider_grokvideo.media.probe import Checked, Probe, probe
from airflow_provider_grokvideo.provider_info import __version__
from airflow_provider_grokvideo.storage.destination import target

SIDECAR_SCHEMA = 1

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Expectation:
    """Expected properties of a video; None if unknown.

    Attributes:
        duration: Seconds, as xAI reports them. A video that is shorter by more than half a second and a tenth is
            incomplete and fails; a longer one gets a warning.
        asked: Requested seconds; another length gets a warning, because xAI may round or clamp them.
        at_least: Least seconds, by the same margin, if the exact length is unknown.
        width: Pixels; another width is a warning.
        height: Pixels; another height is a warning.
    """

    duration: float | None = None
    asked: float | None = None
    at_least: float | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Delivered:
    """A delivered video and its measured properties.

    Attributes:
        uri: The video, readable by ``ObjectStoragePath``.
        sidecar_uri: The JSON file beside it.
        poster_uri: The JPEG beside it; None without the extra ``media``, or if it could not be made or stored.
        sha256: Hash of the video, in hexadecimal; None if its bytes did not pass through the worker.
        bytes: Its size.
        duration: Seconds.
        width: Pixels.
        height: Pixels.
        has_audio: Whether it has a sound track.
        checked: ``decoded`` with the extra ``media``, ``structure`` without.
        warnings: Warnings, each as part of a sentence.
    """

    uri: str
    sidecar_uri: str
    poster_uri: str | None
    sha256: str | None
    bytes: int
    duration: float | None
    width: int | None
    height: int | None
    has_audio: bool | None
    checked: Checked
    warnings: Sequence[str] = ()


def deliver(
    *,
    link: str,
    fresh_link: Callable[[], str | None],
    destination: str,
    request_id: str | None,
    expected: Expectation,
    manifest: Mapping[str, Any],
    request: Mapping[str, Any],
    owner: Mapping[str, Any],
    allow_loopback: bool,
    allowed: Allowed = NOTHING_ALLOWED,
    bring: Callable[[Path], Fetched] | None = None,
    default_name: str = "video",
    poster_uri: str | None = None,
    pause: Callable[[float], None] = time.sleep,
    log: logging.Logger = _LOG,
) -> Delivered:
    """Download a video from its temporary link, check it, and store it at its destination.

    Args:
        link: The temporary link.
        fresh_link: Polls the request once more for a new link; called once, if `link` has expired.
        destination: As :func:`~airflow_provider_grokvideo.storage.destination.target` parses it; a directory gets
            ``<request_id>.mp4``.
        request_id: The request id; None if unknown.
        expected: The expected properties of the video.
        manifest: Its manifest, for the sidecar.
        request: Its request, for the sidecar.
        owner: ``dag_id``, ``run_id``, ``task_id``, ``map_index`` of the task instance.
        allow_loopback: Links may have a loopback address, because the API's base URL has one.
        allowed: Hosts and networks without a public address that the connection allows.
        bring: Downloads the video into a file without a link; `link` and `fresh_link` are not used then.
        default_name: File name in a directory if there is no request id.
        poster_uri: The poster of an earlier delivery of the same video; copied if none can be made here.
        pause: Waits between tries of the download; takes seconds.
        log: The task's log.

    Raises:
        DeliveryFailed: The download, the check or the storage failed. The final name is unchanged.
        InvalidInput: The destination is invalid.
    """
    to = target(destination, default_name=request_id or default_name)
    try:
        with tempfile.TemporaryDirectory(prefix="grokvideo-") as temporary:
            local = Path(temporary, "video.mp4")
            if bring is not None:
                fetched = bring(local)
            else:
                fetched = _fetch(
                    link, fresh_link, local, allow_loopback=allow_loopback, allowed=allowed, pause=pause, log=log
                )
            found = probe(local)
            odd = [*fetched.odd, *verify(found, expected, log=log)]
            measured = {
                "sha256": fetched.sha256,
                "bytes": fetched.bytes,
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
            }
            picture = poster.make(local, log=log) or store.earlier_poster(poster_uri, store.identity(sidecar))
            stored = store.store(local, to, sidecar=sidecar, poster=picture, owner=owner, log=log)
    except OSError as error:
        raise DeliveryFailed(
            f"The temporary directory of this worker cannot be used: {error}", request_id=request_id
        ) from error
    except DeliveryFailed as error:
        error.about(request_id=request_id)
        raise
    log.info("Delivered %s (%d bytes, %s)", stored.uri, fetched.bytes, found.checked)
    return Delivered(**stored.addresses(), **measured)  # type: ignore[arg-type]


def verify(found: Probe, expected: Expectation, *, log: logging.Logger = _LOG) -> list[str]:
    """Check that a file is the expected video; return warnings, each as part of a sentence.

    The video is paid: everything that plays is delivered. Only a file that is no video, damaged or incomplete fails.

    Raises:
        DeliveryFailed: It is not an MP4 video, is incomplete, or too short.
    """
    if found.mime != "video/mp4":
        raise DeliveryFailed(f"The downloaded file is {found.label}, not an MP4 video ({found.bytes} bytes)")
    if found.problem is not None:
        raise DeliveryFailed(f"The downloaded MP4 file is damaged: {found.problem} ({found.bytes} bytes)")
    least = expected.at_least if expected.duration is None else expected.duration
    odd = list(found.odd)
    if found.odd_size is not None:
        odd.append(f"it was not decoded: {found.odd_size}")
    if found.duration is not None and least is not None:
        margin = max(0.5, 0.1 * least)
        if found.duration < least - margin:
            raise DeliveryFailed(f"The downloaded video has {found.duration:.2f} s instead of {least:g} s")
        if expected.duration is not None and found.duration > least + margin:
            odd.append(f"it has {found.duration:.2f} s, but xAI reported {least:g} s")
    asked = expected.asked
    if found.duration is not None and asked is not None and abs(found.duration - asked) > max(0.5, 0.1 * asked):
        odd.append(f"it has {found.duration:.2f} s, but {asked:g} s were requested")
    for name, wanted, got in (
        ("wide", expected.width, found.width),
        ("high", expected.height, found.height),
    ):
        if wanted is not None and got is not None and wanted != got:
            odd.append(f"it is {got} pixels {name} instead of {wanted}")
    for each in odd:
        log.warning("The video was delivered with a warning: %s", each)
    return odd


def _fetch(
    link: str,
    fresh_link: Callable[[], str | None],
    into: Path,
    *,
    allow_loopback: bool,
    allowed: Allowed,
    pause: Callable[[float], None],
    log: logging.Logger,
) -> Fetched:
    try:
        return fetch(link, into, allow_loopback=allow_loopback, allowed=allowed, pause=pause, log=log)
    except LinkExpired as error:
        log.info("%s; requesting a new one", error.what)
        dead = error
    fresh = fresh_link()
    if not fresh or fresh == link:
        raise _gone(dead)
    try:
        return fetch(fresh, into, allow_loopback=allow_loopback, allowed=allowed, pause=pause, log=log)
    except LinkExpired as error:
        raise _gone(error) from error


def _gone(error: LinkExpired) -> DeliveryFailed:
    return DeliveryFailed(
        f"{error.what}, and xAI returned no newer link",
        advice=(
            "Links are valid for about a day at most, so deliver soon after a video is done. A retry polls once more "
            "at no charge. If it fails the same way, the video is gone, and submitting it again is a new purchase."
        ),
    )
