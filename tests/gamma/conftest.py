"""A registry of bundles that hold nothing but a manifest, beside SQLite and, where that is marked, PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from kappa.gamma.database import open_database, sqlite_url
from kappa.gamma.directories import DirectoryStorage
from kappa.gamma.local_store import LocalStore
from kappa.spec.manifest import read_manifest
from kappa.tag import DEFAULT_NAMESPACE
from tests.gamma.postgres_server import running_postgres

pytest.register_assert_rewrite("tests.gamma.registry_contract")

Stage = Callable[..., Path]
Put = Callable[..., Path]
Open = Callable[[], LocalStore]
Connected = Callable[[], AbstractContextManager[Connection]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Start a PostgreSQL of this run's own; return a function that makes a database and returns its URL."""
    with running_postgres() as make:
        yield make


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=[pytest.mark.engine, pytest.mark.postgres])])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database that is empty or not there, of each kind in turn."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "storage.db")
    url: str = request.getfixturevalue("postgres")()
    return url


@pytest.fixture
def connected(database_url: str) -> Connected:
    """Return a function that opens the database and yields a connection to it, in a transaction."""

    @contextmanager
    def connect() -> Iterator[Connection]:
        engine = open_database(database_url)
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    return connect


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path / "repository")


@pytest.fixture
def open_store(storage: DirectoryStorage, database_url: str) -> Iterator[Open]:
    """Return a function that opens the store anew, as another process would."""
    opened: list[LocalStore] = []

    def open_anew() -> LocalStore:
        opened.append(LocalStore(DirectoryStorage(storage.root), database_url))
        return opened[-1]

    yield open_anew
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Open) -> LocalStore:
    return open_store()


@pytest.fixture
def put(store: LocalStore, stage_bundle: Stage) -> Put:
    """Return a function that puts a bundle into the store: name, version, namespace, and options of `stage_bundle`."""

    def put_bundle(name: str, version: str, *, namespace: str = DEFAULT_NAMESPACE, **options: object) -> Path:
        with store.staging() as staging:
            staged = stage_bundle(staging / "bundle", name, version, **options)
            return store.put(staged, read_manifest(staged), namespace=namespace)

    return put_bundle
