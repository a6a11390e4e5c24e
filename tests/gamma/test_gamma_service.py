"""The registry: what it finds, lists and deletes, and that trees and database agree whatever happened between them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from kappa.errors import BundleError, BundleNotFoundError, DestinationExistsError, GammaError
from kappa.gamma.local_store import LocalStore
from kappa.gamma.service import gamma_service, settling
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.labels import parse_selector
from kappa.log import Kind, listening
from kappa.spec.manifest import BundleManifest, read_manifest
from kappa.spec.store import Query
from kappa.tag import ALL_NAMESPACES, BundleReference, Tag

Put = Callable[..., Path]
Open = Callable[[], LocalStore]
Connected = Callable[[], AbstractContextManager[Connection]]

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def rows_of(connected: Connected, statement: str) -> list[tuple[object, ...]]:
    with connected() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]


def find(store: LocalStore, text: str) -> Path:
    return store.find(BundleReference.parse(text))


def tags(store: LocalStore, name: str | None = None, **options: Any) -> list[str]:
    return [str(one.tag) for one in store.list_bundles(Query(name=name, **options))]


# -- finding and listing -----------------------------------------------------------------------------------------------


def test_latest_is_the_newest_by_time_of_build_and_not_by_version(store: LocalStore, put: Put) -> None:
    put("Iris", "9", created="2026-01-01T00:00:00Z")
    newest = put("Iris", "10", created="2026-03-01T00:00:00Z")
    put("Iris", "11", created="2026-02-01T00:00:00Z")
    assert tags(store) == ["Iris:10", "Iris:11", "Iris:9"]
    assert find(store, "Iris") == find(store, "Iris:latest") == newest


def test_of_bundles_with_one_time_the_last_put_is_the_newest(store: LocalStore, put: Put) -> None:
    put("Iris", "b")
    last = put("Iris", "a")
    assert find(store, "Iris") == last


def test_a_version_is_found_wherever_it_stands(store: LocalStore, put: Put) -> None:
    first = put("Iris", "1")
    put("Iris", "2")
    assert find(store, "Iris:1") == first


def test_a_digest_finds_its_bundle_whatever_its_version(store: LocalStore, put: Put) -> None:
    put("Iris", "1", digest="ab")
    second = put("Iris", "2", digest="cd")
    assert find(store, "Iris@sha256:" + "cd" * 32) == second
    assert find(store, "Iris@sha256:cdcdcd") == second


def test_a_short_digest_of_two_bundles_is_refused(store: LocalStore, put: Put) -> None:
    put("Iris", "1", digest="aaaaaab")
    put("Iris", "2", digest="aaaaaac")
    with pytest.raises(BundleError, match="more than one bundle: `Iris:2`, `Iris:1`"):
        find(store, "Iris@sha256:aaaaaa")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        pytest.param("Iris:2", "There is no bundle `Iris:2` in the store. Of `Iris` it holds `Iris:1`.", id="version"),
        pytest.param(
            "Iris@sha256:ffffff",
            "There is no bundle `Iris@sha256:ffffff` in the store. Of `Iris` it holds `Iris:1`.",
            id="digest",
        ),
        pytest.param("Irys", "There is no bundle `Irys:latest` in the store. Did you mean `Iris`?", id="near-name"),
        pytest.param("Wine:1", "There is no bundle `Wine:1` in the store. It holds `Iris`.", id="other-name"),
    ],
)
def test_an_unknown_reference_says_what_there_is(store: LocalStore, put: Put, reference: str, message: str) -> None:
    put("Iris", "1")
    with pytest.raises(BundleNotFoundError) as caught:
        find(store, reference)
    assert str(caught.value) == message


def test_an_empty_store_says_how_bundles_get_there_and_makes_nothing(
    store: LocalStore, storage: DirectoryStorage
) -> None:
    root = storage.root
    root.with_name("storage.db").unlink(missing_ok=True)
    with pytest.raises(BundleNotFoundError) as caught:
        find(store, "Iris:latest")
    expected = (
        f"There is no bundle `Iris:latest`: the store `{root}` is empty. Run `kappa build` in the folder of the "
        "kappafile, and give the tag that it prints."
    )
    assert str(caught.value) == expected
    assert tags(store) == []
    assert list(root.parent.iterdir()) == []


def test_a_record_holds_what_lists_need_without_reading_the_bundle(store: LocalStore, put: Put) -> None:
    directory = put("Iris", "1", created="2026-01-02T03:04:05Z", labels={"team": "growth"}, digest="ab")
    (record,) = store.list_bundles()
    assert (record.tag, record.uri, dict(record.labels)) == (Tag("Iris", "1"), "Iris/1", {"team": "growth"})
    assert record.created_at.isoformat() == "2026-01-02T03:04:05+00:00"
    assert record.bundle_digest == "sha256:" + "ab" * 32
    assert record.size_bytes == sum(path.stat().st_size for path in directory.iterdir())
    assert record.view["apis"][0]["InputType"] == "JsonInput"
    assert store.path_of(record) == directory


def test_the_lock_of_each_bundle_is_a_table(put: Put, connected: Connected) -> None:
    put("Iris", "1")
    rows = rows_of(
        connected,
        "SELECT b.name, b.version, d.name, p.version FROM locks l JOIN bundles b ON b.id = l.bundle_id "
        "JOIN packages p ON p.id = l.package_id JOIN distributions d ON d.id = p.distribution_id ORDER BY d.name",
    )
    assert rows == [("Iris", "1", "apple", "1.0"), ("Iris", "1", "pear", "2.0")]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("framework=pytorch", ["C:1", "A:1"]),
        ("framework!=pytorch", ["B:1"]),
        ("framework In (xgboost, lightgbm)", ["B:1"]),
        ("framework NotIn (xgboost)", ["C:1", "A:1"]),
        ("stage Exists", ["C:1"]),
        ("stage", ["C:1"]),
        ("stage DoesNotExist", ["D:1", "B:1", "A:1"]),
        ("framework=pytorch, stage DoesNotExist", ["A:1"]),
        ("framework=pytorch,framework=xgboost", []),
    ],
)
def test_a_selector_chooses_by_labels(store: LocalStore, put: Put, selector: str, expected: list[str]) -> None:
    put("A", "1", labels={"framework": "pytorch"})
    put("B", "1", labels={"framework": "xgboost"})
    put("C", "1", labels={"framework": "pytorch", "stage": "test"})
    put("D", "1")
    requirements = parse_selector(selector)
    assert tags(store, selector=requirements) == expected
    by_hand = [str(one.tag) for one in store.list_bundles() if all(r.holds(one.labels) for r in requirements)]
    assert by_hand == expected


def test_order_limit_and_offset(store: LocalStore, put: Put) -> None:
    for month, name in enumerate("BAC", start=1):
        put(name, "1", created=f"2026-0{month}-01T00:00:00Z")
    put("A", "2", created="2026-04-01T00:00:00Z")
    assert tags(store) == ["A:2", "C:1", "A:1", "B:1"]
    assert tags(store, ascending=True) == ["B:1", "A:1", "C:1", "A:2"]
    assert tags(store, order_by="name", ascending=True) == ["A:2", "A:1", "B:1", "C:1"]
    assert tags(store, order_by="name") == ["C:1", "B:1", "A:2", "A:1"]
    assert tags(store, limit=2, offset=1) == ["C:1", "A:1"]
    assert tags(store, "A", limit=1) == ["A:2"]


def test_names_are_sorted_by_code_points_in_every_database(store: LocalStore, put: Put) -> None:
    for name in ("b", "A", "a", "B", "a_b", "aB"):
        put(name, "1")
    assert tags(store, order_by="name", ascending=True) == ["A:1", "B:1", "a:1", "aB:1", "a_b:1", "b:1"]


def test_the_time_of_a_build_is_in_utc_wherever_the_database_is(store: LocalStore, put: Put) -> None:
    put("Iris", "1", created="2026-07-01T12:00:00Z")
    (record,) = store.list_bundles()
    assert record.created_at.isoformat() == "2026-07-01T12:00:00+00:00"


# -- deleting ----------------------------------------------------------------------------------------------------------


def test_what_is_deleted_is_gone_and_nothing_else(store: LocalStore, storage: DirectoryStorage, put: Put) -> None:
    for version in ("1", "2", "3"):
        put("Iris", version)
    assert store.delete([Tag("Iris", "1"), Tag("Iris", "9"), Tag("Iris", "3")]) == [
        Tag("Iris", "1"),
        Tag("Iris", "3"),
    ]
    assert tags(store) == ["Iris:2"]
    assert [path.name for path in storage.root.iterdir()] == ["Iris"]


def test_many_bundles_are_deleted_at_once(store: LocalStore, put: Put) -> None:
    for number in range(60):
        put("Iris", str(number))
    assert len(store.delete([record.tag for record in store.list_bundles()])) == 60
    assert tags(store) == []


def test_a_deleted_version_may_be_built_again_with_other_bytes(store: LocalStore, put: Put) -> None:
    put("Iris", "1", digest="ab", labels={"a": "b"})
    store.delete([Tag("Iris", "1")])
    put("Iris", "1", digest="cd", labels={"c": "d"})
    (record,) = store.list_bundles()
    assert (record.bundle_digest, dict(record.labels)) == ("sha256:" + "cd" * 32, {"c": "d"})


def test_a_version_that_is_there_keeps_its_bytes_and_its_record(store: LocalStore, put: Put) -> None:
    put("Iris", "1", digest="ab")
    with pytest.raises(DestinationExistsError):
        put("Iris", "1", digest="cd")
    assert [one.bundle_digest for one in store.list_bundles()] == ["sha256:" + "ab" * 32]


# -- trees and database ------------------------------------------------------------------------------------------------


def test_a_bundle_whose_process_died_before_it_was_noted_is_noted(
    store: LocalStore, storage: DirectoryStorage, stage_bundle: Callable[..., Path]
) -> None:
    with storage.staging() as staging:
        staged = stage_bundle(staging / "bundle", "Iris", "1")
        storage.put(staged, read_manifest(staged))
    assert tags(store) == ["Iris:1"]


def test_a_bundle_whose_process_died_before_it_was_forgotten_is_forgotten(
    store: LocalStore, storage: DirectoryStorage, put: Put
) -> None:
    put("Iris", "1")
    storage.remove(Tag("Iris", "1"))
    assert tags(store) == []
    with pytest.raises(BundleNotFoundError):
        find(store, "Iris:1")


@on_sqlite
def test_a_lost_database_is_made_anew(put: Put, open_store: Open, tmp_path: Path) -> None:
    put("Iris", "1", created="2026-02-01T00:00:00Z", labels={"team": "growth"})
    put("Iris", "2", created="2026-01-01T00:00:00Z")
    (tmp_path / "storage.db").unlink()
    store = open_store()
    assert tags(store) == ["Iris:1", "Iris:2"]
    assert tags(store, selector=parse_selector("team=growth")) == ["Iris:1"]


def test_a_broken_bundle_is_passed_over_with_a_warning(store: LocalStore, put: Put) -> None:
    good = put("Iris", "1")
    broken = good.with_name("2")
    broken.mkdir()
    (broken / "kappa.yml").write_text("no manifest")
    moved = good.with_name("3")
    shutil.copytree(good, moved)
    said: list[tuple[str, Kind]] = []
    with listening(lambda message, kind: said.append((message, kind))):
        assert tags(store) == ["Iris:1"]
    assert sorted(said) == [
        (f"`{broken}/kappa.yml` is not a bundle's manifest: it has no `schema_version`.", "warning"),
        (f"`{moved}` says that it is `Iris:1`, so it is passed over.", "warning"),
    ]


@pytest.mark.parametrize("text", ["sha256:" + "0" * 65, "sha256:\\0"])
def test_a_manifest_with_a_text_that_no_table_holds_is_passed_over_with_a_warning(
    store: LocalStore, put: Put, text: str
) -> None:
    manifest = put("Iris", "1") / "kappa.yml"
    edited = manifest.parent.with_name("2") / "kappa.yml"
    shutil.copytree(manifest.parent, edited.parent)
    digest = read_manifest(manifest.parent).bundle_digest
    written = edited.read_text().replace("version: '1'", "version: '2'").replace(digest, f'"{text}"')
    edited.write_text(written)
    said: list[tuple[str, Kind]] = []
    with listening(lambda message, kind: said.append((message, kind))):
        assert tags(store) == ["Iris:1"]
    assert said == [(f"`{edited.parent}` is passed over: its `bundle_digest` is none that Kappa writes.", "warning")]


def test_a_bundle_of_another_namespace_lies_in_a_folder_of_its_own(
    store: LocalStore, storage: DirectoryStorage, put: Put, open_store: Open
) -> None:
    put("Iris", "1")
    directory = put("Iris", "1", namespace="team-b", digest="bb")
    assert directory == storage.root / "@team-b" / "Iris" / "1"
    assert storage.tags() == {Tag("Iris", "1"), Tag("Iris", "1", "team-b")}
    shutil.copytree(directory.parents[1], storage.root / "@team-c")
    assert tags(open_store(), namespace="team-c") == ["team-c/Iris:1"]
    assert find(store, "team-b/Iris") == directory
    store.delete([Tag("Iris", "1", "team-b")])
    assert sorted(path.name for path in storage.root.iterdir()) == ["@team-c", "Iris"]


def test_a_tree_that_went_away_and_is_back_has_its_labels_and_aliases(
    store: LocalStore, storage: DirectoryStorage, put: Put, tmp_path: Path
) -> None:
    put("Iris", "1", labels={"team": "growth"})
    tag = Tag("Iris", "1")
    before = store.set_labels(tag, {"team": "core"})
    store.set_alias(tag, "live")
    storage.root.rename(tmp_path / "elsewhere")
    storage.root.mkdir()
    assert tags(store) == []
    assert store.aliases("Iris") == []
    shutil.copytree(tmp_path / "elsewhere", storage.root, dirs_exist_ok=True)
    record = store.resolve(BundleReference("Iris", "live"))
    assert (dict(record.labels), record.aliases, record.registered_at) == (
        {"team": "core"},
        ("live",),
        before.registered_at,
    )


def test_a_copied_tree_whose_version_is_an_alias_is_passed_over(store: LocalStore, put: Put) -> None:
    first = put("Iris", "1")
    store.set_alias(Tag("Iris", "1"), "live")
    copied = first.with_name("live")
    shutil.copytree(first, copied)
    manifest = copied / "kappa.yml"
    manifest.write_text(manifest.read_text().replace("version: '1'", "version: live"))
    heard: list[str] = []
    with listening(lambda message, kind: heard.append(message)):
        assert tags(store) == ["Iris:1"]
    assert "".join(heard) == (
        f"`{copied}` is passed over: `Iris:live` cannot be a version: `live` is an alias of `Iris:1`. Give another "
        "version, or delete the alias."
    )


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_trees_that_are_added_at_once_are_what_each_alone_would_be(
    store: LocalStore,
    storage: DirectoryStorage,
    stage_bundle: Callable[..., Path],
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
) -> None:
    monkeypatch.setattr(settling, "_ADDED_AT_ONCE", at_once)
    put("Iris", "1", digest="01")
    put("Iris", "2", digest="02", labels={"team": "core"})
    store.set_alias(Tag("Iris", "2"), "live")
    store.delete([Tag("Iris", "1")])
    away = (storage.root / "Iris" / "2").rename(storage.root.with_name("away"))
    assert tags(store) == []
    put("Wine", "1", digest="03")
    store.set_alias(Tag("Wine", "1"), "best")
    away.rename(storage.root / "Iris" / "2")
    new = [
        ("Iris", "1", "11", {"a": "1"}),
        ("Iris", "3", "13", {}),
        ("Wine", "best", "0b", {}),
        ("Wine", "2", "12", {"b": "2"}),
    ]
    for name, version, digest, labels in new:
        stage_bundle(storage.root / name / version, name, version, digest=digest, labels=labels)
    stage_bundle(storage.root / "@team" / "Iris" / "1", "Iris", "1", digest="21", labels={"c": "3"})
    records = {str(record.tag): record for record in store.list_bundles(Query(namespace=ALL_NAMESPACES))}
    assert {
        tag: (record.bundle_digest[7:9], dict(record.labels), record.aliases) for tag, record in records.items()
    } == {
        "Iris:1": ("11", {"a": "1"}, ()),
        "Iris:2": ("02", {"team": "core"}, ("live",)),
        "Iris:3": ("13", {}, ()),
        "Wine:1": ("03", {}, ("best",)),
        "Wine:2": ("12", {"b": "2"}, ()),
        "team/Iris:1": ("21", {"c": "3"}, ()),
    }
    assert str(store.resolve(BundleReference("Wine")).tag) == "Wine:2"  # the last one of those built at one moment
    assert tags(store, requires="pear==2.0") == tags(store)
    assert tags(store, requires="pear==2.0", namespace="team") == ["team/Iris:1"]


def test_what_was_read_of_a_large_store_stays_read_when_its_process_dies(
    store: LocalStore, storage: DirectoryStorage, put: Put, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gamma_service, "_SETTLED_AT_ONCE", 2)
    directory = put("Iris", "1")
    for number in range(4):
        copied = storage.root / f"Service{number}" / "1"
        shutil.copytree(directory, copied)
        manifest = copied / "kappa.yml"
        manifest.write_text(manifest.read_text().replace("name: Iris", f"name: Service{number}"))
    read: list[str] = []

    def read_and_die(folder: Path, **options: Any) -> BundleManifest:
        read.append(folder.parent.name)
        if len(read) == 3:
            raise KeyboardInterrupt
        return read_manifest(folder, **options)

    heard: list[str] = []
    with monkeypatch.context() as patch, listening(lambda message, kind: heard.append(message)):
        patch.setattr(settling, "read_manifest", read_and_die)
        with pytest.raises(KeyboardInterrupt):
            open_store().list_bundles()
        assert tags(open_store()) == ["Service3:1", "Service2:1", "Service1:1", "Service0:1", "Iris:1"]
    assert sorted(read) == ["Service0", "Service1", "Service2", "Service2", "Service3"]
    assert heard[0] == f"2 of 4 services in `{storage.root}` have been read"


def test_a_folder_that_did_not_change_is_not_read_again_by_another_process(
    storage: DirectoryStorage, put: Put, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        put(f"Service{number}", "1")
    read: list[str] = []
    scandir = os.scandir

    def scan(path: Any) -> Any:
        if Path(path).is_relative_to(storage.root):
            read.append(Path(path).name)
        return scandir(path)

    def count_in_another_process() -> int:
        later = DirectoryStorage(storage.root, clock=lambda: 2**62)  # when all times of change can be trusted
        other = LocalStore(later, database_url)
        read.clear()
        count = len(other.list_bundles())
        other.close()
        return count

    monkeypatch.setattr(os, "scandir", scan)
    assert (count_in_another_process(), len(read)) == (20, 21)
    assert (count_in_another_process(), read) == (20, ["repository"])
    (storage.root / "Service7" / "1").rename(storage.root / "Service8" / "2")
    manifest = storage.root / "Service8" / "2" / "kappa.yml"
    manifest.write_text(manifest.read_text().replace("version: '1'", "version: '2'").replace("Service7", "Service8"))
    assert count_in_another_process() == 20
    assert {name for name in read if name != "2"} == {"repository", "Service7", "Service8"}


@on_sqlite
def test_a_database_that_is_none_is_said(open_store: Open, put: Put, tmp_path: Path) -> None:
    put("Iris", "1")
    (tmp_path / "storage.db").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(GammaError, match=r"`sqlite:///.*storage.db` cannot be used: file is not a database"):
        tags(open_store())


# -- a store that cannot be written to ---------------------------------------------------------------------------------


@pytest.fixture
def reader(open_store: Open, put: Put, storage: DirectoryStorage) -> LocalStore:
    """Return the registry of two bundles where nothing can be locked; the database knows one of them."""
    put("Iris", "1", created="2026-01-01T00:00:00Z")
    known = storage.root.with_name("storage.db").read_bytes()
    put("Iris", "2", created="2026-02-01T00:00:00Z")
    storage.root.with_name("storage.db").write_bytes(known)
    lock = storage.root.with_name(f".{storage.root.name}.lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    return open_store()


@on_sqlite
def test_a_store_that_cannot_be_written_to_is_read(reader: LocalStore, storage: DirectoryStorage) -> None:
    files = {path: path.stat().st_mtime_ns for path in storage.root.parent.rglob("*")}
    assert tags(reader) == ["Iris:2", "Iris:1"]
    assert find(reader, "Iris") == storage.path_of(Tag("Iris", "2"))
    assert {path: path.stat().st_mtime_ns for path in storage.root.parent.rglob("*")} == files


@on_sqlite
def test_a_store_that_cannot_be_written_to_is_read_without_a_database(
    reader: LocalStore, storage: DirectoryStorage
) -> None:
    storage.root.with_name("storage.db").unlink()
    assert tags(reader) == ["Iris:2", "Iris:1"]


@on_sqlite
def test_a_store_that_cannot_be_written_to_says_so(reader: LocalStore, stage_bundle: Callable[..., Path]) -> None:
    with pytest.raises(GammaError, match=r"^The store `.*repository` cannot be changed: Is a directory\.$"):
        reader.delete([Tag("Iris", "1")])
    with reader.staging() as staging:
        staged = stage_bundle(staging / "bundle", "Iris", "3")
        with pytest.raises(GammaError, match="cannot be changed"):
            reader.put(staged, read_manifest(staged))
    assert tags(reader) == ["Iris:2", "Iris:1"]


@on_sqlite
@pytest.mark.parametrize("is_read_only", [False, True], ids=["writable", "read-only"])
def test_a_damaged_database_may_be_deleted_and_is_made_anew(
    is_read_only: bool, open_store: Open, put: Put, storage: DirectoryStorage
) -> None:
    put("Iris", "1")
    database = storage.root.with_name("storage.db")
    database.write_bytes(b"x" * 5000)
    if is_read_only:
        lock = storage.root.with_name(f".{storage.root.name}.lock")
        lock.unlink(missing_ok=True)
        lock.mkdir()
    with pytest.raises(GammaError, match=r"not a database. Delete the file: it is made anew from the bundles.$"):
        tags(open_store())
    database.unlink()
    assert tags(open_store()) == ["Iris:1"]
