"""The database of the store: opened, and migrated where it is older.

SQLite is the default, one file that several processes write to: each waits for the others instead of failing, and a
transaction takes its write lock when it begins, so that no two of them read the same state and then both write. Where
the file can have a write-ahead log, reads wait for nobody (`journal`). Its connections are opened for each use, which
costs little, so that none is left open. PostgreSQL, which several machines can share, is reached through psycopg 3.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool, StaticPool

from kappa.errors import GammaError, optional_import
from kappa.gamma.database import token_tables, transfer_tables
from kappa.gamma.database.journal import choose_journal, keep_log_open, reading_file
from kappa.gamma.database.tables import REVISION, metadata

__all__ = [
    "Closing",
    "explained",
    "failing_explained",
    "hold",
    "insert_unless_there",
    "keep_open",
    "migrate",
    "open_copy",
    "open_database",
    "open_present",
    "open_present_or_new",
    "reading",
    "sqlite_url",
    "upgrade",
]

_BUSY_TIMEOUT_S = 30.0
_READS = {"kappa_reads": True}
_REVISIONS = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""Where Alembic keeps at which revision a database is."""


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file, which need not exist."""
    return f"sqlite:///{path}"


def open_database(url: str) -> Engine:
    """Connect to a database and bring its tables to the newest; raises `GammaError`.

    The caller makes sure that no other process does the same at the same time.
    """
    address = make_url(url)
    if address.get_backend_name() == "sqlite" and address.database and address.database != ":memory:":
        with _naming(f"The database `{address.render_as_string(hide_password=True)}`"):
            choose_journal(Path(address.database), timeout_s=_BUSY_TIMEOUT_S)
    return _prepared(_connecting(url), upgrade)


def open_present(url: str) -> Engine:
    """Connect to a database that a Gamma server of this version made; raises `GammaError` for any other.

    Its tables stay as they are: a server may be working with them.
    """
    file = make_url(url).database
    if make_url(url).get_backend_name() == "sqlite" and not (file is not None and Path(file).is_file()):
        raise GammaError(f"There is no database `{file}`: give the `--db-url` of the Gamma server, on its host.")
    return _prepared(_connecting(url), _check_newest)


def open_present_or_new(url: str) -> Engine:
    """Do the same, and make the tables of a database that has none, as of an SQLite file that is not there."""

    def prepare(connection: Connection) -> None:
        (_create if _is_empty(connection) else _check_newest)(connection)

    return _prepared(_connecting(url), prepare)


def keep_open(url: str) -> Closing | None:
    """Keep what an SQLite file has beside it until that is closed (`keep_log_open`); ``None`` for other databases."""
    file = make_url(url).database
    if make_url(url).get_backend_name() != "sqlite" or not file or not Path(file).is_file():
        return None
    with _naming(f"The database `{file}`"):
        return keep_log_open(Path(file))


class Closing(Protocol):
    """What can be closed."""

    def close(self) -> None: ...


def _connecting(url: str) -> Engine:
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_TIMEOUT_S}, "poolclass": NullPool}
        return create_engine(address, **options)
    with optional_import("kappa-ml[postgres]", needed_for="a database of PostgreSQL"):
        # a connection that the server closed since, as when it was restarted, is made anew instead of failing a request
        driver, text_as = address.set(drivername="postgresql+psycopg"), {"client_encoding": "UTF8"}
        return create_engine(driver, pool_pre_ping=True, connect_args=text_as)


def _check_encoding(connection: Connection, address: str) -> None:
    """Raise `GammaError` for a database of PostgreSQL that cannot hold every text, or counts bytes as characters."""
    if connection.dialect.name != "postgresql":
        return
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding != "UTF8":
        raise GammaError(
            f"The database {address} has the encoding `{encoding}`, and Kappa needs `UTF8`: make one with "
            "`CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`."
        )


def _check_newest(connection: Connection) -> None:
    if (current := _revision_of(connection)) != REVISION:
        state = "is not one of a Gamma server" if current is None else f"is at the revision `{current}`"
        raise GammaError(
            f"The database {state}, and this Kappa works with `{REVISION}`: use the Kappa that the server runs with."
        )


def open_copy(url: str) -> Engine:
    """Connect to a copy in memory of an SQLite file that cannot be written to, or of none; raises `GammaError`."""
    file = make_url(url).database

    def connect() -> sqlite3.Connection:
        copy = sqlite3.connect(":memory:", check_same_thread=False)
        if file is not None and Path(file).is_file():
            with _naming("The database"), reading_file(Path(file)) as source:
                source.backup(copy)
        return copy

    return _prepared(create_engine("sqlite://", creator=connect, poolclass=StaticPool), upgrade)


def explained(exc: DatabaseError, address: str) -> GammaError:
    """Return the error of a database in Kappa's words; ``address`` names the database."""
    message = str(exc.orig).strip().rstrip(".")
    is_damaged = isinstance(exc.orig, sqlite3.DatabaseError) and any(word in message for word in _DAMAGED)
    advice = " Delete the file: it is made anew from the bundles." if is_damaged else ""
    return GammaError(f"{address} cannot be used: {message}.{advice}")


