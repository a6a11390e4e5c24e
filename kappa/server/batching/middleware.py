"""Answers API requests: decode, queue, run in a batch, encode.

Falcon lets a middleware answer in place of the resource (`process_resource` sets ``resp.complete``); that is where
batching stands. What is fixed for a route is bound once, in `answering`; what is left is done per request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import Any

import falcon.asgi

from kappa.errors import BadInputError
from kappa.server.batching.batcher import Batcher, ExpiredError, OverdueError, RefusedError
from kappa.server.batching.shedding import refusal_body
from kappa.server.bounds import BODY_TIMEOUT_S
from kappa.server.exchange import (
    ClientGoneError,
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

Answering = Callable[[Request, falcon.asgi.Response], Awaitable[None]]

_logger = logging.getLogger("kappa.server")

_OFF_LOOP_BYTES = 64 * 1024
_CLIENT_GONE = 499
_UNKNOWN_BYTES = 1 << 20


class ApiResource:
    """The route of one API; the middleware answers, so the responder is only what tells Falcon the method."""

    def __init__(self, endpoint: Endpoint, host: Host, ids: RequestIds) -> None:
        self.answer = _answering(endpoint, host, ids)
        self._ids = ids

    async def on_post(self, req: Request, resp: falcon.asgi.Response) -> None:
        await self.answer(req, resp)

    async def on_options(self, req: Request, resp: falcon.asgi.Response) -> None:
        send_answer(resp, Answer(b"", http_headers={"Allow": "OPTIONS, POST"}), self._ids.of(req))


class BatchingMiddleware:
    """Stands between routing and resources, and answers what is addressed to an API."""

    async def process_resource(
        self,
        req: Request,
        resp: falcon.asgi.Response,
        resource: Any,
        params: dict[str, Any],  # noqa: ARG002 - Falcon's signature
    ) -> None:
        if resource.__class__ is ApiResource and req.method == "POST":
            await resource.answer(req, resp)
            resp.complete = True


def _answering(endpoint: Endpoint, host: Host, ids: RequestIds) -> Answering:
    """Compile the way of a request of one API; what never changes between requests is a local name here."""
    identify = ids.of
    count_answer = endpoint.metrics.request_answered
    max_bytes = endpoint.service.serving.max_request_size_bytes
    is_batched = endpoint.spec.batch

    async def answer(req: Request, resp: falcon.asgi.Response) -> None:
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
    req: Request, endpoint: Endpoint, batcher: Batcher[InferenceTask, Answer], *, max_bytes: int
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


def _send_not_ready(resp: falcon.asgi.Response, request_id: str) -> int:
    send_error(resp, 503, "The service is still loading; try again.", request_id, {"Retry-After": "1"})
    return 503


def _send_refusal(resp: falcon.asgi.Response, refusal: RefusedError, request_id: str) -> int:
    resp.data, retry_after = refusal_body(refusal, request_id)
    resp.status = 503
    resp.set_header("Content-Type", "application/json")
    resp.set_header("X-Request-Id", request_id)
    resp.set_header("Retry-After", retry_after)
    return 503


def _log_failure(exc: Exception, endpoint: Endpoint, request_id: str) -> None:
    """Log a failure in full once; the other members of a failed batch got the same exception."""
    name = f"{endpoint.service.name}.{endpoint.spec.name}"
    first = exc.__dict__.setdefault("__kappa_request_id__", request_id)
    if first == request_id:
        _logger.error("`%s` failed to answer %s", name, request_id, exc_info=exc)
    else:
        _logger.error("`%s` failed to answer %s, in the batch of %s", name, request_id, first)
