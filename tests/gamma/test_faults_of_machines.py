"""What breaks around a registry: its database or its object store, its clock, its disk; and others write, too.

Whatever happens, what was acknowledged is there, whole, and what is visible is whole. `make soak-faults` runs these
tests with many seeds, and adds up what they record.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from sqlalchemy import Engine, event

from kappa.errors import GammaError, KappaError
from kappa.gamma.clients.connecting import connect
from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.spec.store import Query
from kappa.tag import Tag
from tests.gamma.postgres_server import Databases, running_postgres
from tests.gamma.s3 import FaultyProxy, environment, make_bucket
from tests.gamma.sealed import Bundle, pieces, pull, push, seal, write_missing
from tests.gamma.servers import Protocol, serving

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
MODEL = "Iris/artifacts/model/model.bin"

T = TypeVar("T")
Record = Callable[[str, object], None]


@pytest.fixture
def seed() -> int:
    """Return what decides the run; `make soak-faults` gives many."""
    return int(os.environ.get("FAULTS_SEED", "0"))


def storage_of(kind: str, folder: Path) -> str:
    return {"directory": str(folder / "trees"), "file": f"file://{folder}/objects"}[kind]


def open_registry(kind: str, folder: Path, database_url: str) -> GammaService:
    registry = GammaService(
        open_storage(storage_of(kind, folder), environ={"KAPPA_HOME": str(folder / "home")}), database_url
    )
    registry.open()
    return registry


def is_whole(registry: Any, bundle: Bundle) -> bool:
    return pull(registry, bundle.tag) == bundle.contents


# -- a database that goes away -----------------------------------------------------------------------------------------


@pytest.fixture
def restarted() -> Iterator[Databases]:
    """Start a PostgreSQL for one test, which may stop it."""
    with running_postgres() as databases:
        yield databases


@pytest.mark.postgres
@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("storage", ["directory", "file"])
def test_a_database_that_goes_away_in_a_transfer_and_comes_back_loses_nothing(
    storage: str, protocol: Protocol, restarted: Databases, seed: int, tmp_path: Path, record_property: Record
) -> None:
    chance = random.Random(seed)
    first, second = seal("1"), seal("2", {MODEL: chance.randbytes(3 << 20)})
    last = chance.randrange(48)
    service = open_registry(storage, tmp_path, restarted.ready())
    with serving(service) as server:
        client = connect(server.url(protocol))
        push(client, first)
        upload = client.begin_upload(second.manifest, second.files, operation=uuid4().hex)
        (digest,) = (file.digest for file in second.files if file.path == MODEL)

        def broken_off() -> Iterator[bytes]:
            for number, piece in enumerate(pieces(second.contents[MODEL])):
                if number == last:
                    restarted.stop()
                yield piece

        def finish() -> None:
            client.write_blob(upload.session, digest, 0, broken_off())
            client.commit_upload(upload.session, operation=uuid4().hex)

        with pytest.raises(GammaError, match="database"):
            finish()
        with pytest.raises(GammaError, match="database"):
            client.list_bundles(Query())
        restarted.start()
        assert [record.tag for record in client.list_bundles(Query())] == [first.tag]
        state = client.upload_state(upload.session)
        write_missing(client, second, state)
        assert client.commit_upload(upload.session, operation=uuid4().hex).record.tag == second.tag
        assert is_whole(client, first)
        assert is_whole(client, second)
        client.close()
    service.close()
    record_property("the database went away", 1)
    record_property("bundles compared", 2)


# -- a clock that jumps ------------------------------------------------------------------------------------------------

JUMPS = [timedelta(days=-400), timedelta(hours=-1), timedelta(0), timedelta(hours=1), timedelta(days=2), timedelta(400)]


class Clock:
    """The clock of SQLite, which can be put forth and back."""

    def __init__(self) -> None:
        self.jump = timedelta(0)

    def prepare(self, connection: Any, _: object) -> None:
        connection.create_function("strftime", 2, self._strftime)

    def _strftime(self, form: str, moment: str) -> str:
        assert (form, moment) == ("%Y-%m-%dT%H:%M:%f", "now")
        return (datetime.now(timezone.utc) + self.jump).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    event.listen(Engine, "connect", clock.prepare)
    yield clock
    event.remove(Engine, "connect", clock.prepare)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("storage", ["directory", "file"])
def test_a_clock_that_jumps_loses_nothing(
    storage: str, number: int, clock: Clock, seed: int, tmp_path: Path, record_property: Record
) -> None:
    chance = random.Random(4 * seed + number)
    registry = open_registry(storage, tmp_path, sqlite_url(tmp_path / "storage.db"))
    acknowledged: list[Bundle] = []

    jumps = 0

    def jump() -> None:
        nonlocal jumps
        jumps += 1
        clock.jump = chance.choice(JUMPS)
        if chance.random() < 0.3:
            registry.collect_garbage(grace=chance.choice([timedelta(0), timedelta(days=1)]), dry_run=False)

    given_up = 0
    for count in range(12):
        bundle = seal(str(count), {MODEL: random.Random(count // 3).randbytes(100_000)})
        for _ in range(100):
            try:
                jump()
                upload = registry.begin_upload(bundle.manifest, bundle.files, operation=uuid4().hex)
                jump()
                write_missing(registry, bundle, upload)
                jump()
                registry.commit_upload(upload.session, operation=uuid4().hex)
                break
            except KappaError as exc:  # its time was over, so it begins again
                given_up += "begin" in str(exc) or "again" in str(exc)
        acknowledged.append(bundle)
        assert all(is_whole(registry, bundle) for bundle in acknowledged)
    assert given_up > 0
    assert {record.tag for record in registry.list_bundles(Query())} == {bundle.tag for bundle in acknowledged}
    registry.collect_garbage(grace=timedelta(0), dry_run=False)
    assert all(is_whole(registry, bundle) for bundle in acknowledged)
    registry.close()
    record_property("the clock jumped", jumps)
    record_property("uploads begun again", given_up)
    record_property("bundles compared", len(acknowledged))


# -- a disk that is full -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 12 MiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root of Linux mounts a disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("storage", ["directory", "file"])
def test_a_full_disk_is_told_and_loses_nothing(
    storage: str, small_disk: Path, seed: int, record_property: Record
) -> None:
    chance = random.Random(seed)
    first, second = seal("1", {MODEL: chance.randbytes(1 << 20)}), seal("2", {MODEL: chance.randbytes(3 << 20)})
    registry = open_registry(storage, small_disk, sqlite_url(small_disk / "storage.db"))
    push(registry, first)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - chance.randint(64 << 10, 2 << 20)))
    with pytest.raises((KappaError, OSError), match=r"(?i)no space left|full"):
        push(registry, second)
    assert [record.tag for record in registry.list_bundles(Query())] == [first.tag]
    assert is_whole(registry, first)
    ballast.unlink()
    push(registry, second)
    assert is_whole(registry, first)
    assert is_whole(registry, second)
    registry.close()
    record_property("the disk was full", 1)
    record_property("bundles compared", 2)


# -- an object store that fails ----------------------------------------------------------------------------------------

RATES = {"500": 0.4, "half": 0.2, "nothing": 0.4, "silent": 0.1, "drops": 0.5}
"""How many of the requests go wrong in which way (`FaultyProxy`)."""


@pytest.mark.s3
@pytest.mark.parametrize("fault", list(RATES))
def test_an_object_store_that_fails_at_random_loses_nothing(
    fault: str, s3: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    monkeypatch.setattr("kappa.gamma.storages.opening.IDLE", timedelta(seconds=1))
    chance, proxy, told = random.Random(seed), FaultyProxy(s3), 0
    sizes = (50_000, 2 << 20, 17 << 20)  # held in memory, spooled, and sent in parts
    bundles = [seal(str(size), {MODEL: chance.randbytes(size)}) for size in sizes]

    def insisting(act: Callable[[], T]) -> T:
        nonlocal told
        try:
            return act()
        except GammaError:
            told += 1
        return insisting(act)

    with proxy.running() as endpoint:
        environ = {"KAPPA_HOME": str(tmp_path / "home"), **environment(endpoint)}
        storage = open_storage(f"s3://{make_bucket(s3)}", environ=environ)
        registry = GammaService(storage, sqlite_url(tmp_path / "storage.db"))
        registry.open()
        proxy.fault = lambda method, path: fault if chance.random() < RATES[fault] else ""
        for bundle in bundles:
            insisting(partial(push, registry, bundle))
            for record in registry.list_bundles(Query()):
                visible = next(bundle for bundle in bundles if bundle.tag == record.tag)
                assert insisting(partial(is_whole, registry, visible))
        proxy.fault = lambda method, path: ""
        registry.collect_garbage(grace=timedelta(0), dry_run=False)
        assert {record.tag for record in registry.list_bundles(Query())} == {bundle.tag for bundle in bundles}
        assert all(is_whole(registry, bundle) for bundle in bundles)
        assert storage.sessions() == set()
        registry.close()
    failed = sum(kind == fault for _, _, kind in proxy.requests)
    assert failed > 0
    record_property("requests", len(proxy.requests))
    record_property("requests that went wrong", failed)
    record_property("operations that failed and were repeated", told)
    record_property("bundles compared", len(bundles))


# -- many writers on one PostgreSQL ------------------------------------------------------------------------------------

WRITER = """
import random, sys
from pathlib import Path
from uuid import uuid4
from kappa.errors import GammaError
from kappa.labels import parse_selector
from kappa.spec.store import Query
from kappa.tag import BundleReference
from tests.gamma.sealed import push, seal
from tests.gamma.test_faults_of_machines import open_registry

