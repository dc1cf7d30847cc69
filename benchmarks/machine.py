"""What a process uses, as its system counts it, and what the machine is."""

from __future__ import annotations

import os
import platform
import resource
import sys
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]

_MB = 1_000_000
_STATUS = Path("/proc/self/status")
_SCHEDULED = Path("/proc/self/schedstat")
_CLEAR = Path("/proc/self/clear_refs")


def cpu_seconds() -> float:
    """Return the CPU time of this process so far, user and system, without its children."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def core_wait_seconds() -> float:
    """Return how long the main thread has been ready to run while other processes had the cores; 0 if not known."""
    with suppress(OSError, IndexError, ValueError):
        return int(_SCHEDULED.read_text().split()[1]) / 1e9
    return 0.0


def rss_mb() -> float:
    """Return the memory of this process that is in RAM, in MB."""
    return float(psutil.Process().memory_info().rss) / _MB


def forget_peak() -> None:
    """Let :func:`peak_rss_mb` begin anew, where the system can."""
    with suppress(OSError):
        _CLEAR.write_text("5")


def peak_rss_mb() -> float:
    """Return the most memory that this process had in RAM, in MB.

    Not ``ru_maxrss`` where Linux has better: that one also counts the process that started this one.
    """
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / _MB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MB


def free_mb() -> float:
    """Return the memory that new processes may have, in MB."""
    return float(psutil.virtual_memory().available) / _MB


def open_files() -> None:
    """Allow this process as many open files, and thus sockets, as the system lets it ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if soft != hard else (soft, hard))


def facts() -> dict[str, str]:
    """Return what numbers depend on: the day, the machine and the versions."""
    known = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {_processor()}, {psutil.virtual_memory().total / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
    }
    for package in ("apache-airflow", "httpx", "aiohttp", "airflow-provider-grokvideo"):
        with suppress(PackageNotFoundError):
            known[package] = version(package)
    return known


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
