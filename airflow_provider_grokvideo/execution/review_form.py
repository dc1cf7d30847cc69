"""Question, form and response of a review, and the request and destination of another take."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.core.errors import EventRejected, GrokVideoError, InvalidInput, shorten
from airflow_provider_grokvideo.core.purchases import takes
from airflow_provider_grokvideo.core.redaction import MARK
from airflow_provider_grokvideo.execution import approval

if TYPE_CHECKING:
    from airflow.sdk import Param

    from airflow_provider_grokvideo.core.billing.pricing import Estimate
    from airflow_provider_grokvideo.core.media import Media
    from airflow_provider_grokvideo.core.purchases.records import Owner
    from airflow_provider_grokvideo.core.purchases.takes import Choice
    from airflow_provider_grokvideo.core.requests import VideoRequest

APPROVE, REJECT, ANOTHER = "Approve", "Reject", "Another take"

WORDS, TAKE = "prompt", "take"
"""The fields of the form: the prompt of another take, and the take to approve."""

LATEST = "latest"

_CHOICES: dict[str, Choice] = {APPROVE: "approve", REJECT: "reject", ANOTHER: "another"}
_SOURCES = frozenset({"url", "file_id", "path", "voice_id", "sha256", "known_as", "uri"})
_SHOWN = 600

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """The video that a review was given: the first take.

    Attributes:
        manifest: Result of the task that made it.
        asked: What it was made from, as its sidecar says: mode, model and the other arguments.
        why_no_other: Why the same request cannot be made again; None where it can.
    """

    manifest: Mapping[str, Any]
    asked: Mapping[str, Any] = field(default_factory=dict)
    why_no_other: str | None = None

    @property
    def name(self) -> str:
        """What stands for it in the journal."""
        return takes.clip_of(self.manifest)

    @property
    def prompt(self) -> str:
        """The prompt it was made with; empty if it is unknown."""
        return str(self.asked.get(WORDS) or "")

    @property
    def made_from(self) -> tuple[str, Any] | None:
        """The argument that holds the clip or picture it starts from, and where that is."""
        for name in ("video", "image"):
            media = self.asked.get(name)
            if isinstance(media, Mapping):
                if media.get("uri"):
                    known_as = str(media.get("known_as") or "")
                    return name, {"uri": media["uri"], "request_id": known_as.removeprefix("request ") or None}
                return name, media.get("path") or media.get("url") or media.get("file_id")
        return None

    def request(self, words: str | None = None) -> VideoRequest:
        """Return the request of another take: that of the first one, with the prompt of the response.

        Raises:
            InvalidInput: It cannot be made again as it was, or the prompt is invalid.
        """
        if self.why_no_other is not None:
            raise InvalidInput("video", self.manifest.get("uri"), f"a clip that can be made again; {self.why_no_other}")
        return _request(self.asked, words)


def clip_in(video: object) -> Clip:
    """Return the clip that is to be reviewed, with what its sidecar says.

    A clip whose sidecar cannot be read can be reviewed; there is no other take then.

    Raises:
        InvalidInput: It is no result of a task that waited for its video.
    """
    if not isinstance(video, Mapping) or "request_id" not in video:
        allowed = (
            "what one task of this provider returned, as in video=film.output; a mapped task's outputs are reviewed by "
            ".expand(video=film.output)"
        )
        raise InvalidInput("video", video, allowed)
    if video.get("status") != "done":
        raise InvalidInput("video", video.get("status"), "a video that is done; wait for it with a GrokVideoSensor")
    made = dict(video)
    if not made.get("uri"):
        return Clip(made, why_no_other="its task has no destination, so there is no record of how it was made")
    asked, why_not = _asked(made)
    if why_not is None:
        try:
            _request(asked, None)
        except InvalidInput as problem:
            why_not = problem.allowed if problem.field == _LOST else problem.what
    return Clip(made, asked, why_not)


def place_of(clip: Clip, destination: str | None, number: int) -> str | None:
    """Return the destination of a take after the first: beside that one, or where the task says.

    A directory is taken as it is, because in one each video has its request's name. A name gets ``-take-2``.

    Raises:
        InvalidInput: `destination` is none.
    """
    from airflow_provider_grokvideo.storage.destination import SUFFIX, target

    given = destination if destination is not None else clip.manifest.get("uri")
    if given is None:
        return None
    text = str(given).strip()
    to = target(text, default_name="video")
    return f"{text[: -len(SUFFIX)]}-take-{number}{SUFFIX}" if text.endswith(to.name) else text


def question(
    clip: Clip, owner: Owner, *, estimate: Estimate | None, max_takes: int, why_no_other: str | None
) -> tuple[str, str]:
    """Return subject and body (Markdown) of the question.

    Airflow keeps the first question of a task instance's try, so both have to be true of each take that it is asked
    about: the picture and the page are addresses at which the latest one is found.

    Args:
        clip: The first take.
        owner: The review's task instance.
        estimate: What another take costs.
        max_takes: How many takes there may be.
        why_no_other: Why there is no other take to be had; None where there is.
    """
    from airflow_provider_grokvideo.links.grokvideo import video_page

    page = video_page(owner.dag_id, owner.run_id, owner.task_id, owner.map_index)
    made = clip.manifest
    prompt = clip.prompt if len(clip.prompt) <= _SHOWN else f"{clip.prompt[:_SHOWN]}…"
    picture = [f"[![Poster of the latest take]({_poster(owner)})]({page})"] if made.get("poster_uri") else []
    if why_no_other is None:
        price = "" if estimate is None or estimate.usd is None else f", for {estimate}"
        other = (
            f"**{ANOTHER}** submits one more video{price}, with the prompt in the form below; the API has no "
            f"cancel. Then you review that one. At most {max_takes} takes, including the first."
        )
    else:
        other = f"**{ANOTHER}** is not offered: {why_no_other}."
    named = ", or the one selected in the form" if why_no_other is None else ""
    approve = f"**{APPROVE}** returns the latest take{named}. **{REJECT}** returns none."
    lines = [
        *picture,
        f"**[Watch the latest take]({page})**",
        f"**The first take** {_facts(made)}",
        *(["**Its prompt**", "\n".join(f"> {line}" for line in prompt.splitlines())] if prompt else []),
        approve,
        other,
    ]
    words = " ".join(prompt.split())
    return f"Approve the video? {words[:80]}{'…' if len(words) > 80 else ''}".strip(), "\n\n".join(lines)


def form(clip: Clip, *, words: str, max_takes: int, why_no_other: str | None) -> dict[str, Param]:
    """Return the form beside the options.

    Args:
        clip: The first take.
        words: Initial text of the field for the prompt of another take.
        max_takes: How many takes there may be.
        why_no_other: Why there is no other take to be had; then there is nothing to fill in.
    """
    from airflow.sdk import Param

    if why_no_other is not None:
        return {}
    numbers = [str(number) for number in range(takes.FIRST, max_takes + 1)]
    return {
        WORDS: Param(
            words,
            type="string",
            format="multiline",
            title="Prompt of another take",
            description=f"Used by “{ANOTHER}”.",
        ),
        TAKE: Param(
            LATEST,
            type="string",
            enum=[LATEST, *numbers],
            title="Take to approve",
            description=f"Returned by “{APPROVE}”.",
        ),
    }


@dataclass(frozen=True)
class ReviewResponse:
    """A response to a review.

    Attributes:
        choice: Which option; None if the form is invalid.
        by: Name of the user.
        at: When, which distinguishes it from others; None if unknown.
        words: Prompt of another take; None if the form was not filled in, as by a program.
        take: The take to approve; None for the latest.
        problem: What is invalid.
    """

    choice: Choice | None
    by: str
    at: str | None = None
    words: str | None = None
    take: int | None = None
    problem: str | None = None


def said(event: object) -> ReviewResponse:
    """Read a response.

    Raises:
        GrokVideoError: There was no response within ``response_timeout``; Airflow does not retry it.
        EventRejected: It is no valid response.
    """
    if isinstance(event, Mapping) and event.get("error_type") == "timeout":
        late = GrokVideoError(
            "no response to the review within response_timeout",
            advice="Clear the task to ask again at no charge.",
        )
        late.retry_helps = False
        raise late
    if isinstance(event, Mapping) and event.get("error_type") == "validation":
        return ReviewResponse(None, approval.who(event), problem=shorten(event.get("error")))
    chosen = event.get("chosen_options") if isinstance(event, Mapping) else None
    if not isinstance(event, Mapping) or not isinstance(chosen, list) or len(chosen) != 1 or chosen[0] not in _CHOICES:
        raise EventRejected(f"invalid response to the review: {shorten(event)}")
    filled_in = event.get("params_input")
    filled_in = filled_in if isinstance(filled_in, Mapping) else {}
    moment = event.get("responded_at")
    heard = ReviewResponse(_CHOICES[chosen[0]], approval.who(event), None if moment is None else str(moment))
    words, take = filled_in.get(WORDS), filled_in.get(TAKE)
    if heard.choice == "another" and WORDS in filled_in and not (isinstance(words, str) and words.strip()):
        return replace(heard, choice=None, problem="the prompt of another take is empty")
    if heard.choice != "approve" or take in (None, LATEST):
        return replace(heard, words=words if isinstance(words, str) else None)
    if not (str(take).isascii() and str(take).isdecimal()):
        return replace(heard, choice=None, problem=f"invalid take={shorten(take)}: expected a number")
    return replace(heard, take=int(take))


_LOST = "video's request"


def _asked(made: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return what the sidecar beside a video says that it was made from, or why nobody knows."""
    from airflow_provider_grokvideo.delivery import store
    from airflow_provider_grokvideo.storage.destination import target

    uri = str(made["uri"])
    try:
        to = target(uri, default_name="video")
        found = json.loads(to.place().read(to.sidecar_name) or b"null")
    except Exception as problem:  # noqa: BLE001 - storage raises what it likes, and the clip can be looked at without
        log.warning("The sidecar of %s cannot be read: %s: %s", uri, type(problem).__name__, problem)
        return {}, f"its sidecar cannot be read ({type(problem).__name__})"
    if not isinstance(found, Mapping):
        return {}, "there is no sidecar beside it that says what it was made from"
    if store.identity(found) != store.identity(made):
        return {}, "the sidecar beside it is another video's"
    asked = found.get("request")
    if not isinstance(asked, Mapping) or not asked.get("mode"):
        return {}, "its sidecar does not say what it was made from, as for one that a sensor fetched"
    return dict(asked), None


