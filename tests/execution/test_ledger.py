"""What a task does about money: before the start it knows and reserves the price, after it the bill is booked."""

from __future__ import annotations

import functools
import json
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow_kit import StateStore, TaskInstance, adopt

from airflow_provider_grokvideo.compat import AirflowFailException, AirflowSkipException
from airflow_provider_grokvideo.core.billing.pricing import estimate
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    AuthenticationFailed,
    DeliveryFailed,
    EventRejected,
    GrokVideoError,
    InvalidInput,
    LedgerUnavailable,
    OutOfCredits,
    RateLimited,
    RequestRejected,
    SpendLimitExceeded,
    VideoExpired,
    VideoFailed,
    VideoModerated,
)
from airflow_provider_grokvideo.core.requests import generation
from airflow_provider_grokvideo.execution import approval
from airflow_provider_grokvideo.ledger.sql import SqlLedger, open_sqlite
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoEditOperator, GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

pytestmark = pytest.mark.usefixtures("grokvideo_connection")

TICKS = 500_000_000
"""One second at 480p on the default model."""


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqlLedger:
    """Give each test a ledger of its own and return it."""
    path = str(tmp_path / "ledger.db")
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", path)
    return open_sqlite(path)


def make(prompt: str = "A red ball", fault: str = "", **words):
    """Return how to make the same generating task again and again, as Airflow does."""
    directive = f" [[emulator: tempo=polls:1{f' fault={fault}' if fault else ''}]]"
    given = {"task_id": "make", "prompt": prompt + directive, "duration": 1, "poll_interval": 0.05, **words}
    return functools.partial(GrokVideoGenerateOperator, **given)


def attempt(drive, *given, **words):
    """Run a task to its end and return its error, or None."""
    try:
        drive(*given, **words)
    except (GrokVideoError, AirflowSkipException) as error:
        return error
    return None


@pytest.mark.parametrize(
    ("fault", "error", "state", "outcome", "billed"),
    [
        pytest.param("", None, "settled", "done", TICKS, id="done"),
        pytest.param("moderated:a", VideoModerated, "settled", "moderated", TICKS, id="blocked, without a link"),
        pytest.param("moderated:b", VideoModerated, "settled", "moderated", TICKS, id="blocked, as HTTP 400"),
        pytest.param("moderated:c", VideoModerated, "settled", "moderated", TICKS, id="blocked, as a failure"),
        pytest.param("failed:internal_error", VideoFailed, "settled", "failed", 0, id="failed"),
        pytest.param("expired", VideoExpired, "settled", "expired", None, id="expired"),
        pytest.param("gone", VideoExpired, "settled", "expired", None, id="forgotten"),
        pytest.param("lost_answer on=submit", AmbiguousSubmit, "reserved", "unconfirmed", None, id="answer lost"),
        pytest.param(
            "accept_then_502 on=submit", AmbiguousSubmit, "reserved", "unconfirmed", None, id="accepted, then 502"
        ),
        pytest.param("http:400 on=submit", RequestRejected, "released", None, None, id="refused"),
        pytest.param("http:429 on=submit times=9", RateLimited, "released", None, None, id="rate limit"),
        pytest.param("wrong_bytes on=download times=9", DeliveryFailed, "settled", "done", TICKS, id="not delivered"),
    ],
)
def test_each_end_is_booked_as_it_is(drive, grokvideo_emulator, ledger, tmp_path, fault, error, state, outcome, billed):
    """Whatever became of a start, the ledger says so, and counts what the service bills for it."""
    problem = attempt(drive, make(fault=fault, destination=f"{tmp_path}/clips/"), store=StateStore())
    (entry,) = ledger.entries()

    assert error in (None, type(problem)) or isinstance(problem, error)
    assert (problem is None) == (error is None)
    assert (state, outcome) == (entry.state, entry.outcome)
    assert entry.billed in (billed, None)
    assert grokvideo_emulator.billed_ticks == entry.counted
    assert (entry.request_id is None) == (not grokvideo_emulator.starts or outcome == "unconfirmed")


