"""How one API answers: decode, queue, run in a batch, encode.

There are two ways through it. A request that is all there and small is begun where it is read, and answered by whoever
finishes its batch (`begin`): no task and no future. Any other is a coroutine (`answer`), which reads, unpacks and
decodes piece by piece. What they do with a task, an answer or a failure is the same code.

A server that is asked for ten times what it can do spends its time on refusals, and what these take is lost to those
that it answers. Whether a request would be taken is known before it is decoded, from the queue alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

import falcon.asgi

from kappa.errors import BadInputError, said
from kappa.server.batching.admission import Refusal, RefusalReason
from kappa.server.batching.batcher import Batcher
from kappa.server.batching.failure import BatchFailedError, forget_frames
from kappa.server.batching.outcomes import ExpiredError, OverdueError, RefusedError
from kappa.server.batching.queue import WaitingRequest
from kappa.server.decoding import DecodingOverdueError
from kappa.server.host import Endpoint, Host
from kappa.server.http.arrival import Arrival, read_body
from kappa.server.http.bounds import BODY_TIMEOUT_S
from kappa.server.http.exchange import (
    AnyRequest,
    AnyResponse,
    ClientGoneError,
    PlainResponse,
    Request,
    RequestHeaders,
    RequestIds,
    announced_length,
    media_type_of,
    send_answer,
    send_error,
    timeout_of,
    too_large,
    unpacked,
    valid_headers,
)
from kappa.server.renewal import RenewableTask
from kappa.services.inference import Inference, error_answer
from kappa.types import Answer, InferenceTask, Payload

__all__ = ["CLIENT_GONE", "ApiResource", "PendingAnswer", "Receiver", "RefusedAnswer"]

T = TypeVar("T")

_logger = logging.getLogger("kappa.server")

_OFF_LOOP_BYTES = 64 * 1024
CLIENT_GONE = 499
"""What is counted where a client left before its answer."""
_ID_STANDS_HERE = "0-request-id-0"


class ApiResource:
    """One API, as a server or the framework calls it; the framework has what the middleware leaves to it, e.g. a path
    that ends in a slash."""

    def __init__(self, endpoint: Endpoint, host: Host, ids: RequestIds, *, shows_errors: bool = False) -> None:
        self.endpoint = endpoint
        self._shows_errors = shows_errors
        self._host = host
        self._ids = ids
        serving = endpoint.service.serving
        self._max_bytes = serving.max_request_size_bytes
        self._limits = serving.decoding_limits

    async def on_post(self, req: Request, resp: falcon.asgi.Response) -> None:
        await self.answer(req, resp)

    async def on_options(self, req: Request, resp: falcon.asgi.Response) -> None:
        send_answer(resp, Answer(b"", http_headers={"Allow": "OPTIONS, POST"}), self._ids.of(req))

    def refused(self, given_id: bytes | None) -> RefusedAnswer | None:
        """Return the answer to a request that is refused whatever is in it, or ``None``."""
        batcher = self.endpoint.batcher
        if batcher is None or (refusal := batcher.refusal()) is None:
            return None
        metrics = self.endpoint.metrics
        metrics.request_refused(refusal.reason)
        metrics.request_answered(503, 0.0)
        return RefusedAnswer.of(refusal, self._ids.new(given_id))

    def answer_unread(self, headers: Mapping[bytes, bytes], resp: AnyResponse) -> bool:
        """Answer a request whose headers say that it cannot be taken; False if its body must be read.

        A client that asked whether to send its body at all (`Expect: 100-continue`, RFC 9110, section 10.1.1) is told
        to by reading.
        """
        given_id = headers.get(b"x-request-id")
        if self.endpoint.batcher is None or self._host.state == "loading":
            status = _send_not_ready(resp, self._ids.new(given_id))
        elif (announced := announced_length(headers)) is not None and announced > self._max_bytes:
            status = self.send_failure(resp, too_large(self._max_bytes), self._ids.new(given_id))
        else:
            return False
        self.endpoint.metrics.request_answered(status, 0.0)
        return True

    def answer_failed(
        self, error: Exception, headers: Mapping[bytes, bytes], resp: AnyResponse, *, took_s: float
    ) -> None:
        """Answer a request of which no more than its headers came."""
        status = self.send_failure(resp, error, self._ids.new(headers.get(b"x-request-id")))
        self.endpoint.metrics.request_answered(status, took_s)

    def begin(self, headers: Mapping[bytes, bytes], body: bytes, receiver: Receiver) -> PendingAnswer | None:
        """Queue a request that is all there, and tell ``receiver`` what came of it; ``None`` if it needs the other way.

        ``headers`` have lower-case names, each once. ``receiver`` may be told before this returns.
        """
        inference, batcher = self.endpoint.inference, self.endpoint.batcher
        media_type, charset, boundary, is_heavy = media_type_of(headers.get(b"content-type", b"").decode("latin-1"))
        if inference is None or batcher is None or self._host.state == "loading":
            return None
        is_light = len(body) <= min(_OFF_LOOP_BYTES, self._max_bytes)
        if not is_light or (is_heavy and not inference.is_light(media_type, body)) or b"content-encoding" in headers:
            return None
        pending = PendingAnswer(self, self._ids.new(headers.get(b"x-request-id")), receiver)
        try:
            timeout_s = timeout_of(headers)
            payload = Payload(body, media_type, charset, "", boundary, self._limits)
            task = self._task_of(payload, inference, headers, pending.request_id)
            pending.waiting = batcher.put(
                task,
                pending,
                **self._place_of(task, inference),
                size_bytes=len(body) + inference.nbytes_of(task, payload),
                arrived=pending.began,
                deadline=None if timeout_s is None else pending.began + timeout_s,
            )
        except Exception as exc:  # noqa: BLE001 - user code may raise anything
            pending.set_exception(exc)
        return pending

    async def answer(self, req: AnyRequest, resp: AnyResponse) -> None:
        """Answer a request, which need not be all there yet."""
        endpoint, host = self.endpoint, self._host
        request_id = self._ids.of(req)
        status = CLIENT_GONE
        try:
            inference, batcher = endpoint.inference, endpoint.batcher
            if inference is None or batcher is None or host.state == "loading":
                status = _send_not_ready(resp, request_id)
                return
            timeout_s = timeout_of(req.raw_headers)
            deadline = None if timeout_s is None else req.arrived + timeout_s
            with Arrival(endpoint.arrivals) as arrival:
                body = await self._read(req, batcher, arrival)
                decode = partial(self._decode, inference, body, req.raw_headers, request_id)
                if self._is_light(req, body, inference):
                    task, size_bytes = decode()
                else:
                    arrival.wait_for_decoding()
                    self._check_room(batcher)
                    in_time = partial(_in_time, decode, deadline)
                    task, size_bytes = await host.decoders.run(in_time, size_bytes=len(body))
            place = self._place_of(task, inference)
            result = await batcher.submit(task, **place, size_bytes=size_bytes, deadline=deadline)
            status = _send_result(resp, result, request_id)
        except Exception as exc:  # noqa: BLE001 - user code may raise anything
            status = self.send_failure(resp, exc, request_id)
        finally:
            endpoint.metrics.request_answered(status, monotonic() - req.arrived)

    async def _read(self, req: AnyRequest, batcher: Batcher[InferenceTask, Answer], arrival: Arrival) -> bytes:
        """Return the body, if the request may be taken as far as is known, and there is room for its body."""

        def hold(size_bytes: int) -> bool:
            arrival.grow(size_bytes)
            return self._lacking(batcher) is None

        if req.first_event.get("more_body"):
            refusal = batcher.refusal(size_bytes=self.endpoint.arrivals.size_bytes)
            if refusal is not None:
                raise self._refused(refusal.reason, refusal.retry_after_s)
        body = await read_body(req, max_bytes=self._max_bytes, timeout_s=BODY_TIMEOUT_S, hold=hold)
        if body is None:
            raise self._refused(self._lacking(batcher) or "queue_bytes")
        return body

    def _check_room(self, batcher: Batcher[InferenceTask, Answer]) -> None:
        if (lacking := self._lacking(batcher)) is not None:
            raise self._refused(lacking)

    def _lacking(self, batcher: Batcher[InferenceTask, Answer]) -> RefusalReason | None:
        """Return which bound is passed by what is held of all requests."""
        arrivals = self.endpoint.arrivals
        return batcher.lacks_room(arriving=arrivals.count, decoding=arrivals.decoding, size_bytes=arrivals.size_bytes)

    def _refused(self, reason: RefusalReason, retry_after_s: float = 1.0) -> RefusedError:
        self.endpoint.metrics.request_refused(reason)
        return RefusedError(reason, retry_after_s=retry_after_s)

    def _is_light(self, req: AnyRequest, body: bytes, inference: Inference) -> bool:
        """Return whether a body is decoded so soon that it may be done on the event loop."""
        if len(body) > _OFF_LOOP_BYTES or b"content-encoding" in req.raw_headers:
            return False
        media_type, _, _, is_heavy = media_type_of(req.content_type or "")
        return not is_heavy or inference.is_light(media_type, body)

    def _decode(
        self, inference: Inference, body: bytes, headers: Mapping[bytes, bytes], request_id: str
    ) -> tuple[InferenceTask, int]:
        """Return the task, and how many bytes it holds while it waits."""
        if (encoding := headers.get(b"content-encoding")) is not None:
            body = unpacked(body, encoding, max_bytes=self._max_bytes)
        media_type, charset, boundary, _ = media_type_of(headers.get(b"content-type", b"").decode("latin-1"))
        payload = Payload(body, media_type, charset, "", boundary, self._limits)
        task = self._task_of(payload, inference, headers, request_id)
        return task, len(body) + inference.nbytes_of(task, payload)

    def _task_of(
        self, payload: Payload, inference: Inference, headers: Mapping[bytes, bytes], request_id: str
    ) -> InferenceTask:
        seen = RequestHeaders(headers)
        if not self.endpoint.keeps_payloads:
            return inference.decode(payload, headers=seen, task_id=request_id)
        return RenewableTask(inference.form_of(payload), seen, request_id, None, payload)

    def _place_of(self, task: InferenceTask, inference: Inference) -> dict[str, Any]:
        """Return with whom a task may share a batch, and for how many it counts there."""
        if not self.endpoint.spec.batch:
            return {}
        return {"group": inference.group_of(task), "items": inference.items_of(task)}

    def send_failure(self, resp: AnyResponse, error: Exception, request_id: str) -> int:
        """Put what a client is told of ``error`` into the response, and return the status."""
        if isinstance(error, RefusedError):
            return RefusedAnswer.of(error, request_id).put_into(resp)
        if isinstance(error, ClientGoneError):
            send_error(resp, 400, "The request is not complete.", request_id)
            return CLIENT_GONE
        if isinstance(error, BadInputError) and (refusal := _refusal_in(error)) is not None:
            status, text = refusal
        elif isinstance(error, ExpiredError | OverdueError):
            status, text = 504, str(error)
        elif isinstance(error, DecodingOverdueError):
            status, text = 504, str(error)
            said_of = "The body of %s was not decoded by `%s.%s` in time, and nothing can end that: its thread is left."
            of_it = {"request_id": request_id}
            _logger.error(said_of, request_id, self.endpoint.service.name, self.endpoint.spec.name, extra=of_it)
        else:
            status, text = 500, "The service failed to answer; its log says why, under this id."
            if self._shows_errors:
                cause = error.error if isinstance(error, BatchFailedError) else error
                text = f"The service failed to answer: {said(cause)}. Its log says more, under this id."
            _log_failure(error, f"{self.endpoint.service.name}.{self.endpoint.spec.name}", request_id)
        forget_frames(error)
        send_error(resp, status, text, request_id)
        return status


def _refusal_in(error: BadInputError) -> tuple[int, str] | None:
    """Return the status and text of a refusal; ``None`` if a user's own kind of it has none to tell."""
    try:
        status, text = error.http_status, str(error)
    except Exception:  # noqa: BLE001 - nothing is known of it
        return None
    return (status, text) if isinstance(status, int) and 400 <= status < 500 else None


