"""From the lines of results to a page with tables and plots."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from kappa.server.tuning.chart import Chart, draw

__all__ = ["page", "write"]

TITLES = {
    "kappa": "Kappa",
    "bentoml": "BentoML",
    "mlserver": "MLServer",
    "litserve": "LitServe",
    "ray": "Ray Serve",
    "fastapi": "FastAPI",
    "mlflow": "MLflow",
}
MODELS = {
    "iris": "iris SVC, one row of four numbers",
    "forest": "random forest of 100 trees, one row of thirty numbers",
    "simulated": "simulated: 5 ms + 0.1 ms for each request of a batch",
    "cnn": "small PyTorch network, a picture of about 100 kB",
}
OVERLOADED = {
    "overload": "simulated: 50 ms + 1 ms for each request of a batch; 300 ms",
    "forest": "random forest, in batches of up to 4; 100 ms",
}

Found = Mapping[str, Mapping[str, Any]]


class Table:
    """Results by kind, peer, model and parameter, over the rounds."""

    def __init__(self, found: Found) -> None:
        self._by_key: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
        for key, entry in found.items():
            kind, *rest = key.split()
            if kind in ("load", "ready", "overload"):
                rest = rest[1:]  # the round
            self._by_key.setdefault((kind, *rest), []).append(entry)

    def values(self, name: str, *key: str) -> list[float]:
        return [entry[name] for entry in self._by_key.get(key, []) if entry.get(name) is not None]

    def middle(self, name: str, *key: str) -> float | None:
        values = self.values(name, *key)
        return median(values) if values else None

    def parameters(self, *key: str) -> list[str]:
        """Return the last words of the keys that begin so, in the order of their numbers."""
        found = {full[-1] for full in self._by_key if full[: len(key)] == key and len(full) == len(key) + 1}
        return sorted(found, key=float)

    def peers(self) -> list[str]:
        return [peer for peer in TITLES if any(peer in key for key in self._by_key)]


INTRODUCTION = """\
Written by `make bench-peers` from what it measured; do not edit. Every server runs alone with the load generator on the
same machine, one worker process, as its documentation recommends for the model; batching servers batch up to 64.
Figures are medians over the rounds; a run during which the hypervisor gave more than 5 % of the processors' time to
others is repeated once."""

OVERLOAD = """\
Requests arrive at random times, whatever the server does (an open loop), at multiples of what the model can do at most.
Of the simulated one that is known; for the forest, a server of Kappa's without a target is asked before and after. Good
is an answer within the time; a latency counts from when the request should have been sent. The random forest computes
in Python, so it fights with its server for the interpreter's lock. With batches of 64 it would be so quick that three
times as much were more requests than one core can refuse ([what serving costs](benchmarks/serve.md)).

![Goodput against offered load](benchmarks/overload.svg)"""

START = "Seconds from the command to the first answer, and memory of all its processes then (`Pss`)."

THROUGHPUT = """\
Clients that ask again as soon as they are answered (a closed loop). *Kappa* is how many times as much Kappa answered in
the same rounds; CPU is that of all processes of the server, for each request.

![Requests a second by connections](benchmarks/throughput.svg)

