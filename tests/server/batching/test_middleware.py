"""What stands in front of the framework: refusals in a row, and what goes on to it."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kappa.server.batching.outcomes import RefusedError
from kappa.server.http.exchange import RequestIds
from kappa.server.http.middleware import ApiResource, BatchingMiddleware
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec

REFUSAL = RefusedError("target", retry_after_s=1.2)


def ask(
    batcher: Any,
    *,
    path: str = "/predict",
    event: str | None = "http.request",
    given_id: bytes = b"mine",
    length: bytes = b"1",
    state: str = "ready",
    **scope: Any,
) -> tuple[list[Any], list[Any]]:
    """Return what was sent, and what was counted; the API answers with its name, and so does the framework.

    Without an ``event``, nothing may be read.
    """
    sent: list[Any] = []
    counted: list[Any] = []

    async def framework(_scope: Any, _receive: Any, send: Any) -> None:
        await send("framework")

    async def answer(_req: Any, resp: Any) -> None:
        resp.data = b"api"

    async def receive() -> Any:
        assert event is not None, "the body was asked for"
        return {"type": event}

    async def send(message: Any) -> None:
        sent.append(message)

    metrics = SimpleNamespace(
        request_refused=counted.append, request_answered=lambda status, _seconds: counted.append(status)
    )
    spec = ApiSpec(name="predict", target=FunctionTarget(function="handlers:predict"), input="json")
    service = ServiceSpec(name="Numbers", apis=(spec,))
    endpoint: Any = SimpleNamespace(batcher=batcher, metrics=metrics, service=service, spec=spec)
    api = ApiResource(endpoint, cast("Any", SimpleNamespace(state=state)), RequestIds("me"))
    api.answer = answer
    asked = {
        "path": path,
        "method": "POST",
        "headers": [(b"x-request-id", given_id), (b"content-length", length)],
        **scope,
    }
    asyncio.run(BatchingMiddleware(framework, {"/predict": api})(asked, receive, send))
    return sent, counted


def batcher_that(refusal: RefusedError | None) -> Any:
    return SimpleNamespace(refusal=lambda: refusal)


def test_what_is_to_be_refused_is_refused_without_being_read() -> None:
    (start, body), counted = ask(batcher_that(REFUSAL), event=None)
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
    assert counted == ["target", 503]


def test_an_id_that_is_none_is_replaced_in_a_refusal() -> None:
    (start, _), _ = ask(batcher_that(REFUSAL), given_id=b'"\r\n')
    assert dict(start["headers"])[b"x-request-id"] == b"me-1"


@pytest.mark.parametrize("path", ["/predict", "/predict/"])
def test_a_request_that_may_be_taken_is_answered_by_its_api(path: str) -> None:
    (start, body), counted = ask(batcher_that(None), path=path)
    assert (start["status"], body["body"], counted) == (200, b"api", [])


@pytest.mark.parametrize("path", ["/predict", "/predict/"])
@pytest.mark.parametrize("length", [b"20971521", b"9" * 30, b"9" * 5000])
def test_a_body_that_says_it_is_too_large_is_not_asked_for(path: str, length: bytes) -> None:
    (start, body), counted = ask(batcher_that(None), path=path, length=length, event=None)
    assert (start["status"], counted) == (413, [413])
    assert json.loads(body["body"]) == {
        "error": "The body is larger than the 20971520 bytes that are taken here.",
        "request_id": "mine",
    }


@pytest.mark.parametrize(("batcher", "state"), [(None, "loading"), (None, "ready"), (batcher_that(None), "loading")])
def test_nothing_is_asked_for_that_cannot_be_answered_yet(batcher: Any, state: str) -> None:
    (start, _), counted = ask(batcher, state=state, event=None)
    assert (start["status"], dict(start["headers"])[b"retry-after"], counted) == (503, b"1", [503])


def test_what_is_not_posted_to_an_api_goes_to_the_framework() -> None:
    assert ask(batcher_that(REFUSAL), path="/other") == (["framework"], [])
    assert ask(batcher_that(REFUSAL), method="GET") == (["framework"], [])
    assert ask(batcher_that(REFUSAL), method=None, type="websocket") == (["framework"], [])


def test_a_client_that_has_left_is_counted_and_not_answered() -> None:
    assert ask(batcher_that(None), event="http.disconnect") == ([], [499])