@pytest.mark.parametrize("outcome", ["moderated:a", "moderated:b", "moderated:c"])
def test_a_blocked_video_that_is_skipped_is_booked_too(drive, grokvideo_emulator, ledger, outcome):
    """on_moderated='skip' skips the task and not the bill."""
    problem = attempt(drive, make(fault=outcome, on_moderated="skip"), store=StateStore())

    assert isinstance(problem, AirflowSkipException)
    assert TICKS == grokvideo_emulator.billed_ticks == sum(entry.counted for entry in ledger.entries())


def test_what_is_gone_on_with_or_reused_is_booked_once(drive, grokvideo_emulator, ledger, backend, tmp_path):
    """A retry that fetches and a clear that reuses cost nothing, and the ledger says so."""
    task = make(fault="wrong_bytes on=download times=9", destination=f"{tmp_path}/clips/")
    assert isinstance(attempt(drive, task, store=backend), DeliveryFailed)
    again = make(fault="wrong_bytes on=download times=9", destination=f"{tmp_path}/clips/")
    while attempt(drive, again, TaskInstance(try_number=2), store=backend) is not None:
        assert len(grokvideo_emulator.requests) < 200
    drive(again, TaskInstance(try_number=3, max_tries=2), store=backend)

    assert [TICKS] == [entry.counted for entry in ledger.entries()]
    assert TICKS == grokvideo_emulator.billed_ticks


def test_a_purchase_that_was_bought_again_is_booked_twice(drive, grokvideo_emulator, ledger):
    """Two videos are two entries: what was wanted to be paid again is paid again."""
    store = StateStore()
    task = make(fault="moderated:b", resubmit_on=["moderated"])
    assert isinstance(attempt(drive, task, store=store), VideoModerated)
    attempt(drive, task, TaskInstance(try_number=2), store=store)

    assert [TICKS, TICKS] == [entry.counted for entry in ledger.entries()]
    assert 2 * TICKS == grokvideo_emulator.billed_ticks


def test_a_sensor_books_what_it_waited_for(drive, grokvideo_emulator, ledger):
    """A request that another task waits for is settled by that one."""
    submitted = drive(make(wait_for_completion=False), store=StateStore()).result
    before = ledger.entries()
    drive(functools.partial(GrokVideoSensor, task_id="wait", request_id=submitted, poll_interval=0.05))

    assert [("reserved", TICKS, None)] == [(entry.state, entry.counted, entry.billed) for entry in before]
    assert [("settled", TICKS, TICKS)] == [(entry.state, entry.counted, entry.billed) for entry in ledger.entries()]


def test_a_video_somebody_else_bought_is_not_booked(drive, grokvideo_emulator, ledger, tmp_path, monkeypatch):
    """A sensor that fetches a request unknown to the ledger does not invent a purchase."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")
    submitted = drive(make(wait_for_completion=False), store=StateStore()).result
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", ledger.told)
    drive(functools.partial(GrokVideoSensor, task_id="wait", request_id=submitted["request_id"], poll_interval=0.05))

    assert [] == ledger.entries()


def test_a_request_that_another_task_adopts_is_booked_once(drive, grokvideo_emulator, ledger):
    """Whoever fetches a request: it was bought once, by the task that sent it."""
    first, second = StateStore(), StateStore()
    assert attempt(drive, make(timeout=1e-6, deferrable=False), store=first) is not None
    request_id = grokvideo_emulator.starts[0].request_id
    other = TaskInstance(run_id="manual__2")
    adopt(other, request_id, second)
    drive(make("Other"), other, store=second)
    drive(make(), TaskInstance(try_number=2), store=first)
    (entry,) = ledger.entries()

    assert (TICKS, "manual__1", "done") == (entry.billed, entry.owner.run_id, entry.outcome)
    assert TICKS == grokvideo_emulator.billed_ticks


def test_a_doubtful_start_that_turns_out_to_be_a_booked_request_is_not_booked_twice(drive, grokvideo_emulator, ledger):
    """A person who adopts for a doubtful start what another task bought says that the start itself bought nothing."""
    store = StateStore()
    assert isinstance(attempt(drive, make("Lost", fault="lost_answer on=submit"), store=store), AmbiguousSubmit)
    other = drive(make("Other"), TaskInstance(task_id="other"), store=StateStore()).result
    adopt(TaskInstance(), other["request_id"], store)
    drive(make("Lost", fault="lost_answer on=submit"), store=store)

    assert TICKS == sum(entry.counted for entry in ledger.entries() if entry.request_id == other["request_id"])
    assert [] == [entry for entry in ledger.entries() if entry.outcome == "unconfirmed"]


@pytest.mark.parametrize(
    "raised", [RuntimeError("the driver is broken"), OverflowError("too large"), KeyError("x")], ids=repr
)
def test_no_trouble_with_booking_stops_a_task_after_its_purchase(drive, grokvideo_emulator, monkeypatch, logs, raised):
    """A video that is paid is delivered, whatever a database driver raises, and the log says what to run."""

    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(SqlLedger, "change", fail)

    assert attempt(drive, make(), store=StateStore()) is None
    assert "grokvideo reconcile" in logs()


def test_who_is_over_two_limits_is_told_of_both(drive, grokvideo_emulator):
    """Who is asked about max_cost_usd sees which budgets they would allow to be exceeded with it."""
    words = {"max_cost_usd": 0.01, "budgets": [{"usd": 0.02, "per": "day"}, {"usd": 5, "per": "month"}]}
    problem = attempt(drive, make(**words), store=StateStore())

    assert isinstance(problem, SpendLimitExceeded)
    assert "max_cost_usd is 0.01; the budget of 0.02 USD per day (budgets[0]) has 0 USD spent" in problem.why
    assert "month" not in problem.why


def test_a_limit_of_the_task_needs_no_ledger_to_refuse(drive, grokvideo_emulator, monkeypatch, tmp_path):
    """What max_cost_usd does not allow fails for good, even if the ledger does not answer."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "no such folder" / "ledger.db"))
    words = {"max_cost_usd": 0.01, "budgets": [{"usd": 5, "per": "day"}]}

    assert isinstance(attempt(drive, make(**words), store=StateStore()), SpendLimitExceeded)