![p99 latency by connections](benchmarks/latency.svg)"""

MEMORY = """\
Beyond a bare process that holds the same model and framework: of one worker with everything around it, and of one
worker more (MiB, `Pss`: what processes share is counted once)."""


def page(found: Found, *, versions: Mapping[str, str]) -> str:
    table = Table(found)
    peers = table.peers()
    named = ", ".join(f"{TITLES[peer]} {versions[peer]}" for peer in peers if peer in versions)
    when = f"{datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} processors, Python {sys.version.split()[0]}"
    parts = ["# Kappa beside its peers", INTRODUCTION, f"{when}; {named}.", "## Under overload", OVERLOAD]
    for model, title in OVERLOADED.items():
        parts += overload(table, peers, model, title)
    parts += ["## Start", START, start(table, peers), "## Throughput", THROUGHPUT]
    for model, title in MODELS.items():
        parts += throughput(table, peers, model, title)
    parts += ["## Memory", MEMORY, memory(table, peers), *soak(found)]
    return "\n\n".join(parts) + "\n"


def start(table: Table, peers: Sequence[str]) -> str:
    rows = [
        [
            TITLES[peer],
            shown(table.middle("seconds", "ready", peer, "iris"), 1),
            shown(table.middle("memory_mib", "ready", peer, "iris"), 0),
            shown(table.middle("seconds", "ready", peer, "forest"), 1),
            shown(table.middle("seconds", "ready", peer, "cnn"), 1),
        ]
        for peer in peers
    ]
    return markdown(["server", "iris, s", "iris, MiB", "forest, s", "network, s"], rows)


def overload(table: Table, peers: Sequence[str], model: str, title: str) -> list[str]:
    shares = table.parameters("overload", "kappa", model)
    if not shares:
        return []
    rows = []
    for peer in peers:
        goods = [share_of_saturation(table, peer, model, share) for share in shares]
        p99 = [shown(table.middle("p99_ms", "overload", peer, model, share), 0) for share in shares]
        rows.append([TITLES[peer], *[shown(good, 2) for good in goods], *p99])
    head = ["server", *(f"good at {share}x" for share in shares), *(f"p99 ms at {share}x" for share in shares)]
    saturation = median(
        [most for share in shares for most in table.values("saturation", "overload", "kappa", model, share)]
    )
    return [
        f"### {title[0].upper()}{title[1:]}",
        f"Goodput as a share of saturation ({saturation:.0f} requests a second), and p99 of the answers with 200.",
        markdown(head, rows),
    ]


def share_of_saturation(table: Table, peer: str, model: str, share: str) -> float | None:
    goods = table.values("goodput", "overload", peer, model, share)
    all_of = table.values("saturation", "overload", peer, model, share)
    return median(good / most for good, most in zip(goods, all_of, strict=True)) if goods else None


def throughput(table: Table, peers: Sequence[str], model: str, title: str) -> list[str]:
    counts = table.parameters("load", "kappa", model)
    if not counts:
        return []
    rows = []
    for peer in peers:
        row = [TITLES[peer]]
        for count in counts:
            rates = table.values("rate", "load", peer, model, count)
            ours = table.values("rate", "load", "kappa", model, count)
            times = [mine / theirs for mine, theirs in zip(ours, rates, strict=False) if theirs]
            row += [
                shown(median(rates), 0) if rates else "",
                f"{median(times):.1f}x" if times and peer != "kappa" else "",
                shown(table.middle("p99_ms", "load", peer, model, count), 1),
                shown(table.middle("cpu_us", "load", peer, model, count), 0),
            ]
        rows.append(row)
    head = ["server"]
    for count in counts:
        head += [f"{count}: req/s", "Kappa", "p99 ms", "CPU µs"]
    return [f"### {title[0].upper()}{title[1:]}", markdown(head, rows)]


def memory(table: Table, peers: Sequence[str]) -> str:
    rows = []
    for peer in peers:
        row = [TITLES[peer]]
        for model in ("iris", "forest"):
            bare = table.middle("memory_mib", "bare", peer, model)
            one = table.middle("memory_mib", "memory", peer, model, "1")
            two = table.middle("memory_mib", "memory", peer, model, "2")
            row += [
                shown(None if bare is None else bare, 0),
                shown(None if one is None or bare is None else one - bare, 0),
                shown(None if two is None or one is None else two - one, 0),
            ]
        rows.append(row)
    head = ["server", "iris, bare", "beyond it", "a worker more", "forest, bare", "beyond it", "a worker more"]
    return markdown(head, rows)


def soak(found: Found) -> list[str]:
    entry = found.get("soak")
    if entry is None:
        return []
    first, last = entry["memory_mib"][0], entry["memory_mib"][-1]
    text = (
        f"The iris model over {entry['connections']} connections for {entry['minutes']:g} minutes: "
        f"{entry['requests']:,} requests, {entry['errors']} errors, {entry['rate']:,.0f} a second; memory of the "
        f"server after a tenth of the time {first:.1f} MiB, at the end {last:.1f} MiB."
    )
    return [f"## {entry['minutes']:g} minutes at saturation", text]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def write(docs: Path, text: str, found: Found) -> None:
    table = Table(found)
    peers = table.peers()
    plots = docs / "benchmarks"
    plots.mkdir(exist_ok=True)
    (docs / "benchmarks.md").write_text(text, encoding="utf-8")
    (plots / "overload.svg").write_text(draw(overload_charts(table, peers)), encoding="utf-8")
    for name, value, unit in (("throughput", "rate", "requests a second"), ("latency", "p99_ms", "p99, milliseconds")):
        charts = [
            Chart(
                title.partition(",")[0].partition(":")[0],
                "connections",
                unit,
                {
                    TITLES[peer]: [
                        (float(count), middle)
                        for count in table.parameters("load", peer, model)
                        if (middle := table.middle(value, "load", peer, model, count)) is not None
                    ]
                    for peer in peers
                },
                log_x=True,
                log_y=True,
            )
            for model, title in MODELS.items()
        ]
        (plots / f"{name}.svg").write_text(draw(charts), encoding="utf-8")
    print(f"Wrote `{docs / 'benchmarks.md'}` and its plots.", file=sys.stderr)


def overload_charts(table: Table, peers: Sequence[str]) -> list[Chart]:
    charts = []
    for model, title in OVERLOADED.items():
        goods, latencies = {}, {}
        for peer in peers:
            shares = table.parameters("overload", peer, model)
            good = [(float(share), share_of_saturation(table, peer, model, share) or 0.0) for share in shares]
            goods[TITLES[peer]] = good
            latencies[TITLES[peer]] = [
                (float(share), table.middle("p99_ms", "overload", peer, model, share) or 0.0) for share in shares
            ]
        name = title.partition(":")[0].partition(";")[0].partition(",")[0]
        x_label = "offered, in multiples of saturation"
        charts.append(Chart(f"{name}: good answers", x_label, "share of saturation", goods))
        charts.append(Chart(f"{name}: p99 of what was answered", x_label, "milliseconds", latencies, log_y=True))
    return charts
