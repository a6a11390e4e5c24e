"""The target of a request and its `Host` (RFC 9112, section 3.2), by the same rules for every server."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Target", "is_host", "target_of"]

_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?\]"  # an address of IPv6, with a zone or none
    rb"|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?"
)
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)([^#]*)", re.IGNORECASE)


class Target(NamedTuple):
    """The path of a request, with the `Host` that its target names, if it does."""

    path: bytes
    """With its query; ``*`` asks for the server as a whole."""
    host: bytes | None = None


@lru_cache(maxsize=64)
def is_host(value: bytes) -> bool:
    """Return whether ``value`` is a host with a port or none (RFC 3986, section 3.2); nothing is one too."""
    return _HOST.fullmatch(value) is not None


def target_of(method: bytes, target: bytes) -> Target | None:
    """Read a request's target; ``None`` if it is none for a server that is no proxy.

    A client may send a whole URL (RFC 9112, section 3.2.2), as it must to a proxy: its host stands in place of `Host`.
    """
    if target.startswith(b"/"):
        return Target(target)
    if target == b"*" and method == b"OPTIONS":
        return Target(target)
    match = _ABSOLUTE.fullmatch(target)
    if method == b"CONNECT" or match is None or not is_host(match[1]):
        return None
    path = match[2]
    if not path and method == b"OPTIONS":
        return Target(b"*", match[1])
    return Target(path if path.startswith(b"/") else b"/" + path, match[1])
