"""The ledger of builds: what was built from which inputs, which lock was reused, how long each step took.

``$KAPPA_HOME/builds.json`` holds one document per build, failed ones too (TinyDB). No other command reads it, and it
may be deleted at any time. Each change holds a file lock, reads it anew and replaces it in one step: TinyDB's own
storage writes in place, and loses everything when two processes do or one dies.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tinydb import TinyDB
from tinydb.storages import Storage

from kappa._files import write_atomically
from kappa._version import __version__
from kappa.build.bundle.builder import Build
from kappa.build.bundle.plan import BuildPlan
from kappa.build.stopwatch import Stopwatch
from kappa.log import log

__all__ = ["LEDGER_NAME", "BuildRecord", "read_builds", "recording"]

LEDGER_NAME = "builds.json"
_MOST_BUILDS = 1000
_WAIT_S = 10.0


class BuildRecord:
    """One build, while it happens: a document that grows."""

    def __init__(self, started_at: datetime) -> None:
        self.stopwatch = Stopwatch()
        self.document: dict[str, Any] = {
            "started_at": started_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "status": "failed",
            "kappa_version": __version__,
            "python": platform.python_version(),
        }

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        with self.stopwatch.step(name):
            yield

    def planned(self, plan: BuildPlan) -> None:
        """Record the plan."""
        inputs = plan.lock_inputs
        self.document.update(
            name=plan.spec.name,
            project=str(plan.project.root),
            kappafile=plan.project.file.name if plan.project.file is not None else None,
            lock={"inputs": inputs.digest, "resolver": inputs.resolver, "platform": inputs.platform},
        )

    def built(self, build: Build, directory: Path) -> None:
        """Record the bundle."""
        manifest, lock = build.manifest, build.lock
        self.document["lock"].update(origin=lock.origin, resolver=lock.resolver, body=lock.body_digest)
        self.document.update(
            status="built",
            version=manifest.version,
            path=str(directory),
            content_digest=manifest.content_digest,
            bundle_digest=manifest.bundle_digest,
        )

    def failed(self, error: BaseException) -> None:
        """Record the kind of failure, and not its message, which may hold anything."""
        self.document["error"] = type(error).__name__


@contextmanager
def recording(
    home: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
) -> Iterator[BuildRecord]:
    """Yield the record of a build and keep it when the build ends, whatever its end; failing to is a warning."""
    record = BuildRecord(clock())
    try:
        yield record
    except BaseException as exc:
        record.failed(exc)
        raise
    finally:
        seconds = {name: round(value, 3) for name, value in record.stopwatch.seconds.items()}
        record.document.update(seconds=seconds, total_seconds=round(sum(seconds.values()), 3))
        _keep(home / LEDGER_NAME, record.document)


def read_builds(home: Path, *, name: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Return the builds of this machine, or of one service, newest first; none if there is no ledger."""
    path = home / LEDGER_NAME
    if not path.is_file():
        return []
    with TinyDB(path, storage=_AtomicStorage, reads_only=True) as database:  # no lock: the file is always whole
        builds = [dict(document) for document in database.all()]
    matches = [build for build in reversed(builds) if name is None or build.get("name") == name]
    return matches[:limit]


def _keep(path: Path, document: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opened(path) as database:
            database.insert(dict(document))
            surplus = len(database) - _MOST_BUILDS
            if surplus > 0:
                database.remove(doc_ids=sorted(document.doc_id for document in database.all())[:surplus])
    except (OSError, Timeout) as exc:
        log(f"The build could not be noted in `{path}`: {exc}.", kind="warning")


@contextmanager
def _opened(path: Path) -> Iterator[TinyDB]:
    with (
        FileLock(path.with_name(f".{path.name}.lock"), timeout=_WAIT_S),
        TinyDB(path, storage=_AtomicStorage) as database,
    ):
        yield database


class _AtomicStorage(Storage):
    """One JSON file, replaced as a whole. One that is no ledger is moved aside, so that builds go on."""

    def __init__(self, path: Path, *, reads_only: bool = False) -> None:
        self._path, self._reads_only = path, reads_only

    def read(self) -> dict[str, dict[str, Any]] | None:
        try:
            tree = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            tree = None
        if isinstance(tree, dict) and all(_is_table(table) for table in tree.values()):
            return tree
        if self._reads_only:
            log(f"`{self._path}` is not a ledger of builds; the next build begins a new one.", kind="warning")
            return None
        aside = self._path.with_name(f"{self._path.name}.broken")
        os.replace(self._path, aside)  # noqa: PTH105
        log(f"`{self._path}` was no ledger of builds; it is `{aside.name}` now.", kind="warning")
        return None

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        write_atomically(self._path, json.dumps(data, ensure_ascii=False, indent=1).encode())


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and all(
        name.isdecimal() and isinstance(document, dict) for name, document in value.items()
    )
