"""Another take of a review: what is asked for, and how an error about it is shown beside the one before."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.core.errors import GrokVideoError, InvalidInput, VideoFailed
from airflow_provider_grokvideo.execution.manifest import Source

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.review_form import Clip


@dataclass(frozen=True)
class Take:
    """What is asked for where another take is made.

    Attributes:
        clip: The first take.
        prompt: Of the other one; None where the try that had it is gone.
    """

    clip: Clip
    prompt: str | None

    def build_request(self) -> VideoRequest:
        """Return the request of the first take with this prompt."""
        if self.prompt is None:
            raise InvalidInput("prompt", None, "the prompt of another take, which this try does not have")
        return self.clip.request(self.prompt)

    def known_source(self) -> Source:
        """Return nothing: the clip that is edited is read."""
        return Source()

    def made_from(self) -> tuple[str, Any] | None:
        """Return what the first take, and so every other one, starts from."""
        return self.clip.made_from


def without_request(error: GrokVideoError | None) -> GrokVideoError | None:
    """Return an error about one take as it is shown beside another, whose request and cost the card names."""
    if error is None:
        return None
    shown = copy(error)
    shown.request_id = None
    if isinstance(shown, VideoFailed):
        shown.cost_usd = None
    return shown
