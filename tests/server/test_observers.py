"""Observers of requests beside the metrics: each sees every request once, whatever the others are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from kappa.actions.serving import served_project
from kappa.server.http.app import create_app
from kappa.server.observers import all_of
from kappa.server.parent import AwaitedStart
from kappa.server.requests import ApiRequest
from tests.server.test_doors import asgi, counted

KAPPAFILE = """
kappafile = 1
[service]
name = "Seen"
[apis.divide]
function = "observed_handlers:divide"
input = "json"
batch = false
[apis.other]
function = "observed_handlers:divide"
input = "json"
batch = false
"""


class Calls:
    """An observer that keeps its calls, each with the name of its observer."""

    def __init__(self, name: str, calls: list[tuple[Any, ...]]) -> None:
        self._name = name
        self._calls = calls

    def began(self, request: ApiRequest) -> None:
        self._calls.append((self._name, "began", request.request_id))

    def refused(self, reason: str, _seconds: float) -> None:
        self._calls.append((self._name, "refused", reason))

    def answered(self, request: ApiRequest, http_status: int, _seconds: float) -> None:
        self._calls.append((self._name, "answered", request.request_id, http_status))

    def gone(self, request: ApiRequest, _seconds: float) -> None:
        self._calls.append((self._name, "gone", request.request_id))


def test_each_observer_is_called_in_its_turn_and_a_single_one_directly() -> None:
    calls: list[tuple[Any, ...]] = []
    first, second, request = Calls("first", calls), Calls("second", calls), ApiRequest("a", None, 0.0)  # type: ignore[arg-type]
    both = all_of([first, second])
    both.began(request)
    both.refused("target", 0.0)
    both.answered(request, 200, 0.0)
    both.gone(request, 0.0)
    ends = [("began", "a"), ("refused", "target"), ("answered", "a", 200), ("gone", "a")]
    assert calls == [(name, *end) for end in ends for name in ("first", "second")]
    assert all_of([first]) is first


def test_an_observer_sees_the_requests_of_each_api_beside_the_metrics(tmp_path: Path) -> None:
    (tmp_path / "observed_handlers.py").write_text("def divide(value):\n    return 1 / value\n", encoding="utf-8")
    (tmp_path / "kappafile.toml").write_text(KAPPAFILE, encoding="utf-8")
    calls: list[tuple[Any, ...]] = []

    async def run() -> dict[str, float]:
        parent = AwaitedStart()
        app = create_app(
            [served_project(str(tmp_path))],
            parent=parent,
            observers=[lambda service, api: Calls(f"{service.name}.{api.name}", calls)],
        )
        async with asgi(app) as send:
            await asyncio.wait_for(parent.outcome, 60)
            for request_id, path, body in (("a", "/divide", b"2"), ("b", "/other", b"0"), ("c", "/divide", b"{")):
                await send(path, body, {"x-request-id": request_id, "content-type": "application/json"})
            app.current.host.flush()
            return counted(app.current.host.metrics.exposition().decode())

    counts = asyncio.run(run())
    assert calls == [
        ("Seen.divide", "began", "a"),
        ("Seen.divide", "answered", "a", 200),
        ("Seen.other", "began", "b"),
        ("Seen.other", "answered", "b", 500),
        ("Seen.divide", "began", "c"),
        ("Seen.divide", "answered", "c", 400),
    ]
    assert sum(count for series, count in counts.items() if series.startswith("kappa_request_duration")) == 3
