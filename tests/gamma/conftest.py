"""A registry of bundles that hold nothing but a manifest, beside SQLite and, where that is marked, PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Connection

from kappa.gamma.database import open_database, sqlite_url
from kappa.gamma.directories import DirectoryStorage
from kappa.gamma.service import GammaService
from kappa.gamma.settling import Trees
from kappa.spec.manifest import read_manifest
from tests.eventually import eventually

Stage = Callable[..., Path]
Put = Callable[..., Path]
Open = Callable[[], GammaService]
Connected = Callable[[], AbstractContextManager[Connection]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Start a PostgreSQL of this run's own; return a function that makes a database and returns its URL.

    It listens at a socket in its own folder alone, sorts as English does, and is in Tokyo.
    """
    programs = shutil.which("initdb") or max(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    bin_ = Path(programs).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="kappa-postgres-"))
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user is not None:
        shutil.chown(folder, user)

    def run(program: str, *words: object) -> None:
        command = [str(bin_ / program), *map(str, words)]
        done = subprocess.run(command, cwd=folder, user=user, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    sorting = ("--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en")
    run("initdb", "--pgdata", folder / "data", "--username=kappa", "--auth=trust", "--no-sync", *sorting)
    options = ("-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off", "-c", "timezone=Asia/Tokyo")
    command = [str(bin_ / "postgres"), "-D", str(folder / "data"), *options]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, user=user, stdout=log, stderr=log)

    def answers() -> bool:
        assert server.poll() is None, (folder / "log").read_text()
        ready = [str(bin_ / "pg_isready"), "--quiet", "--host", str(folder)]
        return subprocess.run(ready, check=False).returncode == 0

    def make() -> str:
        name = f"kappa_{uuid4().hex}"
        run("createdb", "--host", folder, "--username", "kappa", name)
        return f"postgresql://kappa@/{name}?host={folder}"

    try:
        eventually(answers)
        yield make
    finally:
        server.send_signal(signal.SIGINT)  # without waiting for clients
        server.wait(timeout=60)
        shutil.rmtree(folder)


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
def open_service(storage: DirectoryStorage, database_url: str) -> Iterator[Open]:
    """Return a function that opens the registry anew, as another process would."""
    opened: list[GammaService] = []

    def open_anew() -> GammaService:
        own = DirectoryStorage(storage.root)
        opened.append(GammaService(own, database_url, trees=Trees(own)))
        return opened[-1]

    yield open_anew
    for service in opened:
        service.close()


@pytest.fixture
def service(open_service: Open) -> GammaService:
    return open_service()


@pytest.fixture
def put(service: GammaService, stage_bundle: Stage) -> Put:
    """Return a function that puts a bundle into the registry: name, version, and the options of `stage_bundle`."""

    def put_bundle(name: str, version: str, **options: object) -> Path:
        with service.staging() as staging:
            staged = stage_bundle(staging / "bundle", name, version, **options)
            return service.put(staged, read_manifest(staged))

    return put_bundle
