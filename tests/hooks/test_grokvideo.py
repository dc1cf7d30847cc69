"""The hook: from an Airflow connection to answers of the service."""

from __future__ import annotations

import asyncio
import json

import pytest

from airflow_provider_grokvideo.core.errors import (
    AuthenticationFailed,
    GrokVideoError,
    InvalidInput,
    ServiceUnavailable,
)
from airflow_provider_grokvideo.core.jobs import Done
from airflow_provider_grokvideo.core.requests import TextToVideo
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook


def connect(monkeypatch, conn_id: str = "grokvideo_default", **parts) -> None:
    """Declare a connection the way a deployment does, in the environment."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": "grokvideo", **parts}))


@pytest.mark.usefixtures("grokvideo_connection")
def test_submit_and_look(grokvideo_emulator):
    """A submitted request is found again, by the sync and the async look alike."""
    hook = GrokVideoHook()

    request_id = hook.submit(TextToVideo(prompt="A red ball [[emulator: tempo=at-once]]", duration=1))

    polls = [hook.get_job(request_id), asyncio.run(GrokVideoHook().aget_job(request_id))]
    assert [request_id, request_id] == [job.request_id for job in polls]
    assert all(isinstance(job, Done) for job in polls)
    assert 1 == len(grokvideo_emulator.starts)


@pytest.mark.usefixtures("grokvideo_connection")
def test_a_good_connection_says_what_it_found():
    """The connection test names the key, the models and the retention state, and starts nothing."""
    works, message = GrokVideoHook().test_connection()

    assert works, message
    for fact in ("grok-imagine-video-1.5", "zero data retention is off", "works"):
        assert fact in message


@pytest.mark.parametrize(
    ("key", "fact"),
    [
        pytest.param("xai-wrong-key-for-sure", "valid xAI API key", id="wrong"),
        pytest.param("xai-emulator-blocked", "blocked", id="blocked"),
        pytest.param("", "no API key", id="none"),
    ],
)
def test_a_bad_connection_says_why(grokvideo_emulator, monkeypatch, key, fact):
    """The connection test explains a key that does not work and never repeats it."""
    connect(monkeypatch, host=grokvideo_emulator.base_url, password=key)

    works, message = GrokVideoHook().test_connection()

    assert not works
    assert fact in message
    assert not key or key not in message
    assert [] == grokvideo_emulator.starts


def test_zero_data_retention_is_told(grokvideo_emulator, monkeypatch):
    """The connection test warns a team whose starts need an upload address."""
    connect(monkeypatch, host=grokvideo_emulator.base_url, password="xai-emulator-zdr")

    works, message = GrokVideoHook().test_connection()

    assert works
    assert "zero data retention is on" in message


def test_a_missing_connection_is_explained(monkeypatch):
    """A connection that does not exist ends in an error that names it and the three ways to create it."""
    monkeypatch.setenv("XAI_API_KEY", "xai-from-the-environment")

    with pytest.raises(AuthenticationFailed, match="nobody_home") as caught:
        GrokVideoHook("nobody_home").account()

    assert "AIRFLOW_CONN_NOBODY_HOME" in str(caught.value)


def test_the_key_of_the_environment_is_used_only_where_allowed(monkeypatch):
    """With allow_env_key the environment's key stands in for a missing connection, at the real address."""
    monkeypatch.setenv("XAI_API_KEY", "xai-from-the-environment")
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__ALLOW_ENV_KEY", "True")

    account = GrokVideoHook("nobody_home").account()

    assert ("https://api.x.ai/v1", "xai-from-the-environment") == (account.base_url, account.api_key)


def test_allow_env_key_without_a_key_says_so(monkeypatch):
    """Allowed but unset is told apart from not allowed."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__ALLOW_ENV_KEY", "True")

    with pytest.raises(AuthenticationFailed, match="XAI_API_KEY is not set"):
        GrokVideoHook("nobody_home").account()


def test_plain_http_is_refused(monkeypatch):
    """A key does not travel readable: plain http is refused except to this machine."""
    connect(monkeypatch, host="http://api.x.ai/v1", password="xai-key")

    with pytest.raises(InvalidInput, match="https"):
        GrokVideoHook().account()


def test_errors_name_the_connection(grokvideo_emulator, monkeypatch):
    """An error of the service names the connection that was used."""
    connect(monkeypatch, "studio", host=grokvideo_emulator.base_url, password="xai-wrong-key-for-sure")

    with pytest.raises(GrokVideoError, match="connection studio"):
        GrokVideoHook("studio").submit(TextToVideo(prompt="x"))


def test_the_key_is_in_no_representation(monkeypatch):
    """Neither hook nor account nor client shows the key."""
    connect(monkeypatch, password="xai-very-secret-key")
    hook = GrokVideoHook()

    shown = repr(hook.account()) + repr(hook) + repr(hook.get_conn()) + str(vars(hook.get_conn()))

    assert "very-secret" not in shown


@pytest.mark.parametrize("conn_type", ["http", "aws", "postgres"])
def test_only_a_connection_of_our_type_sends_its_password(grokvideo_emulator, monkeypatch, conn_type):
    """The password of another service's connection goes nowhere, whoever asks for it."""
    connect(monkeypatch, conn_type=conn_type, host=grokvideo_emulator.base_url, password=grokvideo_emulator.api_key)

    works, message = GrokVideoHook().test_connection()
    with pytest.raises(AuthenticationFailed, match=conn_type):
        asyncio.run(GrokVideoHook().aget_job("r"))

    assert not works
    assert conn_type in message
    assert [] == grokvideo_emulator.requests


def test_the_connection_test_names_a_setting_that_cannot_be_used(monkeypatch):
    """A broken proxy setting is the typed error of a submit, and not a bare one."""
    connect(monkeypatch, host="https://api.example/v1", password="xai-0123456789")
    monkeypatch.setenv("HTTPS_PROXY", "socks7://proxy:1")

    works, message = GrokVideoHook().test_connection()
    with pytest.raises(ServiceUnavailable, match="HTTPS_PROXY"):
        asyncio.run(GrokVideoHook().aget_job("r"))

    assert (False, True) == (works, "HTTPS_PROXY" in message)
