"""Two versions of Kappa beside each other: whether any rate has fallen, or any request costs more CPU time.

The servers of `benchmarks/serve.py` and the forest and the simulated function of `benchmarks/peers` are started twice,
from the commit `--base` and from this checkout, and the two take turns under the same load: a pair of runs, then the
next, in the other order. Closed loops measure requests a second; *overload* is an open loop of twice what the server
can do, and counts the answers within the target. So that a figure counts for what it is on a machine that is never
quiet, the ratio of each pair is taken, its median over all pairs, and the interval in which the median lies with at
least 95 % (order statistics, no distribution assumed). A rate has fallen if the whole interval lies below the bar, and
the worker's CPU time for each request has grown if the whole interval lies above its bar. In the same way an API of a
model without a word about `batch` stands beside the same with `batch = true`.

    python benchmarks/versions.py --base v0.1.0          # twenty minutes; exits with 1 if a rate fell or a cost grew
    python benchmarks/versions.py --base HEAD~20 --write   # puts the result into docs/benchmarks/versions.md
    python benchmarks/versions.py --base HEAD~1 --only echo forest --pairs 9
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from statistics import median
from types import MappingProxyType

from serve import CONNECTIONS, NAMES, ROOT, ZERO_CODE, Sample, Server, await_ready, prepare, sample

__all__ = ["main"]

BAR = 0.98
COST_BAR = 1.02
IMPLIED_BAR = 0.95
NDARRAY = ZERO_CODE.replace("dataframe", "ndarray")
FOREST_ROW = [17.99, 10.38, 122.8, 1001.0, 0.1184, 0.2776, 0.3001, 0.1471, 0.2419, 0.07871] * 3
BODIES = {"forest": json.dumps([FOREST_ROW]), "simulated": "1.5", "overload": "1.5"}
"""By model of `benchmarks/peers`, what is sent; all others take the row of the load generator."""


@dataclass(frozen=True)
class Side:
    """One of two that are compared: a checkout, and the project of its that is served."""

    checkout: Path
    project: str


@dataclass(frozen=True)
class Overload:
    """An open loop of twice what a server can do, which is to answer within ``target_ms``."""

    target_ms: float
    max_batch_size: int
    saturation: float | None = None
    """Requests a second; asked of a server without a target where it is not known."""


@dataclass(frozen=True)
class Comparison:
    """Two sides, and how far the second may be behind the first."""

    title: str
    before: Side
    after: Side
    bar: float = BAR
    overload: Overload | None = None


Pairs = list[tuple[Sample, Sample]]


def interval_of(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the narrowest interval of order statistics that holds the median with at least 95 %."""
    ordered, count = sorted(ratios), len(ratios)
    outside = 0.0
    rank = 0
    while (following := outside + 2 * math.comb(count, rank) / 2**count) <= 0.05:
        outside, rank = following, rank + 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[count - 1 - rank]


def revision_of(name: str) -> str:
    """Return what a commit is called in a report."""
    command = ["git", "rev-parse", "--short=12", name]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()