@contextmanager
def failing_explained() -> Iterator[None]:
    """Raise `GammaError` for a failure of the registry's database."""
    try:
        yield
    except DatabaseError as exc:
        raise explained(exc, "The registry's database") from exc


_DAMAGED = ("not a database", "malformed")


def _prepared(engine: Engine, prepare: Callable[[Connection], None]) -> Engine:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    address = f"`{engine.url.render_as_string(hide_password=True)}`"
    try:
        with engine.begin() as connection:
            _check_encoding(connection, address)
            prepare(connection)
    except BaseException as exc:
        engine.dispose()
        if isinstance(exc, DatabaseError):
            raise explained(exc, f"The database {address}") from exc
        raise
    return engine


@contextmanager
def _naming(address: str) -> Iterator[None]:
    """Raise `GammaError` for a failure of SQLite outside of SQLAlchemy."""
    try:
        yield
    except sqlite3.DatabaseError as exc:
        raise explained(DatabaseError(None, None, exc), address) from exc


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that only reads, and so waits for no writer of an SQLite file."""
    with engine.connect().execution_options(**_READS) as connection:
        yield connection


def insert_unless_there(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return the statement that adds rows to a table and passes over those whose key is there."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing()


def hold(connection: Connection, *names: str) -> None:
    """Wait until no other transaction holds one of these names, and hold them until this one ends.

    An SQLite file has one writer at a time anyway. In PostgreSQL these are advisory locks.
    """
    if connection.dialect.name == "postgresql":
        for name in sorted(set(names)):
            statement = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
            connection.execute(statement, {"name": f"kappa {name}"})


def upgrade(connection: Connection) -> None:
    """Bring a database to the newest tables; raises `GammaError` for one that a newer Kappa made.

    PERF: an empty one gets them at once, because Alembic takes a third of a second to import.
    """
    if _is_empty(connection):
        _create(connection)
    elif _revision_of(connection) != REVISION:
        migrate(connection)


def _is_empty(connection: Connection) -> bool:
    return not inspect(connection).get_table_names()


def _create(connection: Connection) -> None:
    for tables in (transfer_tables.blobs, token_tables.tokens):
        assert tables.metadata is metadata  # noqa: S101 - they are made, too
    metadata.create_all(connection)
    _REVISIONS.create(connection)
    connection.execute(_REVISIONS.insert().values(version_num=REVISION))


def migrate(connection: Connection) -> None:
    """Run the migrations that a database lacks; raises `GammaError` for one that a newer Kappa made."""
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(_scripts()))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as exc:
        raise GammaError(
            f"The database is at the revision `{_revision_of(connection)}`, which this Kappa does not know: a newer "
            "one made it. Upgrade Kappa."
        ) from exc


def _scripts() -> Path:
    return Path(str(import_module("kappa.gamma.database.migrations").__file__)).parent


def _revision_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # `_begin_immediate` says when a transaction begins
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_immediate(connection: Connection) -> None:
    reads = _READS.items() <= connection.get_execution_options().items()
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
