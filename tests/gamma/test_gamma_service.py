"""The registry: what it finds, lists and deletes, and that trees and database agree whatever happened between them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from kappa.errors import BundleError, BundleNotFoundError, DestinationExistsError, GammaError
from kappa.gamma.directories import DirectoryStorage
from kappa.gamma.queries import add_bundle
from kappa.gamma.service import GammaService
from kappa.labels import parse_selector
from kappa.log import Kind, listening
from kappa.spec.manifest import read_manifest
from kappa.spec.store import Query
from kappa.tag import BundleReference, Tag

Put = Callable[..., Path]
Open = Callable[[], GammaService]
Connected = Callable[[], AbstractContextManager[Connection]]

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def rows_of(connected: Connected, statement: str) -> list[tuple[object, ...]]:
    with connected() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]


def find(service: GammaService, text: str) -> Path:
    return service.find(BundleReference.parse(text))


def tags(service: GammaService, name: str | None = None, **options: Any) -> list[str]:
    return [str(one.tag) for one in service.list_bundles(Query(name=name, **options))]


# -- finding and listing -----------------------------------------------------------------------------------------------


def test_latest_is_the_newest_by_time_of_build_and_not_by_version(service: GammaService, put: Put) -> None:
    put("Iris", "9", created="2026-01-01T00:00:00Z")
    newest = put("Iris", "10", created="2026-03-01T00:00:00Z")
    put("Iris", "11", created="2026-02-01T00:00:00Z")
    assert tags(service) == ["Iris:10", "Iris:11", "Iris:9"]
    assert find(service, "Iris") == find(service, "Iris:latest") == newest


def test_of_bundles_with_one_time_the_last_put_is_the_newest(service: GammaService, put: Put) -> None:
    put("Iris", "b")
    last = put("Iris", "a")
    assert find(service, "Iris") == last


def test_a_version_is_found_wherever_it_stands(service: GammaService, put: Put) -> None:
    first = put("Iris", "1")
    put("Iris", "2")
    assert find(service, "Iris:1") == first


def test_a_digest_finds_its_bundle_whatever_its_version(service: GammaService, put: Put) -> None:
    put("Iris", "1", digest="ab")
    second = put("Iris", "2", digest="cd")
    assert find(service, "Iris@sha256:" + "cd" * 32) == second
    assert find(service, "Iris@sha256:cdcdcd") == second


def test_a_short_digest_of_two_bundles_is_refused(service: GammaService, put: Put) -> None:
    put("Iris", "1", digest="aaaaaab")
    put("Iris", "2", digest="aaaaaac")
    with pytest.raises(BundleError, match="more than one bundle: `Iris:2`, `Iris:1`"):
        find(service, "Iris@sha256:aaaaaa")


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
def test_an_unknown_reference_says_what_there_is(service: GammaService, put: Put, reference: str, message: str) -> None:
    put("Iris", "1")
    with pytest.raises(BundleNotFoundError) as caught:
        find(service, reference)
    assert str(caught.value) == message


def test_an_empty_store_says_how_bundles_get_there_and_makes_nothing(
    service: GammaService, storage: DirectoryStorage
) -> None:
    root = storage.root
    with pytest.raises(BundleNotFoundError) as caught:
        find(service, "Iris:latest")
    expected = (
        f"There is no bundle `Iris:latest`: the store `{root}` is empty. Run `kappa build` in the folder of the "
        "kappafile, and give the tag that it prints."
    )
    assert str(caught.value) == expected
    assert tags(service) == []
    assert list(root.parent.iterdir()) == []


def test_a_record_holds_what_lists_need_without_reading_the_bundle(service: GammaService, put: Put) -> None:
    directory = put("Iris", "1", created="2026-01-02T03:04:05Z", labels={"team": "growth"}, digest="ab")
    (record,) = service.list_bundles()
    assert (record.tag, record.uri, dict(record.labels)) == (Tag("Iris", "1"), "Iris/1", {"team": "growth"})
    assert record.created_at.isoformat() == "2026-01-02T03:04:05+00:00"
    assert record.bundle_digest == "sha256:" + "ab" * 32
    assert record.size_bytes == sum(path.stat().st_size for path in directory.iterdir())
    assert record.view["apis"][0]["InputType"] == "JsonInput"
    assert service.path_of(record) == directory


def test_the_lock_of_each_bundle_is_a_table(put: Put, connected: Connected) -> None:
    put("Iris", "1")
    rows = rows_of(
        connected,
        "SELECT b.name, b.version, p.distribution, p.version FROM locked_packages p JOIN bundles b "
        "ON b.id = p.bundle_id ORDER BY p.distribution",
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
def test_a_selector_chooses_by_labels(service: GammaService, put: Put, selector: str, expected: list[str]) -> None:
    put("A", "1", labels={"framework": "pytorch"})
    put("B", "1", labels={"framework": "xgboost"})
    put("C", "1", labels={"framework": "pytorch", "stage": "test"})
    put("D", "1")
    requirements = parse_selector(selector)
    assert tags(service, selector=requirements) == expected
    by_hand = [str(one.tag) for one in service.list_bundles() if all(r.holds(one.labels) for r in requirements)]
    assert by_hand == expected


def test_order_limit_and_offset(service: GammaService, put: Put) -> None:
    for month, name in enumerate("BAC", start=1):
        put(name, "1", created=f"2026-0{month}-01T00:00:00Z")
    put("A", "2", created="2026-04-01T00:00:00Z")
    assert tags(service) == ["A:2", "C:1", "A:1", "B:1"]
    assert tags(service, ascending=True) == ["B:1", "A:1", "C:1", "A:2"]
    assert tags(service, order_by="name", ascending=True) == ["A:2", "A:1", "B:1", "C:1"]
    assert tags(service, order_by="name") == ["C:1", "B:1", "A:2", "A:1"]
    assert tags(service, limit=2, offset=1) == ["C:1", "A:1"]
    assert tags(service, "A", limit=1) == ["A:2"]


def test_names_are_sorted_by_code_points_in_every_database(service: GammaService, put: Put) -> None:
    for name in ("b", "A", "a", "B", "a_b", "aB"):
        put(name, "1")
    assert tags(service, order_by="name", ascending=True) == ["A:1", "B:1", "a:1", "aB:1", "a_b:1", "b:1"]


def test_the_time_of_a_build_is_in_utc_wherever_the_database_is(service: GammaService, put: Put) -> None:
    put("Iris", "1", created="2026-07-01T12:00:00Z")
    (record,) = service.list_bundles()
    assert record.created_at.isoformat() == "2026-07-01T12:00:00+00:00"


# -- deleting ----------------------------------------------------------------------------------------------------------


def test_what_is_deleted_is_gone_and_nothing_else(service: GammaService, storage: DirectoryStorage, put: Put) -> None:
    for version in ("1", "2", "3"):
        put("Iris", version)
    assert service.delete([Tag("Iris", "1"), Tag("Iris", "9"), Tag("Iris", "3")]) == [
        Tag("Iris", "1"),
        Tag("Iris", "3"),
    ]
    assert tags(service) == ["Iris:2"]
    assert [path.name for path in storage.root.iterdir()] == ["Iris"]


def test_many_bundles_are_deleted_at_once(service: GammaService, put: Put) -> None:
    for number in range(60):
        put("Iris", str(number))
    assert len(service.delete([record.tag for record in service.list_bundles()])) == 60
    assert tags(service) == []


def test_a_deleted_version_may_be_put_again_with_other_bytes(service: GammaService, put: Put) -> None:
    put("Iris", "1", digest="ab", labels={"a": "b"})
    service.delete([Tag("Iris", "1")])
    put("Iris", "1", digest="cd", labels={"c": "d"})
    (record,) = service.list_bundles()
    assert (record.bundle_digest, dict(record.labels)) == ("sha256:" + "cd" * 32, {"c": "d"})


def test_a_version_that_is_there_keeps_its_bytes_and_its_record(service: GammaService, put: Put) -> None:
    put("Iris", "1", digest="ab")
    with pytest.raises(DestinationExistsError):
        put("Iris", "1", digest="cd")
    assert [one.bundle_digest for one in service.list_bundles()] == ["sha256:" + "ab" * 32]


# -- trees and database ------------------------------------------------------------------------------------------------


def test_a_bundle_whose_process_died_before_it_was_noted_is_noted(
    service: GammaService, storage: DirectoryStorage, stage_bundle: Callable[..., Path]
) -> None:
    with storage.staging() as staging:
        staged = stage_bundle(staging / "bundle", "Iris", "1")
        storage.put(staged, read_manifest(staged))
    assert tags(service) == ["Iris:1"]


def test_a_bundle_whose_process_died_before_it_was_forgotten_is_forgotten(
    service: GammaService, storage: DirectoryStorage, put: Put
) -> None:
    put("Iris", "1")
    storage.remove(Tag("Iris", "1"))
    assert tags(service) == []
    with pytest.raises(BundleNotFoundError):
        find(service, "Iris:1")


@on_sqlite
def test_a_lost_database_is_made_anew(put: Put, open_service: Open, tmp_path: Path) -> None:
    put("Iris", "1", created="2026-02-01T00:00:00Z", labels={"team": "growth"})
    put("Iris", "2", created="2026-01-01T00:00:00Z")
    (tmp_path / "storage.db").unlink()
    service = open_service()
    assert tags(service) == ["Iris:1", "Iris:2"]
    assert tags(service, selector=parse_selector("team=growth")) == ["Iris:1"]


def test_a_broken_bundle_is_passed_over_with_a_warning(service: GammaService, put: Put) -> None:
    good = put("Iris", "1")
    broken = good.with_name("2")
    broken.mkdir()
    (broken / "kappa.yml").write_text("no manifest")
    moved = good.with_name("3")
    shutil.copytree(good, moved)
    said: list[tuple[str, Kind]] = []
    with listening(lambda message, kind: said.append((message, kind))):
        assert tags(service) == ["Iris:1"]
    assert sorted(said) == [
        (f"`{broken}/kappa.yml` is not a bundle's manifest: it has no `schema_version`.", "warning"),
        (f"`{moved}` says that it is `Iris:1`, so it is passed over.", "warning"),
    ]


@pytest.mark.parametrize("text", ["sha256:" + "0" * 65, "sha256:\\0"])
def test_a_manifest_with_a_text_that_no_table_holds_is_passed_over_with_a_warning(
    service: GammaService, put: Put, text: str
) -> None:
    manifest = put("Iris", "1") / "kappa.yml"
    edited = manifest.parent.with_name("2") / "kappa.yml"
    shutil.copytree(manifest.parent, edited.parent)
    digest = read_manifest(manifest.parent).bundle_digest
    written = edited.read_text().replace("version: '1'", "version: '2'").replace(digest, f'"{text}"')
    edited.write_text(written)
    said: list[tuple[str, Kind]] = []
    with listening(lambda message, kind: said.append((message, kind))):
        assert tags(service) == ["Iris:1"]
    assert said == [(f"`{edited.parent}` is passed over: its `bundle_digest` is none that Kappa writes.", "warning")]


def test_namespaces_do_not_see_each_other(service: GammaService, put: Put, connected: Connected) -> None:
    put("Iris", "1")
    (record,) = service.list_bundles()
    with connected() as connection:
        add_bundle(connection, "team-b", record)
        add_bundle(connection, "team-b", replace(record, tag=Tag("Wine", "1")))
    assert tags(service) == ["Iris:1"]
    assert sorted(tags(service, namespace="team-b")) == ["Iris:1", "Wine:1"]
    assert tags(service, namespace="team-c") == []
    service.delete([Tag("Iris", "1")])
    assert rows_of(connected, "SELECT namespace, name FROM bundles ORDER BY name") == [
        ("team-b", "Iris"),
        ("team-b", "Wine"),
    ]


@on_sqlite
def test_a_database_that_is_none_is_said(open_service: Open, put: Put, tmp_path: Path) -> None:
    put("Iris", "1")
    (tmp_path / "storage.db").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(GammaError, match=r"`sqlite:///.*storage.db` cannot be used: file is not a database"):
        tags(open_service())


# -- a store that cannot be written to ---------------------------------------------------------------------------------


@pytest.fixture
def reader(open_service: Open, put: Put, storage: DirectoryStorage) -> GammaService:
    """Return the registry of two bundles where nothing can be locked; the database knows one of them."""
    put("Iris", "1", created="2026-01-01T00:00:00Z")
    known = storage.root.with_name("storage.db").read_bytes()
    put("Iris", "2", created="2026-02-01T00:00:00Z")
    storage.root.with_name("storage.db").write_bytes(known)
    lock = storage.root.with_name(f".{storage.root.name}.lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    return open_service()


@on_sqlite
def test_a_store_that_cannot_be_written_to_is_read(reader: GammaService, storage: DirectoryStorage) -> None:
    files = {path: path.stat().st_mtime_ns for path in storage.root.parent.rglob("*")}
    assert tags(reader) == ["Iris:2", "Iris:1"]
    assert find(reader, "Iris") == storage.path_of(Tag("Iris", "2"))
    assert {path: path.stat().st_mtime_ns for path in storage.root.parent.rglob("*")} == files


@on_sqlite
def test_a_store_that_cannot_be_written_to_is_read_without_a_database(
    reader: GammaService, storage: DirectoryStorage
) -> None:
    storage.root.with_name("storage.db").unlink()
    assert tags(reader) == ["Iris:2", "Iris:1"]


@on_sqlite
def test_a_store_that_cannot_be_written_to_says_so(reader: GammaService, stage_bundle: Callable[..., Path]) -> None:
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
    is_read_only: bool, open_service: Open, put: Put, storage: DirectoryStorage
) -> None:
    put("Iris", "1")
    database = storage.root.with_name("storage.db")
    database.write_bytes(b"x" * 5000)
    if is_read_only:
        lock = storage.root.with_name(f".{storage.root.name}.lock")
        lock.unlink(missing_ok=True)
        lock.mkdir()
    with pytest.raises(GammaError, match=r"not a database. Delete the file: it is made anew from the bundles.$"):
        tags(open_service())
    database.unlink()
    assert tags(open_service()) == ["Iris:1"]
