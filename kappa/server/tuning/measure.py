"""How long one API really takes: a server of its own, under closed loops of several sizes.

`T(n)` is taken where it counts, in a worker that speaks HTTP meanwhile: there it is up to twice that of a bare call
(measured), because the event loop and the function share the GIL. The means of each phase lie on the same line
as the runs that they are made of.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.request import urlopen

from kappa.errors import InferenceFailedError
from kappa.server.tuning.load import Outcome, closed_loop, request_bytes, run_loop
from kappa.server.tuning.simulator import Model
from kappa.types import Payload

__all__ = ["Counts", "Measured", "Phase", "line_through", "measure", "own_server"]

CONNECTIONS = (1, 2, 4, 8, 16, 32, 64, 128)
_WARM_UP_S = 1.0
_ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class Phase:
    """One closed loop: the means of what the server counted meanwhile."""

    connections: int
    rate: float
    """Requests a second."""
    items: float
    """Of a batch."""
    batch_s: float
    loop_s: float
    """Processor time of the event loop, per request."""


@dataclass(frozen=True, slots=True)
class Measured:
    model: Model
    phases: Sequence[Phase]
    deviation: float
    """How far the worst phase is from the line, as a share of it."""


@contextmanager
def own_server(target: str, *arguments: str) -> Iterator[int]:
    """Start `kappa serve-gunicorn` for a bundle, and yield its port when it is ready; raises `InferenceFailedError`."""
    command = [sys.executable, "-m", "kappa", "serve-gunicorn", target, "--host", "127.0.0.1", "--port", "0"]
    command += ["--examples", "warn", *arguments]  # how fast answers come is another question than what they are
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    lines: list[str] = []
    try:
        for line in process.stderr:
            lines.append(line)
            if line.rstrip().endswith("Ready."):
                break
        match = re.search(r" at http://127\.0\.0\.1:(\d+) ", "".join(lines))
        if process.poll() is not None or match is None:
            raise InferenceFailedError(f"The server to measure did not start: {''.join(lines[-5:]).strip()}")
        yield int(match[1])
    finally:
        process.terminate()
        process.communicate()


def measure(port: int, path: str, payload: Payload, *, api: str, seconds: float) -> Measured:
    """Ask an API for about ``seconds`` and return what its calls and requests cost; raises `InferenceFailedError`."""
    request = request_bytes("127.0.0.1", path, payload.data, media_type=payload.media_type or "application/json")
    _ask(port, request, connections=16, seconds=_WARM_UP_S)
    each = max(0.1, seconds / (2 * len(CONNECTIONS) + 1))
    phases = [_phase(port, request, api, connections, each) for _ in range(2) for connections in CONNECTIONS]
    base_s, slope_s, deviation = line_through(phases)
    end = Counts.read(port, api)
    # With many clients the loop has no idle polls.
    request_s = min(phase.loop_s for phase in phases)
    model = Model(base_s, slope_s, end.tail_s, request_s, round(end.items / end.requests) or 1)
    return Measured(model, phases, deviation)


@dataclass(frozen=True, slots=True)
class Counts:
    """The counters of a server for one API."""

    requests: float
    items: float
    batches: float
    service_s: float
    tail_s: float
    loop_s: float

    @classmethod
    def read(cls, port: int, api: str) -> Counts:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_ANSWER_S) as answer:
            text = answer.read().decode()

        def value(name: str, **labels: str) -> float:
            pattern = "".join(f'(?=[^}}]*\\b{key}="{re.escape(wanted)}")' for key, wanted in labels.items())
            match = re.search(rf"^{name}({{{pattern}[^}}]*}})? (\S+)$", text, re.MULTILINE)
            return float(match[2]) if match else 0.0

        return cls(
            requests=value("kappa_batch_requests_sum", api=api),
            items=value("kappa_batch_items_sum", api=api),
            batches=value("kappa_batch_items_count", api=api),
            service_s=value("kappa_service_duration_seconds_sum", api=api, outcome="ok"),
            tail_s=value("kappa_estimated_batch_seconds", api=api, part="tail"),
            loop_s=value("kappa_loop_cpu_seconds_total"),
        )


def _phase(port: int, request: bytes, api: str, connections: int, seconds: float) -> Phase:
    before = Counts.read(port, api)
    outcome = _ask(port, request, connections=connections, seconds=seconds)
    after = Counts.read(port, api)
    requests, batches = after.requests - before.requests, after.batches - before.batches
    return Phase(
        connections,
        outcome.answers / outcome.seconds,
        (after.items - before.items) / batches,
        (after.service_s - before.service_s) / batches,
        (after.loop_s - before.loop_s) / requests,
    )


def _ask(port: int, request: bytes, *, connections: int, seconds: float) -> Outcome:
    outcome = run_loop(closed_loop("127.0.0.1", port, request, connections=connections, seconds=seconds))
    if set(outcome.statuses) != {200}:
        counts = sorted(outcome.statuses.items())
        statuses = ", ".join(f"{count} times {status}" for status, count in counts) or "nothing"
        raise InferenceFailedError(
            f"The API did not answer its example as it should while it was measured: {statuses}."
        )
    return outcome


def line_through(phases: Sequence[Phase]) -> tuple[float, float, float]:
    """Return base and slope of `T(n)`, neither below zero, and how far the worst phase is from it.

    Least squares of the relative error: a batch of one counts as much as one of a hundred.
    """
    weights = [1 / phase.batch_s**2 for phase in phases]
    total = sum(weights)
    mean_n = sum(w * phase.items for w, phase in zip(weights, phases, strict=True)) / total
    mean_t = sum(w * phase.batch_s for w, phase in zip(weights, phases, strict=True)) / total
    square = sum(w * (phase.items - mean_n) ** 2 for w, phase in zip(weights, phases, strict=True))
    cross = sum(w * (p.items - mean_n) * (p.batch_s - mean_t) for w, p in zip(weights, phases, strict=True))
    slope = max(cross / square, 0.0) if square > 0 else 0.0
    base = mean_t - slope * mean_n
    if base < 0:
        base, slope = 0.0, mean_t / mean_n
    return base, slope, max(abs(phase.batch_s / (base + slope * phase.items) - 1) for phase in phases)
