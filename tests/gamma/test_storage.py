"""Bundles as trees: complete or absent, whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kappa._files import in_use
from kappa.errors import BundleError, DestinationExistsError
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.spec.manifest import read_manifest
from kappa.tag import Tag

Stage = Callable[..., Path]
Store = Callable[..., Path]


@pytest.fixture
def store(storage: DirectoryStorage, stage_bundle: Stage) -> Store:
    """Return a function that puts a bundle into the storage alone."""

    def put(name: str, version: str, **options: object) -> Path:
        with storage.staging() as staging:
            staged = stage_bundle(staging / "bundle", name, version, **options)
            return storage.fetch(storage.put(staged, read_manifest(staged)))

    return put


def test_a_bundle_lies_under_its_name_and_version(storage: DirectoryStorage, store: Store) -> None:
    directory = store("Iris", "1.0")
    assert directory == storage.root / "Iris" / "1.0" == storage.path_of(Tag("Iris", "1.0"))
    names = sorted(path.name for path in storage.root.rglob("*"))
    assert names == ["1.0", "Iris", "kappa.yml", "requirements.txt"]
    assert storage.tags() == {Tag("Iris", "1.0")}


def test_the_same_bytes_may_be_put_again(storage: DirectoryStorage, store: Store) -> None:
    first = store("Iris", "1")
    inode = first.stat().st_ino
    assert store("Iris", "1") == first
    assert first.stat().st_ino == inode


def test_other_bytes_under_a_used_tag_are_refused_and_change_nothing(storage: DirectoryStorage, store: Store) -> None:
    first = store("Iris", "1", digest="ab")
    with pytest.raises(DestinationExistsError, match="`Iris:1` is already in the store"):
        store("Iris", "1", digest="cd")
    assert read_manifest(first).bundle_digest == "sha256:" + "ab" * 32
    assert list(storage.root.glob(".*")) == []


def test_a_failure_while_staging_leaves_nothing(storage: DirectoryStorage, stage_bundle: Stage) -> None:
    def build() -> None:
        with storage.staging() as staging:
            stage_bundle(staging / "bundle", "Iris", "1")
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        build()
    assert list(storage.root.iterdir()) == []


def test_work_in_progress_is_no_bundle(storage: DirectoryStorage, stage_bundle: Stage) -> None:
    with storage.staging() as staging:
        stage_bundle(staging / "bundle", "Iris", "1")
        assert storage.tags() == set()


def test_what_killed_processes_left_behind_is_removed(storage: DirectoryStorage) -> None:
    storage.root.mkdir()
    for name in (".staging-old", ".staging-in-use", ".staging-young", ".trash-young"):
        (storage.root / name).mkdir()
    for name in (".staging-old", ".staging-in-use"):
        os.utime(storage.root / name, (0, 0))
    with in_use(storage.root / ".staging-in-use"), storage.staging():
        pass
    assert {path.name for path in storage.root.iterdir()} == {".staging-in-use", ".staging-young"}


def test_what_is_being_built_is_not_taken_for_left_behind(storage: DirectoryStorage, stage_bundle: Stage) -> None:
    with storage.staging() as long_one:
        stage_bundle(long_one / "bundle", "Iris", "1")
        os.utime(long_one, (0, 0))
        with storage.staging():
            pass
        storage.put(long_one / "bundle", read_manifest(long_one / "bundle"))
    assert [path.name for path in storage.root.iterdir()] == ["Iris"]


def test_of_several_that_put_one_tag_at_once_one_wins(storage: DirectoryStorage, stage_bundle: Stage) -> None:
    outcomes: list[str] = []
    gate = threading.Barrier(8)

    def attempt(number: int) -> None:
        with storage.staging() as staging:
            staged = stage_bundle(staging / "bundle", "Iris", "1", digest=f"{number:02x}")
            own = read_manifest(staged)
            gate.wait()
            try:
                outcomes.append(read_manifest(storage.fetch(storage.put(staged, own))).bundle_digest)
            except DestinationExistsError:
                outcomes.append("refused")

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 7 + [read_manifest(storage.root / "Iris" / "1").bundle_digest]


def test_a_bundle_taken_away_is_invisible_before_it_is_deleted(storage: DirectoryStorage, store: Store) -> None:
    store("Iris", "1")
    store("Iris", "2")
    free = storage.remove(Tag("Iris", "1"))
    assert free is not None
    (trash,) = storage.root.glob(".trash-*")
    assert (trash / "kappa.yml").is_file()
    assert storage.tags() == {Tag("Iris", "2")}
    free()
    assert [path.name for path in storage.root.iterdir()] == ["Iris"]


def test_the_last_bundle_takes_its_folder_with_it(storage: DirectoryStorage, store: Store) -> None:
    store("Iris", "1")
    free = storage.remove(Tag("Iris", "1"))
    assert free is not None
    free()
    assert list(storage.root.iterdir()) == []


def test_a_bundle_that_is_not_there_cannot_be_taken_away(storage: DirectoryStorage, store: Store) -> None:
    assert storage.remove(Tag("Iris", "1")) is None
    store("Iris", "1")
    assert storage.remove(Tag("Iris", "2")) is None
    assert storage.tags() == {Tag("Iris", "1")}
    assert list(storage.root.glob(".*")) == []


# -- what is read of it ------------------------------------------------------------------------------------------------

Reads = list[str]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, storage: DirectoryStorage) -> Reads:
    """Return a list that gets the path of each folder that is read, below the storage's root."""
    scandir, paths = os.scandir, Reads()

    def scan(path: Any) -> Any:
        if isinstance(path, str | Path) and Path(path).is_relative_to(storage.root):  # `shutil` reads by descriptors
            paths.append(Path(path).relative_to(storage.root).as_posix())
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    return paths