@contextmanager
def checkout_of(revision: str) -> Iterator[Path]:
    """Give a checkout of a commit, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="kappa-base-") as name:
        folder = Path(name, "kappa")
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", folder, revision], check=True, cwd=ROOT)
        try:
            yield folder
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", folder], check=True, cwd=ROOT)


@contextmanager
def running(side: Side, folder: Path, port: int, overload: Overload | None = None) -> Iterator[Server]:
    """Start one server of one checkout, and stop it at the end."""
    benchmarks = side.checkout / "benchmarks"
    further = {}
    if side.project in BODIES:
        own = folder / f"{side.checkout.name}-{port}"  # where a peer's server writes its project
        own.mkdir(exist_ok=True)
        shutil.copy(folder / "forest.joblib", own)
        script = benchmarks / "peers" / "servers" / "kappa_server.py"
        command = [str(script), side.project, str(port), str(own), "1"]
        if overload is not None:
            further = {
                "PEERS_MAX_BATCH_SIZE": str(overload.max_batch_size),
                "PEERS_TARGET_MS": str(overload.target_ms),
            }
    else:
        command = [str(benchmarks / "serve.py"), "--serve", side.project, "--port", str(port), "--folder", str(folder)]
    with started(command, port, name=side.project, checkout=side.checkout, environment=further) as server:
        yield server


@contextmanager
def started(
    command: Sequence[str],
    port: int,
    *,
    name: str = "noop",
    checkout: Path = ROOT,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Server]:
    """Start a script that serves on ``port``, and stop it at the end."""
    environ = {**os.environ, "PYTHONPATH": str(checkout), **environment}
    master = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL, env=environ)
    try:
        await_ready(port, master)
        children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text(encoding="ascii").split()
        yield Server(name, port, int(children[0]))
    finally:
        master.terminate()
        master.wait(10)


def load_once(server: Server, *arguments: str, connections: int, seconds: float, may_refuse: bool = False) -> Sample:
    """Load a server once with what its API takes."""
    body = ["--body", BODIES[server.name]] if server.name in BODIES else []
    return sample(server, *body, *arguments, connections=connections, seconds=seconds, may_refuse=may_refuse)


Load = Callable[[Server, int], Sample]
"""Loads a server; with the number of the pair, which both of it share."""


def loads_of(one: Comparison, folder: Path, *, seconds: float, port: int) -> dict[str, Load]:
    """Return how both sides are loaded, by what a line of the table says of it."""
    if one.overload is None:
        return {
            str(connections): lambda server, _, connections=connections: load_once(
                server, connections=connections, seconds=seconds
            )
            for connections in CONNECTIONS
        }
    saturation = one.overload.saturation
    if saturation is None:
        unhurried = Overload(1e6, one.overload.max_batch_size)
        with running(one.before, folder, port, unhurried) as server:
            load_once(server, connections=16, seconds=1.0)
            saturation = load_once(server, connections=64, seconds=3.0).rate
    rate = 2 * saturation
    connections = min(2000, max(64, int(2 * rate)))
    target = ["--rate", str(rate), "--target-ms", str(one.overload.target_ms)]
    return {
        f"{rate:,.0f}/s": lambda server, number: load_once(
            server, *target, "--seed", str(number + 1), connections=connections, seconds=3 * seconds, may_refuse=True
        )
    }


def compare(one: Comparison, folder: Path, *, pairs: int, seconds: float, port: int) -> dict[str, Pairs]:
    """Return what both did in all pairs, before and after, by how they were loaded."""
    loads = loads_of(one, folder, seconds=seconds, port=port)
    found: dict[str, Pairs] = {name: [] for name in loads}
    serve = partial(running, folder=folder, overload=one.overload)
    with serve(one.before, port=port) as before, serve(one.after, port=port + 1) as after:
        for server in (before, after):
            load_once(
                server, connections=16, seconds=1.0, may_refuse=one.overload is not None
            )  # the first thousands of requests teach the estimators
        for number in range(pairs):
            for name, ask in loads.items():
                order = (before, after) if number % 2 == 0 else (after, before)
                done = {server.port: ask(server, number) for server in order}
                found[name].append((done[before.port], done[after.port]))
    return found


def row_of(one: Comparison, load: str, pairs: Pairs) -> tuple[str, bool]:
    """Return a line of the table, and whether the rate has fallen below the bar or the cost grown above its own.

    Under overload the cost says nothing: refusals cost less than answers.
    """
    rates = [after.rate / before.rate for before, after in pairs]
    costs = [after.cpu_us / before.cpu_us for before, after in pairs]
    (low, high), (least, most) = interval_of(rates), interval_of(costs)
    grew = one.overload is None and least > COST_BAR
    worse = " and ".join(word for word, is_so in (("fallen", high < one.bar), ("costs more", grew)) if is_so)
    before, after = (median(each.rate for each in side) for side in zip(*pairs, strict=True))
    line = (
        f"| {one.title} | {load} | {before:,.0f} | {after:,.0f} | {median(rates):.3f} | {low:.3f} to {high:.3f} | "
        f"{median(costs):.3f} | {least:.3f} to {most:.3f} | {one.bar} | {f'**{worse}**' if worse else 'no'} |"
    )
    return line, bool(worse)


def page(lines: Sequence[str], kept: Sequence[str], *, facts: str) -> str:
    introduction = (__doc__ or "").rpartition("\n\n")[0]
    return f"""# This version beside an earlier one

