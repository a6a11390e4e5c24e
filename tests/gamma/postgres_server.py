"""A PostgreSQL of this run's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from uuid import uuid4

from kappa.gamma.database.engine import open_database
from kappa.gamma.database.tables import metadata
from tests.eventually import eventually

__all__ = ["Databases", "program_of_postgres", "running_postgres"]


def program_of_postgres(name: str) -> Path:
    """Return one of PostgreSQL's programs; Debian puts only those that clients need on the PATH."""
    initdb = shutil.which("initdb") or max(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(initdb).resolve().with_name(name)


class Databases:
    """The databases of a server whose socket is in a folder, and which can be stopped and started again."""

    def __init__(self, folder: Path, port: int | None, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._folder, self._port, self._start = folder, port, start
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._server = self._start()
        eventually(self._answers)

    def stop(self) -> None:
        """End the server as a crash does: connections break off, and nothing more is written."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(timeout=60)

    def _answers(self) -> bool:
        assert self._server.poll() is None, (self._folder / "log").read_text()
        at_port = () if self._port is None else ("--port", str(self._port))
        ready = [str(program_of_postgres("pg_isready")), "--quiet", "--host", str(self._folder), *at_port]
        return subprocess.run(ready, check=False).returncode == 0

    def empty(self) -> str:
        """Make a database, and return its URL."""
        return self._create()

    def of_encoding(self, encoding: str) -> str:
        """Make a database whose text is encoded so, and return its URL."""
        return self._create(f" ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0")

    def ready(self) -> str:
        """Make a database that has the store's tables, as a copy of one, and return its URL."""
        return self._create(f" TEMPLATE {self._template}")

    def cleared(self) -> str:
        """Return the URL of a database that has the store's tables: always the same one, without any row.

        Nobody who had it before keeps a connection. A new database for each test would be 300 files to make and delete.
        """
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        engine = open_database(self._kept)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        engine.dispose()
        return self._kept

    @cached_property
    def _kept(self) -> str:
        return self.ready()

    @cached_property
    def _template(self) -> str:
        url = self.empty()
        open_database(url).dispose()
        return url.removeprefix("postgresql://kappa@/").partition("?")[0]

    def _create(self, options: str = "") -> str:
        import psycopg

        name = f"kappa_{uuid4().hex}"
        place = f"host={self._folder}{f' port={self._port}' if self._port else ''}"
        with psycopg.connect(f"{place} user=kappa dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}{options}")
        return f"postgresql://kappa@/{name}?host={self._folder}{f'&port={self._port}' if self._port else ''}"


@contextmanager
def running_postgres(*, is_tuned: bool = False, port: int | None = None) -> Iterator[Databases]:
    """Start a PostgreSQL, and yield its databases.

    It listens at a socket in its own folder alone, sorts as English does, and is in Tokyo. With ``is_tuned`` it has the
    memory of a small server; with ``port`` it also listens there, on the loopback interface.
    """
    folder = Path(tempfile.mkdtemp(prefix="kappa-postgres-"))
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user is not None:
        shutil.chown(folder, user)

    def run(program: str, *words: object) -> None:
        command = [str(program_of_postgres(program)), *map(str, words)]
        done = subprocess.run(command, cwd=folder, user=user, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    sorting = ("--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en")
    run("initdb", "--pgdata", folder / "data", "--username=kappa", "--auth=trust", "--no-sync", *sorting)
    options = ["-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off", "-c", "timezone=Asia/Tokyo"]
    if port is not None:
        options += ["-c", "listen_addresses=127.0.0.1", "-p", str(port)]
    if is_tuned:
        options += ["-c", "shared_buffers=512MB", "-c", "maintenance_work_mem=512MB", "-c", "max_wal_size=4GB"]
    command = [str(program_of_postgres("postgres")), "-D", str(folder / "data"), *options]

    def start() -> subprocess.Popen[bytes]:
        with (folder / "log").open("a") as log:
            return subprocess.Popen(command, cwd=folder, user=user, stdout=log, stderr=log)

    databases = Databases(folder, port, start)
    try:
        yield databases
    finally:
        databases.stop()
        shutil.rmtree(folder)
