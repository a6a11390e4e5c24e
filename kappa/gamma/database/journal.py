"""How an SQLite file keeps a transaction until it is complete: in a write-ahead log, or in a rollback journal.

With the log (https://sqlite.org/wal.html) readers do not wait for a writer, nor a writer for readers. Its processes
share memory through a file beside the database, so they must all run on one host. The log is used on file systems that
Kappa knows to be local. Anywhere else, as on NFS, it is not.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

__all__ = ["allows_wal", "choose_journal", "keep_log_open", "reading_file"]

_MOUNTS = Path("/proc/self/mountinfo")
"""What is mounted where; Linux has it (proc_pid_mountinfo(5))."""
_LOCAL = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def choose_journal(file: Path, *, timeout_s: float) -> None:
    """Let an SQLite file have the write-ahead log where its file system allows it, and else the rollback journal.

    The file keeps that choice. While others use it, one without the log stays as it is; one with it raises
    `sqlite3.OperationalError` where it must not have it.
    """
    with closing(sqlite3.connect(file, timeout=timeout_s)) as connection:
        (present,) = connection.execute("PRAGMA journal_mode").fetchone()
        if allows_wal(file):
            if present != "wal":
                with suppress(sqlite3.OperationalError):
                    connection.execute("PRAGMA journal_mode = WAL")
        elif present == "wal":
            connection.execute("PRAGMA journal_mode = DELETE")


def keep_log_open(file: Path) -> sqlite3.Connection:
    """Return a connection that keeps the files of a write-ahead log, which go with the last one.

    As long as they are there, a full disk keeps nobody from reading. It is for a process that serves for long.
    """
    connection = sqlite3.connect(file, check_same_thread=False)
    connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    return connection


def allows_wal(file: Path, *, mounts: Path = _MOUNTS) -> bool:
    """Return whether a file is known to be on a file system of this host alone."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    path = Path(os.path.realpath(file))
    kind, depth = "", -1
    for line in lines:
        fields, _, source = line.partition(" - ")
        point = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields.split(" ")[4]))
        if path.is_relative_to(point) and len(point.parts) >= depth:  # the last one of a point hides the others
            kind, depth = source.split(" ")[0], len(point.parts)
    return kind in _LOCAL


@contextmanager
def reading_file(file: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that reads an SQLite file beside which nothing can be written, and what its log holds."""
    log, memory = (file.with_name(f"{file.name}{suffix}") for suffix in ("-wal", "-shm"))
    with ExitStack() as stack:
        options = "immutable=1"
        if log.is_file() and log.stat().st_size:
            if memory.is_file():  # it is written to by others
                options = "mode=ro"
            else:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kappa-")))
                for source in (file, log):
                    shutil.copy(source, folder)
                file, options = folder / file.name, "mode=rw"
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?{options}", uri=True)
        yield stack.enter_context(closing(connection))