Written by `python benchmarks/versions.py --write`; do not edit.

{introduction}

{chr(10).join(lines)}

{facts}

## Every pair

Requests a second, before and after, and in brackets the worker's CPU time for each of them in microseconds.

{chr(10).join(kept)}
"""


def comparisons_of(base: Path) -> dict[str, Comparison]:
    """Return what is compared, by its name on the command line."""

    def of(title: str, project: str, overload: Overload | None = None) -> Comparison:
        return Comparison(title, Side(base, project), Side(ROOT, project), overload=overload)

    return {
        **{key: of(title, key) for key, title in NAMES.items()},
        "forest": of("forest", "forest"),
        "simulated": of("simulated", "simulated"),
        "overload": of("simulated, overloaded", "overload", Overload(300.0, 64, 64 / (0.05 + 0.001 * 64))),
        "forest-overload": of("forest, overloaded", "forest", Overload(100.0, 4)),
        "implied": Comparison("no `batch`, beside it", Side(ROOT, "said"), Side(ROOT, "implied"), IMPLIED_BAR),
    }


def prepare_all(folder: Path) -> None:
    """Train the models and lay out the projects."""
    prepare(folder)
    for project, text in {"implied": NDARRAY.replace("batch = true\n", ""), "said": NDARRAY}.items():
        (folder / project).mkdir()
        shutil.copy(folder / "class" / "model.joblib", folder / project)
        (folder / project / "kappafile.toml").write_text(text, encoding="utf-8")
    subprocess.run([sys.executable, ROOT / "benchmarks" / "peers" / "models.py", "prepare", folder], check=True)


def main(arguments: list[str]) -> int:
    names = list(comparisons_of(ROOT))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="the commit to compare with")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each load run; overload takes three times that")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="some of the comparisons")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/versions.md")
    parser.add_argument("--port", type=int, default=17830)
    options = parser.parse_args(arguments)
    lines = [
        "| server | connections | before, requests/s | after | ratio | 95 % | CPU ratio | 95 % | bar | worse |",
        "|---|---:|---:|---:|---:|---|---:|---|---:|---|",
    ]
    print("\n".join(lines), flush=True)
    kept: list[str] = []
    is_any_worse = False
    with tempfile.TemporaryDirectory(prefix="kappa-bench-") as name, checkout_of(options.base) as base:
        folder = Path(name)
        prepare_all(folder)
        comparisons = comparisons_of(base)
        for key in options.only:
            one = comparisons[key]
            found = compare(one, folder, pairs=options.pairs, seconds=options.seconds, port=options.port)
            for load, pairs in found.items():
                line, is_worse = row_of(one, load, pairs)
                is_any_worse = is_any_worse or is_worse
                lines.append(line)
                print(line, flush=True)
                each = (f"{b.rate:.0f} {a.rate:.0f} ({b.cpu_us:.0f} {a.cpu_us:.0f})" for b, a in pairs)
                kept.append(f"- {one.title}, {load}: {', '.join(each)}")
    if options.write:
        before, after = revision_of(options.base), revision_of("HEAD")
        facts = (
            f"Before: {before}, after: {after}. {options.pairs} pairs of {options.seconds:g} s for each line, three "
            f"times that for overload, {datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} processors shared with "
            "the load generator."
        )
        path = ROOT / "docs" / "benchmarks" / "versions.md"
        path.write_text(page(lines, kept, facts=facts), encoding="utf-8")
        print(f"Wrote {path.relative_to(ROOT)}.")
    return 1 if is_any_worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
