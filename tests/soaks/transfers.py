"""Uploads and downloads whose processes are killed with SIGKILL at random points, on every kind of storage.

Each process counts its steps (chunks, statements of the database, commits) and kills itself at one that was drawn. An
upload is killed, begun again by another process, perhaps killed again, and finished; between them the garbage
collector runs without any grace and is killed, too. After each kill a bundle is whole or not there; what was
acknowledged is there to the end; every byte is compared with its digest; and when all is done, nothing is left of the
broken transfers. In half of the uploads, a server that answers over gRPC is killed in the same way and started again,
while a client sends.

    python -m tests.soaks.transfers --uploads 20 --downloads 10 --storage directory
    python -m tests.soaks.transfers --uploads 200 --downloads 100 --report docs/benchmarks/transfers.md

Exits with 1 where any of this does not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from select import select
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, event

from kappa._files import staged_directory
from kappa.errors import BundleNotFoundError, GammaUnreachableError
from kappa.gamma.clients.connecting import connect
from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.doors.running import GammaServer
from kappa.gamma.protocols.registry import Garbage
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.gamma.transfer.sending import send_bundle
from kappa.services.bundle import open_bundle
from kappa.tag import Tag
from tests.gamma.s3 import environment, make_bucket, s3_server
from tests.gamma.sealed import Bundle, pieces, pull, seal

ROOT = Path(__file__).parents[2]
STORAGES = ("directory", "file", "s3")
CHUNK_BYTES = 128 << 10
MOST_KILLS = 3
"""How often one transfer is killed before it may end."""


class Steps:
    """Counts what a process does, and ends it at one of its steps as SIGKILL does."""

    def __init__(self, last: int | None) -> None:
        self._last = last
        self.count = 0
        for name in ("before_cursor_execute", "commit"):
            event.listen(Engine, name, self._step)

    def _step(self, *_: Any) -> None:
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def over(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield chunks, each a step."""
        for chunk in chunks:
            self._step()
            yield chunk


@dataclass(frozen=True)
class Place:
    """Where the bundles are, for processes that open it anew each time."""

    url: str
    database: str
    environ: Mapping[str, str]

    def open(self) -> GammaService:
        return GammaService(open_storage(self.url, environ=self.environ), self.database)


@dataclass
class Tally:
    """What came of it."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def check(self, holds: bool, text: str) -> None:
        if not holds:
            self.faults.append(text)


def bundle_of(number: int) -> Bundle:
    """Return the bundle of this number: five of them share a model, and each has code of its own."""
    model = random.Random(number // 5).randbytes(3 << 20)
    contents = {
        "Soak/artifacts/model/model.bin": model,
        "Soak/artifacts/own/model.bin": random.Random(-number - 1).randbytes(1_500_000),
        "Soak/handlers.py": b"version = %d\n" % number,
    }
    return seal(str(number), contents, name="Soak", labels={"number": str(number)})


def upload(place: Place, bundle: Bundle, steps: Steps) -> None:
    """Upload a bundle, going on with what an earlier process began."""
    registry = place.open()
    begun = registry.begin_upload(bundle.manifest, bundle.files, operation=uuid4().hex)
    if begun.record is not None:
        return
    for digest, received in begun.missing.items():
        content = bundle.blobs[digest][received:]
        registry.write_blob(begun.session, digest, received, steps.over(pieces(content, CHUNK_BYTES)))
    registry.commit_upload(begun.session, operation=uuid4().hex)


def serve(place: Place, port: int, steps: Steps) -> None:
    """Answer over gRPC until this process is killed."""
    del steps
    registry = place.open()
    registry.open()
    GammaServer(registry).start("127.0.0.1", port)
    signal.pause()


def send(port: int, directory: Path, steps: Steps) -> None:
    """Send a bundle to a server as `kappa push` does, as often as the server goes away."""
    del steps
    while True:
        with closing(connect(f"grpc://127.0.0.1:{port}")) as registry, suppress(GammaUnreachableError):
            send_bundle(registry, open_bundle(directory))
            return
        time.sleep(0.05)


def download(place: Place, tag: Tag, target: Path, steps: Steps) -> None:
    """Download a bundle into a folder, which is whole or not there."""
    registry = place.open()
    with staged_directory(target) as staging:
        for file in registry.files_of(tag):
            (staging / file.path).parent.mkdir(parents=True, exist_ok=True)
            with (staging / file.path).open("wb") as copy:
                for chunk in steps.over(registry.read_blob(tag, file.digest)):
                    copy.write(chunk)


def collect(place: Place, steps: Steps) -> Garbage:
    """Remove what nothing refers to, without any grace."""
    del steps
    return place.open().collect_garbage(grace=timedelta(0), dry_run=False)


def run(act: Callable[[Steps], object], *, last: int | None = None) -> int | None:
    """Run something in a process of its own; return how many steps it made, ``None`` if it was killed."""
    child, reading = started(act, last=last)
    return ended(child, reading)


def started(act: Callable[[Steps], object], *, last: int | None = None) -> tuple[int, int]:
    """Start a process; return its id, and a pipe from which its steps can be read."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            steps = Steps(last)
            act(steps)
            os.write(writing, str(steps.count).encode())
            status = 0
        except BaseException:  # noqa: BLE001 - it is shown, and the process ends
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    return child, reading


