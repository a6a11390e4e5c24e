"""The records of bundles as rows: added, found, listed and removed on a connection of the caller's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, String, Table, and_, delete, exists, insert, not_, select

from kappa.gamma.tables import bundles, labels, locked_packages
from kappa.labels import Requirement
from kappa.spec.store import BundleRecord, Query
from kappa.tag import Tag

__all__ = ["add_bundle", "find_bundles", "misfit_of", "names_of", "remove_bundle", "tags_of"]


def add_bundle(connection: Connection, namespace: str, record: BundleRecord) -> None:
    """Add a bundle, in place of one of the same tag."""
    remove_bundle(connection, namespace, record.tag)
    (bundle_id,) = connection.execute(insert(bundles).values(_row(namespace, record))).inserted_primary_key or (None,)
    owner = {"namespace": namespace, "bundle_id": bundle_id}
    for table, rows in _rows_beside(record):
        if rows:
            connection.execute(insert(table), [{**owner, **row} for row in rows])


def misfit_of(record: BundleRecord) -> str | None:
    """Return the column for which a text of a record is too long or holds a NUL; ``None`` if all fit.

    PostgreSQL refuses such a row, and SQLite takes it.
    """
    for table, rows in ((bundles, [_row("", record)]), *_rows_beside(record)):
        lengths = {column.name: column.type.length for column in table.c if isinstance(column.type, String)}
        for name, text in ((name, text) for row in rows for name, text in row.items() if name in lengths):
            if len(text) > (lengths[name] or len(text)) or "\0" in text:
                return name
    return None


def _row(namespace: str, record: BundleRecord) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "name": record.tag.name,
        "version": record.tag.version,
        "created_at": record.created_at,
        "uri": record.uri,
        "kappa_version": record.kappa_version,
        "content_digest": record.content_digest,
        "bundle_digest": record.bundle_digest,
        "size_bytes": record.size_bytes,
        "view": dict(record.view),
    }


def _rows_beside(record: BundleRecord) -> list[tuple[Table, list[dict[str, str]]]]:
    """Return the rows of other tables, without the columns that say whose they are."""
    packages = dict.fromkeys(record.packages)
    return [
        (labels, [{"key": key, "value": value} for key, value in record.labels.items()]),
        (locked_packages, [{"distribution": name, "version": version} for name, version in packages]),
    ]


def remove_bundle(connection: Connection, namespace: str, tag: Tag) -> None:
    """Remove a bundle, with its labels and its lock; one that is not there is no error."""
    connection.execute(delete(bundles).where(*_is(namespace, tag)))


def tags_of(connection: Connection, namespace: str) -> set[Tag]:
    """Return the tags of all bundles."""
    rows = connection.execute(select(bundles.c.name, bundles.c.version).where(bundles.c.namespace == namespace))
    return {Tag(name, version) for name, version in rows}


def names_of(connection: Connection, namespace: str) -> list[str]:
    """Return the names of all services that have a bundle, sorted."""
    rows = connection.execute(
        select(bundles.c.name).where(bundles.c.namespace == namespace).distinct().order_by(bundles.c.name)
    )
    return [name for (name,) in rows]


def find_bundles(connection: Connection, query: Query) -> list[BundleRecord]:
    """Return the bundles that a query selects, in its order; those of one moment in the order they were added."""
    statement = select(bundles).where(*_conditions(query))
    rows = connection.execute(_ordered(statement, query).limit(query.limit).offset(query.offset)).all()
    labels_by_id = _labels_of(connection, [row.id for row in rows])
    return [_record(row, labels_by_id.get(row.id, {})) for row in rows]


def _conditions(query: Query) -> Iterable[ColumnElement[bool]]:
    yield bundles.c.namespace == query.namespace
    if query.name is not None:
        yield bundles.c.name == query.name
    if query.version is not None:
        yield bundles.c.version == query.version
    if query.digest is not None:
        yield bundles.c.bundle_digest.startswith(query.digest, autoescape=True)
    for requirement in query.selector:
        yield _selected(requirement)


def _selected(requirement: Requirement) -> ColumnElement[bool]:
    """Say in SQL what `Requirement.holds` says of one set of labels."""
    condition = and_(labels.c.bundle_id == bundles.c.id, labels.c.key == requirement.key)
    if requirement.operator == "in":
        condition = and_(condition, labels.c.value.in_(requirement.values))
    elif requirement.operator == "notin":
        condition = and_(condition, labels.c.value.not_in(requirement.values))
    matches = exists().where(condition)
    return not_(matches) if requirement.operator == "doesnotexist" else matches


def _ordered(statement: Select[Any], query: Query) -> Select[Any]:
    age = [bundles.c.created_at, bundles.c.id]
    if query.order_by == "created_at":
        return statement.order_by(*(age if query.ascending else [column.desc() for column in age]))
    name = bundles.c.name if query.ascending else bundles.c.name.desc()
    return statement.order_by(name, *(column.desc() for column in age))


def _labels_of(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, str]]:
    labels_by_id: dict[int, dict[str, str]] = {}
    for start in range(0, len(ids), 500):  # SQLite takes a limited number of parameters
        part = select(labels.c.bundle_id, labels.c.key, labels.c.value).where(
            labels.c.bundle_id.in_(ids[start : start + 500])
        )
        for bundle_id, key, value in connection.execute(part.order_by(labels.c.key)):
            labels_by_id.setdefault(bundle_id, {})[key] = value
    return labels_by_id


def _record(row: Row[Any], own_labels: Mapping[str, str]) -> BundleRecord:
    created: datetime = row.created_at
    return BundleRecord(
        tag=Tag(row.name, row.version),
        created_at=created.astimezone(timezone.utc) if created.tzinfo else created.replace(tzinfo=timezone.utc),
        uri=row.uri,
        kappa_version=row.kappa_version,
        content_digest=row.content_digest,
        bundle_digest=row.bundle_digest,
        size_bytes=row.size_bytes,
        view=row.view,
        labels=own_labels,
    )


def _is(namespace: str, tag: Tag) -> tuple[ColumnElement[bool], ...]:
    return (
        bundles.c.namespace == namespace,
        bundles.c.name == tag.name,
        bundles.c.version == tag.version,
    )
