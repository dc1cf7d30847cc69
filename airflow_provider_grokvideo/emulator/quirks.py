"""Quirks: behaviours of the API that are known in more than one version (contract §11 and §13), default first."""

from __future__ import annotations

from collections.abc import Mapping

CHOICES: dict[str, tuple[str, ...]] = {
    "wrong_key": ("400", "401"),  # A2
    "no_credit": ("403", "402", "429"),  # A4
    "empty_prompt": ("async", "sync"),  # S9
    "classic_1080p": ("sync", "async"),  # S10
    "edit_too_long": ("async", "sync"),  # S19
    "edit_model": ("sync", "async"),  # S20
    "pending_body": ("alternate", "empty", "json"),  # P1, P2
    "pending_shape": ("202", "200", "no-status"),  # P3
    "done_shape": ("new", "old", "flat", "openai", "nested"),  # P4 to P6
    "upload_result": ("url", "null"),  # P8
    "expired_link": ("renew", "same"),  # unknown at the service: whether a later poll renews the link
    "expired_status": ("403", "404"),  # D3
    "range": ("206", "ignore"),  # D5
    "me": ("yes", "404"),  # GET /me is newer than the rest
    "rate_limit": ("off",),  # S26: off, or the number of submits allowed per minute
}


def read_quirks(chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return every switch with its setting; an unknown switch or setting is a ValueError."""
    settings = {name: choices[0] for name, choices in CHOICES.items()}
    for name, value in (chosen or {}).items():
        check_quirk(name, str(value))
        settings[name] = str(value)
    return settings


def check_quirk(name: str, value: str) -> None:
    """Raise ValueError unless ``value`` is a setting of the switch ``name``."""
    if name not in CHOICES:
        raise ValueError(f"unknown quirk {name!r}; expected one of: {', '.join(CHOICES)}")
    if name == "rate_limit" and value.isdigit() and int(value) > 0:
        return
    if value not in CHOICES[name]:
        more = " or a number per minute" if name == "rate_limit" else ""
        raise ValueError(f"invalid quirk {name}={value!r}: expected one of {', '.join(CHOICES[name])}{more}")
