"""Refuses requests in front of the framework, while the last one of their API was refused.

A server that is asked for ten times what it can do spends its time on refusals, and what these take is lost to those
that it answers. Whether a request would be taken is known before it is decoded, from the queue alone; so the second
refusal in a row costs no routing, no request object and no response object (PERF: two thirds of the time of the
first). The first request that may be taken goes the usual way again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from time import monotonic
from typing import Any

from kappa.inference import error_answer
from kappa.server.batching.batcher import RefusedError
from kappa.server.batching.policy import RefusalReason
from kappa.server.exchange import RequestIds
from kappa.server.host import Endpoint

__all__ = ["Shedding", "refusal_body"]

_ID_STANDS_HERE = "0-request-id-0"


class Shedding:
    """An ASGI application in front of ``app``; ``endpoints`` are the APIs by the path that they are asked at."""

    def __init__(self, app: Any, endpoints: Mapping[str, Endpoint], ids: RequestIds) -> None:
        self._app = app
        self._endpoints = endpoints
        self._ids = ids

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is not None and (batcher := endpoint.batcher) is not None and batcher.has_refused:
            started = monotonic()
            refusal = batcher.refusal() if scope["method"] == "POST" else None
            if refusal is not None:
                await self._refuse(refusal, endpoint, scope, send)
                endpoint.metrics.request_answered(503, monotonic() - started)
                return
        await self._app(scope, receive, send)

    async def _refuse(self, refusal: RefusedError, endpoint: Endpoint, scope: dict[str, Any], send: Any) -> None:
        endpoint.metrics.request_refused(refusal.reason)
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        request_id = self._ids.new(given)
        body, retry_after = refusal_body(refusal, request_id)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"retry-after", retry_after.encode()),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def refusal_body(refusal: RefusedError, request_id: str) -> tuple[bytes, str]:
    """Return the body of a refusal, and its `Retry-After`."""
    seconds = max(1, math.ceil(refusal.retry_after_s))
    before, after = _around_id(refusal.reason, seconds)
    return before + request_id.encode() + after, str(seconds)


@lru_cache(maxsize=1024)
def _around_id(reason: RefusalReason, seconds: int) -> tuple[bytes, bytes]:
    """Return a refusal's body around the request's id, which never needs escaping."""
    message = f"The service cannot take this request now ({reason}); try again in {seconds} s."
    body = error_answer(message, request_id=_ID_STANDS_HERE, http_status=503).body
    before, _, after = body.partition(_ID_STANDS_HERE.encode())
    return before, after
