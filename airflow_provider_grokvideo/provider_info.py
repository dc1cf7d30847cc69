"""What this package tells Airflow about itself: strings only, imports nothing.

Airflow imports this module in every one of its processes and validates the dict without a safety net: one value of a
wrong type stops all of Airflow, so a test validates it against the installed schema.
"""

from __future__ import annotations

__version__ = "0.1.0"

_LINKS = "airflow_provider_grokvideo.links.grokvideo"
_HOOK = "airflow_provider_grokvideo.hooks.grokvideo.GrokVideoHook"


def get_provider_info() -> dict[str, object]:
    """Return the provider's metadata in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-grokvideo",
        "name": "Grok video",
        "description": "Generate, edit and extend videos with xAI's Grok Imagine API as deferrable tasks.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "Grok video",
                "external-doc-url": "https://docs.x.ai/docs/guides/video-generations",
                "tags": ["service"],
            }
        ],
        "hooks": [_module("hooks")],
        "operators": [_module("operators")],
        "sensors": [_module("sensors")],
        "triggers": [_module("triggers")],
        "retry-policies": [_module("policies")],
        "connection-types": [
            {
                "connection-type": "grokvideo",
                "hook-class-name": _HOOK,
                "hook-name": "Grok video",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port"],
                    "relabeling": {"password": "API key", "host": "Base URL"},
                    "placeholders": {"password": "xai-...", "host": "https://api.x.ai/v1"},
                },
                "conn-fields": {
                    "timeout": {
                        "label": "Timeout (s)",
                        "description": "How long one call may take to answer. Default 30.",
                        "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 600},
                    },
                    "submit_timeout": {
                        "label": "Submit timeout (s)",
                        "description": (
                            "How long a paid start may take to answer. Default 60: giving up early leaves it "
                            "unknown whether the start was accepted."
                        ),
                        "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 600},
                    },
                    "poll_interval": {
                        "label": "Poll interval (s)",
                        "description": (
                            "Seconds between two polls of a request, for tasks that do not say. Empty: the "
                            "provider's schedule decides."
                        ),
                        "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 600},
                    },
                    "requests_per_second": {
                        "label": "Polls per second",
                        "description": (
                            "The most polls a second that each triggerer sends with this key, for all waits "
                            "together. Default 4, which a rate limit (429) halves for a while; xAI publishes 10 "
                            "requests a second for one model. Set what your account allows, divided by the number of "
                            "triggerers."
                        ),
                        "schema": {"type": ["number", "null"], "minimum": 0.01, "maximum": 1000},
                    },
                    "witness": {
                        "label": "Witness",
                        "description": (
                            "Let xAI store each video for three days under a name of its own, so that a submission "
                            "whose answer was lost is found by it. xAI bills the storage."
                        ),
                        "schema": {"type": ["boolean", "null"]},
                    },
                    "allow_http": {
                        "label": "Allow plain http",
                        "description": (
                            "Lets the Base URL be plain http to a host in a private network, such as the emulator in a "
                            "container. Never to a public host. Off by default: the API key is readable on the way."
                        ),
                        "schema": {"type": ["boolean", "null"], "default": False},
                    },
                    "download_hosts": {
                        "label": "Download hosts",
                        "description": (
                            "Hosts and networks that videos may come from although they are not public, with commas: "
                            "cdn.example, .example for all names below, 198.18.0.0/15. For networks whose resolver "
                            "answers with private or special addresses. The Base URL's own host is always allowed."
                        ),
                        "schema": {"type": ["string", "null"]},
                    },
                    "max_usd_per_dag_run": _limit("DAG run"),
                    "max_usd_per_day": _limit("day"),
                    "max_usd_per_month": _limit("month"),
                },
            }
        ],
        "extra-links": [f"{_LINKS}.GrokVideoLink", f"{_LINKS}.XAIRequestLink"],
        "plugins": [
            {
                "name": "grokvideo",
                "plugin-class": "airflow_provider_grokvideo.plugins.grokvideo.GrokVideoPlugin",
            }
        ],
        "config": {
            "grokvideo": {
                "description": "Settings of airflow-provider-grokvideo.",
                "options": {
                    "journal_path": {
                        "description": (
                            "Directory of the journal that keeps a paid request from being bought twice: an "
                            "ObjectStorage URL or a path that every worker sees. Needed below Airflow 3.3, where a "
                            "task has no memory of its own; on 3.3 it is used instead of the task state store."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://conn_id@bucket/grokvideo-journal",
                        "default": "",
                    },
                    "allow_env_key": {
                        "description": (
                            "Use the environment variable XAI_API_KEY when the connection of a task does not exist. "
                            "Off by default: a missing connection is an error."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                    "ui": {
                        "description": (
                            "Show the Video tab on task instances and the page Grok videos in Airflow's UI. Read when "
                            "the API server starts."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "False",
                        "default": "True",
                    },
                    "prices_path": {
                        "description": (
                            "A JSON file, local or at an ObjectStorage URL, with prices that override the built-in "
                            "ones for the models it names."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/grokvideo_prices.json",
                        "default": "",
                    },
                    "budgets": {
                        "description": (
                            "What may be spent, as a JSON list. Each entry has usd, and per: one or more of dag_run, "
                            "dag, connection, day, month. dag_id and conn_id narrow it to those, timezone overrides "
                            "budget_timezone. A purchase that a budget has no room for is not made."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": '[{"usd": 20, "per": "day"}, {"usd": 100, "per": ["dag", "month"]}]',
                        "default": "",
                    },
                    "budget_timezone": {
                        "description": (
                            "Whose midnight ends a day and a month of a budget. Empty: that of [core] default_timezone."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "Europe/Berlin",
                        "default": "",
                    },
                    "ledger_conn_id": {
                        "description": (
                            "Airflow connection to the SQL database that books what is spent and holds the budgets. "
                            "Needed where tasks run on more than one machine; PostgreSQL is recommended."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "grokvideo_ledger",
                        "default": "",
                    },
                    "ledger_path": {
                        "description": (
                            "SQLite file of the ledger, where ledger_conn_id is empty; none for no ledger. Empty: "
                            "grokvideo_ledger.db in AIRFLOW_HOME with the LocalExecutor, and none with others."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/var/lib/airflow/grokvideo_ledger.db",
                        "default": "",
                    },
                },
            }
        },
    }


def _limit(per: str) -> dict[str, object]:
    return {
        "label": f"Max USD per {per}",
        "description": (
            f"What tasks may spend with this connection per {per}, all together. Empty: no limit of the connection."
        ),
        "schema": {"type": ["number", "null"], "minimum": 0, "maximum": 100_000_000},
    }


def _module(kind: str) -> dict[str, object]:
    return {
        "integration-name": "Grok video",
        "python-modules": [f"airflow_provider_grokvideo.{kind}.grokvideo"],
    }
