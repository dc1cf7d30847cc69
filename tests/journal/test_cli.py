"""The journal's command line, on files and on Airflow's task state store."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from pretended_airflow import TOKEN, PretendedAirflow, pretended_airflow

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.__main__ import main
from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.purchases.records import Attach, Owner, Policy, Record, Submit, latest, next_step
from airflow_provider_grokvideo.journal.backends import STATE_KEY, FileBackend, TaskStateBackend
from airflow_provider_grokvideo.journal.rest import OPERATORS, AirflowApi
from airflow_provider_grokvideo.ledger.sql import open_sqlite
from airflow_provider_grokvideo.storage.directories import open_tree

RUN = "manual__2026-11-22T10:00:00+00:00 'x' $(y)"
OWNER = Owner("films", RUN, "make", 0)
INTENT = Record(
    OWNER, 1, "t1", "intent", "red", "red", 1795376616.0, try_number=1, mode="text-to-video", estimated_usd="0.05"
)
BOUGHT = replace(INTENT, phase="submitted", request_id="bought", submitted_at=1795376617.0)
DELIVERED = replace(BOUGHT, phase="delivered", manifest={"uri": "s3://videos/0.mp4", "cost_usd": 0.05})
ENDED = replace(BOUGHT, phase="ended", outcome="moderated", cost_usd="0.05")


def of(record: Record, **changes: Any) -> Record:
    """Return the same purchase of another task instance."""
    owner = {name: changes.pop(name) for name in ("dag_id", "run_id", "task_id", "map_index") if name in changes}
    whose = replace(record.owner, **owner)
    return replace(record, owner=whose, token=f"{record.token}-{whose}-{changes.get('number', 1)}", **changes)


@dataclass
class Journal:
    """One kind of home: the words that name it, and how to get at it beside the command line."""

    words: list[str]
    path: Path | None = None
    airflow: PretendedAirflow | None = None

    def hold(self, *records: Record) -> None:
        """Keep the records of one task instance."""
        if self.airflow is not None:
            self.airflow.hold(*records)
            return
        for each in records:
            FileBackend(open_tree(str(self.path)), each.owner).create(each)

    def records(self, owner: Owner = OWNER) -> list[Record]:
        """Return the records of a task instance."""
        if self.airflow is None:
            return FileBackend(open_tree(str(self.path)), owner).records()
        with AirflowApi(self.airflow.url, {}) as api:
            return TaskStateBackend(api.store(owner), owner).records()

    def spoil(self, owner: Owner, how: str = "nonsense") -> None:
        """Make what is kept of a task instance unreadable."""
        if self.airflow is not None:
            schema = 99 if how == "future" else 1
            self.airflow.states[owner, STATE_KEY] = {"schema": schema, "purchases": ["nonsense"]}
        else:
            backend = FileBackend(open_tree(str(self.path)), owner)
            Path(backend.name, "0001.json").write_text('{"schema": 99}' if how == "future" else "{")


@pytest.fixture
def airflow() -> Iterator[PretendedAirflow]:
    """An api-server."""
    with pretended_airflow() as running:
        yield running


@pytest.fixture(params=["files", "task_state_store"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    """An empty journal in each kind of home."""
    if request.param == "task_state_store":
        running: PretendedAirflow = request.getfixturevalue("airflow")
        running.tasks[OWNER] = OPERATORS[0]
        return Journal(["--api-url", running.url], airflow=running)
    (tmp_path / "the journal").mkdir()
    return Journal(["--journal-path", str(tmp_path / "the journal")], path=tmp_path / "the journal")


def named(owner: Owner = OWNER) -> list[str]:
    """Return the words that name a task instance."""
    return [owner.dag_id, owner.run_id, owner.task_id, "--map-index", str(owner.map_index)]


def test_without_words_it_prints_what_there_is(capsys: pytest.CaptureFixture[str]):
    """Without words, and with the word journal alone, it explains itself."""
    codes = [main([]), main(["journal"])]

    assert [0, 0] == codes
    assert {"list", "show", "adopt", "forget"} <= set(capsys.readouterr().out.split())


def test_it_tells_its_version(capsys: pytest.CaptureFixture[str]):
    """--version is the version of the provider."""
    with pytest.raises(SystemExit):
        main(["--version"])

    assert f"{__version__}\n" == capsys.readouterr().out


def test_list_shows_every_purchase(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """The table has a block per run, a row per purchase in the order of time, and counts in its last line."""
    journal.hold(DELIVERED, of(INTENT, number=2, intended_at=1795376700.0))
    journal.hold(of(ENDED, map_index=1))
    journal.hold(of(BOUGHT, run_id="later", intended_at=1795380000.0, waits_elsewhere=True))
    code = main(["journal", "list", *journal.words])
    shown = capsys.readouterr()

    assert 0 == code
    assert [
        "WHEN (UTC)        TASK     PHASE                      EST. $  BILLED $  REQUEST ID",
        "",
        f"DAG films, run {RUN}",
        "2026-11-22 19:43  make[0]  delivered                    0.05      0.05  bought",
        "    s3://videos/0.mp4",
        "2026-11-22 19:43  make[1]  ended: moderated             0.05      0.05  bought",
        "2026-11-22 19:45  make[0]  intent                       0.05         -  -",
        "",
        "DAG films, run later",
        "2026-11-22 20:40  make[0]  submitted: a sensor waits    0.05         -  bought",
        "",
        "4 purchases (1 delivered, 1 ended, 1 intent, 1 submitted); estimated 0.2 USD, billed 0.1 USD so far; "
        "1 orphan: 1 unconfirmed",
    ] == shown.out.splitlines()
    assert journal.words[1] in shown.err


def test_an_empty_journal_is_no_error(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """Where nothing was bought the list says so."""
    code = main(["journal", "list", *journal.words])

    assert 0 == code
    assert "0 purchases; estimated 0 USD, billed 0 USD so far; 0 orphans\n" == capsys.readouterr().out


def test_rows_fit_the_usual_terminal(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """A row with ids as Airflow and the service make them is not longer than 120 columns."""
    journal.hold(of(ENDED, task_id="group.make_the_video", map_index=117, request_id="a" * 36))
    main(["journal", "list", *journal.words])
    shown = capsys.readouterr().out

    assert 120 > max(map(len, shown.splitlines()))
    assert "a" * 36 in shown


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--dag-id", "films"], {("films", RUN, "make"), ("films", "r2", "make"), ("films", RUN, "other")}),
        (["--run-id", RUN], {("films", RUN, "make"), ("films", RUN, "other"), ("films2", RUN, "make")}),
        (["--task-id", "make"], {("films", RUN, "make"), ("films", "r2", "make"), ("films2", RUN, "make")}),
        (["--dag-id", "films", "--run-id", "r2", "--task-id", "make"], {("films", "r2", "make")}),
        (["--dag-id", "film"], set()),
    ],
    ids=["dag", "run", "task", "all", "part of a name"],
)
def test_list_can_be_narrowed(
    journal: Journal, words: list[str], expected: set[tuple[str, str, str]], capsys: pytest.CaptureFixture[str]
):
    """DAG, run and task are compared whole."""
    for owner in (
        {},
        {"run_id": "r2"},
        {"task_id": "other"},
        {"dag_id": "films2"},
    ):
        journal.hold(of(DELIVERED, **owner))
    main(["journal", "list", "--json", *words, *journal.words])
    listed = json.loads(capsys.readouterr().out)["purchases"]

    assert expected == {(each["dag_id"], each["run_id"], each["task_id"]) for each in listed}


def test_json_is_the_records_themselves(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """Standard output is JSON alone, with every field of every record."""
    journal.hold(DELIVERED)
    main(["journal", "list", "--json", *journal.words])
    listed = json.loads(capsys.readouterr().out)
    main(["journal", "show", "--json", *named(), *journal.words])
    shown = json.loads(capsys.readouterr().out)

    assert [DELIVERED.to_json()] == listed["purchases"] == shown["purchases"]
    assert [] == listed["problems"]
    assert listed["backend"] == shown["backend"]


def test_orphans_are_listed_with_the_commands_that_settle_them(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """The commands of --orphans are shell lines that do what they say, to the same journal."""
    journal.hold(INTENT)
    journal.hold(of(INTENT, map_index=1))
    journal.hold(of(BOUGHT, map_index=2))
    journal.hold(of(DELIVERED, map_index=3))
    journal.hold(of(BOUGHT, map_index=4, waits_elsewhere=True))
    code = main(["journal", "list", "--orphans", *journal.words])
    shown = capsys.readouterr().out
    lines = [line.partition(":")[2].strip() for line in shown.splitlines() if line.startswith("  ")]
    commands = {
        (words[2], words[words.index("--map-index") + 1]): words[1:]
        for words in map(shlex.split, lines)
        if words[0] == "grokvideo"
    }
    found = commands["adopt", "0"]
    found[found.index("<request")] = "found"
    found.remove("id>")
    codes = [main(found), main(commands["forget", "1"]), main(commands["show", "2"])]

    assert 0 == code
    assert {("adopt", "0"), ("forget", "0"), ("adopt", "1"), ("forget", "1"), ("show", "2")} == set(commands)
    assert "3 purchases (2 intent, 1 submitted)" in shown
    assert [0, 0, 0] == codes
    assert "found" == journal.records()[0].request_id
    assert ["withdrawn", "submitted"] == [journal.records(replace(OWNER, map_index=each))[0].phase for each in (1, 2)]


def test_show_prints_everything(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """Each field of each record of the task instance is shown, times readable, the manifest as JSON."""
    journal.hold(of(INTENT, note="the answer was lost"), of(DELIVERED, number=2))
    code = main(["journal", "show", *named(), *journal.words])
    shown = capsys.readouterr().out

    assert 0 == code
    for part in ("the answer was lost", "2026-11-22 19:43:37 UTC", '"uri": "s3://videos/0.mp4"', "text-to-video"):
        assert part in shown
    assert shown.index("purchase 1 of") < shown.index("purchase 2 of")


def test_adopt_lets_the_task_fetch_what_was_found(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """After adopt the next try attaches to the request; a second time changes nothing."""
    journal.hold(INTENT)
    first = main(["journal", "adopt", *named(), "found", *journal.words])
    told = capsys.readouterr().out
    records = journal.records()
    second = main(["journal", "adopt", *named(), "found", *journal.words])

    assert [0, 0] == [first, second]
    assert Attach(records[0]) == next_step(latest(records, "red"), "red", Policy())
    assert ("found", "adopted by hand") == (records[0].request_id, records[0].note)
    assert "no new charge" in told
    assert "already" in capsys.readouterr().out
    assert records == journal.records()


def test_adopt_writes_a_first_record(journal: Journal):
    """Where the journal knows nothing of the task instance the request is written down for it."""
    code = main(["journal", "adopt", *named(), "found", *journal.words])
    records = journal.records()

    assert 0 == code
    assert Attach(records[0]) == next_step(latest(records, "red"), "red", Policy())


def test_adopt_refuses_while_another_request_is_under_way(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """Exit code 1 and no change; --force adds a purchase, and the first one stays."""
    journal.hold(BOUGHT)
    refused = main(["journal", "adopt", *named(), "found", *journal.words])
    told = capsys.readouterr().err
    unchanged = journal.records()
    forced = main(["journal", "adopt", *named(), "found", "--force", *journal.words])

    assert [1, 0] == [refused, forced]
    assert "error: " in told
    assert [BOUGHT] == unchanged
    assert ["bought", "found"] == [each.request_id for each in journal.records()]


def test_forget_lets_the_task_buy_again(journal: Journal):
    """After forget the next try submits, and the record says that a person did it."""
    journal.hold(INTENT)
    code = main(["journal", "forget", *named(), *journal.words])
    records = journal.records()

    assert 0 == code
    assert Submit() == next_step(latest(records, "red"), "red", Policy())
    assert [("withdrawn", "forgotten by hand")] == [(each.phase, each.note) for each in records]


@pytest.mark.parametrize(
    ("records", "says"),
    [([], "no purchase"), ([BOUGHT], "GrokVideoSensor(request_id='bought')"), ([DELIVERED], "resubmit_on")],
    ids=["nothing", "paid", "delivered"],
)
def test_forget_says_why_not(journal: Journal, records: list[Record], says: str, capsys: pytest.CaptureFixture[str]):
    """What is not unconfirmed is not forgotten: exit code 1, one line, no change."""
    if records:
        journal.hold(*records)
    code = main(["journal", "forget", *named(), *journal.words])
    told = capsys.readouterr().err.splitlines()

    assert 1 == code
    assert 2 == len(told)
    assert says in told[1]
    assert records == journal.records()


def test_show_of_nothing_is_told_apart_from_something(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """A task instance without purchases gives exit code 1; of a mapped task the map index is asked for."""
    code = main(["journal", "show", "films", RUN, "make", *journal.words])

    assert 1 == code
    assert "--map-index" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["nonsense", "future"])
def test_an_unreadable_record_does_not_hide_the_others(journal: Journal, how: str, capsys: pytest.CaptureFixture[str]):
    """A list with a record that is corrupt or of a newer version shows the rest, names that one, ends with code 3."""
    journal.hold(DELIVERED)
    journal.hold(of(INTENT, map_index=1))
    journal.spoil(OWNER, how)
    code = main(["journal", "list", *journal.words])
    shown = capsys.readouterr().out
    code_of_json = main(["journal", "list", "--json", *journal.words])
    listed = json.loads(capsys.readouterr().out)

    assert [3, 3] == [code, code_of_json]
    assert "make[1]" in shown
    assert "unreadable: " in shown
    assert "1 orphan: 1 unconfirmed; 1 unreadable" in shown
    assert 1 == len(listed["purchases"]) == len(listed["problems"])


@pytest.mark.parametrize("verb", ["show", "adopt", "forget"])
def test_nothing_is_done_on_corrupt_ground(journal: Journal, verb: str, capsys: pytest.CaptureFixture[str]):
    """A corrupt record ends everything but a list with code 2 and one line."""
    journal.hold(INTENT)
    journal.spoil(OWNER)
    words = ["found"] if verb == "adopt" else []
    code = main(["journal", verb, *named(), *words, *journal.words])

    assert 2 == code
    assert 1 == capsys.readouterr().err.count("error: ")


def test_text_of_others_cannot_move_the_cursor(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """Control characters in what a service or a file says are not sent to the terminal."""
    bad = "a\x1b[2J\x9b2J\ud800b"
    journal.hold(of(DELIVERED, request_id=bad, note=bad, manifest={"uri": bad}))
    for words in (["list"], ["list", "--json"], ["show", *named()]):
        main(["journal", *words, *journal.words])
    shown = capsys.readouterr().out

    assert 3 <= shown.count("2J")
    assert not {"\x1b", "\x9b", "\ud800"} & set(shown)


def test_a_misspelt_directory_is_no_empty_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A journal path that does not exist is an error for every verb, and is not made."""
    path = tmp_path / "jornal"
    codes = [
        main(["journal", "list", "--journal-path", str(path)]),
        main(["journal", "adopt", *named(), "found", "--journal-path", str(path)]),
    ]

    assert [2, 2] == codes
    assert not path.exists()
    assert str(path) in capsys.readouterr().err


