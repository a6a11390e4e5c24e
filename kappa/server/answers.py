"""Whether an answer can be sent as its function wants it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kappa.types import HEADER_NAME, Answer

__all__ = ["is_plain", "problem_of", "values_of"]

_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_FRAMING = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade", "x-request-id"})


def is_plain(answer: Answer) -> bool:
    """Return whether an answer is JSON with status 200 and no headers of its own, as nearly all are."""
    return not answer.http_headers and answer.http_status == 200 and answer.media_type == "application/json"


def problem_of(answer: Answer) -> str | None:
    """Return what is wrong with the status, type or headers that a user's function chose; ``None`` if nothing is."""
    if not isinstance(answer.http_status, int) or not 200 <= answer.http_status <= 599:
        return f"`{answer.http_status}` is not a status of an answer"
    if not _HEADER_VALUE.fullmatch(answer.media_type):
        return "its `Content-Type` cannot be sent"
    seen: set[str] = set()
    for name, value in answer.http_headers.items():
        if not HEADER_NAME.fullmatch(name) or name.lower() in _FRAMING:
            return f"`{name}` is not a header that a function may set"
        if not isinstance(value, (str, list, tuple)) or not all(map(_is_value, values_of(value))):
            return f"the value of the header `{name}` cannot be sent"
        if name.lower() in seen:
            return f"two of its headers are called `{name}`: give one a list of values"
        seen.add(name.lower())
    return None


def values_of(value: str | Sequence[str]) -> Sequence[str]:
    """Return the values of a header, each of which is sent by itself."""
    return (value,) if isinstance(value, str) else value


def _is_value(value: Any) -> bool:
    return isinstance(value, str) and _HEADER_VALUE.fullmatch(value) is not None
