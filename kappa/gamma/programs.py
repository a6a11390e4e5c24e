"""Gamma from Python: everything that the commands do with bundles, synchronously and for asyncio.

>>> team = kappa.gamma.client("gamma.example:50051")               # doctest: +SKIP
>>> [record.tag for record in team.list_bundles(labels="stage=live")]  # doctest: +SKIP
>>> team.set_alias("IrisClassifier:1.0", "production")             # doctest: +SKIP
>>> team.load("IrisClassifier:production").predict(rows)           # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

from kappa import bundle as bundles
from kappa.environment import expanded
from kappa.errors import UsageError
from kappa.gamma.choosing import open_remote_store
from kappa.gamma.local_store import LocalStore, open_local_store
from kappa.gamma.protocols.registry import Garbage
from kappa.gamma.remote_store import RemoteStore
from kappa.gamma.retention import Pruning, plan_pruning
from kappa.gamma.rollback import Rollback, roll_back
from kappa.gamma.service.comparison import BundleDifference, BundleSource, DirectorySource, compare_bundles
from kappa.gamma.transfer.archives import ARCHIVE_SUFFIX, read_archive, write_archive
from kappa.gamma.transfer.copying import put_copy, retrieve
from kappa.gamma.transfer.streams import Progress
from kappa.labels import checked_changes, parse_selector
from kappa.services.bundle import open_bundle
from kappa.services.declared import DeclaredService
from kappa.settings import Settings, read_settings
from kappa.spec.store import Alias, AliasChange, BundleRecord, Order, Query, ServiceRecord
from kappa.tag import ALL_NAMESPACES, BundleReference, Tag

__all__ = ["AsyncGammaClient", "GammaClient", "async_client", "client"]

P = ParamSpec("P")
R = TypeVar("R")


def client(
    url: str | None = None,
    *,
    namespace: str | None = None,
    local: bool = False,
    on_progress: Progress | None = None,
    environ: Mapping[str, str] = os.environ,
) -> GammaClient:
    """Return a client of a Gamma server, or of the store of this machine.

    Without ``url`` it is what `kappa config` says, and with ``local`` always the store of this machine. ``namespace``
    is that of names without one. ``on_progress`` is called with the bytes that have moved and those of the whole.
    Raises `ConfigurationError` for settings that do not fit; the server is asked when a method is called.
    """
    settings = _settings(url, namespace, environ, local=local)
    store: RemoteStore | LocalStore
    if settings.gamma_service.url is None:
        store = open_local_store(environ)
    else:
        store = open_remote_store(settings, environ, on_progress=on_progress)
    return GammaClient(store, settings.gamma_service.namespace, environ)


def async_client(
    url: str | None = None,
    *,
    namespace: str | None = None,
    local: bool = False,
    on_progress: Progress | None = None,
    environ: Mapping[str, str] = os.environ,
) -> AsyncGammaClient:
    """Return the same for asyncio: its methods run in threads and are awaited."""
    return AsyncGammaClient(client(url, namespace=namespace, local=local, on_progress=on_progress, environ=environ))


def _settings(url: str | None, namespace: str | None, environ: Mapping[str, str], *, local: bool) -> Settings:
    if url is not None and local:
        raise UsageError("`url` names a server and `local` the store of this machine; give one.")
    overrides = {"URL": "" if local else url, "NAMESPACE": namespace}
    variables = {f"KAPPA_GAMMA_SERVICE__{key}": value for key, value in overrides.items() if value is not None}
    return read_settings({**environ, **variables})


@dataclass(frozen=True)
class GammaClient:
    """Bundles of one store. A bundle is named as on the command line: `Name`, `Name:version`, `Name:alias`, …"""

    store: RemoteStore | LocalStore
    namespace: str
    """The namespace of names without one."""
    environ: Mapping[str, str] = field(repr=False)

    def close(self) -> None:
        """Close the connections to the server, or to the store of this machine; a `with` block does so at its end."""
        self.store.close()

    def __enter__(self) -> GammaClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- reading

    def list_bundles(
        self,
        name: str | None = None,
        *,
        labels: str | None = None,
        requires: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        order_by: Order = "created_at",
        ascending: bool = False,
        all_namespaces: bool = False,
    ) -> list[BundleRecord]:
        """Return bundles, the newest first: of one service, with labels that a selector chooses, with a package.

        With ``all_namespaces`` they are those of every namespace.
        """
        reference = None if name is None else self._reference(name)
        namespace = self.namespace if reference is None else reference.namespace
        query = Query(
            name=None if reference is None else reference.name,
            namespace=ALL_NAMESPACES if all_namespaces else namespace,
            selector=() if labels is None else parse_selector(labels),
            requires=requires,
            limit=limit,
            offset=offset,
            order_by=order_by,
            ascending=ascending,
        )
        return self.store.list_bundles(query)

    def list_services(
        self, search: str = "", *, limit: int | None = None, offset: int = 0, all_namespaces: bool = False
    ) -> list[ServiceRecord]:
        """Return the services whose names contain ``search``, in upper or lower case: the one built last comes first.

        With ``all_namespaces`` they are those of every namespace.
        """
        namespace = ALL_NAMESPACES if all_namespaces else self.namespace
        return self.store.registry.list_services(search, namespace=namespace, limit=limit, offset=offset)

    def get(self, bundle: str) -> BundleRecord:
        """Return the record of a bundle; raises `BundleNotFoundError` that says what there is."""
        return self.store.resolve(self._reference(bundle))

    def fetch(self, bundle: str) -> Path:
        """Return a folder with the bundle, fetched and verified if it is not here; nothing in it may be changed."""
        return self.store.find(self._reference(bundle))

    def load(self, bundle: str) -> DeclaredService:
        """Load a bundle into this process, as `kappa.load` does."""
        return bundles.load(self.fetch(bundle))

    def retrieve(self, bundle: str, target_dir: str | os.PathLike[str] | None = None) -> Path:
        """Copy a bundle as a folder of yours, by default its name in the current directory; return the folder.

        That must be absent or empty, otherwise `DestinationExistsError`.
        """
        return retrieve(open_bundle(self.fetch(bundle)), target_dir)

    def compare(self, before: str, after: str) -> BundleDifference:
        """Return what differs between two bundles; only the files that are compared are fetched."""
        return compare_bundles(self._source(before), self._source(after))

    # -- labels and aliases

    def set_labels(self, bundle: str, changes: Mapping[str, str | None]) -> BundleRecord:
        """Set labels of a bundle, remove those whose value is ``None``, and return it as it is then."""
        changes = checked_changes(changes)
        return self.store.set_labels(self.get(bundle).tag, changes)

    def aliases(self, name: str) -> list[Alias]:
        """Return the aliases of a service."""
        reference = self._reference(name)
        return self.store.aliases(reference.name, namespace=reference.namespace)

    def set_alias(self, bundle: str, alias: str, *, expect: str | None = None) -> AliasChange:
        """Let an alias name a version; with ``expect``, only if it names that one now (``""``: none)."""
        return self.store.set_alias(self.get(bundle).tag, alias, expect=expect)

    def delete_alias(self, bundle: str, *, expect: str | None = None) -> AliasChange:
        """Remove an alias, given as `Name:alias`; raises `BundleNotFoundError` where there is none."""
        name, alias, namespace = self._alias(bundle)
        return self.store.delete_alias(name, alias, namespace=namespace, expect=expect)

    def alias_history(self, bundle: str) -> list[AliasChange]:
        """Return the changes of an alias, given as `Name:alias`, the newest first."""
        name, alias, namespace = self._alias(bundle)
        return self.store.alias_history(name, alias, namespace=namespace)

    def roll_back_alias(self, name: str, alias: str, *, dry_run: bool = False) -> Rollback:
        """Let an alias of a service name the version again that it named before, or only say which."""
        return roll_back(self.store, self._reference(name), alias, dry_run=dry_run)

    # -- writing

    def push(self, bundle: str | os.PathLike[str]) -> BundleRecord:
        """Send a bundle of this machine, by its tag or its folder; return its record.

        Only files that the server lacks move. A version that is there already stays as it is.
        """
        if isinstance(bundle, str) and not expanded(bundle).exists():
            reference = self._reference(bundle)
            directory, namespace = open_local_store(self.environ).find(reference), reference.namespace
        else:
            directory, namespace = expanded(bundle), self.namespace
        opened = open_bundle(directory)
        if isinstance(self.store, RemoteStore):
            return self.store.send(opened, namespace=namespace).record
        put_copy(self.store, directory, namespace=namespace)
        return self.store.resolve(BundleReference(opened.manifest.name, opened.manifest.version, namespace=namespace))

    def pull(self, bundle: str) -> Path:
        """Bring a bundle into the store of this machine, and return where it is there."""
        record = self.get(bundle)
        return put_copy(open_local_store(self.environ), self.store.path_of(record), namespace=record.tag.namespace)

    def delete(self, *named: str, force: bool = False) -> list[Tag]:
        """Delete bundles and return those that were there.

        Each is named by a version, an alias, a digest or `Name:latest`; a name alone is a `UsageError`. One that an
        alias names is a `GammaError` unless ``force``, and then nothing is deleted.
        """
        for text in named:
            if ":" not in text.removeprefix("gamma:"):
                raise UsageError(f"`{text}` names every version of a service: name one, e.g. `{text}:latest`.")
        return self.store.delete([self.get(text).tag for text in named], force=force)

    def prune(
        self,
        name: str | None = None,
        *,
        keep: int | None = None,
        older_than: timedelta | None = None,
        labels: str | None = None,
        dry_run: bool = True,
    ) -> Pruning:
        """Delete old versions of a service, or of every service of the namespace, and return them with the reasons.

        Those are neither among the newest ``keep`` of their service nor built within ``older_than``. What an alias
        names stays, and so does the newest of each service. With ``dry_run`` nothing is deleted.
        """
        reference = None if name is None else self._reference(name)
        if reference is not None and (reference.version is not None or reference.digest is not None):
            raise UsageError(f"`{name}` is more than the name of a service: `delete` deletes one bundle.")
        query = Query(
            name=None if reference is None else reference.name,
            namespace=self.namespace if reference is None else reference.namespace,
            selector=() if labels is None else parse_selector(labels),
        )
        now = datetime.now(timezone.utc)
        pruning = plan_pruning(self.store, query, now=now, keep=keep, older_than=older_than)
        if not dry_run:
            self.store.delete(pruning.tags)
        return pruning

    def forget(self, *tags: str) -> list[Tag]:
        """Free the tags of deleted bundles of this machine's store, so that other bytes may have them; return them.

        Raises `UsageError` for the client of a Gamma server: who runs that frees tags on its host.
        """
        if isinstance(self.store, RemoteStore):
            raise UsageError(
                f"The Gamma server `{self.store.registry.location}` frees no tag for its clients. Who runs it does so "
                "on its host: `kappa delete NAME:VERSION --forget --db-url URL`."
            )
        return self.store.forget([Tag.parse(text) for text in tags])

    def export(self, bundle: str, file: str | os.PathLike[str] | None = None) -> Path:
        """Write a bundle as one file, by default `Name-version.kappa` here, which must not exist; return the file."""
        directory = self.fetch(bundle)
        manifest = open_bundle(directory).manifest
        target = expanded(f"{manifest.name}-{manifest.version}{ARCHIVE_SUFFIX}" if file is None else file)
        write_archive(directory, target)
        return target

    def import_archive(self, file: str | os.PathLike[str]) -> BundleRecord:
        """Take a bundle that `export` wrote into the store, checked before anything is written."""
        with self.store.staging() as staging:
            manifest = read_archive(expanded(file), staging / "bundle")
            self.store.put(staging / "bundle", manifest, namespace=self.namespace)
        return self.store.resolve(BundleReference(manifest.name, manifest.version, namespace=self.namespace))

    def collect_garbage(self, *, grace: timedelta = timedelta(days=1), dry_run: bool = True) -> Garbage:
        """Find, and unless ``dry_run`` remove, what no bundle and no upload needs and is older than ``grace``."""
        return self.store.registry.collect_garbage(grace=grace, dry_run=dry_run)

    # -- references

    def _reference(self, text: str) -> BundleReference:
        return BundleReference.parse(text.removeprefix("gamma:"), namespace=self.namespace)

    def _alias(self, text: str) -> tuple[str, str, str]:
        reference = self._reference(text)
        if reference.version is None:
            raise UsageError(f"`{text}` names no alias: write `{reference.name}:<alias>`.")
        return reference.name, reference.version, reference.namespace

    def _source(self, text: str) -> BundleSource:
        if isinstance(self.store, RemoteStore):
            return self.store.source_of(self.get(text))
        return DirectorySource.opened(self.fetch(text))


async def _awaited(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return await asyncio.to_thread(call, *args, **kwargs)


@dataclass(frozen=True)
class AsyncGammaClient:
    """The methods of `GammaClient`, awaited; several may run at once."""

    client: GammaClient

    async def close(self) -> None:
        await _awaited(self.client.close)

    async def __aenter__(self) -> AsyncGammaClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def list_bundles(
        self,
        name: str | None = None,
        *,
        labels: str | None = None,
        requires: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        order_by: Order = "created_at",
        ascending: bool = False,
        all_namespaces: bool = False,
    ) -> list[BundleRecord]:
        return await _awaited(
            self.client.list_bundles,
            name,
            labels=labels,
            requires=requires,
            limit=limit,
            offset=offset,
            order_by=order_by,
            ascending=ascending,
            all_namespaces=all_namespaces,
        )

    async def list_services(
        self, search: str = "", *, limit: int | None = None, offset: int = 0, all_namespaces: bool = False
    ) -> list[ServiceRecord]:
        return await _awaited(
            self.client.list_services, search, limit=limit, offset=offset, all_namespaces=all_namespaces
        )

    async def get(self, bundle: str) -> BundleRecord:
        return await _awaited(self.client.get, bundle)

    async def fetch(self, bundle: str) -> Path:
        return await _awaited(self.client.fetch, bundle)

    async def load(self, bundle: str) -> DeclaredService:
        return await _awaited(self.client.load, bundle)

    async def retrieve(self, bundle: str, target_dir: str | os.PathLike[str] | None = None) -> Path:
        return await _awaited(self.client.retrieve, bundle, target_dir)

    async def compare(self, before: str, after: str) -> BundleDifference:
        return await _awaited(self.client.compare, before, after)

    async def set_labels(self, bundle: str, changes: Mapping[str, str | None]) -> BundleRecord:
        return await _awaited(self.client.set_labels, bundle, changes)

    async def aliases(self, name: str) -> list[Alias]:
        return await _awaited(self.client.aliases, name)

    async def set_alias(self, bundle: str, alias: str, *, expect: str | None = None) -> AliasChange:
        return await _awaited(self.client.set_alias, bundle, alias, expect=expect)

    async def delete_alias(self, bundle: str, *, expect: str | None = None) -> AliasChange:
        return await _awaited(self.client.delete_alias, bundle, expect=expect)

    async def alias_history(self, bundle: str) -> list[AliasChange]:
        return await _awaited(self.client.alias_history, bundle)

    async def roll_back_alias(self, name: str, alias: str, *, dry_run: bool = False) -> Rollback:
        return await _awaited(self.client.roll_back_alias, name, alias, dry_run=dry_run)

    async def push(self, bundle: str | os.PathLike[str]) -> BundleRecord:
        return await _awaited(self.client.push, bundle)

    async def pull(self, bundle: str) -> Path:
        return await _awaited(self.client.pull, bundle)

    async def delete(self, *named: str, force: bool = False) -> list[Tag]:
        return await _awaited(self.client.delete, *named, force=force)

    async def forget(self, *tags: str) -> list[Tag]:
        return await _awaited(self.client.forget, *tags)

    async def export(self, bundle: str, file: str | os.PathLike[str] | None = None) -> Path:
        return await _awaited(self.client.export, bundle, file)

    async def import_archive(self, file: str | os.PathLike[str]) -> BundleRecord:
        return await _awaited(self.client.import_archive, file)

    async def prune(
        self,
        name: str | None = None,
        *,
        keep: int | None = None,
        older_than: timedelta | None = None,
        labels: str | None = None,
        dry_run: bool = True,
    ) -> Pruning:
        return await _awaited(self.client.prune, name, keep=keep, older_than=older_than, labels=labels, dry_run=dry_run)

    async def collect_garbage(self, *, grace: timedelta = timedelta(days=1), dry_run: bool = True) -> Garbage:
        return await _awaited(self.client.collect_garbage, grace=grace, dry_run=dry_run)
