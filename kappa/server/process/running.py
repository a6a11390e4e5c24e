"""The announcement of a running server to other processes of this machine, with the outcome of its last reload.

Each server has a folder for its small files beside those of others. `announcement.json` in it is what `kappa reload`
reads; `wanted.json` is what the server's own processes read at a reload.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from kappa._files import write_atomically
from kappa.server.machine import writable_directory
from kappa.server.served import Served
from kappa.services.bundle import open_bundle
from kappa.services.source import ServiceSource

__all__ = ["Announcement", "ServerFolder", "read_announcement", "running_servers"]

_PREFIX = "kappa-server-"
_ANNOUNCEMENT = "announcement.json"

ReloadState = Literal["none", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Announcement:
    """The announcement of a running server."""

    pid: int
    port: int
    services: tuple[str, ...]
    """`Name:version` of each."""
    reloads: int = 0
    """How many reloads were begun."""
    state: ReloadState = "none"
    """Of the last one."""
    message: str = ""
    """Why it failed."""


class ServerFolder:
    """The folder of this server; it is removed at the end."""

    def __init__(self) -> None:
        _remove_abandoned(writable_directory())
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=writable_directory()))
        self._owner = os.getpid()

    def remove(self) -> None:
        """Remove the folder if this is the process that made it, and not a worker that leaves."""
        if os.getpid() == self._owner:
            shutil.rmtree(self.path, ignore_errors=True)

    def announce(self, announcement: Announcement) -> None:
        self._write(_ANNOUNCEMENT, asdict(announcement))

    def want(self, directories: Sequence[Path], *, have_passed: bool = False) -> None:
        """Write which bundles the processes of this server load at the next reload.

        Those that ``have_passed`` were ready before in this server.
        """
        wanted = {"directories": [str(directory) for directory in directories], "have_passed": have_passed}
        self._write("wanted.json", wanted)

    def wanted(self) -> list[Served]:
        """Return what is to be loaded now."""
        wanted = json.loads((self.path / "wanted.json").read_text(encoding="utf-8"))
        sources = [ServiceSource.of_bundle(open_bundle(Path(directory))) for directory in wanted["directories"]]
        return [replace(Served.of(source), has_passed=wanted["have_passed"]) for source in sources]

    def _write(self, name: str, value: object) -> None:
        write_atomically(self.path / name, json.dumps(value, ensure_ascii=False).encode())


def running_servers(*, places: Sequence[Path] | None = None) -> list[tuple[Path, Announcement]]:
    """Return the servers of this user that run on this machine, with their folders; folders of dead ones are
    skipped."""
    servers = []
    for directory in places if places is not None else [writable_directory(), Path(tempfile.gettempdir())]:
        for folder in sorted(directory.glob(f"{_PREFIX}*")):
            with suppress(OSError, ValueError, TypeError):
                if folder.stat().st_uid == os.geteuid():
                    announcement = read_announcement(folder)
                    os.kill(announcement.pid, 0)
                    servers.append((folder, announcement))
    return list(dict(servers).items())


def _remove_abandoned(directory: Path) -> None:
    """Remove the folders of killed servers; one that just began has no announcement yet."""
    for folder in directory.glob(f"{_PREFIX}*"):
        with suppress(OSError, ValueError, TypeError):
            if folder.stat().st_uid == os.geteuid():
                try:
                    os.kill(read_announcement(folder).pid, 0)
                except ProcessLookupError:
                    shutil.rmtree(folder, ignore_errors=True)


def read_announcement(folder: Path) -> Announcement:
    """Read the announcement in the folder of a server."""
    values = json.loads((folder / _ANNOUNCEMENT).read_text(encoding="utf-8"))
    announcement = Announcement(**values)
    return replace(announcement, services=tuple(announcement.services))
