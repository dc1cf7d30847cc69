"""What the package costs where nobody waits: its import, the parsing of DAG files, and the delivery of a large video.

``python -m benchmarks.costs --out build/bench-costs.json`` measures and prints the tables; about two minutes.

Imports and parsing are measured on a copy of the package with its bytecode, as an installation has it, in an Airflow
home of their own. Times are CPU seconds of fresh processes (imports) or forks (parsing), so that a busy machine
matters little; the medians are shown.

The video is a real clip of six seconds with a long ``free`` box behind its index, which every player skips: so size
costs what it costs, and decoding what it costs for a usual clip. TaskJournal is what a process grows by at its peak,
for curl all it has. With S3, the server is a moto in this process, which is slow.
"""

from __future__ import annotations

import argparse
import compileall
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped, unused-ignore]
from processes import clean_environment

from benchmarks import fetching

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = "airflow_provider_grokvideo"

IMPORT_REPEATS = 10
PARSE_REPEATS = 5
FETCH_REPEATS = 3
LARGE_MB = 200
SMALL_MB = 2

MODULES = (f"{PACKAGE}.operators.grokvideo", f"{PACKAGE}.sensors.grokvideo")

NAMES = {
    "curl": "curl, into a file",
    "fetch": "our download with its SHA-256, into a file",
    "structure": "our delivery to a folder, MP4 structure checked",
    "decode": "our delivery to a folder, every frame decoded",
    "s3": "our delivery to S3 (moto), MP4 structure checked",
}
"""What the table calls the ways to fetch."""

_IMPORT = """
import json, time
started = time.process_time()
import airflow.sdk
from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator, dag, task
sdk = time.process_time() - started
wall, cpu = time.perf_counter(), time.process_time()
import {module}
print(json.dumps({{"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "sdk": sdk}}))
"""

_WITHOUT_OURS = {
    "one EmptyOperator": """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("one_empty_task", schedule=None):
    EmptyOperator(task_id="nothing")
""",
    "one @task": """
from airflow.sdk import DAG, task

with DAG("one_python_task", schedule=None):

    @task
    def nothing():
        pass

    nothing()
""",
}
"""DAG files for scale: what Airflow itself takes for a task of an operator, and of a function."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "bench-costs.json", help="the JSON file")
    wishes = parser.parse_args(arguments)
    measured = measure(say=lambda line: print(line, file=sys.stderr, flush=True))
    wishes.out.parent.mkdir(parents=True, exist_ok=True)
    wishes.out.write_text(json.dumps(measured, indent=2) + "\n")
    print(table(measured))
    return 0


def measure(say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Measure everything; ``say`` is told what comes next."""
    with tempfile.TemporaryDirectory(prefix="grokvideo-costs-") as folder:
        home = Path(folder)
        env = _environment(home)
        say("importing")
        imports = measure_imports(env)
        say("parsing the examples")
        parsing = measure_parsing(env, home)
        say("fetching a large video")
        fetched = measure_fetching(env, home)
    return {"imports": imports, "parsing": parsing, "fetching": fetched}


def table(measured: Mapping[str, Any]) -> str:
    """Return the three tables in Markdown."""
    return "\n\n".join(
        (
            imports_table(measured["imports"]),
            parsing_table(measured["parsing"]),
            fetching_table(measured["fetching"]),
        )
    )


def imports_table(imports: Mapping[str, Mapping[str, float]]) -> str:
    """Return the table of what each module costs on top of ``airflow.sdk``."""
    rows = ["| import | CPU ms | wall ms |", "|---|---:|---:|"]
    rows += [f"| `{name}` | {1e3 * cost['cpu']:.0f} | {1e3 * cost['wall']:.0f} |" for name, cost in imports.items()]
    sdk = statistics.median(cost["sdk"] for cost in imports.values())
    return "\n".join([*rows, f"| for scale: `airflow.sdk` itself | {1e3 * sdk:,.0f} | |"])


