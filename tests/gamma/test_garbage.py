"""What nothing refers to: it goes, and nothing else does, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Connection

from kappa.errors import GammaError
from kappa.gamma.protocols.registry import Garbage
from kappa.gamma.protocols.storage import BundleStorage
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.tag import Tag
from tests.gamma.sealed import Bundle, pull, push, seal, write_missing

Open = Callable[[], GammaService]
Connected = Callable[[], AbstractContextManager[Connection]]

MODEL = "Iris/artifacts/model/model.bin"
BIG = b"0123456789abcdef" * (1 << 17)  # 2 MiB
AT_ONCE = timedelta(0)

sharing = pytest.mark.parametrize("registry_storage", ["file", "memory"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def begin(registry: GammaService, bundle: Bundle) -> str:
    return registry.begin_upload(bundle.manifest, bundle.files, operation=uuid4().hex).session


def collect(registry: GammaService, grace: timedelta = AT_ONCE, *, dry_run: bool = False) -> Garbage:
    return registry.collect_garbage(grace=grace, dry_run=dry_run)


def expire(connected: Connected) -> None:
    with connected() as connection:
        connection.exec_driver_sql("UPDATE uploads SET expires_at = '2020-01-01 00:00:00.000000'")


def objects_in(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "objects").rglob("*") if path.is_file()}


def test_what_bundles_have_stays(registry: GammaService) -> None:
    push(registry, seal("1", {MODEL: BIG}))
    assert collect(registry) == Garbage(0, 0, 0, is_removed=True)
    assert pull(registry, Tag("Iris", "1")) == seal("1", {MODEL: BIG}).contents


@sharing
def test_blobs_of_a_deleted_bundle_go_and_those_that_another_has_stay(registry: GammaService) -> None:
    push(registry, seal("1", {MODEL: BIG, "a.txt": b"only the first has it"}))
    push(registry, seal("2", {MODEL: BIG}))
    registry.delete([Tag("Iris", "1")], operation="1")
    foreseen = collect(registry, dry_run=True)
    size_bytes = len(seal("1", {MODEL: BIG, "a.txt": b"only the first has it"}).manifest) + len(
        b"only the first has it"
    )
    assert foreseen == Garbage(2, size_bytes, 0, is_removed=False)
    assert collect(registry, dry_run=True) == foreseen
    assert collect(registry) == Garbage(2, size_bytes, 0, is_removed=True)
    assert collect(registry) == Garbage(0, 0, 0, is_removed=True)
    assert pull(registry, Tag("Iris", "2")) == seal("2", {MODEL: BIG}).contents


@on_sqlite
@pytest.mark.parametrize("registry_storage", ["file"], indirect=True)
def test_no_object_is_left_of_what_goes(registry: GammaService, tmp_path: Path) -> None:
    push(registry, seal("1", {MODEL: BIG}))
    assert len(objects_in(tmp_path)) == 5
    registry.delete([Tag("Iris", "1")], operation="1")
    collect(registry)
    assert objects_in(tmp_path) == set()


@sharing
def test_the_grace_begins_when_a_bundle_is_deleted(registry: GammaService, connected: Connected) -> None:
    push(registry, seal())
    with connected() as connection:
        connection.exec_driver_sql("UPDATE blobs SET touched_at = '2020-01-01 00:00:00.000000'")
    registry.delete([Tag("Iris", "1")], operation="1")
    assert collect(registry, timedelta(hours=1)).blobs == 0
    push(registry, seal())
    assert pull(registry, Tag("Iris", "1")) == seal().contents


def test_a_running_upload_loses_nothing(registry: GammaService) -> None:
    bundle = seal(contents={MODEL: BIG, "a.txt": b"a"})
    session = begin(registry, bundle)
    digests = {file.path: file.digest for file in bundle.files}
    registry.write_blob(session, digests["a.txt"], 0, [b"a"])
    registry.write_blob(session, digests[MODEL], 0, [BIG[:1000]])
    assert collect(registry) == Garbage(0, 0, 0, is_removed=True)
    assert registry.upload_state(session).missing[digests[MODEL]] == 1000
    write_missing(registry, bundle, registry.upload_state(session))
    registry.commit_upload(session, operation="2")
    assert pull(registry, bundle.tag) == bundle.contents


def test_what_a_running_upload_counts_on_is_not_taken_away(registry: GammaService) -> None:
    push(registry, seal("1", {MODEL: BIG}))
    second = seal("2", {MODEL: BIG})
    session = begin(registry, second)
    registry.delete([Tag("Iris", "1")], operation="1")
    collect(registry)
    write_missing(registry, second, registry.upload_state(session))
    registry.commit_upload(session, operation="2")
    assert pull(registry, second.tag) == second.contents


def test_an_upload_whose_time_is_over_goes_with_all_that_it_sent(
    registry: GammaService, registry_storage: BundleStorage, connected: Connected
) -> None:
    bundle = seal(contents={MODEL: BIG, "a.txt": b"a"})
    session = begin(registry, bundle)
    digests = {file.path: file.digest for file in bundle.files}
    registry.write_blob(session, digests["a.txt"], 0, [b"a"])
    registry.write_blob(session, digests[MODEL], 0, [BIG[:1000]])
    assert registry_storage.sessions() == {session}
    expire(connected)
    foreseen = collect(registry, dry_run=True)
    assert (foreseen.uploads, foreseen.is_removed) == (1, False)
    assert foreseen.size_bytes >= 1000
    assert collect(registry).uploads == 1
    assert collect(registry) == Garbage(0, 0, 0, is_removed=True)
    assert registry_storage.sessions() == set()
    with pytest.raises(GammaError, match="not there any more"):
        registry.upload_state(session)


def test_what_a_process_left_that_died_after_its_commit_is_removed(
    registry: GammaService, registry_storage: BundleStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = seal(contents={MODEL: BIG})
    upload = registry.begin_upload(bundle.manifest, bundle.files, operation="1")
    write_missing(registry, bundle, upload)
    with monkeypatch.context() as patch:
        patch.setattr(registry_storage, "discard", lambda session: 0)
        registry.commit_upload(upload.session, operation="2")
    assert registry_storage.sessions() == {upload.session}
    assert collect(registry).uploads == 0
    assert registry_storage.sessions() == set()
    assert pull(registry, bundle.tag) == bundle.contents
    assert registry.commit_upload(upload.session, operation="2").record.tag == bundle.tag


def test_what_no_row_knows_is_removed(
    registry: GammaService, registry_storage: BundleStorage, connected: Connected
) -> None:
    session = begin(registry, seal(contents={MODEL: BIG}))
    registry.write_blob(
        session, next(file.digest for file in seal(contents={MODEL: BIG}).files if file.path == MODEL), 0, [b"0"]
    )
    with connected() as connection:
        connection.exec_driver_sql("DELETE FROM upload_blobs")
        connection.exec_driver_sql("DELETE FROM uploads")
    assert collect(registry).uploads == 1
    assert registry_storage.sessions() == set()


@sharing
def test_an_interrupted_run_leaves_nothing_broken(
    registry: GammaService, registry_storage: BundleStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(registry, seal("1", {MODEL: BIG}))
    push(registry, seal("2", {"a.txt": b"a"}))
    registry.delete([Tag("Iris", "1")], operation="1")
    remove = registry_storage.remove_blobs

    def interrupted(digests: Sequence[str]) -> None:
        remove(digests[:1])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry_storage, "remove_blobs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            collect(registry)
    push(registry, seal("1", {MODEL: BIG}))
    assert pull(registry, Tag("Iris", "1")) == seal("1", {MODEL: BIG}).contents
    registry.delete([Tag("Iris", "1")], operation="2")
    assert collect(registry).blobs == 2
    assert pull(registry, Tag("Iris", "2")) == seal("2", {"a.txt": b"a"}).contents


@sharing
def test_a_blob_that_the_store_lost_is_asked_for_again(registry: GammaService, registry_storage: BundleStorage) -> None:
    first, second = seal("1", {MODEL: BIG}), seal("2", {MODEL: BIG})
    push(registry, first)
    session = begin(registry, second)
    registry_storage.remove_blobs([file.digest for file in first.files if file.path == MODEL])
    with pytest.raises(GammaError, match="has lost 1 of the blobs"):
        registry.commit_upload(session, operation="1")
    write_missing(registry, second, registry.upload_state(session))
    registry.commit_upload(session, operation="1")
    assert pull(registry, first.tag) == first.contents
    assert pull(registry, second.tag) == second.contents


@on_sqlite
def test_a_store_that_cannot_be_changed_says_what_is_garbage_and_keeps_it(
    registry: GammaService, registry_storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(registry, seal())
    monkeypatch.setattr(registry_storage, "why_read_only", "Read-only file system")
    assert collect(registry, dry_run=True) == Garbage(0, 0, 0, is_removed=False)
    with pytest.raises(GammaError, match="cannot be changed: Read-only file system"):
        collect(registry)
    with pytest.raises(GammaError, match="cannot be changed: Read-only file system"):
        begin(registry, seal("2"))
