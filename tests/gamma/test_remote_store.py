"""A store on a registry elsewhere: sent, fetched, cached, and what happens where the registry is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kappa.errors import BundleError, BundleNotFoundError, DestinationExistsError, GammaError, GammaUnreachableError
from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.protocols.registry import Commit
from kappa.gamma.remote_store import RemoteStore
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.gamma.transfer.cache import BundleCache
from kappa.gamma.transfer.fetching import fetch_bundle
from kappa.gamma.transfer.sending import send_bundle
from kappa.log import listening
from kappa.services.bundle import open_bundle
from kappa.spec.store import Query
from kappa.tag import BundleReference, Tag
from tests.gamma.breaking import BreakingRegistry, as_registry
from tests.gamma.sealed import write_bundle

MODEL = bytes(range(256)) * 20_000
"""5 MB: several chunks."""


@pytest.fixture(params=["directory", "object"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BreakingRegistry]:
    """Return a registry on each kind of storage, which can break."""
    url = str(tmp_path / "team") if request.param == "directory" else (tmp_path / "team").as_uri()
    service = GammaService(open_storage(url), sqlite_url(tmp_path / "team.db"))
    yield BreakingRegistry(service)
    service.close()


@pytest.fixture
def store(registry: BreakingRegistry, tmp_path: Path) -> RemoteStore:
    return RemoteStore(as_registry(registry), BundleCache(tmp_path / "cache", max_size_bytes=10**9))


@pytest.fixture
def other(registry: BreakingRegistry, tmp_path: Path) -> RemoteStore:
    """Return the store of another machine on the same registry."""
    return RemoteStore(as_registry(registry), BundleCache(tmp_path / "other", max_size_bytes=10**9))


@pytest.fixture
def iris(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a version of `Iris` with a model, outside of any store."""

    def write(version: str = "1", files: dict[str, bytes] | None = None, **options: Any) -> Path:
        contents = {"Iris/model.bin": MODEL, "Iris/again.bin": MODEL, "setup.sh": b"true\n", "Iris/empty": b""}
        directory = tmp_path / f"iris-{version}-{len(files or {})}"
        write_bundle(directory, "Iris", version, {**contents, **(files or {})}, **options)
        (directory / "setup.sh").chmod(0o755)
        return directory

    return write


def put(store: RemoteStore, directory: Path) -> Path:
    """Put a copy of a bundle into a store, as a build does."""
    with store.staging() as staging:
        staged = staging / "bundle"
        directory.rename(staged)
        return store.put(staged, open_bundle(staged).manifest)


def no_pause(_: float) -> None:
    pass


def test_what_one_machine_saves_another_finds(
    store: RemoteStore, other: RemoteStore, iris: Callable[..., Path]
) -> None:
    path = put(store, iris())
    digest = open_bundle(path).digest
    assert path == store.cache.path_of(digest)
    fetched = other.find(BundleReference("Iris"))
    bundle = open_bundle(fetched)
    bundle.verify()
    assert (bundle.digest, fetched) == (digest, other.cache.path_of(digest))
    assert (fetched / "setup.sh").stat().st_mode & 0o777 == 0o755
    assert (fetched / "Iris" / "model.bin").stat().st_mode & 0o777 == 0o644


def test_a_bundle_is_fetched_once_and_a_tag_is_asked_for_each_time(
    registry: BreakingRegistry, store: RemoteStore, other: RemoteStore, iris: Callable[..., Path]
) -> None:
    put(store, iris())
    other.find(BundleReference("Iris"))
    moved = registry.bytes_read
    assert moved < 2 * len(MODEL)  # equal files move once
    registry.calls.clear()
    other.find(BundleReference("Iris", "1"))
    assert (registry.calls, registry.bytes_read) == (["resolve"], moved)


def test_a_second_version_moves_only_what_changed(
    registry: BreakingRegistry, store: RemoteStore, iris: Callable[..., Path]
) -> None:
    put(store, iris())
    before = registry.bytes_written
    assert before >= len(MODEL)
    put(store, iris("2", {"Iris/more.txt": b"more"}))
    assert registry.bytes_written - before < 10_000


