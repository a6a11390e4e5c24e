"""Lists of one namespace or of all.

PERF: every index begins with the namespace. So each namespace answers its own query, with as many rows as the page may
need, and the answers are merged: a list of all namespaces costs as much as one of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from operator import attrgetter

from sqlalchemy import Connection, func, select

from kappa.gamma.database.queries import find_bundles
from kappa.gamma.database.tables import bundles
from kappa.gamma.protocols.callers import ANYBODY, Scope
from kappa.spec.store import BundleRecord, Query
from kappa.tag import ALL_NAMESPACES

__all__ = ["namespaces_of", "select_bundles"]


def select_bundles(connection: Connection, query: Query, scope: Scope = ANYBODY.scope) -> list[BundleRecord]:
    """Return the bundles of a scope that a query selects, in its order: those of one moment by namespace.

    Raises `UsageError` for what ``requires`` cannot mean.
    """
    if query.namespace != ALL_NAMESPACES:
        return find_bundles(connection, query, scope)
    end = None if query.limit is None else query.offset + query.limit
    of_each = [
        find_bundles(connection, replace(query, namespace=namespace, limit=end, offset=0), scope)
        for namespace in namespaces_of(connection)
    ]
    return _in_order(chain.from_iterable(of_each), query)[query.offset : end]


def namespaces_of(connection: Connection) -> Iterator[str]:
    """Yield the namespaces that have bundles, sorted; each is one look-up in an index."""
    namespace = ""
    while (following := _after(connection, namespace)) is not None:
        namespace = following
        yield namespace


def _after(connection: Connection, namespace: str) -> str | None:
    statement = select(func.min(bundles.c.namespace)).where(bundles.c.namespace > namespace)
    following: str | None = connection.execute(statement).scalar()
    return following


def _in_order(records: chain[BundleRecord], query: Query) -> list[BundleRecord]:
    """Sort what is sorted within each namespace; a stable sort keeps the order of rows of one moment."""
    newest_first = sorted(
        records, key=attrgetter("created_at"), reverse=query.order_by == "name" or not query.ascending
    )
    if query.order_by == "created_at":
        return newest_first
    return sorted(newest_first, key=attrgetter("tag.name"), reverse=not query.ascending)
