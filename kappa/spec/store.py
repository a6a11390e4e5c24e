"""The interface of a store of bundles, local or on a server, and its types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from kappa.labels import Requirement
from kappa.tag import BundleReference, Tag

if TYPE_CHECKING:  # commands make queries, and their help is quick
    from kappa.spec.manifest import BundleManifest

__all__ = ["NAMESPACE", "BundleRecord", "Order", "Query", "Store"]

NAMESPACE = "default"
"""The default namespace of bundles."""

Order = Literal["created_at", "name"]


@dataclass(frozen=True, slots=True)
class BundleRecord:
    """One bundle as a store's database has it."""

    tag: Tag
    created_at: datetime
    """When it was built, in UTC."""
    uri: str
    """Where it is, relative to the root of the store."""
    kappa_version: str
    content_digest: str
    bundle_digest: str
    size_bytes: int
    view: Mapping[str, Any]
    """Its metadata: `kappa.spec.views.metadata_view`."""
    labels: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[tuple[str, str], ...] = ()
    """Its lock, as distributions and versions; empty when it was read back."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which bundles to list, and in which order: those that meet all conditions, the newest first."""

    name: str | None = None
    version: str | None = None
    digest: str | None = None
    """The beginning of a bundle digest, with ``sha256:``."""
    selector: tuple[Requirement, ...] = ()
    limit: int | None = None
    """The maximum number of bundles."""
    offset: int = 0
    """How many bundles to skip."""
    order_by: Order = "created_at"
    """By name, those of one name are listed newest first."""
    ascending: bool = False
    namespace: str = NAMESPACE


class Store(Protocol):
    """Bundles, and queries on their records; may be used by several processes at once."""

    def find(self, reference: BundleReference) -> Path:
        """Return the directory that ``reference`` means; raises `BundleNotFoundError` that says what there is."""

    def list_bundles(self, query: Query = ...) -> list[BundleRecord]:
        """Return the bundles that a query selects, in its order."""

    def path_of(self, record: BundleRecord) -> Path:
        """Return a directory that holds the bundle of a record."""

    def has(self, tag: Tag) -> bool:
        """Return whether a version exists."""

    def staging(self) -> AbstractContextManager[Path]:
        """Yield an empty directory to build in; what is left there is removed."""

    def put(self, staged: Path, manifest: BundleManifest) -> Path:
        """Take the complete bundle ``staged`` from such a directory, and return where it is.

        A bundle of the same tag stays as it is: fine if it has the same bytes, `DestinationExistsError` if not.
        """

    def delete(self, tags: Sequence[Tag]) -> list[Tag]:
        """Delete bundles and return those that were there."""
