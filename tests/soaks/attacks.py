"""Every known attack on a running service, at both doors, and what it does to the service and to its other clients.

A service with an API for every kind of input is built and served as users do, by `kappa serve-gunicorn` and by
`kappa serve --server uvicorn`, with one worker. One attack after the other is carried out, several requests at a time,
each for some seconds. Meanwhile another client asks something small fifty times a second, and now and then with a body
of 100 KB. Memory is the largest resident size of all the server's processes during the attack (`VmHWM`).

    python tests/soaks/attacks.py --short --door uvicorn
    python tests/soaks/attacks.py --report docs/benchmarks/attacks.md

Exits with 1 if any answer is not one of those that are right, a worker has died, the log holds a traceback or a forged
line, the others were not answered rightly, or memory grew by more than 1 GiB from that of the idle service; and unless
`--short` is given, if the small requests' p99 grew by more than 250 ms, or any took longer than a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "server"))

from tests.server.busy_clients import Busy, asking
from tests.soaks.attack import Attack, Came, Target, ask, head
from tests.soaks.attack_bodies import body_attacks
from tests.soaks.attack_connections import FORGED, connection_attacks

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOORS = ("gunicorn", "uvicorn")
MOST_GROWTH_MIB = 1024
MOST_P99_GROWTH_MS = 250
MOST_MS = 1000
MOST_REFUSED = 0.01
SECONDS = 3.0
PATIENCE_S = 60.0
READY = "Ready."

KAPPAFILE = """\
kappafile = 1
[service]
name = "Attacked"
web_static_content = "static"
[bundle]
resolver = "installed"
[apis.double]
function = "handlers:double"
input = "json"
batch = true
[apis.length]
function = "handlers:length"
input = "json"
[apis.json]
function = "handlers:length"
input = "json"
[apis.typed]
function = "handlers:length"
input = { type = "json", schema = "handlers:Order" }
[apis.text]
function = "handlers:length"
input = "string"
[apis.frame]
function = "handlers:rows"
input = "dataframe"
batch = true
[apis.declared]
function = "handlers:rows"
input = { type = "dataframe", columns = { a = "int64", b = { dtype = "float64", nullable = true }, c = "str" } }
[apis.array]
function = "handlers:length"
input = "ndarray"
[apis.floats]
function = "handlers:length"
input = { type = "ndarray", dtype = "float32" }
[apis.words]
function = "handlers:length"
input = { type = "ndarray", dtype = "str" }
[apis.picture]
function = "handlers:length"
input = "image"
[apis.painting]
function = "handlers:look_at"
input = "image"
[apis.pictures]
function = "handlers:both"
input = { type = "multi_image", input_names = ["left", "right"] }
[apis.annotated]
function = "handlers:both"
input = "annotated_image"
[apis.file]
function = "handlers:none"
input = "file"
[apis.wait]
function = "handlers:wait"
input = "json"
[apis.poison]
function = "handlers:length"
input = { type = "json", schema = "handlers:Poison" }
[apis.leave]
function = "handlers:leave"
input = "json"
"""
HANDLERS = """\
import os
import time
from pathlib import Path

from pydantic import BaseModel, field_validator

if folder := os.environ.get("ATTACKS_FOLDER"):
    try:
        Path(folder, "first").touch(exist_ok=False)
    except FileExistsError:
        time.sleep(2)


class Order(BaseModel):
    item: str
    count: int


