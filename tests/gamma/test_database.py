"""The database: its tables are what the migrations make, and one that is too new is left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

from kappa.errors import GammaError
from kappa.gamma import migrations
from kappa.gamma.database import migrate, open_database, sqlite_url
from kappa.gamma.tables import REVISION, metadata


def test_the_migrations_make_exactly_the_tables_that_an_empty_database_gets(tmp_path: Path) -> None:
    migrated = create_engine(sqlite_url(tmp_path / "migrated.db"), poolclass=NullPool)
    with migrated.begin() as connection:
        migrate(connection)
    for engine in (migrated, open_database(sqlite_url(tmp_path / "storage.db"))):
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []
            assert context.get_current_revision() == REVISION
            assert sorted(inspect(connection).get_table_names()) == sorted([*metadata.tables, "alembic_version"])


def test_the_newest_migration_is_the_one_that_the_code_asks_for() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_heads() == [REVISION]


@pytest.mark.parametrize("is_new", [True, False])
def test_a_database_that_is_new_or_at_the_newest_is_opened_without_alembic(is_new: bool, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "storage.db")
    if not is_new:
        open_database(url).dispose()
    code = (
        "import sys\nfrom kappa.gamma.database import open_database\n"
        f"open_database({url!r})\nsys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_database_of_a_newer_kappa_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "storage.db")
    with open_database(url).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(GammaError, match="at the revision `9999`, which this Kappa does not know"):
        open_database(url)


def test_rows_of_a_bundle_go_with_it(tmp_path: Path) -> None:
    with open_database(sqlite_url(tmp_path / "storage.db")).begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO bundles (namespace, name, version, created_at, uri, kappa_version, content_digest, "
            "bundle_digest, size_bytes, view) VALUES ('n', 'Iris', '1', '2026-01-01', 'Iris/1', '0', '', '', 0, '{}')"
        )
        connection.exec_driver_sql("INSERT INTO labels VALUES ('n', 1, 'team', 'growth')")
        connection.exec_driver_sql("DELETE FROM bundles")
        assert connection.exec_driver_sql("SELECT count(*) FROM labels").scalar() == 0