def test_the_settings_of_airflow_name_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Without words about where, [grokvideo] journal_path is used."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path))
    Journal([], path=tmp_path).hold(INTENT)
    code = main(["journal", "list", "--orphans"])
    shown = capsys.readouterr()

    assert 0 == code
    assert f"journal: files under {tmp_path}\n" == shown.err
    assert "--journal-path" not in shown.out


def test_the_settings_of_airflow_name_the_api_server(
    airflow: PretendedAirflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Without a journal path or a ledger, the task state store at [api] base_url is used."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"{airflow.url}/")
    airflow.hold(INTENT)
    main(["journal", "list"])
    shown = capsys.readouterr()

    assert f"journal: task state store of Airflow 3.3.2 at {airflow.url}\n" == shown.err
    assert "1 purchase (1 intent)" in shown.out


def test_an_address_that_was_typed_wins_over_the_settings(
    airflow: PretendedAirflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """--api-url means the task state store, whatever the settings say."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path))
    main(["journal", "list", "--api-url", airflow.url])

    assert "task state store" in capsys.readouterr().err


def test_nothing_says_where(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Without any word about where, it asks for one."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")
    monkeypatch.delenv("AIRFLOW__API__BASE_URL", raising=False)
    code = main(["journal", "list"])

    assert 2 == code
    assert "--api-url" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environ", "users", "calls"),
    [
        ({"AIRFLOW_API_TOKEN": TOKEN}, {}, []),
        ({"AIRFLOW_API_USERNAME": "ann", "AIRFLOW_API_PASSWORD": "pw"}, {"ann": "pw"}, [("POST", "/auth/token")]),
    ],
    ids=["token", "password"],
)
def test_the_environment_has_the_credentials(
    airflow: PretendedAirflow,
    environ: dict[str, str],
    users: dict[str, str],
    calls: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """A token is used as it is, a name and password get one; none of them is ever printed."""
    airflow.all_admins, airflow.users = False, users
    airflow.hold(INTENT)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    code = main(["journal", "list", "--api-url", airflow.url])
    shown = capsys.readouterr()

    assert 0 == code
    assert "1 orphan" in shown.out
    assert calls == [call for call in airflow.calls if call[1] == "/auth/token"]
    assert TOKEN not in shown.out + shown.err


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "AIRFLOW_API_TOKEN"),
        ({"AIRFLOW_API_TOKEN": "wrong-token"}, "refused GET"),
        ({"AIRFLOW_API_USERNAME": "ann", "AIRFLOW_API_PASSWORD": "wrong-word"}, "no token"),
    ],
    ids=["none", "token", "password"],
)
def test_credentials_that_do_not_work_are_told(
    airflow: PretendedAirflow,
    environ: dict[str, str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """Without good credentials the error names the variables, and repeats no secret."""
    airflow.all_admins, airflow.users = False, {"ann": "pw"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    code = main(["journal", "list", "--api-url", airflow.url])
    told = capsys.readouterr().err

    assert 2 == code
    assert says in told
    assert "AIRFLOW_API_TOKEN" in told or "AIRFLOW_API_USERNAME" in told
    assert "wrong-" not in told


@pytest.mark.parametrize("version", ["3.1.8", "3.2.2", "3.0.6"])
def test_an_airflow_without_a_task_state_store_is_recognised(
    airflow: PretendedAirflow, version: str, capsys: pytest.CaptureFixture[str]
):
    """Below 3.3 the error says that there is no task state store, and what takes its place."""
    airflow.version = version
    code = main(["journal", "list", "--api-url", airflow.url])
    told = capsys.readouterr().err

    assert 2 == code
    assert f"Airflow {version}, which has no task state store" in told
    assert "--journal-path" in told


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"/api/v2/version": (404, b"not here")}, "is it the API server of Airflow 3"),
        ({"/api/v2/version": (200, b"<html>")}, "no JSON object"),
        ({"/api/v2/version": (200, b'{"version": null}')}, "invalid Airflow version"),
        ({"/api/v2/dags": (500, b'{"detail": "broken"}')}, "500"),
        ({"/api/v2/dags": (200, b"<html>")}, "no JSON object"),
        ({"/auth/token": (201, b"<html>")}, "AIRFLOW_API_TOKEN"),
    ],
    ids=["not airflow", "html", "no version", "broken", "html list", "html token"],
)
def test_answers_that_make_no_sense_are_told(
    airflow: PretendedAirflow,
    answers: dict[str, tuple[int, bytes]],
    says: str,
    capsys: pytest.CaptureFixture[str],
):
    """Whatever answers at that address, the error says what is wrong in one line."""
    airflow.answers = answers
    code = main(["journal", "list", "--api-url", airflow.url])
    told = capsys.readouterr().err

    assert 2 == code
    assert says in told
    assert "error: " in told.splitlines()[-1]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1 "),
        ("localhost:8080", "--api-url"),
        ("ftp://airflow", "--api-url"),
        ("http://airflow:port", "--api-url"),
    ],
    ids=["closed port", "no scheme", "ftp", "no port"],
)
def test_an_address_that_leads_nowhere_is_told(url: str, says: str, capsys: pytest.CaptureFixture[str]):
    """An address where nothing answers, or that is none, ends with code 2."""
    code = main(["journal", "list", "--api-url", url])

    assert 2 == code
    assert says in capsys.readouterr().err


def test_a_password_in_the_address_is_not_printed(airflow: PretendedAirflow, capsys: pytest.CaptureFixture[str]):
    """User information in an address stays out of what is printed about it."""
    main(["journal", "list", "--api-url", airflow.url.replace("//", "//ann:hidden@")])
    shown = capsys.readouterr()

    assert airflow.url in shown.err
    assert "hidden" not in shown.out + shown.err


def test_state_kept_outside_of_airflow_is_not_taken_for_nothing(
    airflow: PretendedAirflow, capsys: pytest.CaptureFixture[str]
):
    """A value that the workers' own backend keeps is an error, because the API shows only a reference to it."""
    airflow.tasks[OWNER] = OPERATORS[0]
    airflow.states[OWNER, STATE_KEY] = {"__airflow_state_ref__": "s3://state/1"}
    codes = [main(["journal", verb, *named(), "--api-url", airflow.url]) for verb in ("show", "forget")]
    listed = main(["journal", "list", "--api-url", airflow.url])

    assert [2, 2, 3] == [*codes, listed]
    assert "state_store_backend" in capsys.readouterr().err


def test_what_is_written_never_expires(airflow: PretendedAirflow):
    """A change by hand keeps the journal for good, as the tasks do."""
    airflow.hold(INTENT)
    main(["journal", "adopt", *named(), "found", "--api-url", airflow.url])

    assert {OWNER: None} == airflow.expiries


def test_a_change_that_a_try_wrote_over_is_not_called_done(
    airflow: PretendedAirflow, capsys: pytest.CaptureFixture[str]
):
    """Where a try of the task writes at the same moment the command says so, and what the try wrote stays."""
    airflow.hold(INTENT)
    airflow.meanwhile = lambda: airflow.hold(BOUGHT)
    code = main(["journal", "forget", *named(), "--api-url", airflow.url])
    shown = capsys.readouterr()

    assert 2 == code
    assert "" == shown.out
    assert "at the same moment" in shown.err
    assert [BOUGHT] == Journal([], airflow=airflow).records()


def test_a_journal_in_object_storage_works_alike(s3: Any, capsys: pytest.CaptureFixture[str]):
    """A journal path may be a URL of ObjectStorage; the commands it prints name it."""
    path = f"{s3.url}/journal"
    FileBackend(open_tree(path), OWNER).create(INTENT)
    main(["journal", "list", "--orphans", "--journal-path", path])
    shown = capsys.readouterr()
    code = main(["journal", "forget", *named(), "--journal-path", path])

    assert 0 == code
    assert f"forget films {shlex.quote(RUN)} make --map-index 0 --journal-path {shlex.quote(path)}" in shown.out
    assert ["withdrawn"] == [each.phase for each in FileBackend(open_tree(path), OWNER).records()]


def test_tasks_of_derived_operators_can_be_named(airflow: PretendedAirflow, capsys: pytest.CaptureFixture[str]):
    """Tasks of other operators are not asked; a derived class is found by its name."""
    airflow.hold(INTENT, operator="HouseVideoOperator")
    airflow.tasks[replace(OWNER, task_id="bash")] = "BashOperator"
    without, found = (
        main(["journal", "list", *words, "--api-url", airflow.url])
        for words in ([], ["--operator", "HouseVideoOperator"])
    )

    assert [0, 0] == [without, found]
    assert ["0 purchases", "1 purchase"] == [
        line.partition(" (")[0].partition(";")[0] for line in capsys.readouterr().out.splitlines() if "orphan" in line
    ]
    assert not [path for _, path in airflow.calls if "bash" in path]


def test_the_operators_that_keep_a_journal_are_all_known():
    """The class names that a list asks for are those of the provider's operators."""
    from airflow_provider_grokvideo.decorators.grokvideo import GrokVideoDecoratedOperator
    from airflow_provider_grokvideo.operators import grokvideo as operators

    bases = {"GrokVideoBaseOperator", "GrokVideoPaidOperator"}
    ours = set(operators.__all__) - bases

    assert set(OPERATORS) == ours | {GrokVideoDecoratedOperator.__name__}


def test_airflow_describes_the_calls_that_are_made():
    """Paths, query parameters and the body of the calls are in the description that Airflow gives of its API."""
    described = yaml.safe_load(
        files("airflow").joinpath("api_fastapi/core_api/openapi/v2-rest-api-generated.yaml").read_text()
    )
    paths = described["paths"]
    state = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}"
    if state not in paths:
        pytest.skip("this Airflow has no task state store")
    asked = paths["/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances"]["get"]["parameters"]
    wanted = {
        "operator", "order_by", "limit", "offset", "task_id", "dag_id_prefix_pattern", "run_id_prefix_pattern",
    }  # fmt: skip

    assert wanted <= {each["name"] for each in asked}
    for verb in ("get", "put"):
        assert "map_index" in {each["name"] for each in paths[state][verb]["parameters"]}
    assert {"value", "expires_at"} == set(described["components"]["schemas"]["TaskStateStoreBody"]["properties"])
    assert "get" in paths["/api/v2/version"]


@pytest.mark.parametrize("words", [["list", "--json"], ["show", *named(), "--json"]], ids=["list", "show"])
def test_a_local_journal_needs_no_airflow(tmp_path: Path, words: list[str]):
    """With a path that was typed Airflow is not imported, so that it is quick; standard output is JSON alone."""
    Journal([], path=tmp_path).hold(INTENT)
    program = (
        "import sys; from airflow_provider_grokvideo.__main__ import main; code = main(sys.argv[1:]); "
        "sys.exit(99 if 'airflow' in sys.modules else code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "journal", *words, "--journal-path", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 0 == ended.returncode, ended.stderr
    assert 1 == len(json.loads(ended.stdout)["purchases"])


def test_it_is_a_program(tmp_path: Path):
    """python -m airflow_provider_grokvideo runs it; with Airflow's settings too, standard output is JSON alone."""
    Journal([], path=tmp_path).hold(INTENT)
    ended = subprocess.run(
        [sys.executable, "-m", "airflow_provider_grokvideo", "journal", "list", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "AIRFLOW__GROKVIDEO__JOURNAL_PATH": str(tmp_path)},
    )

    assert 0 == ended.returncode, ended.stderr
    assert 1 == len(json.loads(ended.stdout)["purchases"])


def test_reconcile_releases_only_what_its_journal_can_vouch_for(journal: Journal, tmp_path: Path, capsys):
    """A dead reservation of a task that is known is released; one of a run that Airflow has deleted stays."""
    ledger = open_sqlite(str(tmp_path / "ledger.db"))
    gone = Owner("films", "deleted", "make")
    for token, owner in (("dead", OWNER), ("t1", OWNER), ("orphan", gone)):
        ledger.reserve(Entry(token, 1795376600.0, "grokvideo_default", owner, estimated=5 * 10**8), [])
    journal.hold(DELIVERED)
    code = main(["reconcile", "--ledger-path", ledger.told, *journal.words])
    said = capsys.readouterr().out
    states = {entry.token: (entry.state, entry.outcome) for entry in ledger.entries()}
    vouched = journal.airflow is None

    assert (0 if vouched else 3) == code
    assert ("released" if vouched else "reserved", None) == states["orphan"]
    assert {"dead": ("released", None), "t1": ("settled", "done")} == {k: v for k, v in states.items() if k != "orphan"}
    assert vouched == ("was deleted in Airflow" not in said)


@pytest.mark.parametrize("name", ["-films", "--json", "-1"])
@pytest.mark.parametrize("map_index", [-1, 3])
def test_a_printed_command_reads_ids_that_begin_with_a_dash(name, map_index, tmp_path, capsys):
    """Airflow's ids may begin with a dash: the command that is printed for them is about that task."""
    owner = Owner(name, name, name, map_index)
    FileBackend(open_tree(str(tmp_path)), owner).create(replace(INTENT, owner=owner))
    command = owner.command("adopt", "found", where=("--journal-path", str(tmp_path)))

    assert 0 == main(shlex.split(command)[1:])
    assert ["found"] == [record.request_id for record in FileBackend(open_tree(str(tmp_path)), owner).records()]


def test_a_terminal_without_the_letters_shows_escapes(tmp_path):
    """A terminal that is not UTF-8 ends no command: what it has no letter for is shown as an escape."""
    owner = Owner("films", "größe", "make")
    FileBackend(open_tree(str(tmp_path)), owner).create(replace(INTENT, owner=owner))
    words = [sys.executable, "-m", "airflow_provider_grokvideo", "journal", "list", "--journal-path", str(tmp_path)]
    ended = subprocess.run(
        words, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=120, check=False
    )

    assert (0, True) == (ended.returncode, b"gr\\xf6\\xdfe" in ended.stdout)
