"""The parent of a server's process: it gets the state of the services, and knows what a reload is to load."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from kappa.errors import KappaError
from kappa.server.served import Served

__all__ = ["AwaitedStart", "NoParent", "Parent"]

_logger = logging.getLogger("kappa.server")


class Parent(Protocol):
    """Everything but `wanted` is called on the event loop."""

    def ready(self) -> None:
        """All services can answer. Either this is called or `failed`, and once."""

    def failed(self, error: KappaError) -> None:
        """A service cannot be loaded: whether the process ends is for the parent to decide."""

    def is_started(self) -> bool:
        """Return whether each process that was started together with this one has been ready."""

    def stuck(self) -> None:
        """A call of a function does not end, and holds its thread until the process does."""

    def worn(self) -> None:
        """Bodies that are not decoded in time hold so many threads that others are slow.

        The process should be replaced, and answers until its successor does.
        """

    def wanted(self) -> Sequence[Served] | None:
        """Return the services that a reload is to load, ``None`` for the same again; called in a thread."""

    def reloaded(self, error: KappaError | None) -> None:
        """A reload is over; without an ``error`` it went well."""


class NoParent:
    """No parent: a failure to load is logged, and everything else ignored."""

    def ready(self) -> None:
        pass

    def failed(self, error: KappaError) -> None:
        _logger.critical("%s", error)

    def is_started(self) -> bool:
        return True

    def stuck(self) -> None:
        pass

    def worn(self) -> None:
        pass

    def wanted(self) -> Sequence[Served] | None:
        return None

    def reloaded(self, error: KappaError | None) -> None:
        pass


class AwaitedStart(NoParent):
    """Awaits, in the same process and on the same event loop, that the services can answer."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises the error that prevents it."""

    def ready(self) -> None:
        self.outcome.set_result(None)

    def failed(self, error: KappaError) -> None:
        self.outcome.set_exception(error)
