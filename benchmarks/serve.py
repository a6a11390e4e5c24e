"""The iris API beside a constant answer on the same Falcon and gunicorn: what a prediction costs besides HTTP.

Four servers, one worker each, take turns under the same closed-loop load: a Falcon resource that reads the body and
answers three bytes (the *no-op limit* of server, ASGI and framework), a function that returns the JSON it got (what
Kappa itself adds: decoding, batching, encoding, metrics), the service of `examples/iris` (a class, whose method runs in
the API's own thread), and the same model without any code (its `predict` may run on the event loop). A request for an
API that arrives whole goes past ASGI and the framework, so Kappa can be faster than that limit. Rates move with
whatever else the machine does, so the servers take turns in one run, and beside each rate stands the CPU time that the
worker used per request, which moves less.

    python benchmarks/serve.py            # about a minute; --write puts the result into docs/benchmarks/serve.md
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

import falcon.asgi

from kappa.build.project import read_project
from kappa.server.machine import settle_memory, writable_directory
from kappa.server.options import ServerOptions
from kappa.server.ports import listen_on
from kappa.server.process.arbiter import run_arbiter
from kappa.server.process.launch import serve_gunicorn
from kappa.server.process.report import FirstStart, Report
from kappa.server.served import Served
from kappa.services.source import ServiceSource

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
CONNECTIONS = (1, 16, 128)
NAMES = {"noop": "no-op", "echo": "echo", "class": "iris class", "model": "iris model"}
ECHO = """
kappafile = 1
[service]
name = "Echo"
[apis.predict]
function = "handlers:predict"
batch = true
input = "json"
"""
ZERO_CODE = """
kappafile = 1
[service]
name = "IrisModel"
[artifacts.model]
type = "sklearn"
path = "model.joblib"
[apis.predict]
artifact = "model"
batch = true
input = "dataframe"
"""


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    port: int
    worker: int
    """The process id of its only worker."""


@dataclass(frozen=True)
class Sample:
    """One load run against one server."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


# -- what runs in the servers' processes -------------------------------------------------------------------------------


def serve(name: str, port: int, folder: Path) -> None:
    options = ServerOptions(host="127.0.0.1", port=port, workers=1)
    if name == "noop":
        serve_noop(options)
    else:
        serve_gunicorn([described(folder / name)], options)


def described(project_folder: Path) -> Served:
    project = read_project(project_folder)
    return Served.of(ServiceSource.of_project(project.spec, project.sources, root=project.root))


class Ready:
    """Says that the server may be asked."""

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.text = "ready"


def serve_noop(options: ServerOptions) -> None:
    class Constant:
        async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
            await req.stream.read()
            resp.data = b"[0]"
            resp.content_type = "application/json"

    def make_app() -> falcon.asgi.App[Any, Any]:
        app = falcon.asgi.App()
        app.add_route("/predict", Constant())
        app.add_route("/readyz", Ready())
        return app

    serve_app(make_app, options)


def serve_app(make_app: Callable[[], Any], options: ServerOptions) -> None:
    """Serve an application of ASGI as Kappa serves its own."""

    def make_settled_app() -> Any:
        app = make_app()
        settle_memory()  # as the worker of a service does
        return app

    run_arbiter(
        make_settled_app,
        [listen_on(options.host, options.port)],
        options,
        workers=1,
        report=Report(),
        first_start=FirstStart(1),
        writable=writable_directory(),
        shared=None,
    )


# -- what measures them ------------------------------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """Train the example's model and lay out the projects."""
    (folder / "echo").mkdir()
    (folder / "echo" / "handlers.py").write_text("def predict(values):\n    return values\n", encoding="utf-8")
    (folder / "echo" / "kappafile.toml").write_text(ECHO, encoding="utf-8")
    shutil.copytree(
        ROOT / "examples" / "iris", folder / "class", ignore=shutil.ignore_patterns("*.joblib", "__pycache__")
    )
    subprocess.run([sys.executable, "train.py"], cwd=folder / "class", check=True, stdout=subprocess.DEVNULL)
    (folder / "model").mkdir()
    shutil.copy(folder / "class" / "model.joblib", folder / "model")
    (folder / "model" / "kappafile.toml").write_text(ZERO_CODE, encoding="utf-8")


@contextmanager
def running(folder: Path, *, first_port: int) -> Iterator[list[Server]]:
    """Start all servers and stop them at the end."""
    masters = []
    try:
        for number, name in enumerate(NAMES):
            command = [
                sys.executable,
                __file__,
                "--serve",
                name,
                "--port",
                str(first_port + number),
                "--folder",
                str(folder),
            ]
            masters.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        servers = []
        for number, (name, master) in enumerate(zip(NAMES, masters, strict=True)):
            await_ready(first_port + number, master)
            children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text(encoding="ascii").split()
            servers.append(Server(name, first_port + number, int(children[0])))
        yield servers
    finally:
        for master in masters:
            master.terminate()
        for master in masters:
            master.wait(10)


