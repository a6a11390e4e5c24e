"""The image of the Gamma server: both of the concepts page's lines, each with a bundle that is pushed and pulled."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from kappa.gamma.clients.connecting import connect
from kappa.tag import Tag
from tests.containers.engines import BASE_IMAGE, Door
from tests.eventually import eventually
from tests.gamma.postgres_server import running_postgres
from tests.gamma.s3 import CREDENTIALS, make_bucket, s3_server
from tests.gamma.sealed import pull, push, seal

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]  # the image takes minutes

ROOT = Path(__file__).parents[2]
NAME = "kappa-tests/gamma-service"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
OWNER = 4321


@pytest.fixture(scope="module")
def image(docker: Door) -> str:
    """Build the image, and return its name."""
    certificates = ["--build-arg", f"PIP_CERT={CERTIFICATES}"] if Path(CERTIFICATES).is_file() else []
    done = subprocess.run(
        ["bash", ROOT / "docker" / "gamma-service" / "build.sh", "--network", "host", *certificates],
        env={**docker.environ, "BASE": BASE_IMAGE, "ENGINE": docker.command, "NAME": NAME, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.splitlines()[-1]


@contextmanager
def running(docker: Door, *words: str) -> Iterator[str]:
    """Yield a container until the block ends, once its server has printed its banner."""
    container = docker.ask("run", "--detach", *words).splitlines()[-1]

    def log() -> str:
        done = subprocess.run(
            [docker.command, "logs", container], env=dict(docker.environ), capture_output=True, text=True, check=False
        )
        return f"{done.stdout}{done.stderr}"

    def has_started() -> bool:
        assert docker.ask("inspect", "--format", "{{.State.Running}}", container) == "true", log()
        return "Usage: " in log()

    try:
        eventually(has_started, why=log)
        yield container
    finally:
        with suppress(AssertionError):
            docker.ask("rm", "--force", "--volumes", container)


def is_kept(url: str, version: str = "1") -> None:
    """Push a bundle to a server, and pull it."""
    client = connect(url)
    bundle = seal(version, {"Iris/artifacts/model.bin": os.urandom(3 << 20)})
    push(client, bundle)
    assert pull(client, Tag("Iris", version)) == bundle.contents
    client.close()


def test_the_pages_line_for_one_machine(docker: Door, image: str, tmp_path: Path) -> None:
    home = tmp_path / "kappa"
    home.mkdir()
    os.chown(home, OWNER, OWNER)
    options = ("-v", f"{home}:/kappa", "-p", "127.0.0.1::3000", "-p", "127.0.0.1::50051")
    urls = ("--db-url=sqlite:///kappa/storage.db", "--repo-base-url=/kappa/repository")
    with running(docker, *options, image, *urls) as container:
        is_kept(docker.ask("port", container, "50051/tcp").splitlines()[0])
        is_kept(f"http://{docker.ask('port', container, '3000/tcp').splitlines()[0]}", "2")
        assert docker.ask("stop", "-t", "30", container)
        assert docker.ask("inspect", "--format", "{{.State.ExitCode}}", container) == "0"
    files = [home / "storage.db", home / "repository" / "Iris" / "1" / "kappa.yml", home / "logs"]
    assert [path.stat().st_uid for path in files] == [OWNER] * 3


@pytest.mark.postgres
@pytest.mark.s3
def test_the_pages_line_for_a_team(docker: Door, image: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running_postgres(port=port) as databases, s3_server(tmp_path) as endpoint:
        engine = create_engine(
            databases.empty().replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE ROLE scott LOGIN PASSWORD 'tiger'")
            connection.exec_driver_sql("CREATE DATABASE bentomldb OWNER scott")
        engine.dispose()
        keys = ["-e", f"AWS_SECRET_ACCESS_KEY={CREDENTIALS['AWS_SECRET_ACCESS_KEY']}"]
        keys += ["-e", f"AWS_ACCESS_KEY_ID={CREDENTIALS['AWS_ACCESS_KEY_ID']}"]
        around = ["--network", "host", "-e", f"AWS_ENDPOINT_URL={endpoint}", "-e", "KAPPA_GAMMA_HOST=127.0.0.1"]
        around += ["-e", "KAPPA_GAMMA_GRPC_PORT=0", "-e", "KAPPA_GAMMA_UI_PORT=0"]
        database = ("--db-url", f"postgresql://scott:tiger@localhost:{port}/bentomldb")
        storage = ("--repo-base-url", f"s3://{make_bucket(endpoint)}/")
        with running(docker, *around, *keys, image, *database, *storage) as container:
            banner = docker.ask("logs", container)
            match = re.search(r"\* Running on (\S+) ", banner)
            assert match is not None, banner
            is_kept(match[1])
            assert "tiger" not in banner
