"""The harness that runs real Airflow: it works beside another Airflow, and nothing of it stays."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from processes import ProcessFailed, clean_environment
from stack import COMPONENTS, AirflowStack

if TYPE_CHECKING:
    from conftest import StackFactory

pytestmark = pytest.mark.e2e

DAG = """
from __future__ import annotations

import os
from datetime import timedelta

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, dag, task


class Nap(BaseOperator):
    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=1)), method_name="woken")

    def woken(self, context, event=None):
        return "woken"


@dag(dag_id="trivial", schedule=None)
def trivial():
    @task
    def double(number):
        print(f"doubling {number}")
        return {"double": 2 * number}

    @task
    def environment():
        return sorted(os.environ)

    double.expand(number=[1, 2]) >> Nap(task_id="nap")
    environment()


trivial()
"""
SECRETS = {
    "AIRFLOW__CORE__EXECUTOR": "NoSuchExecutor",
    "AIRFLOW_CONN_PRODUCTION": "postgres://production",
    "XAI_API_KEY": "xai-a-key-of-the-user",
}


@pytest.fixture(scope="module")
def dags_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dags with spaces")
    (folder / "trivial.py").write_text(DAG)
    return folder


@pytest.fixture(scope="module")
def taken_ports() -> Iterator[None]:
    """Occupy the ports of a default Airflow, unless somebody does so already."""
    with ExitStack() as held:
        for port in (8080, 8793, 8794):
            with suppress(OSError):
                held.enter_context(socket.create_server(("", port)))
        yield


@pytest.fixture(scope="module")
def stack(stack_factory: StackFactory, dags_folder: Path, taken_ports: None) -> Iterator[AirflowStack]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        started = stack_factory(dags_folder)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def run_id(stack: AirflowStack) -> str:
    made = stack.api.trigger("trivial", conf={"why": "test"})

    assert "success" == stack.api.wait_run("trivial", made, timeout=90)

    return made


def test_mapped_task_hands_over_plain_json(stack: AirflowStack, run_id: str) -> None:
    """The result of a mapped task is read as the JSON the task returned."""
    seen = [stack.api.xcom("trivial", run_id, "double", map_index) for map_index in (0, 1)]

    assert [{"double": 2}, {"double": 4}] == seen


def test_deferred_task_comes_back(stack: AirflowStack, run_id: str) -> None:
    """A task that deferred is resumed by the triggerer and ends with its resumed result."""
    seen = stack.api.xcom("trivial", run_id, "nap")

    assert "woken" == seen


def test_task_log_is_readable(stack: AirflowStack, run_id: str) -> None:
    """What a task prints is in its log although no log server runs."""
    seen = stack.api.log("trivial", run_id, "double", map_index=1)

    assert "doubling 2" in seen


def test_users_own_settings_stay_out(stack: AirflowStack, run_id: str) -> None:
    """A task sees no setting, connection or key of the user who started the stack."""
    seen = set(stack.api.xcom("trivial", run_id, "environment"))

    assert {"AIRFLOW__CORE__EXECUTOR"} == seen & set(SECRETS)
    assert "LocalExecutor" == stack.env["AIRFLOW__CORE__EXECUTOR"]
    assert {"PATH", "HOME", "AIRFLOW_HOME"} <= seen


def test_only_loopback_listens(stack: AirflowStack) -> None:
    """No port of the stack can be reached from another machine, and there is just one."""
    seen = {
        each.laddr
        for process in stack.family.leftovers()
        for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    }

    assert {("127.0.0.1", int(stack.url.rpartition(":")[2]))} == seen


def test_killed_triggerer_can_be_restarted(stack: AirflowStack, run_id: str) -> None:
    """After kill -9 and a restart of the triggerer a run with a deferral succeeds."""
    before = stack.pid("triggerer")
    stack.kill("triggerer", signal.SIGKILL)
    stack.restart("triggerer")
    again = stack.api.trigger("trivial")

    assert before != stack.pid("triggerer")
    assert "success" == stack.api.wait_run("trivial", again, timeout=90)


def test_nothing_is_left_after_stop(stack: AirflowStack, run_id: str) -> None:
    """Stopping ends every descendant, also the children of a component that was killed."""
    stack.kill("scheduler", signal.SIGKILL)
    orphans = [process for process in stack.family.leftovers() if "worker" in process.name()]
    stack.stop()

    assert orphans
    assert [] == stack.family.leftovers()


def test_half_started_stack_is_ended(dags_folder: Path, tmp_path: Path) -> None:
    """A component that cannot start is named with the end of its log, and the others are ended."""
    broken = AirflowStack(tmp_path / "home", dags_folder, executor="NoSuchExecutor")
    with pytest.raises(ProcessFailed, match=r"(?s)scheduler ended with code.*NoSuchExecutor"):
        broken.__enter__()

    assert set(COMPONENTS) < set(broken.family.members)
    assert [] == broken.family.leftovers()


def test_environment_keeps_what_a_process_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies and certificates are passed on, and loopback is excepted from the proxy."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ssl/company.pem")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    env = clean_environment()

    assert "http://proxy.example:3128" == env["HTTPS_PROXY"]
    assert "/etc/ssl/company.pem" == env["SSL_CERT_FILE"]
    assert "intranet.example,127.0.0.1,localhost" == env["NO_PROXY"]
