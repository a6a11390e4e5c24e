"""Many answers, each held against its own request, while workers are killed and versions exchanged.

A service with two workers is built and served as users do. 64 connections ask it without a pause: good requests of
several shapes, and between them bad neighbours, whose requests are malformed, are refused by the function, or make it
raise. Meanwhile workers are killed with SIGKILL, the version is exchanged (SIGHUP), and the server is stopped (SIGTERM)
and started again. Every answer says which request it answers, so a mix-up cannot go unseen.

    python tests/soaks/answers.py --answers 10000
    python tests/soaks/answers.py --answers 100000 --report docs/benchmarks/answers.md

Exits with 1 unless no answer is wrong or another's, no good request gets a 500, none gets "still loading" once
`/readyz` has said 200, none is reset but by a kill, and at most 1 % of the good ones are refused, all with
`Retry-After`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
CLIENTS = 64
MOST_REFUSED = 0.01
KILL_ECHO_S = 3.0
"""For so long after a kill, a connection may still be found dead by it."""
PATIENCE_S = 60.0

KAPPAFILE = """\
kappafile = 1
[service]
name = "Answers"
[bundle]
resolver = "installed"
[apis.items]
function = "handlers:items"
input = "json"
batch = true
[apis.rows]
function = "handlers:rows"
input = { type = "dataframe", columns = { n = "int64", x = "float64" } }
output = "json"
[apis.mixed]
function = "handlers:mixed"
input = "dataframe"
output = "json"
[[examples]]
name = "an item"
api = "items"
input = { n = 1, do = "good" }
"""
HANDLERS = """\
import hashlib
import time

from kappa.errors import BadInputError


def items(values):
    results = []
    for value in values:
        if value["do"] == "raise":
            raise ValueError(f"item {value['n']}")
        if value["do"] == "refuse":
            raise BadInputError(f"Item {value['n']} is refused.")
        if value["do"] == "slow":
            time.sleep(0.005)
        text = f"{value['n']}:{len(value.get('text', ''))}"
        results.append({"n": value["n"], "hash": hashlib.sha256(text.encode()).hexdigest()})
    return results


def rows(frame):
    if (frame["x"] < 0).any():
        raise ValueError("a negative x")
    return frame["n"] * 3 + frame["x"]


def mixed(frame):
    return (frame["n"] * 3 + frame["x"]).sample(frac=1)
