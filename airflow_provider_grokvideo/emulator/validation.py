"""Validation of submits: pure functions from a body to an :class:`JobOrder` or a :class:`FieldRefused`.

Rules and their numbers are those of contract §3, §4 and §13.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from airflow_provider_grokvideo.emulator import fields
from airflow_provider_grokvideo.emulator.fields import Body, FieldRefused, invalid, malformed
from airflow_provider_grokvideo.emulator.orders import Doom, JobOrder, Medium
from airflow_provider_grokvideo.emulator.prices import CLASSIC, LITE, MODEL_15

MODELS = (CLASSIC, MODEL_15, LITE)
ALIASES = {"grok-imagine-video-1.5-preview": MODEL_15, "grok-imagine-video-1.5-2026-05-30": MODEL_15}

ASPECTS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
RESOLUTIONS = ("480p", "720p", "1080p")
_SIZES = ("848x480", "1696x960", "1280x720", "1920x1080")

DEFAULT_SECONDS = 8
DEFAULT_ADDED_SECONDS = 6
MAX_EDIT_SECONDS = Fraction(87, 10)
MIN_EXTEND_SECONDS, MAX_EXTEND_SECONDS = 2, 15
_MAX_REFERENCES = {CLASSIC: 7, MODEL_15: 14, LITE: 0}
_MAX_SOUNDS, _MAX_KEYFRAMES = 3, 4
_SLOTS_PER_SECOND = 3

Quirks = Mapping[str, str]


def read_order(endpoint: str, body: Body, prompt: str, quirks: Quirks) -> JobOrder:
    """Read a body sent to one of the three submit endpoints.

    ``prompt`` is the body's prompt without directives; quirks decide where contract §13 knows two behaviours.

    Raises:
        Refused: with the status and code of the service's answer.
    """
    readers = {"/videos/generations": _generation, "/videos/edits": _edit, "/videos/extensions": _extension}
    return readers[endpoint](body, prompt, quirks)


def judge_source(order: JobOrder, seconds: Fraction, quirks: Quirks) -> JobOrder:
    """Apply the rules that need the length of the source clip (S19, S22).

    Raises:
        Refused: for an extension source outside 2 to 15 s, and for a long edit source under the quirk ``sync``.
    """
    if order.mode == "edit" and seconds > MAX_EDIT_SECONDS:
        message = f"input video is {float(seconds):.2f} s long; edits take at most {float(MAX_EDIT_SECONDS)} s"
        if quirks["edit_too_long"] == "sync":
            raise invalid(message)
        return replace(order, doom=Doom("invalid_argument", message))
    if order.mode == "extend" and not MIN_EXTEND_SECONDS <= seconds <= MAX_EXTEND_SECONDS:
        raise invalid(f"input video is {float(seconds):.2f} s long; extensions take 2 to 15 s")
    return order


def check_zdr(body: Body) -> None:
    """Refuse a submit of a zero-data-retention team that names no place to put the video (S23)."""
    if fields.upload_url(body) is None:
        raise invalid("this team has zero data retention (ZDR): output.upload_url is required")


def _generation(body: Body, prompt: str, quirks: Quirks) -> JobOrder:
    seconds = _seconds(body, DEFAULT_SECONDS)
    aspect = fields.choice(body, "aspect_ratio", ASPECTS)
    resolution = fields.choice(body, "resolution", RESOLUTIONS) or "480p"
    _check_size(body)
    audio = fields.flag(body, "generate_audio")
    image = _optional_medium(body, "image", "input_reference")
    last_frame = _optional_medium(body, "last_frame")
    references = tuple(
        fields.medium(item, f"reference_images[{index}]")
        for index, item in enumerate(fields.structs(body, "reference_images"))
    )
    keyframes = tuple(_keyframe(item, index) for index, item in enumerate(fields.structs(body, "keyframes")))
    sounds = [_sound(item, index) for index, item in enumerate(fields.structs(body, "reference_audios"))]
    fields.text(body, "user")
    family = bool(references or keyframes or sounds or last_frame)
    order = JobOrder(
        mode="reference-to-video" if family else "image-to-video" if image else "text-to-video",
        model=_model(body),
        prompt=prompt,
        seconds=seconds,
        resolution=resolution,
        aspect=aspect or "16:9",
        audio=audio is not False,
        image=image,
        last_frame=last_frame,
        references=references,
        keyframes=keyframes,
        sounds=len(sounds),
        storage=fields.storage(body),
        upload_url=fields.upload_url(body),
    )
    if not 1 <= seconds <= 15:
        raise invalid(f"duration must be between 1 and 15 seconds, got {seconds}")
    _check_counts(order)
    _check_model(order)
    _check_keyframes(order)
    return _doomed(order, quirks)


def _edit(body: Body, prompt: str, quirks: Quirks) -> JobOrder:
    video = _prompted_video(body)
    fields.text(body, "user")
    order = JobOrder(
        mode="edit",
        model=_model(body),
        prompt=prompt,
        video=video,
        storage=fields.storage(body),
        upload_url=fields.upload_url(body),
    )
    return _only_classic(order, quirks)


def _extension(body: Body, prompt: str, quirks: Quirks) -> JobOrder:
    video = _prompted_video(body)
    seconds = _seconds(body, DEFAULT_ADDED_SECONDS)
    order = JobOrder(
        mode="extend",
        model=_model(body),
        prompt=prompt,
        seconds=seconds,
        video=video,
        storage=fields.storage(body),
        upload_url=fields.upload_url(body),
    )
    if not 2 <= seconds <= 10:
        raise invalid(f"duration of an extension must be between 2 and 10 seconds, got {seconds}")
    return _only_classic(order, quirks)


def _model(body: Body) -> str:
    name = fields.text(body, "model")
    if name is None:
        return CLASSIC  # the service publishes no default
    model = ALIASES.get(name, name)
    if model not in MODELS:
        raise FieldRefused(404, "not-found", f"The model {name} does not exist or your team has no access to it.")
    return model


def _seconds(body: Body, default: int) -> int:
    if body.get("duration") is not None and body.get("seconds") is not None:
        raise malformed("duplicate field `duration`")
    duration = fields.integer(body, "duration", numeric_text=True)
    seconds = fields.integer(body, "seconds", numeric_text=True)
    given = duration if duration is not None else seconds
    return default if given is None else given


def _check_size(body: Body) -> None:
    # The hidden legacy field: its values are known, its effect is not (contract §3.1).
    if fields.choice(body, "size", _SIZES) is not None and body.get("seconds") is not None:
        raise malformed("size and seconds cannot be combined")


def _optional_medium(body: Body, name: str, alias: str | None = None) -> Medium | None:
    given = [key for key in (name, alias) if key and body.get(key) is not None]
    if len(given) == 2:
        raise malformed(f"duplicate field `{name}`")
    return fields.medium(body[given[0]], name) if given else None


def _keyframe(item: Body, index: int) -> tuple[float, Medium]:
    label = f"keyframes[{index}]"
    if item.get("image") is None:
        raise malformed(f"{label}: missing field `image`")
    return fields.number(item, "timestamp_s"), fields.medium(item["image"], f"{label}.image")


def _sound(item: Body, index: int) -> str:
    label = f"reference_audios[{index}]"
    voice, url = fields.text(item, "voice_id"), fields.text(item, "url")
    if bool(voice) == bool(url):
        raise invalid(f"{label}: exactly one of voice_id and url must be set")
    if url and not url.startswith(("data:", "https://", "http://")):
        raise invalid(f"{label}.url is neither an http(s) URL nor a data: URI")
    return voice or url or ""


def _prompted_video(body: Body) -> Medium:
    for name in ("prompt", "video"):
        if body.get(name) is None:
            raise malformed(f"missing field `{name}`")
    return fields.medium(body["video"], "video")


def _check_counts(order: JobOrder) -> None:
    limits = (
        ("reference_images", len(order.references), _MAX_REFERENCES[order.model]),
        ("reference_audios", order.sounds, _MAX_SOUNDS),
        ("keyframes", len(order.keyframes), _MAX_KEYFRAMES),
    )
    for name, count, limit in limits:
        if count > limit:
            raise invalid(f"at most {limit} {name} are allowed with {order.model}, got {count}")


def _check_model(order: JobOrder) -> None:
    if order.mode != "reference-to-video":
        return
    pinned = bool(order.last_frame or order.keyframes or order.sounds)
    if pinned and order.model != MODEL_15:
        raise invalid(f"last_frame, keyframes and reference_audios need {MODEL_15}, not {order.model}")
    if order.model == CLASSIC and order.image is not None:
        raise invalid("image and reference_images cannot be combined")
    if order.model == CLASSIC and order.seconds > 10:
        raise invalid(f"reference-to-video takes at most 10 seconds, got {order.seconds}")
    if order.resolution == "1080p" and order.model == MODEL_15:
        raise invalid("references and pinned frames are limited to 720p")


def _check_keyframes(order: JobOrder) -> None:
    slots: set[int] = set()
    for moment, _ in order.keyframes:
        if not 0 < moment < order.seconds:
            raise invalid(f"keyframe timestamp_s {moment} is not inside 0 to {order.seconds} s")
        slot = round(moment * _SLOTS_PER_SECOND)
        if slot in slots:
            raise invalid(f"keyframe timestamp_s {moment} falls into a slot that is already taken")
        slots.add(slot)


def _doomed(order: JobOrder, quirks: Quirks) -> JobOrder:
    pinned = order.image or order.last_frame or order.keyframes
    if order.model == CLASSIC and order.resolution == "1080p":
        message = f"1080p is not available for {CLASSIC}"
        return _refuse_or_doom(order, quirks["classic_1080p"], Doom("failed_precondition", message))
    if not order.prompt and not pinned:
        doom = Doom("invalid_argument", "prompt must not be empty")
        return _refuse_or_doom(order, quirks["empty_prompt"], doom)
    return order


def _only_classic(order: JobOrder, quirks: Quirks) -> JobOrder:
    if order.model != CLASSIC:
        message = f"{order.model} cannot {order.mode} videos; use {CLASSIC}"
        return _refuse_or_doom(order, quirks["edit_model"], Doom("failed_precondition", message))
    if not order.prompt:
        doom = Doom("invalid_argument", "prompt must not be empty")
        return _refuse_or_doom(order, quirks["empty_prompt"], doom)
    return order


def _refuse_or_doom(order: JobOrder, when: str, doom: Doom) -> JobOrder:
    if when == "sync":
        raise invalid(doom.message)
    return replace(order, doom=doom)
