"""Texts of a declaration, and the JSON Schema of those that a function checks."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

__all__ = ["Line", "one_line", "shown"]


def one_line(text: str) -> str:
    """Return a text that is one line; raises `ValueError` for any other."""
    if any(ord(character) < 32 for character in text):
        raise ValueError("a line break or control character cannot stand here")
    return text


def shown(pattern: re.Pattern[str] | str) -> dict[str, Any]:
    """Return the JSON Schema of text that a function checks; ECMA 262 reads these patterns as `re` does."""
    return {"pattern": f"^{pattern if isinstance(pattern, str) else pattern.pattern}$"}


Line = Annotated[str, AfterValidator(one_line), Field(json_schema_extra=shown(r"[^\x00-\x1f]*"))]
"""One line of text."""
