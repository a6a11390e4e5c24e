"""What each mechanism of batching is worth: every one of them off, one by one, beside a server with all of them.

Four kinds of functions are served, each by one worker: an SVC on iris (a tenth of a millisecond, native), a random
forest of 100 trees (computes in Python), a small network (releases the GIL; PyTorch if it is installed, else NumPy),
and a simulated function that sleeps `T(n)`. Closed loops of 4, 16 and 64 connections measure requests a second. Open
loops measure answers a second within the target: Poisson arrivals at 0.8 times what 64 connections got, and at twice
that, as far as the load generator gets.

Equal servers differ: one keeps for its whole life what the kernel and the allocator gave it at its start. So every
round starts all servers of a function anew, two of them with all mechanisms, and they take turns side by side. A figure
is the mean over the rounds of the rate without the mechanism over the mean rate of the two, and after it half of the
interval that holds it with 95 % (Student's t of the logarithms). The mechanism called *nothing* is one more server with
all of them: what it shows is noise.

    python benchmarks/ablation.py                  # about forty minutes
    python benchmarks/ablation.py --rounds 2       # less exact; `--functions svc` and `--only paused-loop` measure less
    python benchmarks/ablation.py --write          # puts the result into docs/benchmarks/ablation.md
    python benchmarks/ablation.py --resume --write   # goes on after an earlier run, which keeps each function's rates
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from importlib.util import find_spec
from math import exp, inf, log, sqrt
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path
from statistics import mean, stdev
from unittest.mock import patch

from serve import described, is_ready
from versions import revision_of

from kappa.server.batching import admission, estimator, regrouping
from kappa.server.batching.admission import Admission, Delays
from kappa.server.batching.dispatcher import Dispatcher
from kappa.server.batching.execution import Threads
from kappa.server.batching.placement import Placer
from kappa.server.batching.regrouping import Regrouping, Returns
from kappa.server.options import BatchingOptions, ServerOptions
from kappa.server.process.launch import serve_gunicorn
from kappa.server.tuning.load import closed_loop, open_loop, poisson, request_bytes, run_loop

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks" / "ablation.md"
RAW = PAGE.with_suffix(".json")
FIRST_PORT = 18100
WORTH = 0.95
"""A mechanism is worth its code where a rate without it is below this share of the rate with it."""
ROUNDS = 5
SAMPLE_S = 0.4
WARM_UP_S = 1.5

CONNECTIONS = (4, 16, 64)
LOADS = (0.8, 2.0)
MOST_OFFERED = 6000
"""Requests a second that the load generator can be expected to send beside a server on two processors."""


# -- what is taken away, in the process of the server ------------------------------------------------------------------


def instead(owner: object, name: str, value: object) -> None:
    patch.object(owner, name, value).start()


def answer_first() -> None:
    finished = Dispatcher.finished
    instead(Dispatcher, "finished", lambda self, run, now: finished(self, run, now) or True)


def hand_over_at_once() -> None:
    put = Threads.put
    instead(Threads, "put", lambda self, run, **_: put(self, run))


def without_margin() -> None:
    for name in ("FIRST_MARGIN", "LEAST_MARGIN", "MARGIN_STEP"):
        instead(admission, name, 0.0)


MECHANISMS: Mapping[str, tuple[str, Callable[[], None]]] = {
    "nothing": ("nothing is off: what it shows is noise", lambda: None),
    "batching": ("requests share a call", lambda: None),  # an option of the server
    "regrouping": (
        "the next batch waits for clients to return",
        lambda: instead(Regrouping, "begin", lambda *_, **__: None),
    ),
    "wait-for-all": ("it waits for all of them, not for half", lambda: instead(regrouping, "RETURN_CALLS", 0)),
    "cohort": ("also for those of another batch", lambda: instead(Returns, "cohort", 0.0)),
    "cohort-cap": ("a wait in vain says how many there are", lambda: instead(regrouping, "COHORT_CAP_RUNS", 0)),
    "return-trials": (
        "clients that do not return are waited for as a trial only",
        lambda: instead(regrouping, "RETURN_TRIAL_RUNS", 1),
    ),
    "event-loop": (
        "fast functions run on the event loop",
        lambda: instead(Placer, "is_loop_fit", lambda *_, **__: False),
    ),
    "paused-loop": (
        "the event loop pauses for functions that compete for the GIL",
        lambda: instead(Placer, "pause_s", lambda *_, **__: 0.0),
    ),
    "reading-first": (
        "what came during a pause is read before the next batch",
        lambda: instead(Dispatcher, "loop_paused", lambda *_: None),
    ),
    "turn-before-answers": ("the next batch starts before the answers are written", answer_first),
    "hand-over-wait": ("the loop releases the GIL until the thread has the batch", hand_over_at_once),
    "probes": ("one late request a second is admitted", lambda: instead(admission, "PROBE_EVERY_S", inf)),
    "margin": ("some time before the target is kept free", without_margin),
    "quick-narrowing": (
        "the margin narrows faster after many early batches",
        lambda: instead(admission, "EARLY_SPEED_UP", 1),
    ),
    "loop-lag": ("predictions know how late the loop is", lambda: instead(Delays, "lagged", lambda *_: None)),
    "added-delays": (
        "predictions know what a batch waits for",
        lambda: instead(Delays, "added_to", lambda _, estimate: estimate),
    ),
    "standing-refusal": ("one refusal serves for others", lambda: instead(Admission, "stands", lambda *_: None)),
    "robust-weights": ("outliers weigh less in `T(n)`", lambda: instead(estimator, "HUBER_SPREADS", 1e9)),
}
"""Per name: what it does, and how it is taken away."""

ALL = "all"
ALSO_ALL = "also all"
"""The two servers with all mechanisms, whose mean is what the others are compared with."""


# -- what is served ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Function:
    """One kind of function: what is written into its project, what it is asked, and in what time."""

    title: str
    body: bytes
    target_ms: float
    write: Callable[[Path], None]


MODEL = """
kappafile = 1
[service]
name = "Ablated"
[artifacts.model]
type = "sklearn"
path = "model.joblib"
[apis.predict]
artifact = "model"
batch = true
input = "ndarray"
"""
CODE = """
kappafile = 1
[service]
name = "Ablated"
[apis.predict]
function = "handlers:predict"
batch = true
input = "ndarray"
"""
NETWORK = """
import numpy as np