class RefusedAnswer(NamedTuple):
    """What a client is told whose request is not taken: status 503, JSON."""

    body: bytes
    request_id: str
    retry_after_s: int

    @classmethod
    def of(cls, refusal: Refusal | RefusedError, request_id: str) -> RefusedAnswer:
        seconds = max(1, math.ceil(refusal.retry_after_s))
        before, after = _around_id(refusal.reason, seconds)
        return cls(before + request_id.encode() + after, request_id, seconds)

    def put_into(self, resp: AnyResponse) -> int:
        """Make it the response, and return its status."""
        resp.data = self.body
        resp.status = 503
        resp.set_header("Content-Type", "application/json")
        resp.set_header("X-Request-Id", self.request_id)
        resp.set_header("Retry-After", str(self.retry_after_s))
        return 503


@lru_cache(maxsize=1024)
def _around_id(reason: RefusalReason, seconds: int) -> tuple[bytes, bytes]:
    """Return a refusal's body around the request's id, which never needs escaping."""
    message = f"The service cannot take this request now ({reason}); try again in {seconds} s."
    body = error_answer(message, request_id=_ID_STANDS_HERE, http_status=503).body
    before, _, after = body.partition(_ID_STANDS_HERE.encode())
    return before, after


class Receiver(Protocol):
    """Who waits for an answer, e.g. a connection."""

    def receive_plain(self, body: bytes, request_id: str) -> None:
        """Take a JSON answer with status 200 and no other headers than every answer has."""

    def receive(self, resp: PlainResponse) -> None:
        """Take any other answer."""


