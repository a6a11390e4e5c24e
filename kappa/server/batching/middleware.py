"""Answers API requests: decode, queue, run in a batch, encode.

It is an ASGI middleware: batching stands in front of the framework, which answers what is not addressed to an API.
What is fixed for a route is bound once, in `_answering`; what is left is done per request.

A server that is asked for ten times what it can do spends its time on refusals, and what these take is lost to those
that it answers. Whether a request would be taken is known before it is decoded, from the queue alone; so while the last
one was refused, the next is judged first.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache, partial
from time import monotonic
from typing import Any

import falcon.asgi

from kappa.errors import BadInputError
from kappa.inference import error_answer
from kappa.server.batching.batcher import Batcher, ExpiredError, OverdueError, RefusedError
from kappa.server.batching.policy import RefusalReason
from kappa.server.bounds import BODY_TIMEOUT_S
from kappa.server.exchange import (
    AnyRequest,
    AnyResponse,
    ClientGoneError,
    PlainRequest,
    PlainResponse,
    Request,
    RequestHeaders,
    RequestIds,
    media_type_of,
    read_body,
    send_answer,
    send_error,
    timeout_of,
    too_large,
    unpacked,
    valid_headers,
)
from kappa.server.host import Endpoint, Host, RenewableTask
from kappa.types import Answer, InferenceTask, Payload

__all__ = ["ApiResource", "BatchingMiddleware"]

Answering = Callable[[AnyRequest, AnyResponse], Awaitable[None]]

_logger = logging.getLogger("kappa.server")

_OFF_LOOP_BYTES = 64 * 1024
_CLIENT_GONE = 499
_UNKNOWN_BYTES = 1 << 20
_ID_STANDS_HERE = "0-request-id-0"


class ApiResource:
    """An API as a route of the framework, for what the middleware leaves to it, e.g. a path that ends in a slash."""

    def __init__(self, endpoint: Endpoint, host: Host, ids: RequestIds) -> None:
        self.endpoint = endpoint
        self.answer = _answering(endpoint, host, ids)
        self._ids = ids

    async def on_post(self, req: Request, resp: falcon.asgi.Response) -> None:
        await self.answer(req, resp)

    async def on_options(self, req: Request, resp: falcon.asgi.Response) -> None:
        send_answer(resp, Answer(b"", http_headers={"Allow": "OPTIONS, POST"}), self._ids.of(req))


class BatchingMiddleware:
    """Answers what is posted to one of ``apis``, which are named by their paths; ``app`` answers the rest."""

    def __init__(self, app: Any, apis: Mapping[str, ApiResource], ids: RequestIds) -> None:
        self._app = app
        self._apis = apis
        self._ids = ids

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        api = self._apis.get(scope["path"])
        if api is None or scope.get("method") != "POST":
            await self._app(scope, receive, send)
            return
        resp = PlainResponse()
        endpoint = api.endpoint
        batcher = endpoint.batcher
        if batcher is not None and batcher.has_refused and (refusal := batcher.refusal()) is not None:
            endpoint.metrics.request_refused(refusal.reason)
            given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
            _send_refusal(resp, refusal, self._ids.new(given))
            endpoint.metrics.request_answered(503, 0.0)
        else:
            first_event = await receive()
            if first_event["type"] == "http.disconnect":
                endpoint.metrics.request_answered(_CLIENT_GONE, 0.0)
                return
            await api.answer(PlainRequest(scope, receive, first_event), resp)
        await resp.send(send)


def _answering(endpoint: Endpoint, host: Host, ids: RequestIds) -> Answering:
    """Compile the way of a request of one API; what never changes between requests is a local name here."""
    identify = ids.of
    count_answer = endpoint.metrics.request_answered
    max_bytes = endpoint.service.serving.max_request_size_bytes
    is_batched = endpoint.spec.batch

    async def answer(req: AnyRequest, resp: AnyResponse) -> None:
        started = monotonic()
        request_id = identify(req)
        status = _CLIENT_GONE
        try:
            inference, batcher = endpoint.inference, endpoint.batcher
            if inference is None or batcher is None or host.state == "loading":
                status = _send_not_ready(resp, request_id)
                return
            event = req.first_event
            if event.get("more_body"):
                body = await _read_if_admitted(req, endpoint, batcher, max_bytes=max_bytes)
            elif len(body := event.get("body", b"")) > max_bytes:
                raise too_large(max_bytes)
            headers = req.raw_headers
            media_type, charset, boundary, is_heavy = media_type_of(req.content_type or "")
            if b"content-encoding" in headers:
                unpacking = partial(unpacked, body, headers[b"content-encoding"], max_bytes=max_bytes)
                body = await asyncio.get_running_loop().run_in_executor(host.decoders, unpacking)
            timeout_s = timeout_of(req) if b"x-request-timeout-seconds" in headers else None
            payload = Payload(body, media_type, charset, "", boundary)
            seen = RequestHeaders(headers)
            if is_heavy or len(body) > _OFF_LOOP_BYTES:
                decode = partial(inference.decode, payload, headers=seen, task_id=request_id)
                task = await asyncio.get_running_loop().run_in_executor(host.decoders, decode)
            else:
                task = inference.decode(payload, headers=seen, task_id=request_id)
            if endpoint.keeps_payloads:
                task = RenewableTask(task.data, seen, request_id, payload=payload)
            result = await batcher.submit(
                task,
                group=inference.group_of(task) if is_batched else None,
                items=inference.items_of(task) if is_batched else 1,
                size_bytes=len(body),
                deadline=None if timeout_s is None else started + timeout_s,
            )
            is_plain = not result.http_headers and result.http_status == 200 and result.media_type == "application/json"
            if not is_plain and (problem := valid_headers(result)):
                raise ValueError(f"The function's answer cannot be sent: {problem}.")
            send_answer(resp, result, request_id)
            status = result.http_status
        except BadInputError as exc:
            status = exc.http_status
            send_error(resp, status, str(exc), request_id)
        except RefusedError as exc:
            status = _send_refusal(resp, exc, request_id)
        except (ExpiredError, OverdueError) as exc:
            status = 504
            send_error(resp, status, str(exc), request_id)
        except ClientGoneError:
            send_error(resp, 400, "The request is not complete.", request_id)
        except Exception as exc:  # noqa: BLE001 - user code may raise anything; it is logged and answered with the id
            status = 500
            _log_failure(exc, endpoint, request_id)
            send_error(resp, status, "The service failed to answer; its log says why, under this id.", request_id)
        finally:
            count_answer(status, monotonic() - started)

    return answer


async def _read_if_admitted(
    req: AnyRequest, endpoint: Endpoint, batcher: Batcher[InferenceTask, Answer], *, max_bytes: int
) -> bytes:
    """Read a body that comes in parts, unless it is known already that the request will not be taken.

    Bodies that are being read count against the bytes that may wait; one of unknown length counts as a megabyte.
    """
    announced = req.content_length
    size = min(max_bytes, _UNKNOWN_BYTES if announced is None else announced)
    arriving = endpoint.arriving_bytes
    if arriving and arriving + size > batcher.limits.max_queue_bytes:
        refusal: RefusedError | None = RefusedError("queue_bytes", retry_after_s=1.0)
    else:
        refusal = batcher.refusal(size_bytes=arriving + size)
    if refusal is not None:
        endpoint.metrics.request_refused(refusal.reason)
        raise refusal
    endpoint.arriving_bytes += size
    try:
        return await read_body(req, max_bytes=max_bytes, timeout_s=BODY_TIMEOUT_S)
    finally:
        endpoint.arriving_bytes -= size


def _send_not_ready(resp: AnyResponse, request_id: str) -> int:
    send_error(resp, 503, "The service is still loading; try again.", request_id, {"Retry-After": "1"})
    return 503


def _send_refusal(resp: AnyResponse, refusal: RefusedError, request_id: str) -> int:
    seconds = max(1, math.ceil(refusal.retry_after_s))
    before, after = _around_id(refusal.reason, seconds)
    resp.data = before + request_id.encode() + after
    resp.status = 503
    resp.set_header("Content-Type", "application/json")
    resp.set_header("X-Request-Id", request_id)
    resp.set_header("Retry-After", str(seconds))
    return 503


@lru_cache(maxsize=1024)
def _around_id(reason: RefusalReason, seconds: int) -> tuple[bytes, bytes]:
    """Return a refusal's body around the request's id, which never needs escaping."""
    message = f"The service cannot take this request now ({reason}); try again in {seconds} s."
    body = error_answer(message, request_id=_ID_STANDS_HERE, http_status=503).body
    before, _, after = body.partition(_ID_STANDS_HERE.encode())
    return before, after


def _log_failure(exc: Exception, endpoint: Endpoint, request_id: str) -> None:
    """Log a failure in full once; the other members of a failed batch got the same exception."""
    name = f"{endpoint.service.name}.{endpoint.spec.name}"
    first = exc.__dict__.setdefault("__kappa_request_id__", request_id)
    if first == request_id:
        _logger.error("`%s` failed to answer %s", name, request_id, exc_info=exc)
    else:
        _logger.error("`%s` failed to answer %s, in the batch of %s", name, request_id, first)