rng = np.random.default_rng(1)
LAYERS = [rng.standard_normal(shape, dtype=np.float32) / 16 for shape in ((4, 512), (512, 512), (512, 512), (512, 3))]

def predict(rows):
    values = rows.astype(np.float32)
    for layer in LAYERS:
        values = np.maximum(values @ layer, 0)
    return values
"""
TORCH = """
import torch

torch.manual_seed(1)
SHAPES = (4, 512), (512, 512), (512, 512), (512, 3)
LAYERS = [layer for shape in SHAPES for layer in (torch.nn.Linear(*shape), torch.nn.ReLU())]
MODEL = torch.nn.Sequential(*LAYERS).eval()

def predict(rows):
    with torch.inference_mode():
        return MODEL(torch.from_numpy(rows).float()).numpy()
"""
SIMULATED = """
import time

def predict(rows):
    time.sleep(0.005 + 0.0002 * len(rows))
    return rows[:, 0]
"""


def write_model(make: Callable[[], object], folder: Path) -> None:
    import joblib

    joblib.dump(make(), folder / "model.joblib")
    (folder / "kappafile.toml").write_text(MODEL, encoding="utf-8")


def write_code(text: str, folder: Path) -> None:
    (folder / "handlers.py").write_text(text, encoding="utf-8")
    (folder / "kappafile.toml").write_text(CODE, encoding="utf-8")


def svc() -> object:
    from sklearn.datasets import load_iris
    from sklearn.svm import SVC

    return SVC().fit(*load_iris(return_X_y=True))


def forest() -> object:
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=100, random_state=1, n_jobs=1).fit(*load_iris(return_X_y=True))


HAS_TORCH = find_spec("torch") is not None
ROW = b"[[5.1, 3.5, 1.4, 0.2]]"
FUNCTIONS: Mapping[str, Function] = {
    "svc": Function("SVC", ROW, 25.0, partial(write_model, svc)),
    "forest": Function("random forest", ROW, 100.0, partial(write_model, forest)),
    "network": Function(
        f"network ({'PyTorch' if HAS_TORCH else 'NumPy'})",
        ROW,
        25.0,
        partial(write_code, TORCH if HAS_TORCH else NETWORK),
    ),
    "simulated": Function("simulated", ROW, 50.0, partial(write_code, SIMULATED)),
}


def serve(folder: Path, port: int, without: str, target_ms: float) -> None:
    """Serve the project in ``folder`` without one mechanism; runs in a process of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if without in MECHANISMS:
        MECHANISMS[without][1]()
    batching = BatchingOptions(is_enabled=without != "batching", max_latency_ms=target_ms)
    serve_gunicorn([described(folder)], ServerOptions(host="127.0.0.1", port=port, batching=batching))


