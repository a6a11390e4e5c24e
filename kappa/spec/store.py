"""The interface of a store of bundles, local or on a server, and its types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from kappa.labels import Requirement
from kappa.tag import DEFAULT_NAMESPACE, BundleReference, Tag

if TYPE_CHECKING:  # commands make queries, and their help is quick
    from kappa.spec.manifest import BundleManifest

__all__ = ["Alias", "AliasChange", "BundleRecord", "Order", "Query", "ServiceRecord", "Store"]

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
    registered_at: datetime | None = None
    """When the store took it, by the clock of its database, in UTC; ``None`` before."""
    aliases: tuple[str, ...] = ()
    """The aliases that name it now."""


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One service, of which a store has at least one bundle."""

    latest: BundleRecord
    """What `latest` means."""
    versions: int
    """How many there are."""


@dataclass(frozen=True, slots=True)
class Alias:
    """A name of one version of a service, which can move."""

    name: str
    alias: str
    version: str
    changed_at: datetime
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One change of an alias."""

    name: str
    alias: str
    previous: str | None
    """The version that it named before; ``None`` where it was not there."""
    version: str | None
    """The version that it names since; ``None`` where it was deleted."""
    changed_at: datetime
    changed_by: str = ""
    namespace: str = DEFAULT_NAMESPACE


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
    namespace: str = DEFAULT_NAMESPACE
    """One namespace, or `ALL_NAMESPACES`."""
    requires: str | None = None
    """A distribution with versions (PEP 508), e.g. ``pillow<11.1``: bundles that lock one of these."""


class Store(Protocol):
    """Bundles, and queries on their records; may be used by several processes at once."""

    def resolve(self, reference: BundleReference) -> BundleRecord:
        """Return the bundle that ``reference`` means; raises `BundleNotFoundError` that says what there is."""

    def find(self, reference: BundleReference) -> Path:
        """Return the directory that ``reference`` means; raises `BundleNotFoundError` that says what there is."""

    def list_bundles(self, query: Query = ...) -> list[BundleRecord]:
        """Return the bundles that a query selects, in its order."""

    def path_of(self, record: BundleRecord) -> Path:
        """Return a directory that holds the bundle of a record."""

    def address_of(self, record: BundleRecord) -> tuple[str, str]:
        """Return where the bundle of a record is: which kind of place (`LOCAL`, `S3`, `GAMMA`), and the place."""

    def has(self, tag: Tag) -> bool:
        """Return whether a version exists."""

    def staging(self) -> AbstractContextManager[Path]:
        """Yield an empty directory to build in; what is left there is removed."""

    def put(self, staged: Path, manifest: BundleManifest, *, namespace: str = DEFAULT_NAMESPACE) -> Path:
        """Take the complete bundle ``staged`` from such a directory, and return where it is.

        A bundle of the same tag stays as it is: fine if it has the same bytes, `DestinationExistsError` if not.
        """

    def delete(self, tags: Sequence[Tag], *, force: bool = False) -> list[Tag]:
        """Delete bundles and return those that were there.

        A tag that an alias names raises `GammaError` unless ``force``, and then nothing is deleted.
        """

    def set_labels(self, tag: Tag, changes: Mapping[str, str | None]) -> BundleRecord:
        """Set labels of a bundle, and remove those whose value is ``None``; raises `BundleNotFoundError`."""

    def aliases(self, name: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[Alias]:
        """Return the aliases of a service, by alias."""

    def set_alias(self, tag: Tag, alias: str, *, expect: str | None = None) -> AliasChange:
        """Let an alias name a version; with ``expect``, only if it names that one now (``""``: none)."""

    def delete_alias(
        self, name: str, alias: str, *, namespace: str = DEFAULT_NAMESPACE, expect: str | None = None
    ) -> AliasChange:
        """Remove an alias; raises `BundleNotFoundError` where there is none."""

    def alias_history(self, name: str, alias: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[AliasChange]:
        """Return the changes of an alias, the newest first."""
