"""How long `kappa validate` takes on a valid kappafile of 300 lines, beside a Python that does nothing.

    python benchmarks/validate.py [--runs 15] [--imports]

Both are timed from outside, one after the other in each round, so that other load meets both. `--imports` also prints
the modules that take the most time to import.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

__all__ = ["main"]

GOAL_SECONDS = 0.4
LINES = 300

HEAD = """\
kappafile = 1

[service]
name = "Large"

[env]
python = "3.11"
pip_packages = ["scikit-learn"]

[security]
pickle = "allow"

[artifacts.model]
type = "sklearn"
path = "model.joblib"
"""

API = """
[apis.predict_{number}]
function = "handlers:predict_{number}"
input = {{ type = "dataframe", columns = {{ length = "float64", width = "float64" }} }}
output = "json"
batch = true
route = "v1/predict/{number}"
max_batch_size = {number}
max_latency_ms = 50.0
doc = "Endpoint number {number}."

[[examples]]
name = "example {number}"
api = "predict_{number}"
input = [{{ length = 5.1, width = 3.5 }}]
expect = [0]
tolerance = 1e-6
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--imports", action="store_true", help="print where the time of importing goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = write_project(folder)
        kappa = [str(Path(sys.executable).with_name("kappa")), "validate"]
        python = [sys.executable, "-c", "pass"]
        rounds = [(seconds(python, folder), seconds(kappa, folder)) for _ in range(arguments.runs + 1)][1:]
        idle, validating = (sorted(times) for times in zip(*rounds, strict=True))
        print(f"a kappafile of {lines} lines; {arguments.runs} runs each, in turn")
        print(f"  python -c pass   median {1000 * median(idle):6.1f} ms   fastest {1000 * idle[0]:6.1f} ms")
        print(f"  kappa validate   median {1000 * median(validating):6.1f} ms   fastest {1000 * validating[0]:6.1f} ms")
        print(f"  ratio of medians {median(validating) / median(idle):.1f}; goal {1000 * GOAL_SECONDS:.0f} ms")
        if arguments.imports:
            print_imports(kappa, folder)
    sys.exit(median(validating) > GOAL_SECONDS)


def write_project(folder: Path) -> int:
    """Write a valid project and return how many lines its kappafile has."""
    text, handlers, number = HEAD, "", 0
    while text.count("\n") + API.count("\n") <= LINES:
        number += 1
        text += API.format(number=number)
        handlers += f"def predict_{number}(frame, model):\n    return model.predict(frame)\n\n\n"
    text += "".join(f"# line {line}\n" for line in range(text.count("\n") + 1, LINES + 1))
    (folder / "kappafile.toml").write_text(text, encoding="utf-8")
    (folder / "handlers.py").write_text(handlers, encoding="utf-8")
    (folder / "model.joblib").write_bytes(b"\x80\x05N.")
    return text.count("\n")


def seconds(command: list[str], folder: Path) -> float:
    began = time.perf_counter()
    environ = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began


def print_imports(command: list[str], folder: Path, *, shown: int = 25) -> None:
    """Print the modules whose import takes longest, what they import included."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], cwd=folder, capture_output=True, text=True, check=True
    )
    found = re.findall(r"import time:\s+(\d+) \|\s+(\d+) \|(\s+)(\S+)", done.stderr)
    rows = sorted(((int(total), int(own), name) for own, total, _, name in found), reverse=True)
    print(f"{len(rows)} modules; the {shown} that take longest, in ms with and without what they import:")
    for total, own, name in rows[:shown]:
        print(f"  {total / 1000:7.1f} {own / 1000:7.1f}  {name}")


if __name__ == "__main__":
    main()
