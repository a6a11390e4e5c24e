"""What surrounds the framework: what must not reach it, and what must not get out of it."""

from __future__ import annotations

import logging
from typing import Any

from kappa.server.exchange import PlainResponse, RequestIds, joined_headers, send_error

__all__ = ["CutShortError", "Edge"]

_logger = logging.getLogger("kappa.server")

_NO_WEBSOCKETS = "WebSockets are not spoken here: ask with plain HTTP."


class CutShortError(Exception):
    """The rest of an answer whose beginning was sent cannot be had; the text says why."""


class Edge:
    """An ASGI application around ``app``.

    WebSockets are refused with 403, whatever the server makes of a client's wish for one: Falcon takes an HTTP sink for
    one of WebSockets. An answer that is cut short is left as it is, whereupon servers close the connection: that alone
    tells the client.
    """

    def __init__(self, app: Any, ids: RequestIds) -> None:
        self._app = app
        self._ids = ids

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["method"] == "GET":
            headers = [(name, value) for name, value in scope["headers"]]  # which can be read only once
            if any(name == b"upgrade" and b"websocket" in value.lower() for name, value in headers):
                await self._refuse(headers, send)
                return
            scope = {**scope, "headers": headers}
        try:
            await self._app(scope, receive, send)
        except CutShortError as exc:
            _logger.warning("The answer to %s %r was cut short: %s", scope["method"], scope["path"], exc)

    async def _refuse(self, headers: list[tuple[bytes, bytes]], send: Any) -> None:
        resp = PlainResponse()
        send_error(resp, 403, _NO_WEBSOCKETS, self._ids.new(joined_headers(headers).get(b"x-request-id")))
        await resp.send(send)