def an_age_later(storage: DirectoryStorage) -> DirectoryStorage:
    for folder in (storage.root, *storage.root.iterdir()):
        os.utime(folder, (0, 0))  # else the next change may come within the tick of the last
    return DirectoryStorage(storage.root, clock=lambda: 2**62)


def tags_of(storage: DirectoryStorage) -> list[str]:
    return sorted(map(str, storage.tags()))


def test_a_folder_is_read_again_only_when_it_has_changed(storage: DirectoryStorage, store: Store, reads: Reads) -> None:
    for name, version in (("Iris", "1"), ("Iris", "2"), ("Wine", "1")):
        store(name, version)
    reads.clear()
    reader = an_age_later(storage)
    assert tags_of(reader) == ["Iris:1", "Iris:2", "Wine:1"]
    assert sorted(reads) == [".", "Iris", "Wine"]
    assert tags_of(reader) == ["Iris:1", "Iris:2", "Wine:1"]
    assert len(reads) == 3
    (storage.root / "Wine" / "1").rename(storage.root / "Iris" / "3")  # as another process would
    reads.clear()
    assert tags_of(reader) == ["Iris:1", "Iris:2", "Iris:3"]
    assert sorted(reads) == ["Iris", "Wine"]
    shutil.rmtree(storage.root / "Wine")
    reads.clear()
    assert tags_of(reader) == ["Iris:1", "Iris:2", "Iris:3"]
    assert reads == ["."]


def test_a_folder_that_has_changed_a_moment_ago_is_read_each_time(
    storage: DirectoryStorage, store: Store, reads: Reads
) -> None:
    store("Iris", "1")
    reader = DirectoryStorage(storage.root, clock=lambda: storage.root.stat().st_mtime_ns)
    reads.clear()
    for _ in range(2):
        assert tags_of(reader) == ["Iris:1"]
    assert reads == [".", "Iris"] * 2


def test_a_bundle_whose_manifest_is_copied_last_is_seen_then(storage: DirectoryStorage, store: Store) -> None:
    manifest = store("Iris", "1") / "kappa.yml"
    text = manifest.read_text()
    manifest.unlink()
    reader = an_age_later(storage)
    assert tags_of(reader) == []
    manifest.write_text(text)
    assert tags_of(reader) == ["Iris:1"]


# -- files -------------------------------------------------------------------------------------------------------------


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a path for each is not needed


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the files that a process has open")
def test_a_file_is_open_from_its_first_chunk_until_its_reader_is_gone(storage: DirectoryStorage, store: Store) -> None:
    store("Iris", "1")
    file = next(file for file in storage.files_of("Iris/1") if file.path == "kappa.yml")
    before = open_files()
    waiting, reading = storage.read("Iris/1", file), storage.read("Iris/1", file)
    assert open_files() == before
    assert next(reading)
    assert open_files() == before + 1
    del waiting, reading
    assert open_files() == before


def test_a_file_that_is_not_there_is_told_at_the_call_and_one_that_goes_meanwhile_when_it_is_read(
    storage: DirectoryStorage, store: Store
) -> None:
    directory = store("Iris", "1")
    file = next(file for file in storage.files_of("Iris/1") if file.path == "kappa.yml")
    chunks = storage.read("Iris/1", file)
    (directory / "kappa.yml").unlink()
    with pytest.raises(BundleError, match=r"kappa\.yml` cannot be read: No such file"):
        next(chunks)
    with pytest.raises(BundleError, match=r"kappa\.yml` cannot be read: No such file"):
        storage.read("Iris/1", file)
