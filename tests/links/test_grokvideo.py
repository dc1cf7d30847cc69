"""The buttons on a task instance, as Airflow's worker makes them and its REST API gives them out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from airflow_provider_grokvideo.core import cards
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, XAIRequestLink, request_page, video_page

RUN = "manual__2026-11-23T05:00:00+00:00"
ODD = "re-run #1/2: 50 % & more? ü"

LEFT = {
    "id": {"request_id": "q1"},
    "card": {cards.KEY: {"schema": 1, "request_id": "q1"}},
    "refused": {cards.KEY: {"schema": 1}},
    "nothing": {},
    "torn": {cards.KEY: "torn", "request_id": "q1"},
    "failed": {"request_id": "q1", "fails": "now"},
}
"""What each task of the DAG leaves in XCom."""

WITHOUT_REQUEST = {"refused", "nothing"}

DAG_FILE = """
from airflow.sdk import DAG, BaseOperator
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, XAIRequestLink

class Leaves(BaseOperator):
    operator_extra_links = (GrokVideoLink(), XAIRequestLink())

    def __init__(self, *, values, **words):
        super().__init__(**words)
        self.values = values

    def execute(self, context):
        for key, value in self.values.items():
            if key == "fails":
                raise RuntimeError(value)
            context["ti"].xcom_push(key=key, value=value)

with DAG("links", schedule=None) as dag:
    for name, values in LEFT.items():
        Leaves(task_id=name, values=values)
    Leaves.partial(task_id="mapped").expand(values=[{}, {"request_id": "q1"}])
"""

RUN_AND_ASK = """
import json, sys
from urllib.parse import quote
from fastapi.testclient import TestClient
sys.path.insert(0, sys.argv[1])
from links_dag import dag
run = dag.test()
from airflow.api_fastapi.app import create_app
client = TestClient(create_app())
known = {"Authorization": "Bearer " + client.get("/auth/token").json()["access_token"]}
told = {}
for task_id, index in [*((name, -1) for name in dag.task_ids if name != "mapped"), ("mapped", 0), ("mapped", 1)]:
    where = f"/api/v2/dags/links/dagRuns/{quote(run.run_id, safe='')}/taskInstances/{task_id}/links"
    answer = client.get(where, params={"map_index": index}, headers=known)
    told[task_id if index < 0 else f"mapped {index}"] = answer.json()["extra_links"]
with open(sys.argv[1] + "/told.json", "w") as file:
    json.dump({"run_id": run.run_id, "told": told}, file)
"""


@pytest.fixture(scope="module")
def shown(airflow_db, tmp_path_factory):
    """Run the tasks; return the run id and what Airflow's REST API says of the links of each."""
    folder = tmp_path_factory.mktemp("dags")
    (folder / "links_dag.py").write_text(f"LEFT = {LEFT!r}\n{DAG_FILE}")
    bundle = {
        "name": "links",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    settings = {
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__API__BASE_URL": "",
    }
    ran = subprocess.run(
        [sys.executable, "-c", RUN_AND_ASK, str(folder)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert 0 == ran.returncode, ran.stderr[-3000:]
    return json.loads((folder / "told.json").read_text())


@pytest.fixture
def base_url(monkeypatch):
    """Return how to set ``[api] base_url``; it is empty else."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "")
    return lambda address: monkeypatch.setenv("AIRFLOW__API__BASE_URL", address)


@pytest.mark.parametrize("task_id", LEFT)
def test_a_task_instance_links_to_its_video_and_its_request(shown, base_url, task_id):
    """The UI is told of the video always, and of the request from when it has an id; also where the task fails."""
    where = ("links", shown["run_id"], task_id, -1)

    assert {
        "Video": video_page(*where),
        "xAI request": None if task_id in WITHOUT_REQUEST else request_page(*where),
    } == shown["told"][task_id]


def test_mapped_task_instances_have_their_own_links(shown, base_url):
    """Each map index leads to its own tab and its own request."""
    first, second = (("links", shown["run_id"], "mapped", index) for index in (0, 1))

    assert {"Video": video_page(*first), "xAI request": None} == shown["told"]["mapped 0"]
    assert {"Video": video_page(*second), "xAI request": request_page(*second)} == shown["told"]["mapped 1"]


@pytest.mark.parametrize("run_id", [RUN, ODD])
@pytest.mark.parametrize("map_index", [-1, None, 0, 12])
def test_the_way_to_the_tab_is_read_back_by_the_ui(base_url, run_id, map_index):
    """Every part is encoded, so that it is one segment of the path, which the UI's router decodes."""
    page = video_page("my.dag", run_id, "group.task", map_index)
    parts = [unquote(part) for part in urlsplit(page).path.split("/")]
    mapped = [] if map_index in (-1, None) else ["mapped", str(map_index)]

    assert ["", "dags", "my.dag", "runs", run_id, "tasks", "group.task", *mapped, "plugin", "grokvideo"] == parts
    assert ("", "") == urlsplit(page)[3:]
    assert not set(page) & set("+ :#?&")


@pytest.mark.parametrize("run_id", [RUN, ODD])
@pytest.mark.parametrize("map_index", [-1, None, 12])
def test_the_way_to_the_request_is_read_back_by_the_page(base_url, run_id, map_index):
    """A plus of a run id is not taken for a blank."""
    page = urlsplit(request_page("my.dag", run_id, "group.task", map_index))

    assert "/grokvideo/request" == page.path
    assert {
        "dag_id": "my.dag",
        "run_id": run_id,
        "task_id": "group.task",
        "map_index": "-1" if map_index is None else str(map_index),
    } == dict(parse_qsl(page.query, strict_parsing=True))


@pytest.mark.parametrize(
    ("address", "starts"),
    [
        ("", "/"),
        ("https://airflow.example", "https://airflow.example/"),
        ("https://airflow.example:8443/team/airflow/", "https://airflow.example:8443/team/airflow/"),
        ("/airflow", "/airflow/"),
        ("airflow.example", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_links_lead_to_where_airflow_is_served(base_url, address, starts):
    """By ``[api] base_url``, or on the server that shows them."""
    base_url(address)

    assert f"{starts}dags/d/runs/r/tasks/t/plugin/grokvideo" == video_page("d", "r", "t", -1)
    assert request_page("d", "r", "t", -1).startswith(f"{starts}grokvideo/request?dag_id=d&")


@pytest.mark.parametrize("link", [GrokVideoLink(), XAIRequestLink()], ids=lambda link: link.name)
@pytest.mark.parametrize(
    "key",
    [None, SimpleNamespace(dag_id="d"), SimpleNamespace(dag_id=1, run_id=2, task_id=3, map_index="x")],
    ids=["none", "half", "odd"],
)
def test_a_link_that_cannot_be_made_is_empty(link, key):
    """No button is better than an error at the end of a task; outside of a task there is no XCom either."""
    assert "" == link.get_link(None, ti_key=key)


def test_links_cost_a_dag_file_nothing():
    """Importing them loads nothing of ours that a DAG file has no use for."""
    code = """
import sys
from airflow.sdk import DAG, BaseOperator, BaseOperatorLink
before = set(sys.modules)
import airflow_provider_grokvideo.links.grokvideo
print(*sorted(set(sys.modules) - before))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    new = run.stdout.split()

    ours = {name.removeprefix("airflow_provider_grokvideo.") for name in new if "airflow_provider_grokvideo." in name}
    assert {"links.grokvideo"} <= ours <= {"compat", "links", "links.grokvideo", "links.urls", "provider_info"}
    assert not {"httpx", "pydantic", "av", "fastapi", "fsspec"} & {name.partition(".")[0] for name in new}