class PendingAnswer:
    """A request that was begun; stands where a future would, and tells its receiver at once."""

    __slots__ = ("_api", "_is_done", "_receiver", "began", "request_id", "waiting")

    def __init__(self, api: ApiResource, request_id: str, receiver: Receiver) -> None:
        self._api = api
        self._receiver = receiver
        self._is_done = False
        self.request_id = request_id
        self.began = monotonic()
        self.waiting: WaitingRequest | None = None
        """Its place in the queue."""

    def done(self) -> bool:
        """Return whether it has been answered, or nobody waits for that any more."""
        return self._is_done

    def set_result(self, result: Answer) -> None:
        """Send the answer of the function."""
        self._is_done = True
        if _is_plain(result):
            self._count(200)
            self._tell(self._receiver.receive_plain, result.body, self.request_id)
            return
        resp = PlainResponse()
        try:
            status = _send_result(resp, result, self.request_id)
        except ValueError as exc:
            status = self._api.send_failure(resp, exc, self.request_id)
        self._count(status)
        self._tell(self._receiver.receive, resp)

    def set_exception(self, error: Exception) -> None:
        """Send what a client is told of ``error``."""
        self._is_done = True
        resp = PlainResponse()
        self._count(self._api.send_failure(resp, error, self.request_id))
        self._tell(self._receiver.receive, resp)

    def give_up(self) -> None:
        """Take note that the client has left; the queue drops what nobody waits for."""
        if not self._is_done:
            self._is_done = True
            self._count(CLIENT_GONE)
            batcher = self._api.endpoint.batcher
            if batcher is not None and self.waiting is not None:
                batcher.abandon(self.waiting)

    def _tell(self, receive: Callable[..., None], *answer: Any) -> None:
        try:
            receive(*answer)
        except Exception:
            of_it = {"request_id": self.request_id}
            _logger.exception("The answer to %s could not be sent", self.request_id, extra=of_it)

    def _count(self, status: int) -> None:
        self._api.endpoint.metrics.request_answered(status, monotonic() - self.began)


