"""A service for thousands of polls, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def crowd_service(folder: Path) -> Iterator[str]:
    """Run the lean service of the benchmarks in a process of its own and yield its address."""
    port_file = folder / "port"
    repository = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "benchmarks.server", "--port-file", str(port_file)]
    with subprocess.Popen(command, cwd=repository) as process:
        try:
            deadline = time.monotonic() + 30
            while not port_file.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port_file.read_text()}"
        finally:
            process.terminate()