class Poison(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def check(cls, text):
        time.sleep(3600)


def double(values):
    return [2 * value for value in values]


def length(value):
    try:
        return len(value)
    except TypeError:
        return -1


def rows(frame):
    return [0] * len(frame)


def look_at(picture):
    time.sleep(0.3)
    return list(picture.shape)


def both(first, second):
    return 2


def none(file):
    return 0


def wait(seconds):
    time.sleep(seconds)
    return seconds


def leave(how):
    if how < 0:
        os.kill(os.getpid(), -how)
        time.sleep(60)
    os._exit(how)
"""


class Service:
    """The bundle, and the server that serves it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._folder = folder
        self._log = folder / "log"
        self._environ = {**os.environ, "KAPPA_HOME": str(folder / "home")}
        self._process: subprocess.Popen[bytes]

    def build(self) -> None:
        """Build the bundle."""
        (self._folder / "kappafile.toml").write_text(KAPPAFILE, encoding="utf-8")
        (self._folder / "handlers.py").write_text(HANDLERS, encoding="utf-8")
        (self._folder / "static").mkdir()
        (self._folder / "static" / "big.bin").touch()
        os.truncate(self._folder / "static" / "big.bin", 64 << 20)
        command = [sys.executable, "-m", "kappa", "build"]
        done = subprocess.run(command, cwd=self._folder, env=self._environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"`kappa build` failed:\n{done.stderr}")

    def start(self, door: str, *, workers: int = 1, **environ: str) -> None:
        """Start it; return at once."""
        self._log.write_bytes(b"")
        how = ["serve-gunicorn", "Attacked:latest", "--workers", str(workers)]
        if door == "uvicorn":
            how = ["serve", "Attacked:latest", "--server", "uvicorn"]
        command = [sys.executable, "-m", "kappa", *how, "--host", "127.0.0.1", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env={**self._environ, **environ}, stdout=log, stderr=log
            )

    def wait_for(self, text: str, *, times: int = 1) -> None:
        """Wait until its log says this so many times."""
        until = time.monotonic() + PATIENCE_S
        while self.log().count(text) < times:
            if self._process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"The server did not say `{text}`:\n{self.log()[-3000:]}")
            time.sleep(0.02)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def pids(self) -> list[int]:
        """Return its process, and those of its workers."""
        master = self._process.pid
        with suppress(OSError):
            children = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii")
            return [master, *map(int, children.split())]
        return []

    def forget_peak(self) -> None:
        """Let the largest memory be that of now."""
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")

    def peak_mib(self) -> float:
        """Return the largest resident memory since then, of all its processes."""
        peaks = 0
        for pid in self.pids():
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
            peaks += int(found[1]) if found else 0
        return peaks / 1024

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        """Return its exit status, once it has ended."""
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        """End it by force if it still runs."""
        for pid in reversed(self.pids()) if self._process.poll() is None else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


class Neighbour:
    """The client that asks all the time, in a process of its own."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "neighbour.py"), str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def took(self) -> dict[str, Any]:
        """Return what came since the last time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def leave(self) -> None:
        self._process.communicate()


@dataclass(frozen=True)
class Row:
    """What one attack did at one door."""

    title: str
    door: str
    answers: Counter[str]
    slowest_s: float
    growth_mib: float = 0
    others: dict[str, Any] = field(default_factory=dict)
    faults: Sequence[str] = ()


