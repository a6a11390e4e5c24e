"""Lengths of time in options, e.g. `30m`, `24h` and `90d`."""

from __future__ import annotations

import re
from datetime import timedelta

from kappa.errors import UsageError

__all__ = ["read_duration"]

_DURATION = re.compile(r"([0-9]{1,6}) ?([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def read_duration(text: str, *, option: str) -> timedelta:
    """Return the length of time that an option gives; raises `UsageError`."""
    if (match := _DURATION.fullmatch(text)) is None:
        raise UsageError(f"`{option} {text}`: write a time like `30m`, `24h` or `7d`.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
