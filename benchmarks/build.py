"""What the first and the second `kappa build` of `examples/iris` take, with pip-compile and with uv.

    python benchmarks/build.py [--rounds 3] [--write]

Each round begins with an empty home, builds twice with each resolver, and takes the time of whole processes from
outside; the ledger of builds says how much of it was the resolver. A Python that does nothing stands beside them. pip's
and uv's own caches of downloads stay as they are. `--write` renders `docs/benchmarks/build.md`.
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

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks" / "build.md"
GOAL_SECONDS = 2.0
RESOLVERS = ("pip-compile", "uv")

HEAD = """\
# What a build takes

Written by `python benchmarks/build.py --write`; do not edit.

`kappa build` of `examples/iris`, as whole processes. The first build asks the package index for everything that the
service needs; the second finds the lock of the first, because nothing that it was made from has changed.
"""


@dataclass(frozen=True)
class Timing:
    resolver: str
    build: str
    seconds: float
    lock_seconds: float


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
                noted = builds[max(builds, key=int)]
                yield Timing(resolver, build, seconds, noted["seconds"]["lock"])


def render(timings: Sequence[Timing], nothing: float, rounds: int) -> str:
    lines = ["| resolver | build | seconds | of it the resolver | beside a bare Python |", "|---|---|---:|---:|---:|"]
    for resolver in RESOLVERS:
        for build in ("first", "second"):
            own = [one for one in timings if (one.resolver, one.build) == (resolver, build)]
            seconds, share = median(one.seconds for one in own), median(one.lock_seconds / one.seconds for one in own)
            lines.append(f"| {resolver} | {build} | {seconds:.2f} | {share:.0%} | {seconds / nothing:.0f}x |")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("pip", "pip-tools", "uv"))
    goal = f"The goal for a second build is {GOAL_SECONDS:.0f} s."
    machine = f"{os.cpu_count()} processors, Python {platform.python_version()}"
    taken = f"Medians of {rounds} rounds; a bare Python takes {nothing * 1000:.0f} ms."
    lines += [
        "",
        f"{taken} {goal}",
        "",
        f"{datetime.now(timezone.utc):%Y-%m-%d}, {machine}, {versions}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "iris")
        shutil.copytree(ROOT / "examples" / "iris", project, ignore=shutil.ignore_patterns("__pycache__"))
        timed([sys.executable, "train.py"], cwd=project, environ={**os.environ})
        timings: list[Timing] = []
        bare: list[float] = []
        for _ in range(arguments.rounds):
            bare.append(timed([sys.executable, "-c", "pass"], cwd=project, environ={**os.environ}))
            timings += one_round(project)
    text = render(timings, median(bare), arguments.rounds)
    print(text)
    if arguments.write:
        PAGE.write_text(f"{HEAD}\n{text}", encoding="utf-8")
    slowest = max(one.seconds for one in timings if one.build == "second")
    return 0 if slowest < GOAL_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
