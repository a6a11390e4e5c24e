"""Brings new versions of the services to the workers of a server, one worker after the other.

It lives in the master process, which asks (SIGHUP) one worker to reload, waits for what it reports, and goes on with
the next. When one cannot load the new version, those that have it already go back to the former one: after a reload all
workers serve the same, whatever happened.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from kappa.errors import InferenceFailedError, KappaError
from kappa.server.process.report import Report
from kappa.server.process.running import Announcement, ServerFolder
from kappa.server.served import Served

__all__ = ["Rollout", "SoloRollout"]

_logger = logging.getLogger("kappa.server")


class Rollout:
    """The services of one server's workers; ``find`` returns the wanted ones, verified."""

    def __init__(
        self,
        services: Sequence[Served],
        folder: ServerFolder,
        report: Report,
        *,
        port: int,
        find: Callable[[], Sequence[Served]] | None,
        tell: Callable[[int], None] = lambda pid: os.kill(pid, signal.SIGHUP),
    ) -> None:
        self._services = services
        self._folder = folder
        self._report = report
        self._find = find
        self._tell = tell
        self._announcement = Announcement(os.getpid(), port, _names(services))
        folder.announce(self._announcement)
        self._coming: Sequence[Served] | None = None
        self._error: KappaError | None = None
        """The error for which reloaded workers go back."""
        self._reloading: int | None = None
        self._done: set[int] = set()
        self._returning: set[int] = set()
        self._is_wanted_again = False

    @property
    def services(self) -> Sequence[Served]:
        """The services that a worker which starts now loads."""
        return [replace(served, has_passed=True) for served in self._services] if self._report.ready else self._services

    def begin(self) -> None:
        """Begin to reload, or do so again after the reload that is under way."""
        if self._is_under_way():
            self._is_wanted_again = True
            return
        self._is_wanted_again = False
        self._announce(reloads=self._announcement.reloads + 1, state="running", message="")
        try:
            if self._find is None:
                raise InferenceFailedError("This server cannot reload: it serves no bundle.")
            self._coming = self._find()
            self._folder.want(_directories(self._coming))
        except KappaError as exc:
            self._end(exc)
            return
        self._done, self._error = set(), None
        _logger.info("Reloading: %s is to be served.", ", ".join(_names(self._coming)))

    def look(self, workers: Collection[int]) -> None:
        """Take the next step, if there is one to take now; ``workers`` are the processes that are there."""
        if not self._is_under_way():
            return
        if self._reloading is not None:
            if self._reloading in self._report.reloads:
                self._judge(self._reloading, self._report.reloads.pop(self._reloading))
            elif self._reloading in workers:
                return
            else:
                self._judge(self._reloading, InferenceFailedError("A worker process ended while it reloaded."))
        waiting = (self._returning if self._error is not None else set(workers) - self._done) & set(workers)
        self._reloading = min(waiting, default=None)
        if self._reloading is not None:
            self._tell(self._reloading)
        elif self._error is not None:
            self._end(self._error)
        elif self._coming is not None:
            self._succeed(self._coming)

    def _judge(self, pid: int, error: KappaError | None) -> None:
        self._returning.discard(pid)
        if error is None:
            self._done.add(pid)
        elif self._error is None:
            self._error = error
            self._returning = set(self._done)
            self._folder.want(_directories(self.services), have_passed=True)
        else:
            _logger.error("A worker could not go back to the version before: %s", error)

    def _succeed(self, services: Sequence[Served]) -> None:
        self._services, self._coming = services, None
        self._announce(services=_names(self.services), state="done")
        _logger.info("Reloaded: %s is served.", ", ".join(_names(self.services)))
        self._begin_again()

    def _end(self, error: KappaError) -> None:
        self._coming = self._error = None
        self._announce(state="failed", message=str(error))
        _logger.error("Not reloaded, %s is still served: %s", ", ".join(_names(self.services)), error)
        self._begin_again()

    def _begin_again(self) -> None:
        if self._is_wanted_again:
            self.begin()

    def _is_under_way(self) -> bool:
        return self._coming is not None

    def _announce(self, **changes: object) -> None:
        self._announcement = replace(self._announcement, **changes)  # type: ignore[arg-type] # mypy cannot follow them
        self._folder.announce(self._announcement)


class SoloRollout:
    """The same for a server of one process, whose `Application` reloads itself."""

    def __init__(
        self,
        services: Sequence[Served],
        folder: ServerFolder,
        *,
        port: int,
        find: Callable[[], Sequence[Served]] | None,
    ) -> None:
        self._folder = folder
        self._find = find
        self._coming: Sequence[Served] = services
        self._announcement = Announcement(os.getpid(), port, _names(services))
        folder.announce(self._announcement)

    def wanted(self) -> Sequence[Served] | None:
        """Return what is wanted now, ``None`` for the same again; a reload has begun."""
        if self._find is None:
            return None
        self._announce(reloads=self._announcement.reloads + 1, state="running", message="")
        self._coming = self._find()
        return self._coming

    def ended(self, error: KappaError | None) -> None:
        """Record the outcome of the reload."""
        if error is None:
            self._announce(services=_names(self._coming), state="done")
            _logger.info("Reloaded: %s is served.", ", ".join(_names(self._coming)))
        else:
            self._announce(state="failed", message=str(error))
            _logger.error("Not reloaded, %s is still served: %s", ", ".join(self._announcement.services), error)

    def _announce(self, **changes: object) -> None:
        self._announcement = replace(self._announcement, **changes)  # type: ignore[arg-type] # mypy cannot follow them
        self._folder.announce(self._announcement)


def _names(services: Sequence[Served]) -> tuple[str, ...]:
    return tuple(f"{served.spec.name}:{served.version}" for served in services)


def _directories(services: Sequence[Served]) -> list[Path]:
    return [served.directory for served in services if served.directory is not None]
