#!/bin/sh
# Makes wheel and sdist in dist/, in a build environment of its own: nothing of .venv is needed.
# uv builds: the one on PATH, or one that pip puts into build/tools. Where uv cannot be had, pip brings the module build.
set -eu

tools=build/tools
python=${PYTHON:-python3}
rm -rf dist

if command -v uv >/dev/null 2>&1 && uv build --quiet --out-dir dist .; then
    exit
fi
[ -x "$tools/bin/python" ] || "$python" -m venv "$tools"
if [ -x "$tools/bin/uv" ] || "$tools/bin/python" -m pip install --quiet --disable-pip-version-check uv; then
    "$tools/bin/uv" build --quiet --out-dir dist . && exit
fi
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check build
exec "$tools/bin/python" -m build --outdir dist .
