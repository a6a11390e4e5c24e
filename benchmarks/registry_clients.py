"""Many clients at once against one Gamma server, each with a connection of its own: latencies, rate and errors.

    python benchmarks/registry_clients.py URL [--clients 10] [--seconds 10]

One process of clients prints what it measured as JSON; `measure_clients` starts several. A client asks without a pause
(a closed loop): a page of the newest, the latest of a service, one version, and a page that a selector chooses.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from kappa.errors import KappaError  # noqa: E402
from kappa.gamma.clients.connecting import connect  # noqa: E402
from kappa.gamma.protocols.registry import Registry  # noqa: E402
from kappa.labels import parse_selector  # noqa: E402
from kappa.spec.store import Query  # noqa: E402
from kappa.tag import BundleReference  # noqa: E402

__all__ = ["ClientFigures", "measure_clients"]

_PROCESSES = 5
_PAGE = 20


@dataclass(frozen=True)
class ClientFigures:
    """What clients saw together."""

    clients: int
    seconds: float
    latencies_ms: list[float]
    errors: int

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds

    def percentile(self, percent: int) -> float:
        """Return the latency in milliseconds that ``percent`` of the answers had at most."""
        return quantiles(self.latencies_ms, n=100)[percent - 1]


def measure_clients(url: str, *, clients: int, seconds: float) -> ClientFigures:
    """Let clients of several processes ask at once."""
    command = [sys.executable, __file__, url, "--clients", str(clients // _PROCESSES), "--seconds", str(seconds)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(_PROCESSES)]
    answers = [json.loads(process.communicate()[0]) for process in processes]
    latencies = [latency for answer in answers for latency in answer["latencies_ms"]]
    return ClientFigures(clients, seconds, latencies, sum(answer["errors"] for answer in answers))


def ask(url: str, seconds: float, number: int, latencies_ms: list[float], errors: list[str]) -> None:
    """Ask until the time is over; the first request, which connects, does not count."""
    choose = random.Random(number)
    with closing(connect(url)) as client:
        if error := error_of(lambda: ask_once(client, choose)):
            errors.append(error)
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            if error := error_of(lambda: ask_once(client, choose)):
                errors.append(error)
            else:
                latencies_ms.append(1000 * (time.perf_counter() - began))


def ask_once(client: Registry, choose: random.Random) -> None:
    kind = choose.randrange(4)
    if kind == 0:
        client.list_bundles(Query(limit=_PAGE))
    elif kind == 1:
        client.resolve(BundleReference(f"Service{choose.randrange(500)}"))
    elif kind == 2:
        client.resolve(BundleReference(f"Service{choose.randrange(50)}", f"{choose.randint(1, 50)}.0"))
    else:
        client.list_bundles(Query(selector=parse_selector("framework=xgboost, stage=live"), limit=_PAGE))


def error_of(call: Callable[[], None]) -> str:
    try:
        call()
    except KappaError as exc:
        return str(exc) or type(exc).__name__
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    latencies_ms: list[float] = []
    errors: list[str] = []
    threads = [
        threading.Thread(target=ask, args=(options.url, options.seconds, number, latencies_ms, errors))
        for number in range(options.clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in sorted(set(errors))[:3]:
        print(error, file=sys.stderr)
    print(json.dumps({"latencies_ms": latencies_ms, "errors": len(errors)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
