"""The registry: bundles in a storage, and their records in a database, behind one set of operations.

Commands call it in their own process, on the store of this machine; the Gamma server offers the same operations to
others.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import cached_property
from typing import TypeVar

from sqlalchemy import Connection, Engine

from kappa._version import __version__
from kappa.errors import BundleError, BundleNotFoundError, GammaError
from kappa.gamma.database.aliases import aliases_of, delete_alias, history_of, set_alias
from kappa.gamma.database.bundles import (
    add_bundle,
    change_labels,
    check_free,
    free_version,
    free_versions,
    lock_service,
    remove_bundle,
)
from kappa.gamma.database.engine import Closing, failing_explained, keep_open, open_copy, open_database, reading
from kappa.gamma.database.namespaces import select_bundles
from kappa.gamma.database.operations import answer_of, keep_answer
from kappa.gamma.database.queries import bundle_of, find_bundles, latest_of, names_of, referenced, services_of
from kappa.gamma.protocols.callers import ANYBODY, Caller
from kappa.gamma.protocols.registry import BundleFile, Commit, Garbage, RegistryInfo, SignedUrl, Upload
from kappa.gamma.protocols.storage import BundleStorage
from kappa.gamma.service.settling import Service, Trees
from kappa.gamma.service.tokens import Tokens
from kappa.gamma.service.transfers import Transfers
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.log import log
from kappa.spec.store import Alias, AliasChange, BundleRecord, Query, ServiceRecord
from kappa.tag import ALL_NAMESPACES, DEFAULT_NAMESPACE, BundleReference, Tag

__all__ = ["GammaService"]

_ALL = Query()
_SHOWN = 5

T = TypeVar("T")


_SETTLED_AT_ONCE = 50
"""Services whose new trees are read in one transaction: what a process that dies has read stays read."""


class GammaService:
    """A `Registry` of one storage and one database.

    In a storage of directories, trees decide which bundles exist; else the database does. With ``watches_trees`` they
    are looked at before each operation, else once.
    """

    def __init__(self, storage: BundleStorage, database_url: str, *, watches_trees: bool = False) -> None:
        self._storage = storage
        self._database_url = database_url
        self._trees = Trees(storage) if isinstance(storage, DirectoryStorage) else None
        self._is_settled = False
        self._watches_trees = watches_trees
        self._kept_open: Closing | None = None
        self._caller = ANYBODY
        self._transfers = Transfers(storage, lambda: self._engine, on_publish=self._note_tree)

    @property
    def location(self) -> str:
        return self._storage.location

    def info(self) -> RegistryInfo:
        return RegistryInfo(
            kappa_version=__version__,
            has_authentication=self._caller is not ANYBODY,
            direct_transfer=self._storage.direct is not None,
        )

    # -- callers

    @property
    def tokens(self) -> Tokens:
        """The access tokens in its database."""
        return Tokens(self._engine)

    def seen_by(self, caller: Caller) -> GammaService:
        """Return the same registry, opened, as a caller sees it.

        What is outside of the caller's scope is not there, and changing it raises `AccessDeniedError`. An upload is
        there for the caller who began it.
        """
        self._settle(None)
        assert self._engine is not None  # noqa: S101 - opened now, so that all views share it
        view = copy.copy(self)
        view._caller = caller  # noqa: SLF001 - of this class
        view._transfers = self._transfers.seen_by(caller)  # noqa: SLF001
        return view

    def _sees(self, namespace: str, name: str) -> bool:
        return self._caller.scope.includes(namespace, name)

    # -- reading

    def resolve(self, reference: BundleReference) -> BundleRecord:
        """Return the bundle that a reference means.

        Raises `BundleNotFoundError` that says what there is, and `BundleError` for a digest that is short for several.
        """
        service = reference.namespace, reference.name
        if not self._storage.exists() or not self._sees(*service):
            raise BundleNotFoundError(self._absence(reference))
        with self._read(service) as connection:
            if reference.digest is not None:
                record = self._of_digest(connection, reference)
            elif reference.version is not None:
                record = referenced(connection, *service, reference.version)
            else:
                record = latest_of(connection, *service)
        if record is None:
            raise BundleNotFoundError(self._absence(reference))
        return record

    def list_bundles(self, query: Query = _ALL) -> list[BundleRecord]:
        """Return the bundles that a query selects, in its order."""
        if not self._storage.exists():
            return []
        is_of_service = query.name is not None and query.namespace != ALL_NAMESPACES
        with self._read((query.namespace, query.name) if is_of_service and query.name else None) as connection:
            return select_bundles(connection, query, self._caller.scope)

    def list_services(
        self, search: str = "", *, namespace: str = DEFAULT_NAMESPACE, limit: int | None = None, offset: int = 0
    ) -> list[ServiceRecord]:
        """Return the services whose names contain ``search``: the one built last comes first."""
        if not self._storage.exists():
            return []
        with self._read(None) as connection:
            scope = self._caller.scope
            return services_of(connection, namespace, search=search, limit=limit, offset=offset, scope=scope)

    # -- labels and aliases

    def set_labels(self, tag: Tag, changes: Mapping[str, str | None], *, operation: str) -> BundleRecord:
        """Set labels of a bundle, and remove those whose value is ``None``; raises `BundleNotFoundError`."""
        request = "set_labels", str(tag), dict(changes)
        return self._write(tag, operation, request, BundleRecord, lambda to: change_labels(to, tag, changes))

    def aliases(self, name: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[Alias]:
        """Return the aliases of a service, by alias."""
        if not self._storage.exists() or not self._sees(namespace, name):
            return []
        with self._read((namespace, name)) as connection:
            return aliases_of(connection, namespace, name)

    def set_alias(self, tag: Tag, alias: str, *, expect: str | None = None, operation: str) -> AliasChange:
        """Let an alias name a version; with ``expect``, only if it names that one now (``""``: none).

        Raises `BundleNotFoundError` for a version that is not there, `UsageError` for an alias that is a version, and
        `GammaError` where it names another version than expected.
        """
        request = "set_alias", str(tag), alias, expect

        def change(connection: Connection) -> AliasChange:
            return set_alias(connection, tag, alias, expect=expect, by=self._caller.name)

        return self._write(tag, operation, request, AliasChange, change)

    def delete_alias(
        self,
        name: str,
        alias: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        expect: str | None = None,
        operation: str,
    ) -> AliasChange:
        """Remove an alias; raises `BundleNotFoundError` where there is none."""

        def change(connection: Connection) -> AliasChange:
            return delete_alias(connection, namespace, name, alias, expect=expect, by=self._caller.name)

        request = "delete_alias", namespace, name, alias, expect
        return self._write(Tag(name, alias, namespace), operation, request, AliasChange, change)

    def alias_history(self, name: str, alias: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[AliasChange]:
        """Return the changes of an alias, the newest first."""
        if not self._storage.exists() or not self._sees(namespace, name):
            return []
        with self._read((namespace, name)) as connection:
            return history_of(connection, namespace, name, alias)

    # -- writing

    def adopt(self, tag: Tag, move_in: Callable[[], BundleRecord]) -> BundleRecord:
        """Add the bundle that ``move_in`` puts into the storage, where trees decide what exists.

        The version of a deleted bundle is free again: this store belongs to who runs this process. Raises
        `DestinationExistsError` for one of other bytes, and `UsageError` for a version that is an alias.
        """
        engine = self._engine
        with self._storage.exclusive(), failing_explained():
            self._settle_alone((tag.namespace, tag.name))
            with engine.begin() as connection:
                free_version(connection, tag)
                if bundle_of(connection, tag) is None:
                    check_free(connection, tag, "")
                if self._trees is not None:
                    self._trees.begin(connection, (tag.namespace, tag.name))
            record = move_in()
            with engine.begin() as connection:
                row = bundle_of(connection, tag)
                if row is not None and row.bundle_digest != record.bundle_digest:
                    remove_bundle(connection, tag)  # the tree is another one than before
                return add_bundle(connection, record)

    def delete(self, tags: Sequence[Tag], *, force: bool = False, operation: str) -> list[Tag]:
        """Delete bundles and return those that were there; their tags stay reserved for their digests.

        A tag that an alias names raises `GammaError` unless ``force``, and then nothing is deleted.
        """
        for tag in tags:
            self._caller.check_scope(tag.namespace, tag.name)
        request = "delete", sorted(map(str, tags)), force, *self._caller.mark
        frees: list[Callable[[], None]] = []
        failure: OSError | None = None
        engine = self._engine
        try:
            with self._storage.exclusive(), failing_explained():
                for service in sorted({(tag.namespace, tag.name) for tag in tags}):
                    self._settle_alone(service)
                with engine.begin() as connection:
                    if (answer := answer_of(connection, operation, request, list[Tag])) is not None:
                        return answer
                    self._refuse_named(connection, tags, is_forced=force)
                    deleted: list[Tag] = []
                    for tag in dict.fromkeys(tags):
                        try:
                            free = self._storage.remove(tag)
                        except OSError as exc:
                            failure = exc
                            break  # what is deleted already stays so
                        if free is not None:
                            frees.append(free)
                        is_removed = remove_bundle(connection, tag, is_reserved=True, by=self._caller.name)
                        if is_removed or free is not None:
                            deleted.append(tag)
                    if failure is None:
                        keep_answer(connection, operation, request, deleted, list[Tag])
        finally:
            for free in frees:
                free()
        if failure is not None:
            raise failure
        return deleted

    def forget(self, tags: Sequence[Tag]) -> list[Tag]:
        """Free the versions of deleted bundles, so that other bytes may have them; return those that were reserved.

        It is for who runs the server: no door offers it.
        """
        engine = self._engine  # which is opened under the same lock
        with failing_explained(), self._storage.exclusive(), engine.begin() as connection:
            return free_versions(connection, tags)

    # -- files (`Transfers`)

    def files_of(self, tag: Tag) -> tuple[BundleFile, ...]:
        """Return the files of a bundle by path, the manifests among them; raises `BundleNotFoundError`."""
        self._settle((tag.namespace, tag.name))
        return self._transfers.files_of(tag)

    def read_blob(self, tag: Tag, digest: str, *, offset: int = 0) -> Iterator[bytes]:
        """Yield the content of a file of a bundle from ``offset`` on; raises `BundleNotFoundError` at the call."""
        self._settle((tag.namespace, tag.name))
        return self._transfers.read_blob(tag, digest, offset=offset)

    def download_url(self, tag: Tag, digest: str) -> SignedUrl:
        """Return where the object store itself has a file of a bundle; raises `BundleNotFoundError`."""
        self._settle((tag.namespace, tag.name))
        return self._transfers.download_url(tag, digest)

    def begin_upload(
        self, manifest: bytes, files: Sequence[BundleFile], *, namespace: str = DEFAULT_NAMESPACE, operation: str
    ) -> Upload:
        """Begin to upload a bundle, or go on with the upload of the same one that is alive."""
        self._settle(None)
        return self._transfers.begin_upload(manifest, files, namespace=namespace, operation=operation)

    def write_blob(self, session: str, digest: str, offset: int, chunks: Iterable[bytes]) -> int:
        """Append to a blob of an upload from ``offset`` on; return how many bytes of it are there now."""
        return self._transfers.write_blob(session, digest, offset, chunks)

    def upload_url(self, session: str, digest: str) -> SignedUrl:
        """Return where a client can write a blob of an upload into the object store itself."""
        return self._transfers.upload_url(session, digest)

    def take_blob(self, session: str, digest: str) -> int:
        """Take a blob that a client wrote into the object store itself; return how many bytes of it are there now."""
        return self._transfers.take_blob(session, digest)

    def upload_state(self, session: str) -> Upload:
        """Return what an upload still lacks; raises `GammaError` for one that was given up."""
        return self._transfers.upload_state(session)

    def commit_upload(self, session: str, *, operation: str) -> Commit:
        """Make the bundle of a complete upload visible, in one transaction; each blob is checked once more."""
        self._settle(None)
        return self._transfers.commit_upload(session, operation=operation)

    def abort_upload(self, session: str) -> None:
        """Give an upload up; one that is gone is no error."""
        self._transfers.abort_upload(session)

    def collect_garbage(self, *, grace: timedelta, dry_run: bool = True) -> Garbage:
        """Find, and unless ``dry_run`` remove, what no bundle and no live upload needs and is older than ``grace``."""
        return self._transfers.collect_garbage(grace=grace, dry_run=dry_run)

    def _note_tree(self, connection: Connection, tag: Tag) -> None:
        if self._trees is not None:
            self._trees.begin(connection, (tag.namespace, tag.name))

    def open(self) -> None:
        """Open the database, bring its tables to the newest, and the rows in line with trees; raises `GammaError`."""
        with self._read(None):
            pass
        if not self._storage.why_read_only:
            self._kept_open = self._kept_open or keep_open(self._database_url)

    def close(self) -> None:
        """Close the connections to the database; they are opened again when they are needed."""
        if (engine := self.__dict__.get("_engine")) is not None:
            engine.dispose()
        if self._kept_open is not None:
            self._kept_open.close()
            self._kept_open = None

    # -- the database beside the storage

    @cached_property
    def _engine(self) -> Engine:
        if self._storage.why_read_only:
            return open_copy(self._database_url)
        with self._storage.exclusive():
            return open_database(self._database_url)

    @contextmanager
    def _read(self, service: Service | None) -> Iterator[Connection]:
        """Yield a connection that reads what is there now, at least of one service."""
        self._settle(service)
        with failing_explained(), reading(self._engine) as connection:
            yield connection

    def _write(
        self,
        tag: Tag,
        operation: str,
        request: tuple[object, ...],
        kind: type[T],
        change: Callable[[Connection], T],
    ) -> T:
        """Change rows of a tag's service in one transaction; a repeated operation gets the first answer."""
        self._caller.check_scope(tag.namespace, tag.name)
        request = *request, *self._caller.mark
        if self._storage.why_read_only:
            raise GammaError(f"The store `{self.location}` cannot be changed: {self._storage.why_read_only}.")
        self._settle((tag.namespace, tag.name))
        with failing_explained(), self._engine.begin() as connection:
            answer = answer_of(connection, operation, request, kind)
            if answer is None:
                answer = change(connection)
                keep_answer(connection, operation, request, answer, kind)
            return answer

    def _settle(self, service: Service | None) -> None:
        """Bring the database in line with the trees, at least of one service, if it is not."""
        trees = self._trees
        if trees is None or (self._is_settled and not self._watches_trees):
            return
        service = service if self._watches_trees else None
        engine = self._engine
        with failing_explained():
            with reading(engine) as connection:
                unsettled = sorted(trees.unsettled(connection, service))
            is_read_only = bool(self._storage.why_read_only)
            starts = range(0, len(unsettled), _SETTLED_AT_ONCE)
            parts = [unsettled[start : start + _SETTLED_AT_ONCE] for start in starts]
            if not parts and trees.has_much_to_write() and not is_read_only:
                parts = [[]]
            for number, part in enumerate(parts):
                if number:
                    done = number * _SETTLED_AT_ONCE
                    log(f"{done} of {len(unsettled)} services in `{self.location}` have been read", kind="step")
                with nullcontext() if is_read_only else self._storage.exclusive(), engine.begin() as connection:
                    trees.settle(connection, part)
        self._is_settled = self._is_settled or service is None

    def _settle_alone(self, service: Service) -> None:
        """Do the same for one service, where nobody else changes bundles now."""
        if self._trees is not None:
            with self._engine.begin() as connection:
                self._trees.settle(connection, self._trees.unsettled(connection, service))

    def _refuse_named(self, connection: Connection, tags: Sequence[Tag], *, is_forced: bool) -> None:
        """Raise for tags that aliases name, after which nobody else lets an alias name one."""
        for namespace, name in sorted({(tag.namespace, tag.name) for tag in tags}):
            lock_service(connection, namespace, name)
        records = [record for tag in tags if (record := bundle_of(connection, tag)) is not None]
        named = [f"`{record.tag}` ({', '.join(record.aliases)})" for record in records if record.aliases]
        if named and not is_forced:
            raise GammaError(
                f"Nothing is deleted, because aliases name {', '.join(named)}. Let them name other versions, or say "
                "`--force` to delete both."
            )

    def _of_digest(self, connection: Connection, reference: BundleReference) -> BundleRecord | None:
        query = Query(name=reference.name, digest=reference.digest, limit=2, namespace=reference.namespace)
        records = find_bundles(connection, query, self._caller.scope)
        if len({record.bundle_digest for record in records}) > 1:
            tags = [record.tag for record in records]
            raise BundleError(f"`{reference}` is short for more than one bundle: {_enumerate(tags)}. Give more digits.")
        return records[0] if records else None

    def _absence(self, reference: BundleReference) -> str:
        namespace, name = reference.namespace, reference.name
        if not self._storage.exists() or not (names := self._names(namespace)):
            where = "" if namespace == DEFAULT_NAMESPACE else f"the namespace `{namespace}` of "
            store = f"the store `{self.location}`" if self._watches_trees else "the store"  # a server's is its secret
            return (
                f"There is no bundle `{reference}`: {where}{store} is empty. "
                "Run `kappa build` in the folder of the kappafile, and give the tag that it prints."
            )
        if name in names:
            versions = [record.tag for record in self.list_bundles(Query(name=name, namespace=namespace, limit=50))]
            aliases = [f"{name}:{alias.alias}" for alias in self.aliases(name, namespace=namespace)]
            also = f" Its aliases are {_enumerate(aliases)}." if aliases else ""
            return f"There is no bundle `{reference}` in the store. Of `{name}` it holds {_enumerate(versions)}.{also}"
        if near := difflib.get_close_matches(name, names, n=1, cutoff=0.5):
            return f"There is no bundle `{reference}` in the store. Did you mean `{near[0]}`?"
        return f"There is no bundle `{reference}` in the store. It holds {_enumerate(names)}."

    def _names(self, namespace: str) -> list[str]:
        with self._read(None) as connection:
            return names_of(connection, namespace, self._caller.scope)


def _enumerate(items: Sequence[Tag] | Sequence[str]) -> str:
    shown = ", ".join(f"`{item}`" for item in items[:_SHOWN])
    return f"{shown} and {len(items) - _SHOWN} more" if len(items) > _SHOWN else shown
