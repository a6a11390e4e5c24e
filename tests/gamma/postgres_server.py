"""A PostgreSQL of this run's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from tests.eventually import eventually

__all__ = ["program_of_postgres", "running_postgres"]


def program_of_postgres(name: str) -> Path:
    """Return one of PostgreSQL's programs; Debian puts only those that clients need on the PATH."""
    initdb = shutil.which("initdb") or max(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(initdb).resolve().with_name(name)


@contextmanager
def running_postgres(*, is_tuned: bool = False, port: int | None = None) -> Iterator[Callable[[], str]]:
    """Start a PostgreSQL; yield a function that makes a database and returns its URL.

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
    at_port = () if port is None else ("--port", str(port))
    options = ["-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off", "-c", "timezone=Asia/Tokyo"]
    if port is not None:
        options += ["-c", "listen_addresses=127.0.0.1", "-p", str(port)]
    if is_tuned:
        options += ["-c", "shared_buffers=512MB", "-c", "maintenance_work_mem=512MB", "-c", "max_wal_size=4GB"]
    command = [str(program_of_postgres("postgres")), "-D", str(folder / "data"), *options]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, user=user, stdout=log, stderr=log)

    def answers() -> bool:
        assert server.poll() is None, (folder / "log").read_text()
        ready = [str(program_of_postgres("pg_isready")), "--quiet", "--host", str(folder), *at_port]
        return subprocess.run(ready, check=False).returncode == 0

    def make() -> str:
        name = f"kappa_{uuid4().hex}"
        run("createdb", "--host", folder, *at_port, "--username", "kappa", name)
        return f"postgresql://kappa@/{name}?host={folder}{f'&port={port}' if port else ''}"

    try:
        eventually(answers)
        yield make
    finally:
        server.send_signal(signal.SIGINT)  # without waiting for clients
        server.wait(timeout=60)
        shutil.rmtree(folder)
