"""One API in one process, independent of protocols: the way of every request from its door to its answer.

A *door* translates: it makes an `ApiRequest` of its input, and sends what comes back: a `Failure`, or the value in the
representation of the request. Everything is decided, counted and logged here: readiness, bounds of memory, decoding,
the batch, deadlines, and calls of observers.

There are two ways in. A complete, small request is `put`, and its door called when its batch is finished: no task and
no future. Any other is `ask`ed by a coroutine, which has it read, unpacked and decoded piece by piece.

Under ten times its capacity, a server spends its time on refusals, at the cost of the requests that it answers. Whether
a request would be taken is known before it is read, from the queue alone: `refusal`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from time import monotonic
from typing import Any, Literal, Protocol

from kappa.adapters.media_types import JSON, SLOW_KINDS, UNTOLD
from kappa.errors import BadInputError, InferenceFailedError, exception_text
from kappa.server.answers import is_plain, problem_of
from kappa.server.arrivals import Arrival, Arrivals
from kappa.server.batching.batcher import Batcher
from kappa.server.batching.failure import BatchFailedError, forget_frames
from kappa.server.batching.outcomes import ExpiredError, RefusedError
from kappa.server.batching.queue import WaitingRequest
from kappa.server.batching.saturation import Saturation
from kappa.server.decoding import Decoders, DecodingOverdueError
from kappa.server.failures import CLIENT_GONE, FAILED, Failure, NotReadyError, outcome_of, refused, too_large
from kappa.server.renewal import RenewableTask
from kappa.server.requests import ApiRequest, Door, RequestObserver
from kappa.services.inference import Inference
from kappa.spec.service import ApiSpec, ServiceSpec
from kappa.types import Answer, InferenceError, InferenceResult, InferenceTask, Payload

__all__ = ["Endpoint", "HostState", "Reader", "Ticket"]

HostState = Literal["loading", "ready", "succeeded", "draining"]
Reader = Callable[[Arrival], Awaitable["Payload | None"]]
"""Reads a request as far as the `Arrival` lets it; ``None`` where there is no room for the rest."""

_logger = logging.getLogger("kappa.server")

_OFF_LOOP_BYTES = 64 * 1024


class _Process(Protocol):
    """The process of an endpoint, as far as it needs to know it."""

    state: HostState
    decoders: Decoders


class Endpoint:
    """One API; ``inference`` and ``batcher`` are there once it may be called.

    ``observer`` sees each request. Where it ``shows_errors``, clients read what a function raised.
    """

    def __init__(
        self,
        process: _Process,
        service: ServiceSpec,
        spec: ApiSpec,
        observer: RequestObserver,
        *,
        shows_errors: bool = False,
    ) -> None:
        self.service = service
        self.spec = spec
        self.observer = observer
        self.inference: Inference | None = None
        self.batcher: Batcher[InferenceTask, Any] | None = None
        self.arrivals = Arrivals()
        self.keeps_payloads = False
        """Whether a request of a failed batch is decoded anew: its function may have changed what it was given."""
        self.saturation = Saturation(monotonic())
        self.max_bytes = service.serving.max_request_size_bytes
        self.decoding_limits = service.serving.decoding_limits
        self._process = process
        self._shows_errors = shows_errors

    @property
    def name(self) -> str:
        """The API as it is called in logs."""
        return f"{self.service.name}.{self.spec.name}"

    def refusal(self) -> Failure | None:
        """Return the refusal of any request now; ``None`` if it is to be read."""
        if self.batcher is None or (refusal := self.batcher.refusal()) is None:
            return None
        self.observer.refused(refusal.reason, 0.0)
        return refused(refusal.reason, refusal.retry_after_s)

    def put(self, request: ApiRequest, door: Door) -> Ticket | None:
        """Queue a complete request, whose outcome ``door`` delivers; ``None`` if it must be `ask`ed.

        The door may have delivered before this returns.
        """
        inference, batcher, payload = self.inference, self.batcher, request.payload
        if inference is None or batcher is None or self._process.state == "loading":
            return None
        size_bytes = len(payload.data)
        if size_bytes > self.max_bytes or not _is_light(request, payload, inference):
            return None
        ticket = Ticket(self, request, door)
        self.observer.began(request)
        try:
            if request.mistake is not None:
                raise request.mistake
            task = self._task_of(request, payload, inference)
            group, items = inference.group_and_items_of(task)
            ticket.waiting = batcher.put(
                task,
                ticket,
                group=group,
                items=items,
                size_bytes=size_bytes + inference.nbytes_of(task, payload),
                arrived=request.arrived,
                deadline=request.deadline,
            )
        except Exception as exc:  # noqa: BLE001 - user code may raise anything
            ticket.set_exception(exc)
        return ticket

    async def ask(self, request: ApiRequest, read: Reader | None = None) -> Any:
        """Answer a request, which ``read`` brings in if it is not all there.

        Return a `Failure`, or its value in the request's representation.
        """
        self.observer.began(request)
        try:
            answer = await self._answer(request, read)
        except Exception as exc:  # noqa: BLE001 - user code may raise anything
            return self.failed(request, exc)
        except BaseException:  # whoever waited for it has left
            self.gave_up(request)
            raise
        return self.answered(request, answer)

    async def answer_example(self, payload: Payload, task_id: str) -> Answer:
        """Answer an example like a request, but unobserved; raises its error."""
        inference, batcher = self.inference, self.batcher
        if inference is None or batcher is None:
            raise NotReadyError
        if len(payload.data) > self.max_bytes:
            raise too_large(self.max_bytes)
        request = ApiRequest(task_id, inference.headers, monotonic(), payload._replace(limits=self.decoding_limits))
        decode = partial(self._decode, request, request.payload, inference)
        task, _ = await self._process.decoders.run(decode, size_bytes=len(payload.data))
        group, items = inference.group_and_items_of(task)
        answer: Answer = await batcher.submit(task, group=group, items=items)
        if problem := problem_of(answer):
            raise InferenceFailedError(f"The function's answer cannot be sent: {problem}.")
        return answer

    def answered(self, request: ApiRequest, answer: Any) -> Any:
        """Return the outcome of a request for its client, and report it to observers."""
        http_status = 200
        if isinstance(answer, Answer):
            if not is_plain(answer):
                if problem := problem_of(answer):
                    return self.failed(request, ValueError(f"The function's answer cannot be sent: {problem}."))
                http_status = answer.http_status
        elif isinstance(answer, InferenceResult | InferenceError):
            http_status = answer.http_status
        self.observer.answered(request, http_status, monotonic() - request.arrived)
        return answer

    def failed(self, request: ApiRequest, error: Exception) -> Failure:
        """Return the failure of a request for its client, and report it to observers."""
        failure = self._failure_of(error, request.request_id)
        if isinstance(error, RefusedError):
            self.observer.refused(error.reason, monotonic() - request.arrived)
        elif failure.outcome is CLIENT_GONE:
            self.gave_up(request)
        else:
            self.observer.answered(request, failure.outcome.http_status, monotonic() - request.arrived)
        return failure

    def gave_up(self, request: ApiRequest) -> None:
        """Report to observers that a client has left."""
        self.observer.gone(request, monotonic() - request.arrived)

    async def _answer(self, request: ApiRequest, read: Reader | None) -> Any:
        inference, batcher = self.inference, self.batcher
        if inference is None or batcher is None or self._process.state == "loading":
            raise NotReadyError
        if max(request.announced_bytes or 0, len(request.payload.data)) > self.max_bytes:
            raise too_large(self.max_bytes)
        if request.mistake is not None:
            raise request.mistake
        with Arrival(self.arrivals, batcher) as arrival:
            payload = request.payload if read is None else await read(arrival)
            if payload is None:
                raise arrival.refusal()
            decode = partial(self._decode, request, payload, inference)
            if _is_light(request, payload, inference):
                task, size_bytes = decode()
            else:
                arrival.wait_for_decoding()
                in_time = partial(_in_time, decode, request.deadline)
                task, size_bytes = await self._process.decoders.run(in_time, size_bytes=len(payload.data))
        group, items = inference.group_and_items_of(task)
        return await batcher.submit(task, group=group, items=items, size_bytes=size_bytes, deadline=request.deadline)

    def _decode(self, request: ApiRequest, payload: Payload, inference: Inference) -> tuple[InferenceTask, int]:
        """Return the task, and how many bytes it holds while it waits."""
        if request.unpack is not None:
            payload = payload._replace(data=request.unpack(payload.data))
        task = self._task_of(request, payload, inference)
        return task, len(payload.data) + inference.nbytes_of(task, payload)

    def _task_of(self, request: ApiRequest, payload: Payload, inference: Inference) -> InferenceTask:
        form = inference.form_of(payload)
        facts = form, request.headers, request.request_id, None, request.representation
        return RenewableTask(*facts, payload=payload) if self.keeps_payloads else InferenceTask(*facts)

    def _failure_of(self, error: Exception, request_id: str) -> Failure:
        """Return the failure for a client, and log an error that is not the client's fault."""
        if isinstance(error, RefusedError):
            return refused(error.reason, error.retry_after_s)
        outcome = outcome_of(error)
        message = _text_of(error) if outcome is not FAILED else None
        if message is None:
            outcome = FAILED
            message = "The service failed to answer; its log says why, under this id."
            if self._shows_errors:
                cause = error.error if isinstance(error, BatchFailedError) else error
                message = f"The service failed to answer: {exception_text(cause)}. Its log says more, under this id."
            _log_failure(error, self.name, request_id)
        elif isinstance(error, DecodingOverdueError):
            text = "The body of %s was not decoded by `%s` in time, and nothing can end that: its thread is left."
            _logger.error(text, request_id, self.name, extra={"request_id": request_id})
        forget_frames(error)
        return Failure(outcome, message, 1 if isinstance(error, NotReadyError) else None)


