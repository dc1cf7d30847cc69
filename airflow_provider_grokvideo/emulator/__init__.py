"""The Grok video API on your machine: real MP4s, faults on demand, and a ledger of what would have been billed.

>>> from airflow_provider_grokvideo.emulator import Emulator
>>> with Emulator() as emulator:
...     emulator.base_url
'http://127.0.0.1:.../v1'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.emulator.error import EmulatorError

if TYPE_CHECKING:
    from airflow_provider_grokvideo.emulator.server import Emulator as Emulator

__all__ = ["Emulator", "EmulatorError"]

_NEEDED = ("av", "PIL", "starlette", "uvicorn", "python_multipart")


def __getattr__(name: str) -> Any:
    """Load the server when it is asked for: importing this package costs nothing."""
    if name != "Emulator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.util import find_spec

    if missing := [module for module in _NEEDED if find_spec(module) is None]:
        raise EmulatorError(
            f"the emulator needs {', '.join(missing)}: pip install 'airflow-provider-grokvideo[emulator]'"
        )
    from airflow_provider_grokvideo.emulator.server import Emulator

    return Emulator
