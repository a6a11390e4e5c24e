"""The records of bundles, read on a connection of the caller's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from kappa.gamma.database.clock import aware
from kappa.gamma.database.globs import in_scope, matching
from kappa.gamma.database.selection import selected_ids
from kappa.gamma.database.tables import bundles, labels, refs
from kappa.gamma.protocols.callers import ANYBODY, Scope
from kappa.spec.store import BundleRecord, Query, ServiceRecord
from kappa.tag import ALL_NAMESPACES, Tag

__all__ = [
    "bundle_of",
    "find_bundles",
    "latest_of",
    "names_of",
    "records_of",
    "reference_of",
    "referenced",
    "services_of",
    "tags_of",
    "versions_of",
]

_PART = 10_000
"""How many parameters a statement gets; SQLite takes 32,766."""


def find_bundles(connection: Connection, query: Query, scope: Scope = ANYBODY.scope) -> list[BundleRecord]:
    """Return the bundles of a scope that a query selects, in its order; those of one moment in the order of adding.

    Raises `UsageError` for what ``requires`` cannot mean.
    """
    return records_of(connection, selected_ids(connection, query, scope))


def records_of(connection: Connection, ids: Sequence[int]) -> list[BundleRecord]:
    """Return the bundles of these rows, in this order."""
    rows = {row.id: row for row in _in_parts(connection, select(bundles), bundles.c.id, ids)}
    own_labels: dict[int, dict[str, str]] = {}
    for row in _in_parts(connection, select(labels).order_by(labels.c.key), labels.c.bundle_id, ids):
        own_labels.setdefault(row.bundle_id, {})[row.key] = row.value
    aliases: dict[int, list[str]] = {}
    is_alias = select(refs.c.bundle_id, refs.c.ref).where(refs.c.kind == "alias").order_by(refs.c.ref)
    for row in _in_parts(connection, is_alias, refs.c.bundle_id, ids):
        aliases.setdefault(row.bundle_id, []).append(row.ref)
    return [_record(rows[id_], own_labels.get(id_, {}), aliases.get(id_, ())) for id_ in ids if id_ in rows]


def bundle_of(connection: Connection, tag: Tag) -> BundleRecord | None:
    """Return the bundle of a tag; its version may not be an alias."""
    statement = select(bundles.c.id).where(
        bundles.c.namespace == tag.namespace, bundles.c.name == tag.name, bundles.c.version == tag.version
    )
    return _only(connection, statement)


def referenced(connection: Connection, namespace: str, name: str, ref: str) -> BundleRecord | None:
    """Return the bundle that a version or an alias means."""
    statement = select(refs.c.bundle_id).where(
        refs.c.namespace == namespace, refs.c.name == name, refs.c.ref == ref, refs.c.bundle_id.is_not(None)
    )
    return _only(connection, statement)


def latest_of(connection: Connection, namespace: str, name: str) -> BundleRecord | None:
    """Return what ``latest`` means: the bundle with the greatest time of build or registration, whichever is earlier.

    A clock that is ahead makes nothing newer than its registration. Of two that are equal, the last one that was added.
    """
    return _only(connection, _id_of_latest(namespace, name))


def _id_of_latest(namespace: str, name: str) -> Select[Any]:
    statement = select(bundles.c.id).where(bundles.c.namespace == namespace, bundles.c.name == name)
    return statement.order_by(bundles.c.ranked_at.desc(), bundles.c.id.desc()).limit(1)


def services_of(
    connection: Connection,
    namespace: str,
    *,
    search: str = "",
    limit: int | None = None,
    offset: int = 0,
    scope: Scope = ANYBODY.scope,
) -> list[ServiceRecord]:
    """Return services of a scope, in a namespace or in all, whose names contain ``search``.

    The one ranked last comes first.
    """
    service = bundles.c.namespace, bundles.c.name
    newest = func.max(bundles.c.ranked_at)
    statement = select(*service, func.count()).group_by(*service).order_by(newest.desc(), *service)
    statement = statement.where(*in_scope(connection, scope, *service))
    if namespace != ALL_NAMESPACES:
        statement = statement.where(bundles.c.namespace == namespace)
    if search:
        statement = statement.where(func.lower(bundles.c.name).contains(search.lower(), autoescape=True))
    counts = {(row[0], row[1]): row[2] for row in connection.execute(statement.limit(limit).offset(offset or None))}
    ids = [connection.execute(_id_of_latest(*each)).scalar_one_or_none() for each in counts]
    records = records_of(connection, [id_ for id_ in ids if id_ is not None])
    return [ServiceRecord(latest, counts[latest.tag.namespace, latest.tag.name]) for latest in records]


def reference_of(connection: Connection, namespace: str, name: str, ref: str) -> Any:
    """Return the row of a version or an alias, if any: kind, digest, time of change, and the version that it means."""
    statement = (
        select(refs.c.kind, refs.c.bundle_digest, refs.c.changed_at, bundles.c.version)
        .select_from(refs.outerjoin(bundles))
        .where(refs.c.namespace == namespace, refs.c.name == name, refs.c.ref == ref)
    )
    return connection.execute(statement).one_or_none()


def tags_of(connection: Connection, namespace: str) -> set[Tag]:
    """Return the tags of all bundles."""
    rows = connection.execute(select(bundles.c.name, bundles.c.version).where(bundles.c.namespace == namespace))
    return {Tag(name, version, namespace) for name, version in rows}


def versions_of(connection: Connection, namespace: str, name: str) -> set[str]:
    """Return the versions of a service."""
    statement = select(bundles.c.version).where(bundles.c.namespace == namespace, bundles.c.name == name)
    return set(connection.execute(statement).scalars())


def names_of(connection: Connection, namespace: str, scope: Scope = ANYBODY.scope) -> list[str]:
    """Return the names of all services of a scope that have a bundle, sorted."""
    visible = matching(connection, bundles.c.name, scope.names_in(namespace))
    statement = select(bundles.c.name).where(bundles.c.namespace == namespace, *visible)
    statement = statement.distinct().order_by(bundles.c.name)
    return list(connection.execute(statement).scalars())


def _only(connection: Connection, ids: Select[Any]) -> BundleRecord | None:
    records = records_of(connection, list(connection.execute(ids).scalars()))
    return records[0] if records else None


def _in_parts(connection: Connection, statement: Select[Any], column: Any, ids: Sequence[int]) -> Iterator[Row[Any]]:
    for start in range(0, len(ids), _PART):
        yield from connection.execute(statement.where(column.in_(ids[start : start + _PART])))


def _record(row: Row[Any], own_labels: Mapping[str, str], aliases: Iterable[str]) -> BundleRecord:
    return BundleRecord(
        tag=Tag(row.name, row.version, row.namespace),
        created_at=aware(row.created_at),
        uri=row.uri,
        kappa_version=row.kappa_version,
        content_digest=row.content_digest,
        bundle_digest=row.bundle_digest,
        size_bytes=row.size_bytes,
        view={**row.view, "labels": dict(own_labels)},
        labels=own_labels,
        registered_at=aware(row.registered_at),
        aliases=tuple(aliases),
    )
