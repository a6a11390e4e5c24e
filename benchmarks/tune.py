"""What `kappa tune` simulates, beside a live server under the same load.

    python benchmarks/tune.py                 # about two minutes; prints a table
    python benchmarks/tune.py --quick

A function that takes 20 ms and 0.5 ms for each request is measured as `kappa tune` does; then the same Poisson arrivals
are simulated and sent to a live worker, from half of what it can carry to three times as much, with a target of 150 ms.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from serve import await_ready

from kappa.server.batching.policy import Limits
from kappa.server.options import BatchingOptions, ServerOptions
from kappa.server.process.launch import serve_gunicorn
from kappa.server.served import Served
from kappa.server.tuning.advice import saturation_of
from kappa.server.tuning.load import open_loop, poisson, request_bytes, run_loop
from kappa.server.tuning.measure import measure
from kappa.server.tuning.simulator import simulate
from kappa.services.source import ServiceSource
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec
from kappa.types import Payload

__all__ = ["main"]

CODE = "import time\ndef predict(values):\n    time.sleep(0.02 + 0.0005 * len(values))\n    return values\n"
TARGET_S = 0.15
LIMIT = 64
LOADS = (0.5, 0.8, 0.95, 1.2, 2.0, 3.0)
PORT = 17950


def serve(folder: Path, target_ms: float | None) -> None:
    api = ApiSpec(
        name="predict",
        target=FunctionTarget(function="handlers:predict"),
        input="json",
        batch=True,
        max_batch_size=LIMIT,
    )
    spec = ServiceSpec(name="Tuned", apis=(api,))
    options = ServerOptions(host="127.0.0.1", port=PORT, batching=BatchingOptions(max_latency_ms=target_ms))
    serve_gunicorn([Served.of(ServiceSource.of_project(spec, {}, root=folder))], options)


class _Process:
    """What `await_ready` wants to know of the server's process."""

    def __init__(self, process: object) -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.exitcode  # type: ignore[attr-defined,no-any-return]


@contextmanager
def running(folder: Path, *, target_ms: float | None) -> Iterator[int]:
    process = get_context("spawn").Process(target=serve, args=(folder, target_ms))
    process.start()
    try:
        await_ready(PORT, _Process(process))
        yield PORT
    finally:
        process.terminate()
        process.join()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    seconds = 4.0 if parser.parse_args(arguments).quick else 15.0
    with tempfile.TemporaryDirectory(prefix="kappa-bench-") as name:
        folder = Path(name)
        (folder / "handlers.py").write_text(CODE, encoding="utf-8")
        with running(folder, target_ms=None) as port:
            measured = measure(port, "/predict", Payload(b"1", "application/json"), api="predict", seconds=seconds)
        model = measured.model
        limits = Limits(LIMIT, max_latency_s=TARGET_S)
        saturation = saturation_of(model, limits)
        print(f"T(n) = {1000 * model.base_s:.2f} ms + n · {1e6 * model.slope_s:.0f} µs; saturation {saturation:.0f}/s")
        print("| load | good/s live | good/s simulated | p50 ms | simulated | p99 ms | simulated |")
        print("|---:|---:|---:|---:|---:|---:|---:|")
        request = request_bytes("127.0.0.1", "/predict", b"1", media_type="application/json")
        with running(folder, target_ms=1000 * TARGET_S) as port:
            for load in LOADS:
                schedule = partial(poisson, load * saturation, seconds=seconds)
                live = run_loop(
                    open_loop("127.0.0.1", port, request, schedule=schedule(rng=random.Random(7)), connections=1000)
                )
                model_run = simulate(model, limits, schedule(rng=random.Random(7)), seconds=seconds, settle_s=0.0)
                print(
                    f"| {load} | {live.within(TARGET_S) / live.seconds:.0f} | "
                    f"{model_run.within(TARGET_S) / seconds:.0f} | {live.quantile_ms(0.5):.1f} | "
                    f"{1000 * model_run.quantile_s(0.5):.1f} | {live.quantile_ms(0.99):.1f} | "
                    f"{1000 * model_run.quantile_s(0.99):.1f} |"
                )


if __name__ == "__main__":
    main(sys.argv[1:])
