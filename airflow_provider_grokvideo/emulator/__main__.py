"""``grokvideo emulator``: run the emulator until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_grokvideo.emulator.error import EmulatorError

if TYPE_CHECKING:
    from airflow_provider_grokvideo.emulator import Emulator

_HINT = """\
Point an Airflow connection to it:
  export AIRFLOW_CONN_GROKVIDEO_DEFAULT='{connection}'
Ledger: curl {origin}/_emulator/ledger     Stop: Ctrl-C"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        from airflow_provider_grokvideo.emulator import Emulator

        emulator = Emulator(
            host=options.host,
            port=options.port,
            download_port=options.download_port,
            tempo=options.tempo,
            quirks=dict(map(_pair, options.quirk)),
            link_ttl=options.link_ttl,
            speed=options.speed,
            allow_remote=options.allow_remote,
        )
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        with emulator:
            _announce(emulator, options.ready_file)
            stopped.wait()
    except (EmulatorError, ValueError, OSError) as problem:
        print(f"emulator: {problem}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grokvideo emulator",
        description="An emulator of xAI's Grok video API on this machine. It renders real MP4s and costs nothing.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port of the API; 0 chooses a free port (default)")
    parser.add_argument(
        "--download-port", type=int, default=0, help="port of the downloads; 0 chooses a free port (default)"
    )
    parser.add_argument(
        "--tempo",
        default="realistic",
        help="when requests are done: at-once, polls:N, seconds:T or realistic (default)",
    )
    parser.add_argument(
        "--speed", type=float, default=1.0, help="divides the times of seconds:T and realistic; 10 is ten times faster"
    )
    parser.add_argument(
        "--link-ttl", type=float, default=3600.0, help="seconds until a download link expires (default 3600)"
    )
    parser.add_argument(
        "--quirk",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of several known behaviours of the API, see docs/emulator.md; may be repeated",
    )
    parser.add_argument("--ready-file", type=Path, help="write the JSON line to this file when the emulator is ready")
    parser.add_argument("--allow-remote", action="store_true", help="allow a --host that other machines can reach")
    return parser


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"invalid --quirk {text!r}: expected NAME=VALUE")
    return name, value


def _announce(emulator: Emulator, ready_file: Path | None) -> None:
    facts = {
        "base_url": emulator.base_url,
        "download_origin": emulator.download_origin,
        "api_key": emulator.api_key,
        "pid": os.getpid(),
    }
    line = json.dumps(facts)
    print(line, flush=True)
    connection = {
        "conn_type": "grokvideo",
        "host": emulator.base_url,
        "password": emulator.api_key,
        # Its videos are usually done sooner than those of the real service, which the polling schedule expects.
        "extra": {"poll_interval": 1},
    }
    origin = emulator.base_url.removesuffix("/v1")
    print(_HINT.format(connection=json.dumps(connection), origin=origin), file=sys.stderr, flush=True)
    if ready_file is not None:
        aside = ready_file.with_name(f".{ready_file.name}.part")
        aside.write_text(line + "\n")
        aside.replace(ready_file)


if __name__ == "__main__":
    sys.exit(main())
