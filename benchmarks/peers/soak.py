"""Kappa at saturation for a long time: does it grow, does it err?

    python benchmarks/peers/soak.py --minutes 30 --environments DIRECTORY     # the environments of run.py

Adds one line to the results of `run.py`, which the page shows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import models
import run

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir()) / "kappa-peers")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--connections", type=int, default=128)
    options = parser.parse_args(arguments)
    environments = options.environments.resolve()
    environments.mkdir(parents=True, exist_ok=True)
    python = run.install("kappa", environments)
    folder = environments / "models" / "kappa"
    if not (folder / models.IMAGE).is_file():
        run.subprocess.run([python, run.HERE / "models.py", "prepare", folder], check=True)
    requests, errors, seconds, memory = 0, 0, 0.0, []
    with run.serving("kappa", "iris", python, folder) as server:
        for part in range(10):
            found = run.load(server, folder, connections=options.connections, seconds=6 * options.minutes)
            requests += found["requests"]
            errors += found["requests"] - found["statuses"].get("200", 0) + found["lost"] + found["unsent"]
            seconds += found["seconds"]
            memory.append(run.memory_mib(run.processes_of(server.mark)))
            print(f"{part + 1} of 10: {found['rate']:.0f}/s, {memory[-1]:.1f} MiB, {errors} errors", file=sys.stderr)
    run.Results(options.results or environments / "results.jsonl").add(
        "soak",
        minutes=options.minutes,
        connections=options.connections,
        requests=requests,
        errors=errors,
        rate=requests / seconds,
        memory_mib=memory,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
