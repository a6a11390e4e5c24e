"""Globs of names as conditions of SQL, in which ``*`` stands for any characters, also none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, false, or_

from kappa.gamma.protocols.callers import Scope

__all__ = ["in_scope", "matching"]


def in_scope(
    connection: Connection, scope: Scope, namespace: ColumnElement[str], name: ColumnElement[str]
) -> Iterator[ColumnElement[bool]]:
    """Yield the condition that a service is in a scope; none where every service is."""
    if not scope.is_unrestricted:
        yield or_(
            *(
                and_(*matching(connection, namespace, [of_namespaces]), *matching(connection, name, [of_names]))
                for of_namespaces, of_names in scope.globs
            )
        )


def matching(connection: Connection, column: ColumnElement[str], globs: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    """Yield the condition that a column matches one of ``globs``; none where every text does."""
    if "*" not in globs:
        yield or_(false(), *(_matches(connection, column, glob) for glob in globs))


def _matches(connection: Connection, column: Any, glob: str) -> ColumnElement[bool]:
    """Return the condition of one glob; `LIKE` of SQLite takes upper and lower case for the same."""
    if "*" not in glob:
        return column == glob  # type: ignore[no-any-return]
    if connection.dialect.name == "sqlite":
        return column.op("GLOB", is_comparison=True)(glob)  # type: ignore[no-any-return]
    return column.like(glob.replace("_", r"\_").replace("*", "%"), escape="\\")  # type: ignore[no-any-return]
