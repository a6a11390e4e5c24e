"""Origins of web pages (RFC 6454), which browsers send with the requests of other sites' pages."""

from __future__ import annotations

import re

__all__ = ["ORIGIN", "check_origin"]

ORIGIN = re.compile(
    r"(?:\*|([Hh][Tt][Tt][Pp][Ss]?)://((?:[A-Za-z0-9-]+\.)*[A-Za-z0-9-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?)"
)
"""The grammar of an origin; ECMA 262 reads this pattern as `re` does."""
_USUAL_PORTS = {"http": "80", "https": "443"}


def check_origin(text: str) -> str:
    """Return an origin as browsers write it, or ``*`` for any; raises `ValueError` for what is not one.

    >>> check_origin("https://App.example.com:443")
    'https://app.example.com'
    """
    if text == "*":
        return text
    match = ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError(
            f"`{text}` is not the origin of a web page: write scheme, host and port alone, e.g. "
            "`https://app.example.com`, or `*` for any page"
        )
    scheme, host, port = match[1].lower(), match[2].lower(), match[3]
    return f"{scheme}://{host}" if port in (None, _USUAL_PORTS[scheme]) else f"{scheme}://{host}:{int(port)}"