def _request(asked: Mapping[str, Any], words: str | None) -> VideoRequest:
    from airflow_provider_grokvideo.core import requests

    kinds = (
        requests.TextToVideo,
        requests.ImageToVideo,
        requests.ReferenceToVideo,
        requests.EditVideo,
        requests.ExtendVideo,
    )
    kind = next((each for each in kinds if each.mode == asked.get("mode")), None)
    if kind is None:
        mode = shorten(asked.get("mode"))
        raise InvalidInput(_LOST, mode, f"this version does not know its mode {mode}")
    given = {name: _given(name, value) for name, value in asked.items() if name not in ("mode", WORDS)}
    if words is None:
        words = str(_given(WORDS, asked.get(WORDS) or ""))
    return kind(**{**given, WORDS: words})


def _given(name: str, value: Any) -> Any:
    """Return an argument as it was given, images and clips from where they last."""
    if isinstance(value, Mapping) and value and set(value) <= _SOURCES:
        return _media(name, value)
    if isinstance(value, Mapping):
        return {part: _given(f"{name}.{part}", each) for part, each in value.items()}
    if isinstance(value, list):
        return [_given(f"{name}[{index}]", each) for index, each in enumerate(value)]
    if isinstance(value, str) and (lost := _lost(value)):
        raise InvalidInput(_LOST, name, f"its {name} {lost}")
    return value


