"""One client and a model without code: what it gets of what the server and the model allow.

A client that asks again as soon as it is answered waits for the server and then for the model. The *sum* is the time of
a constant answer on the same stack (the no-op of `benchmarks/serve.py`) and that of the model's `predict` alone, in a
loop, on one argument of the kind that the API's function is given. *By hand* is that no-op with the model in it: a few
lines that parse the body, call `predict` and write what it returns. It does not reach the sum, since a call that is
made once in a while finds the processor's caches and its predictions of branches as others have left them, and so does
all around it. All four take turns in one run; a ratio is that of the rates of each round: its median, and the interval
in which the median lies with at least 95 %.

The models are SVCs of the iris data. A frame takes scikit-learn several times as long as an array; Kappa gives a plain
estimator the numbers of a frame alone, whose names it has compared itself, which is why it passes the sum there.

    python benchmarks/one_client.py            # some two minutes; --write: docs/benchmarks/one-client.md
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import falcon.asgi
import orjson
from serve import ROOT, ZERO_CODE, Ready, Server, sample, serve_app
from versions import Side, interval_of, revision_of, running, started

from kappa.server.options import ServerOptions

__all__ = ["main"]

ROW = [5.1, 3.5, 1.4, 0.2]


@dataclass(frozen=True)
class Case:
    """One project: the adapter of its API, and what its model was fitted with."""

    project: str
    adapter: str
    fitted_with: str


CASES = (
    Case("array", "ndarray", "array"),
    Case("frame", "dataframe", "frame"),
    Case("numbers", "dataframe", "array"),
)


@dataclass(frozen=True)
class Cost:
    """What one request or call takes."""

    wall_us: float
    cpu_us: float


@dataclass(frozen=True)
class Round:
    """The figures of one case that were measured beside each other."""

    noop: Cost
    bare: Cost
    hand: Cost
    kappa: Cost

    @property
    def of_sum(self) -> float:
        """How much Kappa reached of the rate that the no-op and the bare call would allow together."""
        return (self.noop.wall_us + self.bare.wall_us) / self.kappa.wall_us

    @property
    def hand_of_sum(self) -> float:
        return (self.noop.wall_us + self.bare.wall_us) / self.hand.wall_us

    @property
    def of_hand(self) -> float:
        return self.hand.wall_us / self.kappa.wall_us

    @property
    def cpu_of_hand(self) -> float:
        """How many requests Kappa answers with the processor's time of one by hand."""
        return self.hand.cpu_us / self.kappa.cpu_us


def prepare(folder: Path) -> None:
    """Fit the models and lay out the projects."""
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.svm import SVC

    for case in CASES:
        (folder / case.project).mkdir()
        measurements, species = load_iris(return_X_y=True, as_frame=case.fitted_with == "frame")
        joblib.dump(SVC(gamma="scale").fit(measurements, species), folder / case.project / "model.joblib")
        text = ZERO_CODE.replace('"dataframe"', f'"{case.adapter}"')
        (folder / case.project / "kappafile.toml").write_text(text, encoding="utf-8")


# -- what runs in other processes --------------------------------------------------------------------------------------


def loaded(case: Case, folder: Path) -> tuple[Any, Any]:
    """Return the model of a case, and what makes rows its argument."""
    import joblib
    import numpy as np
    import pandas as pd

    model = joblib.load(folder / case.project / "model.joblib")
    if case.adapter == "ndarray":
        return model, np.array
    return model, partial(pd.DataFrame, columns=getattr(model, "feature_names_in_", None))


def call_when_asked(case: Case, folder: Path) -> None:
    """Call the model for as many seconds as each line of the standard input says; print the cost of one call."""
    model, argument_of = loaded(case, folder)
    argument = argument_of([ROW])
    model.predict(argument)
    print("ready", flush=True)
    for line in sys.stdin:
        calls, began, cpu_s = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < float(line):
            model.predict(argument)
            calls += 1
        wall_us, cpu_us = 1e6 * (time.perf_counter() - began), 1e6 * (time.process_time() - cpu_s)
        print(wall_us / calls, cpu_us / calls, flush=True)


def serve_by_hand(case: Case, folder: Path, port: int) -> None:
    """Serve the model as one writes it who needs nothing else."""

    class Predict:
        def __init__(self) -> None:
            self.model, self.argument_of = loaded(case, folder)

        async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
            rows = orjson.loads(await req.stream.read())
            resp.data = orjson.dumps(self.model.predict(self.argument_of(rows)).tolist())
            resp.content_type = "application/json"

    def make_app() -> falcon.asgi.App[Any, Any]:
        app = falcon.asgi.App()
        app.add_route("/predict", Predict())
        app.add_route("/readyz", Ready())
        return app

    serve_app(make_app, ServerOptions(host="127.0.0.1", port=port, workers=1))


