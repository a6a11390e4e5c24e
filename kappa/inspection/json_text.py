"""Reading untrusted JSON: bounded in size, and in depth by Python's own parser."""

from __future__ import annotations

import json
from typing import Any

from kappa.inspection.streams import TruncatedError, UnreadableError

__all__ = ["JSON_BYTES", "first_value_of", "list_of", "read_json", "table_of"]

JSON_BYTES = 1 << 24
"""The largest text that is read whole."""


def read_json(data: bytes) -> Any:
    """Return the value of a whole text; raises `UnreadableError`."""
    if len(data) > JSON_BYTES:
        raise UnreadableError("the JSON in it is longer than is read")
    try:
        return json.loads(data)
    except json.JSONDecodeError as exc:
        if exc.pos >= len(exc.doc.rstrip()) or exc.msg.startswith("Unterminated"):
            raise TruncatedError("the JSON in it ends too soon") from None
        raise UnreadableError("the JSON in it is not JSON") from None
    except (ValueError, RecursionError):
        raise UnreadableError("the JSON in it is not JSON") from None


def table_of(value: Any) -> dict[str, Any]:
    """Return a value if it is a table, and else an empty one: a file may hold any value anywhere."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """Return a value if it is a list, and else an empty one."""
    return value if isinstance(value, list) else []


def first_value_of(text: str, key: str) -> Any:
    """Return the value of the first key of a name in a part of a JSON text; ``None`` if it is not there."""
    at = text.find(f'"{key}"')
    colon = text.find(":", at) if at >= 0 else -1
    try:
        start = colon + 1 + len(text[colon + 1 :]) - len(text[colon + 1 :].lstrip())
        return json.JSONDecoder().raw_decode(text, start)[0] if colon >= 0 else None
    except (ValueError, RecursionError):
        return None
