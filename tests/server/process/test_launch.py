"""What is decided before a server runs."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from kappa.errors import MissingDependencyError, PortInUseError, UsageError
from kappa.server.options import BatchingOptions, ServerOptions
from kappa.server.process.allowance import WorkerCount
from kappa.server.process.launch import _start_line, serve_uvicorn
from kappa.server.served import Served
from kappa.spec.service import ApiSpec, ArtifactMethod, FunctionTarget, ServiceSpec

API = ApiSpec(name="double", target=FunctionTarget(function="handlers:double"), input="json", batch=True)

MORE = "4 processors are available: `--workers 4` uses them all."


def served(name: str) -> Served:
    def load() -> Any:
        raise AssertionError("nothing is loaded here")

    return Served(ServiceSpec(name=name, apis=(API,)), "7", load)


@pytest.mark.parametrize(
    ("names", "workers", "reason", "batching", "line"),
    [
        (
            ["Iris"],
            1,
            "",
            BatchingOptions(),
            f"Serving Iris:7 at http://x:1 with 1 worker, batching on. {MORE}",
        ),
        (
            ["Iris", "Wine"],
            4,
            "",
            BatchingOptions(is_enabled=False),
            "Serving Iris:7, Wine:7 at http://x:1 with 4 workers, batching off.",
        ),
        (
            ["Iris"],
            2,
            "its control group allows 2 of 4 processors",
            BatchingOptions(),
            "Serving Iris:7 at http://x:1 with 2 workers (its control group allows 2 of 4 processors), batching on.",
        ),
    ],
)
def test_the_start_line_says_what_is_served_where_and_how(
    names: list[str], workers: int, reason: str, batching: BatchingOptions, line: str
) -> None:
    options = ServerOptions(workers=workers, batching=batching)
    chosen = WorkerCount(workers, reason)
    assert _start_line([served(name) for name in names], options, urls=["http://x:1"], workers=chosen, cores=4) == line


def test_the_start_line_says_where_the_operators_port_is() -> None:
    urls, one = ["http://x:1", "http://x:2"], WorkerCount(1, "")
    line = _start_line([served("Iris")], ServerOptions(), urls=urls, workers=one, cores=1)
    assert line == "Serving Iris:7 at http://x:1 with 1 worker, batching on. Metrics are at http://x:2/metrics."


def test_the_start_line_names_what_could_be_batched() -> None:
    method = ArtifactMethod(artifact="model")
    apis = (
        API,
        API.model_copy(update={"name": "single", "batch": False}),
        API.model_copy(update={"name": "model", "batch": False, "target": method}),
    )
    wine = Served(
        ServiceSpec(name="Wine", apis=apis, artifacts=({"type": "json", "name": "model"},)), "7", served("Wine").load
    )
    options, one = ServerOptions(), WorkerCount(1, "")
    line = _start_line([wine], options, urls=["http://x:1"], workers=one, cores=1)
    assert line.partition("batching on.")[2] == (
        " `single` answers one request at a time; with `batch = true`, requests share calls."
    )
    both = _start_line([served("Iris"), wine], options, urls=["http://x:1"], workers=one, cores=1)
    assert both.partition("batching on.")[2].startswith(" `Wine.single` answers")
    off = ServerOptions(batching=BatchingOptions(is_enabled=False))
    assert _start_line([wine], off, urls=["http://x:1"], workers=one, cores=1).endswith("batching off.")


def test_a_management_port_that_cannot_be_had_leaves_the_other_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        ports = [listener.getsockname()[1] for listener in (free, taken)]
        free.close()
        options = ServerOptions(host="127.0.0.1", port=ports[0], management_port=ports[1])
        advice = f"Port {ports[1]} is already in use.*another port, e\\.g\\. `--management-port {ports[1] + 1}`"
        with pytest.raises(PortInUseError, match=advice):
            serve_uvicorn([served("Iris")], options, environ={})
        socket.create_server(("127.0.0.1", ports[0])).close()
    with pytest.raises(UsageError, match="The service itself is at port 5000"):
        serve_uvicorn([served("Iris")], ServerOptions(management_port=5000), environ={})


def test_uvicorn_serves_from_one_process() -> None:
    with pytest.raises(UsageError, match="uvicorn serves from one process"):
        serve_uvicorn([served("Iris")], ServerOptions(workers=2), environ={})


def test_an_absent_uvicorn_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "kappa.server.http.uvicorn_server", raising=False)
    with pytest.raises(MissingDependencyError, match=r"`pip install uvicorn`"):
        serve_uvicorn([served("Iris")], ServerOptions(), environ={})


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        (BatchingOptions(), (1000, None)),
        (BatchingOptions(is_enabled=False), (1, None)),
        (BatchingOptions(max_batch_size=5, max_latency_ms=20), (5, 0.02)),
    ],
)
def test_the_operators_word_on_batching_is_the_last(options: BatchingOptions, limits: tuple[int, float | None]) -> None:
    found = options.limits_of(API, max_queue_items=7)
    assert (found.max_batch_size, found.max_latency_s, found.max_queue_items) == (*limits, 7)


def test_an_api_that_is_not_batched_is_asked_one_request_at_a_time() -> None:
    single = API.model_copy(update={"batch": False})
    assert BatchingOptions(max_batch_size=5).limits_of(single, max_queue_items=7).max_batch_size == 1
