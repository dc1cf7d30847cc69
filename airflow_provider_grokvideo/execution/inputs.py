"""From what a task was given to what a request can carry: all inputs are checked, then inlined or uploaded."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.core.media import Media
from airflow_provider_grokvideo.core.requests import ExtendVideo, VideoRequest
from airflow_provider_grokvideo.execution.manifest import Source, resolution_of
from airflow_provider_grokvideo.media import inputs

if TYPE_CHECKING:
    from airflow_provider_grokvideo.execution.journal import TaskJournal
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

log = logging.getLogger(__name__)


class Opened:
    """A request whose inputs were checked and are at hand.

    Attributes:
        source: What is known about the clip that is edited or extended.
    """

    def __init__(self, request: VideoRequest, loaded: dict[Media, inputs.Loaded], hook: GrokVideoHook) -> None:
        self._request = request
        self._loaded = loaded
        self._hook = hook
        videos = [item for item in loaded.values() if item.want == "video"]
        self.source = Source()
        if videos:
            self.source = Source(videos[0].duration, resolution_of(videos[0].width, videos[0].height))

    def fingerprint(self) -> str:
        """Return the fingerprint of the request, its files by their content."""
        read = {media: media.model_copy(update={"sha256": item.sha256}) for media, item in self._loaded.items()}
        return (self._request.with_media(read) if read else self._request).fingerprint()

    def request(self) -> VideoRequest:
        """Return the request as it can be sent; files that do not fit into its body are uploaded now.

        Raises:
            GrokVideoError: An upload failed; nothing was bought.
        """
        ready = {}
        room = inputs.BODY_BYTES - _size_without(self._request, self._loaded)
        for media, item in self._loaded.items():
            reference = inputs.to_reference(item, room_bytes=room, upload=self._hook.upload)
            room -= sum(map(len, reference.values()))
            ready[media] = Media(**reference, sha256=item.sha256, known_as=media.known_as)
            how = "sent along" if "url" in reference else f"uploaded as {reference['file_id']}"
            log.info("%s: %s, %d bytes, %s", item.field, item.mime, item.bytes, how)
        return self._request.with_media(ready) if ready else self._request


@dataclass(frozen=True)
class Inputs:
    """What a request is made from, as far as it could be read.

    Attributes:
        request: As the arguments describe it.
        asked: Its fingerprint with files by their path.
        fingerprint: Its fingerprint with files by their content, or as an earlier try found it.
        opened: The files; None if they cannot be read any more.
        problem: Why not.
    """

    request: VideoRequest
    asked: str
    fingerprint: str
    opened: Opened | None
    problem: GrokVideoError | None = None


def read(request: VideoRequest, hook: GrokVideoHook, journal: TaskJournal, files: ExitStack) -> Inputs:
    """Open what a request is made from, to know its content before anything is decided; `files` closes it.

    An input that is gone by now must not keep a task from the video that it bought earlier from the same arguments.

    Raises:
        GrokVideoError: An input cannot be read or used, and nothing was bought from the same arguments before.
    """
    asked = request.fingerprint()
    try:
        found = files.enter_context(opened(request, hook))
    except GrokVideoError as problem:
        known = journal.last_asked(asked)
        if known is None:
            raise
        return Inputs(request, asked, known.fingerprint, None, problem)
    return Inputs(request, asked, found.fingerprint(), found)


@contextmanager
def opened(request: VideoRequest, hook: GrokVideoHook) -> Iterator[Opened]:
    """Check every input of a request and hold its files open.

    Raises:
        InvalidInput: An input is missing, damaged, of another kind, too large, too long or not reachable.
    """
    loaded = {}
    with ExitStack() as files:
        for field, media in request.media():
            want, limits = _expected(field, request)
            if media.path is not None:
                loaded[media] = files.enter_context(inputs.load(media.path, field=field, want=want, limits=limits))
            elif media.url is not None:
                inputs.check_given(
                    media.url, field=field, want=want, limits=limits, allow_loopback=hook.account().is_local
                )
        yield Opened(request, loaded, hook)


def _expected(field: str, request: VideoRequest) -> tuple[inputs.Want, inputs.Limits]:
    if field == "video":
        return "video", inputs.EXTEND_VIDEO if isinstance(request, ExtendVideo) else inputs.EDIT_VIDEO
    if field.startswith("reference_audios"):
        return "audio", inputs.AUDIO
    return "image", inputs.IMAGE


def _size_without(request: VideoRequest, loaded: dict[Media, inputs.Loaded]) -> int:
    """Return the bytes of the body before the files are in it."""
    empty = {media: Media(url="data:x/x;base64,0") for media in loaded}
    return len(json.dumps(request.with_media(empty).body()).encode())
