"""Error of an emulator that cannot start."""

from __future__ import annotations


class EmulatorError(RuntimeError):
    """The emulator cannot start; the message says why."""