def test_a_ledger_that_is_switched_on_later_learns_what_was_bought(drive, grokvideo_emulator, ledger, monkeypatch):
    """A request that was submitted before there was a ledger is booked when its task goes on."""
    store = StateStore()
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")
    assert attempt(drive, make(timeout=1e-6, deferrable=False), store=store) is not None
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", ledger.told)
    drive(make(), TaskInstance(try_number=2), store=store)

    assert [("settled", "done", TICKS)] == [(each.state, each.outcome, each.billed) for each in ledger.entries()]


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        pytest.param("setting", "[grokvideo] budgets[0]", id="setting"),
        pytest.param("connection", "connection grokvideo_default[0]", id="connection"),
        pytest.param("task", "budgets[0]", id="task"),
    ],
)
def test_a_budget_is_kept_wherever_it_is_declared(drive, grokvideo_emulator, monkeypatch, declare, said):
    """The second clip does not fit, so it is not sent; the error says which budget, what is left, and until when."""
    words = {}
    budget = {"usd": "0.08", "per": "day", "timezone": "Europe/Berlin"}
    if declare == "setting":
        monkeypatch.setenv("AIRFLOW__GROKVIDEO__BUDGETS", json.dumps([budget]))
    elif declare == "connection":
        address = {"host": grokvideo_emulator.base_url, "password": grokvideo_emulator.api_key}
        connection = {"conn_type": "grokvideo", **address, "extra": {"max_usd_per_day": 0.08, "poll_interval": 0.2}}
        monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(connection))
    else:
        words = {"budgets": [budget]}
    drive(make(**words), store=StateStore())

    with pytest.raises(SpendLimitExceeded) as caught:
        drive(make("A green ball", **words), store=StateStore())

    assert 1 == len(grokvideo_emulator.starts)
    assert isinstance(caught.value, AirflowFailException)
    message = str(caught.value)
    assert f"the budget of 0.08 USD per day{' of grokvideo_default' * (declare == 'connection')} ({said})" in message
    assert "has 0.05 USD spent or reserved and 0.03 USD left; the next day begins at 20" in message
    assert "the request would cost 0.05 USD (1 s of 480p: 0.05; prices of 2026-10-08)" in message


