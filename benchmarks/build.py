"""What the first and the second `kappa build` of `examples/iris` take, with pip-compile and with uv.

    python benchmarks/build.py [--rounds 15] [--base v0.1.0] [--write]

Each round begins with an empty home, builds twice with each resolver, and takes the time of whole processes from
outside; the ledger of builds says how much of it was the resolver, and how much the try of the bundle. A Python that
does nothing stands beside them, and one that imports the same code and loads the same model. With `--base`, the first
build of that commit (with uv) takes turns with that of this checkout without the try. pip's and uv's own caches of
downloads stay as they are. `--write` renders `docs/benchmarks/build.md`. Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from statistics import median

from versions import checkout_of, interval_of

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks" / "build.md"
MOST_SECOND_S = 1.5
MOST_TRY_S = 0.5
MOST_OF_BASE = 1.1
RESOLVERS = ("pip-compile", "uv")
LOADING = "import iris_classifier, joblib; joblib.load('model.joblib')"
"""What the try does besides: it imports the code, and loads the model."""

HEAD = """\
# What a build takes

Written by `python benchmarks/build.py --write`; do not edit.

`kappa build` of `examples/iris`, as whole processes. The first build asks the package index for everything that the
service needs, and tries the bundle in a fresh process; the second finds the lock and the try of the first, because
nothing that they were made from has changed.
"""


@dataclass(frozen=True)
class Timing:
    """One build: the whole process, and how much of it was the resolver and the try."""

    resolver: str
    build: str
    seconds: float
    lock_seconds: float
    try_seconds: float


@dataclass(frozen=True)
class Bare:
    """What stands beside the builds: a Python that does nothing, and one that imports the code and loads the model."""

    nothing_s: float
    loading_s: float


@dataclass(frozen=True)
class Goal:
    """Something that must hold, and whether it did."""

    text: str
    is_reached: bool


def timed(command: Sequence[str], *, cwd: Path, environ: dict[str, str]) -> float:
    """Run a command to its end and return the seconds that it took; a failure ends the benchmark with its words."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return time.perf_counter() - began


def one_round(project: Path) -> Iterator[Timing]:
    for resolver in RESOLVERS:
        with tempfile.TemporaryDirectory() as home:
            environ = {**os.environ, "KAPPA_HOME": home}
            for build in ("first", "second"):
                command = [sys.executable, "-m", "kappa", "build", "--quiet", "--resolver", resolver]
                seconds = timed(command, cwd=project, environ=environ)
                builds = json.loads(Path(home, "builds.json").read_text())["_default"]
                noted = builds[max(builds, key=int)]["seconds"]
                yield Timing(resolver, build, seconds, noted["lock"], noted["try"])


def first_build(project: Path, checkout: Path, *options: str) -> float:
    """Return the seconds of a first build by the Kappa of a checkout."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "KAPPA_HOME": home, "PYTHONPATH": str(checkout)}
        command = [sys.executable, "-m", "kappa", "build", "--quiet", "--resolver", "uv", *options]
        return timed(command, cwd=project, environ=environ)


def pairs_of(project: Path, base: Path, rounds: int) -> list[tuple[float, float]]:
    """Return the seconds of first builds without a try, at the base and here; the two take turns."""
    sides = {base: (), ROOT: ("--no-try",)}
    found = []
    for number in range(rounds):
        order = [base, ROOT] if number % 2 == 0 else [ROOT, base]
        seconds = {checkout: first_build(project, checkout, *sides[checkout]) for checkout in order}
        found.append((seconds[base], seconds[ROOT]))
    return found


def table_of(timings: Sequence[Timing], nothing_s: float) -> Iterator[str]:
    yield "| resolver | build | seconds | of it the resolver | of it the try | beside a bare Python |"
    yield "|---|---|---:|---:|---:|---:|"
    for resolver in RESOLVERS:
        for build in ("first", "second"):
            own = [one for one in timings if (one.resolver, one.build) == (resolver, build)]
            seconds = median(one.seconds for one in own)
            lock, trial = (median(getattr(one, name) for one in own) for name in ("lock_seconds", "try_seconds"))
            yield (
                f"| {resolver} | {build} | {seconds:.2f} | {lock / seconds:.0%} | {trial / seconds:.0%} "
                f"| {seconds / nothing_s:.0f}x |"
            )


def goals_of(
    timings: Sequence[Timing], bare: Sequence[Bare], pairs: Sequence[tuple[float, float]], base: str
) -> Iterator[Goal]:
    second = median(one.seconds for one in timings if one.build == "second")
    yield Goal(f"A second build takes {second:.2f} s (at most {MOST_SECOND_S} s).", second <= MOST_SECOND_S)
    trial = median(one.try_seconds for one in timings if one.build == "first")
    loading = median(one.loading_s for one in bare)
    text = f"The first try takes {trial:.2f} s; the same imports and the same model alone {loading:.2f} s"
    yield Goal(f"{text} (at most {MOST_TRY_S} s more).", trial <= loading + MOST_TRY_S)
    if pairs:
        ratios = [after / before for before, after in pairs]
        low, high = interval_of(ratios)
        before, after = (median(each) for each in zip(*pairs, strict=True))
        text = (
            f"The first build with uv, without the try, takes {after:.2f} s, and {before:.2f} s at {base[:12]}: "
            f"{median(ratios):.2f} of it in the median of {len(pairs)} pairs, 95 % within {low:.2f} to {high:.2f} "
            f"(at most {MOST_OF_BASE})."
        )
        yield Goal(text, low <= MOST_OF_BASE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--base", help="a commit whose first build stands beside this one's")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "iris")
        shutil.copytree(ROOT / "examples" / "iris", project, ignore=shutil.ignore_patterns("__pycache__"))
        timed([sys.executable, "train.py"], cwd=project, environ={**os.environ})
        timings: list[Timing] = []
        bare: list[Bare] = []
        for _ in range(options.rounds):
            commands = ([sys.executable, "-c", code] for code in ("pass", LOADING))
            bare.append(Bare(*(timed(command, cwd=project, environ={**os.environ}) for command in commands)))
            timings += one_round(project)
        pairs = []
        if options.base:
            with checkout_of(options.base) as base:
                pairs = pairs_of(project, base, options.rounds)
    goals = list(goals_of(timings, bare, pairs, options.base or ""))
    nothing_s = median(one.nothing_s for one in bare)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("pip", "pip-tools", "uv"))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    machine = f"{os.cpu_count()} processors, Python {platform.python_version()}"
    lines = [
        *table_of(timings, nothing_s),
        "",
        f"Medians of {options.rounds} rounds; a bare Python takes {nothing_s * 1000:.0f} ms.",
        "",
        *(f"- {'' if goal.is_reached else '**Missed:** '}{goal.text}" for goal in goals),
        "",
        f"{datetime.now(timezone.utc):%Y-%m-%d}, commit {commit[:12]}, {machine}, {versions}.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        PAGE.write_text(f"{HEAD}\n{text}", encoding="utf-8")
    return 0 if all(goal.is_reached for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
