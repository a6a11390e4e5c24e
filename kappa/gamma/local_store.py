"""The store of this machine: bundles as directories below ``$KAPPA_HOME``, built and read in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kappa.environment import home_directory
from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.service.records import record_of
from kappa.gamma.storages.directories import DirectoryStorage, local_storage
from kappa.spec.manifest import BundleManifest
from kappa.spec.store import Alias, AliasChange, BundleRecord, Query
from kappa.tag import DEFAULT_NAMESPACE, BundleReference, Tag

__all__ = ["LocalStore", "open_local_store"]

_ALL = Query()
_ONCE = ""
"""The id of an operation that nobody repeats: nothing is lost on the way to a registry in this process."""


def open_local_store(environ: Mapping[str, str]) -> LocalStore:
    """Return the store of this machine, below ``$KAPPA_HOME``; nothing is read or made before it is used."""
    return LocalStore(local_storage(environ), sqlite_url(home_directory(environ) / "storage.db"))


class LocalStore:
    """A `Store` of directories and a database beside them, and the registry of the same bundles.

    Trees decide which bundles exist. A version that was deleted may be built again with other bytes, unlike in
    a registry that others share.
    """

    def __init__(self, storage: DirectoryStorage, database_url: str) -> None:
        self._storage = storage
        self.registry = GammaService(storage, database_url, watches_trees=True)

    # -- reading

    def resolve(self, reference: BundleReference) -> BundleRecord:
        """Return the bundle that ``reference`` means; raises `BundleNotFoundError` that says what there is."""
        return self.registry.resolve(reference)

    def find(self, reference: BundleReference) -> Path:
        """Return the directory that ``reference`` means; raises `BundleNotFoundError` that says what there is."""
        return self.path_of(self.resolve(reference))

    def list_bundles(self, query: Query = _ALL) -> list[BundleRecord]:
        """Return the bundles that a query selects, in its order."""
        return self.registry.list_bundles(query)

    def path_of(self, record: BundleRecord) -> Path:
        """Return the directory that holds the bundle of a record."""
        return self._storage.fetch(record.uri)

    def address_of(self, record: BundleRecord) -> tuple[str, str]:
        """Return the directory that holds the bundle of a record, as a place of this machine."""
        return "LOCAL", str(self.path_of(record))

    def has(self, tag: Tag) -> bool:
        """Return whether a version exists."""
        query = Query(name=tag.name, version=tag.version, namespace=tag.namespace, limit=1)
        return bool(self.registry.list_bundles(query))

    # -- writing

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty directory to build in; what is left there is removed."""
        with self._storage.staging() as staging:
            yield staging

    def put(self, staged: Path, manifest: BundleManifest, *, namespace: str = DEFAULT_NAMESPACE) -> Path:
        """Take the complete bundle ``staged`` from such a directory, and return where it is.

        A bundle of the same tag stays as it is: fine if it has the same bytes, `DestinationExistsError` if not. Raises
        `UsageError` for a version that is an alias.
        """

        def move_in() -> BundleRecord:
            uri = self._storage.put(staged, manifest, namespace=namespace)
            return record_of(self._storage.fetch(uri), manifest, uri=uri, namespace=namespace)

        return self.path_of(self.registry.adopt(replace(manifest.tag, namespace=namespace), move_in))

    def delete(self, tags: Sequence[Tag], *, force: bool = False) -> list[Tag]:
        """Delete bundles and return those that were there.

        A tag that an alias names raises `GammaError` unless ``force``, and then nothing is deleted.
        """
        return self.registry.delete(tags, force=force, operation=_ONCE)

    def forget(self, tags: Sequence[Tag]) -> list[Tag]:
        """Free the tags of deleted bundles for servers of this store, too; return those that were reserved."""
        return self.registry.forget(tags)

    # -- labels and aliases

    def set_labels(self, tag: Tag, changes: Mapping[str, str | None]) -> BundleRecord:
        """Set labels of a bundle, and remove those whose value is ``None``; raises `BundleNotFoundError`."""
        return self.registry.set_labels(tag, changes, operation=_ONCE)

    def aliases(self, name: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[Alias]:
        """Return the aliases of a service, by alias."""
        return self.registry.aliases(name, namespace=namespace)

    def set_alias(self, tag: Tag, alias: str, *, expect: str | None = None) -> AliasChange:
        """Let an alias name a version; with ``expect``, only if it names that one now (``""``: none)."""
        return self.registry.set_alias(tag, alias, expect=expect, operation=_ONCE)

    def delete_alias(
        self, name: str, alias: str, *, namespace: str = DEFAULT_NAMESPACE, expect: str | None = None
    ) -> AliasChange:
        """Remove an alias; raises `BundleNotFoundError` where there is none."""
        return self.registry.delete_alias(name, alias, namespace=namespace, expect=expect, operation=_ONCE)

    def alias_history(self, name: str, alias: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[AliasChange]:
        """Return the changes of an alias, the newest first."""
        return self.registry.alias_history(name, alias, namespace=namespace)

    def close(self) -> None:
        """Close the connections to the database; they are opened again when they are needed."""
        self.registry.close()