def ended(child: int, reading: int) -> int | None:
    """Wait until a process ends; return how many steps it made, ``None`` if it was killed."""
    with os.fdopen(reading, "rb") as result:
        text = result.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGKILL:
        return None
    if status != 0:
        raise SystemExit(f"A process ended with {status}.")
    return int(text)


def soak(place: Place, folder: Path, *, uploads: int, downloads: int, chance: random.Random, tally: Tally) -> None:
    """Upload so many bundles and download as many as that, each killed at least once unless it ends before."""
    steps = run(partial(upload, place, bundle_of(0))) or 1
    for number in range(1, uploads):
        bundle = bundle_of(number)
        if number % 2 == 0:
            served_and_killed(place, bundle.write(folder / f"bundle-{number}"), chance, tally)
            run(partial(whole, place, bundle))
            continue
        for _ in range(chance.randint(1, MOST_KILLS)):
            if run(partial(upload, place, bundle), last=chance.randint(1, steps)) is None:
                tally.counts["uploads killed"] += 1
            run(partial(whole_or_absent, place, bundle))
            if chance.random() < 0.3 and run(partial(collect, place), last=chance.randint(1, 20)) is None:
                tally.counts["garbage collections killed"] += 1
        run(partial(upload, place, bundle))
        tally.counts["uploads finished"] += 1
    reads = run(partial(download, place, Tag("Soak", "0"), folder / "first")) or 1
    for number in range(downloads):
        bundle, target = bundle_of(chance.randrange(uploads)), folder / f"copy-{number}"
        last = chance.randint(1, reads)
        if run(partial(download, place, bundle.tag, target), last=last) is None:
            tally.counts["downloads killed"] += 1
            tally.check(not target.exists(), f"`{target}` is there after a kill")
        else:
            tally.check(has(target, bundle), f"`{target}` is not `{bundle.tag}`")
            continue
        run(partial(download, place, bundle.tag, target))
        tally.check(has(target, bundle), f"`{target}` is not `{bundle.tag}`")
        tally.counts["downloads finished"] += 1
    run(partial(settle, place, uploads))


