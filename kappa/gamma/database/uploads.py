"""Uploads as rows, on a connection of the caller's.

An upload is alive until `LEASE` after it was last written to, by the database's clock. All blobs of its bundle are
named from the beginning, those that are there already too, so that none of them is removed meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from kappa.errors import GammaError
from kappa.gamma.database.bundle_files import batches
from kappa.gamma.database.clock import aware, database_time
from kappa.gamma.database.transfer_tables import upload_blobs, uploads
from kappa.gamma.protocols.registry import BundleFile
from kappa.gamma.protocols.storage import Blob
from kappa.tag import Tag

__all__ = [
    "LEASE",
    "BegunUpload",
    "UploadedBlob",
    "add_upload",
    "blobs_of",
    "committed_sessions",
    "end_upload",
    "expired_sessions",
    "live_upload",
    "mark_committed",
    "mark_lost",
    "mark_whole",
    "remove_upload",
    "renew",
    "session_of",
    "sessions",
]

LEASE = timedelta(hours=24)
_LONG_AGO = datetime(1970, 1, 2, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class BegunUpload:
    """An upload that is alive."""

    session: str
    tag: Tag
    bundle_digest: str
    manifest: bytes
    files: tuple[BundleFile, ...]
    expires_at: datetime
    is_committed: bool
    needs_renewal: bool
    """Whether less than half of its time is left."""

    @property
    def blobs(self) -> dict[str, Blob]:
        """The blobs of its bundle by digest."""
        return {file.digest: Blob(file.digest, file.size_bytes) for file in self.files}


@dataclass(frozen=True, slots=True)
class UploadedBlob:
    """A blob of an upload."""

    blob: Blob
    is_whole: bool
    """Whether this upload has sent it."""
    is_lost: bool
    """Whether it must be sent although a bundle has it."""


def add_upload(
    connection: Connection,
    tag: Tag,
    *,
    bundle_digest: str,
    manifest: bytes,
    files: Sequence[BundleFile],
    token_id: str = "",
) -> str:
    """Begin an upload, which belongs to a token if one is named, and return its session."""
    session = secrets.token_hex(24)
    connection.execute(
        insert(uploads).values(
            session=session,
            namespace=tag.namespace,
            name=tag.name,
            version=tag.version,
            bundle_digest=bundle_digest,
            manifest=manifest,
            files=[asdict(file) for file in files],
            expires_at=database_time(connection) + LEASE,
            is_committed=False,
            token_id=token_id,
        )
    )
    sizes = {file.digest: file.size_bytes for file in files}
    rows = [
        {"session": session, "digest": digest, "size_bytes": size_bytes, "is_whole": False, "is_lost": False}
        for digest, size_bytes in sorted(sizes.items())
    ]
    connection.execute(insert(upload_blobs), rows)
    return session


def session_of(
    connection: Connection, tag: Tag, bundle_digest: str, manifest: bytes, *, token_id: str = ""
) -> str | None:
    """Return the live upload of a bundle that is not committed; ``None`` where there is none that is the token's."""
    statement = select(uploads.c.session, uploads.c.manifest).where(
        uploads.c.namespace == tag.namespace,
        uploads.c.name == tag.name,
        uploads.c.version == tag.version,
        uploads.c.bundle_digest == bundle_digest,
        uploads.c.expires_at > database_time(connection),
        uploads.c.is_committed.is_(False),
        *_belongs_to(token_id),
    )
    rows = connection.execute(statement.order_by(uploads.c.session)).all()
    return next((session for session, other in rows if bytes(other) == manifest), None)


def live_upload(connection: Connection, session: str, *, token_id: str = "") -> BegunUpload:
    """Return an upload; raises `GammaError` for one that was given up, or belongs to another token."""
    row = connection.execute(select(uploads).where(uploads.c.session == session, *_belongs_to(token_id))).first()
    moment = database_time(connection)
    if row is None or aware(row.expires_at) <= moment:
        raise GammaError(
            "This upload is not there any more: it was given up, or nothing was written for a day. Begin it again."
        )
    return _upload(row, moment)