def test_budgets_count_what_they_name(drive, grokvideo_emulator):
    """A budget per DAG run lets another run buy, one per DAG another DAG, and one of other DAGs does not care."""
    run = [{"usd": 0.05, "per": "dag_run"}]
    other = [{"usd": 0, "per": "month", "dag_id": ["somebody_elses"]}]
    dag = [{"usd": 0.1, "per": ["month", "dag"]}]
    budgets = [*run, *other, *dag]
    ends = [
        type(attempt(drive, make(f"Ball {number}", budgets=budgets), ti, store=StateStore())).__name__
        for number, ti in enumerate(
            [
                TaskInstance(),
                TaskInstance(),
                TaskInstance(run_id="manual__2"),
                TaskInstance(run_id="manual__3"),
                TaskInstance(dag_id="series", run_id="manual__3"),
            ]
        )
    ]

    assert ["NoneType", "SpendLimitExceeded", "NoneType", "SpendLimitExceeded", "NoneType"] == ends
    assert 3 == len(grokvideo_emulator.starts)


def test_what_is_over_a_limit_can_be_skipped(drive, grokvideo_emulator, ledger):
    """on_limit='skip' skips the task and says why."""
    for words in ({"max_cost_usd": "0.04"}, {"budgets": [{"usd": 0, "per": "dag"}]}):
        problem = attempt(drive, make(on_limit="skip", **words), store=StateStore())

        assert isinstance(problem, AirflowSkipException)
        assert "the request would cost 0.05 USD" in str(problem)
    assert ([], []) == (grokvideo_emulator.starts, ledger.entries())


def test_a_dead_reservation_is_given_back_by_the_next_try(drive, grokvideo_emulator, ledger, tmp_path, monkeypatch):
    """A worker that dies between reservation and intent holds the budget only until its task runs again.

    In one database they are one transaction, so this is about a journal in files.
    """
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))

    class Died(BaseException):
        pass

    def die(*_, **__):
        raise Died

    words = {"budgets": [{"usd": 0.05, "per": "dag_run"}]}
    with monkeypatch.context() as dying:
        # What a killed process does not do either: give anything back.
        dying.setattr("airflow_provider_grokvideo.execution.journal.TaskJournal.intend", die)
        dying.setattr("airflow_provider_grokvideo.execution.ledger.TaskLedger.released", lambda *_: None)
        with pytest.raises(Died):
            drive(make(**words), store=None)
    held = [entry.counted for entry in ledger.entries()]
    drive(make(**words), TaskInstance(try_number=2), store=None)

    assert [TICKS] == held
    assert [("released", 0), ("settled", TICKS)] == [(entry.state, entry.counted) for entry in ledger.entries()]
    assert 1 == len(grokvideo_emulator.starts)


def test_a_start_that_was_not_accepted_gives_its_reservation_back(drive, grokvideo_emulator, ledger):
    """A refused start leaves the whole budget to the next one."""
    words = {"budgets": [{"usd": 0.05, "per": "dag"}]}
    refused = attempt(drive, make("A blue ball", fault="http:400 on=submit", **words), store=StateStore())
    bought = attempt(drive, make(**words), TaskInstance(task_id="other"), store=StateStore())

    assert isinstance(refused, RequestRejected)
    assert bought is None
    assert 1 == len(grokvideo_emulator.starts)


def test_a_bill_for_refused_content_is_booked_and_stays(drive, grokvideo_emulator, ledger, backend):
    """A refusal is no purchase; should it name a bill, ledger and journal keep it for the next try, too."""
    grokvideo_emulator.script("refused:billed")
    refused = attempt(drive, make("A blue ball"), store=backend)
    first = [(entry.state, entry.outcome, entry.counted) for entry in ledger.entries()]
    attempt(drive, make("A blue ball"), TaskInstance(try_number=2), store=backend)

    assert isinstance(refused, VideoModerated)
    assert "0.05" == refused.cost_usd
    assert [("settled", "moderated", TICKS)] == first
    assert first[0] in [(entry.state, entry.outcome, entry.counted) for entry in ledger.entries()]


def test_a_doubtful_start_holds_its_reservation(drive, grokvideo_emulator, ledger, backend):
    """Money that may be gone counts."""
    words = {"budgets": [{"usd": 0.05, "per": "dag"}]}
    other = make("A blue ball", **words)
    assert isinstance(
        attempt(drive, make("Lost", fault="lost_answer on=submit", **words), store=backend), AmbiguousSubmit
    )
    blocked = attempt(drive, other, TaskInstance(task_id="other"), store=StateStore())

    assert isinstance(blocked, SpendLimitExceeded)
    assert ["unconfirmed"] == [entry.outcome for entry in ledger.entries()]
    assert 1 == len(grokvideo_emulator.starts)


