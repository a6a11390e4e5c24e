"""Points in time and lengths of time as text (ISO 8601, RFC 3339): one reader on every Python, and no digit is lost.

`datetime.fromisoformat` takes other texts with each version of Python, and cuts what is below a microsecond.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone, tzinfo
from datetime import time as clock
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

__all__ = ["BELOW_A_MICROSECOND", "length_of_time", "point_in_time", "points_in_time", "utc_of", "zone_of"]

BELOW_A_MICROSECOND = "has digits below a microsecond"

_COMMON = frozenset({"--", "--T:", "-- :"})
_COMMON_LENGTHS = frozenset({10, 16, 19, 23, 26})
_ISO = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})-([0-9]{2})|([0-9]{2})([0-9]{2}))"
    r"(?:[Tt ]([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:[.,]([0-9]+))?)?)?"
    r"([Zz]|[+-][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2})?)?)?)?"
)
_PART = r"(?:(-?[0-9]+){0})?"
_LENGTH = re.compile(
    r"(-?)P" + _PART.format("W") + _PART.format("D") + r"(?:T(?=[-0-9])" + _PART.format("H") + _PART.format("M")
    + r"(?:(-?[0-9]+)(?:[.,]([0-9]+))?S)?)?"
)  # fmt: skip


def point_in_time(text: str) -> datetime:
    """Return a time in UTC, without an offset; text without one is in UTC already.

    Raises `ValueError` with what is wrong, to follow the text.
    """
    # PERF: Python's own reader is ten times as fast, and reads these alike in all versions
    plain, offset = (text[:-1], "Z") if text[-1:] in ("Z", "z") else (text, "Z")
    if text[-3:-2] == ":" and text[-6:-5] in ("+", "-"):
        plain, offset = text[:-6], text[-6:]
    if len(plain) in _COMMON_LENGTHS and plain[4:14:3] in _COMMON and "+" not in plain and plain.rfind("-") == 7:
        try:
            return datetime.fromisoformat(plain) - _offset(offset)
        except (ValueError, OverflowError):
            pass
    if (match := _ISO.fullmatch(text)) is None:
        raise ValueError(_NO_TIME)
    year, month, day, month_, day_, hour, minute, second, fraction, offset = match.groups("")
    micros = fraction[:6].ljust(6, "0")
    is_late = hour == "24" and not (minute + second + micros).strip("0")
    clock = (0 if is_late else int(hour or 0), int(minute or 0), int(second or 0), int(micros))
    try:
        time = datetime(int(year), int(month or month_), int(day or day_), *clock)  # noqa: DTZ001 - it is in UTC
        time = time + timedelta(days=is_late) - _offset(offset or "Z")
    except (ValueError, OverflowError):
        raise ValueError(_NO_TIME) from None
    if fraction[6:].strip("0"):
        raise ValueError(BELOW_A_MICROSECOND)
    return time


def points_in_time(texts: Sequence[str | None]) -> Any:
    """Return many times as an array of `datetime64[us]` in UTC; ``None`` if one of them has to be looked at by itself.

    PERF: 0.2 µs a text, in place of 1 to 3 and another to make an array of them.
    """
    import numpy as np

    times = np.full(len(texts), np.datetime64("NaT", "us"))
    for start in range(0, len(texts), _AT_ONCE):
        part = np.array(texts[start : start + _AT_ONCE], dtype=object)
        lengths = np.array([-1 if text is None else len(text) for text in part.tolist()])
        for length in np.unique(lengths[lengths >= 0]).tolist():
            places = lengths == length
            if (read := _same_form(part[places].astype(f"U{length or 1}"), length)) is None:
                return None
            times[start : start + len(part)][places] = read
    return times


_AT_ONCE = 50_000


def _same_form(texts: Any, length: int) -> Any:
    """Read texts of one length that are written as the first of them is; ``None`` if another is not, or is no time."""
    import numpy as np

    first = str(texts[0])
    if (match := _ISO.fullmatch(first)) is None:
        return None
    codes = texts.view(np.uint32).reshape(len(texts), length).astype(np.int64)
    marks = np.array([not mark.isdigit() for mark in first])
    digits = codes - ord("0")
    if (codes[:, marks] != codes[0, marks]).any() or ((digits < 0) | (digits > 9))[:, ~marks].any():
        return None

    def number(start: int, stop: int) -> Any:
        return (
            digits[:, start:stop] @ 10 ** np.arange(stop - start)[::-1] if stop > start else np.zeros(len(texts), int)
        )

    year, month, day = (number(*match.span(1)), *(number(*match.span(i)) + number(*match.span(i + 2)) for i in (2, 3)))
    hour, minute, second = (number(*match.span(i)) for i in (6, 7, 8))
    start, stop = match.span(9)
    micros = number(start, min(stop, start + 6)) * 10 ** max(6 - (stop - start), 0)
    zone_start = match.start(10) if match[10] else length
    ahead = [
        number(i, i + 2) for i in range(zone_start, length) if first[i : i + 2].isdigit() and first[i - 1] in "+-:"
    ]
    if len(ahead) * 2 != sum(mark.isdigit() for mark in first[zone_start:]):
        return None  # an offset without colons
    hours, minutes, seconds = (*ahead, 0, 0, 0)[:3]
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    is_time = (days.astype("datetime64[M]") == months) & (year > 0) & (month > 0) & (month < 13)
    is_time &= (hour < 24) & (minute < 60) & (second < 60) & (hours < 24) & (minutes < 60) & (seconds < 60)
    if not is_time.all() or digits[:, max(start, 0) + 6 : max(stop, 0)].any():
        return None
    offset = ((hours * 60 + minutes) * 60 + seconds) * (-1 if first[zone_start:].startswith("-") else 1)
    clock = (((hour * 60 + minute) * 60 + second - offset) * 1_000_000 + micros).astype("timedelta64[us]")
    times = days.astype("datetime64[us]") + clock
    is_known = (times >= np.datetime64("0001-01-01", "us")) & (times < np.datetime64("10000-01-01", "us"))
    return times if is_known.all() else None


_NO_TIME = "is not a date and time like `2026-01-31T12:00:00Z`"


@lru_cache(maxsize=1000)
def _offset(text: str) -> timedelta:
    """Return how far a time is ahead of UTC."""
    if text in ("Z", "z"):
        return timedelta()
    digits = text[1:].replace(":", "").ljust(6, "0")
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:])
    if not digits.isascii() or hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(_NO_TIME)
    length = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return -length if text[0] == "-" else length


def utc_of(value: Any) -> datetime:
    """Return a `datetime` or a `date` as a time in UTC, without an offset; raises `ValueError` for what has no such."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, clock.min)
    if getattr(value, "nanosecond", 0):
        raise ValueError(BELOW_A_MICROSECOND)
    time: datetime = value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
    if time.tzinfo is None:
        return time
    try:
        return time.astimezone(timezone.utc).replace(tzinfo=None)
    except OverflowError:
        raise ValueError(_NO_TIME) from None