def _belongs_to(token_id: str) -> tuple[ColumnElement[bool], ...]:
    """Return the condition on an upload's token; on a server without `--auth`, where nobody has one, there is none."""
    return (uploads.c.token_id == token_id,) if token_id else ()


def _upload(row: Row[tuple[object, ...]], moment: datetime) -> BegunUpload:
    return BegunUpload(
        session=row.session,
        tag=Tag(row.name, row.version, row.namespace),
        bundle_digest=row.bundle_digest,
        manifest=bytes(row.manifest),
        files=tuple(BundleFile(**file) for file in row.files),
        expires_at=aware(row.expires_at),
        is_committed=row.is_committed,
        needs_renewal=aware(row.expires_at) - moment < LEASE / 2,
    )


def renew(connection: Connection, session: str) -> None:
    """Let an upload live for another `LEASE`; one that was given up stays so."""
    moment = database_time(connection)
    is_alive = uploads.c.session == session, uploads.c.expires_at > moment
    connection.execute(update(uploads).where(*is_alive).values(expires_at=moment + LEASE))


def blobs_of(connection: Connection, session: str, digest: str | None = None) -> list[UploadedBlob]:
    """Return the blobs of an upload, or the one of a digest."""
    statement = select(upload_blobs).where(upload_blobs.c.session == session)
    if digest is not None:
        statement = statement.where(upload_blobs.c.digest == digest)
    rows = connection.execute(statement.order_by(upload_blobs.c.digest))
    return [UploadedBlob(Blob(row.digest, row.size_bytes), row.is_whole, row.is_lost) for row in rows]


def mark_whole(connection: Connection, session: str, digests: Iterable[str]) -> None:
    """Note that an upload has sent blobs."""
    for batch in batches(list(digests)):
        _mark(connection, session, batch, is_whole=True, is_lost=False)


def mark_lost(connection: Connection, session: str, digests: Iterable[str]) -> None:
    """Note that the storage lacks blobs that were sent, or that a bundle has."""
    for batch in batches(list(digests)):
        _mark(connection, session, batch, is_whole=False, is_lost=True)


def _mark(connection: Connection, session: str, digests: Sequence[str], *, is_whole: bool, is_lost: bool) -> None:
    rows = upload_blobs.c.session == session, upload_blobs.c.digest.in_(digests)
    connection.execute(update(upload_blobs).where(*rows).values(is_whole=is_whole, is_lost=is_lost))


def mark_committed(connection: Connection, session: str) -> None:
    """Note that the bundle is there: the upload answers for it until it expires, and holds no blobs."""
    connection.execute(delete(upload_blobs).where(upload_blobs.c.session == session))
    connection.execute(update(uploads).where(uploads.c.session == session).values(is_committed=True, files=[]))


def expired_sessions(connection: Connection) -> list[str]:
    """Return the uploads whose time is over."""
    statement = select(uploads.c.session).where(uploads.c.expires_at <= database_time(connection))
    return [session for (session,) in connection.execute(statement.order_by(uploads.c.session))]


def sessions(connection: Connection) -> set[str]:
    """Return all uploads that have a row."""
    return {session for (session,) in connection.execute(select(uploads.c.session))}


def committed_sessions(connection: Connection) -> set[str]:
    """Return the uploads whose bundle is there."""
    return set(connection.execute(select(uploads.c.session).where(uploads.c.is_committed.is_(True))).scalars())


def end_upload(connection: Connection, session: str, *, token_id: str = "") -> bool:
    """Let an upload expire for good, even if the clock is put back.

    Return whether it is there, not committed, and the token's.
    """
    rows = uploads.c.session == session, uploads.c.is_committed.is_(False), *_belongs_to(token_id)
    return connection.execute(update(uploads).where(*rows).values(expires_at=_LONG_AGO)).rowcount > 0


def remove_upload(connection: Connection, session: str) -> None:
    """Remove the row of an upload; one that is not there is no error."""
    connection.execute(delete(uploads).where(uploads.c.session == session))
