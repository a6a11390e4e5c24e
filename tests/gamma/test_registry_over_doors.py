"""The contract of registries over gRPC and HTTP: to a server in this process, and to one of PostgreSQL and S3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from kappa.gamma.clients.connecting import connect
from kappa.gamma.database.engine import open_database, sqlite_url
from kappa.gamma.database.tables import metadata
from kappa.gamma.protocols.registry import Registry
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.tag import Tag
from tests.gamma.postgres_server import Databases
from tests.gamma.processes import gamma_process
from tests.gamma.registry_contract import *  # noqa: F403 - the tests
from tests.gamma.registry_contract import Push, pushing_to
from tests.gamma.s3 import environment, make_bucket
from tests.gamma.sealed import pull, seal
from tests.gamma.sealed import push as upload_whole
from tests.gamma.servers import Protocol, serving

TEAM = [pytest.mark.engine, pytest.mark.postgres, pytest.mark.s3]
SECOND_TEAM = [pytest.mark.engine, pytest.mark.postgres, pytest.mark.node]


@dataclass(frozen=True)
class Team:
    """A server process, and its database."""

    grpc: str
    http: str
    database_url: str

    def clear(self) -> None:
        engine = open_database(self.database_url)
        with engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        engine.dispose()


@contextmanager
def started(database_url: str, endpoint: str, home: Path) -> Iterator[Team]:
    """Start `kappa gamma-service-start` as teams do: on PostgreSQL and an S3 bucket."""
    arguments = ("--db-url", database_url, "--repo-base-url", f"s3://{make_bucket(endpoint)}/")
    with gamma_process(home, *arguments, environ=environment(endpoint)) as server:
        yield Team(server.grpc, server.http, database_url)


@pytest.fixture(scope="module")
def team(postgres: Databases, s3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with started(postgres.ready(), s3, tmp_path_factory.mktemp("team")) as team:
        yield team


@pytest.fixture(scope="module")
def second_team(postgres: Databases, second_s3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with started(postgres.ready(), second_s3, tmp_path_factory.mktemp("second-team")) as team:
        yield team


@pytest.fixture(
    params=[
        ("grpc", "here"),
        ("http", "here"),
        pytest.param(("grpc", "team"), marks=TEAM),
        pytest.param(("http", "team"), marks=TEAM),
        pytest.param(("grpc", "second_team"), marks=SECOND_TEAM),
    ],
    ids="-".join,
)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    protocol: Protocol
    protocol, where = request.param
    with ExitStack() as stack:
        if where != "here":
            server: Team = request.getfixturevalue(where)
            stack.callback(server.clear)
            client = connect(server.grpc if protocol == "grpc" else server.http)
        else:
            service = GammaService(DirectoryStorage(tmp_path / "repository"), sqlite_url(tmp_path / "storage.db"))
            service.open()
            stack.callback(service.close)
            client = connect(stack.enter_context(serving(service)).url(protocol))
        stack.callback(client.close)
        yield client


@pytest.fixture
def push(registry: Registry) -> Push:
    return pushing_to(registry)


def test_a_bundle_of_large_files_is_the_same_after_both_ways(registry: Registry) -> None:
    bundle = seal(
        "1", {"Iris/artifacts/model.bin": os.urandom(5 << 20), "Iris/empty": b"", "Iris/handlers.py": b"x = 1"}
    )
    commit = upload_whole(registry, bundle)
    assert (commit.is_latest, commit.was_there) == (True, False)
    assert registry.files_of(Tag("Iris", "1")) == tuple(bundle.files)
    assert pull(registry, Tag("Iris", "1")) == bundle.contents


def test_an_upload_goes_on_where_it_was_left(registry: Registry) -> None:
    content = os.urandom(3 << 20)
    bundle = seal("1", {"Iris/artifacts/model.bin": content})
    upload = registry.begin_upload(bundle.manifest, bundle.files, operation=uuid4().hex)
    digest = max(bundle.blobs, key=lambda digest: len(bundle.blobs[digest]))

    def broken() -> Iterator[bytes]:
        yield content[: 1 << 20]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        registry.write_blob(upload.session, digest, 0, broken())
    received = registry.upload_state(upload.session).missing[digest]
    assert 0 <= received <= 1 << 20
    assert registry.write_blob(upload.session, digest, received, [content[received:]]) == len(content)
    for missing, size in registry.upload_state(upload.session).missing.items():
        registry.write_blob(upload.session, missing, size, [bundle.blobs[missing][size:]])
    registry.commit_upload(upload.session, operation=uuid4().hex)
    assert pull(registry, Tag("Iris", "1")) == bundle.contents
