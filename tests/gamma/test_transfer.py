"""Bundles that are uploaded and downloaded, on every kind of storage: what moves, what is refused, what goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from kappa.errors import BundleError, BundleNotFoundError, DestinationExistsError, GammaError, KappaError
from kappa.gamma.protocols.registry import BundleFile
from kappa.gamma.protocols.storage import Blob, BundleStorage
from kappa.gamma.service.contents import read_contents
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.gamma.storages.spool import Arrival
from kappa.spec.store import Query
from kappa.tag import Tag
from tests.gamma.sealed import Bundle, pieces, pull, push, seal, write_missing

Open = Callable[[], GammaService]
Connected = Callable[[], AbstractContextManager[Connection]]

MODEL = "Iris/artifacts/model/model.bin"
BIG = bytes(range(256)) * (12 << 10)  # 3 MiB, which no storage holds in memory


def begin(registry: GammaService, bundle: Bundle, **options: str) -> tuple[str, dict[str, int]]:
    upload = registry.begin_upload(bundle.manifest, bundle.files, operation=uuid4().hex, **options)
    return upload.session, dict(upload.missing)


def commit(registry: GammaService, session: str) -> Tag:
    return registry.commit_upload(session, operation=uuid4().hex).record.tag


def digest_of(bundle: Bundle, path: str) -> str:
    return next(file.digest for file in bundle.files if file.path == path)


# -- whole transfers ---------------------------------------------------------------------------------------------------


def test_what_is_pushed_is_pulled_byte_by_byte(registry: GammaService) -> None:
    bundle = seal(contents={MODEL: BIG, "Iris/data.csv": b"a,b\n1,2\n", "docs.json": b"{}"}, labels={"team": "growth"})
    done = push(registry, bundle)
    assert (done.record.tag, done.is_latest, done.was_there) == (Tag("Iris", "1"), True, False)
    assert done.record.size_bytes == sum(map(len, bundle.contents.values()))
    assert registry.files_of(Tag("Iris", "1")) == tuple(bundle.files)
    assert pull(registry, Tag("Iris", "1")) == bundle.contents
    (record,) = registry.list_bundles(Query(name="Iris"))
    assert (record.labels, record.bundle_digest) == ({"team": "growth"}, done.record.bundle_digest)
    assert [str(one.tag) for one in registry.list_bundles(Query(requires="apple>=1"))] == ["Iris:1"]


def test_a_bundle_is_visible_only_when_it_is_committed(registry: GammaService) -> None:
    bundle = seal()
    upload = registry.begin_upload(bundle.manifest, bundle.files, operation="1")
    write_missing(registry, bundle, upload)
    assert registry.list_bundles() == []
    with pytest.raises(BundleNotFoundError):
        registry.files_of(Tag("Iris", "1"))
    registry.commit_upload(upload.session, operation="2")
    assert [str(record.tag) for record in registry.list_bundles()] == ["Iris:1"]


def test_manifests_and_empty_files_are_never_missing(registry: GammaService) -> None:
    _, missing = begin(registry, seal())
    contents = {"requirements.txt", "docker-entrypoint.sh", MODEL}
    assert missing == {digest_of(seal(), path): 0 for path in contents}


def test_of_a_second_version_only_what_changed_is_missing(registry: GammaService) -> None:
    push(registry, seal("1", {MODEL: BIG, "Iris/handlers.py": b"first"}))
    second = seal("2", {MODEL: BIG, "Iris/handlers.py": b"second"})
    session, missing = begin(registry, second)
    assert missing == {digest_of(second, "Iris/handlers.py"): 0}
    registry.write_blob(session, next(iter(missing)), 0, [b"second"])
    commit(registry, session)
    assert pull(registry, Tag("Iris", "2")) == second.contents
    assert pull(registry, Tag("Iris", "1"))["Iris/handlers.py"] == b"first"


def test_the_same_bytes_under_the_same_tag_are_success(registry: GammaService) -> None:
    first = push(registry, seal())
    again = registry.begin_upload(seal().manifest, seal().files, operation="9")
    assert (again.session, again.missing, again.record) == ("", {}, first.record)


def test_other_bytes_under_the_same_tag_are_refused_with_both_digests(registry: GammaService) -> None:
    first, other = push(registry, seal()), seal(contents={MODEL: b"other"})
    digest = read_contents(other.manifest, other.files, namespace="default")[1].bundle_digest
    with pytest.raises(DestinationExistsError) as refusal:
        begin(registry, other)
    assert first.record.bundle_digest in str(refusal.value)
    assert digest in str(refusal.value)
    assert pull(registry, Tag("Iris", "1")) == seal().contents


def test_of_two_uploads_of_one_tag_the_first_commit_wins(registry: GammaService) -> None:
    bundles = [seal(contents={MODEL: content}) for content in (b"first", b"second")]
    sessions = []
    for bundle in bundles:
        upload = registry.begin_upload(bundle.manifest, bundle.files, operation=uuid4().hex)
        write_missing(registry, bundle, upload)
        sessions.append(upload.session)
    commit(registry, sessions[0])
    with pytest.raises(DestinationExistsError):
        commit(registry, sessions[1])
    assert pull(registry, Tag("Iris", "1")) == bundles[0].contents


def test_a_deleted_tag_takes_its_own_bytes_again_and_no_others(registry: GammaService) -> None:
    push(registry, seal())
    registry.delete([Tag("Iris", "1")], operation="1")
    with pytest.raises(DestinationExistsError, match="stays reserved"):
        begin(registry, seal(contents={MODEL: b"other"}))
    push(registry, seal())
    assert pull(registry, Tag("Iris", "1")) == seal().contents


def test_an_older_bundle_that_is_pushed_later_is_not_latest(registry: GammaService) -> None:
    assert push(registry, seal("2", created="2026-02-01T00:00:00Z")).is_latest
    assert not push(registry, seal("1", created="2026-01-01T00:00:00Z")).is_latest


def test_namespaces_are_apart(registry: GammaService) -> None:
    push(registry, seal(labels={"of": "us"}), namespace="team-a")
    push(registry, seal(contents={MODEL: b"theirs"}))
    tag = Tag("Iris", "1", "team-a")
    assert pull(registry, tag) == seal(labels={"of": "us"}).contents
    assert pull(registry, Tag("Iris", "1"))[MODEL] == b"theirs"
    assert [record.tag for record in registry.list_bundles(Query(namespace="team-a"))] == [tag]


def test_a_blob_that_only_another_namespace_has_is_uploaded_again(registry: GammaService) -> None:
    push(registry, seal())
    session, missing = begin(registry, seal(), namespace="team-a")
    assert digest_of(seal(), MODEL) in missing
    write_missing(registry, seal(), registry.upload_state(session))
    commit(registry, session)
    assert pull(registry, Tag("Iris", "1", "team-a")) == seal().contents


# -- transfers that break off ------------------------------------------------------------------------------------------


def breaking(content: bytes, after: int) -> Iterator[bytes]:
    yield from pieces(content[:after])
    raise ConnectionResetError("the client is gone")


@pytest.mark.parametrize("after", [0, 1, 1 << 20, len(BIG) - 1])
def test_a_transfer_goes_on_where_it_broke_off(after: int, open_registry: Open) -> None:
    bundle = seal(contents={MODEL: BIG})
    session, _ = begin(open_registry(), bundle)
    digest = digest_of(bundle, MODEL)
    with pytest.raises(ConnectionResetError):
        open_registry().write_blob(session, digest, 0, breaking(BIG, after))
    assert open_registry().upload_state(session).missing[digest] == after
    write_missing(open_registry(), bundle, open_registry().upload_state(session))
    commit(open_registry(), session)
    assert pull(open_registry(), Tag("Iris", "1")) == bundle.contents


def test_an_upload_that_is_begun_again_has_what_it_had(open_registry: Open) -> None:
    bundle = seal(contents={MODEL: BIG})
    session, _ = begin(open_registry(), bundle)
    digest = digest_of(bundle, MODEL)
    open_registry().write_blob(session, digest, 0, [BIG[:1000]])
    again, missing = begin(open_registry(), bundle)
    assert (again, missing[digest]) == (session, 1000)


def test_a_blob_that_arrived_before_the_server_was_killed_is_taken(
    registry_storage: BundleStorage, open_registry: Open
) -> None:
    """Let a blob arrive whole and its row not be written: no client has a byte left that would have it written."""
    bundle = seal(contents={MODEL: BIG})
    session, _ = begin(open_registry(), bundle)
    digest = digest_of(bundle, MODEL)
    registry_storage.receive(session, Blob(digest, len(BIG)), 0, pieces(BIG))
    state = open_registry().upload_state(session)
    assert [received for received in state.missing.values() if received] == []
    write_missing(open_registry(), bundle, state)
    commit(open_registry(), session)
    assert pull(open_registry(), Tag("Iris", "1")) == bundle.contents


@pytest.mark.parametrize("registry_storage", ["file", "memory"], indirect=True)
def test_a_blob_that_another_call_takes_meanwhile_is_no_failure(
    registry_storage: BundleStorage, open_registry: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = seal(contents={MODEL: BIG})
    session, _ = begin(open_registry(), bundle)
    blob = Blob(digest_of(bundle, MODEL), len(BIG))
    with monkeypatch.context() as patch:
        patch.setattr(registry_storage, "_put", lambda blob, content: None)  # the server dies before it is stored
        patch.setattr(registry_storage, "_put_once", lambda blob, content: [*content])
        patch.setattr(Arrival, "remove", lambda arrival: None)
        registry_storage.receive(session, blob, 0, pieces(BIG))
    receive, first = registry_storage.receive, open_registry()

    def receive_after_another(session: str, blob: Blob, offset: int, chunks: Iterable[bytes]) -> int:
        monkeypatch.setattr(registry_storage, "receive", receive)
        open_registry().upload_state(session)
        return receive(session, blob, offset, chunks)

    monkeypatch.setattr(registry_storage, "receive", receive_after_another)
    assert blob.digest not in first.upload_state(session).missing
    write_missing(first, bundle, first.upload_state(session))
    commit(first, session)
    assert pull(first, Tag("Iris", "1")) == bundle.contents


def test_a_blob_may_arrive_in_many_calls_that_overlap(registry: GammaService) -> None:
    bundle = seal(contents={MODEL: BIG})
    session, _ = begin(registry, bundle)
    digest = digest_of(bundle, MODEL)
    for start in range(0, len(BIG), 700_000):
        begins = max(0, start - 1000)
        received = registry.write_blob(session, digest, begins, pieces(BIG[begins : start + 700_000]))
        assert received == min(len(BIG), start + 700_000)
    write_missing(registry, bundle, registry.upload_state(session))
    commit(registry, session)
    assert pull(registry, Tag("Iris", "1"))[MODEL] == BIG


def test_an_offset_behind_what_is_there_is_refused_with_the_size(registry: GammaService) -> None:
    bundle = seal(contents={MODEL: BIG})
    session, _ = begin(registry, bundle)
    registry.write_blob(session, digest_of(bundle, MODEL), 0, [BIG[:10]])
    with pytest.raises(GammaError, match="has 10 bytes here: it goes on there, not at 11"):
        registry.write_blob(session, digest_of(bundle, MODEL), 11, [b"x"])


@pytest.mark.parametrize("content", [b"small", BIG], ids=["small", "big"])
@pytest.mark.parametrize("sent", [0, 3], ids=["at once", "in two parts"])
def test_a_blob_of_other_bytes_is_refused_and_begins_again(content: bytes, sent: int, registry: GammaService) -> None:
    bundle = seal(contents={MODEL: content})
    session, _ = begin(registry, bundle)
    digest, wrong = digest_of(bundle, MODEL), content[:-1] + b"!"
    received = registry.write_blob(session, digest, 0, [wrong[:sent]]) if sent else 0
    with pytest.raises(BundleError, match="arrived as `sha256:"):
        registry.write_blob(session, digest, received, pieces(wrong[received:]))
    assert registry.upload_state(session).missing[digest] == 0
    write_missing(registry, bundle, registry.upload_state(session))
    commit(registry, session)
    assert pull(registry, Tag("Iris", "1")) == bundle.contents


@pytest.mark.parametrize("content", [b"small", BIG], ids=["small", "big"])
def test_a_blob_that_is_too_long_is_refused(content: bytes, registry: GammaService) -> None:
    bundle = seal(contents={MODEL: content})
    session, _ = begin(registry, bundle)
    with pytest.raises(BundleError, match=f"has more than its {len(content)} bytes"):
        registry.write_blob(session, digest_of(bundle, MODEL), 0, pieces(content + b"!"))
    assert registry.upload_state(session).missing[digest_of(bundle, MODEL)] == 0


def test_two_that_send_one_blob_at_once_take_turns(open_registry: Open) -> None:
    bundle = seal(contents={MODEL: BIG})
    session, _ = begin(open_registry(), bundle)
    sizes: list[int] = []
    gate = Barrier(2)

    def write(registry: GammaService) -> None:
        gate.wait()
        sizes.append(registry.write_blob(session, digest_of(bundle, MODEL), 0, pieces(BIG)))

    threads = [Thread(target=write, args=(open_registry(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [len(BIG)] * 2


def test_an_upload_that_lacks_blobs_cannot_be_committed(registry: GammaService) -> None:
    session, missing = begin(registry, seal())
    with pytest.raises(GammaError, match=f"lacks {len(missing)} of its 5 blobs"):
        commit(registry, session)
    write_missing(registry, seal(), registry.upload_state(session))
    commit(registry, session)


def test_a_commit_that_is_repeated_gets_the_first_answer(registry: GammaService) -> None:
    upload = registry.begin_upload(seal().manifest, seal().files, operation="1")
    write_missing(registry, seal(), upload)
    first = registry.commit_upload(upload.session, operation="2")
    assert registry.commit_upload(upload.session, operation="2") == first
    assert registry.commit_upload(upload.session, operation="3") == replace(first, was_there=True)


def test_of_two_that_commit_one_upload_at_once_both_succeed(open_registry: Open) -> None:
    registry = open_registry()
    bundle = seal(contents={MODEL: BIG})
    upload = registry.begin_upload(bundle.manifest, bundle.files, operation="1")
    write_missing(registry, bundle, upload)
    answers: list[bool] = []
    gate = Barrier(3)

    def finish(own: GammaService, number: int) -> None:
        gate.wait()
        answers.append(own.commit_upload(upload.session, operation=f"commit {number}").was_there)

    threads = [Thread(target=finish, args=(open_registry(), number)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False, True, True]
    assert pull(registry, bundle.tag) == bundle.contents


def test_an_upload_that_was_given_up_says_so(registry: GammaService) -> None:
    session, missing = begin(registry, seal())
    registry.write_blob(session, digest_of(seal(), MODEL), 0, [b"model"])
    registry.abort_upload(session)
    registry.abort_upload(session)
    registry.abort_upload("../../etc")
    for use in (
        lambda: registry.upload_state(session),
        lambda: registry.write_blob(session, next(iter(missing)), 0, [b"x"]),
        lambda: registry.commit_upload(session, operation="9"),
    ):
        with pytest.raises(GammaError, match="not there any more"):
            use()


def test_an_upload_is_given_up_a_day_after_the_last_write(registry: GammaService, connected: Connected) -> None:
    session, _ = begin(registry, seal())
    with connected() as connection:
        connection.exec_driver_sql("UPDATE uploads SET expires_at = '2020-01-01 00:00:00+00'")
    with pytest.raises(GammaError, match="nothing was written for a day"):
        registry.upload_state(session)
    assert begin(registry, seal())[0] != session


def test_writing_keeps_an_upload_alive(registry: GammaService) -> None:
    session, _ = begin(registry, seal())
    before = registry.upload_state(session).expires_at
    write_missing(registry, seal(), registry.upload_state(session))
    after = registry.upload_state(session).expires_at
    assert before is not None
    assert after is not None
    assert timedelta() < after - before


def test_a_source_that_is_deleted_meanwhile_is_asked_for_again(registry: GammaService) -> None:
    push(registry, seal("1", {MODEL: BIG}))
    second = seal("2", {MODEL: BIG})
    session, missing = begin(registry, second)
    assert missing == {}
    registry.delete([Tag("Iris", "1")], operation="1")
    with pytest.raises(GammaError, match="lacks"):
        commit(registry, session)
    write_missing(registry, second, registry.upload_state(session))
    commit(registry, session)
    assert pull(registry, Tag("Iris", "2")) == second.contents


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, 1_500_000, len(BIG) - 1, len(BIG)])
def test_a_blob_is_read_from_an_offset_on(offset: int, registry: GammaService) -> None:
    bundle = seal(contents={MODEL: BIG})
    push(registry, bundle)
    chunks = list(registry.read_blob(bundle.tag, digest_of(bundle, MODEL), offset=offset))
    assert b"".join(chunks) == BIG[offset:]
    assert all(len(chunk) <= 4 << 20 for chunk in chunks)


def test_a_blob_is_read_through_its_bundle_alone(registry: GammaService) -> None:
    push(registry, seal("1", {MODEL: b"first"}))
    push(registry, seal("2", {MODEL: b"second"}))
    with pytest.raises(BundleNotFoundError, match="`Iris:2` has no file with the digest"):
        registry.read_blob(Tag("Iris", "2"), digest_of(seal("1", {MODEL: b"first"}), MODEL))
    with pytest.raises(BundleNotFoundError, match="no bundle `Iris:9`"):
        registry.read_blob(Tag("Iris", "9"), digest_of(seal(), MODEL))
    with pytest.raises(BundleError, match="has 5 bytes: it cannot be read from 6 on"):
        registry.read_blob(Tag("Iris", "1"), digest_of(seal("1", {MODEL: b"first"}), MODEL), offset=6)


# -- what is refused ---------------------------------------------------------------------------------------------------

BAD_PATHS = {
    "../x": "leads out of its folder",
    "a/../../x": "leads out of its folder",
    "/etc/passwd": "is absolute",
    "C:evil": "is absolute",
    "a//b": "is not in its shortest form",
    "./a": "is not in its shortest form",
    "a\\b": "has characters that",
    "a\0b": "has characters that",
    "a\nb": "has characters that",
    "a/" + "x" * 256: "is too long",
    "x/" * 600 + "x": "is too long",
    "\ud800": "is not text",
}


@pytest.mark.parametrize("path", list(BAD_PATHS), ids=lambda path: ascii(path)[:20])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    bundle = seal()
    files = [*bundle.files, BundleFile(path, "sha256:" + "0" * 64, 1)]
    with pytest.raises(BundleError, match=BAD_PATHS[path]):
        read_contents(bundle.manifest, files, namespace="default")


@pytest.mark.parametrize(
    ("first", "second"), [("a/B", "a/b"), ("é", "e\u0301"), ("straße", "STRASSE"), ("a", "a/b"), ("A/x/y", "a/X")]
)
def test_paths_that_are_one_somewhere_are_refused(first: str, second: str) -> None:
    bundle = seal(contents={first: b"1", second: b"2"})
    with pytest.raises(BundleError, match=r"are one file where case does not count|lies in what is a file itself"):
        read_contents(bundle.manifest, bundle.files, namespace="default")


CHANGES: dict[str, tuple[Callable[[list[BundleFile]], list[BundleFile]], str]] = {
    "one is missing": (lambda files: files[1:], "is missing"),
    "one more": (lambda files: [*files, BundleFile("x", "sha256:" + "0" * 64, 1)], "`x` is not in the manifest"),
    "another digest": (
        lambda files: [replace(files[0], digest="sha256:" + "0" * 64), *files[1:]],
        "has another digest",
    ),
    "no digest": (lambda files: [replace(files[0], digest="md5:0"), *files[1:]], "is not `sha256:`"),
    "a negative size": (lambda files: [replace(files[0], size_bytes=-1), *files[1:]], "cannot have -1 bytes"),
    "a manifest of another size": (
        lambda files: [replace(file, size_bytes=7) if file.path.endswith("kappa.yml") else file for file in files],
        "cannot have 7 bytes",
    ),
    "a file twice": (lambda files: [*files, files[0]], "are one file"),
    "too many": (lambda files: files * 20_000, "has up to 100000"),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_files_that_the_manifest_does_not_describe_are_refused(change: str) -> None:
    changed, problem = CHANGES[change]
    bundle = seal()
    with pytest.raises(BundleError, match=problem):
        read_contents(bundle.manifest, changed(bundle.files), namespace="default")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("schema_version: 1", "schema_version: 9", "Upgrade to Kappa"),
        ("kappa_version: 0.1.0", "kappa_version: 0.1.1", "was changed"),
        ("name: Iris", "name: class", "name a service"),
    ],
)
def test_a_manifest_that_kappa_does_not_write_is_refused(old: str, new: str, problem: str) -> None:
    bundle = seal()
    text = bundle.manifest.decode()
    assert old in text
    with pytest.raises(BundleError, match=problem):
        read_contents(text.replace(old, new, 1).encode(), bundle.files, namespace="default")


@pytest.mark.parametrize(
    ("bundle", "problem"),
    [
        (lambda: seal("../1"), "is not a version"),
        (lambda: seal("latest"), "is reserved"),
        (lambda: seal(created="yesterday"), "cannot be registered"),
    ],
    ids=["a version", "a reserved version", "a time"],
)
def test_a_sealed_manifest_that_says_nonsense_is_refused(bundle: Callable[[], Bundle], problem: str) -> None:
    with pytest.raises(BundleError, match=problem):
        read_contents(bundle().manifest, bundle().files, namespace="default")


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_a_manifest_of_any_bytes_is_refused_and_nothing_else(manifest: bytes) -> None:
    with pytest.raises(KappaError):
        read_contents(manifest, seal().files, namespace="default")


def test_a_size_that_a_digest_does_not_have_is_refused(registry: GammaService) -> None:
    push(registry, seal("1"))
    second = seal("2")
    files = [replace(file, size_bytes=7) if file.path == MODEL else file for file in second.files]
    with pytest.raises(BundleError, match="has 6000 bytes by its digest, and not 7"):
        registry.begin_upload(second.manifest, files, operation="1")


def test_a_blob_that_is_not_of_the_bundle_is_refused(registry: GammaService) -> None:
    session, _ = begin(registry, seal())
    with pytest.raises(BundleError, match="has no file with the digest `sha256:00"):
        registry.write_blob(session, "sha256:" + "0" * 64, 0, [b"x"])


# -- trees -------------------------------------------------------------------------------------------------------------

in_directories = pytest.mark.parametrize("registry_storage", ["directory"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@in_directories
@on_sqlite
def test_an_upload_becomes_a_plain_tree(registry: GammaService, registry_storage: DirectoryStorage) -> None:
    bundle = seal()
    push(registry, bundle)
    tree = registry_storage.root / "Iris" / "1"
    files = {path.relative_to(tree).as_posix(): path for path in tree.rglob("*") if path.is_file()}
    assert {path: file.read_bytes() for path, file in files.items()} == bundle.contents
    assert [path for path, file in files.items() if os.access(file, os.X_OK)] == ["docker-entrypoint.sh"]
    assert [path.name for path in registry_storage.root.glob(".*/*")] == []


@in_directories
@on_sqlite
def test_what_versions_share_takes_no_room_twice(registry: GammaService, registry_storage: DirectoryStorage) -> None:
    for version in ("1", "2"):
        push(registry, seal(version, {MODEL: BIG}))
    first, second = (registry_storage.root / "Iris" / version / MODEL for version in ("1", "2"))
    assert first.samefile(second)


@in_directories
@on_sqlite
def test_a_file_that_was_changed_in_a_tree_is_not_taken_from_it(
    registry: GammaService, registry_storage: DirectoryStorage
) -> None:
    push(registry, seal("1", {MODEL: BIG}))
    second = seal("2", {MODEL: BIG})
    session, missing = begin(registry, second)
    assert missing == {}
    (registry_storage.root / "Iris" / "1" / MODEL).write_bytes(b"!" * len(BIG))
    with pytest.raises(GammaError, match="has lost 1 of the blobs"):
        commit(registry, session)
    write_missing(registry, second, registry.upload_state(session))
    commit(registry, session)
    assert pull(registry, Tag("Iris", "2")) == second.contents


@in_directories
@on_sqlite
@pytest.mark.parametrize("others", [1, 2])
def test_a_blob_whose_bundle_is_deleted_meanwhile_comes_from_another_or_is_asked_for(
    registry: GammaService, registry_storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    for number in range(others):
        push(registry, seal(f"0.{number}", {MODEL: BIG}))
    bundle = seal("1", {MODEL: BIG})
    session, missing = begin(registry, bundle)
    assert missing == {}
    pending = registry_storage.pending

    def pending_late(session: str, tag: Tag, files: Any, sources: Any) -> Any:
        monkeypatch.setattr(registry_storage, "pending", pending)
        source = next(sources[file.digest] for file in files if file.path == MODEL)
        assert registry.delete([Tag(*source.uri.split("/"))], operation=uuid4().hex)
        return pending(session, tag, files, sources)

    monkeypatch.setattr(registry_storage, "pending", pending_late)
    if others == 1:
        with pytest.raises(GammaError, match="Write them, then commit it again"):
            commit(registry, session)
        write_missing(registry, bundle, registry.upload_state(session))
    commit(registry, session)
    assert pull(registry, bundle.tag) == bundle.contents


@in_directories
@on_sqlite
def test_a_tree_that_was_copied_into_the_folder_can_be_pulled(
    registry: GammaService, registry_storage: DirectoryStorage
) -> None:
    bundle = seal()
    bundle.write(registry_storage.root / "Iris" / "1")
    assert registry.files_of(bundle.tag) == tuple(bundle.files)
    assert pull(registry, bundle.tag) == bundle.contents


@in_directories
@on_sqlite
def test_a_process_that_died_between_the_tree_and_its_row_lost_nothing(
    open_registry: Open, registry_storage: DirectoryStorage
) -> None:
    bundle = seal(labels={"team": "growth"})
    upload = open_registry().begin_upload(bundle.manifest, bundle.files, operation="1")
    write_missing(open_registry(), bundle, upload)
    bundle.write(registry_storage.root / "Iris" / "1")
    assert open_registry().commit_upload(upload.session, operation="2").was_there
    assert pull(open_registry(), bundle.tag) == bundle.contents


@in_directories
@on_sqlite
def test_what_was_sent_for_a_bundle_that_is_there_is_garbage_at_once(
    open_registry: Open, registry_storage: DirectoryStorage
) -> None:
    """Let a process die between the tree and its rows, and another begin anew: the upload would stay for a day."""
    bundle = seal()
    upload = open_registry().begin_upload(bundle.manifest, bundle.files, operation="1")
    write_missing(open_registry(), bundle, upload)
    bundle.write(registry_storage.root / "Iris" / "1")
    again = open_registry().begin_upload(bundle.manifest, bundle.files, operation="2")
    assert again.record is not None
    open_registry().collect_garbage(grace=timedelta(0), dry_run=False)
    assert registry_storage.sessions() == set()
    assert pull(open_registry(), bundle.tag) == bundle.contents
    assert open_registry().commit_upload(upload.session, operation="3").was_there


@in_directories
@on_sqlite
@pytest.mark.skipif(os.name == "nt", reason="folders cannot be synced there")
def test_a_bundle_is_acknowledged_once_its_files_and_folders_are_on_the_disk(
    open_registry: Open, registry_storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    bundle = seal(contents={MODEL: BIG})
    push(open_registry(), bundle)
    tree = registry_storage.root / "Iris" / "1"
    needed = [tree, *tree.rglob("*"), tree.parent, registry_storage.root]
    assert [path for path in needed if path.stat().st_ino not in synced] == []


@on_sqlite
def test_a_failing_commit_leaves_nothing_visible(
    registry: GammaService, registry_storage: BundleStorage, connected: Connected
) -> None:
    upload = registry.begin_upload(seal().manifest, seal().files, operation="1")
    write_missing(registry, seal(), upload)
    with connected() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refused BEFORE INSERT ON bundle_files BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    with pytest.raises(GammaError, match="no room"):
        registry.commit_upload(upload.session, operation="2")
    assert registry.list_bundles() == []
    with connected() as connection:
        connection.exec_driver_sql("DROP TRIGGER refused")
    registry.commit_upload(upload.session, operation="2")
    assert pull(registry, Tag("Iris", "1")) == seal().contents
