"""Provider metadata for Airflow: strings only, no imports.

Airflow imports this module in each of its processes and validates the dict: one value of a wrong type stops all of
Airflow, so a test validates it against the installed schema.
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
        "triggers": [_module("triggers", "grokvideo", "bulk")],
        "task-decorators": [
            {"name": "grokvideo", "class-name": "airflow_provider_grokvideo.decorators.grokvideo.grokvideo_task"}
        ],
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
                        "description": "Maximum seconds for the response to one API call. Default 30.",
                        "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 600},
                    },
                    "submit_timeout": {
                        "label": "Submit timeout (s)",
                        "description": (
                            "Maximum seconds for the response to a paid submission. Default 60. A timeout leaves the "
                            "submission unconfirmed."
                        ),
                        "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 600},
                    },
                    "poll_interval": {
                        "label": "Poll interval (s)",
                        "description": (
                            "Seconds between two status polls of a request; default for tasks that do not set it. "
                            "Empty: chosen automatically, from the usual duration of such videos."
                        ),
                        "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 600},
                    },
                    "requests_per_second": {
                        "label": "Requests per second",
                        "description": (
                            "Maximum status polls per second, per triggerer, across all waiting tasks of this "
                            "connection. Default 4, halved for a while after a rate limit response (429). xAI "
                            "publishes 10 requests per second per model. With several triggerers, set your account's "
                            "limit divided by their number."
                        ),
                        "schema": {"type": ["number", "null"], "minimum": 0.01, "maximum": 1000},
                    },
                    "witness": {
                        "label": "Witness",
                        "description": (
                            "Let xAI store each video under a unique name for three days, so that an unconfirmed "
                            "submission can be found by that name. xAI bills the storage."
                        ),
                        "schema": {"type": ["boolean", "null"]},
                    },
                    "allow_http": {
                        "label": "Allow plain http",
                        "description": (
                            "Allow a plain http Base URL to a host in a private network, such as the emulator in a "
                            "container. Public hosts always require https. Off by default: plain http exposes the API "
                            "key on the network."
                        ),
                        "schema": {"type": ["boolean", "null"], "default": False},
                    },
                    "download_hosts": {
                        "label": "Download hosts",
                        "description": (
                            "Non-public hosts and networks from which videos may be downloaded, separated by commas: "
                            "cdn.example, .example for all its subdomains, 198.18.0.0/15. Exceptions of the SSRF "
                            "guard, for networks that resolve public names to private addresses. The Base URL's own "
                            "host is always allowed."
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
                            "Directory of the journal, which prevents a second charge for the same request: an "
                            "ObjectStorage URL, or a path that all workers share. Empty: the SQL database of the "
                            "ledger, or else Airflow's task state store (3.3 and newer)."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://conn_id@bucket/grokvideo-journal",
                        "default": "",
                    },
                    "allow_env_key": {
                        "description": (
                            "Use the environment variable XAI_API_KEY if the connection of a task does not exist. "
                            "Off by default: a missing connection is an error."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                    "ui": {
                        "description": (
                            "Show the Video tab of task instances and the Grok videos page in Airflow's UI. Read at "
                            "the start of the API server."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "False",
                        "default": "True",
                    },
                    "prices_path": {
                        "description": (
                            "JSON file, a local path or an ObjectStorage URL, with prices that override the built-in "
                            "prices of the models it lists."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/grokvideo_prices.json",
                        "default": "",
                    },
                    "budgets": {
                        "description": (
                            "Budgets, as a JSON list. Each entry has usd, and per: one or more of dag_run, dag, "
                            "connection, day, month. dag_id and conn_id restrict it to those, timezone overrides "
                            "budget_timezone. A purchase that would exceed a budget is not submitted."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": '[{"usd": 20, "per": "day"}, {"usd": 100, "per": ["dag", "month"]}]',
                        "default": "",
                    },
                    "budget_timezone": {
                        "description": ("Time zone of the days and months of budgets. Empty: [core] default_timezone."),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "Europe/Berlin",
                        "default": "",
                    },
                    "ledger_conn_id": {
                        "description": (
                            "Airflow connection to the SQL database of the ledger, which records purchases and "
                            "enforces budgets, and of the journal. Required if tasks run on more than one machine; "
                            "PostgreSQL is recommended."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "grokvideo_ledger",
                        "default": "",
                    },
                    "ledger_path": {
                        "description": (
                            "SQLite file of the ledger if ledger_conn_id is empty; none disables the ledger. Empty: "
                            "grokvideo_ledger.db in AIRFLOW_HOME with the LocalExecutor, no ledger with others."
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
            f"Maximum cost in USD per {per} of all tasks with this connection. Empty: no limit for the connection."
        ),
        "schema": {"type": ["number", "null"], "minimum": 0, "maximum": 100_000_000},
    }


def _module(kind: str, *names: str) -> dict[str, object]:
    return {
        "integration-name": "Grok video",
        "python-modules": [f"airflow_provider_grokvideo.{kind}.{name}" for name in names or ("grokvideo",)],
    }