def _is_plain(result: Answer) -> bool:
    return not result.http_headers and result.http_status == 200 and result.media_type == "application/json"


def _send_result(resp: AnyResponse, result: Answer, request_id: str) -> int:
    """Put a function's answer into the response; raises `ValueError` if it cannot be sent."""
    if not _is_plain(result) and (problem := valid_headers(result)):
        raise ValueError(f"The function's answer cannot be sent: {problem}.")
    send_answer(resp, result, request_id)
    return result.http_status


def _in_time(decode: Callable[[], T], deadline: float | None) -> T:
    """Decode what has waited for that, unless its client has given up meanwhile."""
    if deadline is not None and monotonic() >= deadline:
        raise ExpiredError
    return decode()


def _send_not_ready(resp: AnyResponse, request_id: str) -> int:
    send_error(resp, 503, "The service is still loading; try again.", request_id, {"Retry-After": "1"})
    return 503


def _log_failure(error: Exception, name: str, request_id: str) -> None:
    """Log a failure in full, once for each run of the function."""
    of_it = {"request_id": request_id}
    if not isinstance(error, BatchFailedError):
        _logger.error("`%s` failed to answer %s", name, request_id, exc_info=error, extra=of_it)
    elif error.logged_for:
        _logger.error("`%s` failed to answer %s, in the batch of %s", name, request_id, error.logged_for, extra=of_it)
    else:
        error.logged_for = request_id
        advice = _advice_on(error)
        _logger.error("`%s` failed to answer %s%s", name, request_id, advice, exc_info=error.error, extra=of_it)
        forget_frames(error.error)


def _advice_on(error: BatchFailedError) -> str:
    """Return what to do instead of refusing one request of a batch by an exception, which fails all of them."""
    if not isinstance(error.error, BadInputError):
        return ""
    return (
        f" and {error.requests - 1} others of its batch, because one was refused by an exception and "
        "`isolate_failures` is off: refuse one request of a batch by `task.discard`"
    )