def parsing_table(parsing: Mapping[str, Any]) -> str:
    """Return the table of what the dag-processor spends on each example."""
    rows = ["| DAG file | CPU ms to parse |", "|---|---:|"]
    rows += [f"| `{name}` | {1e3 * seconds:.0f} |" for name, seconds in parsing["files"].items()]
    rows.append(f"| all {len(parsing['files'])} | {1e3 * parsing['sum']:.0f} |")
    rows += [f"| for scale: {what} | {1e3 * seconds:.0f} |" for what, seconds in parsing["without_ours"].items()]
    return "\n".join(rows)


def fetching_table(fetched: Mapping[str, Any]) -> str:
    """Return the table of throughput and memory."""
    large, small = (f"{size:g} MB" for size in (fetched["large_mb"], fetched["small_mb"]))
    rows = [
        f"| {large} from a server on this machine | MB/s | CPU s | memory, MB | the same for {small} |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in fetched["rows"]:
        speed = row["large"]["bytes"] / 1e6 / row["large"]["wall_s"]
        growth = f"{row['large']['growth_mb']:.0f} | {row['small']['growth_mb']:.0f}"
        rows.append(f"| {NAMES[row['way']]} | {speed:,.0f} | {row['large']['cpu_s']:.2f} | {growth} |")
    rows += [f"| {NAMES[way]} | not measured: {why} | | | |" for way, why in fetched["missing"].items()]
    return "\n".join(rows)


def measure_imports(env: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return median seconds, wall and CPU, of importing each module after ``airflow.sdk``."""
    found = {}
    for module in MODULES:
        code = _IMPORT.format(module=module)
        runs = [json.loads(_run(["-c", code], env)) for _ in range(IMPORT_REPEATS)]
        found[module] = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return found


def measure_parsing(env: Mapping[str, str], home: Path) -> dict[str, Any]:
    """Return median CPU seconds for each example, their sum, and those of DAGs without ours."""
    dags = home / "dags"
    shutil.copytree(REPOSITORY / "dags_examples", dags, ignore=shutil.ignore_patterns("__pycache__"))
    examples = {path.name: path for path in sorted(dags.glob("*.py"))}
    others = {what: home / f"{number}.py" for number, what in enumerate(_WITHOUT_OURS)}
    for what, path in others.items():
        path.write_text(_WITHOUT_OURS[what])
    files = examples | others
    said = _run(["-m", "benchmarks.parsing", str(PARSE_REPEATS), *map(str, files.values())], env)
    seconds = dict(zip(files, map(statistics.median, json.loads(said)), strict=True))
    mine = {name: seconds[name] for name in examples}
    return {"files": mine, "sum": sum(mine.values()), "without_ours": {what: seconds[what] for what in others}}


def measure_fetching(env: Mapping[str, str], home: Path) -> dict[str, Any]:
    """Return the median run of each way to fetch, for a large and a small file."""
    served, missing = home / "served", {}
    served.mkdir()
    sizes = {"large": LARGE_MB, "small": SMALL_MB}
    clip = a_clip()
    for name, size in sizes.items():
        with (served / f"{name}.mp4").open("wb") as file:
            stretch(clip, size * 1_000_000, file)
    ways: dict[str, Callable[[str, str], dict[str, float]]] = {}
    if curl := shutil.which("curl"):
        ways["curl"] = lambda link, to: _curl(curl, link, to, env)
    else:
        missing["curl"] = "there is no curl here"
    for way in fetching.WAYS:
        ways[way] = partial(_ours, env, way)
    rows = []
    with _served(served, env, home) as origin, _s3() as endpoint:
        if endpoint is None:
            missing["s3"] = "moto or s3fs is not installed"
        else:
            ways["s3"] = lambda link, to: _ours(env, "structure", link, "s3://bench/clip.mp4", endpoint)
        for way, fetch in ways.items():
            row: dict[str, Any] = {"way": way}
            for name in sizes:
                runs = [fetch(f"{origin}/{name}.mp4", str(home / "fetched.mp4")) for _ in range(FETCH_REPEATS)]
                row[name] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            rows.append(row)
    return {"large_mb": LARGE_MB, "small_mb": SMALL_MB, "rows": rows, "missing": missing}


def a_clip() -> bytes:
    """Return an MP4 of six seconds with picture and sound."""
    from airflow_provider_grokvideo.emulator.recipe import Recipe
    from airflow_provider_grokvideo.emulator.render import render

    return render(Recipe("text-to-video", "a tram in the rain", "grok-imagine-video", 848, 480, frames=144))


def stretch(clip: bytes, size: int, into: Any) -> None:
    """Write a clip and behind it a ``free`` box, so that the whole has ``size`` bytes and is as valid as before.

    Raises:
        ValueError: The clip is longer than that already.
    """
    box = size - len(clip)
    if box < 8:
        raise ValueError(f"the clip has {len(clip)} bytes already")
    into.write(clip)
    into.write(box.to_bytes(4, "big") + b"free")
    left, block = box - 8, os.urandom(1 << 20)
    while left > 0:
        left -= into.write(block[:left])


def installed_copy(home: Path) -> Path:
    """Copy the package with its bytecode, as an installation has it; return the folder to import it from."""
    copy = home / "installed"
    shutil.copytree(REPOSITORY / PACKAGE, copy / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(copy, quiet=2)
    return copy


def _environment(home: Path) -> dict[str, str]:
    """Return the environment of processes that use a copy of the package."""
    copy = installed_copy(home)
    env = clean_environment(
        AIRFLOW_HOME=str(home / "airflow"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
        PYTHONPATH=os.pathsep.join((str(copy), str(REPOSITORY))),
    )
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        env.pop(name, None)
    return env


def _run(arguments: Sequence[str], env: Mapping[str, str]) -> str:
    """Run Python and return the last line of its output."""
    done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments[:3])} failed:\n{done.stderr[-3000:]}")
    return done.stdout.splitlines()[-1]


def _ours(env: Mapping[str, str], *arguments: str) -> dict[str, float]:
    measured: dict[str, float] = json.loads(_run(["-m", "benchmarks.fetching", *arguments], env))
    return measured


def _curl(curl: str, link: str, to: str, env: Mapping[str, str]) -> dict[str, float]:
    started = time.perf_counter()
    with psutil.Popen([curl, "--silent", "--show-error", "--fail", "--output", to, link], env=env) as process:
        peak, cpu = 0.0, 0.0
        while process.poll() is None:
            # What it used is gone with it, so it is looked at until then.
            with suppress(psutil.Error):
                peak = max(peak, process.memory_info().rss / 1e6)
                cpu = max(cpu, sum(process.cpu_times()[:2]))
            time.sleep(0.002)
    wall = time.perf_counter() - started
    if process.returncode != 0:
        raise RuntimeError(f"curl ended with {process.returncode}")
    return {"bytes": Path(to).stat().st_size, "wall_s": wall, "cpu_s": cpu, "growth_mb": peak}


@contextmanager
def _served(folder: Path, env: Mapping[str, str], home: Path) -> Iterator[str]:
    """Serve a folder from another process; yield its origin."""
    port_file = home / "port"
    command = [sys.executable, "-m", "benchmarks.fetching", "serve", str(folder), str(port_file)]
    process = subprocess.Popen(command, env=env)
    try:
        deadline = time.monotonic() + 30
        while not port_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the file server did not start")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text()}"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def _s3() -> Iterator[str | None]:
    """Serve an empty S3 with a bucket ``bench`` from a thread; yield its address, or None without moto."""
    try:
        import httpx
        import s3fs  # type: ignore[import-untyped, unused-ignore]  # noqa: F401
        from moto.server import ThreadedMotoServer
    except ImportError:
        yield None
        return
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        httpx.put(f"http://{host}:{port}/bench", trust_env=False).raise_for_status()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
