"""Requests that are refused in front of the framework."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

from kappa.server.batching.batcher import RefusedError
from kappa.server.batching.shedding import Shedding, refusal_body
from kappa.server.exchange import RequestIds


class Metrics:
    def __init__(self) -> None:
        self.refused: list[str] = []
        self.answered: list[int] = []

    def request_refused(self, reason: str) -> None:
        self.refused.append(reason)

    def request_answered(self, status: int, _seconds: float) -> None:
        self.answered.append(status)


def ask(batcher: Any, *, path: str = "/predict", method: str = "POST", given_id: bytes = b"") -> tuple[Any, Metrics]:
    """Return what was sent, or the word of the framework behind, and what was counted."""
    metrics, sent = Metrics(), []

    async def framework(_scope: Any, _receive: Any, send: Any) -> None:
        await send("the usual way")

    async def send(message: Any) -> None:
        sent.append(message)

    endpoint: Any = SimpleNamespace(batcher=batcher, metrics=metrics)
    scope = {"path": path, "method": method, "headers": [(b"host", b"x"), (b"x-request-id", given_id)]}
    asyncio.run(Shedding(framework, {"/predict": endpoint}, RequestIds("me"))(scope, None, send))
    return sent, metrics


def batcher_that(refusal: RefusedError | None, *, has_refused: bool = True) -> Any:
    return SimpleNamespace(has_refused=has_refused, refusal=lambda: refusal)


REFUSAL = RefusedError("target", retry_after_s=1.2)


def test_a_refusal_is_sent_and_counted_as_that_of_the_framework_would_be() -> None:
    (start, body), metrics = ask(batcher_that(REFUSAL), given_id=b"mine")
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
    assert (metrics.refused, metrics.answered) == (["target"], [503])


def test_an_id_that_is_none_is_replaced() -> None:
    (start, _), _ = ask(batcher_that(REFUSAL), given_id=b'"\r\n')
    assert dict(start["headers"])[b"x-request-id"] == b"me-1"


def test_everything_else_goes_the_usual_way() -> None:
    for asked in (
        ask(batcher_that(None)),  # it may be taken by now
        ask(batcher_that(REFUSAL, has_refused=False)),  # the last one was taken: nobody is asked
        ask(batcher_that(REFUSAL), path="/other"),
        ask(batcher_that(REFUSAL), method="GET"),
        ask(None),  # still loading
    ):
        assert asked[0] == ["the usual way"]
        assert (asked[1].refused, asked[1].answered) == ([], [])


def test_a_retry_is_never_asked_for_at_once() -> None:
    assert refusal_body(RefusedError("queue_items", retry_after_s=0.0), "x")[1] == "1"
