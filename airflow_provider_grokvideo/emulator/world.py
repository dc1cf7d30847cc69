"""The state of the emulated service: jobs, files, links, faults and the ledger, behind one lock.

The servers' event loop changes it, other threads read it; time and chance are injected.
"""

from __future__ import annotations

import asyncio
import random
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_grokvideo.emulator.directives import Directives
from airflow_provider_grokvideo.emulator.faults import Fault, FaultQueue
from airflow_provider_grokvideo.emulator.ledger import Seen, Start
from airflow_provider_grokvideo.emulator.orders import JobOrder
from airflow_provider_grokvideo.emulator.quirks import read_quirks
from airflow_provider_grokvideo.emulator.recipe import Footage, Recipe
from airflow_provider_grokvideo.emulator.tempo import Tempo

KEY = "xai-emulator-key"
KEY_BLOCKED = "xai-emulator-blocked"
KEY_NO_CREDIT = "xai-emulator-no-credit"
KEY_ZDR = "xai-emulator-zdr"
KEYS = (KEY, KEY_BLOCKED, KEY_NO_CREDIT, KEY_ZDR)

_UNBILLED = ("failed", "failed_string")


@dataclass
class Link:
    """A temporary address of a video on the download origin; ``expires_at`` in epoch seconds."""

    url: str
    request_id: str
    expires_at: float


@dataclass
class HeldFile:
    """A file of the Files API: uploaded bytes, or the video of a job."""

    id: str
    filename: str
    created_at: float
    data: bytes | None = None
    request_id: str | None = None
    expires_at: float | None = None
    public_token: str | None = None
    public_expires_at: float | None = None


@dataclass
class Job:
    """One accepted submission and its result."""

    request_id: str
    order: JobOrder
    recipe: Recipe | None
    body: dict[str, Any]
    raw_prompt: str
    price: int
    accepted_at: float
    tempo: Tempo
    span: float
    faults: FaultQueue
    fate: Fault | None = None
    polls: int = 0
    answered_polls: int = 0
    settled: bool = False
    link: Link | None = None
    file: HeldFile | None = None
    uploading: asyncio.Future[None] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def fate_kind(self) -> str:
        """The kind of ending: ``done`` unless a fault or a doomed order says otherwise."""
        if self.fate is not None:
            return self.fate.kind
        return "failed" if self.order.doom else "done"

    @property
    def billed_ticks(self) -> int:
        """Moderated, expired and vanished jobs are billed in full; jobs that failed at the service are not."""
        return 0 if self.fate_kind in _UNBILLED else self.price

    @property
    def state(self) -> str:
        """The word for the ledger."""
        if not self.settled:
            return "pending"
        kind = "failed" if self.fate_kind == "failed_string" else self.fate_kind
        return kind if kind in ("moderated", "failed", "expired", "gone") else "done"


