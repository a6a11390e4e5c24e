"""The store: bundles in a storage, and their records in a database, behind one set of operations.

Commands call it in their own process, on the store of this machine; the Gamma server offers the same operations to
others.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError

from kappa.environment import home_directory
from kappa.errors import BundleError, BundleNotFoundError
from kappa.gamma.database import explained, open_copy, open_database, reading, sqlite_url
from kappa.gamma.directories import local_storage
from kappa.gamma.queries import add_bundle, find_bundles, names_of, remove_bundle
from kappa.gamma.records import record_of
from kappa.gamma.settling import Trees
from kappa.gamma.storage import BundleStorage
from kappa.spec.manifest import BundleManifest
from kappa.spec.store import BundleRecord, Query
from kappa.tag import DEFAULT_NAMESPACE, BundleReference, Tag

__all__ = ["GammaService", "local_service"]

_ALL = Query()
_SHOWN = 5


def local_service(environ: Mapping[str, str]) -> GammaService:
    """Return the store of this machine, below ``$KAPPA_HOME``; nothing is read or made before it is used."""
    storage = local_storage(environ)
    return GammaService(storage, sqlite_url(home_directory(environ) / "storage.db"), trees=Trees(storage))


class GammaService:
    """A `Store` of one storage and one database.

    With ``trees``, they decide which bundles exist; else the database does.
    """

    def __init__(self, storage: BundleStorage, database_url: str, *, trees: Trees | None = None) -> None:
        self._storage = storage
        self._database_url = database_url
        self._trees = trees

    # -- reading

    def find(self, reference: BundleReference) -> Path:
        """Return the directory that ``reference`` means; raises `BundleNotFoundError` that says what there is."""
        records = self.list_bundles(
            Query(name=reference.name, version=reference.version, digest=reference.digest, limit=2)
        )
        text = (
            f"{reference.name}@{reference.digest}"
            if reference.digest
            else f"{reference.name}:{reference.version or 'latest'}"
        )
        if not records:
            raise BundleNotFoundError(self._absence(text, reference.name))
        if reference.digest is not None and len({record.bundle_digest for record in records}) > 1:
            tags = [record.tag for record in records]
            raise BundleError(f"`{text}` is short for more than one bundle: {_enumerate(tags)}. Give more digits.")
        return self.path_of(records[0])

    def list_bundles(self, query: Query = _ALL) -> list[BundleRecord]:
        """Return the bundles that a query selects, in its order."""
        if not self._storage.exists():
            return []
        self._settle()
        with self._failing_explained(), reading(self._engine) as connection:
            return find_bundles(connection, query)

    def path_of(self, record: BundleRecord) -> Path:
        """Return a directory that holds the bundle of a record."""
        return self._storage.fetch(record.uri)

    def has(self, tag: Tag) -> bool:
        """Return whether a version exists."""
        return bool(self.list_bundles(Query(name=tag.name, version=tag.version, limit=1)))

    # -- writing

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty directory to build in; what is left there is removed."""
        with self._storage.staging() as staging:
            yield staging

    def put(self, staged: Path, manifest: BundleManifest) -> Path:
        """Take the complete bundle ``staged`` from such a directory, and return where it is.

        A bundle of the same tag stays as it is: fine if it has the same bytes, `DestinationExistsError` if not.
        """
        engine = self._engine
        with self._storage.exclusive(), self._failing_explained():
            uri = self._storage.put(staged, manifest)
            directory = self._storage.fetch(uri)
            with engine.begin() as connection:
                add_bundle(connection, DEFAULT_NAMESPACE, record_of(directory, manifest, uri=uri))
        return directory

    def delete(self, tags: Sequence[Tag]) -> list[Tag]:
        """Delete bundles and return those that were there."""
        engine = self._engine
        removed: dict[Tag, Callable[[], None]] = {}
        try:
            with self._storage.exclusive(), self._failing_explained():
                for tag in tags:
                    free = self._storage.remove(tag)
                    if free is not None:
                        removed[tag] = free
                    with engine.begin() as connection:
                        remove_bundle(connection, DEFAULT_NAMESPACE, tag)
        finally:
            for free in removed.values():
                free()
        return list(removed)

    def close(self) -> None:
        """Close the connections to the database; they are opened again when they are needed."""
        if (engine := self.__dict__.get("_engine")) is not None:
            engine.dispose()

    # -- the database beside the storage

    @cached_property
    def _engine(self) -> Engine:
        if self._storage.why_read_only:
            return open_copy(self._database_url)
        with self._storage.exclusive():
            return open_database(self._database_url)

    @contextmanager
    def _failing_explained(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as exc:
            raise explained(exc, "The registry's database") from exc

    def _settle(self) -> None:
        """Bring the database in line with the trees, if it is not."""
        if self._trees is None:
            return
        engine = self._engine
        with self._failing_explained():
            with reading(engine) as connection:
                if self._trees.are_known(connection):
                    return
            alone = nullcontext() if self._storage.why_read_only else self._storage.exclusive()
            with alone, engine.begin() as connection:
                self._trees.settle(connection)

    def _absence(self, text: str, name: str) -> str:
        if not self._storage.exists() or not (names := self._names()):
            return (
                f"There is no bundle `{text}`: the store `{self._storage.location}` is empty. "
                "Run `kappa build` in the folder of the kappafile, and give the tag that it prints."
            )
        if name in names:
            versions = [record.tag for record in self.list_bundles(Query(name=name))]
            return f"There is no bundle `{text}` in the store. Of `{name}` it holds {_enumerate(versions)}."
        if near := difflib.get_close_matches(name, names, n=1, cutoff=0.5):
            return f"There is no bundle `{text}` in the store. Did you mean `{near[0]}`?"
        return f"There is no bundle `{text}` in the store. It holds {_enumerate(names)}."

    def _names(self) -> list[str]:
        self._settle()
        with self._failing_explained(), reading(self._engine) as connection:
            return names_of(connection, DEFAULT_NAMESPACE)


def _enumerate(items: Sequence[Tag] | Sequence[str]) -> str:
    shown = ", ".join(f"`{item}`" for item in items[:_SHOWN])
    return f"{shown} and {len(items) - _SHOWN} more" if len(items) > _SHOWN else shown
