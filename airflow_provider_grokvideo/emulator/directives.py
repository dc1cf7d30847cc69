"""Directives to the emulator inside a prompt: ``A red ball [[emulator: tempo=polls:3 fault=moderated:b]]``.

They let any client, DAG or shell choose tempo and faults. Each pair of brackets holds one tempo and at most one
fault with its options ``on``, ``times``, ``retry_after`` and ``body``; further faults go into further brackets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_grokvideo.emulator.faults import Fault, read_fault
from airflow_provider_grokvideo.emulator.tempo import Tempo

_BRACKETS = re.compile(r"\s*\[\[\s*emulator\s*:(.*?)\]\]", re.DOTALL | re.IGNORECASE)
_WORDS = ("tempo", "fault", "on", "times", "retry_after", "body")


@dataclass(frozen=True)
class Directives:
    """What a prompt asked of the emulator, and the prompt without the asking."""

    prompt: str
    tempo: Tempo | None = None
    faults: tuple[Fault, ...] = ()


def read_prompt(prompt: str) -> Directives:
    """Separate the directives from the prompt; an unknown directive is a ValueError that lists the known ones."""
    tempo: Tempo | None = None
    faults: list[Fault] = []
    for match in _BRACKETS.finditer(prompt):
        pairs = _pairs(match.group(1))
        if "tempo" in pairs:
            tempo = Tempo.parse(pairs.pop("tempo"))
        if "fault" in pairs:
            faults.append(_fault(pairs))
        elif pairs:
            raise ValueError(f"an emulator directive has {', '.join(sorted(pairs))} but no fault=")
    return Directives(_BRACKETS.sub("", prompt).strip(), tempo, tuple(faults))


def _pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in re.split(r"[\s,;]+", text.strip()):
        if not item:
            continue
        word, sign, value = item.partition("=")
        if word not in _WORDS or not sign:
            raise ValueError(f"unknown emulator directive {item!r}; expected one of: {'=, '.join(_WORDS)}=")
        if word in pairs:
            raise ValueError(f"emulator directive {word}= is given twice; use one pair of brackets per fault")
        pairs[word] = value
    return pairs


def _fault(pairs: dict[str, str]) -> Fault:
    word = pairs.pop("fault")
    # A fate belongs to the job that carries the prompt, however often the prompt is sent.
    unlimited = {"times": None} if "times" not in pairs else {}
    fault = read_fault(word, **pairs)
    return read_fault(word, **pairs, **unlimited) if fault.is_fate else fault
