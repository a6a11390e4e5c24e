"""One client and a model without code: what is lost of what the server and the model allow together.

A client that asks again as soon as it is answered waits for the server and then for the model, so the least that one
request can take is the time of a constant answer on the same stack (the no-op of `benchmarks/serve.py`) plus the time
of the model's `predict` alone, in a loop, on one argument of the kind that the API's function is given. *Of the limit*
is that sum over the time that a request to Kappa took. All three take turns in one run, and the ratio is that of each
round: its median, and the interval in which the median lies with at least 95 %.

The models are SVCs of the iris data. A frame takes scikit-learn several times as long as an array; Kappa gives a plain
estimator the numbers of a frame alone, whose names it has compared itself, which is why it passes the limit there.

    python benchmarks/one_client.py            # some two minutes; --write: docs/benchmarks/one-client.md
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from serve import ROOT, ZERO_CODE, Server, sample
from versions import Side, interval_of, running

__all__ = ["main"]

ROW = [5.1, 3.5, 1.4, 0.2]
LIMIT_BAR = 0.9


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
    """The three figures of one case that were measured beside each other."""

    noop: Cost
    bare: Cost
    kappa: Cost

    @property
    def share(self) -> float:
        """How much of the allowed rate Kappa reached."""
        return (self.noop.wall_us + self.bare.wall_us) / self.kappa.wall_us

    @property
    def cpu_share(self) -> float:
        return (self.noop.cpu_us + self.bare.cpu_us) / self.kappa.cpu_us


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


# -- the bare call -----------------------------------------------------------------------------------------------------


def call_when_asked(case: Case, folder: Path) -> None:
    """Call the model for as many seconds as each line of the standard input says; print the cost of one call."""
    import joblib
    import numpy as np
    import pandas as pd

    model = joblib.load(folder / case.project / "model.joblib")
    argument: Any = np.array([ROW])
    if case.adapter == "dataframe":
        argument = pd.DataFrame(argument, columns=getattr(model, "feature_names_in_", None))
    model.predict(argument)
    print("ready", flush=True)
    for line in sys.stdin:
        calls, began, cpu_s = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < float(line):
            model.predict(argument)
            calls += 1
        wall_us, cpu_us = 1e6 * (time.perf_counter() - began), 1e6 * (time.process_time() - cpu_s)
        print(wall_us / calls, cpu_us / calls, flush=True)


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
    with ExitStack() as stack:
        noop = stack.enter_context(running(Side(ROOT, "noop"), folder, port))
        servers = {
            case: stack.enter_context(running(Side(ROOT, case.project), folder, port + number))
            for number, case in enumerate(cases, start=1)
        }
        bare = {case: stack.enter_context(bare_model(case, folder)) for case in cases}
        for server in (noop, *servers.values()):
            sample(server, connections=1, seconds=1.0)  # the first requests teach where the function runs
        for number in range(rounds):
            for case in cases:
                if number % 2:
                    kappa, call, constant = (
                        request_cost(servers[case], seconds),
                        bare[case].cost(seconds),
                        request_cost(noop, seconds),
                    )
                else:
                    constant, call, kappa = (
                        request_cost(noop, seconds),
                        bare[case].cost(seconds),
                        request_cost(servers[case], seconds),
                    )
                found[case].append(Round(constant, call, kappa))
    return found


def table(found: dict[Case, list[Round]]) -> list[str]:
    """Return the table; times are medians over the rounds."""
    lines = [
        "| input | fitted with | no-op, µs | `predict`, µs | Kappa, µs | requests/s | of the limit | 95 % | CPU |",
        "|---|---|---:|---:|---:|---:|---:|---|---:|",
    ]
    for case, rounds in found.items():
        noop, bare, kappa = (
            median(getattr(each, name).wall_us for each in rounds) for name in ("noop", "bare", "kappa")
        )
        shares = [each.share for each in rounds]
        low, high = interval_of(shares)
        lines.append(
            f"| `{case.adapter}` | {case.fitted_with} | {noop:.0f} | {bare:.0f} | {kappa:.0f} | {1e6 / kappa:,.0f} | "
            f"{median(shares):.2f} | {low:.2f} to {high:.2f} | {median(each.cpu_share for each in rounds):.2f} |"
        )
    return lines


def page(lines: list[str], *, rounds: int, seconds: float) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("gunicorn", "uvloop", "pandas", "scikit-learn"))
    introduction = (__doc__ or "").rpartition("\n\n")[0]
    return f"""# What one client gets of a model

Written by `python benchmarks/one_client.py --write`; do not edit.

{introduction}

{chr(10).join(lines)}

One connection, one row of four numbers, {rounds} rounds of {seconds:g} s for each figure. *CPU* is the same ratio of
processor time, which other work on the machine disturbs less.

{datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} processors, Python {sys.version.split()[0]}, {packages}.
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    by_project = {case.project: case for case in CASES}
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each figure")
    parser.add_argument("--only", choices=list(by_project), action="append", help="one case of three")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/one-client.md")
    parser.add_argument("--port", type=int, default=17860)
    parser.add_argument("--bare", choices=list(by_project), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.bare:
        call_when_asked(by_project[options.bare], options.folder)
        return 0
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
    return 1 if any(median(each.share for each in rounds) < LIMIT_BAR for rounds in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
