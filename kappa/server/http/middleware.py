"""Batching in front of the framework: what is posted to an API is answered here, the rest by the framework.

It is an ASGI middleware, so it goes with any server of ASGI.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from kappa.errors import BadInputError
from kappa.server.http.answering import CLIENT_GONE, ApiResource
from kappa.server.http.arrival import first_event
from kappa.server.http.exchange import PlainRequest, PlainResponse, joined_headers

__all__ = ["BatchingMiddleware"]


class BatchingMiddleware:
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
        arrived = monotonic()
        headers = joined_headers(scope["headers"])
        resp = PlainResponse()
        if (refused := api.refused(headers.get(b"x-request-id"))) is not None:
            refused.put_into(resp)
        elif not api.answer_unread(headers, resp):
            try:
                event = await first_event(receive)
            except BadInputError as exc:
                api.answer_failed(exc, headers, resp, took_s=monotonic() - arrived)
            else:
                if event["type"] == "http.disconnect":
                    api.endpoint.metrics.request_answered(CLIENT_GONE, 0.0)
                    return
                await api.answer(PlainRequest(headers, event, receive, arrived=arrived), resp)
        await resp.send(send)
