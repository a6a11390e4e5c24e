"""The fields of a request's head, read by one pattern where all of them are as they should be (RFC 9112, section 5)."""

from __future__ import annotations

import re

__all__ = ["fields_in"]

_FIELDS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+")


def fields_in(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """Return the names, in lower case, and values of the lines of a head; ``None`` if one of them is no field."""
    if _FIELDS.fullmatch(data) is None:
        return None
    lines = (line.partition(b":") for line in data.split(b"\r\n")[:-1])
    return [(name.lower(), value.strip(b" \t")) for name, _, value in lines]