class Trial:
    """One door, attacked."""

    def __init__(self, service: Service, door: str, *, seconds: float) -> None:
        self._service = service
        self._door = door
        self._target = Target(service.port, seconds)
        self._idle_mib = 0.0
        self._idle: dict[str, Any] = {}
        self._pids: list[int] = []

    def rows(self, attacks: Sequence[Attack]) -> Iterator[Row]:
        """Carry out the attacks on a server with one worker; the last row is its stop."""
        self._service.start(self._door)
        try:
            self._service.wait_for(READY)
            neighbour = Neighbour(self._service.port)
            yield self._idle_row(neighbour)
            for attack in attacks:
                if not (attack.is_long and self._target.is_short):
                    yield self._row(attack, neighbour)
            neighbour.leave()
            yield self._stop_row()
        finally:
            self._service.kill()

    def _idle_row(self, neighbour: Neighbour) -> Row:
        """See what the service is when it is left alone."""
        neighbour.took()  # what is slow for the first time has been
        self._service.forget_peak()
        time.sleep(3 * self._target.seconds or 0.5)
        self._pids = self._service.pids()
        self._idle = neighbour.took()
        self._idle_mib = self._service.peak_mib()
        return Row("none", self._door, Counter(), 0, 0, self._idle, self._idle["wrong"])

    def _row(self, attack: Attack, neighbour: Neighbour) -> Row:
        came, read = Came(), len(self._service.log())
        self._service.forget_peak()
        began = time.monotonic()
        attack.act(self._target, came)
        time.sleep(max(0.0, self._target.seconds - (time.monotonic() - began)))
        others = neighbour.took()
        growth = self._service.peak_mib() - self._idle_mib
        faults = [*came.wrong, *(f"another client: {text}" for text in others["wrong"])]
        faults += _faults_of_log(self._service.log()[read:])
        if self._service.pids() != self._pids:
            faults.append("a process of the server has ended")
            self._pids = self._service.pids()
        if growth > MOST_GROWTH_MIB:
            faults.append(f"memory grew by {growth:,.0f} MiB")
        if others["refused"] > MOST_REFUSED * others["answers"]:
            faults.append(f"{others['refused']} requests of others were refused")
        if not self._target.is_short:
            faults += self._delays(others)
        return Row(attack.title, self._door, came.answers, came.slowest_s, growth, others, faults)

    def _delays(self, others: dict[str, Any]) -> Iterator[str]:
        if others["p99_ms"] is None:
            yield "nothing of others was answered"
            return
        if others["p99_ms"] > self._idle["p99_ms"] + MOST_P99_GROWTH_MS:
            yield f"the others' p99 was {others['p99_ms']:,.0f} ms"
        if others["max_ms"] > MOST_MS:
            yield f"another client waited {others['max_ms']:,.0f} ms"

    def _stop_row(self) -> Row:
        """Stop the server under load: nobody may be reset."""
        busy = Busy(self._service.port)

        async def stop() -> None:
            await busy.have_answers(300)
            self._service.signal(signal.SIGTERM)

        began = time.monotonic()
        asyncio.run(asking(busy, 64, stop))
        status = self._service.end()
        faults = [name for name in busy.seen if name not in {"answered", "told to close", "not connected"}]
        if status:
            faults.append(f"the server ended with {status}")
        return Row("M2 a stop under load", self._door, busy.seen, time.monotonic() - began, faults=faults)

    def rows_of_two_workers(self) -> Iterator[Row]:
        """Start two workers, of which one is slow to load, and let workers leave."""
        with tempfile.TemporaryDirectory() as folder:
            self._service.start(self._door, workers=2, ATTACKS_FOLDER=folder)
            try:
                yield self._ready_row()
                yield self._leave_row()
                self._service.signal(signal.SIGTERM)
                self._service.end()
            finally:
                self._service.kill()

    def _ready_row(self) -> Row:
        came, ready = Came(), False
        began = time.monotonic()
        until = began + PATIENCE_S
        while not ready and time.monotonic() < until:
            with suppress(OSError):
                ready = ask(self._target, head("/readyz", "Connection: close", method="GET"))[0] == 200
        for _ in range(300):
            came.take("after `/readyz`", self._asked(), frozenset({200}))
        return Row("H6 ready while another worker loads", self._door, came.answers, 0, faults=came.wrong)

    def _asked(self) -> int | str:
        sent = head("/double", "Content-Type: application/json", "Content-Length: 1", "Connection: close") + b"4"
        try:
            return ask(self._target, sent)[0]
        except OSError:
            return "refused"

    def _leave_row(self) -> Row:
        """Let a worker end in every way; the other goes on, and another takes its place."""
        came, gone = Came(), frozenset[int | str]({"closed", "reset"})
        ways = (
            (3, 4)
            if self._target.is_short
            else (0, 1, 2, 3, 4, 5, 255, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGKILL)
        )
        slowest = 0.0
        for way in ways:
            ready = self._service.log().count(READY)
            body = b"%d" % way
            sent = head("/leave", "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close")
            came.take(f"leaving by {way}", ask(self._target, sent + body)[0], gone)
            began = time.monotonic()
            came.take(f"another, at once after {way}", self._asked(), frozenset[int | str]({200}) | gone)
            self._service.wait_for(READY, times=ready + 1)
            slowest = max(slowest, time.monotonic() - began)
            for _ in range(20):
                came.take(f"another after {way}", self._asked(), frozenset({200}))
        return Row("H5 workers that leave", self._door, came.answers, slowest, faults=came.wrong)


