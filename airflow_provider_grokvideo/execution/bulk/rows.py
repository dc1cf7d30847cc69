"""A row as a run sees it: its order, its request, its inputs, its price."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.core import requests
from airflow_provider_grokvideo.core.bulk.rows import Row
from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.core.purchases import records as purchases
from airflow_provider_grokvideo.core.requests import VideoRequest
from airflow_provider_grokvideo.execution import inputs
from airflow_provider_grokvideo.execution.manifest import Source, source_facts, source_in

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.billing.entries import Entry
    from airflow_provider_grokvideo.core.billing.pricing import Estimate
    from airflow_provider_grokvideo.core.bulk.states import Step
    from airflow_provider_grokvideo.core.purchases.records import Record
    from airflow_provider_grokvideo.execution.ports import WaitFor
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

_MAKERS: dict[str, Callable[..., VideoRequest]] = {
    "generate": requests.generation,
    "edit": requests.edit,
    "extend": requests.extension,
}


class RowOrder:
    """What a row asks for, as an :class:`~airflow_provider_grokvideo.execution.ports.Order`."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def build_request(self) -> VideoRequest:
        """Return the request of the row.

        Raises:
            InvalidInput: An argument is wrong or missing.
        """
        given = dict(self._row.arguments)
        if "video" in given:
            given["video"] = source_in(given["video"], time.time())
        return _MAKERS[self._row.mode](**given)

    def known_source(self) -> Source:
        """Return what another task's manifest tells about the clip."""
        return source_facts(self._row.arguments.get("video"))

    def made_from(self) -> tuple[str, Any] | None:
        """Return the clip or first frame, where there is one."""
        name = "image" if self._row.mode == "generate" else "video"
        value = self._row.arguments.get(name)
        return None if value is None else (name, value)


@dataclass
class RowWork:
    """A row in one leg of the task.

    Attributes:
        row: The row.
        records: Its purchases, oldest first.
        step: What to do with it.
        fingerprint: Of its request, files by their content; None where it need not be known.
        estimate: What it will cost, where it may be bought.
        mode: Of the request, where it may be bought.
        model: Of the request, where it may be bought.
        reserved: The reservation of its price.
        error: What went wrong in this leg.
        flight: What there is to wait for.
        again_at: Epoch seconds at which to look for the video of a lost answer again.
        is_left: The row is not in the table any more; its video is paid.
    """

    row: Row
    records: list[Record]
    step: Step = field(default_factory=purchases.Submit)
    fingerprint: str | None = None
    estimate: Estimate | None = None
    mode: str | None = None
    model: str | None = None
    reserved: Entry | None = None
    error: GrokVideoError | None = None
    flight: WaitFor | None = None
    again_at: float | None = None
    is_left: bool = False

    @property
    def order(self) -> RowOrder:
        """What the row asks for."""
        return RowOrder(self.row)

    @property
    def last(self) -> Record | None:
        """The purchase that the row's line tells of."""
        record = getattr(self.step, "record", None)
        return record if record is not None else (self.records[-1] if self.records else None)


def read(request: VideoRequest, records: Sequence[Record], hook: GrokVideoHook) -> tuple[str, Source]:
    """Return the fingerprint of a row's request, and what its files tell of the clip that is changed.

    An input that is gone by now must not keep a row from the video that was bought from the same arguments.

    Raises:
        GrokVideoError: An input cannot be read or used, and nothing was bought from the same arguments.
    """
    asked = request.fingerprint()
    try:
        with ExitStack() as files:
            opened = files.enter_context(inputs.opened(request, hook))
            return opened.fingerprint(), opened.source
    except GrokVideoError:
        known = known_as(asked, records)
        if known is None:
            raise
        return known, Source()


def known_as(asked: str, records: Sequence[Record]) -> str | None:
    """Return the fingerprint under which the same arguments were bought last; None if they were not."""
    same = [r for r in records if r.asked == asked or r.fingerprint == purchases.ANY_INPUTS]
    return same[-1].fingerprint if same else None