def _media(name: str, value: Mapping[str, Any]) -> Media:
    from airflow_provider_grokvideo.core.media import Media

    if value.get("uri"):
        # Another task's video: its temporary link may be dead, and it is the same input by either address.
        return Media(path=str(value["uri"]), known_as=value.get("known_as"))
    if value.get("known_as") and value.get("url"):
        raise InvalidInput(_LOST, name, f"its {name} was a temporary link, which does not last")
    for text in value.values():
        if isinstance(text, str) and (lost := _lost(text)):
            raise InvalidInput(_LOST, name, f"its {name} {lost}")
    named = {part: each for part, each in value.items() if part != "sha256"}
    return Media(**named)


def _lost(text: str) -> str | None:
    """Say what a sidecar has left out of a text, if anything."""
    if text[:5].lower() == "data:":
        return "was given as data, which is not kept"
    if text.endswith("?…"):
        return "was an address with a query, which is not kept"
    return "had a secret in it, which is not kept" if MARK in text else None


def _facts(made: Mapping[str, Any]) -> str:
    cost, estimate = made.get("cost_usd"), made.get("estimated_cost_usd")
    return " · ".join(_facts_of(made, cost, estimate))


def _facts_of(made: Mapping[str, Any], cost: object, estimate: object) -> Iterator[str]:
    if made.get("mode"):
        yield str(made["mode"])
    if made.get("model"):
        yield str(made["model"])
    if isinstance(made.get("duration"), int | float):
        yield f"{made['duration']:g} s"
    if made.get("width") and made.get("height"):
        yield f"{made['width']} x {made['height']}"
    if cost is not None:
        yield f"cost {cost} USD"
    elif estimate is not None:
        yield f"estimated {estimate} USD"


def _poster(owner: Owner) -> str:
    from airflow_provider_grokvideo.links.urls import base_path, query

    return f"{base_path()}/grokvideo/media/poster?{query(owner)}"
