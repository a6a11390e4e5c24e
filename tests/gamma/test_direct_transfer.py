"""Blobs that go directly between clients and an S3 server, through both doors: what moves, what fails, what is left."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

from kappa.errors import BundleError, UsageError
from kappa.gamma.clients.connecting import connect
from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.protocols.registry import Registry
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.gamma.transfer.fetching import fetch_bundle
from kappa.gamma.transfer.sending import files_to_send, send_bundle
from kappa.log import Kind, listening
from kappa.services.bundle import Bundle, open_bundle
from tests.eventually import eventually
from tests.gamma.s3 import FaultyProxy, environment, make_bucket
from tests.gamma.sealed import write_bundle
from tests.gamma.servers import Protocol, Served, serving

pytestmark = [pytest.mark.engine, pytest.mark.s3]

MODEL = bytes(range(256)) * (12 << 10)
SIZE = len(MODEL)
DIGEST = f"sha256:{hashlib.sha256(MODEL).hexdigest()}"


@dataclass
class Team:
    """A server whose clients move blobs themselves, and what a proxy before its S3 server does to them."""

    service: GammaService
    served: Served
    proxy: FaultyProxy
    url: str

    @contextmanager
    def client(self, protocol: Protocol = "grpc") -> Iterator[Registry]:
        with self.served.client(protocol) as client:
            yield client

    def moved_directly(self, method: str) -> list[str]:
        """Return the paths that clients asked for with a signed URL; what the server asks has its headers signed."""
        return [path for asked, path, _ in self.proxy.requests if asked == method and "X-Amz-Signature" in path]

    def incoming(self) -> int:
        """Return how many bytes are left of what clients wrote themselves."""
        storage: Any = self.service._storage
        return sum(storage.size_of(session) for session in storage.sessions())


@pytest.fixture
def team(s3: str, tmp_path: Path) -> Iterator[Team]:
    proxy = FaultyProxy(s3)
    with proxy.running() as endpoint:
        environ = {"KAPPA_HOME": str(tmp_path / "server"), **environment(endpoint)}
        url = f"s3://{make_bucket(s3)}/bundles"
        service = GammaService(open_storage(url, is_direct=True, environ=environ), sqlite_url(tmp_path / "team.db"))
        with serving(service) as served:
            yield Team(service, served, proxy, url)
        service.close()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(write_bundle(tmp_path / "Iris-1", "Iris", "1", {"Iris/artifacts/model.bin": MODEL}))


def transferred(call: Callable[[], object]) -> list[str]:
    """Return what a transfer warns of."""
    lines: list[str] = []

    def note(message: str, kind: Kind) -> None:
        if kind == "warning":
            lines.append(message)

    with listening(note):
        call()
    return lines


def fetched(client: Registry, target: Path) -> bytes:
    fetch_bundle(client, client.list_bundles()[0], target)
    return (target / "Iris/artifacts/model.bin").read_bytes()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_large_blob_goes_and_comes_without_the_server(
    protocol: Protocol, team: Team, bundle: Bundle, tmp_path: Path
) -> None:
    steps: list[int] = []
    with team.client(protocol) as client:
        assert client.info().direct_transfer
        assert transferred(lambda: send_bundle(client, bundle, on_progress=lambda done, _: steps.append(done))) == []
        assert len(team.moved_directly("PUT")) == 1
        assert steps[-1] >= SIZE
        assert transferred(lambda: fetched(client, tmp_path / "copy")) == []
        assert len(team.moved_directly("GET")) == 1
    assert (tmp_path / "copy/Iris/artifacts/model.bin").read_bytes() == MODEL
    assert team.incoming() == 0


def put(url: str, content: bytes) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    urlopen(Request(url, data=content, headers=headers, method="PUT"), timeout=30).close()


def begin(client: Registry, bundle: Bundle) -> str:
    text = bundle.layout.manifest.read_bytes()
    return client.begin_upload(text, files_to_send(bundle), operation=uuid4().hex).session


@pytest.mark.parametrize("content", [b"!" * SIZE, MODEL[:-1], MODEL + b"!"], ids=["other", "short", "long"])
def test_a_wrong_body_is_refused_and_nothing_is_kept_of_it(content: bytes, team: Team, bundle: Bundle) -> None:
    with team.client() as client:
        session = begin(client, bundle)
        put(client.upload_url(session, DIGEST).url, content)
        with pytest.raises(BundleError, match="Nothing was kept"):
            client.take_blob(session, DIGEST)
        assert client.upload_state(session).missing[DIGEST] == 0
        with pytest.raises(BundleError, match="is not where it was to be written"):
            client.take_blob(session, DIGEST)
        send_bundle(client, bundle)
    assert team.incoming() == 0


def test_what_is_written_after_the_check_does_not_become_the_blob(team: Team, bundle: Bundle, tmp_path: Path) -> None:
    with team.client() as client:
        session = begin(client, bundle)
        url = client.upload_url(session, DIGEST).url
        put(url, MODEL)
        assert client.take_blob(session, DIGEST) == SIZE == client.take_blob(session, DIGEST)
        put(url, b"!" * SIZE)
        send_bundle(client, bundle)
        assert fetched(client, tmp_path / "copy") == MODEL
    assert team.incoming() == 0


def is_expired(path: str) -> bool:
    """Return whether a URL is no longer good for a store whose clock is two hours ahead, as S3 decides it."""
    query = parse_qs(urlsplit(path).query)
    if "X-Amz-Signature" not in query:
        return False
    signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    end = signed + timedelta(seconds=int(query["X-Amz-Expires"][0]))
    return datetime.now(timezone.utc) + timedelta(hours=2) > end


FAULTS: dict[str, Callable[[str, str], str]] = {
    "expired": lambda method, path: "403" if is_expired(path) else "",
    "away": lambda method, path: "nothing" if "X-Amz-Signature" in path else "",
    "failing": lambda method, path: "500" if "X-Amz-Signature" in path else "",
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_what_cannot_go_directly_goes_through_the_server_and_one_line_says_so(
    fault: str, team: Team, bundle: Bundle, tmp_path: Path
) -> None:
    team.proxy.fault = FAULTS[fault]
    with team.client() as client:
        lines = transferred(lambda: send_bundle(client, bundle))
        lines += transferred(lambda: fetched(client, tmp_path / "copy"))
    assert [line.partition(":")[0] for line in lines] == ["The object store cannot be reached directly"] * 2
    assert "Signature" not in str(lines)
    assert (tmp_path / "copy/Iris/artifacts/model.bin").read_bytes() == MODEL
    assert team.incoming() == 0


def test_a_download_that_breaks_off_goes_on_where_it_was(team: Team, bundle: Bundle, tmp_path: Path) -> None:
    broken: list[str] = []

    def breaking_once(method: str, path: str) -> str:
        if method == "GET" and "X-Amz-Signature" in path and not broken:
            broken.append(path)
            return "half"
        return ""

    with team.client() as client:
        send_bundle(client, bundle)
        team.proxy.fault = breaking_once
        assert transferred(lambda: fetched(client, tmp_path / "copy")) == []
    assert (len(broken), len(team.moved_directly("GET"))) == (1, 2)
    assert (tmp_path / "copy/Iris/artifacts/model.bin").read_bytes() == MODEL


def put_and_wait(address: str, directory: str, written: Any) -> None:
    """Write a blob to its URL and tell nobody; the client's own end is that of the process."""
    client, bundle = connect(address), open_bundle(Path(directory))
    put(client.upload_url(begin(client, bundle), DIGEST).url, MODEL)
    written.set()
    written.clear()
    while True:
        written.wait()