"""


@dataclass
class Tally:
    """What came of the requests."""

    asked: Counter[str] = field(default_factory=Counter)
    came: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    refused: int = 0
    good: int = 0

    def fault(self, text: str) -> None:
        self.came["fault"] += 1
        if len(self.faults) < 50:
            self.faults.append(text)

    @property
    def answers(self) -> int:
        return self.came.total()

    @property
    def has_held(self) -> bool:
        return not self.came["fault"] and self.refused <= MOST_REFUSED * max(self.good, 1)


@dataclass(frozen=True)
class Question:
    """A request, and the answer that it alone must get: a status, and a body where that is known."""

    kind: str
    path: str
    body: bytes
    status: int
    expected: Any = None
    media_type: str = "application/json"

    @property
    def is_good(self) -> bool:
        return self.status == 200


def question(number: int, chance: random.Random) -> Question:
    """Return the request of this number."""
    kind = chance.choices(
        ("item", "slow", "large", "rows", "csv", "mixed", "malformed", "column", "raise", "negative", "refuse"),
        (40, 2, 3, 15, 5, 8, 6, 4, 5, 3, 5),
    )[0]
    if kind in ("item", "slow", "large", "raise", "refuse"):
        text = "x" * (80_000 + number % 7 if kind == "large" else number % 5)
        value = {"n": number, "do": kind if kind in ("slow", "raise", "refuse") else "good", "text": text}
        body = json.dumps(value).encode()
        if kind == "raise":
            return Question(kind, "/items", body, 500)
        if kind == "refuse":
            return Question(kind, "/items", body, 400, f"Item {number} is refused.")
        digest = hashlib.sha256(f"{number}:{len(text)}".encode()).hexdigest()
        return Question(kind, "/items", body, 200, {"n": number, "hash": digest})
    if kind == "malformed":
        path = chance.choice(("/items", "/rows", "/mixed"))
        return Question(kind, path, b'{"n": %d' % number, 400)
    if kind == "column":
        return Question(kind, "/rows", json.dumps([{"n": number}]).encode(), 422)
    count = chance.randint(1, 4)
    table = [{"n": number * 10 + place, "x": place / 4} for place in range(count)]
    if kind == "negative":
        return Question(kind, "/rows", json.dumps([{"n": number, "x": -1.0}]).encode(), 500)
    results = [row["n"] * 3 + row["x"] for row in table]
    if kind == "csv":
        text = "n,x\n" + "".join(f"{row['n']},{row['x']}\n" for row in table)
        return Question(kind, "/rows", text.encode(), 200, results, "text/csv")
    if kind == "mixed":
        return Question(kind, "/mixed", json.dumps(table).encode(), 200, results)
    return Question(kind, "/rows", json.dumps(table).encode(), 200, results)


async def eventually(holds: Callable[[], bool]) -> bool:
    """Wait until something holds, for a minute at most; return whether it does."""
    until = time.monotonic() + PATIENCE_S
    while not await asyncio.to_thread(holds):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.1)
    return True


class Service:
    """The server, and what is done to it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.is_up = asyncio.Event()
        self.killed_at = -1e9
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._environ = {**os.environ, "KAPPA_HOME": str(folder / "home")}
        self._log = folder / "log"

    def build(self) -> None:
        """Build the bundle."""
        (self._folder / "kappafile.toml").write_text(KAPPAFILE, encoding="utf-8")
        (self._folder / "handlers.py").write_text(HANDLERS, encoding="utf-8")
        self._kappa("build")

    def _kappa(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "kappa", *arguments]
        done = subprocess.run(command, cwd=self._folder, env=self._environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"`kappa {' '.join(arguments)}` failed:\n{done.stderr}")

    async def start(self) -> None:
        """Start it, and return once it has said that it is ready."""
        command = [sys.executable, "-m", "kappa", "serve-gunicorn", "Answers:latest", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "2"]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, cwd=self._folder, env=self._environ, stdout=log, stderr=log
            )
        if not await eventually(self._is_ready):
            raise SystemExit(f"The server did not become ready:\n{self.last_words()}")
        self.is_up.set()

    def last_words(self) -> str:
        """Return the end of its log."""
        return self._log.read_text(errors="replace")[-3000:]

    async def has_ended(self) -> None:
        """Return when it has ended though nobody asked it to."""
        while True:
            process = self._process
            assert process is not None
            await process.wait()
            if self._process is process and self.is_up.is_set():
                return
            await asyncio.sleep(0.05)

    def _is_ready(self) -> bool:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    @property
    def _master(self) -> int:
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """Return the process ids of its workers."""
        text = Path(f"/proc/{self._master}/task/{self._master}/children").read_text(encoding="ascii")
        return [int(pid) for pid in text.split()]

    async def kill_worker(self, chance: random.Random) -> None:
        """Kill one worker, and give the other time to be joined by the next one."""
        if len(pids := self.workers()) > 1:
            self.killed_at = time.monotonic()
            os.kill(chance.choice(pids), signal.SIGKILL)
            await eventually(lambda: len(self.workers()) > 1)
            await asyncio.sleep(KILL_ECHO_S)

    async def reload(self) -> None:
        """Exchange the version in each worker."""
        os.kill(self._master, signal.SIGHUP)
        await asyncio.sleep(3)

    async def restart(self) -> None:
        """Stop it, and start it anew when it has ended."""
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """Stop it; raises `SystemExit` unless it ends well."""
        self.is_up.clear()
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            if status := await asyncio.wait_for(self._process.wait(), PATIENCE_S):
                raise SystemExit(f"The server ended with {status}:\n{self.last_words()}")


