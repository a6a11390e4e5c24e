"""How long `import kappa` and `kappa --help` take beside a bare Python, interleaved in one run: `make bench-cli`.

Each command runs in a process of its own; rounds go through all of them, so that other load on the machine meets all
alike. The median is what to compare, the least is what the machine can do.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["main"]

ROUNDS = 25
HELP_LIMIT_S = 0.15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import kappa'": [sys.executable, "-c", "import kappa"],
    "kappa --help": [str(Path(sys.executable).with_name("kappa")), "--help"],
}


def main() -> int:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(ROUNDS + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if number:  # the first round warms the file cache
                seconds[name].append(time.perf_counter() - started)
    bare = statistics.median(seconds["python -c pass"])
    print(f"{'':28}{'median':>10}{'least':>10}{'over bare':>12}   ({ROUNDS} rounds)")
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{name:28}{median:>8.3f} s{min(taken):>8.3f} s{median - bare:>10.3f} s")
    helped = statistics.median(seconds["kappa --help"])
    print(f"`kappa --help` is to stay under {HELP_LIMIT_S} s: {'it does' if helped < HELP_LIMIT_S else 'it does not'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
