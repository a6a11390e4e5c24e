"""The load generator of `kappa tune`, as a process of its own. Prints one JSON object.

    python benchmarks/load.py 127.0.0.1:5000/predict --connections 16 --seconds 2 --body '[[5.1, 3.5, 1.4, 0.2]]'
    python benchmarks/load.py 127.0.0.1:5000/predict --rate 500 --seconds 10 --target-ms 100

With `--rate` the loop is open: requests are sent at times drawn before; `late_p99_ms` says how well it kept to them.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

from kappa.server.tuning.load import Outcome, bursts, closed_loop, open_loop, poisson, request_bytes, run_loop

__all__ = ["main"]


def summary(outcome: Outcome, *, target_ms: float | None) -> dict[str, object]:
    found = outcome.summary()
    if target_ms is not None:
        found["goodput"] = round(outcome.within(target_ms / 1000) / outcome.seconds, 1)
        found["retry_after"] = outcome.retry_after
    return found


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="host:port/path")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rate", type=float, help="requests a second, whatever the server does")
    parser.add_argument("--bursty", action="store_true", help="with `--rate`: in bursts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target-ms", type=float, help="count the answers within this time")
    parser.add_argument("--body", default="[[5.1, 3.5, 1.4, 0.2]]", help="the text, or @FILE")
    parser.add_argument("--media-type", default="application/json")
    parser.add_argument("--method", default="POST")
    options = parser.parse_args(arguments)
    address, _, path = options.address.removeprefix("http://").partition("/")
    host, _, port = address.rpartition(":")
    body = Path(options.body[1:]).read_bytes() if options.body.startswith("@") else options.body.encode()
    request = request_bytes(host, f"/{path}", body, media_type=options.media_type, method=options.method)
    if options.rate is None:
        loading = closed_loop(host, int(port), request, connections=options.connections, seconds=options.seconds)
    else:
        arrivals = bursts if options.bursty else poisson
        schedule = arrivals(options.rate, seconds=options.seconds, rng=random.Random(options.seed))
        loading = open_loop(host, int(port), request, schedule=schedule, connections=options.connections)
    print(json.dumps(summary(run_loop(loading), target_ms=options.target_ms)))


if __name__ == "__main__":
    main(sys.argv[1:])