kind, folder, url, (number, rounds, seed) = sys.argv[1], Path(sys.argv[2]), sys.argv[3], map(int, sys.argv[4:])
choose = random.Random(1000 * seed + number)
registry = open_registry(kind, folder, url)
labels = {}
for count in range(rounds):
    bundle = seal(f"{number}.{count}", {"Iris/artifacts/model/model.bin": random.Random(count).randbytes(50_000)})
    push(registry, bundle)
    labels[bundle.tag] = {"worker": str(number), "round": str(count)}
    changed = registry.set_labels(bundle.tag, labels[bundle.tag], operation=uuid4().hex)
    assert dict(changed.labels) == labels[bundle.tag]
    registry.set_alias(bundle.tag, f"worker-{number}", operation=uuid4().hex)
    try:  # compare and set, against all others
        current = [alias.version for alias in registry.aliases("Iris") if alias.alias == "shared"]
        registry.set_alias(bundle.tag, "shared", expect=current[0] if current else "", operation=uuid4().hex)
    except GammaError as exc:
        assert "as expected" in str(exc), exc
    if choose.random() < 0.4:
        tag = choose.choice(list(labels))
        assert registry.delete([tag], force=True, operation=uuid4().hex) == [tag]
        del labels[tag]
    listed = registry.list_bundles(Query(selector=parse_selector(f"worker={number}")))
    assert {record.tag: dict(record.labels) for record in listed} == labels
