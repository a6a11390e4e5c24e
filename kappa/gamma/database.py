"""The database of the registry: opened, and brought to the newest tables where it is older.

SQLite is the default, one file that several processes write to: each waits for the others instead of failing, and a
transaction takes its write lock when it begins, so that no two of them read the same state and then both write. Its
connections are opened for each use, which costs nothing, so that none is left open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from kappa.errors import GammaError
from kappa.gamma.tables import REVISION

__all__ = ["open_database", "reading", "sqlite_url", "upgrade"]

_BUSY_TIMEOUT_S = 30.0
_READS = {"kappa_reads": True}


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file, which need not exist."""
    return f"sqlite:///{path}"


def open_database(url: str) -> Engine:
    """Connect to a database and bring its tables to the newest; raises `GammaError`.

    The caller makes sure that no other process does the same at the same time.
    """
    is_sqlite = url.startswith("sqlite")
    own: dict[str, Any] = {"connect_args": {"timeout": _BUSY_TIMEOUT_S}, "poolclass": NullPool} if is_sqlite else {}
    engine = create_engine(url, **own)
    if is_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    try:
        with engine.begin() as connection:
            upgrade(connection)
    except DatabaseError as exc:
        place = engine.url.render_as_string(hide_password=True)
        engine.dispose()
        raise GammaError(f"The database `{place}` cannot be used: {exc.orig}.") from exc
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that only reads, and so waits for no writer of an SQLite file."""
    with engine.connect().execution_options(**_READS) as connection:
        yield connection


def upgrade(connection: Connection) -> None:
    """Run the migrations that a database lacks; raises `GammaError` for one that a newer Kappa made."""
    current = _revision_of(connection)
    if current == REVISION:
        return
    # Alembic takes a third of a second to import, so it is only for a database that needs it.
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
            f"The database is at the revision `{current}`, which this Kappa does not know: a newer one made it. "
            "Upgrade Kappa."
        ) from exc


def _scripts() -> Path:
    return Path(str(import_module("kappa.gamma.migrations").__file__)).parent


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
