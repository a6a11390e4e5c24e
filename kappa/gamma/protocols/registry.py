"""The operations of Gamma, the same in this process and behind each of its doors.

`GammaService` implements them on a database and a storage; the clients of gRPC and HTTP carry them to a server. What
crosses a door are these values. A failure is the same `KappaError` on both sides, with its message.

A bundle moves as *blobs*, the contents of its files by their sha256. A client begins an upload with the manifest and
the list of files, writes the blobs that the registry lacks, and commits: only then is the bundle there. Each write has
an operation id, made by the client: a repeat within a day gets the first answer and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from kappa.spec.store import Alias, AliasChange, BundleRecord, Query, ServiceRecord
from kappa.tag import BundleReference, Tag

__all__ = ["BundleFile", "Commit", "Garbage", "Registry", "RegistryInfo", "SignedUrl", "Upload"]


@dataclass(frozen=True, slots=True, order=True)
class BundleFile:
    """One file of a bundle; the manifest counts as one, too."""

    path: str
    """Its POSIX path inside the bundle."""
    digest: str
    """``sha256:`` and 64 hex digits."""
    size_bytes: int
    is_executable: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that has begun."""

    session: str
    """What the client names it by; empty where the same bundle is there already."""
    missing: Mapping[str, int]
    """The digests of the blobs that the registry lacks; of each, how many bytes it already received."""
    expires_at: datetime | None = None
    """When it is given up, unless something is written."""
    record: BundleRecord | None = None
    """The bundle, where the same one is there already."""


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """Where a client may move one blob to or from the object store itself, without the server between them."""

    url: str = field(default="", repr=False)
    """Whoever has it may do so until it expires; empty where the blob goes through the server."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A bundle that became visible."""

    record: BundleRecord
    is_latest: bool
    """Whether it is what ``latest`` means now; an older bundle that is pushed later is not."""
    was_there: bool = False


@dataclass(frozen=True, slots=True)
class Garbage:
    """What nothing refers to."""

    blobs: int
    size_bytes: int
    uploads: int
    """Uploads that were given up."""
    is_removed: bool
    """Whether it was removed, or only counted."""


@dataclass(frozen=True, slots=True)
class RegistryInfo:
    """What a registry says of itself."""

    kappa_version: str
    has_authentication: bool = False
    direct_transfer: bool = False
    """Whether blobs can move between the client and the object store."""


class Registry(Protocol):
    """Bundles by their tags, with labels and aliases; may be used by several threads at once."""

    @property
    def location(self) -> str:
        """Where it is, for messages."""

    def info(self) -> RegistryInfo:
        """Return what it says of itself; raises `GammaError` where it cannot be reached."""

    # -- reading

    def resolve(self, reference: BundleReference) -> BundleRecord:
        """Return the bundle that a reference means.

        Raises `BundleNotFoundError` that says what there is, and `BundleError` for a digest that is short for several.
        """

    def list_bundles(self, query: Query = ...) -> list[BundleRecord]:
        """Return the bundles that a query selects, in its order."""

    def list_services(
        self, search: str = "", *, namespace: str = ..., limit: int | None = None, offset: int = 0
    ) -> list[ServiceRecord]:
        """Return the services whose names contain ``search``, in upper or lower case: the one built last comes first.

        ``namespace`` is one, or `ALL_NAMESPACES`; ``limit`` the maximum number of services, after ``offset`` others.
        """

    def files_of(self, tag: Tag) -> tuple[BundleFile, ...]:
        """Return the files of a bundle by path, the manifests among them; raises `BundleNotFoundError`."""

    def read_blob(self, tag: Tag, digest: str, *, offset: int = 0) -> Iterator[bytes]:
        """Yield the content of a file of a bundle from ``offset`` on; raises `BundleNotFoundError`.

        A read is authorised through the bundle (D54: who may not read it learns nothing about its blobs).
        """

    def download_url(self, tag: Tag, digest: str) -> SignedUrl:
        """Return where a file of a bundle can be read, under the conditions of `read_blob`."""

    # -- labels and aliases

    def set_labels(self, tag: Tag, changes: Mapping[str, str | None], *, operation: str) -> BundleRecord:
        """Set labels of a bundle, and remove those whose value is ``None``; raises `BundleNotFoundError`."""

    def aliases(self, name: str, *, namespace: str = ...) -> list[Alias]:
        """Return the aliases of a service, by alias."""

    def set_alias(self, tag: Tag, alias: str, *, expect: str | None = None, operation: str) -> AliasChange:
        """Let an alias name a version; with ``expect``, only if it names that one now (``""``: none).

        Raises `BundleNotFoundError` for a version that is not there, `UsageError` for an alias that is a version, and
        `GammaError` where it names another version than expected.
        """

    def delete_alias(
        self, name: str, alias: str, *, namespace: str = ..., expect: str | None = None, operation: str
    ) -> AliasChange:
        """Remove an alias; raises `BundleNotFoundError` where there is none."""

    def alias_history(self, name: str, alias: str, *, namespace: str = ...) -> list[AliasChange]:
        """Return the changes of an alias, the newest first."""

    # -- writing

    def begin_upload(
        self, manifest: bytes, files: Sequence[BundleFile], *, namespace: str = ..., operation: str
    ) -> Upload:
        """Begin to upload a bundle: ``manifest`` is its `kappa.yml`, which is one of ``files``.

        While an upload of the same bundle is alive, it is that one, with what it has received. Raises
        `DestinationExistsError` for a tag that has other bytes, naming both digests, and `BundleError` for a manifest
        that does not describe ``files``.
        """

    def write_blob(self, session: str, digest: str, offset: int, chunks: Iterable[bytes]) -> int:
        """Append to a blob of an upload from ``offset`` on; return how many bytes of it are there now.

        Bytes that are there already are passed over. A blob that is whole is compared with its digest: raises
        `BundleError` where they differ, and it begins again. Raises `GammaError` for an offset behind what is there.
        """

    def upload_url(self, session: str, digest: str) -> SignedUrl:
        """Return where a blob that an upload lacks can be written whole; `take_blob` tells the registry that it was."""

    def take_blob(self, session: str, digest: str) -> int:
        """Take a blob that was written to its `upload_url`; return how many bytes of it are there now.

        It is compared with its digest: raises `BundleError` where they differ, or nothing was written there, and then
        nothing is kept of it.
        """

    def upload_state(self, session: str) -> Upload:
        """Return what an upload still lacks; raises `GammaError` for one that was given up."""

    def commit_upload(self, session: str, *, operation: str) -> Commit:
        """Make the bundle of a complete upload visible, in one transaction; each blob is checked once more."""

    def abort_upload(self, session: str) -> None:
        """Give an upload up; one that is gone is no error."""

    def delete(self, tags: Sequence[Tag], *, force: bool = False, operation: str) -> list[Tag]:
        """Delete bundles and return those that were there.

        A tag that an alias names raises `GammaError` unless ``force``, and then nothing is deleted.
        """

    def collect_garbage(self, *, grace: timedelta, dry_run: bool = True) -> Garbage:
        """Find, and unless ``dry_run`` remove, what no bundle and no live upload needs and is older than ``grace``."""

    def close(self) -> None:
        """Close the connections, to a server or to the database."""