def _faults_of_log(text: str) -> Iterator[str]:
    if "Traceback" in text:
        yield f"the log holds a traceback: {text[text.index('Traceback') :][-600:]}"
    if any(line.startswith(FORGED) for line in text.splitlines()):
        yield "a client wrote a line into the log"


def attacks() -> list[Attack]:
    """Return all of them, in the order of their names."""
    return sorted([*body_attacks(), *connection_attacks()], key=lambda attack: attack.title)


def tried(service: Service, doors: Sequence[str], *, seconds: float, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """Attack one door after the other."""
    chosen = [attack for attack in attacks() if wanted(attack.title)]
    service.build()
    for door in doors:
        yield from Trial(service, door, seconds=seconds).rows(chosen)
        if door == "gunicorn":
            yield from Trial(service, door, seconds=seconds).rows_of_two_workers()


def report_of(rows: Sequence[Row], *, seconds: float) -> str:
    """Return the page."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True, check=False, cwd=ROOT
    ).stdout.strip()
    introduction = (__doc__ or "").partition("\n\n    python")[0]
    packages = ", ".join(f"{name} {version(name)}" for name in ("gunicorn", "uvicorn", "pyarrow", "numpy", "pillow"))
    faults = [f"- {row.title}, {row.door}: {fault}" for row in rows for fault in row.faults]
    table = "\n".join(map(line_of, rows))
    return f"""# Attacks

Written by `make soak-attacks`; do not edit.

{introduction}

Commit {commit}, {datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} processors, Python
{sys.version.split(maxsplit=1)[0]}, {packages}; each attack goes on for {seconds:g} s at least.

- *answers*: what the attackers got, each of which must be one of those that are right for its request;
- *slowest*: for how long one of them waited, though others of them were served meanwhile;
- *memory*: how much more than idle it was at most, of {MOST_GROWTH_MIB:,} MiB;
- *others*: right answers to the other client; *p99* may be {MOST_P99_GROWTH_MS} ms over that of no attack, and *max*
  {MOST_MS:,} ms;
- *larger*: the longest that its bodies of 100 KB took, which wait for the threads that decode what attackers send.

| attack | door | answers | slowest, s | memory, MiB | others | p99, ms | max, ms | larger, ms |
|---|---|---|---:|---:|---:|---:|---:|---:|
{table}

Faults: {len(faults)}.
""" + ("\n" + "\n".join(faults) + "\n" if faults else "")


def line_of(row: Row) -> str:
    """Return a row of the table."""
    answers = ", ".join(f"{name} × {count:,}" for name, count in sorted(row.answers.items()))
    others = row.others
    times = [
        f"{others[name]:,.0f}" if others.get(name) is not None else "" for name in ("p99_ms", "max_ms", "larger_ms")
    ]
    memory = f"{row.growth_mib:+,.0f}" if others else ""
    slowest = f"{row.slowest_s:,.1f}" if row.slowest_s else ""
    cells = [row.title, row.door, answers, slowest, memory, f"{others['answers']:,}" if others else "", *times]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> int:
    """Attack, and print or write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="send everything once, and judge no times")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for each attack ({SECONDS:g})")
    parser.add_argument("--door", choices=DOORS, help="both if not given")
    parser.add_argument("--only", default="", help="a regular expression that titles match")
    parser.add_argument("--port", type=int, default=27_871)
    parser.add_argument("--report", type=Path, help="where the report is written; it is printed otherwise")
    options = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    seconds = 0.0 if options.short else options.seconds
    rows = []
    with tempfile.TemporaryDirectory(prefix="kappa-attacks-") as folder:
        service = Service(Path(folder), options.port)
        doors = (options.door,) if options.door else DOORS
        for row in tried(service, doors, seconds=seconds, wanted=lambda title: bool(re.search(options.only, title))):
            rows.append(row)
            print(line_of(row), *row.faults, sep="\n  ", file=sys.stderr, flush=True)
    text = report_of(rows, seconds=seconds)
    if options.report is None:
        print(text)
    else:
        options.report.write_text(text, encoding="utf-8")
    return 1 if any(row.faults for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