def test_what_a_killed_client_leaves_is_garbage_once_its_upload_is_over(
    team: Team, bundle: Bundle, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    written = context.Event()
    client = context.Process(target=put_and_wait, args=(team.served.grpc, str(bundle.directory), written))
    client.start()
    eventually(lambda: team.incoming() == SIZE)
    client.kill()
    client.join()
    alive = team.service.collect_garbage(grace=timedelta())
    assert (alive.size_bytes, alive.uploads) == (0, 0)
    with team.client() as other:
        other.abort_upload(begin(other, bundle))
        assert team.incoming() == 0
        put(other.upload_url(begin(other, bundle), DIGEST).url, MODEL)
    with team.service._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE uploads SET expires_at = '1970-01-02 00:00:00.000000'")
    counted = team.service.collect_garbage(grace=timedelta(days=1))
    assert (counted.size_bytes, counted.uploads) == (SIZE, 1)
    assert team.service.collect_garbage(grace=timedelta(days=1), dry_run=False).size_bytes == SIZE
    assert team.incoming() == 0


@pytest.mark.parametrize("url", ["/var/bundles", "file:///var/bundles", "az://container/team"])
def test_a_store_that_signs_no_urls_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="give an object store that signs URLs, `s3://` or `gs://`"):
        open_storage(url, is_direct=True)
