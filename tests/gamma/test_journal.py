"""The journal of an SQLite file: a write-ahead log where the file system is local, and then nobody waits to read it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kappa.errors import GammaError
from kappa.gamma.database import engine as engine_module
from kappa.gamma.database import journal
from kappa.gamma.database.engine import open_copy, open_database, reading, sqlite_url
from kappa.gamma.database.journal import allows_wal, choose_journal
from kappa.gamma.local_store import LocalStore
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.tag import Tag

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /home rw,relatime shared:2 - nfs4 server:/home rw,vers=4.2
31 30 254:1 / /home/me/local\\040disk rw shared:3 - xfs /dev/vdb rw
32 22 0:41 / /mnt/share rw - cifs //server/share rw
33 22 0:42 / /mnt/ssh rw - fuse.sshfs me@host: rw
34 22 0:43 / /mnt/over rw - ext4 /dev/vdc rw
35 22 0:44 / /mnt/over rw - nfs server:/over rw
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "storage.db"
    if not allows_wal(path):
        pytest.skip("temporary files are on no file system that is known to be local")
    open_database(sqlite_url(path)).dispose()
    return path


@pytest.fixture
def raw(file: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection of another program to the file."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as connection:
        yield connection


@pytest.fixture
def remote_file_system(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which all files are on a file system that several hosts have."""
    return lambda: monkeypatch.setattr(journal, "allows_wal", lambda file: False)


def mode_of(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    return str(mode)


@pytest.mark.parametrize(
    ("path", "is_allowed"),
    [
        ("/var/lib/kappa/storage.db", True),
        ("/home/me/kappa/storage.db", False),
        ("/home/me/local disk/storage.db", True),
        ("/homes/storage.db", True),
        ("/mnt/share/storage.db", False),
        ("/mnt/ssh/storage.db", False),
        ("/mnt/over/storage.db", False),
    ],
)
def test_only_a_file_system_of_one_host_gets_a_write_ahead_log(path: str, is_allowed: bool, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS, encoding="utf-8")
    assert allows_wal(Path(path), mounts=mounts) is is_allowed


def test_where_mounts_cannot_be_read_there_is_no_write_ahead_log(tmp_path: Path) -> None:
    assert not allows_wal(tmp_path / "storage.db", mounts=tmp_path / "absent")


def test_a_database_gets_a_write_ahead_log_and_every_commit_is_synced(file: Path) -> None:
    assert mode_of(file) == "wal"
    engine = open_database(sqlite_url(file))
    with reading(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    engine.dispose()


def test_nobody_waits_to_read_while_another_writes(file: Path, raw: sqlite3.Connection) -> None:
    engine = open_database(sqlite_url(file))
    raw.execute("BEGIN EXCLUSIVE")
    raw.execute("INSERT INTO distributions (namespace, name) VALUES ('default', 'numpy')")
    count = "SELECT count(*) FROM distributions"
    with reading(engine) as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        assert connection.exec_driver_sql(count).scalar() == 0
        raw.execute("COMMIT")  # nor does who writes wait for who reads
        assert connection.exec_driver_sql(count).scalar() == 0
    with reading(engine) as connection:
        assert connection.exec_driver_sql(count).scalar() == 1
    engine.dispose()


def test_a_database_that_moved_to_a_file_system_of_several_hosts_loses_its_log(
    file: Path, remote_file_system: Callable[[], None]
) -> None:
    remote_file_system()
    open_database(sqlite_url(file)).dispose()
    assert mode_of(file) == "delete"


def test_a_log_that_cannot_be_given_up_because_others_use_it_is_an_error(
    file: Path, raw: sqlite3.Connection, remote_file_system: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw.execute("BEGIN IMMEDIATE")
    remote_file_system()
    monkeypatch.setattr(engine_module, "_BUSY_TIMEOUT_S", 0.0)
    with pytest.raises(GammaError, match=r"^The database `sqlite:.*storage.db` cannot be used: database is locked\.$"):
        open_database(sqlite_url(file))


def test_a_database_that_is_in_use_keeps_its_rollback_journal_until_it_is_opened_again(
    file: Path, raw: sqlite3.Connection
) -> None:
    raw.execute("PRAGMA journal_mode = DELETE")
    raw.execute("BEGIN IMMEDIATE")
    choose_journal(file, timeout_s=0)
    assert mode_of(file) == "delete"
    raw.execute("ROLLBACK")
    choose_journal(file, timeout_s=0)
    assert mode_of(file) == "wal"


@pytest.mark.parametrize("is_shared", [True, False], ids=["beside its writer", "as its writer left it when it died"])
def test_what_only_the_log_holds_is_read_where_nothing_can_be_written(
    is_shared: bool, file: Path, raw: sqlite3.Connection, tmp_path: Path
) -> None:
    raw.execute("INSERT INTO distributions (namespace, name) VALUES ('default', 'numpy')")
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("storage.db", "storage.db-wal"):
        shutil.copy(tmp_path / name, folder)
    source = file if is_shared else folder / "storage.db"
    before = {path.name: path.read_bytes() for path in source.parent.glob("storage*") if path.suffix != ".db-shm"}
    engine = open_copy(sqlite_url(source))
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT name FROM distributions").scalars().all() == ["numpy"]
    engine.dispose()
    after = {path.name: path.read_bytes() for path in source.parent.glob("storage*") if path.suffix != ".db-shm"}
    assert after == before


def test_a_database_that_is_deleted_while_its_log_stays_is_made_anew(
    stage_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    store = LocalStore(DirectoryStorage(tmp_path / "repository"), sqlite_url(tmp_path / "storage.db"))
    stage_bundle(tmp_path / "repository" / "Iris" / "1", "Iris", "1")
    assert [record.tag for record in store.list_bundles()] == [Tag("Iris", "1")]
    with closing(sqlite3.connect(tmp_path / "storage.db")) as other:  # so that the log is not cleaned up
        other.execute("SELECT count(*) FROM bundles").fetchone()
        store.set_labels(Tag("Iris", "1"), {"stage": "test"})
        log = (tmp_path / "storage.db-wal").read_bytes()
    assert log
    (tmp_path / "storage.db").unlink()
    (tmp_path / "storage.db-wal").write_bytes(log)
    anew = LocalStore(DirectoryStorage(tmp_path / "repository"), sqlite_url(tmp_path / "storage.db"))
    assert [dict(record.labels) for record in anew.list_bundles()] == [{}]
