"""What nothing refers to, counted or removed.

An upload whose time is over goes with all that it sent. A blob of an object store goes once no bundle has it and no
upload names it, if it was last touched longer ago than the grace; a row is removed after its object, so that an
interrupted run leaves only rows, which the next one takes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Connection, Engine

from kappa.gamma.database.bundle_files import count_unused, delete_blobs, unused_blobs
from kappa.gamma.database.clock import database_time
from kappa.gamma.database.engine import reading
from kappa.gamma.database.uploads import committed_sessions, end_upload, expired_sessions, remove_upload, sessions
from kappa.gamma.protocols.registry import Garbage
from kappa.gamma.protocols.storage import BundleStorage

__all__ = ["collect_garbage"]

_AT_ONCE = 500
"""How many blobs are removed while nobody can commit."""


def collect_garbage(
    storage: BundleStorage, engine: Engine, lock: Callable[[Connection], None], *, grace: timedelta, dry_run: bool
) -> Garbage:
    """Count, and unless ``dry_run`` remove, what nothing refers to; ``lock`` keeps others from committing bundles."""
    stored = storage.sessions()  # before the rows are read: an upload has a row before it has anything else
    with reading(engine) as connection:
        ended = [*expired_sessions(connection), *sorted(stored - sessions(connection))]
        finished = sorted((stored & committed_sessions(connection)) - set(ended))  # by a process that died after that
        count, size_bytes = count_unused(connection, before=database_time(connection) - grace)
    if dry_run:
        return Garbage(count, size_bytes + _size_of(storage, [*ended, *finished]), len(ended), is_removed=False)
    storage.sweep()
    sent_bytes = sum(_remove_upload(storage, engine, session) for session in ended)
    sent_bytes += sum(storage.discard(session) for session in finished)
    count, size_bytes = 0, 0
    while True:
        with engine.begin() as connection:
            lock(connection)
            unused = unused_blobs(connection, before=database_time(connection) - grace, limit=_AT_ONCE)
            digests = [blob.digest for blob in unused]
            if digests:
                storage.remove_blobs(digests)
                delete_blobs(connection, digests)
        count, size_bytes = count + len(unused), size_bytes + sum(blob.size_bytes for blob in unused)
        if len(unused) < _AT_ONCE:
            return Garbage(count, size_bytes + sent_bytes, len(ended), is_removed=True)


def _remove_upload(storage: BundleStorage, engine: Engine, session: str) -> int:
    with engine.begin() as connection:
        end_upload(connection, session)
    size_bytes = storage.discard(session)
    with engine.begin() as connection:
        remove_upload(connection, session)
    return size_bytes


def _size_of(storage: BundleStorage, ended: list[str]) -> int:
    return sum(storage.size_of(session) for session in ended)
