"""A storage that keeps no trees: what the registry does with it, and that then the database decides what exists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest

from kappa.errors import BundleNotFoundError, DestinationExistsError, GammaError
from kappa.gamma.database import open_database, sqlite_url
from kappa.gamma.rows import add_bundle
from kappa.gamma.service import GammaService
from kappa.spec.store import BundleRecord, Query
from kappa.tag import BundleReference, Tag


class ArchiveStorage:
    """Bundles as archives, each named by its tag; a `BundleStorage`."""

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


def put(archives: ArchiveStorage, version: str, *, digest: str = "aa") -> None:
    """Add an archive and its row."""
    archives.folder.mkdir(exist_ok=True)
    (archives.folder / f"Iris-{version}.zip").touch()
    record = BundleRecord(
        tag=Tag("Iris", version),
        created_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
        uri=f"Iris-{version}.zip",
        kappa_version="0.1.0",
        content_digest="sha256:" + "0" * 64,
        bundle_digest="sha256:" + digest * 32,
        size_bytes=1,
        view={},
    )
    engine = open_database(sqlite_url(archives.folder.with_name("storage.db")))
    with engine.begin() as connection:
        add_bundle(connection, record)


def test_what_lies_in_the_storage_alone_is_no_bundle(service: GammaService, archives: ArchiveStorage) -> None:
    put(archives, "1")
    (archives.folder / "Iris-2.zip").touch()
    assert [str(record.tag) for record in service.list_bundles()] == ["Iris:1"]
    assert service.resolve(BundleReference("Iris")).uri == "Iris-1.zip"
    with pytest.raises(BundleNotFoundError):
        service.resolve(BundleReference("Iris", "2"))


def test_deleting_frees_the_room_at_the_end(service: GammaService, archives: ArchiveStorage) -> None:
    for version in ("1", "2"):
        put(archives, version)
    assert service.delete([Tag("Iris", "1"), Tag("Iris", "9")], operation="") == [Tag("Iris", "1")]
    assert [path.name for path in archives.folder.glob("*.*")] == ["Iris-2.zip"]
    assert [str(record.tag) for record in service.list_bundles(Query(name="Iris"))] == ["Iris:2"]


def test_the_tag_of_a_deleted_bundle_is_kept_for_its_bytes(service: GammaService, archives: ArchiveStorage) -> None:
    put(archives, "1", digest="aa")
    service.delete([Tag("Iris", "1")], operation="")
    with pytest.raises(DestinationExistsError) as caught:
        put(archives, "1", digest="bb")
    aa, bb = "sha256:" + "aa" * 32, "sha256:" + "bb" * 32
    assert str(caught.value) == (
        f"`Iris:1` with the digest `{aa}` was deleted, and its tag stays reserved for it; this bundle has the digest "
        f"`{bb}`. A version never changes: give another `--version`."
    )
    put(archives, "1", digest="aa")
    assert [str(record.tag) for record in service.list_bundles()] == ["Iris:1"]


def test_messages_name_it_as_it_calls_itself(service: GammaService, archives: ArchiveStorage) -> None:
    with pytest.raises(
        BundleNotFoundError, match=r"^There is no bundle `Iris:1`: the store `the archives of archives` is"
    ):
        service.resolve(BundleReference.parse("Iris:1"))
    archives.why_read_only = "Read-only file system"
    with pytest.raises(GammaError, match="cannot be changed: Read-only file system"):
        service.set_labels(Tag("Iris", "1"), {"a": "b"}, operation="")
