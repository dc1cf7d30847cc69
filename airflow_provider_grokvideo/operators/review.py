"""Review gate: shows a video under Required Actions, to be approved, rejected, or made again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_grokvideo.compat import TaskDeferralError, TaskDeferralTimeout
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.execution import review_form
from airflow_provider_grokvideo.operators.base import GrokVideoBaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.review_form import Clip
    from airflow_provider_grokvideo.operators.review_leg import ReviewLeg


class GrokVideoReviewOperator(GrokVideoBaseOperator):
    """Show a video under Required Actions; return the manifest of the take that is approved.

    *Another take* is a purchase of this task: the request of the first take with the prompt of the response, within
    every limit and budget. Then the question comes again. Each such response buys at most one video, whatever crashes,
    is retried or cleared, and nothing is bought without one: a retry or clear asks about the latest take again, and
    first fetches one that was bought and not stored. A take that cannot be had, because a limit refuses it or the
    content rules block it, is reported in the log and on the Video tab, and the question comes again about the one
    before.

    No worker slot is held while the question is open or a take is made.

    :param video: Result of the task that made the first take, as in ``video=film.output``.
    :param max_takes: How many takes there may be: the first one, and every further purchase, even one that is blocked
        or fails. Default 3; 1 offers no other take.
    :param on_reject: ``"skip"`` skips the task, and with it what depends on it; ``"fail"`` fails it without a retry.
    :param destination: Where further takes are stored: a name gets ``-take-2`` and so on, a directory gets
        ``<request id>.mp4``. None stores them beside the first, as ``<its name>-take-2.mp4``.
    :param response_timeout: Seconds (or timedelta) to wait for each response; then the task fails. None waits as long
        as the DAG run does.

    The other arguments mean what they mean elsewhere. ``on_limit`` and ``on_moderated`` do not: what a limit does not
    allow or the content rules block is asked about again. Of ``resubmit_on`` only ``"unconfirmed"`` has an effect,
    because only a response buys.
    """

    template_fields: Sequence[str] = ("video", "max_takes", *GrokVideoBaseOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **GrokVideoBaseOperator.template_fields_renderers,
        "video": "json",
    }

    def __init__(
        self,
        *,
        video: Any,
        max_takes: int | str = 3,
        on_reject: Literal["skip", "fail"] = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.video = video
        self.max_takes = max_takes
        self.on_reject = on_reject

    @cached_property
    def clip(self) -> Clip:
        """Return the first take; read when it is first needed.

        :raises InvalidInput: `video` is no result of a task that waited for its video.
        """
        return review_form.clip_in(self.video)

    def build_request(self) -> VideoRequest:
        """Return the request of another take with the prompt of the first.

        :raises InvalidInput: It cannot be made again as it was.
        """
        return self.clip.request()

    def made_from(self) -> tuple[str, Any] | None:
        """Return the clip or image that the first take, and so every other one, starts from."""
        try:
            return self.clip.made_from
        except InvalidInput:
            return None

    def start(self, context: Context) -> Any:
        """Resume a take that is under way, then ask."""
        return self._leg(context).begin()

    def execute_after_review(self, context: Context, event: Any = None) -> Any:
        """Do what the response says, if it was given to the question that is open."""
        return self._leg(context).respond(event)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Store a take that is done, then ask about it."""
        return self._leg(context).complete(event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume; where the wait for a response was lost nothing was bought."""
        try:
            return super(GrokVideoBaseOperator, self).resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralTimeout, TaskDeferralError) as problem:
            return self._leg(context).lost(problem)

    def _leg(self, context: Context) -> ReviewLeg:
        from airflow_provider_grokvideo.operators.review_leg import ReviewLeg

        return ReviewLeg(self, context)
