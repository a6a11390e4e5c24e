"""The parents of a server's processes: gunicorn's master process, or the operator of a server of one process."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from kappa.errors import InferenceFailedError, KappaError
from kappa.server.machine import settle_memory
from kappa.server.process.report import FirstStart, Report
from kappa.server.process.rollout import SoloRollout
from kappa.server.process.running import ServerFolder
from kappa.server.served import Served

__all__ = ["Master", "Operator"]

_logger = logging.getLogger("kappa.server")


class Master:
    """The parent of one of several workers, which it replaces and which it has reload one after the other."""

    def __init__(self, report: Report, first_start: FirstStart, folder: ServerFolder) -> None:
        self._report = report
        self._first_start = first_start
        self._folder = folder

    def ready(self) -> None:
        settle_memory()
        self._first_start.be_ready()
        self._tell(self._report.say_ready)
        _logger.info("Ready.")

    def failed(self, error: KappaError) -> None:
        self._report.say_failed(error)
        os.kill(os.getpid(), signal.SIGTERM)

    def is_started(self) -> bool:
        return self._first_start.is_over

    def stuck(self) -> None:
        self._tell(self._report.say_leaving)
        os.kill(os.getpid(), signal.SIGTERM)

    def worn(self) -> None:
        _logger.error("Bodies that cannot be decoded in time keep this process busy: another will take its place.")
        self._tell(self._report.say_worn)

    def wanted(self) -> Sequence[Served]:
        return self._folder.wanted()

    def reloaded(self, error: KappaError | None) -> None:
        self._tell(partial(self._report.say_reloaded, error))

    def _tell(self, say: Callable[[], None]) -> None:
        say()
        os.kill(os.getppid(), signal.SIGCHLD)  # it looks at what was reported when something happens to its children


class _Server(Protocol):
    should_exit: bool


class Operator:
    """The parent of the only process of a server: nothing replaces it, so a failure ends it."""

    server: _Server

    def __init__(self, rollout: SoloRollout) -> None:
        self.failure: KappaError | None = None
        """The error that the process ends with, the first of several."""
        self._rollout = rollout

    def ready(self) -> None:
        settle_memory()
        _logger.info("Ready.")

    def failed(self, error: KappaError) -> None:
        self.failure = self.failure or error
        self.server.should_exit = True

    def is_started(self) -> bool:
        return True

    def stuck(self) -> None:
        self.failed(InferenceFailedError("A call of a function did not end in time: start the server anew."))

    def worn(self) -> None:
        _logger.error("Bodies that cannot be decoded in time keep this process busy: start it anew.")

    def wanted(self) -> Sequence[Served] | None:
        return self._rollout.wanted()

    def reloaded(self, error: KappaError | None) -> None:
        self._rollout.ended(error)
