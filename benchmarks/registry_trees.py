"""A store of directories with as many real trees as there are rows: its start, its queries, and `kappa list`.

The trees are minimal bundles: a manifest and a lock. Most have their row already, as in every start but the first; of
the folders' states nothing is known, so each folder is read and each tree is looked for. Some trees are new: their
manifests are read, and their rows are added.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.local_store import LocalStore
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.spec.store import Query
from kappa.tag import BundleReference
from tests.gamma.processes import gamma_process
from tests.gamma.sealed import LOCK, seal

__all__ = ["TreeFigures", "measure_trees", "write_trees"]

_ANY_NAME, _ANY_VERSION = "AnyName", "any-version"


@dataclass(frozen=True)
class TreeFigures:
    """What a store of trees takes."""

    trees: int
    start_s: float
    """Until a server beside the known trees answers."""
    peak_mib: float
    """Of that server's process."""
    added: int
    add_ms: float
    """For each new tree."""
    calls_ms: dict[str, list[float]]
    """Of each call in process; the folders' times of change are read each time."""
    command_s: list[float]
    """Of whole processes of `kappa list --limit 20`."""


def write_trees(root: Path, tags: Iterable[tuple[str, str]]) -> int:
    """Write a minimal bundle for each name and version; return how many."""
    text = seal(_ANY_VERSION, {}, name=_ANY_NAME, executables=()).manifest.decode()
    count = 0
    for name, version in tags:
        folder = f"{root}/{name}/{version}"
        os.makedirs(folder)  # noqa: PTH103 - paths are slow to make
        content = text.replace(_ANY_NAME, name).replace(_ANY_VERSION, f"'{version}'").encode()
        for file, data in (("kappa.yml", content), ("requirements.txt", LOCK)):
            with open(f"{folder}/{file}", "wb") as target:  # noqa: PTH123
                target.write(data)
        count += 1
    return count


def measure_trees(
    home: Path, database: Path, tags: Iterable[tuple[str, str]], *, added: int, rounds: int
) -> TreeFigures:
    """Measure a store at ``home`` whose database is a copy of one that knows ``tags``."""
    root = home / "repository"
    home.mkdir()
    shutil.copy(database, home / "storage.db")
    count = write_trees(root, tags)
    began = time.perf_counter()
    with gamma_process(home) as server:
        start_s = time.perf_counter() - began
        status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
        server.stop()
    peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    store = LocalStore(DirectoryStorage(root), sqlite_url(home / "storage.db"))
    calls_ms = _calls(store, rounds)
    command = [sys.executable, "-m", "kappa", "list", "--limit", "20"]
    command_s = [_seconds(lambda: _run(command, home)) for _ in range(5)]
    for number in range(added):
        bundle = seal(f"{number}.0", {}, name=f"Newcomer{number % 10}", executables=())
        bundle.write(root / bundle.tag.name / bundle.tag.version)
    add_ms = 1000 * _seconds(lambda: _page(store)) / added
    store.close()
    return TreeFigures(count, start_s, peak_kib / 1024, added, add_ms, calls_ms, command_s)


def _calls(store: LocalStore, rounds: int) -> dict[str, list[float]]:
    calls: dict[str, Callable[[], object]] = {
        "list, a page of 20": lambda: _page(store),
        "get NAME:VERSION": lambda: store.resolve(BundleReference("Service1", "100.0")),
        "latest": lambda: store.resolve(BundleReference("Service0")),
    }
    return {name: [1000 * _seconds(call) for _ in range(rounds)] for name, call in calls.items()}


def _page(store: LocalStore) -> object:
    return store.list_bundles(Query(limit=20))


def _run(command: list[str], home: Path) -> None:
    subprocess.run(command, check=True, env={**os.environ, "KAPPA_HOME": str(home)}, stdout=subprocess.DEVNULL)


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