def test_without_its_ledger_a_budget_lets_nothing_through(drive, grokvideo_emulator, monkeypatch, tmp_path):
    """A ledger that does not answer stops a purchase that a budget applies to, and a retry helps."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "no such folder" / "ledger.db"))
    problem = attempt(drive, make(budgets=[{"usd": 5, "per": "day"}]), store=StateStore())

    assert isinstance(problem, LedgerUnavailable)
    assert not isinstance(problem, AirflowFailException)
    assert "unable to open database file" in str(problem)
    assert [] == grokvideo_emulator.starts


def test_without_its_ledger_and_without_a_budget_a_task_goes_on(drive, grokvideo_emulator, monkeypatch, tmp_path, logs):
    """Booking must not keep a video from being made, and the log says what is missing."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "no such folder" / "ledger.db"))

    assert attempt(drive, make(), store=StateStore()) is None
    assert "No budget applies, so the task continues" in logs()


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        pytest.param("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none", "ledger_path is none", id="switched off"),
        pytest.param("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor", "set [grokvideo] ledger_conn_id", id="many machines"),
    ],
)
def test_a_budget_without_a_ledger_is_refused(drive, grokvideo_emulator, monkeypatch, setting, value, why):
    """A limit that nothing could keep is an error, not a comfort."""
    monkeypatch.delenv("AIRFLOW__GROKVIDEO__LEDGER_PATH")
    monkeypatch.setenv(setting, value)
    problem = attempt(drive, make(budgets=[{"usd": 5, "per": "day"}]), store=StateStore())

    assert isinstance(problem, InvalidInput)
    assert why in str(problem)
    assert [] == grokvideo_emulator.starts


def test_the_price_is_in_the_log_before_the_start(drive, grokvideo_emulator, logs):
    """The log of a task has the estimate with its parts and the date of its prices before the bill, and the bill."""
    drive(make(resolution="720p", duration=2), store=StateStore())
    said = logs()
    before = "estimated cost 0.14 USD (2 s of 720p: 0.14; prices of 2026-10-08)"

    assert said.index(before) < said.index("was accepted by xAI")
    assert "cost 0.14 USD (estimate: 0.14 USD)" in said
    assert "differs" not in said


@pytest.mark.parametrize(
    ("price", "differs"),
    [("0.05", False), ("0.046", False), ("0.0454", True), ("0.0555", False), ("0.0556", True), ("5", True)],
)
def test_a_bill_far_from_its_estimate_is_told(drive, grokvideo_emulator, monkeypatch, tmp_path, logs, price, differs):
    """More than 10 % in either direction says that the prices have changed."""
    path = tmp_path / "prices.json"
    listed = {"grok-imagine-video": {"output_second": {"480p": price}}}
    path.write_text(json.dumps({"as_of": "2027-01-01", "models": listed}))
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__PRICES_PATH", str(path))
    manifest = drive(make(), store=StateStore()).result

    assert (float(price), 0.05) == (manifest["estimated_cost_usd"], manifest["cost_usd"])
    assert differs == ("differs from the estimate by more than 10 %" in logs())


def test_an_edit_below_its_upper_bound_is_no_surprise(drive, grokvideo_emulator, tmp_path, logs):
    """Where the source's length is not known the estimate is a bound, and less than it is nothing to warn of."""
    clip = drive(make(), store=StateStore()).result["url"]
    edit = functools.partial(GrokVideoEditOperator, task_id="edit", prompt="Snow", video=clip, poll_interval=0.05)
    manifest = drive(edit, TaskInstance(task_id="edit"), store=StateStore()).result

    assert manifest["cost_usd"] < 0.9 * manifest["estimated_cost_usd"]
    assert "differs" not in logs()


