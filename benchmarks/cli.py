"""How long `import kappa`, `kappa --help` and `kappa validate` take beside a bare Python: `make bench-cli`.

    python benchmarks/cli.py [--rounds 25] [--base v0.1.0]

Each command runs in a process of its own; rounds go through all of them, so that other load on the machine meets all
alike. The median is what to compare, the least is what the machine can do. With `--base`, the same commands of that
commit take turns with those of this checkout; a ratio is that of the times of each round: its median, and the interval
in which the median lies with at least 95 %. `kappa validate` judges the kappafile of 300 lines of
`benchmarks/validate.py`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median

from validate import write_project
from versions import checkout_of, interval_of

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
HELP_LIMIT_S = 0.15
BARE = "python -c pass"
COMMANDS = {
    BARE: ["-c", "pass"],
    "python -c 'import kappa'": ["-c", "import kappa"],
    "kappa --help": ["-m", "kappa", "--help"],
    "kappa serve --help": ["-m", "kappa", "serve", "--help"],
    "kappa validate": ["-m", "kappa", "validate"],
}


def seconds_of(command: list[str], checkout: Path, folder: Path) -> float:
    environ = {**os.environ, "PYTHONPATH": str(checkout), "NO_COLOR": "1"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # where Kappa is used, its bytecode is kept
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, cwd=folder, env=environ)
    return time.perf_counter() - began


def timings_of(checkouts: list[Path], folder: Path, rounds: int) -> dict[str, list[list[float]]]:
    """Return the seconds of each command in each checkout, round by round."""
    timings: dict[str, list[list[float]]] = {name: [[] for _ in checkouts] for name in COMMANDS}
    for number in range(rounds + 1):
        order = range(len(checkouts)) if number % 2 else reversed(range(len(checkouts)))
        sides = list(order)
        for name, command in COMMANDS.items():
            for side in sides:
                seconds = seconds_of(command, checkouts[side], folder)
                if number:  # the first round warms the file cache
                    timings[name][side].append(seconds)
    return timings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--base", help="a commit whose commands stand beside this one's")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="kappa-bench-") as name,
        checkout_of(options.base) if options.base else nullcontext() as base,
    ):
        write_project(Path(name))
        timings = timings_of([ROOT, *([base] if base else [])], Path(name), options.rounds)
    bare = median(timings[BARE][0])
    beside = f"   of {options.base[:12]}" if options.base else ""
    print(f"{'':28}{'median':>10}{'least':>10}{'over bare':>12}{beside}   ({options.rounds} rounds)")
    for name, (here, *before) in timings.items():
        line = f"{name:28}{median(here):>8.3f} s{min(here):>8.3f} s{median(here) - bare:>10.3f} s"
        for there in before:
            ratios = [after / earlier for after, earlier in zip(here, there, strict=True)]
            low, high = interval_of(ratios)
            line += f"   {median(ratios):.2f} ({low:.2f} to {high:.2f})"
        print(line)
    helped = median(timings["kappa --help"][0])
    print(f"`kappa --help` is to stay under {HELP_LIMIT_S} s: {'it does' if helped < HELP_LIMIT_S else 'it does not'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