def await_ready(port: int, master: subprocess.Popen[bytes], *, patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while not is_ready(port):
        if time.monotonic() > deadline or master.poll() is not None:
            raise SystemExit(f"The server on port {port} did not become ready.")
        time.sleep(0.1)


def is_ready(port: int) -> bool:
    with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):  # also one that is late
        return True
    return False


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(
    name: str, port: int, *arguments: str, connections: int, seconds: float, may_refuse: bool = False
) -> dict[str, Any]:
    """Load the server at a port by the load generator, and return what it found; anything but 200 ends the benchmark.

    ``name`` is what a failure calls the server; the loop is closed if ``arguments`` ask for nothing else.
    """
    command = [sys.executable, str(ROOT / "benchmarks" / "load.py"), f"127.0.0.1:{port}/predict", *arguments]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    outcome: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if not may_refuse and (set(outcome["statuses"]) != {"200"} or outcome["lost"]):
        raise SystemExit(f"{name} with {connections} connections: {outcome}")
    return outcome


def sample(server: Server, *arguments: str, connections: int, seconds: float, may_refuse: bool = False) -> Sample:
    """Load a server once (see `load`); with a target among ``arguments``, the rate is that of the answers within it."""
    before = cpu_seconds(server.worker)
    name = NAMES.get(server.name, server.name)
    found = load(name, server.port, *arguments, connections=connections, seconds=seconds, may_refuse=may_refuse)
    cpu_us = 1e6 * (cpu_seconds(server.worker) - before) / found["requests"]
    return Sample(found.get("goodput", found["rate"]), found["p50_ms"], found["p99_ms"], cpu_us)


def measure(servers: list[Server], *, rounds: int, seconds: float) -> dict[tuple[str, int], list[Sample]]:
    samples: dict[tuple[str, int], list[Sample]] = {}
    for server in servers:
        sample(server, connections=16, seconds=1.0)  # the first thousands of requests teach the estimators
    for number in range(rounds):
        for connections in CONNECTIONS:
            for server in servers if number % 2 == 0 else reversed(servers):
                found = sample(server, connections=connections, seconds=seconds)
                samples.setdefault((server.name, connections), []).append(found)
    return samples


def report(samples: dict[tuple[str, int], list[Sample]]) -> list[str]:
    """Return the table; every figure is the median over the rounds, a ratio is the median of each round's ratio."""
    lines = [
        "| connections | server | requests/s | of the limit | p50 ms | p99 ms | CPU µs/request | of the limit |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for connections in CONNECTIONS:
        limit = samples["noop", connections]
        for name, title in NAMES.items():
            own = samples[name, connections]
            rates = [mine.rate / noop.rate for mine, noop in zip(own, limit, strict=True)]
            costs = [mine.cpu_us / noop.cpu_us for mine, noop in zip(own, limit, strict=True)]
            lines.append(
                f"| {connections} | {title} | {median(s.rate for s in own):,.0f} | {median(rates):.2f} | "
                f"{median(s.p50_ms for s in own):.2f} | {median(s.p99_ms for s in own):.2f} | "
                f"{median(s.cpu_us for s in own):.0f} | {median(costs):.2f} |"
            )
    return lines


def page(table: list[str], *, rounds: int, seconds: float) -> str:
    names = ("falcon", "gunicorn", "uvloop", "pandas", "scikit-learn")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    introduction = (__doc__ or "").rpartition("\n\n")[0]
    return f"""# What serving a prediction costs

Written by `python benchmarks/serve.py --write`; do not edit.

{introduction}

{chr(10).join(table)}

Closed loop, one row of four numbers per request, {rounds} rounds of {seconds:g} s for each line, medians over the
rounds. The load generator shares the processors with the server.

{datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} processors, Python {sys.version.split()[0]}, {packages}.
"""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each load run")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/serve.md")
    parser.add_argument("--port", type=int, default=17810)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve, options.port, options.folder)
        return
    with tempfile.TemporaryDirectory(prefix="kappa-bench-") as name:
        folder = Path(name)
        prepare(folder)
        with running(folder, first_port=options.port) as servers:
            samples = measure(servers, rounds=options.rounds, seconds=options.seconds)
    table = report(samples)
    print("\n".join(table))
    if options.write:
        path = ROOT / "docs" / "benchmarks" / "serve.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(table, rounds=options.rounds, seconds=options.seconds), encoding="utf-8")
        print(f"Wrote {path.relative_to(ROOT)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
