"""The database: its tables are what the migrations make, and one that is too new is left alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect
from sqlalchemy.pool import NullPool

from kappa.errors import GammaError, MissingDependencyError
from kappa.gamma.database import migrations
from kappa.gamma.database.engine import migrate, open_database, open_present
from kappa.gamma.database.tables import REVISION, metadata
from tests.gamma.postgres_server import Databases

Connected = Callable[[], AbstractContextManager[Connection]]


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    return empty_database_url


@pytest.mark.parametrize("is_migrated", [True, False])
def test_the_migrations_make_exactly_the_tables_that_an_empty_database_gets(
    is_migrated: bool, connected: Connected, database_url: str
) -> None:
    if is_migrated:
        engine = create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
        with engine.begin() as connection:
            migrate(connection)
    with connected() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION
        assert sorted(inspect(connection).get_table_names()) == sorted([*metadata.tables, "alembic_version"])


def test_the_newest_migration_is_the_one_that_the_code_asks_for() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_heads() == [REVISION]


@pytest.mark.parametrize("is_new", [True, False])
def test_a_database_that_is_new_or_at_the_newest_is_opened_without_alembic(is_new: bool, database_url: str) -> None:
    if not is_new:
        open_database(database_url).dispose()
    code = (
        "import sys\nfrom kappa.gamma.database.engine import open_database\n"
        f"open_database({database_url!r})\nsys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_database_of_a_newer_kappa_is_refused_and_left_as_it_is(connected: Connected, database_url: str) -> None:
    with connected() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(GammaError, match="at the revision `9999`, which this Kappa does not know"):
        open_database(database_url)


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(
        GammaError, match=r"^The database `postgresql\+psycopg://me:\*\*\*@.*` cannot be used: "
    ) as caught:
        open_database("postgresql://me:a-secret@/kappa?host=/surely/absent")
    assert "a-secret" not in str(caught.value)


def test_without_its_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'path/to/kappa\[postgres\]'"):
        open_database("postgresql://me@/kappa")


def test_rows_of_a_bundle_go_with_it(connected: Connected) -> None:
    with connected() as connection:
        connection.exec_driver_sql(
            "INSERT INTO bundles (namespace, name, version, created_at, created_us, uri, kappa_version, "
            "content_digest, bundle_digest, size_bytes, view, registered_at, ranked_at, created_by) VALUES "
            "('n', 'Iris', '1', '2026-01-01', 0, 'Iris/1', '0', '', '', 0, '{}', '2026-01-01', '2026-01-01', '')"
        )
        connection.exec_driver_sql("INSERT INTO labels VALUES ('n', 1, 'team', 'growth', 0)")
        connection.exec_driver_sql("DELETE FROM bundles")
        assert connection.exec_driver_sql("SELECT count(*) FROM labels").scalar() == 0


@pytest.mark.engine
@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
@pytest.mark.parametrize("opened", [open_database, open_present])
def test_a_postgres_database_of_another_encoding_is_refused(
    postgres: Databases, opened: Callable[[str], Engine], encoding: str
) -> None:
    with pytest.raises(GammaError, match=f"has the encoding `{encoding}`, and Kappa needs `UTF8`: make one with"):
        opened(postgres.of_encoding(encoding))


@pytest.mark.engine
@pytest.mark.postgres
def test_connections_that_a_server_closed_fail_no_request(postgres: Databases) -> None:
    """Let the server close what is kept open, as one that is restarted does."""
    url = postgres.ready()
    engine, other = open_database(url), open_database(url)
    with engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    with other.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT pg_terminate_backend({kept}, 60000)").scalar() is True
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar() != kept
    engine.dispose()
    other.dispose()
