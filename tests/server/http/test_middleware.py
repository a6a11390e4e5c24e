"""What stands in front of the framework: refusals in a row, and what goes on to it."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kappa.server.batching.outcomes import RefusedError
from kappa.server.endpoint import Endpoint
from kappa.server.http.answering import ApiResource
from kappa.server.http.exchange import RequestIds
from kappa.server.http.middleware import ApiMiddleware
from kappa.server.requests import ApiRequest
from kappa.services.inference import Inference
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec
from kappa.types import InferenceTask

REFUSAL = RefusedError("target", retry_after_s=1.2)


class Seen:
    """An observer of requests that keeps what it is told."""

    def __init__(self) -> None:
        self.words: list[tuple[str, Any]] = []

    def began(self, _request: ApiRequest) -> None:
        self.words.append(("began", None))

    def refused(self, reason: str, _seconds: float) -> None:
        self.words.append(("refused", reason))

    def answered(self, _request: ApiRequest, http_status: int, _seconds: float) -> None:
        self.words.append(("answered", http_status))

    def gone(self, _request: ApiRequest, _seconds: float) -> None:
        self.words.append(("gone", None))


class Queue:
    """Stands for a `Batcher` that refuses everything or runs each request alone."""

    def __init__(self, inference: Inference, refusal: RefusedError | None) -> None:
        self._inference = inference
        self._refusal = refusal

    def refusal(self, *, size_bytes: int = 0) -> RefusedError | None:
        return self._refusal if size_bytes == 0 else None

    def lacks_room(self, **_: int) -> None:
        return None

    async def submit(self, task: InferenceTask, **_: Any) -> Any:
        return self._inference.answer([task])[0]


def ask(
    refusal: RefusedError | None = None,
    *,
    path: str = "/predict",
    event: str | None = "http.request",
    given_id: bytes = b"mine",
    length: bytes = b"1",
    state: str = "ready",
    is_open: bool = True,
    **scope: Any,
) -> tuple[list[Any], list[tuple[str, Any]]]:
    """Return what was sent, and what was observed; the API answers with its name, and so does the framework.

    Without an ``event``, nothing may be read.
    """
    sent: list[Any] = []

    async def framework(_scope: Any, _receive: Any, send: Any) -> None:
        await send("framework")

    async def receive() -> Any:
        assert event is not None, "the body was asked for"
        return {"type": event, "body": b"1"}

    async def send(message: Any) -> None:
        sent.append(message)

    spec = ApiSpec(name="predict", target=FunctionTarget(function="handlers:predict"), input="json", batch=False)
    process: Any = SimpleNamespace(state=state, decoders=None)
    seen = Seen()
    endpoint = Endpoint(process, ServiceSpec(name="Numbers", apis=(spec,)), spec, seen)
    if is_open:
        endpoint.inference = Inference(spec, lambda _value: "api", {})
        endpoint.batcher = cast("Any", Queue(endpoint.inference, refusal))
    asked = {
        "path": path,
        "method": "POST",
        "headers": [(b"x-request-id", given_id), (b"content-length", length)],
        **scope,
    }
    apis = {"/predict": ApiResource(endpoint, RequestIds("me"))}
    asyncio.run(ApiMiddleware(framework, apis)(asked, receive, send))
    return sent, seen.words


def test_what_is_to_be_refused_is_refused_without_being_read() -> None:
    (start, body), counted = ask(REFUSAL, event=None)
    assert start["status"] == 503
    assert dict(start["headers"]) == {
        b"content-type": b"application/json",
        b"content-length": str(len(body["body"])).encode(),
        b"x-request-id": b"mine",
        b"retry-after": b"2",
    }
    assert json.loads(body["body"]) == {
        "error": "The service cannot take this request now (target); try again in 2 s.",
        "request_id": "mine",
    }
    assert counted == [("refused", "target")]


def test_an_id_that_is_none_is_replaced_in_a_refusal() -> None:
    (start, _), _ = ask(REFUSAL, given_id=b'"\r\n')
    assert dict(start["headers"])[b"x-request-id"] == b"me-1"


@pytest.mark.parametrize("path", ["/predict", "/predict/"])
def test_a_request_that_may_be_taken_is_answered_by_its_api(path: str) -> None:
    (start, body), counted = ask(path=path)
    assert (start["status"], body["body"], counted) == (200, b'"api"', [("began", None), ("answered", 200)])


@pytest.mark.parametrize("path", ["/predict", "/predict/"])
@pytest.mark.parametrize("length", [b"20971521", b"9" * 30, b"9" * 5000])
def test_a_body_that_says_it_is_too_large_is_not_asked_for(path: str, length: bytes) -> None:
    (start, body), counted = ask(path=path, length=length, event=None)
    assert (start["status"], counted) == (413, [("began", None), ("answered", 413)])
    assert json.loads(body["body"]) == {
        "error": "The body is larger than the 20971520 bytes that are taken here.",
        "request_id": "mine",
    }


@pytest.mark.parametrize(("is_open", "state"), [(False, "loading"), (False, "ready"), (True, "loading")])
def test_nothing_is_asked_for_that_cannot_be_answered_yet(is_open: bool, state: str) -> None:
    (start, _), counted = ask(is_open=is_open, state=state, event=None)
    assert (start["status"], dict(start["headers"])[b"retry-after"]) == (503, b"1")
    assert counted == [("began", None), ("answered", 503)]


def test_what_is_not_posted_to_an_api_goes_to_the_framework() -> None:
    assert ask(REFUSAL, path="/other") == (["framework"], [])
    assert ask(REFUSAL, method="GET") == (["framework"], [])
    assert ask(REFUSAL, method=None, type="websocket") == (["framework"], [])


def test_a_client_that_has_left_is_counted_and_not_answered() -> None:
    assert ask(event="http.disconnect") == ([], [("began", None), ("gone", None)])
