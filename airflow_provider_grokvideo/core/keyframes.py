"""Keyframes of a request: images at moments of the clip, and the rules for their number and moments."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from pydantic import ValidationInfo

from airflow_provider_grokvideo.core import models
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.fields import Moment, Value, sequence
from airflow_provider_grokvideo.core.media import Visual


class Keyframe(Value):
    """An image at a moment of the clip, in seconds from its beginning."""

    image: Visual
    timestamp_s: Moment


def read_keyframes(value: object, info: ValidationInfo) -> list[Keyframe]:
    """Return a list of keyframes and of mappings with their fields as keyframes; errors name the index."""
    found = []
    for index, item in enumerate(sequence(value, info)):
        field = f"keyframes[{index}]"
        if isinstance(item, Mapping):
            try:
                item = Keyframe(**item)  # noqa: PLW2901
            except InvalidInput as problem:
                raise InvalidInput(f"{field}.{problem.field}", problem.value, problem.allowed) from None
        if not isinstance(item, Keyframe):
            raise InvalidInput(field, item, "an object with image and timestamp_s")
        found.append(item)
    return found


def check_keyframes(frames: tuple[Keyframe, ...], seconds: int) -> None:
    """Check the keyframes of a clip of so many seconds.

    Raises:
        InvalidInput: There are too many, or one is outside of the clip or too close to another.
    """
    if len(frames) > models.MAX_KEYFRAMES:
        raise InvalidInput("keyframes", len(frames), f"at most {models.MAX_KEYFRAMES} keyframes")
    taken: set[int] = set()
    for index, frame in enumerate(frames):
        field = f"keyframes[{index}].timestamp_s"
        if not 0 < frame.timestamp_s < seconds:
            raise InvalidInput(
                field, frame.timestamp_s, f"a moment inside the clip: more than 0 and less than {seconds} s"
            )
        slot = round(frame.timestamp_s * models.KEYFRAME_GRID)
        if slot in taken:
            raise InvalidInput(field, frame.timestamp_s, "a third of a second without another keyframe")
        taken.add(slot)
    moments = sorted(frame.timestamp_s for frame in frames)
    for earlier, later in pairwise(moments):
        if later - earlier < 1 / models.KEYFRAME_GRID - 1e-6:
            raise InvalidInput("keyframes", [earlier, later], "moments at least a third of a second apart")