# -- how it is measured ------------------------------------------------------------------------------------------------


@contextmanager
def running(folder: Path, variants: Sequence[str], target_ms: float) -> Iterator[dict[str, int]]:
    """Start a server for each variant, and yield their ports."""
    ports = {variant: FIRST_PORT + number for number, variant in enumerate(variants)}
    processes: list[SpawnProcess] = []
    try:
        for variant, port in ports.items():
            process = get_context("spawn").Process(target=serve, args=(folder, port, variant, target_ms))
            process.start()
            processes.append(process)
        until = time.monotonic() + 180
        for (variant, port), process in zip(ports.items(), processes, strict=True):
            while not is_ready(port):
                if not process.is_alive() or time.monotonic() > until:
                    raise SystemExit(f"The server without `{variant}` did not become ready.")
                time.sleep(0.1)
        yield ports
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def closed_rate(port: int, request: bytes, *, connections: int, seconds: float) -> float:
    """Return the good answers a second of a closed loop."""
    outcome = run_loop(closed_loop("127.0.0.1", port, request, connections=connections, seconds=seconds))
    return len(outcome.latencies) / outcome.seconds


def open_rate(port: int, request: bytes, *, rate: float, seconds: float, seed: int, target_ms: float) -> float:
    """Return the answers a second within the target, of Poisson arrivals."""
    schedule = poisson(rate, seconds=seconds, rng=random.Random(seed))
    outcome = run_loop(open_loop("127.0.0.1", port, request, schedule=schedule, connections=500))
    return outcome.within(target_ms / 1000) / outcome.seconds


Rates = dict[str, dict[str, list[float]]]
"""By cell and server: the rate of each round."""


def measured(function: Function, folder: Path, variants: Sequence[str], *, rounds: int, seconds: float) -> Rates:
    """Return the rates of all servers of a function, which every round starts anew."""
    request = request_bytes("127.0.0.1", "/predict", function.body, media_type="application/json")
    servers = [ALL, ALSO_ALL, *variants]
    rates: Rates = {}
    most = 0.0
    for number in range(rounds):
        random.Random(number).shuffle(servers)
        with running(folder, servers, function.target_ms) as ports:
            for port in ports.values():
                closed_rate(port, request, connections=16, seconds=WARM_UP_S)
            most = most or closed_rate(ports[ALL], request, connections=64, seconds=2.0)
            for cell, rate_of in cells_of(function, most, request, seconds=seconds, seed=number).items():
                random.Random(f"{number} {cell}").shuffle(servers)
                for server in servers:
                    rates.setdefault(cell, {}).setdefault(server, []).append(rate_of(ports[server]))
    return rates


def cells_of(
    function: Function, most: float, request: bytes, *, seconds: float, seed: int
) -> dict[str, Callable[[int], float]]:
    """Return by the name of each cell what measures the rate of the server at a port."""
    closed: dict[str, Callable[[int], float]] = {
        f"{connections} connections": partial(closed_rate, request=request, connections=connections, seconds=seconds)
        for connections in CONNECTIONS
    }
    return closed | {
        f"load {load:g}": partial(
            open_rate,
            request=request,
            rate=min(load * most, MOST_OFFERED),
            seconds=seconds,
            seed=seed,
            target_ms=function.target_ms,
        )
        for load in LOADS
    }


# -- what it says ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ratio:
    """What a server without a mechanism reaches of those with all."""

    mean: float
    half: float
    """Half of the interval that holds it with 95 %."""

    @property
    def is_worth(self) -> bool:
        """Whether the mechanism is worth its code here, beyond the noise."""
        return self.mean < WORTH and self.mean + self.half < 1

    def __str__(self) -> str:
        figure = f"{self.mean:.2f} ± {self.half:.2f}"
        return f"**{figure}**" if self.is_worth else figure


