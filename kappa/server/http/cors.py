"""Requests of other sites' pages in browsers (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).

Answers never allow credentials: Kappa has no cookies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kappa.server.http.exchange import PlainResponse, RequestIds, joined_headers, send_error

__all__ = ["CrossOrigin"]

_MAX_AGE_S = 600
_METHODS = b"GET, HEAD, POST, OPTIONS"
_REQUEST_HEADERS = ("Content-Type", "Content-Encoding", "X-Request-Id", "X-Request-Timeout-Seconds")
_EXPOSED = b"X-Request-Id, Retry-After"
_OURS = frozenset({b"access-control-allow-origin", b"access-control-allow-credentials"})
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_MOST_FIELDS = 50

Pairs = list[tuple[bytes, bytes]]


class CrossOrigin:
    """An ASGI application around ``app`` that lets pages of the origins ``allowed`` read its answers.

    Where ``is_private``, pages of other sites are refused altogether: a developer's own server must not answer whatever
    page that developer happens to look at, which can send requests although it cannot read the answers.
    """

    def __init__(self, app: Any, ids: RequestIds, allowed: Iterable[str], *, is_private: bool = False) -> None:
        self._app = app
        self._ids = ids
        self._allowed = frozenset(origin.encode("ascii") for origin in allowed)
        self._is_private = is_private

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        pairs = [(name, value) for name, value in scope["headers"]]  # which can be read only once
        scope = {**scope, "headers": pairs}
        headers = joined_headers(pairs)
        is_allowed = self._allows(headers.get(b"origin"))
        if self._is_private and not is_allowed and _is_strange(scope["method"], headers):
            await self._refuse(headers, send)
        elif not self._allowed:
            await self._app(scope, receive, send)
        elif is_allowed and scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            resp = [*self._permission(headers), *_preflight(headers), (b"x-request-id", self._id(headers).encode())]
            await send({"type": "http.response.start", "status": 204, "headers": resp})
            await send({"type": "http.response.body", "body": b""})
        else:
            added = [(b"vary", b"Origin")]
            if is_allowed:
                added = [*self._permission(headers), (b"access-control-expose-headers", _EXPOSED)]
            await self._app(scope, receive, _adding(added, send))

    def _allows(self, origin: bytes | None) -> bool:
        return origin is not None and (b"*" in self._allowed or origin.lower() in self._allowed)

    def _permission(self, headers: Mapping[bytes, bytes]) -> Pairs:
        origin = b"*" if b"*" in self._allowed else headers[b"origin"]
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]

    async def _refuse(self, headers: Mapping[bytes, bytes], send: Any) -> None:
        site = headers.get(b"origin", b"another site").decode("latin-1")
        text = (
            f"This server is for development and answers no pages of {site}. To allow it, name that page's origin with "
            "`kappa serve --cors-origin` or in `cors_origins` of `[serving]`."
        )
        resp = PlainResponse()
        send_error(resp, 403, text, self._id(headers))
        await resp.send(send)

    def _id(self, headers: Mapping[bytes, bytes]) -> str:
        return self._ids.new(headers.get(b"x-request-id"))


def _is_strange(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a page of another site asks.

    Browsers say so in `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/), but only to servers that they trust,
    e.g. those on their own machine; else `Origin` tells. A link that is followed is no request of the page it is on.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        is_link = method in ("GET", "HEAD") and headers.get(b"sec-fetch-mode") == b"navigate"
        return site == b"cross-site" and not is_link
    origin = headers.get(b"origin")
    return origin is not None and origin.lower().partition(b"://")[2] != headers.get(b"host", b"").lower()


def _preflight(headers: Mapping[bytes, bytes]) -> Pairs:
    """Return what a page may send: functions may read any header."""
    names = {name.lower(): name for name in _REQUEST_HEADERS}
    wanted = headers.get(b"access-control-request-headers", b"").decode("latin-1").split(",")[:_MOST_FIELDS]
    for name in map(str.strip, wanted):
        if _FIELD_NAME.fullmatch(name):
            names.setdefault(name.lower(), name)
    return [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", ", ".join(names.values()).encode("ascii")),
        (b"access-control-max-age", b"%d" % _MAX_AGE_S),
    ]


def _adding(added: Pairs, send: Any) -> Any:
    """Return a ``send`` that adds to the headers of an answer; what its function said of its own accord goes."""

    async def send_with(event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            kept = [(name, value) for name, value in event.get("headers", ()) if bytes(name).lower() not in _OURS]
            event = {**event, "headers": [*kept, *added]}
        await send(event)

    return send_with
