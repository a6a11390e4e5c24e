"""The APIs in front of the framework: what is posted to one is answered here, the rest by the framework.

It is an ASGI middleware, so it goes with any server of ASGI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kappa.server.http.answering import ApiResource
from kappa.server.http.exchange import PlainRequest, PlainResponse, joined_headers

__all__ = ["ApiMiddleware"]


class ApiMiddleware:
    """Answers what is posted to one of ``apis``, which are named by their paths; ``app`` answers the rest."""

    def __init__(self, app: Any, apis: Mapping[str, ApiResource]) -> None:
        self._app = app
        self._apis = apis

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = scope["path"]
        api = self._apis.get(path) or self._apis.get(path.removesuffix("/"))
        if api is None or scope.get("method") != "POST":
            await self._app(scope, receive, send)
            return
        resp = PlainResponse()
        if await api.answer(PlainRequest(joined_headers(scope["headers"]), receive), resp):
            await resp.send(send)
