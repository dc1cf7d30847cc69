"""The way of a finished video: link, local file, check, destination, record."""

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
from airflow_provider_grokvideo.delivery import poster, store
from airflow_provider_grokvideo.delivery.destination import target
from airflow_provider_grokvideo.delivery.download import Fetched, LinkExpired, fetch
from airflow_provider_grokvideo.delivery.probe import Checked, Probe, probe
from airflow_provider_grokvideo.provider_info import __version__

SIDECAR_SCHEMA = 1

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Expectation:
    """What the video should be like; None where nobody can know.

    Attributes:
        duration: Seconds, as the service says. Shorter by more than half a second and a tenth is a cut file and a
            failure, longer a warning.
        asked: Seconds that were asked for; another length is a warning, because the service may round or clamp them.
        at_least: Seconds it must not fall below, by the same margin, where the exact length is unknown.
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
    """A video that is where it should be, and what was measured on it.

    Attributes:
        uri: The video, readable by ``ObjectStoragePath``.
        sidecar_uri: The JSON file beside it.
        poster_uri: The picture beside it, a JPEG; None without the extra ``media``, or where it could not be made or
            stored.
        sha256: Of the video, in hexadecimal; None where its bytes did not pass through here.
        bytes: Its length.
        duration: Seconds.
        width: Pixels.
        height: Pixels.
        has_audio: Whether it has a sound track.
        checked: ``decoded`` with the extra ``media``, ``structure`` without.
        warnings: What is odd about it, each as a sentence's part.
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
    """Turn the service's temporary link into a checked file at its destination.

    Args:
        link: Where the service says the video is.
        fresh_link: Polls at the request once more; asked once, if `link` is dead.
        destination: As :func:`~airflow_provider_grokvideo.delivery.destination.target` reads it; a directory gets
            ``<request_id>.mp4``.
        request_id: The video's; None if nobody knows it.
        expected: What the video should be like.
        manifest: What is known about it, for the sidecar.
        request: What was asked for, for the sidecar.
        owner: ``dag_id``, ``run_id``, ``task_id``, ``map_index`` of the task instance.
        allow_loopback: The API's base URL is loopback, so its links may be, too.
        allowed: Hosts and networks that the connection allows although they are not public.
        bring: Fetches the video into a file without a link; `link` and `fresh_link` are not used then.
        default_name: Takes the place of the request id in a directory where nobody knows that.
        poster_uri: Where an earlier delivery of the same video put its poster; taken where none can be made here.
        pause: Waits between tries of the download; takes seconds.
        log: The task's.

    Raises:
        DeliveryFailed: It could not be fetched, is not what was bought, or could not be stored. Nothing new is under
            the final name.
        InvalidInput: The destination is none.
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
        raise DeliveryFailed(f"This worker's temporary directory failed: {error}", request_id=request_id) from error
    except DeliveryFailed as error:
        error.about(request_id=request_id)
        raise
    log.info("Delivered %s (%d bytes, %s)", stored.uri, fetched.bytes, found.checked)
    return Delivered(**stored.addresses(), **measured)  # type: ignore[arg-type]


def verify(found: Probe, expected: Expectation, *, log: logging.Logger = _LOG) -> list[str]:
    """Check that a file is the video that was bought; return what is odd about it, each as a sentence's part.

    The video is paid: what plays is delivered, however odd, and only what is no video, damaged or cut is not.

    Raises:
        DeliveryFailed: It is no MP4 video, not whole, or too short.
    """
    if found.mime != "video/mp4":
        raise DeliveryFailed(f"What was downloaded is {found.label}, not an MP4 video ({found.bytes} bytes)")
    if found.problem is not None:
        raise DeliveryFailed(f"The MP4 that was downloaded is damaged: {found.problem} ({found.bytes} bytes)")
    least = expected.at_least if expected.duration is None else expected.duration
    odd = list(found.odd)
    if found.odd_size is not None:
        odd.append(f"it was not decoded: {found.odd_size}")
    if found.duration is not None and least is not None:
        margin = max(0.5, 0.1 * least)
        if found.duration < least - margin:
            raise DeliveryFailed(
                f"The video that was downloaded lasts {found.duration:.2f} s, {least:g} s were expected"
            )
        if expected.duration is not None and found.duration > least + margin:
            odd.append(f"it lasts {found.duration:.2f} s, the service says {least:g} s")
    asked = expected.asked
    if found.duration is not None and asked is not None and abs(found.duration - asked) > max(0.5, 0.1 * asked):
        odd.append(f"it lasts {found.duration:.2f} s, {asked:g} s were asked for")
    for name, wanted, got in (
        ("wide", expected.width, found.width),
        ("high", expected.height, found.height),
    ):
        if wanted is not None and got is not None and wanted != got:
            odd.append(f"it is {got} pixels {name}, {wanted} were expected")
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
        log.info("%s; asking the service for a fresh one", error.what)
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
        f"{error.what}, and the service gave no better one",
        advice=(
            "Links live for about a day at most: deliver soon after a video is done. A retry looks once more and is "
            "free; if it fails the same way the video is gone, and a new one is a new purchase."
        ),
    )