def zone_of(name: str) -> tzinfo:
    """Return a time zone: an offset like `+05:30`, or one of the time zone database; no name reads another file.

    Raises `ValueError` for one that is neither.
    """
    try:
        if name[:1] in ("+", "-") and len(name) == 6 and name[3] == ":":
            offset = timedelta(hours=int(name[1:3]), minutes=int(name[4:]))
            return timezone(-offset if name[0] == "-" else offset)
        return timezone.utc if name == "UTC" else ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise ValueError("its time zone is not known here") from None


def length_of_time(text: str) -> timedelta:
    """Return a length of time from text like `P1DT2H3M4.5S`; raises `ValueError` with what is wrong."""
    match = _LENGTH.fullmatch(text)
    if match is None or not any(match.groups()[1:]):
        raise ValueError(_NO_LENGTH)
    sign, *parts, fraction = match.groups()
    if (fraction or "")[6:].strip("0"):
        raise ValueError(BELOW_A_MICROSECOND)
    weeks, days, hours, minutes, seconds = (int(part[:20]) if part else 0 for part in parts)
    micros = int((fraction or "").ljust(6, "0")[:6])
    micros = -micros if (parts[-1] or "").startswith("-") else micros
    try:
        length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds, microseconds=micros)
    except OverflowError:
        raise ValueError(_NO_LENGTH) from None
    return -length if sign else length


_NO_LENGTH = "is not a length of time like `P1DT2H3M4.5S`"
