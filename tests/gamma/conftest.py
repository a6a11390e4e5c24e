"""A registry of bundles that hold nothing but a manifest, beside SQLite and, where that is marked, PostgreSQL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from kappa.gamma.database.engine import open_database, sqlite_url
from kappa.gamma.local_store import LocalStore
from kappa.gamma.protocols.storage import BundleStorage
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.gamma.storages.opening import open_storage
from kappa.spec.manifest import read_manifest
from kappa.tag import DEFAULT_NAMESPACE
from tests.gamma.postgres_server import Databases, running_postgres
from tests.gamma.s3 import environment, make_bucket, s3_server, s3rver

pytest.register_assert_rewrite("tests.gamma.registry_contract")

Stage = Callable[..., Path]
Put = Callable[..., Path]
Open = Callable[[], LocalStore]
Connected = Callable[[], AbstractContextManager[Connection]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """Start a PostgreSQL of this run's own, and return its databases."""
    with running_postgres() as databases:
        yield databases


@pytest.fixture(scope="session")
def ready_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database of SQLite that has the store's tables and no row."""
    path = tmp_path_factory.mktemp("ready") / "storage.db"
    open_database(sqlite_url(path)).dispose()
    return path


DATABASES = ["sqlite", pytest.param("postgres", marks=[pytest.mark.engine, pytest.mark.postgres])]


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path, ready_file: Path) -> str:
    """Return the URL of a database that has the store's tables and no row, of each kind in turn."""
    if request.param == "sqlite":
        shutil.copyfile(ready_file, tmp_path / "storage.db")
        return sqlite_url(tmp_path / "storage.db")
    databases: Databases = request.getfixturevalue("postgres")
    return databases.cleared()


@pytest.fixture(params=DATABASES)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database that is empty or not there, of each kind in turn."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "storage.db")
    databases: Databases = request.getfixturevalue("postgres")
    return databases.empty()


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


# -- storages of every kind --------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start an S3 server of this run's own, moto's, and return its endpoint."""
    with s3_server(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def second_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start another S3 server, s3rver, and return its endpoint; the processes of a test run install it once."""
    base = tmp_path_factory.getbasetemp()
    programs = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "npm"
    with s3rver(tmp_path_factory.mktemp("s3rver"), programs) as endpoint:
        yield endpoint


PAIRS = frozenset(
    {
        ("directory", "sqlite"),
        ("file", "sqlite"),
        ("memory", "sqlite"),
        ("second_s3", "sqlite"),
        ("directory", "postgres"),
        ("s3", "postgres"),
    }
)
"""Which storages are tried with which database: each storage once, and PostgreSQL with both kinds that a team has."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out every other pair of a storage and a database."""
    parameters = [getattr(getattr(item, "callspec", None), "params", {}) for item in items]
    pairs = [(values.get("registry_storage"), values.get("database_url")) for values in parameters]
    left_out = [item for item, pair in zip(items, pairs, strict=True) if None not in pair and pair not in PAIRS]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


S3_SERVERS = [
    pytest.param("s3", marks=[pytest.mark.engine, pytest.mark.s3]),
    pytest.param("second_s3", marks=[pytest.mark.engine, pytest.mark.node]),
]


@pytest.fixture(params=["directory", "file", "memory", *S3_SERVERS])
def registry_storage(request: pytest.FixtureRequest, tmp_path: Path) -> BundleStorage:
    """Return an empty storage of each kind in turn."""
    environ = {"KAPPA_HOME": str(tmp_path / "home")}
    if request.param in ("s3", "second_s3"):
        endpoint: str = request.getfixturevalue(request.param)
        return open_storage(f"s3://{make_bucket(endpoint)}/bundles", environ={**environ, **environment(endpoint)})
    urls = {"directory": str(tmp_path / "repository"), "file": f"file://{tmp_path}/objects", "memory": "memory://"}
    return open_storage(urls[request.param], environ=environ)


@pytest.fixture
def open_registry(registry_storage: BundleStorage, database_url: str) -> Iterator[Callable[[], GammaService]]:
    """Return a function that opens a registry on that storage anew."""
    opened: list[GammaService] = []

    def open_anew() -> GammaService:
        opened.append(GammaService(registry_storage, database_url))
        return opened[-1]

    yield open_anew
    for service in opened:
        service.close()


@pytest.fixture
def registry(open_registry: Callable[[], GammaService]) -> GammaService:
    return open_registry()