print(*labels)
"""


@pytest.mark.postgres
@pytest.mark.parametrize("storage", ["directory", "file"])
def test_eight_processes_on_one_postgresql_lose_nothing(
    storage: str, postgres: Databases, seed: int, tmp_path: Path, record_property: Record
) -> None:
    """Let 8 processes push, label, alias and delete 8 bundles each, whose models are shared."""
    url = postgres.ready()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, storage, str(tmp_path), url, str(number), "8", str(seed)],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    announced: set[str] = set()
    for process in processes:
        out, err = process.communicate(timeout=280)
        assert process.returncode == 0, err
        announced |= set(out.split())
    registry = open_registry(storage, tmp_path, url)
    records = {str(record.tag): record for record in registry.list_bundles(Query())}
    assert records.keys() == announced
    registry.collect_garbage(grace=timedelta(0), dry_run=False)
    for tag in announced:
        number, _, count = tag.partition(":")[2].partition(".")
        assert dict(records[tag].labels) == {"worker": number, "round": count}
        content = {MODEL: random.Random(int(count)).randbytes(50_000)}
        assert is_whole(registry, seal(f"{number}.{count}", content))
    assert Tag("Iris", "shared") not in {record.tag for record in records.values()}
    registry.close()
    record_property("bundles pushed, labelled and aliased", 64)
    record_property("deleted by their writers", 64 - len(announced))
    record_property("bundles compared", len(announced))
