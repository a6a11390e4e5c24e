"""Where the bytes of bundles are kept: what every kind of storage offers to the registry that keeps the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from kappa.errors import GammaError
from kappa.gamma.protocols.registry import BundleFile
from kappa.tag import Tag

__all__ = ["CHUNK_BYTES", "Blob", "BlobSource", "BlobsLostError", "BundleStorage", "DirectBlobs", "PendingBundle"]

CHUNK_BYTES = 1 << 20
"""How much is read and written at once."""


@dataclass(frozen=True, slots=True)
class Blob:
    """The content of files, by its digest."""

    digest: str
    """``sha256:`` and 64 hex digits."""
    size_bytes: int

    @property
    def hex(self) -> str:
        return self.digest.removeprefix("sha256:")


@dataclass(frozen=True, slots=True)
class BlobSource:
    """A file of a stored bundle that has the content of a blob."""

    uri: str
    """The bundle's."""
    path: str


class BlobsLostError(GammaError):
    """The storage does not have blobs that it had received; ``digests`` names them."""

    def __init__(self, digests: Sequence[str], *, location: str) -> None:
        super().__init__(
            f"`{location}` has lost {len(digests)} of the blobs, e.g. `{digests[0]}`. Begin the upload again: it sends "
            "these once more."
        )
        self.digests = tuple(digests)


class PendingBundle(Protocol):
    """A bundle that a storage has all blobs of, and that is not visible yet."""

    @property
    def uri(self) -> str:
        """Where it will be, relative to the root of the storage."""

    def content_of(self, file: BundleFile) -> bytes:
        """Return the whole content of a small file."""

    def publish(self) -> None:
        """Check each blob once more, and make the bundle readable; raises `BlobsLostError`."""


class DirectBlobs(Protocol):
    """Blobs that clients write to and read from the store themselves, by signed URLs."""

    def upload_url(self, session: str, blob: Blob) -> str:
        """Return where a blob of an upload can be written whole; empty for one that has to go through the server."""

    def download_url(self, blob: Blob) -> str:
        """Return where a blob can be read."""

    def take(self, session: str, blob: Blob) -> None:
        """Compare a blob that was written so with its digest, and keep it.

        Raises `BundleError` where they differ or nothing was written, and `GammaError` where the store fails.
        """


class BundleStorage(Protocol):
    """Whole bundles by their tags, and the blobs of those that are being uploaded; a version never changes."""

    @property
    def location(self) -> str:
        """Where it is, for messages; without secrets."""

    @property
    def why_read_only(self) -> str:
        """Why bundles can be read here and not changed; empty if they can be changed."""

    @property
    def shares_blobs(self) -> bool:
        """Whether a blob is kept once for all bundles, until it is removed with `remove_blobs`."""

    @property
    def direct(self) -> DirectBlobs | None:
        """What moves blobs between clients and the store without the server; ``None`` where all go through it."""

    def exists(self) -> bool:
        """Return whether anything was ever kept here; asking makes nothing."""

    def check(self) -> None:
        """Raise `GammaError` that says why the storage cannot be used now."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other processes from changing bundles and their records; raises `GammaError` where it is read-only."""

    # -- uploads

    def received(self, session: str, blob: Blob) -> int:
        """Return how many bytes of a blob of an upload are here."""

    def receive(self, session: str, blob: Blob, offset: int, chunks: Iterable[bytes]) -> int:
        """Append to a blob of an upload; return how many bytes are here. One that is whole is checked and kept.

        Raises as `Registry.write_blob` does, and `GammaError` where the storage fails; what arrived before stays.
        """

    def discard(self, session: str) -> int:
        """Remove what an upload has sent and no bundle took; return how many bytes that were."""

    def size_of(self, session: str) -> int:
        """Return how many bytes an upload has sent that no bundle took."""

    def sessions(self) -> set[str]:
        """Return the uploads of which something is here."""

    def pending(
        self, session: str, tag: Tag, files: Sequence[BundleFile], sources: Mapping[str, BlobSource]
    ) -> AbstractContextManager[PendingBundle]:
        """Prepare a bundle of an upload's blobs and those that other bundles have, by digest.

        Raises `BlobsLostError`. Whatever is not published is removed at the end.
        """

    # -- bundles

    def files_of(self, uri: str) -> tuple[BundleFile, ...]:
        """Return the files of a bundle of which the database has none; raises `BundleError`."""

    def read(self, uri: str, file: BundleFile, *, offset: int = 0) -> Iterator[bytes]:
        """Yield the content of a file from ``offset`` on; raises `BundleError` where it is not there."""

    def remove(self, tag: Tag) -> Callable[[], None] | None:
        """Make a bundle invisible in one step; return what frees its room, or ``None`` if it is not there."""

    def remove_blobs(self, digests: Sequence[str]) -> None:
        """Remove blobs that no bundle has; one that is not there is no error."""

    def sweep(self) -> None:
        """Remove what killed processes left behind and nobody goes on with."""
