"""The operators: submit a video request, wait without a worker slot, hand over a stored video."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator

from airflow_provider_grokvideo.compat import (
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferralTimeout,
)
from airflow_provider_grokvideo.core import events, models, pricing, requests, watching
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    GrokVideoError,
    InvalidInput,
    WaitTimeout,
)
from airflow_provider_grokvideo.core.jobs import Done
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.tasks import failing, handover
from airflow_provider_grokvideo.tasks.manifest import Purchase, Source, as_number, manifest, source_facts, source_in
from airflow_provider_grokvideo.tasks.waiting import look_once_more, wait

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_grokvideo.core.requests import VideoRequest

DEFER_GRACE = 60.0
"""Seconds that Airflow's own deferral timeout leaves the trigger to report a passed deadline itself."""


class GrokVideoBaseOperator(BaseOperator):
    """What the three operators share; use one of them.

    A task runs in four steps: check the request and its price, submit it, wait for it in the triggerer, store the
    video. Everything that can be wrong is checked before the submit, because the submit costs money.

    :param destination: Where to store the MP4: any ObjectStorage URL (``s3://conn@bucket/dir/clip.mp4``) or local
        path; a directory gets ``<request id>.mp4``. A sidecar JSON is written beside it. None stores nothing and
        leaves a temporary link that dies within hours.
    :param grokvideo_conn_id: Airflow connection of type ``grokvideo``.
    :param deferrable: Wait in the triggerer. True by default, unlike elsewhere in Airflow, because these tasks do
        nothing but wait.
    :param wait_for_completion: False returns right after the submit, with ``status="submitted"``; a
        :class:`~airflow_provider_grokvideo.sensors.grokvideo.GrokVideoSensor` waits and stores elsewhere.
    :param timeout: Seconds (or timedelta) to wait from the submit; the request itself cannot be cancelled and goes
        on. Default 900: the slowest published request took 240. A shorter ``execution_timeout`` counts too.
    :param poll_interval: Seconds between two looks; None lets the connection, then the schedule decide.
    :param on_moderated: ``"fail"`` or ``"skip"`` when the content rules block the video, which is usually billed.
    :param on_ambiguous_submit: When the answer to the submit was lost: ``"fail"`` stops without a retry, because the
        video may have been bought; ``"resubmit"`` lets Airflow's retry buy again.
    :param max_cost_usd: Refuse to submit when the estimate is higher. None sets no limit.
    """

    template_fields: Sequence[str] = ("destination", "grokvideo_conn_id", "max_cost_usd")
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    ui_color = "#e8e4f3"

    def __init__(
        self,
        *,
        destination: str | None = None,
        grokvideo_conn_id: str = GrokVideoHook.default_conn_name,
        deferrable: bool = True,
        wait_for_completion: bool = True,
        timeout: float | timedelta = watching.DEFAULT_TIMEOUT,
        poll_interval: float | None = None,
        on_moderated: Literal["fail", "skip"] = "fail",
        on_ambiguous_submit: Literal["fail", "resubmit"] = "fail",
        max_cost_usd: float | str | Decimal | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.grokvideo_conn_id = grokvideo_conn_id
        self.deferrable = deferrable
        self.wait_for_completion = wait_for_completion
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.on_moderated = on_moderated
        self.on_ambiguous_submit = on_ambiguous_submit
        self.max_cost_usd = max_cost_usd
        self._bought = False
        self._goes_on: str | None = None

    @cached_property
    def hook(self) -> GrokVideoHook:
        """Return the hook of the task's connection."""
        return GrokVideoHook(self.grokvideo_conn_id)

    @abstractmethod
    def build_request(self) -> VideoRequest:
        """Return the request that the rendered arguments describe.

        :raises InvalidInput: An argument is wrong.
        """

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit, then wait or defer; return the manifest."""
        started = time.time()
        with self._guarded():
            purchase = self._buy()
            self._remember(purchase, context)
            if not self.wait_for_completion:
                return manifest(purchase, status="submitted")
            return self._wait(purchase, context, started)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Check the trigger's event, look once more for a fresh link and the final cost, and hand over."""
        self._bought = True
        with self._guarded():
            settled = events.parse(event)
            self._goes_on = settled.request_id
            if error := settled.as_error(self.grokvideo_conn_id):
                raise error
            purchase = self._remembered(settled, context)
            job = look_once_more(settled.request_id, settled.submitted_at, self.hook)
            return self._deliver(handover.finished(job, self.grokvideo_conn_id), purchase, context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume; a trigger that was lost or never ran is a wait that ended, not a video that failed."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralTimeout, TaskDeferralError) as problem:
            self._bought = True
            with self._guarded():
                self._goes_on = self._recall("request_id", context)
                raise WaitTimeout(f"the triggerer did not report on the request ({problem})") from None

    def on_kill(self) -> None:
        """Say what killing the task cannot stop."""
        if self._goes_on:
            self.log.warning(
                "Request %s goes on at the service and is billed: nothing can cancel it. A GrokVideoSensor with this "
                "request_id fetches its video.",
                self._goes_on,
            )

    def known_source(self) -> Source:
        """Return what the arguments tell about the clip that is edited or extended."""
        return Source()

    def _buy(self) -> Purchase:
        """Check everything that can be checked for free, then submit."""
        from airflow_provider_grokvideo.tasks import inputs

        self._check_words()
        request = self.build_request()
        for warning in request.warnings():
            self.log.warning("%s", warning)
        requests.check_source(request, self.known_source().seconds)
        self.hook.account()
        if self.destination is not None and self.wait_for_completion:
            from airflow_provider_grokvideo.delivery.destination import check_writable

            check_writable(self.destination)
        with inputs.opened(request, self.hook) as opened:
            estimate = self._estimate(request, opened.source)
            pricing.check_limit(estimate, self.max_cost_usd)
            ready = opened.request()
            self.log.info("Submitting %s with %s; estimated cost %s", request.mode, request.model, estimate)
            request_id = self._submit(ready)
        # The log is the last place that knows the id if this process dies before the next line.
        self.log.info("Request %s was accepted and is billed from here on", request_id)
        return Purchase(request_id, time.time(), request, estimate.usd)

    def _submit(self, request: VideoRequest) -> str:
        """Start the video; whatever interrupts that, execution_timeout included, leaves it in doubt."""
        try:
            request_id = self._goes_on = self.hook.submit(request)
            self._bought = True
        except GrokVideoError:
            raise
        except (AirflowTaskTimeout, Exception) as problem:
            what = f"the start was interrupted ({type(problem).__name__}: {problem})"
            raise AmbiguousSubmit(what, request_id=self._goes_on) from problem
        return request_id

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Tell Airflow whether a retry is safe: once a video was bought, whatever goes wrong is final."""
        try:
            yield
        except GrokVideoError as error:
            ruling = self._after_purchase if self._bought else self._before_purchase
            raise ruling(error) from error.__cause__
        except (AirflowSkipException, AirflowFailException):
            raise
        except (AirflowTaskTimeout, Exception) as problem:
            if not self._bought:
                raise
            raise self._after_purchase(_unexpected(problem)) from problem

    def _remember(self, purchase: Purchase, context: Context) -> None:
        """Keep in XCom what the resumed task, a sensor or a person needs to know."""
        if (ti := context.get("ti")) is not None:
            ti.xcom_push(key="request_id", value=purchase.request_id)
            ti.xcom_push(key="estimated_cost_usd", value=as_number(purchase.estimated_usd))

    def _estimate(self, request: VideoRequest, opened: Source) -> pricing.Estimate:
        known = self.known_source()
        return pricing.estimate(
            request,
            source_seconds=opened.seconds or known.seconds,
            source_resolution=opened.resolution or known.resolution,
        )

    def _wait(self, purchase: Purchase, context: Context, started: float) -> dict[str, Any]:
        now = time.time()
        since = purchase.submitted_at or now
        deadline = self._deadline(started, since)
        if self.deferrable:
            from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger

            self.defer(
                trigger=GrokVideoTrigger(
                    request_id=purchase.request_id,
                    grokvideo_conn_id=self.grokvideo_conn_id,
                    deadline=deadline,
                    submitted_at=since,
                    not_before=now + watching.FIRST_LOOK,
                    poll_interval=self.poll_interval,
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=deadline - now + DEFER_GRACE),
            )
        interval = self.hook.account().interval(self.poll_interval)
        watch = watching.Watch(
            request_id=purchase.request_id,
            since=since,
            deadline=deadline,
            poll_interval=interval,
            not_before=since + min(watching.FIRST_LOOK, interval or watching.FIRST_LOOK),
        )
        job = handover.finished(wait(watch, self.hook.get_conn()), self.grokvideo_conn_id)
        return self._deliver(job, purchase, context)

    def _deliver(self, job: Done, purchase: Purchase, context: Context) -> dict[str, Any]:
        return handover.hand_over(
            job, purchase, hook=self.hook, destination=self.destination, owner=handover.owner_of(context)
        )

    def _recall(self, key: str, context: Context) -> Any:
        """Return what this task instance pushed before it deferred."""
        ti = context.get("ti")
        return None if ti is None else ti.xcom_pull(task_ids=self.task_id, key=key, map_indexes=ti.map_index)

    def _remembered(self, event: events.Event, context: Context) -> Purchase:
        """Return what a resumed task still knows: its arguments were rendered again."""
        usd = self._recall("estimated_cost_usd", context)
        estimate = None if usd is None else Decimal(str(usd))
        try:
            request = self.build_request()
        except InvalidInput as error:
            # A template that renders differently now must not keep a paid video from its destination.
            self.log.warning("Cannot rebuild the request for the sidecar: %s", error.what)
            return Purchase(event.request_id, event.submitted_at, None, estimate)
        return Purchase(event.request_id, event.submitted_at, request, estimate)

    def _patience(self) -> float:
        return self.timeout.total_seconds() if isinstance(self.timeout, timedelta) else float(self.timeout)

    def _deadline(self, started: float, since: float) -> float:
        """Return when to give up: `timeout` counts from the submit, Airflow's execution_timeout from the start."""
        deadline = since + self._patience()
        if self.execution_timeout is None:
            return deadline
        return min(deadline, started + self.execution_timeout.total_seconds())

    def _check_words(self) -> None:
        """Check the words about waiting and money; the request checks its own."""
        choices = {"on_moderated": ("fail", "skip"), "on_ambiguous_submit": ("fail", "resubmit")}
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise InvalidInput(field, getattr(self, field), f"one of {', '.join(allowed)}")
        if self._patience() <= 0:
            raise InvalidInput("timeout", self.timeout, "more than 0 seconds")
        watching.checked_interval(self.poll_interval)
        if self.destination is not None and str(self.destination).strip() in ("", "None"):
            raise InvalidInput(
                "destination", self.destination, "a path or URL; a template may have rendered to nothing"
            )
        if not str(self.grokvideo_conn_id or "").strip():
            raise InvalidInput("grokvideo_conn_id", self.grokvideo_conn_id, "the name of an Airflow connection")

    def _before_purchase(self, error: GrokVideoError) -> GrokVideoError:
        error.about(conn_id=self.grokvideo_conn_id)
        error = handover.skip_if_wanted(error, self.on_moderated)
        if isinstance(error, AmbiguousSubmit) and self.on_ambiguous_submit == "resubmit":
            error.what_to_do = "on_ambiguous_submit='resubmit': a retry of this task buys again."
            return error
        return failing.for_airflow(error)

    def _after_purchase(self, error: GrokVideoError) -> GrokVideoError:
        error.about(request_id=self._goes_on, conn_id=self.grokvideo_conn_id)
        return failing.final_after_purchase(handover.skip_if_wanted(error, self.on_moderated))


def _unexpected(problem: BaseException) -> GrokVideoError:
    if isinstance(problem, AirflowTaskTimeout):
        return WaitTimeout(f"execution_timeout passed ({problem})")
    return GrokVideoError(f"{type(problem).__name__} after the purchase: {problem}")


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
    :param reference_images: Up to 7 images whose subjects appear in the clip.
    :param reference_audios: Up to 3 voices (model 1.5): a voice id, ``{"voice_id": ...}`` or ``{"url": ...}``.
    :param last_frame: The last frame (model 1.5).
    :param keyframes: Up to 4 of ``{"image": ..., "timestamp_s": seconds}`` (model 1.5).
    :param generate_audio: False for a silent clip; costs the same.
    :param storage_options: ``{"filename": ..., "expires_after": ..., "public_url": ...}`` to have xAI store a copy.
    :param user: An opaque id of your end user, passed on to xAI.
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
        "user",
        *GrokVideoBaseOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"keyframes": "json", "storage_options": "json"}

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
        user: str | None = None,
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
        self.user = user

    def build_request(self) -> VideoRequest:
        """Return the generation that the arguments describe."""
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
            user=self.user,
        )


