"""The log of a process that runs a service, whatever logging the service's own code sets up.

User code may call `logging.config.dictConfig`, which disables every logger that it does not name, or `basicConfig`,
`fileConfig` and `logging.disable`. Still each line of Kappa appears once, and a failure is never without its reason:
Kappa's loggers cannot be disabled, and write to a handler of their own. Only handlers that are added to the logger
`kappa` or one below it replace that.

What user code logs without having set up anything is shown by the same handler, from INFO on. It is what `logging`
itself does with such lines (`logging.lastResort`), so that the first `basicConfig` of the user's code works as usual.
Warnings of Python's are logged once each.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TextIO

from kappa.log_format import LogFormat, LogLevel, formatter_of, level_of

__all__ = ["access_log_to_stdout", "logging_to", "logging_to_stderr"]

_KAPPA = (
    *("kappa", "kappa.access", "kappa.build", "kappa.gamma", "kappa.gamma.grpc", "kappa.gamma.web"),
    *("kappa.inference", "kappa.server", "kappa.service"),
)
_SERVERS = ("gunicorn.access", "gunicorn.error", "uvicorn", "uvicorn.access", "uvicorn.error")
_MOST_WARNINGS = 1000
_handler: logging.Handler | None = None
"""Where lines go while a service is run."""
_warnings_seen: set[str] = set()


class _LastingLogger(logging.Logger):
    """A logger that stays enabled."""

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        """Ignore it: `dictConfig` and `fileConfig` set it for all loggers that they do not know."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the base's name
        """Return whether a line of ``level`` is wanted: failures always are, and `logging.disable` changes nothing."""
        return level >= logging.ERROR or level >= self.getEffectiveLevel()


class _KappaLogger(_LastingLogger):
    """A logger whose lines go to one place."""

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base's name
        """Pass a record to the nearest handlers that were added to Kappa's loggers, or to that of this process."""
        logger: logging.Logger = self
        while not logger.handlers and logger.propagate and isinstance(logger.parent, _KappaLogger):
            logger = logger.parent
        fallback = [] if _handler is None else [_handler]
        for handler in logger.handlers or fallback:
            if record.levelno >= handler.level:
                handler.handle(record)


class _WarningLogger(_LastingLogger):
    """The logger of `warnings`, which logs each text once.

    The filter of `warnings` forgets what it has shown whenever some library changes the filters for a moment, as
    scikit-learn does in every call.
    """

    def handle(self, record: logging.LogRecord) -> None:
        """Log a text that is new; after `_MOST_WARNINGS` different ones, none."""
        text = record.getMessage()
        if text not in _warnings_seen and len(_warnings_seen) < _MOST_WARNINGS:
            _warnings_seen.add(text)
            super().handle(record)


@contextmanager
def logging_to_stderr(log_format: LogFormat = "text", log_level: LogLevel = "info") -> Iterator[None]:
    """Send what Kappa and the service log to stderr, from a level on, unless the program has decided about logging."""
    if _handler is not None or logging.root.handlers or logging.getLogger("kappa").handlers:
        yield
        return
    level = level_of(log_level)
    handler = logging.StreamHandler()
    handler.setFormatter(formatter_of(log_format))
    handler.setLevel(level)
    with logging_to(handler, level=level):
        yield


@contextmanager
def access_log_to_stdout(log_format: LogFormat) -> Iterator[None]:
    """Write the access log to stdout, unless the program has a place for it."""
    logger = logging.getLogger("kappa.access")
    if logger.handlers:
        yield
        return
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter_of(log_format) if log_format == "json" else logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    try:
        with _being(logger, _KappaLogger), _with_level(logger, logging.INFO), _not_propagating(logger):
            yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def logging_to(handler: logging.Handler, *, level: int) -> Iterator[None]:
    """While this lasts, send ``handler`` Kappa's records from ``level`` on, and others' that have no handler."""
    with ExitStack() as stack:
        for name in _KAPPA:
            stack.enter_context(_being(logging.getLogger(name), _KappaLogger))
        stack.enter_context(_being(logging.getLogger("py.warnings"), _WarningLogger))
        for name in _SERVERS:
            stack.enter_context(_being(logging.getLogger(name), _LastingLogger))
        stack.enter_context(_with_level(logging.getLogger("kappa"), level))
        stack.enter_context(_with_level(logging.root, min(level, logging.INFO)))
        stack.enter_context(_setting(sys.modules[__name__], "_handler", handler))
        stack.enter_context(_setting(logging, "lastResort", handler))
        stack.enter_context(_setting(logging, "basicConfig", _unless_implied(logging.basicConfig)))
        stack.enter_context(_setting(warnings, "showwarning", _show_warning))
        yield


@contextmanager
def _being(logger: logging.Logger, kind: type[logging.Logger]) -> Iterator[None]:
    """Change the class of a logger: other modules already hold references to it."""
    before = type(logger)
    logger.__class__ = kind
    try:
        yield
    finally:
        logger.__class__ = before


@contextmanager
def _with_level(logger: logging.Logger, level: int) -> Iterator[None]:
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _not_propagating(logger: logging.Logger) -> Iterator[None]:
    before = logger.propagate
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = before


@contextmanager
def _setting(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _unless_implied(basic_config: Callable[..., None]) -> Callable[..., None]:
    """Return a `basicConfig` that does nothing without arguments, as `logging.info` calls it."""

    def configure(**options: Any) -> None:
        if options:
            basic_config(**options)

    return configure


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log a warning of Python's; what `warnings` calls."""
    if file is not None:
        file.write(warnings.formatwarning(message, category, filename, lineno, line))
    else:
        logging.getLogger("py.warnings").warning("%s: %s (%s:%d)", category.__name__, message, filename, lineno)
