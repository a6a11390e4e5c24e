"""The files of bundles and their blobs as rows, on a connection of the caller's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, not_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from kappa.gamma.database.clock import database_time
from kappa.gamma.database.globs import matching
from kappa.gamma.database.tables import bundles
from kappa.gamma.database.transfer_tables import blobs, bundle_files, upload_blobs
from kappa.gamma.protocols.callers import Scope
from kappa.gamma.protocols.registry import BundleFile
from kappa.gamma.protocols.storage import Blob, BlobSource
from kappa.tag import Tag

__all__ = [
    "add_files",
    "batches",
    "count_unused",
    "delete_blobs",
    "file_of",
    "files_of",
    "readable_sources",
    "release_blobs",
    "touch_blobs",
    "unused_blobs",
]

T = TypeVar("T")
_BATCH = 500
"""SQLite takes a limited number of parameters."""


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield items in parts that a statement can name."""
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def add_files(connection: Connection, tag: Tag, files: Iterable[BundleFile]) -> None:
    """Add the files of a bundle that has a row, in place of those that it has."""
    bundle_id = connection.execute(select(bundles.c.id).where(*_is(tag))).scalar_one()
    connection.execute(delete(bundle_files).where(bundle_files.c.bundle_id == bundle_id))
    rows = [
        {
            "bundle_id": bundle_id,
            "path": file.path,
            "namespace": tag.namespace,
            "digest": file.digest,
            "size_bytes": file.size_bytes,
            "is_executable": file.is_executable,
        }
        for file in files
    ]
    if rows:
        connection.execute(insert(bundle_files), rows)


def files_of(connection: Connection, tag: Tag) -> tuple[BundleFile, ...]:
    """Return the files of a bundle by path; empty where the database has none of it."""
    rows = connection.execute(select(bundle_files).join(bundles).where(*_is(tag)))
    return tuple(sorted(BundleFile(row.path, row.digest, row.size_bytes, row.is_executable) for row in rows))


def file_of(connection: Connection, tag: Tag, digest: str) -> BundleFile | None:
    """Return a file of a bundle that has a digest; ``None`` where the database has none."""
    statement = select(bundle_files).join(bundles).where(*_is(tag), bundle_files.c.digest == digest)
    row = connection.execute(statement.limit(1)).first()
    return BundleFile(row.path, row.digest, row.size_bytes, row.is_executable) if row is not None else None


def readable_sources(
    connection: Connection, namespace: str, digests: Sequence[str], scope: Scope
) -> Mapping[str, tuple[BlobSource, int]]:
    """Return of each blob that a bundle of a namespace and a scope has: a file with it, and its size in bytes.

    This alone decides which blobs count as present: a caller learns nothing of a blob that only others have.
    """
    sources: dict[str, tuple[BlobSource, int]] = {}
    visible = tuple(matching(connection, bundles.c.name, scope.names_in(namespace)))
    for batch in batches(digests):
        statement = (
            select(bundle_files.c.digest, bundle_files.c.path, bundle_files.c.size_bytes, bundles.c.uri)
            .join(bundles)
            .where(bundle_files.c.namespace == namespace, bundle_files.c.digest.in_(batch), *visible)
        )
        for digest, path, size_bytes, uri in connection.execute(statement):
            sources.setdefault(digest, (BlobSource(uri, path), size_bytes))
    return sources


def touch_blobs(connection: Connection, named: Iterable[Blob]) -> None:
    """Note that an upload names blobs, which may be in the store from now on."""
    moment = database_time(connection)
    rows = [{"digest": blob.digest, "size_bytes": blob.size_bytes, "touched_at": moment} for blob in named]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    for batch in batches(sorted(rows, key=lambda row: str(row["digest"]))):  # in one order, or two callers deadlock
        statement = dialect.insert(blobs)
        changes = {"touched_at": statement.excluded.touched_at}
        connection.execute(statement.on_conflict_do_update(index_elements=[blobs.c.digest], set_=changes), batch)


def release_blobs(connection: Connection, tag: Tag) -> None:
    """Note when a bundle that is about to be deleted had its blobs: their grace begins now."""
    held = select(bundle_files.c.digest).join(bundles).where(*_is(tag))
    is_held = blobs.c.digest.in_(held)
    connection.execute(select(blobs.c.digest).where(is_held).order_by(blobs.c.digest).with_for_update())  # as above
    connection.execute(update(blobs).where(is_held).values(touched_at=database_time(connection)))


def unused_blobs(connection: Connection, *, before: datetime, limit: int) -> list[Blob]:
    """Return blobs that no bundle has and no upload names, and that were last touched ``before`` then."""
    statement = (
        select(blobs.c.digest, blobs.c.size_bytes)
        .where(blobs.c.touched_at <= before, *_UNUSED)
        .order_by(blobs.c.digest)
    )
    return [Blob(digest, size_bytes) for digest, size_bytes in connection.execute(statement.limit(limit))]


def count_unused(connection: Connection, *, before: datetime) -> tuple[int, int]:
    """Return how many blobs `unused_blobs` would return in all, and their bytes."""
    statement = select(func.count(), func.coalesce(func.sum(blobs.c.size_bytes), 0)).where(
        blobs.c.touched_at <= before, *_UNUSED
    )
    count, size_bytes = connection.execute(statement).one()
    return int(count), int(size_bytes)


_UNUSED: tuple[ColumnElement[bool], ...] = (
    not_(exists().where(bundle_files.c.digest == blobs.c.digest)),
    not_(exists().where(upload_blobs.c.digest == blobs.c.digest)),
)


def delete_blobs(connection: Connection, digests: Sequence[str]) -> None:
    """Remove the rows of blobs."""
    for batch in batches(digests):
        connection.execute(delete(blobs).where(blobs.c.digest.in_(batch)))


def _is(tag: Tag) -> tuple[ColumnElement[bool], ...]:
    return (bundles.c.namespace == tag.namespace, bundles.c.name == tag.name, bundles.c.version == tag.version)
