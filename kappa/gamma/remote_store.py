"""A store whose bundles are in a registry elsewhere, and come to this machine's cache when they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kappa.errors import BundleError, GammaUnreachableError
from kappa.gamma.protocols.registry import Commit, Registry
from kappa.gamma.transfer.cache import BundleCache
from kappa.gamma.transfer.fetching import fetch_bundle
from kappa.gamma.transfer.sending import send_bundle
from kappa.gamma.transfer.sources import RegistrySource, open_source
from kappa.gamma.transfer.streams import Progress, new_operation
from kappa.log import log
from kappa.services.bundle import Bundle, open_bundle
from kappa.spec.manifest import BundleManifest
from kappa.spec.store import Alias, AliasChange, BundleRecord, Query
from kappa.tag import DEFAULT_NAMESPACE, BundleReference, Tag

__all__ = ["RemoteStore"]

_ALL = Query()
_URI_TYPES = {"s3": "S3", "gs": "GCS", "az": "AZURE", "file": "LOCAL"}


@dataclass(frozen=True)
class RemoteStore:
    """A `Store` over any `Registry`, with a verified cache."""

    registry: Registry
    cache: BundleCache
    on_progress: Progress | None = None

    # -- reading

    def resolve(self, reference: BundleReference) -> BundleRecord:
        """Return the bundle that ``reference`` means; raises `BundleNotFoundError` that says what there is."""
        record = self.registry.resolve(reference)
        if reference.digest is not None and not record.bundle_digest.startswith(reference.digest):
            raise BundleError(f"`{self.registry.location}` answers for `{reference}` with {record.bundle_digest}.")
        return record

    def find(self, reference: BundleReference) -> Path:
        """Return a directory that holds what ``reference`` means, fetched if it is not in the cache.

        The registry is asked which bundle a reference means. Where it is away, an exact version or digest that is in
        the cache is good enough, with a warning; raises `GammaUnreachableError` for everything else.
        """
        try:
            return self.path_of(self.resolve(reference))
        except GammaUnreachableError as exc:
            if (directory := self._cached(reference)) is None:
                raise
            log(f"{exc} `{reference}` comes from the cache of this machine.", kind="warning")
            return directory

    def list_bundles(self, query: Query = _ALL) -> list[BundleRecord]:
        """Return the bundles that a query selects, in its order."""
        return self.registry.list_bundles(query)

    def path_of(self, record: BundleRecord) -> Path:
        """Return a directory that holds the bundle of a record, fetched if it is not in the cache."""
        directory = self.cache.find(record.bundle_digest)
        if directory is None:
            log(f"Fetching `{record.tag}` from `{self.registry.location}`.", kind="step")
            with self.cache.staging() as staging:
                fetch_bundle(self.registry, record, staging / "bundle", on_progress=self.on_progress)
                directory = self.cache.put(staging / "bundle", record.bundle_digest)
        self.cache.remember(self.registry.location, record.tag, record.bundle_digest)
        return directory

    def address_of(self, record: BundleRecord) -> tuple[str, str]:
        """Return the address that the server gives a bundle, and which kind of place that is."""
        scheme, separator, _ = record.uri.partition("://")
        if separator:
            return _URI_TYPES.get(scheme, scheme.upper()), record.uri
        return "GAMMA", f"{self.registry.location}/{record.uri}"

    def has(self, tag: Tag) -> bool:
        """Return whether a version exists."""
        return bool(self.registry.list_bundles(Query(tag.name, tag.version, namespace=tag.namespace, limit=1)))

    def manifest_of(self, record: BundleRecord) -> BundleManifest:
        """Return the manifest of a bundle, without fetching the rest; raises `BundleError` for a broken one."""
        return self.source_of(record).manifest

    def source_of(self, record: BundleRecord) -> RegistrySource:
        """Return a bundle whose files are read one by one."""
        return open_source(self.registry, record)

    def _cached(self, reference: BundleReference) -> Path | None:
        if reference.version is not None:
            tag = Tag(reference.name, reference.version, reference.namespace)
            digest = self.cache.digest_of(self.registry.location, tag)
            return None if digest is None else self.cache.find(digest)
        is_whole = reference.digest is not None and len(reference.digest) == len("sha256:") + 64
        return self.cache.find(reference.digest) if is_whole and reference.digest is not None else None

    # -- writing

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty directory to build in; what is left there is removed."""
        with self.cache.staging() as staging:
            yield staging

    def put(self, staged: Path, manifest: BundleManifest, *, namespace: str = DEFAULT_NAMESPACE) -> Path:
        """Send the complete bundle ``staged`` from such a directory, keep it in the cache, and return where it is."""
        self.send(open_bundle(staged), namespace=namespace)
        return self.cache.put(staged, manifest.bundle_digest)

    def send(self, bundle: Bundle, *, namespace: str = DEFAULT_NAMESPACE) -> Commit:
        """Send a bundle from any directory, which stays as it is; raises `BundleError` that lists what was changed.

        Its code and its names are compared with the manifest before, and each file that moves by the registry. Files
        that the registry has already are not read.
        """
        bundle.verify_code()
        try:
            commit = send_bundle(self.registry, bundle, namespace=namespace, on_progress=self.on_progress)
        except BundleError:
            bundle.verify()
            raise
        self.cache.remember(self.registry.location, commit.record.tag, bundle.manifest.bundle_digest)
        return commit

    def delete(self, tags: Sequence[Tag], *, force: bool = False) -> list[Tag]:
        """Delete bundles and return those that were there.

        A tag that an alias names raises `GammaError` unless ``force``, and then nothing is deleted.
        """
        return self.registry.delete(tags, force=force, operation=new_operation())

    def close(self) -> None:
        """Close the connections to the registry; nothing can be asked after that."""
        self.registry.close()

    # -- labels and aliases

    def set_labels(self, tag: Tag, changes: Mapping[str, str | None]) -> BundleRecord:
        """Set labels of a bundle, and remove those whose value is ``None``; raises `BundleNotFoundError`."""
        return self.registry.set_labels(tag, changes, operation=new_operation())

    def aliases(self, name: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[Alias]:
        """Return the aliases of a service, by alias."""
        return self.registry.aliases(name, namespace=namespace)

    def set_alias(self, tag: Tag, alias: str, *, expect: str | None = None) -> AliasChange:
        """Let an alias name a version; with ``expect``, only if it names that one now (``""``: none)."""
        return self.registry.set_alias(tag, alias, expect=expect, operation=new_operation())

    def delete_alias(
        self, name: str, alias: str, *, namespace: str = DEFAULT_NAMESPACE, expect: str | None = None
    ) -> AliasChange:
        """Remove an alias; raises `BundleNotFoundError` where there is none."""
        return self.registry.delete_alias(name, alias, namespace=namespace, expect=expect, operation=new_operation())

    def alias_history(self, name: str, alias: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[AliasChange]:
        """Return the changes of an alias, the newest first."""
        return self.registry.alias_history(name, alias, namespace=namespace)
