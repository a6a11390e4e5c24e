"""How a line of a server's log is written: as text for people, or as one JSON object for a collector of logs.

A line of a service's own code belongs to the requests of the call that it was written in. Where lines are JSON, the
server says which these are (`of_requests`), and each line carries their ids.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timezone
from inspect import iscoroutinefunction
from typing import Any, Literal

__all__ = ["JsonFormatter", "LogFormat", "LogLevel", "formatter_of", "level_of", "telling_requests"]

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_TEXT = "%(asctime)s %(process)d %(levelname)s %(message)s"
_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "asctime", "message", "taskName"})
"""Attributes of every record; the others are the caller's `extra`."""
_requests: ContextVar[Sequence[str]] = ContextVar("kappa_requests_of_call", default=())


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON: ASCII alone, so that no encoding of a stream can break it."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if len(ids := _requests.get()) == 1:
            line["request_id"] = ids[0]
        elif ids:
            line["request_ids"] = list(ids)
        line |= {key: value for key, value in vars(record).items() if key not in {*_STANDARD, *line} - {"request_id"}}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        try:
            return json.dumps(line, default=str, allow_nan=False)
        except (TypeError, ValueError):  # keys, or numbers, that JSON does not have
            return json.dumps({str(key): str(value) for key, value in line.items()})


def formatter_of(log_format: LogFormat) -> logging.Formatter:
    """Return the formatter of a server's log."""
    return JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT)


def level_of(log_level: LogLevel) -> int:
    """Return the level as `logging` has it."""
    return int(getattr(logging, log_level.upper()))


def telling_requests(answer: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``answer``: log records that are written during a call carry the ids of its requests."""
    if iscoroutinefunction(answer):

        async def answer_async(tasks: Sequence[Any]) -> Any:
            with _of_requests(tasks):
                return await answer(tasks)

        return answer_async

    def answer_at_once(tasks: Sequence[Any]) -> Any:
        with _of_requests(tasks):
            return answer(tasks)

    return answer_at_once


@contextmanager
def _of_requests(tasks: Sequence[Any]) -> Iterator[None]:
    token = _requests.set([task.task_id for task in tasks])
    try:
        yield
    finally:
        _requests.reset(token)
