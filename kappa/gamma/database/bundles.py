"""The rows of a bundle: added, relabelled and removed on a connection of the caller's.

Who writes holds the lock of the service (`lock_service`) until the transaction ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Connection, String, Table, and_, delete, insert, select

from kappa.errors import BundleNotFoundError, DestinationExistsError, UsageError
from kappa.gamma.database.bundle_files import release_blobs
from kappa.gamma.database.clock import aware, database_time, microseconds
from kappa.gamma.database.engine import hold
from kappa.gamma.database.packages import package_ids
from kappa.gamma.database.queries import bundle_of, records_of, reference_of
from kappa.gamma.database.tables import (
    absent_bundles,
    alias_changes,
    bundles,
    distributions,
    labels,
    locks,
    packages,
    refs,
)
from kappa.labels import checked_changes
from kappa.spec.store import BundleRecord
from kappa.tag import Tag

__all__ = [
    "add_bundle",
    "change_labels",
    "check_free",
    "free_version",
    "free_versions",
    "lock_service",
    "misfit_of",
    "note_change",
    "remove_bundle",
    "take_alias_away",
]


def lock_service(connection: Connection, namespace: str, name: str) -> None:
    """Keep other transactions from writing rows of a service until this one ends; who takes several sorts them."""
    hold(connection, f"service {namespace}/{name}")


def add_bundle(connection: Connection, record: BundleRecord, *, created_by: str = "") -> BundleRecord:
    """Add a bundle and return its record; the same one stays as it is, with its labels and aliases.

    One that went away by itself and is back has its labels and aliases again. Raises `DestinationExistsError` for
    a version of other bytes, there or deleted, and `UsageError` for one that is an alias.
    """
    tag = record.tag
    lock_service(connection, tag.namespace, tag.name)
    present = bundle_of(connection, tag)
    if present is not None and present.bundle_digest == record.bundle_digest:
        return present
    check_free(connection, tag, record.bundle_digest)
    now = database_time(connection)
    memory = _memory_of(connection, record)
    registered_at, created_by = (aware(memory.registered_at), memory.created_by) if memory else (now, created_by)
    row = {**_row(record), **_registration(record, registered_at), "created_by": created_by}
    bundle_id: int = connection.execute(insert(bundles).values(row).returning(bundles.c.id)).scalar_one()
    free_version(connection, tag)
    _add_reference(connection, tag, "version", tag.version, bundle_id, record.bundle_digest, now)
    _add_labels(connection, record, bundle_id, memory.labels if memory else record.labels)
    _add_lock(connection, record, bundle_id)
    for alias in memory.aliases if memory else ():
        if reference_of(connection, tag.namespace, tag.name, alias) is None:
            _add_reference(connection, tag, "alias", alias, bundle_id, record.bundle_digest, now)
            note_change(connection, tag, alias, previous=None, version=tag.version, at=now)
    return records_of(connection, [bundle_id])[0]


def check_free(connection: Connection, tag: Tag, bundle_digest: str) -> None:
    """Raise for a version that cannot be added: one of other bytes that is there or was deleted, or an alias."""
    taken = reference_of(connection, tag.namespace, tag.name, tag.version)
    if taken is None:
        return
    if taken.kind == "alias":
        raise UsageError(
            f"`{tag}` cannot be a version: `{tag.version}` is an alias of `{tag.name}:{taken.version}`. Give another "
            "version, or delete the alias."
        )
    if taken.bundle_digest != bundle_digest:
        state = "is already there" if taken.kind == "version" else "was deleted, and its tag stays reserved for it"
        raise DestinationExistsError(
            f"`{tag}` with the digest `{taken.bundle_digest}` {state}; this bundle has the digest `{bundle_digest}`. "
            "A version never changes: give another `--version`."
        )


def free_version(connection: Connection, tag: Tag) -> bool:
    """Let the version of a deleted bundle be used again; return whether it was reserved."""
    reserved = *_is_reference(tag, tag.version), refs.c.kind == "reserved"
    return connection.execute(delete(refs).where(*reserved)).rowcount > 0


def free_versions(connection: Connection, tags: Sequence[Tag]) -> list[Tag]:
    """Do the same for several, of any services; return those that were reserved."""
    for namespace, name in sorted({(tag.namespace, tag.name) for tag in tags}):
        lock_service(connection, namespace, name)
    return [tag for tag in dict.fromkeys(tags) if free_version(connection, tag)]


def remove_bundle(connection: Connection, tag: Tag, *, is_reserved: bool = False, is_kept: bool = False) -> bool:
    """Remove a bundle with all that belongs to it; return whether it was there.

    With ``is_reserved`` its version stays reserved for its digest. With ``is_kept`` its labels and aliases are kept,
    should it come back. Aliases that name it go, which their history tells.
    """
    lock_service(connection, tag.namespace, tag.name)
    record = bundle_of(connection, tag)
    if record is None:
        return False
    for alias in record.aliases:
        take_alias_away(connection, tag, alias)
    if is_kept:
        _keep(connection, record)
    release_blobs(connection, tag)
    connection.execute(delete(bundles).where(*_is_bundle(tag)))  # what refers to it goes with it
    if is_reserved:
        now = database_time(connection)
        _add_reference(connection, tag, "reserved", tag.version, None, record.bundle_digest, now)
    return True


def change_labels(connection: Connection, tag: Tag, changes: Mapping[str, str | None]) -> BundleRecord:
    """Set labels of a bundle, and remove those whose value is ``None``.

    Raises `BundleNotFoundError`, and `UsageError` for what cannot be a label.
    """
    changes = checked_changes(changes)
    lock_service(connection, tag.namespace, tag.name)
    row = connection.execute(select(bundles.c.id, bundles.c.created_at).where(*_is_bundle(tag))).one_or_none()
    if row is None:
        raise BundleNotFoundError(f"There is no bundle `{tag}`, so it has no labels to set.")
    if changes:
        connection.execute(delete(labels).where(labels.c.bundle_id == row.id, labels.c.key.in_(changes)))
    rows = [
        {**_owner(tag, row.id, row.created_at), "key": key, "value": value}
        for key, value in changes.items()
        if value is not None
    ]
    if rows:
        connection.execute(insert(labels), rows)
    return records_of(connection, [row.id])[0]


def take_alias_away(connection: Connection, tag: Tag, alias: str, *, by: str = "") -> datetime:
    """Remove an alias of a bundle, and note it; return when."""
    now = database_time(connection)
    connection.execute(delete(refs).where(*_is_reference(tag, alias), refs.c.kind == "alias"))
    note_change(connection, tag, alias, previous=tag.version, version=None, at=now, by=by)
    return now


def note_change(
    connection: Connection,
    tag: Tag,
    alias: str,
    *,
    previous: str | None,
    version: str | None,
    at: datetime,
    by: str = "",
) -> None:
    """Add a change of an alias to its history."""
    connection.execute(
        insert(alias_changes).values(
            namespace=tag.namespace,
            name=tag.name,
            alias=alias,
            previous=previous,
            version=version,
            changed_at=at,
            changed_by=by,
        )
    )


def misfit_of(record: BundleRecord) -> str | None:
    """Return the column for which a text of a record is too long or holds a NUL; ``None`` if all fit.

    PostgreSQL refuses such a row, and SQLite takes it.
    """
    parts: list[tuple[Table, list[dict[str, Any]]]] = [
        (bundles, [_row(record)]),
        (labels, [{"key": key, "value": value} for key, value in record.labels.items()]),
        (distributions, [{"name": name} for name, _ in record.packages]),
        (packages, [{"version": version} for _, version in record.packages]),
    ]
    for table, rows in parts:
        lengths = {column.name: column.type.length for column in table.c if isinstance(column.type, String)}
        for name, value in ((name, value) for row in rows for name, value in row.items() if name in lengths):
            if len(value) > (lengths[name] or len(value)) or "\0" in value:
                return name
    return None


def _row(record: BundleRecord) -> dict[str, Any]:
    return {
        "namespace": record.tag.namespace,
        "name": record.tag.name,
        "version": record.tag.version,
        "created_at": record.created_at.astimezone(timezone.utc),
        "created_us": microseconds(record.created_at),
        "uri": record.uri,
        "kappa_version": record.kappa_version,
        "content_digest": record.content_digest,
        "bundle_digest": record.bundle_digest,
        "size_bytes": record.size_bytes,
        "view": dict(record.view),
    }


def _registration(record: BundleRecord, registered_at: datetime) -> dict[str, datetime]:
    return {"registered_at": registered_at, "ranked_at": min(record.created_at.astimezone(timezone.utc), registered_at)}


def _owner(tag: Tag, bundle_id: int, created_at: datetime) -> dict[str, Any]:
    return {"namespace": tag.namespace, "bundle_id": bundle_id, "created_us": microseconds(created_at)}


def _add_reference(
    connection: Connection, tag: Tag, kind: str, ref: str, bundle_id: int | None, bundle_digest: str, at: datetime
) -> None:
    row: dict[str, Any] = {"namespace": tag.namespace, "name": tag.name, "ref": ref, "kind": kind}
    row |= {"bundle_id": bundle_id, "bundle_digest": bundle_digest, "changed_at": at}
    connection.execute(insert(refs).values(row))


def _add_labels(connection: Connection, record: BundleRecord, bundle_id: int, own_labels: Mapping[str, str]) -> None:
    owner = _owner(record.tag, bundle_id, record.created_at)
    if own_labels:
        connection.execute(insert(labels), [{**owner, "key": key, "value": value} for key, value in own_labels.items()])


def _add_lock(connection: Connection, record: BundleRecord, bundle_id: int) -> None:
    rows = [
        {
            "bundle_id": bundle_id,
            "package_id": package_id,
            "distribution_id": distribution_id,
            "created_us": microseconds(record.created_at),
        }
        for distribution_id, package_id in package_ids(connection, record.tag.namespace, record.packages)
    ]
    if rows:
        connection.execute(insert(locks), rows)


def _keep(connection: Connection, record: BundleRecord) -> None:
    row = connection.execute(select(bundles.c.registered_at, bundles.c.created_by).where(*_is_bundle(record.tag))).one()
    connection.execute(delete(absent_bundles).where(*_is_absent(record.tag)))
    connection.execute(
        insert(absent_bundles).values(
            namespace=record.tag.namespace,
            name=record.tag.name,
            version=record.tag.version,
            bundle_digest=record.bundle_digest,
            labels=dict(record.labels),
            aliases=list(record.aliases),
            registered_at=row.registered_at,
            created_by=row.created_by,
        )
    )


def _memory_of(connection: Connection, record: BundleRecord) -> Any:
    """Return what was kept of a bundle that went away by itself, and forget it; ``None`` for any other."""
    row = connection.execute(select(absent_bundles).where(*_is_absent(record.tag))).one_or_none()
    if row is None:
        return None
    connection.execute(delete(absent_bundles).where(*_is_absent(record.tag)))
    return row if row.bundle_digest == record.bundle_digest else None


def _is_bundle(tag: Tag) -> tuple[Any, ...]:
    return bundles.c.namespace == tag.namespace, bundles.c.name == tag.name, bundles.c.version == tag.version


def _is_reference(tag: Tag, ref: str) -> tuple[Any, ...]:
    return refs.c.namespace == tag.namespace, refs.c.name == tag.name, refs.c.ref == ref


def _is_absent(tag: Tag) -> tuple[Any, ...]:
    table = absent_bundles
    return (and_(table.c.namespace == tag.namespace, table.c.name == tag.name, table.c.version == tag.version),)
