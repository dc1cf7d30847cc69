#!/bin/sh
# Runs the quick tests on other versions of Airflow, each in an environment of its own under build/.
# Usage: scripts/versions.sh [VERSION ...]; without arguments the oldest and the newest that are supported.
set -eu

[ $# -gt 0 ] || set -- 3.1.8 3.4.0b2
uv=$(command -v uv || echo .venv/bin/uv)
"$uv" --version >/dev/null 2>&1 || { echo "uv is needed: .venv/bin/python -m pip install uv" >&2; exit 1; }

for version in "$@"; do
    venv=build/airflow-$version
    echo "--- Airflow $version ---"
    if [ ! -x "$venv/bin/pytest" ]; then
        "$uv" venv --quiet --python "${PYTHON:-.venv/bin/python}" "$venv"
        "$uv" pip install --quiet --prerelease if-necessary-or-explicit --python "$venv/bin/python" \
            "apache-airflow==$version" -e '.[media,emulator,table]' \
            pytest pytest-asyncio pytest-xdist pytest-cov hypothesis 'moto[server]' s3fs cryptography statsd psutil aiohttp
    fi
    case $version in
        # Airflow 3.1 shows the form's fields and settings' defaults in its own way.
        3.1.*) without='not lists_the_hook and not setting_has_its_default' ;;
        *) without='' ;;
    esac
    "$venv/bin/python" -m pytest -q -k "$without" -n logical -p no:cacheprovider tests/test_imports.py tests/test_provider_info.py tests/client \
        tests/core/test_wire.py tests/core/purchases/test_records.py tests/hooks/test_grokvideo.py tests/operators/test_grokvideo.py \
        tests/operators/test_bulk.py tests/decorators/test_grokvideo.py tests/execution/test_run.py \
        tests/policies/test_grokvideo.py tests/sensors/test_grokvideo.py tests/triggers/test_grokvideo.py tests/triggers/test_bulk.py
done
