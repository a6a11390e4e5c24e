"""Progress of the build side, for a listener that it does not know.

The core calls `log` with a *kind* of line; the shell installs a listener that decides how each kind looks (or that
nothing is shown). Servers use the standard library's loggers instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

__all__ = ["Kind", "Listener", "listening", "log", "to_logging"]

Kind = Literal["step", "detail", "warning", "output"]
"""``step``: a stage begins. ``detail``: shown with --verbose. ``warning``: shown unless --quiet. ``output``: a line
that a subprocess printed."""

Listener = Callable[[str, Kind], None]

_listener: ContextVar[Listener | None] = ContextVar("kappa_log_listener", default=None)


def log(message: str, *, kind: Kind = "detail") -> None:
    """Send a line to the listener, if there is one."""
    if (listener := _listener.get()) is not None:
        listener(message, kind)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send every line logged in this context to ``listener``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def to_logging(message: str, kind: Kind) -> None:
    """Send a line to the standard library's logger `kappa.build`: the listener of calls from Python."""
    levels = {"detail": logging.DEBUG, "warning": logging.WARNING}
    logging.getLogger("kappa.build").log(levels.get(kind, logging.INFO), "%s", message)
