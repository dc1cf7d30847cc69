"""The operators: submit a video request, wait without a worker slot, hand over a stored video."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_grokvideo.core import models
from airflow_provider_grokvideo.execution.manifest import Source, source_facts, source_in
from airflow_provider_grokvideo.operators.base import GrokVideoBaseOperator, GrokVideoPaidOperator
from airflow_provider_grokvideo.operators.bulk import GrokVideoBulkOperator
from airflow_provider_grokvideo.operators.review import GrokVideoReviewOperator

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.requests import VideoRequest

__all__ = [
    "GrokVideoBaseOperator",
    "GrokVideoBulkOperator",
    "GrokVideoEditOperator",
    "GrokVideoExtendOperator",
    "GrokVideoGenerateOperator",
    "GrokVideoPaidOperator",
    "GrokVideoReviewOperator",
]


class GrokVideoGenerateOperator(GrokVideoBaseOperator):
    """Generate a video: from text, from an image, from references, or between pinned frames.

    The arguments given decide the mode, as at the service: references, voices, a last frame or keyframes make it
    reference-to-video; else an image makes it image-to-video; else it is text-to-video. Images are an https URL, a
    ``data:`` URI, a ``file_...`` id, or any path Airflow's ObjectStorage can read.

    :param prompt: What to make; never empty.
    :param model: Model name. Default ``grok-imagine-video``.
    :param duration: Seconds, 1 to 15 (references on the default model: up to 10). None: the service's 8.
    :param aspect_ratio: ``1:1 16:9 9:16 4:3 3:4 3:2 2:3``. None: the service's 16:9; with `image` the image's own.
    :param resolution: ``480p``, ``720p``, or ``1080p`` where the model has it. None: the service's 480p.
    :param image: The first frame.
    :param reference_images: Up to 7 images whose subjects appear in the clip; up to 14 on model 1.5.
    :param reference_audios: Up to 3 voices (model 1.5): a voice id, ``{"voice_id": ...}`` or ``{"url": ...}``.
    :param last_frame: The last frame (model 1.5).
    :param keyframes: Up to 4 of ``{"image": ..., "timestamp_s": seconds}`` (model 1.5).
    :param generate_audio: False for a silent clip; costs the same.
    :param storage_options: ``{"filename": ..., "expires_after": ..., "public_url": ...}`` to have xAI store a copy. The
        name gets a random part of the purchase, by which a submission whose answer was lost is found.
    """

    template_fields: Sequence[str] = (
        "prompt",
        "model",
        "duration",
        "aspect_ratio",
        "resolution",
        "image",
        "reference_images",
        "reference_audios",
        "last_frame",
        "keyframes",
        "generate_audio",
        "storage_options",
        *GrokVideoBaseOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **GrokVideoBaseOperator.template_fields_renderers,
        "keyframes": "json",
        "storage_options": "json",
    }

    def __init__(
        self,
        *,
        prompt: str,
        model: str = models.DEFAULT_MODEL,
        duration: int | str | None = None,
        aspect_ratio: str | None = None,
        resolution: str | None = None,
        image: Any = None,
        reference_images: Sequence[Any] | None = None,
        reference_audios: Sequence[Any] | None = None,
        last_frame: Any = None,
        keyframes: Sequence[dict[str, Any]] | None = None,
        generate_audio: bool | None = None,
        storage_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.model = model
        self.duration = duration
        self.aspect_ratio = aspect_ratio
        self.resolution = resolution
        self.image = image
        self.reference_images = reference_images
        self.reference_audios = reference_audios
        self.last_frame = last_frame
        self.keyframes = keyframes
        self.generate_audio = generate_audio
        self.storage_options = storage_options

    def made_from(self) -> tuple[str, Any] | None:
        """Return the first frame, where there is one."""
        return None if self.image is None else ("image", self.image)

    def build_request(self) -> VideoRequest:
        """Return the generation that the arguments describe."""
        from airflow_provider_grokvideo.core import requests

        return requests.generation(
            prompt=self.prompt,
            model=self.model,
            duration=self.duration,
            aspect_ratio=self.aspect_ratio,
            resolution=self.resolution,
            image=self.image,
            reference_images=self.reference_images,
            reference_audios=self.reference_audios,
            last_frame=self.last_frame,
            keyframes=self.keyframes,
            generate_audio=self.generate_audio,
            storage_options=self.storage_options,
        )


class GrokVideoEditOperator(GrokVideoBaseOperator):
    """Change a clip of at most 8.7 s by a prompt; the result keeps its length and shape, at most 720p.

    :param prompt: What to change.
    :param video: The clip: an https URL, a ``data:`` URI, a ``file_...`` id, any path Airflow's ObjectStorage can
        read, or the manifest that another task of this provider returned.
    :param model: Model name. Default ``grok-imagine-video``, the only one that edits.
    :param storage_options: ``{"filename": ..., "expires_after": ..., "public_url": ...}`` to have xAI store a copy. The
        name gets a random part of the purchase, by which a submission whose answer was lost is found.
    """

    template_fields: Sequence[str] = (
        "prompt",
        "video",
        "model",
        "storage_options",
        *GrokVideoBaseOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **GrokVideoBaseOperator.template_fields_renderers,
        "storage_options": "json",
    }

    def __init__(
        self,
        *,
        prompt: str,
        video: Any,
        model: str = models.DEFAULT_MODEL,
        storage_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.video = video
        self.model = model
        self.storage_options = storage_options

    def known_source(self) -> Source:
        """Return what another task's manifest tells about the clip."""
        return source_facts(self.video)

    def made_from(self) -> tuple[str, Any] | None:
        """Return the clip."""
        return "video", self.video

    def build_request(self) -> VideoRequest:
        """Return the edit that the arguments describe."""
        from airflow_provider_grokvideo.core import requests

        return requests.edit(
            prompt=self.prompt,
            video=source_in(self.video, time.time()),
            model=self.model,
            storage_options=self.storage_options,
        )


class GrokVideoExtendOperator(GrokVideoBaseOperator):
    """Continue a clip of 2 to 15 s by 2 to 10 s; the result is the whole clip, at most 720p.

    :param prompt: What happens next in the clip.
    :param video: The clip, as in :class:`GrokVideoEditOperator`.
    :param duration: Seconds to add, 2 to 10. None: the service's 6.
    :param model: Model name. Default ``grok-imagine-video``, the only one that extends.
    :param storage_options: ``{"filename": ..., "expires_after": ..., "public_url": ...}`` to have xAI store a copy. The
        name gets a random part of the purchase, by which a submission whose answer was lost is found.
    """

    template_fields: Sequence[str] = (
        "prompt",
        "video",
        "duration",
        "model",
        "storage_options",
        *GrokVideoBaseOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **GrokVideoBaseOperator.template_fields_renderers,
        "storage_options": "json",
    }

    def __init__(
        self,
        *,
        prompt: str,
        video: Any,
        duration: int | str | None = None,
        model: str = models.DEFAULT_MODEL,
        storage_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.video = video
        self.duration = duration
        self.model = model
        self.storage_options = storage_options

    def known_source(self) -> Source:
        """Return what another task's manifest tells about the clip."""
        return source_facts(self.video)

    def made_from(self) -> tuple[str, Any] | None:
        """Return the clip."""
        return "video", self.video

    def build_request(self) -> VideoRequest:
        """Return the extension that the arguments describe."""
        from airflow_provider_grokvideo.core import requests

        return requests.extension(
            prompt=self.prompt,
            video=source_in(self.video, time.time()),
            duration=self.duration,
            model=self.model,
            storage_options=self.storage_options,
        )
