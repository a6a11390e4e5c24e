from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from kappa.errors import BundleError, BundleNotFoundError, DestinationExistsError, UsageError
from kappa.gamma.storage import DirectoryStorage
from kappa.spec.manifest import BundleManifest, ResolvedEnv
from kappa.spec.models import ApiSpec, FunctionTarget, ServiceSpec
from kappa.tag import BundleReference, Tag


def manifest_of(
    name: str, version: str, *, created: str = "2026-01-01T00:00:00Z", digest: str = "aa"
) -> BundleManifest:
    api = ApiSpec(name="predict", target=FunctionTarget(function="handlers:predict"), input="json")
    return BundleManifest(
        kappa_version="0.1.0",
        version=version,
        created_at=created,
        service=ServiceSpec(name=name, apis=(api,)),
        env=ResolvedEnv(python_version="3.11", docker_base_image="x", requirements=(), resolver="none"),
        content_digest="sha256:" + "0" * 64,
        files={},
        bundle_digest="sha256:" + digest * 32,
    )


def stage(directory: Path, manifest: BundleManifest) -> Path:
    directory.mkdir(parents=True)
    (directory / "kappa.yml").write_text(manifest.to_yaml(), encoding="utf-8")
    (directory / "payload").write_text(manifest.bundle_digest, encoding="utf-8")
    return directory


def put(store: DirectoryStorage, manifest: BundleManifest) -> Path:
    with store.staging() as staging:
        return store.put(stage(staging / "bundle", manifest))


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path / "repository")


def find(store: DirectoryStorage, text: str) -> Path:
    return store.find(BundleReference.parse(text))


def test_a_bundle_lies_under_its_name_and_version(store: DirectoryStorage) -> None:
    directory = put(store, manifest_of("Iris", "1.0"))
    assert directory == store.root / "Iris" / "1.0"
    assert sorted(path.name for path in store.root.rglob("*")) == ["1.0", "Iris", "kappa.yml", "payload"]


def test_latest_is_the_newest_by_time_of_build_and_not_by_version(store: DirectoryStorage) -> None:
    put(store, manifest_of("Iris", "9", created="2026-01-01T00:00:00Z"))
    newest = put(store, manifest_of("Iris", "10", created="2026-03-01T00:00:00Z"))
    put(store, manifest_of("Iris", "11", created="2026-02-01T00:00:00Z"))
    assert [str(tag) for tag in store.tags()] == ["Iris:10", "Iris:11", "Iris:9"]
    assert find(store, "Iris") == find(store, "Iris:latest") == newest


def test_a_digest_finds_its_bundle_whatever_its_version(store: DirectoryStorage) -> None:
    put(store, manifest_of("Iris", "1", digest="ab"))
    second = put(store, manifest_of("Iris", "2", digest="cd"))
    assert find(store, "Iris@sha256:" + "cd" * 32) == second
    assert find(store, "Iris@sha256:cdcdcd") == second


def test_a_short_digest_of_two_bundles_is_refused(store: DirectoryStorage) -> None:
    put(store, manifest_of("Iris", "1", digest="ab"))
    put(store, manifest_of("Iris", "2", digest="ab"))
    with pytest.raises(BundleError, match="more than one bundle: `Iris:2`, `Iris:1`"):
        find(store, "Iris@sha256:ababab")


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
def test_an_unknown_reference_says_what_there_is(store: DirectoryStorage, reference: str, message: str) -> None:
    put(store, manifest_of("Iris", "1"))
    with pytest.raises(BundleNotFoundError) as caught:
        find(store, reference)
    assert str(caught.value) == message


def test_an_empty_store_says_how_bundles_get_there(store: DirectoryStorage) -> None:
    with pytest.raises(BundleNotFoundError) as caught:
        find(store, "Iris:latest")
    expected = f"There is no bundle `Iris:latest`: the store `{store.root}` is empty. `kappa build` puts bundles there."
    assert str(caught.value) == expected
    assert store.tags() == []


def test_the_same_bytes_may_be_put_again(store: DirectoryStorage) -> None:
    first = put(store, manifest_of("Iris", "1"))
    inode = first.stat().st_ino
    assert put(store, manifest_of("Iris", "1")) == first
    assert first.stat().st_ino == inode


def test_other_bytes_under_a_used_tag_are_refused_and_change_nothing(store: DirectoryStorage) -> None:
    first = put(store, manifest_of("Iris", "1", digest="ab"))
    with pytest.raises(DestinationExistsError, match="`Iris:1` is already in the store"):
        put(store, manifest_of("Iris", "1", digest="cd"))
    assert (first / "payload").read_text(encoding="utf-8") == "sha256:" + "ab" * 32
    assert list(store.root.glob(".*")) == []


def test_a_failure_while_staging_leaves_nothing(store: DirectoryStorage) -> None:
    def build() -> None:
        with store.staging() as staging:
            stage(staging / "bundle", manifest_of("Iris", "1"))
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        build()
    assert list(store.root.iterdir()) == []


def test_work_in_progress_is_no_bundle(store: DirectoryStorage) -> None:
    with store.staging() as staging:
        stage(staging / "bundle", manifest_of("Iris", "1"))
        assert store.tags() == []


def test_what_a_killed_build_left_behind_goes_after_a_day(store: DirectoryStorage) -> None:
    store.root.mkdir()
    old, young = store.root / ".staging-old", store.root / ".staging-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (0, 0))
    with store.staging():
        pass
    assert [path.name for path in store.root.iterdir()] == [".staging-young"]


def test_of_two_that_put_one_tag_at_once_one_wins(store: DirectoryStorage) -> None:
    outcomes: list[str] = []
    gate = threading.Barrier(8)

    def attempt(number: int) -> None:
        with store.staging() as staging:
            staged = stage(staging / "bundle", manifest_of("Iris", "1", digest=f"{number:02x}"))
            gate.wait()
            try:
                store.put(staged)
            except DestinationExistsError:
                outcomes.append("refused")
            else:
                outcomes.append((store.root / "Iris" / "1" / "payload").read_text(encoding="utf-8"))

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = store.find(BundleReference("Iris", "1"))
    assert sorted(outcomes) == ["refused"] * 7 + [(winner / "payload").read_text(encoding="utf-8")]


def test_a_reference_that_is_none_is_a_usage_error(store: DirectoryStorage) -> None:
    with pytest.raises(UsageError):
        find(store, "not a name")


def test_a_path_is_known_before_the_bundle_is_there(store: DirectoryStorage) -> None:
    assert store.path_of(Tag("Iris", "1")) == store.root / "Iris" / "1"