class World:
    """Everything the emulator knows."""

    def __init__(
        self,
        tempo: Tempo,
        quirks: dict[str, str] | None = None,
        link_ttl: float = 3600.0,
        speed: float = 1.0,
        seed: int | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        import time

        self.lock = threading.RLock()
        self.clock = clock or time.time
        self.link_ttl = link_ttl
        self.speed = speed
        self._initial = (tempo, dict(quirks or {}))
        self._dice = random.Random(seed)  # noqa: S311 - repeatable ids, no secrets
        self.secrets: set[str] = set(KEYS)
        self.download_origin = ""
        self.download_port: int | None = None
        self.reset()

    def reset(self) -> None:
        """Forget everything that happened and go back to the settings of the start."""
        with self.lock:
            self.tempo = self._initial[0]
            self.quirks = read_quirks(self._initial[1])
            self.jobs: dict[str, Job] = {}
            self.links: dict[str, Link] = {}
            self.files: dict[str, HeldFile] = {}
            self.public_files: dict[str, HeldFile] = {}
            self.faults = FaultQueue()
            self.requests: dict[int, Seen] = {}
            self.leaks = 0
            self._directive_uses: dict[tuple[str, int], int] = {}
            self._submit_times: deque[float] = deque()
            self._limited = 0

    def new_id(self) -> str:
        """Return a fresh UUID; repeatable when the emulator was given a seed."""
        return str(uuid.UUID(int=self._dice.getrandbits(128), version=4))

    def reached_as(self, host: str | None) -> None:
        """Make links with the name by which a client reached the API, where every address of the machine is bound."""
        if self.download_port is not None and host:
            name = f"[{host}]" if ":" in host else host
            self.download_origin = f"http://{name}:{self.download_port}"

    # Submitting

    def take_submit_fault(self, directives: Directives, raw_prompt: str) -> Fault | None:
        """Return the fault that strikes this submit, from the script or from the prompt itself."""
        with self.lock:
            fault = self.faults.take("submit", None, raw_prompt)
            if fault is not None:
                return fault
            for index, candidate in enumerate(directives.faults):
                if candidate.strikes("submit", None, raw_prompt) and self._use(raw_prompt, index, candidate):
                    return candidate
            return None

    def _use(self, raw_prompt: str, index: int, fault: Fault) -> bool:
        # A prompt is sent again by a retry, so its faults are counted per prompt and not per request.
        used = self._directive_uses.get((raw_prompt, index), 0)
        if fault.times is not None and used >= fault.times:
            return False
        self._directive_uses[raw_prompt, index] = used + 1
        return True

    def over_rate(self) -> int:
        """Return 0, or the running number of this submit among those over the quirk ``rate_limit``."""
        limit = self.quirks["rate_limit"]
        if limit == "off":
            return 0
        with self.lock:
            now = self.clock()
            while self._submit_times and self._submit_times[0] <= now - 60:
                self._submit_times.popleft()
            if len(self._submit_times) < int(limit):
                self._submit_times.append(now)
                return 0
            self._limited += 1
            return self._limited

    def accept(
        self,
        order: JobOrder,
        recipe: Recipe | None,
        price: int,
        body: dict[str, Any],
        directives: Directives,
        raw_prompt: str,
        notes: Iterable[str] = (),
    ) -> Job:
        """Take an order into the ledger and bill it."""
        with self.lock:
            tempo = directives.tempo or self.tempo
            seconds = float(recipe.seconds) if recipe else float(order.seconds)
            job = Job(
                request_id=self.new_id(),
                order=order,
                recipe=recipe,
                body=body,
                raw_prompt=raw_prompt,
                price=price,
                accepted_at=self.clock(),
                tempo=tempo,
                span=tempo.span(self._dice, order.resolution, seconds, order.model, self.speed),
                faults=FaultQueue(f for f in directives.faults if f.on in ("poll", "download", "any")),
                notes=list(notes),
            )
            job.fate = self._draw_fate(job, directives)
            self.jobs[job.request_id] = job
            return job

    def _draw_fate(self, job: Job, directives: Directives) -> Fault | None:
        for index, fault in enumerate(directives.faults):
            if fault.is_fate and self._use(job.raw_prompt, index, fault):
                return fault
        return self.faults.take("job", job.request_id, job.raw_prompt)

    # Looking

    def poll(self, job: Job) -> Fault | None:
        """Count a poll and return the fault that strikes it, if any."""
        with self.lock:
            job.polls += 1
            fate = self.faults.take_addressed("job", job.request_id)
            if fate is None and not job.settled and job.fate is None:
                fate = self.faults.take("job", job.request_id, job.raw_prompt)
            if fate is not None:
                job.fate = fate
            return self._strike(job, "poll")

    def _strike(self, job: Job, operation: str) -> Fault | None:
        own = job.faults.take(operation, job.request_id, job.raw_prompt)
        return own or self.faults.take(operation, job.request_id, job.raw_prompt)

    def is_ready(self, job: Job) -> bool:
        """Tell whether the job has come to its end at this poll; count the poll otherwise."""
        with self.lock:
            if job.settled:
                return True
            elapsed = self.clock() - job.accepted_at
            if job.tempo.is_ready(job.answered_polls, elapsed, job.span):
                return True
            job.answered_polls += 1
            return False

    def progress(self, job: Job) -> int:
        """Return 0 to 99 for a job that runs."""
        return job.tempo.progress(job.answered_polls - 1, self.clock() - job.accepted_at, job.span)

    def settle(self, job: Job) -> None:
        """Mark a job as ended; with ``storage_options`` its file comes into being."""
        with self.lock:
            if job.settled:
                return
            job.settled = True
            wish = job.order.storage
            if wish is None or job.state != "done" or job.fate_kind == "storage_error":
                return
            job.file = self.store(
                HeldFile(
                    id=f"file_{self.new_id()}",
                    filename=wish.filename,
                    created_at=self.clock(),
                    request_id=job.request_id,
                    expires_at=self._after(wish.expires_after),
                )
            )
            if wish.public:
                self.publish(job.file, wish.public_expires_after)

    def settle_ready(self) -> None:
        """Mark as ended whose output is to be stored and whose time has come, whether anybody looks or not (F2)."""
        with self.lock:
            for job in list(self.jobs.values()):
                elapsed = self.clock() - job.accepted_at
                if job.order.storage and not job.settled and job.tempo.is_ready(job.answered_polls, elapsed, job.span):
                    self.settle(job)

    def link_for(self, job: Job) -> Link:
        """Return the job's link; one that has expired is replaced, unless the quirk ``expired_link`` says same."""
        with self.lock:
            link = job.link
            dead = link is not None and link.expires_at <= self.clock()
            if link is None or (dead and self.quirks["expired_link"] == "renew"):
                token, expires_at = self._token(), self.clock() + self.link_ttl
                name = f"xai-video-{job.request_id}.mp4?exp={int(expires_at)}"
                url = f"{self.download_origin}/xai-vidgen-bucket/{token}/{name}"
                link = job.link = self.links[token] = Link(url, job.request_id, expires_at)
            return link

    def take_download_fault(self, job: Job) -> Fault | None:
        """Return the fault that strikes a download of this job's video."""
        with self.lock:
            return self._strike(job, "download")

    # Files

    def store(self, file: HeldFile) -> HeldFile:
        """Put a file into the Files API."""
        with self.lock:
            self.files[file.id] = file
            return file

    def find_file(self, file_id: str) -> HeldFile | None:
        """Return a file that is there and has not expired."""
        with self.lock:
            file = self.files.get(file_id)
            if file is not None and file.expires_at is not None and file.expires_at <= self.clock():
                return None
            return file

    def publish(self, file: HeldFile, expires_after: int | None) -> None:
        """Give a file a public URL; an existing one stays as it is."""
        with self.lock:
            if file.public_token is None:
                file.public_token = self._token()
                file.public_expires_at = self._after(expires_after) or file.expires_at
                self.public_files[file.public_token] = file

    def remove_file(self, file: HeldFile) -> None:
        """Delete a file and its public URL."""
        with self.lock:
            self.public_files.pop(file.public_token or "", None)
            self.files.pop(file.id, None)

    def _after(self, seconds: int | None) -> float | None:
        return None if seconds is None else self.clock() + seconds

    def _token(self) -> str:
        return f"{self._dice.getrandbits(96):024x}"

    def public_url(self, file: HeldFile) -> str | None:
        """The public address of a file on the download origin, if it has one."""
        if file.public_token is None:
            return None
        return f"{self.download_origin}/files/{file.public_token}/{file.id}"

    # Reading

    def footage_of(self, request_id: str, origin: str) -> Footage | None:
        """Return a job's video as a source for another job, whether or not its link has expired."""
        job = self.jobs.get(request_id)
        if job is None or job.recipe is None:
            return None
        made = job.recipe
        return Footage("video", made.key, origin, made.width, made.height, made.frames, made.audio, recipe=made)

    def starts(self) -> list[Start]:
        """Return the accepted submissions in their order."""
        with self.lock:
            return [
                Start(
                    request_id=job.request_id,
                    mode=job.order.mode,
                    model=job.order.model,
                    prompt=job.raw_prompt,
                    body=job.body,
                    accepted_at=job.accepted_at,
                    billed_ticks=job.billed_ticks,
                    state=job.state,
                    notes=tuple(job.notes),
                )
                for job in self.jobs.values()
            ]

    def polls(self) -> dict[str, int]:
        """Return how often each request was polled."""
        with self.lock:
            return {job.request_id: job.polls for job in self.jobs.values()}
