"""The doors of HTTP to one API: a request becomes an `ApiRequest`, and its outcome an HTTP answer.

A request that is all there and small is begun where it is read (`begin`). Any other, and any on a server of ASGI, is
answered by a coroutine (`answer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from time import monotonic
from typing import NamedTuple

import falcon.asgi

from kappa.errors import BadInputError
from kappa.server.arrivals import Arrival
from kappa.server.endpoint import Endpoint, Ticket
from kappa.server.failures import CLIENT_GONE, ClientGoneError, Failure
from kappa.server.http import bounds
from kappa.server.http.arrival import first_event, read_body
from kappa.server.http.exchange import (
    TIMEOUT,
    AnyRequest,
    AnyResponse,
    PlainResponse,
    Request,
    RequestHeaders,
    RequestIds,
    announced_length,
    media_type_of,
    send_answer,
    send_error,
    timeout_of,
    unpacked,
)
from kappa.server.requests import ApiRequest, Door
from kappa.services.representations import error_answer
from kappa.types import Answer, Payload

__all__ = ["ApiResource", "RefusedAnswer", "response_of"]

_ID_STANDS_HERE = "0-request-id-0"
_UNFINISHED = 400
"""The message for a client that ended its request too soon, and may still read."""


class ApiResource:
    """One API, as a server or the framework calls it."""

    def __init__(self, endpoint: Endpoint, ids: RequestIds) -> None:
        self.endpoint = endpoint
        self._ids = ids

    async def on_post(self, req: Request, resp: falcon.asgi.Response) -> None:
        await self.answer(req, resp)

    async def on_options(self, req: Request, resp: falcon.asgi.Response) -> None:
        send_answer(resp, Answer(b"", http_headers={"Allow": "OPTIONS, POST"}), self._ids.of(req))

    def refused(self, given_id: bytes | None) -> RefusedAnswer | None:
        """Return the answer to a request that is refused whatever is in it, or ``None``."""
        if (failure := self.endpoint.refusal()) is None:
            return None
        return RefusedAnswer.of(failure, self._ids.new(given_id))

    def begin(self, headers: Mapping[bytes, bytes], body: bytes, door: Door) -> Ticket | None:
        """Queue a request that is all there, whose end ``door`` delivers; ``None`` if it needs the other way.

        ``headers`` have lower-case names, each once. The door may have delivered before this returns.
        """
        if b"content-encoding" in headers:
            return None
        request_id, arrived = self._ids.new(headers.get(b"x-request-id")), monotonic()
        deadline, mistake = _deadline_of(headers, arrived) if TIMEOUT in headers else (None, None)
        payload = self._payload(headers, body)
        return self.endpoint.put(
            ApiRequest(request_id, RequestHeaders(headers), arrived, payload, deadline, mistake), door
        )

    async def answer(self, req: AnyRequest, resp: AnyResponse) -> bool:
        """Answer a request, which need not be all there yet; False if its client has left without one.

        A client that asked whether to send its body at all (`Expect: 100-continue`, RFC 9110, section 10.1.1) gets `100
        Continue` when its body is read.
        """
        headers = req.raw_headers
        if (refused := self.refused(headers.get(b"x-request-id"))) is not None:
            refused.put_into(resp)
            return True
        request_id = self._ids.of(req)
        unpack = None
        if (encoding := headers.get(b"content-encoding")) is not None:
            unpack = partial(unpacked, encoding=encoding, max_bytes=self.endpoint.max_bytes)
        deadline, mistake = _deadline_of(headers, req.arrived)
        request = ApiRequest(
            request_id,
            RequestHeaders(headers),
            req.arrived,
            deadline=deadline,
            mistake=mistake,
            announced_bytes=announced_length(headers),
            unpack=unpack,
        )
        answer = await self.endpoint.ask(request, partial(self._read, req))
        _put_into(resp, answer, request_id)
        return req.first_event is None or req.first_event["type"] != "http.disconnect"

    async def _read(self, req: AnyRequest, arrival: Arrival) -> Payload | None:
        if req.first_event is None:
            req.first_event = await first_event(req.receive)
        if req.first_event["type"] == "http.disconnect":
            raise ClientGoneError
        if req.first_event.get("more_body"):
            arrival.go_on()
        max_bytes, timeout_s = self.endpoint.max_bytes, bounds.BODY_TIMEOUT_S
        body = await read_body(req, max_bytes=max_bytes, timeout_s=timeout_s, hold=arrival.take)
        return None if body is None else self._payload(req.raw_headers, body)

    def _payload(self, headers: Mapping[bytes, bytes], body: bytes) -> Payload:
        media_type, charset, boundary = media_type_of(headers.get(b"content-type", b""))
        return Payload(body, media_type, charset, "", boundary, self.endpoint.decoding_limits)


def _deadline_of(headers: Mapping[bytes, bytes], arrived: float) -> tuple[float | None, BadInputError | None]:
    """Return a client's deadline, or the error in its header."""
    try:
        timeout_s = timeout_of(headers)
    except BadInputError as exc:
        return None, exc
    return None if timeout_s is None else arrived + timeout_s, None


class RefusedAnswer(NamedTuple):
    """The answer to a refused request: status 503, JSON."""

    body: bytes
    request_id: str
    retry_after_s: int

    @classmethod
    def of(cls, failure: Failure, request_id: str) -> RefusedAnswer:
        before, after = _around_id(failure.message, failure.outcome.http_status)
        return cls(before + request_id.encode() + after, request_id, failure.retry_after_s or 1)

    def put_into(self, resp: AnyResponse) -> None:
        """Make it the response."""
        resp.data = self.body
        resp.status = 503
        resp.set_header("Content-Type", "application/json")
        resp.set_header("X-Request-Id", self.request_id)
        resp.set_header("Retry-After", str(self.retry_after_s))


@lru_cache(maxsize=1024)
def _around_id(message: str, http_status: int) -> tuple[bytes, bytes]:
    """Return a refusal's body around the request's id, which never needs escaping."""
    body = error_answer(message, request_id=_ID_STANDS_HERE, http_status=http_status).body
    before, _, after = body.partition(_ID_STANDS_HERE.encode())
    return before, after


def response_of(answer: Answer | Failure, request_id: str) -> PlainResponse:
    """Return the outcome of a request as an HTTP response."""
    resp = PlainResponse()
    _put_into(resp, answer, request_id)
    return resp


def _put_into(resp: AnyResponse, answer: Answer | Failure, request_id: str) -> None:
    """Write the outcome of a request to the response."""
    if isinstance(answer, Answer):
        send_answer(resp, answer, request_id)
    elif answer.retry_after_s is not None:
        RefusedAnswer.of(answer, request_id).put_into(resp)
    else:
        status = _UNFINISHED if answer.outcome is CLIENT_GONE else answer.outcome.http_status
        send_error(resp, status, answer.message, request_id)
