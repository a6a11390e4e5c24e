"""A storage that keeps no trees: what the service does with it, and that then the database decides what exists."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kappa.errors import BundleNotFoundError, DestinationExistsError, GammaError
from kappa.gamma.database import sqlite_url
from kappa.gamma.service import GammaService
from kappa.spec.manifest import BundleManifest, read_manifest
from kappa.spec.store import Query
from kappa.tag import BundleReference, Tag

Stage = Callable[..., Path]


class ArchiveStorage:
    """Bundles as archives, each named by its digest; a `BundleStorage` that unpacks them to be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.why_read_only = ""
        self.location = f"the archives of {folder.name}"

    def exists(self) -> bool:
        return self.folder.is_dir()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        if self.why_read_only:
            raise GammaError(f"{self.location} cannot be changed: {self.why_read_only}.")
        self.folder.mkdir(exist_ok=True)
        yield

    @contextmanager
    def staging(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    def put(self, staged: Path, manifest: BundleManifest) -> str:
        uri = f"{manifest.tag.name}-{manifest.tag.version}.zip"
        if (self.folder / uri).exists():
            raise DestinationExistsError(f"`{manifest.tag}` is there.")
        shutil.make_archive(str(self.folder / uri.removesuffix(".zip")), "zip", staged)
        return uri

    def fetch(self, uri: str) -> Path:
        unpacked = self.folder / "unpacked" / uri
        if not unpacked.is_dir():
            shutil.unpack_archive(self.folder / uri, unpacked)
        return unpacked

    def remove(self, tag: Tag) -> Callable[[], None] | None:
        archive = self.folder / f"{tag.name}-{tag.version}.zip"
        if not archive.is_file():
            return None
        gone = archive.with_suffix(".gone")
        archive.replace(gone)
        return gone.unlink


@pytest.fixture
def archives(tmp_path: Path) -> ArchiveStorage:
    return ArchiveStorage(tmp_path / "archives")


@pytest.fixture
def service(archives: ArchiveStorage, tmp_path: Path) -> Iterator[GammaService]:
    service = GammaService(archives, sqlite_url(tmp_path / "storage.db"))
    yield service
    service.close()


def put(service: GammaService, stage: Stage, version: str, **options: object) -> Path:
    with service.staging() as staging:
        staged = stage(staging / "bundle", "Iris", version, **options)
        return service.put(staged, read_manifest(staged))


def test_bundles_are_put_found_and_read(service: GammaService, stage_bundle: Stage) -> None:
    put(service, stage_bundle, "1", created="2026-01-01T00:00:00Z")
    newest = put(service, stage_bundle, "2", created="2026-02-01T00:00:00Z", labels={"team": "growth"})
    assert service.find(BundleReference.parse("Iris")) == newest
    assert read_manifest(newest).version == "2"
    assert [(str(one.tag), one.uri) for one in service.list_bundles()] == [
        ("Iris:2", "Iris-2.zip"),
        ("Iris:1", "Iris-1.zip"),
    ]
    assert (service.has(Tag("Iris", "1")), service.has(Tag("Iris", "3"))) == (True, False)
    with pytest.raises(DestinationExistsError):
        put(service, stage_bundle, "1")


def test_what_lies_in_the_storage_alone_is_no_bundle(
    service: GammaService, archives: ArchiveStorage, stage_bundle: Stage
) -> None:
    put(service, stage_bundle, "1")
    shutil.copy(archives.folder / "Iris-1.zip", archives.folder / "Iris-2.zip")
    assert [str(one.tag) for one in service.list_bundles()] == ["Iris:1"]
    assert not service.has(Tag("Iris", "2"))


def test_deleting_frees_the_room_at_the_end(
    service: GammaService, archives: ArchiveStorage, stage_bundle: Stage
) -> None:
    for version in ("1", "2"):
        put(service, stage_bundle, version)
    assert service.delete([Tag("Iris", "1"), Tag("Iris", "9")]) == [Tag("Iris", "1")]
    assert [path.name for path in archives.folder.glob("*.*")] == ["Iris-2.zip"]
    assert [str(one.tag) for one in service.list_bundles(Query(name="Iris"))] == ["Iris:2"]


def test_messages_name_it_as_it_calls_itself(
    service: GammaService, archives: ArchiveStorage, stage_bundle: Stage
) -> None:
    with pytest.raises(
        BundleNotFoundError, match=r"^There is no bundle `Iris:1`: the store `the archives of archives` is"
    ):
        service.find(BundleReference.parse("Iris:1"))
    archives.why_read_only = "Read-only file system"
    with pytest.raises(GammaError, match="cannot be changed: Read-only file system"):
        put(service, stage_bundle, "1")