class GrokVideoEditOperator(GrokVideoBaseOperator):
    """Change a clip of at most 8.7 s by a prompt; the result keeps its length and shape, at most 720p.

    :param prompt: What to change.
    :param video: The clip: an https URL, a ``data:`` URI, a ``file_...`` id, any path Airflow's ObjectStorage can
        read, or the manifest that another task of this provider returned.
    :param model: Model name. Default ``grok-imagine-video``, the only one that edits.
    :param storage_options: ``{"filename": ..., "expires_after": ..., "public_url": ...}`` to have xAI store a copy.
    :param user: An opaque id of your end user, passed on to xAI.
    """

    template_fields: Sequence[str] = (
        "prompt",
        "video",
        "model",
        "storage_options",
        "user",
        *GrokVideoBaseOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"storage_options": "json"}

    def __init__(
        self,
        *,
        prompt: str,
        video: Any,
        model: str = models.DEFAULT_MODEL,
        storage_options: dict[str, Any] | None = None,
        user: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.video = video
        self.model = model
        self.storage_options = storage_options
        self.user = user

    def known_source(self) -> Source:
        """Return what another task's manifest tells about the clip."""
        return source_facts(self.video)

    def build_request(self) -> VideoRequest:
        """Return the edit that the arguments describe."""
        return requests.edit(
            prompt=self.prompt,
            video=source_in(self.video, time.time()),
            model=self.model,
            storage_options=self.storage_options,
            user=self.user,
        )


class GrokVideoExtendOperator(GrokVideoBaseOperator):
    """Continue a clip of 2 to 15 s by 2 to 10 s; the result is the whole clip, at most 720p.

    :param prompt: How it goes on.
    :param video: The clip, as in :class:`GrokVideoEditOperator`.
    :param duration: Seconds to add, 2 to 10. None: the service's 6.
    :param model: Model name. Default ``grok-imagine-video``, the only one that extends.
    :param storage_options: ``{"filename": ..., "expires_after": ..., "public_url": ...}`` to have xAI store a copy.
    """

    template_fields: Sequence[str] = (
        "prompt",
        "video",
        "duration",
        "model",
        "storage_options",
        *GrokVideoBaseOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"storage_options": "json"}

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

    def build_request(self) -> VideoRequest:
        """Return the extension that the arguments describe."""
        return requests.extension(
            prompt=self.prompt,
            video=source_in(self.video, time.time()),
            duration=self.duration,
            model=self.model,
            storage_options=self.storage_options,
        )
