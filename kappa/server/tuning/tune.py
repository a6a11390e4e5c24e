"""The whole of `kappa tune`: measure a bundle's API in servers of its own, simulate it, recommend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kappa.server.batching.policy import Limits
from kappa.server.tuning.advice import Advice, Point, advise, curve
from kappa.server.tuning.chart import Chart, draw
from kappa.server.tuning.load import bursts, closed_loop, poisson, request_bytes, run_loop
from kappa.server.tuning.measure import Measured, measure, own_server
from kappa.types import Payload

__all__ = ["Tuning", "charts_of", "tune"]

_WORTH_A_WORKER = 1.25
_COMPARED_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Tuning:
    """The result of `kappa tune`."""

    api: str
    target_ms: float
    measured: Measured
    advice: Advice
    curves: dict[str, Sequence[Point]]
    """By kind of arrivals: `poisson` and `bursty`; with the recommended batches and the target."""
    cores: int
    speedup: float
    """How many times as much as one worker as many workers as processors answered."""

    @property
    def workers(self) -> int:
        return self.cores if self.speedup >= _WORTH_A_WORKER else 1


def tune(
    target: str,
    path: str,
    payload: Payload,
    *,
    api: str,
    max_batch_size: int,
    target_ms: float,
    seconds: float,
    cores: int,
    say: Callable[[str], None],
) -> Tuning:
    """Measure the API of a bundle with ``payload`` as every request; raises `InferenceFailedError`."""
    say(f"Measuring `{api}` with one worker, for about {seconds:g} seconds.")
    request = request_bytes("127.0.0.1", path, payload.data, media_type=payload.media_type or "application/json")
    with own_server(target, "--workers", "1") as port:
        measured = measure(port, path, payload, api=api, seconds=seconds)
        alone = _rate(port, request, seconds=seconds / 10)
    speedup = 1.0
    if cores > 1:
        say(f"Measuring it with {cores} workers.")
        with own_server(target, "--workers", str(cores)) as port:
            _rate(port, request, seconds=seconds / 10)  # the workers learn
            speedup = _rate(port, request, seconds=seconds / 10) / alone
    say("Simulating it under other loads.")
    target_s = target_ms / 1000
    most_items = min(max_batch_size, 4 * round(max(phase.items for phase in measured.phases)))
    advice = advise(measured.model, Limits(max_batch_size), target_s=target_s, most_items=most_items)
    limits = Limits(advice.max_batch_size, max_latency_s=target_s)
    curves: dict[str, Sequence[Point]] = {
        name: curve(measured.model, limits, arrivals, target_s=target_s)
        for name, arrivals in (("poisson", poisson), ("bursty", bursts))
    }
    return Tuning(api, target_ms, measured, advice, curves, cores, speedup)


def _rate(port: int, request: bytes, *, seconds: float) -> float:
    loading = closed_loop("127.0.0.1", port, request, connections=_COMPARED_CONNECTIONS, seconds=max(seconds, 0.5))
    outcome = run_loop(loading)
    return outcome.answers / outcome.seconds


def charts_of(tuning: Tuning) -> str:
    """Draw throughput, goodput and latency against load as SVG."""
    names = {"poisson": "Poisson", "bursty": "bursts"}
    rates: dict[str, Sequence[tuple[float, float]]] = {}
    latencies: dict[str, Sequence[tuple[float, float]]] = {}
    for kind, points in tuning.curves.items():
        name = names[kind]
        rates[f"answered, {name}"] = [(point.offered, point.throughput) for point in points]
        rates[f"within {tuning.target_ms:g} ms, {name}"] = [(point.offered, point.goodput) for point in points]
        latencies[f"p50, {name}"] = [(point.offered, point.p50_ms) for point in points]
        latencies[f"p99, {name}"] = [(point.offered, point.p99_ms) for point in points]
    x_label = "offered, requests a second and worker"
    return draw(
        [
            Chart(f"{tuning.api}: throughput", x_label, "requests a second", rates),
            Chart(f"{tuning.api}: latency", x_label, "milliseconds", latencies, log_y=True),
        ]
    )
