"""Writes that may be repeated: each has an id that its client made, and a repeat within a day gets the first answer."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Connection, delete, insert, select

from kappa.errors import UsageError
from kappa.gamma.database.clock import database_time
from kappa.gamma.database.engine import hold
from kappa.gamma.database.tables import operations

__all__ = ["KEPT_FOR", "answer_of", "keep_answer"]

KEPT_FOR = timedelta(days=1)
_LONGEST = 128

T = TypeVar("T")


def answer_of(connection: Connection, operation: str, request: tuple[Any, ...], kind: type[T]) -> T | None:
    """Return the answer that an operation had, as a value of ``kind``; ``None`` for its first time.

    A repeat at the same time waits until the first one has its answer. ``request`` is what is asked, as JSON values. An
    empty ``operation`` has no answer. Raises `UsageError` for an id that cannot be one, or had another request.
    """
    if not operation:
        return None
    if len(operation) > _LONGEST or not operation.isprintable():
        raise UsageError("The id of an operation has up to 128 printable characters, for example a UUID.")
    hold(connection, f"operation {operation}")
    oldest = database_time(connection) - KEPT_FOR
    row = connection.execute(
        select(operations).where(operations.c.id == operation, operations.c.done_at >= oldest)
    ).one_or_none()
    if row is None:
        return None
    if row.request != _digest(request):
        raise UsageError(f"The operation `{operation}` was another one: each write needs an id of its own.")
    answer: T = _adapter(kind).validate_python(row.answer)
    return answer


def keep_answer(connection: Connection, operation: str, request: tuple[Any, ...], answer: T, kind: type[T]) -> None:
    """Keep the answer of an operation for repeats, and forget those that are older than a day."""
    if not operation:
        return
    now = database_time(connection)
    connection.execute(delete(operations).where(operations.c.done_at < now - KEPT_FOR))
    written = _adapter(kind).dump_python(answer, mode="json")
    connection.execute(insert(operations).values(id=operation, request=_digest(request), answer=written, done_at=now))


def _digest(request: tuple[Any, ...]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}
