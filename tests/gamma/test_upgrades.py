"""Databases of every released schema, as the Kappa of then wrote them: each is brought to the newest and loses nothing.

``databases/<revision>.db`` is of SQLite, ``<revision>.postgres.sql`` what `pg_dump --inserts` made of PostgreSQL. Both
hold two versions of `Iris` and one of `Wine`, and `Iris:1` of the namespace `team-b`, with labels and locks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from kappa.errors import DestinationExistsError
from kappa.gamma.database import migrations
from kappa.gamma.database.bundles import add_bundle
from kappa.gamma.database.engine import open_database, sqlite_url
from kappa.gamma.database.tables import metadata
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.gamma.tokens import all_tokens, create_token
from kappa.labels import parse_selector
from kappa.spec.store import BundleRecord, Query
from kappa.tag import ALL_NAMESPACES, BundleReference, Tag
from tests.gamma.sealed import push, seal

DATABASES = Path(__file__).parent / "databases"
RELEASED = sorted(file.stem for file in DATABASES.glob("*.db"))


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    return empty_database_url


@pytest.fixture(params=RELEASED)
def released_url(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> str:
    """Return the URL of a database of a released schema, of each kind in turn."""
    revision: str = request.param
    if database_url.startswith("sqlite"):
        shutil.copy(DATABASES / f"{revision}.db", tmp_path / "storage.db")
        return sqlite_url(tmp_path / "storage.db")
    engine = create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with engine.begin() as connection:
        cursor = connection.connection.cursor()
        cursor.execute((DATABASES / f"{revision}.postgres.sql").read_text(encoding="utf-8"))
    return database_url


@pytest.fixture
def service(released_url: str, tmp_path: Path) -> Iterator[GammaService]:
    service = GammaService(open_storage("memory://", environ={"KAPPA_HOME": str(tmp_path)}), released_url)
    yield service
    service.close()


def tags(service: GammaService, selector: str = "", **options: str) -> list[str]:
    requirements = parse_selector(selector) if selector else ()
    return [str(record.tag) for record in service.list_bundles(Query(selector=requirements, **options))]  # type: ignore[arg-type]


def test_every_released_schema_has_its_databases() -> None:
    revisions = {script.revision for script in ScriptDirectory(str(Path(migrations.__file__).parent)).walk_revisions()}
    assert "0001" in RELEASED
    assert set(RELEASED) < revisions
    assert sorted(file.name.partition(".")[0] for file in DATABASES.glob("*.sql")) == RELEASED


def test_an_older_database_has_exactly_the_newest_tables_then(service: GammaService, released_url: str) -> None:
    service.open()
    engine = open_database(released_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_an_older_database_answers_as_before_and_more(service: GammaService) -> None:
    assert tags(service) == ["Iris:2", "Wine:1", "Iris:1"]
    assert tags(service, namespace="team-b") == ["team-b/Iris:1"]
    record = service.resolve(BundleReference("Iris", "1"))
    built = datetime(2026, 1, 1, 12, 30, 15, 250_000, tzinfo=timezone.utc)
    assert (record.created_at, record.registered_at, record.size_bytes) == (built, built, 1234)
    assert (dict(record.labels), record.bundle_digest) == ({"team": "growth", "stage": "test"}, "sha256:" + "aa" * 32)
    assert service.resolve(BundleReference("Iris")).tag == Tag("Iris", "2")
    assert tags(service, "team Exists") == ["Iris:2", "Iris:1"]
    assert tags(service, "team=growth") == ["Iris:1"]
    assert tags(service, requires="pillow<11.1") == ["Iris:1"]
    assert tags(service, requires="numpy") == ["Iris:2", "Iris:1"]
    assert tags(service, requires="pillow", namespace="team-b") == ["team-b/Iris:1"]


def test_an_older_database_is_written_to_as_a_new_one(service: GammaService, released_url: str) -> None:
    tag = Tag("Iris", "1")
    assert dict(service.set_labels(tag, {"stage": None, "era": "old"}, operation="").labels) == {
        "team": "growth",
        "era": "old",
    }
    assert service.set_alias(tag, "live", operation="").version == "1"
    record = service.resolve(BundleReference("Iris", "2"))
    service.delete([record.tag], operation="")
    engine = open_database(released_url)
    newer = BundleRecord(
        tag=record.tag,
        created_at=record.created_at,
        uri=record.uri,
        kappa_version="0.1.0",
        content_digest=record.content_digest,
        bundle_digest="sha256:" + "ee" * 32,
        size_bytes=1,
        view={},
        packages=(("pillow", "11.0"), ("flask", "3.0")),
    )
    with pytest.raises(DestinationExistsError, match="stays reserved"), engine.begin() as connection:
        add_bundle(connection, newer)
    with engine.begin() as connection:
        add_bundle(connection, replace(newer, tag=Tag("Iris", "3")))
    engine.dispose()
    assert tags(service, requires="pillow<11.1") == ["Iris:3", "Iris:1"]
    assert tags(service, requires="flask") == ["Iris:3"]


def test_an_older_database_has_tokens_and_uploads_that_belong_to_them(service: GammaService, released_url: str) -> None:
    service.open()
    token, _ = create_token(released_url, "ci", role="write", scope=["team-b/*"])
    assert all_tokens(released_url) == [token]
    view = service.seen_by(token.caller)
    assert tags(view) == []
    assert tags(view, namespace=ALL_NAMESPACES) == ["team-b/Iris:1"]
    bundle = seal("2")
    assert push(view, bundle, namespace="team-b").record.tag == Tag("Iris", "2", "team-b")
