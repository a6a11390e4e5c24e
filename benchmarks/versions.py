"""Two versions of Kappa beside each other: whether any rate of `benchmarks/serve.py` has fallen.

Each server of that benchmark is started twice, from the commit `--base` and from this checkout, and the two take turns
under the same closed-loop load: a pair of runs, then the next, in the other order. So that a figure counts for what it
is on a machine that is never quiet, the ratio of each pair is taken, its median over all pairs, and the interval in
which the median lies with at least 95 % (order statistics, no distribution assumed). A rate has fallen if the whole
interval lies below the bar. In the same way an API of a model without a word about `batch` stands beside the same with
`batch = true`.

    python benchmarks/versions.py --base v0.1.0          # a quarter of an hour; exits with 1 if a rate fell
    python benchmarks/versions.py --base HEAD~20 --write   # puts the result into docs/benchmarks/versions.md
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

from serve import CONNECTIONS, NAMES, ROOT, ZERO_CODE, Server, await_ready, prepare, sample

__all__ = ["main"]

BAR = 0.97
IMPLIED_BAR = 0.95
NDARRAY = ZERO_CODE.replace("dataframe", "ndarray")


@dataclass(frozen=True)
class Side:
    """One of two that are compared: a checkout, and the project of its that is served."""

    checkout: Path
    project: str


@dataclass(frozen=True)
class Comparison:
    """Two sides, and how far the second may be behind the first."""

    title: str
    before: Side
    after: Side
    bar: float


def interval_of(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the narrowest interval of order statistics that holds the median with at least 95 %."""
    ordered, count = sorted(ratios), len(ratios)
    outside = 0.0
    rank = 0
    while (following := outside + 2 * math.comb(count, rank) / 2**count) <= 0.05:
        outside, rank = following, rank + 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[count - 1 - rank]


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
def running(side: Side, folder: Path, port: int) -> Iterator[Server]:
    """Start one server of one checkout, and stop it at the end."""
    script = side.checkout / "benchmarks" / "serve.py"
    command = [str(script), "--serve", side.project, "--port", str(port), "--folder", str(folder)]
    with started(command, port, checkout=side.checkout) as server:
        yield server


@contextmanager
def started(command: Sequence[str], port: int, *, checkout: Path = ROOT) -> Iterator[Server]:
    """Start a script that serves on ``port``, and stop it at the end."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    master = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL, env=environment)
    try:
        await_ready(port, master)
        children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text(encoding="ascii").split()
        yield Server("noop", port, int(children[0]))
    finally:
        master.terminate()
        master.wait(10)


def compare(
    one: Comparison, folder: Path, *, pairs: int, seconds: float, port: int
) -> dict[int, list[tuple[float, float]]]:
    """Return the rates of all pairs, before and after, by the number of connections."""
    found: dict[int, list[tuple[float, float]]] = {connections: [] for connections in CONNECTIONS}
    with running(one.before, folder, port) as before, running(one.after, folder, port + 1) as after:
        for server in (before, after):
            sample(server, connections=16, seconds=1.0)  # the first thousands of requests teach the estimators
        for number in range(pairs):
            for connections in CONNECTIONS:
                order = (before, after) if number % 2 == 0 else (after, before)
                rates = {id(each): sample(each, connections=connections, seconds=seconds).rate for each in order}
                found[connections].append((rates[id(before)], rates[id(after)]))
    return found


def row_of(title: str, connections: int, pairs: Sequence[tuple[float, float]], *, bar: float) -> tuple[str, bool]:
    """Return a line of the table, and whether the rate has fallen below the bar."""
    ratios = [after / before for before, after in pairs]
    low, high = interval_of(ratios)
    has_fallen = high < bar
    before, after = (median(each) for each in zip(*pairs, strict=True))
    line = (
        f"| {title} | {connections} | {before:,.0f} | {after:,.0f} | {median(ratios):.3f} | {low:.3f} to {high:.3f} | "
        f"{bar} | {'**fallen**' if has_fallen else 'no'} |"
    )
    return line, has_fallen


def page(lines: Sequence[str], kept: Sequence[str], *, facts: str) -> str:
    introduction = (__doc__ or "").rpartition("\n\n")[0]
    return f"""# This version beside an earlier one

Written by `python benchmarks/versions.py --write`; do not edit.

{introduction}

{chr(10).join(lines)}

{facts}

## Every pair

Requests a second, before and after.

{chr(10).join(kept)}
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="the commit to compare with")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each load run")
    parser.add_argument("--only", choices=[*NAMES, "implied"], help="one server of the five")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/versions.md")
    parser.add_argument("--port", type=int, default=17830)
    options = parser.parse_args(arguments)
    lines = [
        "| server | connections | before, requests/s | after | ratio | 95 % | bar | fallen |",
        "|---|---:|---:|---:|---:|---|---:|---|",
    ]
    print("\n".join(lines), flush=True)
    kept: list[str] = []
    fallen = False
    with tempfile.TemporaryDirectory(prefix="kappa-bench-") as name, checkout_of(options.base) as base:
        folder = Path(name)
        prepare(folder)
        for project, text in {"implied": NDARRAY.replace("batch = true\n", ""), "said": NDARRAY}.items():
            (folder / project).mkdir()
            shutil.copy(folder / "class" / "model.joblib", folder / project)
            (folder / project / "kappafile.toml").write_text(text, encoding="utf-8")
        comparisons = [
            *(Comparison(title, Side(base, key), Side(ROOT, key), BAR) for key, title in NAMES.items()),
            Comparison("no `batch`, beside it", Side(ROOT, "said"), Side(ROOT, "implied"), IMPLIED_BAR),
        ]
        for one in comparisons:
            if options.only not in (None, one.after.project):
                continue
            found = compare(one, folder, pairs=options.pairs, seconds=options.seconds, port=options.port)
            for connections, pairs in found.items():
                line, has_fallen = row_of(one.title, connections, pairs, bar=one.bar)
                fallen = fallen or has_fallen
                lines.append(line)
                print(line, flush=True)
                rates = ", ".join(f"{before:.0f} {after:.0f}" for before, after in pairs)
                kept.append(f"- {one.title}, {connections}: {rates}")
    if options.write:
        revisions = (
            subprocess.run(["git", "rev-parse", "--short=12", it], capture_output=True, text=True, check=True, cwd=ROOT)
            for it in (options.base, "HEAD")
        )
        before, after = (each.stdout.strip() for each in revisions)
        facts = (
            f"Before: {before}, after: {after}. {options.pairs} pairs of {options.seconds:g} s for each line, closed "
            f"loop, {datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} processors shared with the load generator."
        )
        path = ROOT / "docs" / "benchmarks" / "versions.md"
        path.write_text(page(lines, kept, facts=facts), encoding="utf-8")
        print(f"Wrote {path.relative_to(ROOT)}.")
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