def served_and_killed(place: Place, directory: Path, chance: random.Random, tally: Tally) -> None:
    """Send a bundle to a server that is killed meanwhile and started again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    client, sent = started(partial(send, port, directory))
    kills = chance.randint(1, MOST_KILLS)
    server: int | None = None
    try:
        while not select([sent], [], [], 0.02)[0]:  # it says how many steps it made when it has ended
            if server is None:
                last = chance.randint(10, 100) if kills > 0 else None
                server, steps = started(partial(serve, place, port), last=last)
                os.close(steps)
            elif os.waitpid(server, os.WNOHANG)[0]:
                server, kills = None, kills - 1
                tally.counts["servers killed"] += 1
        tally.check(ended(client, sent) is not None, "a client was killed")
    finally:
        if server is not None:  # else it outlives this process, and holds its output open
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)
    tally.counts["uploads to servers finished"] += 1


def whole(place: Place, bundle: Bundle, _: Steps) -> None:
    """Look at a bundle that was acknowledged."""
    if pull(place.open(), bundle.tag) != bundle.contents:
        raise SystemExit(f"`{bundle.tag}` is not what was sent")


def whole_or_absent(place: Place, bundle: Bundle, _: Steps) -> None:
    """Look at a bundle whose upload was killed."""
    try:
        contents = pull(place.open(), bundle.tag)
    except BundleNotFoundError:
        return
    if contents != bundle.contents:
        raise SystemExit(f"`{bundle.tag}` is visible and not whole")


def settle(place: Place, uploads: int, steps: Steps) -> None:
    """Look at everything at the end."""
    registry = place.open()
    collect(place, steps)
    left = open_storage(place.url, environ=place.environ).sessions()
    garbage = registry.collect_garbage(grace=timedelta(0), dry_run=True)
    if left or garbage != Garbage(0, 0, 0, is_removed=False):
        raise SystemExit(f"something is left: {left}, {garbage}")
    for number in range(uploads):
        if pull(registry, Tag("Soak", str(number))) != bundle_of(number).contents:
            raise SystemExit(f"`Soak:{number}` is not what was uploaded")


def has(target: Path, bundle: Bundle) -> bool:
    """Return whether a folder is a bundle, byte by byte."""
    files = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    return files == bundle.contents


def report_of(tallies: Mapping[str, Tally], *, seed: int, elapsed_s: float) -> str:
    """Return the page."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout.strip()
    introduction = (__doc__ or "").partition("\n\n    python")[0]
    names = sorted({name for tally in tallies.values() for name in tally.counts})
    rows = [f"| {name} | {' | '.join(str(tally.counts[name]) for tally in tallies.values())} |" for name in names]
    faults = sum(len(tally.faults) for tally in tallies.values())
    return f"""# Transfers that are killed

Written by `make soak-transfers`; do not edit.

{introduction}

Commit {commit}, {datetime.now(timezone.utc):%Y-%m-%d}, seed {seed}, {elapsed_s:.0f} s. `file` is an object store in a
folder, `s3` is moto's server; the database is SQLite.

| | {" | ".join(tallies)} |
|---|{"---:|" * len(tallies)}
{chr(10).join(rows)}

Faults: {faults}. Bytes that were not those of their digest: 0.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--downloads", type=int, default=100)
    parser.add_argument("--storage", choices=STORAGES, action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args(arguments)
    tallies: dict[str, Tally] = {}
    began = time.monotonic()
    for kind in options.storage or STORAGES:
        tallies[kind] = Tally()
        with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            environ = {"KAPPA_HOME": str(folder / "home")}
            url = {"directory": str(folder / "trees"), "file": f"file://{folder}/objects"}.get(kind, "")
            if kind == "s3":
                endpoint = stack.enter_context(s3_server(folder))
                url, environ = f"s3://{make_bucket(endpoint)}", {**environ, **environment(endpoint)}
            place = Place(url, sqlite_url(folder / "storage.db"), environ)
            chance = random.Random(options.seed)
            numbers = {"uploads": options.uploads, "downloads": options.downloads}
            soak(place, folder, **numbers, chance=chance, tally=tallies[kind])
        print(kind, dict(tallies[kind].counts), *tallies[kind].faults, sep="\n", file=sys.stderr)
    if options.report is not None:
        text = report_of(tallies, seed=options.seed, elapsed_s=time.monotonic() - began)
        options.report.write_text(text, encoding="utf-8")
    return 1 if any(tally.faults for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