def test_an_unknown_model_needs_a_rule_under_a_limit(drive, grokvideo_emulator, monkeypatch, tmp_path):
    """Nobody knows its price, so no limit lets it through, until a price file has a rule for such models."""
    words = {"model": "grok-next", "budgets": [{"usd": 5, "per": "day"}]}
    refused = attempt(drive, make(**words), store=StateStore())
    path = tmp_path / "prices.json"
    path.write_text('{"as_of": "2027-01-01", "models": {"*": {"output_second": {"480p": 0.5}, "input_image": 0.1}}}')
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__PRICES_PATH", str(path))
    dear = attempt(drive, make(max_cost_usd=0.4, **words), store=StateStore())
    unknown_there = attempt(drive, make(**words), store=StateStore())

    assert isinstance(refused, SpendLimitExceeded)
    assert "no price is known" in str(refused)
    assert isinstance(dear, SpendLimitExceeded)
    assert "would cost 0.5 USD" in str(dear)
    # It passed the limits; the emulator does not know the model either.
    assert isinstance(unknown_there, RequestRejected)


@pytest.mark.parametrize(
    ("key", "error", "said"),
    [
        pytest.param("xai-emulator-no-credit", OutOfCredits, "Add credits or raise the spending limit", id="no credit"),
        pytest.param("xai-emulator-zdr", RequestRejected, "deliver_via='upload'", id="zero data retention"),
        pytest.param("xai-emulator-blocked", AuthenticationFailed, "airflow connections test", id="blocked"),
    ],
)
def test_an_account_that_cannot_buy_is_one_error(drive, grokvideo_emulator, ledger, monkeypatch, key, error, said):
    """Nothing is booked, nothing is retried, and the message says what to do."""
    connection = {"conn_type": "grokvideo", "host": grokvideo_emulator.base_url, "password": key}
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(connection))
    problem = attempt(drive, make(), store=StateStore())

    assert isinstance(problem, error)
    assert isinstance(problem, AirflowFailException)
    assert said in str(problem)
    assert 1 == sum(seen.method == "POST" for seen in grokvideo_emulator.requests)
    assert [("released", 0)] == [(entry.state, entry.counted) for entry in ledger.entries()]


class Events(dict):
    """As Airflow's outlet events: what a task says about its outlets."""

    def __missing__(self, outlet):
        event = self[outlet] = Event()
        return event


class Event:
    """What a task says about one outlet."""

    def __init__(self) -> None:
        self.extra: dict[str, object] = {}
        self.added: list[tuple[Asset, dict[str, object]]] = []

    def add(self, asset, extra):
        """Take an asset for an alias."""
        self.added.append((asset, extra))


def test_an_asset_event_of_a_submitted_request_says_so(grokvideo_emulator):
    """A task that only submits tells which request another task waits for; there is no file for an alias yet."""
    asset, alias = Asset(name="ball", uri="file:///ball"), AssetAlias("clips")
    task = make(deferrable=False, wait_for_completion=False, outlets=[asset, alias])
    events = Events()
    manifest = task().execute({"ti": TaskInstance(), "task_state_store": StateStore(), "outlet_events": events})
    told = events[asset].extra
    sensor = GrokVideoSensor(
        task_id="sense", request_id=manifest, deferrable=False, poke_interval=0.05, outlets=[asset]
    )
    sensed = sensor.execute({"ti": TaskInstance(task_id="sense")})

    assert ("submitted", manifest["request_id"], "text-to-video") == tuple(
        told[name] for name in ("status", "request_id", "mode")
    )
    assert [] == events[alias].added
    assert ("text-to-video", manifest["estimated_cost_usd"], manifest["submitted_at"]) == tuple(
        sensed[name] for name in ("mode", "estimated_cost_usd", "submitted_at")
    )


def test_an_asset_event_has_cost_and_hash(grokvideo_emulator, tmp_path):
    """Who reads the asset's events learns what was made, what it cost and its hash, and no link that dies."""
    asset, alias = Asset(name="ball", uri="file:///ball"), AssetAlias("clips")
    task = make(destination=f"{tmp_path}/ball.mp4", deferrable=False, outlets=[asset, alias])
    events, store = Events(), StateStore()
    manifest = task().execute({"ti": TaskInstance(), "task_state_store": store, "outlet_events": events})
    again = Events()
    task().execute({"ti": TaskInstance(try_number=2), "task_state_store": store, "outlet_events": again})
    extra = events[asset].extra
    ((added, added_extra),) = events[alias].added

    assert (manifest["sha256"], 0.05, 0.05) == (extra["sha256"], extra["cost_usd"], extra["spent_usd"])
    assert (manifest["request_id"], manifest["uri"]) == (extra["request_id"], extra["uri"])
    assert "url" not in extra
    assert json.loads(json.dumps(extra)) == extra == added_extra
    assert f"file://{tmp_path}/ball.mp4" == added.uri
    assert (0.05, 0.0, True) == tuple(again[asset].extra[name] for name in ("cost_usd", "spent_usd", "reused"))


