"""What the package tells Airflow is true, complete and harmless."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import distribution
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from packaging.utils import canonicalize_name

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.client.account import account_from
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.provider_info import get_provider_info

NAME = "airflow-provider-grokvideo"
INFO: Any = get_provider_info()
(CONNECTION,) = INFO["connection-types"]


def load(path: str) -> Any:
    """Return what a dotted path names."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def test_airflow_accepts_the_metadata():
    """One value of a wrong type would stop all of Airflow, so the dict is valid by the installed schema."""
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())

    jsonschema.validate(INFO, schema)


def test_the_metadata_is_plain_json():
    """Strings, numbers, lists and objects only."""
    assert INFO == json.loads(json.dumps(INFO))


def test_the_name_is_the_distributions():
    """Airflow refuses a package whose name is not its distribution's in canonical form."""
    assert canonicalize_name(distribution(NAME).name) == INFO["package-name"]


def test_the_version_is_said_once():
    """The installed distribution, the package and the metadata agree."""
    assert [__version__] == INFO["versions"]
    assert __version__ == distribution(NAME).version


@pytest.mark.parametrize(
    "entry_point", [pytest.param(point, id=f"{point.group}:{point.name}") for point in distribution(NAME).entry_points]
)
def test_each_entry_point_leads_somewhere(entry_point):
    """What the distribution announces can be loaded."""
    assert entry_point.load() is not None


def test_airflow_finds_the_metadata_by_its_entry_point():
    """The provider's entry point gives this very dict."""
    (point,) = distribution(NAME).entry_points.select(group="apache_airflow_provider")

    assert INFO == point.load()()


def test_the_metadata_costs_no_import():
    """Airflow reads the metadata in every process, so reading it loads nothing but itself."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "import airflow_provider_grokvideo.provider_info\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    allowed = {"__future__", "airflow_provider_grokvideo", "airflow_provider_grokvideo.provider_info"}
    assert set() == set(done.stdout.split()) - allowed


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_every_module_that_is_named_is_there(kind):
    """Each listed module imports and belongs to a listed integration."""
    integrations = {item["integration-name"] for item in INFO["integrations"]}

    for item in INFO[kind]:
        assert item["integration-name"] in integrations
        assert [name for name in item["python-modules"] if import_module(name)] == item["python-modules"]


def test_the_decorator_is_one_of_airflows():
    """Airflow finds the decorator under ``task.grokvideo``, and it makes the provider's operator."""
    from airflow.sdk import task

    @task.grokvideo
    def clip() -> str:
        return "A ball"

    ((name, path),) = [(each["name"], each["class-name"]) for each in INFO["task-decorators"]]
    assert "grokvideo" == name
    assert load(path).__module__ == clip.operator_class.__module__


def test_the_hook_is_what_the_connection_says():
    """Connection type, hook class and hook name agree, so that a connection finds its hook."""
    hook = load(CONNECTION["hook-class-name"])

    assert (hook.conn_type, hook.hook_name) == (CONNECTION["connection-type"], CONNECTION["hook-name"])
    assert hook.conn_name_attr == "grokvideo_conn_id"
    assert callable(hook.test_connection)


@pytest.mark.parametrize("name", sorted(CONNECTION["conn-fields"]))
def test_every_field_of_the_form_is_read(name):
    """A field that a user fills in has an effect: a wrong value in it is refused by its name."""
    with pytest.raises(InvalidInput, match=name):
        account_from(host=None, port=None, schema=None, password="k", extra={name: "as soon as possible"})


def test_the_form_has_every_field_that_is_read():
    """No field can be set that the form does not show."""
    read: set[str] = set()

    class Extra(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            read.add(key)
            return default

    account_from(host=None, port=None, schema=None, password="k", extra=Extra())

    assert set(CONNECTION["conn-fields"]) == read


@pytest.mark.parametrize("name", sorted(CONNECTION["conn-fields"]))
def test_every_value_the_form_takes_is_accepted(name):
    """What the form's limits let through, the hook takes."""
    schema = CONNECTION["conn-fields"][name]["schema"]

    by_type = {"boolean": (True, False), "string": ("", "cdn.example, 198.18.0.0/15")}
    ends = by_type.get(schema["type"][0]) or (schema["minimum"], schema["maximum"])
    for value in (*ends, None):
        assert account_from(host=None, port=None, schema=None, password="k", extra={name: value})


@pytest.mark.parametrize("default", [30.0, 60.0], ids=["timeout", "submit_timeout"])
def test_the_form_tells_the_true_defaults(default):
    """The descriptions name the numbers that are used."""
    account = account_from(host=None, port=None, schema=None, password="k", extra={})
    name = {account.timeout: "timeout", account.submit_timeout: "submit_timeout"}[default]

    assert f"Default {default:.0f}" in CONNECTION["conn-fields"][name]["description"]


@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")
def test_airflow_lists_the_hook_and_its_form():
    """Airflow's own manager finds the hook, calls it testable, and has the fields of its form."""
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    hook = manager.hooks["grokvideo"]

    assert ("Grok video", CONNECTION["hook-class-name"], True, NAME) == (
        hook.hook_name,
        hook.hook_class_name,
        hook.connection_testable,
        hook.package_name,
    )
    form = {name for name in manager.connection_form_widgets if "__grokvideo__" in name}
    assert {f"extra__grokvideo__{name}" for name in CONNECTION["conn-fields"]} == form
    assert {"password": "API key", "host": "Base URL"} == manager.field_behaviours["grokvideo"]["relabeling"]


@pytest.mark.parametrize("option", sorted(INFO["config"]["grokvideo"]["options"]))
def test_each_setting_has_its_default(option):
    """Airflow serves the default of a setting nobody made."""
    from airflow.configuration import conf

    assert INFO["config"]["grokvideo"]["options"][option]["default"] == conf.get("grokvideo", option)
