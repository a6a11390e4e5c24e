"""The outermost ASGI layer: requests that must not reach the framework, and answers that must not leave it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from falcon.asgi_spec import AsgiEvent

from kappa.errors import BadInputError
from kappa.server.http.arrival import first_event
from kappa.server.http.exchange import PlainResponse, RequestIds, joined_headers, send_error

__all__ = ["CutShortError", "Edge"]

_logger = logging.getLogger("kappa.server")

_NO_WEBSOCKETS = "WebSockets are not spoken here: ask with plain HTTP."


class CutShortError(Exception):
    """The rest of an answer whose beginning was sent cannot be had; the text says why."""


class Edge:
    """An ASGI application around ``app``.

    WebSockets are refused with 403, whatever the server makes of the request for an upgrade: Falcon takes an HTTP sink
    for one of WebSockets. A body that does not begin is answered with 408: nothing in the framework would give it up.
    An answer that is cut short is left as it is, whereupon servers close the connection: that alone tells the client.
    """

    def __init__(self, app: Any, ids: RequestIds) -> None:
        self._app = app
        self._ids = ids

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        pairs = [(name, value) for name, value in scope["headers"]]  # which can be read only once
        headers = joined_headers(pairs)
        if scope["method"] == "GET" and b"websocket" in headers.get(b"upgrade", b"").lower():
            await self._refuse(headers, 403, _NO_WEBSOCKETS, send)
            return
        if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
            try:
                receive = _again(await first_event(receive), receive)
            except BadInputError as exc:
                await self._refuse(headers, exc.http_status, str(exc), send)
                return
        scope = {**scope, "headers": pairs}
        try:
            await self._app(scope, receive, send)
        except CutShortError as exc:
            _logger.warning("The answer to %s %r was cut short: %s", scope["method"], scope["path"], exc)

    async def _refuse(self, headers: Mapping[bytes, bytes], status: int, message: str, send: Any) -> None:
        resp = PlainResponse()
        send_error(resp, status, message, self._ids.new(headers.get(b"x-request-id")))
        await resp.send(send)


def _again(event: AsgiEvent, receive: Callable[[], Awaitable[AsgiEvent]]) -> Callable[[], Awaitable[AsgiEvent]]:
    """Return what gives ``event`` first, and then what ``receive`` does."""
    events = [event]

    async def first_or_next() -> AsgiEvent:
        return events.pop() if events else await receive()

    return first_or_next
