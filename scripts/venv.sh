#!/bin/sh
# Makes .venv in the current directory and keeps it in step with pyproject.toml and constraints.txt.
# PYTHON=... names the interpreter; otherwise a suitable one is chosen. uv installs: the one on PATH, or one that pip puts
# into .venv. Where uv cannot be had or fails, pip installs.
set -eu

venv=.venv
stamp=$venv/.installed
log=$venv/install.log
# Airflow runs on Python 3.10 to 3.14, constraints.txt is verified on 3.11 to 3.13.
suitable='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
runs() { "$1" -c "$2" </dev/null >/dev/null 2>&1; }

version_of() {
    if command -v "$1" >/dev/null 2>&1; then "$1" --version 2>&1; else printf 'not there'; fi
}

fingerprint() {
    pwd
    cksum pyproject.toml constraints.txt
    "$venv/bin/python" --version 2>&1
}

has_venv() { runs "$1" 'import venv, ensurepip' || command -v uv >/dev/null 2>&1; }

# Prints the first suitable interpreter that can make an environment, or else one that at least is suitable.
find_python() {
    without_venv=
    for name in python3 python3.13 python3.12 python3.11 python3.14 python; do
        runs "$name" "$suitable" || continue
        if has_venv "$name"; then printf '%s' "$name"; return; fi
        without_venv=${without_venv:-$name}
    done
    printf '%s' "$without_venv"
}

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        runs "$PYTHON" "$suitable" || fail "PYTHON=$PYTHON is not a Python from 3.11 to 3.14: it is $(version_of "$PYTHON")."
        python=$PYTHON
    else
        python=$(find_python)
        [ -n "$python" ] ||
            fail "Python 3.11 or newer (up to 3.14) is needed; python3 is $(version_of python3). Install one, or name it: make PYTHON=/path/to/python3.12 ..."
    fi
    has_venv "$python" ||
        fail "$python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv; or install uv."
}

make_venv() {
    choose_python
    say "Making $venv with $("$python" --version 2>&1) ..."
    rm -rf "$venv"
    if runs "$python" 'import venv, ensurepip'; then
        "$python" -m venv "$venv"
    else
        uv venv --quiet --seed --python "$python" "$venv"
    fi
}

with_uv() { "$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" -c constraints.txt -e '.[dev]'; }
with_pip() { "$venv/bin/python" -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'; }
fetch_uv() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv; }

# Sets uv to an installer that works; fails where there is none. GROKVIDEO_PIP=1 asks for pip alone.
find_uv() {
    [ -z "${GROKVIDEO_PIP:-}" ] || return 1
    for uv in uv "$venv/bin/uv"; do
        if "$uv" --version >/dev/null 2>&1; then return; fi
    done
    watched fetch_uv && "$uv" --version >/dev/null 2>&1
}

# Runs an installer with its output in the log, and says every ten seconds that it is still at it.
watched() {
    "$@" >"$log" 2>&1 </dev/null &
    installer=$!
    trap 'kill "$installer" 2>/dev/null; exit 130' INT TERM HUP
    seconds=0
    while kill -0 "$installer" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        [ $((seconds % 10)) -ne 0 ] || say "  ... $seconds s"
    done
    trap - INT TERM HUP
    wait "$installer"
}

install() {
    say "Installing Apache Airflow and the development tools into $venv (about 190 packages) ..."
    if find_uv; then
        watched with_uv && return
        say "uv could not install it ($(tail -n 1 "$log")); trying pip."
    else
        say "There is no uv; pip takes two to three minutes."
    fi
    watched with_pip && return
    tail -n 20 "$log" >&2
    fail "the installation failed; all of its output is in $log."
}

if ! runs "$venv/bin/python" "$suitable"; then
    make_venv
elif [ -n "${PYTHON:-}" ] && [ "$("$PYTHON" --version 2>&1)" != "$("$venv/bin/python" --version 2>&1)" ]; then
    make_venv
fi
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$(fingerprint)" ]; then
    rm -f "$stamp"
    install
    fingerprint >"$stamp"
    say "Installed."
fi