class Ticket:
    """A request that was put: takes the place of a future in the queue, and calls its door at once."""

    __slots__ = ("_door", "_endpoint", "_request", "is_done", "waiting")

    def __init__(self, endpoint: Endpoint, request: ApiRequest, door: Door) -> None:
        self._endpoint = endpoint
        self._request = request
        self._door = door
        self.is_done = False
        self.waiting: WaitingRequest | None = None
        """Its place in the queue."""

    def done(self) -> bool:
        """Return whether its outcome was delivered, or its client has left."""
        return self.is_done

    def set_result(self, result: Any) -> None:
        """Deliver the answer of the function."""
        self.is_done = True
        self._deliver(self._endpoint.answered(self._request, result))

    def set_exception(self, error: Exception) -> None:
        """Deliver the failure for ``error``."""
        self.is_done = True
        self._deliver(self._endpoint.failed(self._request, error))

    def _deliver(self, answer: Any) -> None:
        request_id = self._request.request_id
        try:
            self._door.deliver(answer, request_id)
        except Exception:
            _logger.exception("The answer to %s could not be sent", request_id, extra={"request_id": request_id})

    def give_up(self) -> None:
        """Record that the client has left; the queue drops its request."""
        if not self.is_done:
            self.is_done = True
            self._endpoint.gave_up(self._request)
            batcher = self._endpoint.batcher
            if batcher is not None and self.waiting is not None:
                batcher.abandon(self.waiting)


@lru_cache(maxsize=256)
def _may_be_slow(media_type: str) -> bool:
    return media_type in UNTOLD or media_type.startswith(SLOW_KINDS)


def _is_light(request: ApiRequest, payload: Payload, inference: Inference) -> bool:
    """Return whether a body is decoded so soon that it may be done on the event loop."""
    if len(payload.data) > _OFF_LOOP_BYTES or request.unpack is not None:
        return False
    media_type = payload.media_type
    return media_type == JSON or not _may_be_slow(media_type) or inference.is_light(media_type, payload.data)


def _in_time(decode: Callable[[], tuple[InferenceTask, int]], deadline: float | None) -> tuple[InferenceTask, int]:
    """Decode what has waited for that, unless its client has given up meanwhile."""
    if deadline is not None and monotonic() >= deadline:
        raise ExpiredError
    return decode()


def _text_of(error: Exception) -> str | None:
    """Return the text of an error; ``None`` for a user's class whose text cannot be read."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - nothing is known of it
        return None


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
