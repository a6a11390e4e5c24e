"""Faults around a registry, many times over, each time with another seed.

Each round runs `tests/gamma/test_faults_of_machines.py` whole. Its tests push bundles while the fault happens, and
compare every file of what was acknowledged and of what is visible with what was sent, byte by byte:

- eight processes push, label, alias and delete on one PostgreSQL at once;
- PostgreSQL is killed in an upload over gRPC or HTTP, and started again;
- the database's clock jumps between every two steps, by up to 400 days, while the garbage collector runs;
- a disk of 12 MiB is full;
- an object store answers requests at random with 500 (`500`), with half of an answer (`half`), by closing the
  connection (`nothing`), with silence (`silent`), or a thousand bytes at a time (`drops`).

`directory` and `file` are the storage: plain trees, and an object store in a folder.

    python -m tests.soaks.faults --rounds 10 --report docs/benchmarks/faults.md

Exits with 1 where a test fails, or where one could not run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree as ET

__all__ = ["Figures", "add", "main", "report_of"]

ROOT = Path(__file__).parents[2]
TESTS = "tests/gamma/test_faults_of_machines.py"


@dataclass
class Figures:
    """What the runs of one test recorded, added up."""

    runs: int = 0
    failures: int = 0
    counts: Counter[str] = field(default_factory=Counter)


def add(results: str, figures: dict[str, Figures]) -> None:
    """Add the results of one round, as pytest writes them for JUnit; a test that was skipped is a failure."""
    for case in ET.fromstring(results).iter("testcase"):
        of_case = figures.setdefault(_title_of(case.get("name", "")), Figures())
        of_case.runs += 1
        of_case.failures += any(case.find(name) is not None for name in ("failure", "error", "skipped"))
        for entry in case.iter("property"):
            of_case.counts[entry.get("name", "")] += int(entry.get("value", "0"))


def _title_of(name: str) -> str:
    """Return the words of a test's name, and its parameters."""
    words, _, parameters = name.removeprefix("test_").rstrip("]").partition("[")
    return f"{words.replace('_', ' ')}: `{parameters}`"


def run(seed: int, folder: Path) -> str:
    """Run the tests with a seed; return their results."""
    results = folder / f"{seed}.xml"
    command = [sys.executable, "-m", "pytest", TESTS, "-o", "junit_family=xunit1", "--junitxml", str(results)]
    environ = {**os.environ, "FAULTS_SEED": str(seed), "KAPPA_TEST_REQUIRE": "postgres,s3"}
    done = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
    return results.read_text(encoding="utf-8")


def report_of(figures: Mapping[str, Figures], *, seeds: range, elapsed_s: float) -> str:
    """Return the page."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout.strip()
    introduction = (__doc__ or "").partition("\n\n    python")[0]
    rows = [
        f"| {title} | {one.runs} | {one.failures} | "
        f"{', '.join(f'{name} {count:,}' for name, count in one.counts.items())} |"
        for title, one in sorted(figures.items())
    ]
    failures = sum(one.failures for one in figures.values())
    compared = sum(one.counts["bundles compared"] for one in figures.values())
    return f"""# Faults around a registry

Written by `make soak-faults`; do not edit.

{introduction}

Commit {commit}, {datetime.now(timezone.utc):%Y-%m-%d}, seeds {seeds[0]} to {seeds[-1]}, {elapsed_s:.0f} s, one machine
with {os.cpu_count()} processors. PostgreSQL is Debian's, S3 is moto's server.

| claim | runs | failed | what was done |
|---|---:|---:|---|
{chr(10).join(rows)}

Runs in which a claim did not hold: {failures}. Bundles compared at the end: {compared:,}.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--report", type=Path)
    options = parser.parse_args(arguments)
    seeds = range(options.seed, options.seed + options.rounds)
    figures: dict[str, Figures] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        for seed in seeds:
            add(run(seed, Path(name)), figures)
    text = report_of(figures, seeds=seeds, elapsed_s=time.monotonic() - began)
    print(text)
    if options.report is not None:
        options.report.write_text(text, encoding="utf-8")
    return 1 if any(one.failures for one in figures.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
