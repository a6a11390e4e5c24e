"""What surrounds the framework, alone and behind both servers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kappa.server.http.edge import CutShortError, Edge
from kappa.server.http.exchange import RequestIds


async def _framework(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"framework"})


def events_of(scope: dict[str, Any], app: Any = _framework) -> list[dict[str, Any]]:
    """Return what an `Edge` around ``app`` sends."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    asyncio.run(Edge(app, RequestIds("p"))(scope, receive, send))
    return sent


@pytest.mark.parametrize("path", ["/", "/healthz", "/double", "/nothing\n"])
def test_the_framework_never_sees_a_websocket(path: str) -> None:
    assert events_of({"type": "websocket", "path": path, "headers": []}) == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    ("method", "upgrade", "status"),
    [
        pytest.param("GET", [b"websocket"], 403, id="websocket"),
        pytest.param("GET", [b"WebSocket"], 403, id="any-case"),
        pytest.param("GET", [b"h2c, websocket"], 403, id="among-others"),
        pytest.param("GET", [b"h2c", b"websocket"], 403, id="in-a-second-header"),
        pytest.param("GET", [b"h2c"], 200, id="another-protocol"),
        pytest.param("GET", [], 200, id="none"),
        pytest.param("HEAD", [b"websocket"], 200, id="not-asked-with-get"),
    ],
)
def test_only_who_asks_for_a_websocket_is_refused(method: str, upgrade: list[bytes], status: int) -> None:
    headers = [*((b"upgrade", value) for value in upgrade), (b"x-request-id", b"mine")]
    start, body = events_of({"type": "http", "method": method, "path": "/", "headers": headers})
    assert start["status"] == status
    if status == 403:
        assert (b"x-request-id", b"mine") in start["headers"]
        assert json.loads(body["body"])["request_id"] == "mine"


def test_an_answer_that_is_cut_short_says_so_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def cut_short(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise CutShortError("The file is gone.")

    sent = events_of({"type": "http", "method": "GET", "path": "/a\nb", "headers": []}, cut_short)
    assert [event["type"] for event in sent] == ["http.response.start"]
    assert caplog.messages == ["The answer to GET '/a\\nb' was cut short: The file is gone."]
