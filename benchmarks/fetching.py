"""One delivery in a process of its own, and the server it comes from.

``python -m benchmarks.fetching serve FOLDER PORT_FILE`` serves the files of a folder until it is ended.
``python -m benchmarks.fetching WAY LINK DESTINATION`` fetches a link once and prints one JSON object. The ways:

fetch
    The download alone, with its SHA-256, into a local file.
structure
    The whole delivery, without PyAV: the boxes of the MP4 are checked.
decode
    The whole delivery with PyAV: every frame is decoded.
"""

from __future__ import annotations

import http.server
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import machine

WAYS = ("fetch", "structure", "decode")


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says."""
    if arguments[0] == "serve":
        serve(Path(arguments[1]), Path(arguments[2]))
        return 0
    way, link, destination, *s3 = arguments
    if s3:
        _attach_s3(s3[0])
    print(json.dumps(measured(way, link, destination)))
    return 0


def measured(way: str, link: str, destination: str) -> dict[str, float]:
    """Fetch once; return seconds, CPU seconds and the MB by which memory grew at its peak."""
    if way != "decode":
        sys.modules["av"] = None  # type: ignore[assignment]
    from airflow_provider_grokvideo.delivery import deliver, download

    before = machine.rss_mb()
    machine.forget_peak()
    wall, cpu = time.perf_counter(), machine.cpu_seconds()
    if way == "fetch":
        with tempfile.TemporaryDirectory() as folder:
            size = download.fetch(link, Path(folder, "clip.mp4"), allow_loopback=True).bytes
    else:
        size = deliver.deliver(
            link=link,
            fresh_link=lambda: None,
            destination=destination,
            request_id="benchmark",
            expected=deliver.Expectation(),
            manifest={},
            request={},
            owner={},
            allow_loopback=True,
        ).bytes
    return {
        "bytes": size,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": machine.cpu_seconds() - cpu,
        "growth_mb": max(0.0, machine.peak_rss_mb() - before),
    }


def serve(folder: Path, port_file: Path) -> None:
    """Serve a folder on a free port of 127.0.0.1; write the port into a file when ready."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder)))
    aside = port_file.with_suffix(".part")
    aside.write_text(str(server.server_port))
    aside.replace(port_file)
    server.serve_forever()


class _Files(http.server.SimpleHTTPRequestHandler):
    """Sends files by sendfile, so that the server is never what one waits for."""

    def copyfile(self, source: Any, outputfile: object) -> None:
        """Send an open file."""
        self.connection.sendfile(source)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


def _attach_s3(endpoint: str) -> None:
    """Attach S3 in the place the Amazon provider would have."""
    import s3fs  # type: ignore[import-untyped, unused-ignore]
    from airflow.sdk.io import attach

    options = {"key": "test", "secret": "test", "client_kwargs": {"region_name": "us-east-1"}}
    attach("s3", fs=s3fs.S3FileSystem(endpoint_url=endpoint, **options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