def ratio_of(rates: Mapping[str, Sequence[float]], variant: str) -> Ratio:
    from scipy import stats

    rounds = zip(rates[variant], rates[ALL], rates[ALSO_ALL], strict=True)
    logs = [log(max(without, 1e-9) / max((one + other) / 2, 1e-9)) for without, one, other in rounds]
    if len(logs) < 2:
        return Ratio(exp(logs[0]), inf)
    half = float(stats.t.ppf(0.975, len(logs) - 1)) * stdev(logs) / sqrt(len(logs))
    return Ratio(exp(mean(logs)), exp(mean(logs)) * half)


Ratios = dict[str, dict[str, Ratio]]
"""By cell and mechanism."""


def table_of(title: str, ratios: Ratios, variants: Sequence[str]) -> list[str]:
    lines = [f"## {title}", "", f"| without | {' | '.join(ratios)} |", f"|---|{'---:|' * len(ratios)}"]
    lines += [f"| {variant} | {' | '.join(str(row[variant]) for row in ratios.values())} |" for variant in variants]
    return [*lines, ""]


def verdicts(measurements: Mapping[str, Ratios], variants: Sequence[str]) -> list[str]:
    """Return a table of what each mechanism does, and where it is worth most."""
    lines = ["| mechanism | what it does | worth at least 5 % in | most |", "|---|---|---|---|"]
    for variant in variants:
        cells = [(row[variant], name, cell) for name, ratios in measurements.items() for cell, row in ratios.items()]
        worth = ", ".join(sorted({name for ratio, name, _ in cells if ratio.is_worth})) or "nothing"
        ratio, name, cell = min(cells, key=lambda one: one[0].mean)
        lines.append(f"| {variant} | {MECHANISMS[variant][0]} | {worth} | {ratio} of the rate ({name}, {cell}) |")
    return [*lines, ""]


def page(tables: Sequence[str], *, rounds: int, seconds: float) -> str:
    introduction = (__doc__ or "").rpartition("\n\n")[0]
    return f"""# What each mechanism of batching is worth

Written by `python benchmarks/ablation.py --write`; do not edit.

{introduction}

A rate below {WORTH:g} of that with all mechanisms, whose interval lies below 1, is set in bold.

{chr(10).join(tables)}
{rounds} rounds of {seconds:.2f} s for each figure; all rates are in `{RAW.name}` beside this page. The load generator
shares the processors with the servers.

Commit {revision_of("HEAD")}, {datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} processors,
Python {sys.version.split()[0]}.
"""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SAMPLE_S, help="of each measurement")
    parser.add_argument("--functions", default=",".join(FUNCTIONS))
    parser.add_argument("--only", default=",".join(MECHANISMS), help="the mechanisms to take away")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/ablation.md")
    parser.add_argument("--resume", action="store_true", help="measure only what an earlier `--write` did not come to")
    options = parser.parse_args(arguments)
    variants = options.only.split(",")
    rates: dict[str, Rates] = json.loads(RAW.read_text(encoding="utf-8")) if options.resume and RAW.exists() else {}
    measurements: dict[str, Ratios] = {}
    tables: list[str] = []
    with tempfile.TemporaryDirectory(prefix="kappa-bench-") as root:
        for name in options.functions.split(","):
            function = FUNCTIONS[name]
            if name not in rates:
                folder = Path(root) / name
                folder.mkdir()
                function.write(folder)
                rates[name] = measured(function, folder, variants, rounds=options.rounds, seconds=options.seconds)
            if options.write:
                RAW.write_text(json.dumps(rates, indent=1, default=float) + "\n", encoding="utf-8")
            measurements[name] = {
                cell: {variant: ratio_of(row, variant) for variant in variants} for cell, row in rates[name].items()
            }
            table = table_of(function.title, measurements[name], variants)
            print("\n".join(table), flush=True)
            tables += table
    tables = [*verdicts(measurements, variants), *tables]
    print("\n".join(verdicts(measurements, variants)))
    if options.write:
        PAGE.write_text(page(tables, rounds=options.rounds, seconds=options.seconds), encoding="utf-8")
        print(f"Wrote {PAGE.relative_to(ROOT)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