def test_what_only_a_deleted_bundle_had_is_sent_after_all(
    registry: BreakingRegistry, store: RemoteStore, iris: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, iris())
    service = registry.registry

    def commit_late(session: str, *, operation: str) -> Commit:
        service.delete([Tag("Iris", "1")], operation="deletion")
        return service.commit_upload(session, operation=operation)

    monkeypatch.setattr(registry, "commit_upload", commit_late, raising=False)
    before = registry.bytes_written
    directory = put(store, iris("2"))
    assert registry.bytes_written - before >= len(MODEL)
    assert open_bundle(directory).manifest.tag == Tag("Iris", "2")
    assert [str(record.tag) for record in store.list_bundles()] == ["Iris:2"]


def test_a_commit_that_fails_for_another_reason_is_not_repeated(
    registry: BreakingRegistry, store: RemoteStore, iris: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[str] = []

    def commit(session: str, *, operation: str) -> Commit:
        commits.append(session)
        raise GammaError("The disk is full.")

    monkeypatch.setattr(registry, "commit_upload", commit, raising=False)
    with pytest.raises(GammaError, match="full"):
        put(store, iris())
    assert len(commits) == 1


def test_the_same_bundle_again_is_success_and_other_bytes_are_refused(
    store: RemoteStore, iris: Callable[..., Path]
) -> None:
    first = open_bundle(iris())
    assert store.send(first).was_there is False
    assert store.send(first).was_there is True
    with pytest.raises(DestinationExistsError) as error:
        store.send(open_bundle(iris("1", {"Iris/more.txt": b"more"})))
    assert first.digest.removeprefix("sha256:")[:6] in str(error.value)


def test_a_changed_bundle_is_not_sent(store: RemoteStore, iris: Callable[..., Path]) -> None:
    directory = iris()
    (directory / "Iris" / "model.bin").write_bytes(b"changed")
    with pytest.raises(BundleError, match="was changed"):
        store.send(open_bundle(directory))
    assert store.list_bundles() == []


@pytest.mark.parametrize("after", [0, 1, 1 << 20, 3_000_001])
def test_an_upload_that_breaks_goes_on(
    registry: BreakingRegistry, store: RemoteStore, iris: Callable[..., Path], after: int
) -> None:
    registry.breaks_after, registry.breaks_left = after, 4
    seen: list[tuple[int, int]] = []
    commit = send_bundle(
        store.registry, open_bundle(iris()), on_progress=lambda done, total: seen.append((done, total)), pause=no_pause
    )
    assert commit.is_latest
    assert registry.calls.count("write_blob") > 1
    assert seen[-1][0] == seen[-1][1] == max(total for _, total in seen)
    assert store.has(Tag("Iris", "1"))


@pytest.mark.parametrize("after", [0, 1, 1 << 20, 3_000_001])
def test_a_download_that_breaks_goes_on(
    registry: BreakingRegistry, store: RemoteStore, iris: Callable[..., Path], tmp_path: Path, after: int
) -> None:
    put(store, iris())
    record = store.resolve(BundleReference("Iris"))
    registry.breaks_after, registry.breaks_left = after, 4
    fetch_bundle(store.registry, record, tmp_path / "fetched", pause=no_pause)
    open_bundle(tmp_path / "fetched").verify()


def test_a_registry_that_stays_away_ends_a_transfer(
    registry: BreakingRegistry, store: RemoteStore, other: RemoteStore, iris: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = open_bundle(iris())
    registry.breaks_after = 0
    with pytest.raises(GammaUnreachableError):
        send_bundle(store.registry, bundle, pause=no_pause)
    registry.breaks_after = None
    assert store.list_bundles() == []
    store.send(bundle)
    registry.breaks_after = 0
    with pytest.raises(GammaUnreachableError):
        fetch_bundle(store.registry, store.resolve(BundleReference("Iris")), tmp_path / "x", pause=no_pause)


def test_what_a_broken_push_had_sent_is_not_sent_again(
    registry: BreakingRegistry, store: RemoteStore, iris: Callable[..., Path]
) -> None:
    bundle = open_bundle(iris())
    registry.breaks_after, registry.breaks_left = 4 << 20, 10**9
    with pytest.raises(GammaUnreachableError):
        send_bundle(store.registry, bundle, streams=1, pause=lambda _: setattr(registry, "breaks_after", 0))
    registry.breaks_after, registry.bytes_written = None, 0
    send_bundle(store.registry, bundle)
    assert registry.bytes_written < len(MODEL) - (3 << 20)


def test_bytes_that_changed_on_the_way_are_never_kept(
    registry: BreakingRegistry, store: RemoteStore, other: RemoteStore, iris: Callable[..., Path]
) -> None:
    put(store, iris())
    registry.flips = True
    with pytest.raises(BundleError, match="did not arrive as it was saved"):
        other.find(BundleReference("Iris"))
    assert not list(other.cache.root.glob("sha256-*"))
    registry.flips = False
    assert other.find(BundleReference("Iris")).is_dir()


def test_a_damaged_copy_in_the_cache_is_fetched_again(
    store: RemoteStore, other: RemoteStore, iris: Callable[..., Path]
) -> None:
    put(store, iris())
    directory = other.find(BundleReference("Iris"))
    (directory / "kappa.yml").unlink()
    again = other.find(BundleReference("Iris"))
    open_bundle(again).verify()


# -- away


def test_an_exact_version_comes_from_the_cache_with_a_warning(
    registry: BreakingRegistry, store: RemoteStore, iris: Callable[..., Path]
) -> None:
    path = put(store, iris())
    digest = open_bundle(path).digest
    store.set_alias(Tag("Iris", "1"), "production")
    registry.is_away = True
    said: list[tuple[str, str]] = []
    with listening(lambda message, kind: said.append((kind, message))):
        assert store.find(BundleReference("Iris", "1")) == path
        assert store.find(BundleReference("Iris", digest=digest)) == path
    assert [kind for kind, _ in said] == ["warning", "warning"]
    assert "`Iris:1` comes from the cache of this machine." in said[0][1]
    for reference in (
        BundleReference("Iris"),
        BundleReference("Iris", "production"),
        BundleReference("Iris", "2"),
        BundleReference("Iris", digest=digest[:20]),
    ):
        with pytest.raises(GammaUnreachableError):
            store.find(reference)


def test_without_the_registry_nothing_is_listed_or_changed(registry: BreakingRegistry, store: RemoteStore) -> None:
    registry.is_away = True
    for call in (
        lambda: store.list_bundles(Query()),
        lambda: store.has(Tag("Iris", "1")),
        lambda: store.delete([Tag("Iris", "1")]),
        lambda: store.set_labels(Tag("Iris", "1"), {"a": "b"}),
        lambda: store.aliases("Iris"),
    ):
        with pytest.raises(GammaUnreachableError):
            call()


# -- the other operations


def test_labels_aliases_and_deletion_are_those_of_the_registry(
    store: RemoteStore, other: RemoteStore, iris: Callable[..., Path]
) -> None:
    put(store, iris())
    put(store, iris("2", created="2026-02-01T00:00:00Z"))
    one = Tag("Iris", "1")
    assert dict(store.set_labels(one, {"stage": "live"}).labels) == {"stage": "live"}
    assert dict(other.set_labels(one, {"stage": None}).labels) == {}
    store.set_alias(one, "production")
    assert other.resolve(BundleReference("Iris", "production")).tag == one
    assert other.find(BundleReference("Iris", "production")) == other.find(BundleReference("Iris", "1"))
    with pytest.raises(GammaError):
        other.set_alias(Tag("Iris", "2"), "production", expect="2")
    other.set_alias(Tag("Iris", "2"), "production", expect="1")
    assert [change.version for change in store.alias_history("Iris", "production")] == ["2", "1"]
    with pytest.raises(GammaError):
        store.delete([Tag("Iris", "2")])
    store.delete_alias("Iris", "production")
    assert store.delete([Tag("Iris", "2")]) == [Tag("Iris", "2")]
    with pytest.raises(BundleNotFoundError):
        other.find(BundleReference("Iris", "2"))


def test_a_comparison_reads_no_model(registry: BreakingRegistry, store: RemoteStore, iris: Callable[..., Path]) -> None:
    put(store, iris())
    registry.bytes_read = 0
    source = store.source_of(store.resolve(BundleReference("Iris")))
    assert source.manifest.tag == Tag("Iris", "1")
    assert source.read("setup.sh", limit=100) == b"true\n"
    assert source.read("Iris/model.bin", limit=100) is None
    assert registry.bytes_read < 10_000
