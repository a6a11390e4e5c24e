"""Fuzz what clients may send, format by format, and report what was seen; exits with 1 if anything failed.

    python tests/fuzzing/run.py --seconds 60               # as `make fuzz` does
    python tests/fuzzing/run.py --seconds 60 arrow npy     # two formats
    python tests/fuzzing/run.py --seconds 1800 --report docs/benchmarks/fuzz.md

Each format has the given time on the clock, several formats at once (`--jobs`). A body for which something fails is
kept in `.fuzz/<format>/`: mend what it shows, and put it into the corpus under a name that says what it is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORPUS = HERE / "corpus"
HANG_S = 60
"""On the clock; what a body may take of the processor is less, and told by the format's own check."""
_MOST_FAILURES = 20
_PROCESS_S = 120.0
"""For so long one process runs: what it has freed is scattered by then, and counts against its address space."""
_MOST_BODY_BYTES = 1 << 18


@dataclass
class Seen:
    """What came of one format."""

    format: str
    bodies: int = 0
    taken: int = 0
    longest_s: float = 0.0
    peak_mb: int = 0
    elapsed_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    """Of each body that failed, the kind and the last line that tells why."""

    @property
    def hangs(self) -> int:
        return sum(failure.startswith("timeout") for failure in self.failures)


def fuzz(name: str, *, seconds: float, seed: int) -> Seen:
    """Fuzz one format for so long, in one process after the other; a failure ends one before its time."""
    seen = Seen(name)
    began = time.monotonic()
    kept = ROOT / ".fuzz" / name
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        grown = Path(scratch, "corpus")
        grown.mkdir()
        processes = 0
        while (left := seconds - (time.monotonic() - began)) > 1 and len(seen.failures) < _MOST_FAILURES:
            state = Path(scratch, "state.json")
            state.unlink(missing_ok=True)
            before = set(kept.iterdir())
            options = (
                f"-max_total_time={max(1, round(min(left, _PROCESS_S)))}",
                f"-seed={seed + processes}",
                f"-timeout={HANG_S}",
                "-rss_limit_mb=0",  # the address space is limited instead
                f"-max_len={_MOST_BODY_BYTES}",
                "-keep_seed=1",
                "-print_final_stats=1",
                f"-artifact_prefix={kept}/",
            )
            arguments = [name, str(state), str(grown), str(CORPUS / name), *options]
            child = subprocess.run(
                [sys.executable, str(HERE / "child.py"), *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                cwd=ROOT,
            )
            processes += 1
            _add(seen, state, child.stderr)
            if child.returncode:
                found = sorted(path.name for path in set(kept.iterdir()) - before) or ["no body"]
                seen.failures.append(f"{found[0]}: {_reason(child.stderr)}")
                print(f"{name}: {seen.failures[-1]}", file=sys.stderr, flush=True)
                if found == ["no body"]:
                    break
    seen.elapsed_s = time.monotonic() - began
    return seen


def _add(seen: Seen, state: Path, log: str) -> None:
    if state.is_file():
        one = json.loads(state.read_text(encoding="utf-8"))
        seen.bodies += one["bodies"]
        seen.taken += one["taken"]
        seen.longest_s = max(seen.longest_s, one["longest_s"])
    for peak in re.findall(r"stat::peak_rss_mb:\s+(\d+)|rss: (\d+)Mb", log):
        seen.peak_mb = max(seen.peak_mb, int(peak[0] or peak[1]))


def _reason(log: str) -> str:
    """Return the line of a log that says what happened."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"([a-z_]+\.)*[A-Z]\w*(Error|Exception|Interrupt)\b", line)]
    errors = [line for line in lines if "ERROR: libFuzzer" in line]
    return (raised or errors or lines or ["it said nothing"])[-1][:300]


def report_of(seen: list[Seen], *, seconds: float, seed: int, jobs: int) -> str:
    """Return the page that says what was fuzzed and what came of it."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True, check=False, cwd=ROOT
    ).stdout.strip()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "pyarrow", "pillow", "atheris"))
    python = sys.version.split(maxsplit=1)[0]
    rows = [
        f"| {one.format} | {one.elapsed_s:,.0f} | {one.bodies:,} | {one.taken:,} | {len(one.failures) - one.hangs} | "
        f"{one.hangs} | {one.longest_s * 1000:,.0f} | {one.peak_mb:,} |"
        for one in seen
    ]
    failures = [f"- {one.format}: {failure}" for one in seen for failure in one.failures]
    facts = (
        f"Commit {commit}, {datetime.now(timezone.utc):%Y-%m-%d}, seed {seed}, {seconds:,.0f} s for each format, "
        f"{jobs} formats at once on {os.cpu_count()} processors. Python {python}, {packages}."
    )
    return f"{_HEAD.format(facts=facts)}{chr(10).join(rows)}\n" + (
        "\n" + "\n".join(failures) + "\n" if failures else ""
    )


_HEAD = """\
# Fuzzing

{facts}

Written by `make soak-fuzz`. Each body is read by every adapter that takes its format, several formats at once.

- *taken*: bodies that at least one adapter took;
- *failures*: anything but a form, or a refusal with a 4xx and a reason: more than two seconds of processor time and
  more than a GiB of address space beyond what the process had at its start are failures too;
- *hangs*: more than a minute on the clock;
- *slowest*: processor time of one adapter for one body, to read it twice and merge it.

| format | seconds | bodies | taken | failures | hangs | slowest, ms | peak memory, MiB |
|---|---|---|---|---|---|---|---|
"""


def main() -> int:
    """Fuzz, and print or write the report."""
    formats = sorted(path.name for path in CORPUS.iterdir())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", choices=[*formats, []], metavar="format", help=", ".join(formats))
    parser.add_argument("--seconds", type=float, default=60, help="for each format, on the clock (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the first process of each format (1)")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), help="formats at once")
    parser.add_argument("--report", type=Path, help="where the report is written; it is printed otherwise")
    options = parser.parse_args()
    if find_spec("atheris") is None:
        parser.error("Atheris is not installed; `pip install 'kappa-ml[fuzz]'` brings it where it has a wheel.")
    one = partial(fuzz, seconds=options.seconds, seed=options.seed)
    with ThreadPoolExecutor(options.jobs) as pool:
        seen = list(pool.map(one, options.formats or formats))
    text = report_of(seen, seconds=options.seconds, seed=options.seed, jobs=options.jobs)
    if options.report is None:
        print(text)
    else:
        options.report.write_text(text, encoding="utf-8")
    return 1 if any(one.failures for one in seen) else 0


if __name__ == "__main__":
    sys.exit(main())