class BareModel:
    """A process that calls a model and does nothing else."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._line()

    def cost(self, seconds: float) -> Cost:
        assert self._process.stdin is not None
        print(seconds, file=self._process.stdin, flush=True)
        wall_us, cpu_us = map(float, self._line().split())
        return Cost(wall_us, cpu_us)

    def _line(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise SystemExit("The process that calls the model has ended.")
        return line


@contextmanager
def bare_model(case: Case, folder: Path) -> Iterator[BareModel]:
    command = [sys.executable, __file__, "--bare", case.project, "--folder", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield BareModel(process)
        finally:
            process.terminate()


# -- what is measured --------------------------------------------------------------------------------------------------


def request_cost(server: Server, seconds: float) -> Cost:
    found = sample(server, connections=1, seconds=seconds)
    return Cost(1e6 / found.rate, found.cpu_us)


def measure(folder: Path, *, cases: list[Case], rounds: int, seconds: float, port: int) -> dict[Case, list[Round]]:
    found: dict[Case, list[Round]] = {case: [] for case in cases}
    ports = count(port)
    with ExitStack() as stack:

        def serving(project: str) -> Server:
            return stack.enter_context(running(Side(ROOT, project), folder, next(ports)))

        def by_hand(case: Case) -> Server:
            command = [__file__, "--by-hand", case.project, "--folder", str(folder), "--port", str(own := next(ports))]
            return stack.enter_context(started(command, own))

        noop = serving("noop")
        hands = {case: by_hand(case) for case in cases}
        servers = {case: serving(case.project) for case in cases}
        bare = {case: stack.enter_context(bare_model(case, folder)) for case in cases}
        for server in (noop, *hands.values(), *servers.values()):
            sample(server, connections=1, seconds=1.0)  # the first requests teach where the function runs
        for number in range(rounds):
            for case in cases:
                turns: dict[str, Callable[[float], Cost]] = {
                    "noop": partial(request_cost, noop),
                    "bare": bare[case].cost,
                    "hand": partial(request_cost, hands[case]),
                    "kappa": partial(request_cost, servers[case]),
                }
                order = list(turns) if number % 2 == 0 else list(reversed(turns))
                found[case].append(Round(**{name: turns[name](seconds) for name in order}))
    return found


def table(found: dict[Case, list[Round]]) -> list[str]:
    """Return the table; times are medians over the rounds."""
    lines = [
        "| input | fitted with | no-op | `predict` | by hand | Kappa | hand of sum | of sum | of hand | 95 % | CPU |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for case, rounds in found.items():
        times = [f"{median(getattr(each, name).wall_us for each in rounds):.0f}" for name in Round.__annotations__]
        low, high = interval_of([each.of_hand for each in rounds])
        ratios = [
            f"{median(getattr(each, name) for each in rounds):.2f}" for name in ("hand_of_sum", "of_sum", "of_hand")
        ]
        cpu = median(each.cpu_of_hand for each in rounds)
        cells = [f"`{case.adapter}`", case.fitted_with, *times, *ratios, f"{low:.2f} to {high:.2f}", f"{cpu:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def page(lines: list[str], *, rounds: int, seconds: float) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("gunicorn", "uvloop", "pandas", "scikit-learn"))
    introduction = (__doc__ or "").rpartition("\n\n")[0]
    return f"""# What one client gets of a model

Written by `python benchmarks/one_client.py --write`; do not edit.

{introduction}

{chr(10).join(lines)}

Times are microseconds of one connection and one row of four numbers; {rounds} rounds of {seconds:g} s for each.
*Of sum* and *of hand* are how much of these rates Kappa reaches. *95 %* belongs to the ratio before it, and *CPU* is
the same ratio of processor time, which other work on the machine disturbs less.

Commit {revision_of("HEAD")}, {datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} processors,
Python {sys.version.split()[0]}, {packages}.
"""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    by_project = {case.project: case for case in CASES}
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each figure")
    parser.add_argument("--only", choices=list(by_project), action="append", help="one case of three")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/one-client.md")
    parser.add_argument("--port", type=int, default=17860)
    parser.add_argument("--bare", choices=list(by_project), help=argparse.SUPPRESS)
    parser.add_argument("--by-hand", choices=list(by_project), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.bare:
        call_when_asked(by_project[options.bare], options.folder)
        return
    if options.by_hand:
        serve_by_hand(by_project[options.by_hand], options.folder, options.port)
        return
    cases = [by_project[project] for project in options.only or by_project]
    with tempfile.TemporaryDirectory(prefix="kappa-bench-") as name:
        folder = Path(name)
        prepare(folder)
        found = measure(folder, cases=cases, rounds=options.rounds, seconds=options.seconds, port=options.port)
    lines = table(found)
    print("\n".join(lines))
    if options.write:
        path = ROOT / "docs" / "benchmarks" / "one-client.md"
        path.write_text(page(lines, rounds=options.rounds, seconds=options.seconds), encoding="utf-8")
        print(f"Wrote {path.relative_to(ROOT)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