def test_an_asset_event_that_airflow_does_not_take_stops_nothing(grokvideo_emulator, tmp_path, logs):
    """The video is paid and stored; that its event says nothing of cost is a warning."""

    class Refusing(dict):
        def __missing__(self, outlet):
            raise KeyError(outlet)

    task = make(destination=f"{tmp_path}/ball.mp4", deferrable=False, outlets=[AssetAlias("clips")])
    context = {"ti": TaskInstance(), "task_state_store": StateStore(), "outlet_events": Refusing()}

    assert "done" == task().execute(context)["status"]
    assert "goes without cost and hash" in logs()


def test_a_question_shows_what_it_is_about():
    """Price with its parts, reason, model, connection and prompt, and that nothing can be taken back."""
    request = generation(prompt="A red ball\nrolls", duration=5, model="grok-imagine-video-1.5")
    subject, body = approval.question(request, estimate(request), "max_cost_usd is 0.1", "grokvideo_default")

    assert "Buy a video for 0.4 USD?" == subject
    assert "0.4 USD (5 s of 480p: 0.4; prices of 2026-10-08)" in body
    assert "max_cost_usd is 0.1" in body
    assert "> A red ball\n> rolls" in body
    assert "grok-imagine-video-1.5" in body
    assert "grokvideo_default" in body
    assert "cancel" in body


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        ({"chosen_options": ["Buy"], "responded_by_user": {"id": "7", "name": "Ada"}}, (True, "Ada")),
        ({"chosen_options": ["Do not buy"], "responded_by_user": {"id": "7", "name": ""}}, (False, "7")),
        ({"chosen_options": ["Buy"], "responded_by_user": None}, (True, "a user")),
    ],
    ids=["yes", "no", "nobody named"],
)
def test_an_answer_is_read(event, answer):
    """Yes, no, and who said so."""
    assert answer == approval.answered(event)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"error": "too late", "error_type": "timeout"}, SpendLimitExceeded),
        ({"chosen_options": ["Buy", "Do not buy"]}, EventRejected),
        ({"chosen_options": ["Maybe"]}, EventRejected),
        ({"error": "?", "error_type": "validation"}, EventRejected),
        (None, EventRejected),
        ("Buy", EventRejected),
    ],
    ids=["timeout", "both", "other", "invalid", "nothing", "text"],
)
def test_what_is_no_answer_buys_nothing(event, error):
    """Only a clear yes is one."""
    with pytest.raises(error):
        approval.answered(event)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"on_limit": "warn"}, "one of fail, skip, ask"),
        ({"response_timeout": 0}, "more than 0"),
        ({"response_timeout": timedelta(seconds=-1)}, "more than 0"),
        ({"response_timeout": "soon"}, "seconds or a timedelta"),
        ({"assigned_users": "ada"}, 'a list of {"id": ..., "name": ...}'),
        ({"assigned_users": [{"id": "7"}]}, 'a list of {"id": ..., "name": ...}'),
        ({"budgets": [{"usd": 5}]}, "one or more of dag_run, dag, connection, day, month"),
        ({"budgets": [{"usd": "much", "per": "day"}]}, "0 to 100000000 USD"),
        ({"budgets": [{"usd": 5, "per": "week"}]}, "one or more of dag_run, dag, connection, day, month"),
        ({"max_cost_usd": ""}, "0 to 100000000 USD"),
        ({"max_cost_usd": True}, "0 to 100000000 USD"),
    ],
    ids=repr,
)
def test_words_about_money_that_make_no_sense_are_refused(drive, grokvideo_emulator, words, said):
    """Before anything is sent, with what is allowed."""
    problem = attempt(drive, make(**words), store=StateStore())

    assert isinstance(problem, InvalidInput)
    assert said in str(problem)
    assert [] == grokvideo_emulator.starts