class Client:
    """One connection after the other, each asked as long as the server keeps it."""

    def __init__(self, service: Service, tally: Tally, *, first: int, answers: int, seed: int) -> None:
        self._service = service
        self._tally = tally
        self._number = first
        self._answers = answers
        self._chance = random.Random(seed * 1000 + first)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        while self._tally.answers < self._answers:
            self._number += CLIENTS
            await self._ask(question(self._number, self._chance))
        self._leave()

    async def _ask(self, asked: Question) -> None:
        while self._writer is None:
            await self._service.is_up.wait()
            try:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._service.port)
            except OSError:
                await asyncio.sleep(0.05)  # nobody listens: a stop, or the moment after a kill
        self._tally.asked[asked.kind] += 1
        head = f"POST {asked.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {asked.media_type}\r\n"
        head += f"X-Request-Id: {asked.kind}-{self._number}\r\nContent-Length: {len(asked.body)}\r\n\r\n"
        try:
            self._writer.write(head.encode() + asked.body)
            await self._writer.drain()
            status, headers, body = await asyncio.wait_for(self._read(), PATIENCE_S)
        except (OSError, asyncio.IncompleteReadError) as exc:
            self._leave()
            if time.monotonic() - self._service.killed_at < KILL_ECHO_S:
                self._tally.came["lost with a killed worker"] += 1
            else:
                self._tally.fault(f"{asked.kind} {self._number} was reset: {exc!r}")
            return
        except asyncio.TimeoutError:
            self._leave()
            self._tally.fault(f"{asked.kind} {self._number} was not answered within {PATIENCE_S:g} s")
            return
        if headers.get("connection") == "close":
            self._leave()
        self._judge(asked, status, headers, body)

    async def _read(self) -> tuple[int, dict[str, str], bytes]:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = await self._reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body

    def _judge(self, asked: Question, status: int, headers: dict[str, str], body: bytes) -> None:
        tally, name = self._tally, f"{asked.kind}-{self._number}"
        tally.good += asked.is_good
        if headers.get("x-request-id") != name:
            tally.fault(f"{name} got the answer of {headers.get('x-request-id')}")
        elif status == 503:
            text = body.decode(errors="replace")
            if "loading" in text or "retry-after" not in headers:
                tally.fault(f"{name} got 503 with {headers.get('retry-after')!r}: {text}")
            else:
                tally.came["refused"] += 1
                tally.refused += asked.is_good
        elif status != asked.status:
            tally.fault(f"{name} got {status} instead of {asked.status}: {body[:300]!r}")
        else:
            found = json.loads(body)
            found = found.get("error") if asked.status == 400 else found
            if asked.expected is not None and found != asked.expected:
                tally.fault(f"{name} got {body[:300]!r} instead of {asked.expected!r}")
            else:
                tally.came[f"right, {status}"] += 1

    def _leave(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def soak(folder: Path, *, answers: int, seed: int, port: int, events: Sequence[str]) -> tuple[Tally, float]:
    """Ask until there are so many answers; ``events`` happen one after the other, evenly spread over them."""
    service, tally, chance = Service(folder, port), Tally(), random.Random(seed)
    service.build()
    await service.start()
    began = time.monotonic()
    clients = [Client(service, tally, first=number, answers=answers, seed=seed) for number in range(CLIENTS)]
    asking = asyncio.gather(*(client.run() for client in clients))
    doing = asyncio.create_task(_do(service, tally, events, answers=answers, chance=chance))
    ended = asyncio.create_task(service.has_ended())
    waited: set[asyncio.Future[Any]] = {asking, ended}
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            raise SystemExit(f"The server ended by itself:\n{service.last_words()}")
        await asking
    finally:
        elapsed = time.monotonic() - began
        for task in (asking, doing, ended):
            task.cancel()
        await asyncio.gather(doing, ended, return_exceptions=True)
        await service.stop()
    return tally, elapsed


async def _do(service: Service, tally: Tally, events: Sequence[str], *, answers: int, chance: random.Random) -> None:
    """Let the events happen, each once its share of the answers has come."""
    for number, event in enumerate(events, start=1):
        share = answers * number // (len(events) + 1)
        while tally.answers < share:  # noqa: ASYNC110 - a counter is no event
            await asyncio.sleep(0.05)
        tally.events[event] += 1
        if event == "kill":
            await service.kill_worker(chance)
        elif event == "reload":
            await service.reload()
        else:
            await service.restart()


def events_of(answers: int, chance: random.Random) -> list[str]:
    """Return an event for every thousand answers or so, as many kills as reloads and stops together."""
    rounds = max(1, answers // 5000)
    events = ["kill", "reload", "kill", "stop"] * rounds
    chance.shuffle(events)
    return events


def report_of(tally: Tally, *, answers: int, seed: int, elapsed: float) -> str:
    """Return the page."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True, check=False, cwd=ROOT
    ).stdout.strip()
    introduction = (__doc__ or "").partition("\n\n    python")[0]

    def rows(counter: Counter[str]) -> str:
        return "\n".join(f"| {name} | {count:,} |" for name, count in sorted(counter.items()))

    refused = tally.refused / max(tally.good, 1)
    return f"""# Answers under attack

Written by `make soak-answers`; do not edit.

{introduction}

Commit {commit}, {datetime.now(timezone.utc):%Y-%m-%d}, seed {seed}, {CLIENTS} connections, two workers,
{os.cpu_count()} processors, {answers:,} answers wanted, {elapsed:,.0f} s.

| what came | count |
|---|---:|
{rows(tally.came)}

Faults: {tally.came["fault"]}. Good requests refused: {tally.refused:,} of {tally.good:,} ({refused:.2%}).

| what was asked | count |
|---|---:|
{rows(tally.asked)}

| what was done to the server | times |
|---|---:|
{rows(tally.events)}
"""


def main(arguments: Sequence[str]) -> int:
    """Ask, and print or write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=17_871)
    parser.add_argument("--report", type=Path, help="where the report is written; it is printed otherwise")
    options = parser.parse_args(arguments)
    events = events_of(options.answers, random.Random(options.seed))
    with tempfile.TemporaryDirectory(prefix="kappa-answers-") as folder:
        tally, elapsed = asyncio.run(
            soak(Path(folder), answers=options.answers, seed=options.seed, port=options.port, events=events)
        )
    print("\n".join(tally.faults), file=sys.stderr)
    text = report_of(tally, answers=options.answers, seed=options.seed, elapsed=elapsed)
    if options.report is None:
        print(text)
    else:
        options.report.write_text(text, encoding="utf-8")
    return 0 if tally.has_held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
