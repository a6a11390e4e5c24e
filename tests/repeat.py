"""The tests in a row: what fails once in many runs, and what fails where the machine is busy.

Every run is `make test`. Beside some of them, as many processes as there are processors compute without a pause, so
that what counts on a turn in time does not get it.

    python tests/repeat.py --runs 50 --busy 10 --report docs/benchmarks/tests.md
    python tests/repeat.py --log runs.jsonl        # keeps each run there, and goes on after those of the same commit
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
BURNING = "while True: pass"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the tests."""

    is_busy: bool
    seconds: float
    passed: int
    skipped: int
    failed: tuple[str, ...]
    """The tests that failed, or could not be set up or ended, by their names."""
    exit_status: int

    @property
    def has_held(self) -> bool:
        return self.exit_status == 0 and not self.failed


def run_of(text: str, *, is_busy: bool, seconds: float, exit_status: int) -> Run:
    """Return what a report of pytest's (JUnit's XML) tells; an empty one is that of a run that never got so far."""
    cases = list(ET.fromstring(text).iter("testcase")) if text else []
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    names = tuple(f"{case.get('classname')}::{case.get('name')}" for case in failed)
    return Run(is_busy, seconds, len(cases) - len(failed) - skipped, skipped, names, exit_status)


@contextmanager
def burning(processes: int) -> Iterator[None]:
    """Let so many processes compute until the block ends."""
    burners = [subprocess.Popen([sys.executable, "-c", BURNING]) for _ in range(processes)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def run_once(*, is_busy: bool) -> Run:
    """Run `make test` and return what came of it."""
    with tempfile.TemporaryDirectory(prefix="kappa-repeat-") as folder:
        report = Path(folder, "report.xml")
        environ = {**os.environ, "PYTEST_ADDOPTS": f"--junit-xml={report}"}
        began = time.monotonic()
        with burning((os.cpu_count() or 1) if is_busy else 0):
            done = subprocess.run(["make", "test"], cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, check=False)
        text = report.read_text(encoding="utf-8") if report.exists() else ""
        seconds = time.monotonic() - began
        return run_of(text, is_busy=is_busy, seconds=seconds, exit_status=done.returncode)


def kept_runs(log: Path, *, commit: str) -> list[Run]:
    """Return the runs of ``commit`` that are in ``log``, oldest first."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    runs = [json.loads(line) for line in lines]
    return [Run(**{**run["run"], "failed": tuple(run["run"]["failed"])}) for run in runs if run["commit"] == commit]


def keep_run(log: Path, run: Run, *, commit: str) -> None:
    """Add a run of ``commit`` to ``log``."""
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"commit": commit, "run": asdict(run)}) + "\n")


def busy_ones(runs: int, busy: int) -> list[bool]:
    """Return for each run whether it is one of the busy ones, which are spread evenly."""
    return [(number + 1) * busy // runs > number * busy // runs for number in range(runs)]


def report_of(runs: Sequence[Run], *, commit: str, date: str) -> str:
    """Return the page."""
    introduction = (__doc__ or "").partition("\n\n    python")[0]
    rows = "\n".join(
        f"| {number} | {'yes' if run.is_busy else ''} | {run.passed:,} | {run.skipped} | {len(run.failed)} |"
        f" {run.exit_status} | {run.seconds:.0f} |"
        for number, run in enumerate(runs, 1)
    )
    failures = Counter(name for run in runs for name in run.failed)
    failing = "\n".join(f"- `{name}`: {count} of {len(runs)}" for name, count in sorted(failures.items())) or "None."
    return f"""# The tests in a row

Written by `make soak-tests`; do not edit.

{introduction}

Commit {commit}, {date}, {os.cpu_count()} processors: {sum(run.has_held for run in runs)} of {len(runs)} runs without a
failure, {sum(run.is_busy for run in runs)} of them beside a busy machine.

## Failures

{failing}

## Runs

| run | busy | passed | skipped | failed | exit status | seconds |
|---:|---|---:|---:|---:|---:|---:|
{rows}
"""


def main(arguments: Sequence[str]) -> int:
    """Run the tests, and write the report after each run, so that one that is interrupted tells what there was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--busy", type=int, default=10, help="how many of them run beside a busy machine")
    parser.add_argument("--report", type=Path, help="where the report is written; it is printed otherwise")
    parser.add_argument("--log", type=Path, help="where each run is kept, so that a later call goes on after the last")
    options = parser.parse_args(arguments)
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=False, cwd=ROOT).stdout.strip()
    runs = kept_runs(options.log, commit=commit) if options.log is not None else []
    text = ""
    for is_busy in busy_ones(options.runs, options.busy)[len(runs) :]:
        runs.append(run_once(is_busy=is_busy))
        if options.log is not None:
            keep_run(options.log, runs[-1], commit=commit)
        print(f"{len(runs)}: {runs[-1]}", file=sys.stderr, flush=True)
        text = report_of(runs, commit=commit, date=f"{datetime.now(timezone.utc):%Y-%m-%d}")
        if options.report is not None:
            options.report.write_text(text, encoding="utf-8")
    if options.report is None:
        print(text)
    return 0 if all(run.has_held for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
