"""The bundles of the store: listed, shown, verified and deleted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kappa.actions.failures import failing_writes_explained
from kappa.actions.targets import find_bundle, local_store, stored_tags
from kappa.errors import BundleError, UsageError
from kappa.spec.store import BundleRecord, Query
from kappa.spec.views import bundle_view, metadata_view
from kappa.tag import BundleReference, Tag

__all__ = [
    "StoredBundle",
    "Verified",
    "bundle_record",
    "bundles_to_delete",
    "delete_bundles",
    "list_bundles",
    "verify_bundles",
]


_ALL = Query()


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """The record of a bundle, and where it is."""

    record: BundleRecord
    directory: Path

    @property
    def view(self) -> dict[str, Any]:
        """The whole record, as `kappa get` prints it."""
        return bundle_view(self.record.view, uri=str(self.directory))


def list_bundles(query: Query = _ALL, *, environ: Mapping[str, str] = os.environ) -> list[StoredBundle]:
    """List the bundles of the store that a query selects.

    Raises `BundleNotFoundError` for a name that has no bundle at all.
    """
    store = local_store(environ)
    records = store.list_bundles(query)
    if not records and query.name is not None:
        store.find(BundleReference.parse(query.name))
    return [StoredBundle(record, store.path_of(record)) for record in records]


def bundle_record(text: str, *, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the whole record of one bundle, wherever it is."""
    bundle = find_bundle(text, environ=environ).bundle
    return bundle_view(metadata_view(bundle.manifest), uri=str(bundle.directory))


def bundles_to_delete(
    targets: Sequence[str], query: Query | None = None, *, environ: Mapping[str, str] = os.environ
) -> list[StoredBundle]:
    """Return the stored bundles that a user names for deletion; nothing is deleted.

    A target is one bundle; a name alone means its versions that ``query`` selects. Without targets the query selects,
    and without both there is nothing. Raises `UsageError` or `BundleNotFoundError`.
    """
    if not targets:
        return list_bundles(query, environ=environ) if query is not None else []
    chosen: dict[Tag, StoredBundle] = {}
    for target in targets:
        reference = BundleReference.parse(target)
        if target == reference.name:
            if query is None:
                raise UsageError(
                    f"`{target}` names every version of a service: say `{target} --all` for all of them, "
                    f"`{target}:latest` for the newest, or name a version."
                )
            named = list_bundles(replace(query, name=target), environ=environ)
        else:
            directory = local_store(environ).find(reference)
            versions = list_bundles(Query(name=reference.name), environ=environ)
            named = [stored for stored in versions if stored.directory == directory]
        chosen.update({stored.record.tag: stored for stored in named})
    return list(chosen.values())


def delete_bundles(tags: Sequence[Tag], *, environ: Mapping[str, str] = os.environ) -> list[Tag]:
    """Delete bundles from the store and return those that were there."""
    with failing_writes_explained("The store"):
        return local_store(environ).delete(tags)


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of comparing a bundle's files with its digests."""

    name: str
    directory: Path | None
    files: int = 0
    digest: str = ""
    problem: str | None = None

    def to_tree(self) -> dict[str, Any]:
        return {
            "bundle": self.name,
            "path": str(self.directory) if self.directory is not None else None,
            "files": self.files,
            "bundle_digest": self.digest or None,
            "ok": self.problem is None,
            "problem": self.problem,
        }


def verify_bundles(
    targets: Sequence[str], *, everything: bool = False, environ: Mapping[str, str] = os.environ
) -> Iterator[Verified]:
    """Compare every file of bundles with its digest; with ``everything``, of all that the store holds too."""
    stored = [str(tag) for tag in stored_tags(environ)] if everything else []
    for target in [*targets, *stored]:
        yield _verified(target, environ)


def _verified(target: str, environ: Mapping[str, str]) -> Verified:
    directory = None
    try:
        bundle = find_bundle(target, environ=environ).bundle
        directory = bundle.directory
        bundle.verify()
        if target.partition("@")[2] and not bundle.manifest.bundle_digest.startswith(target.partition("@")[2]):
            raise BundleError(f"The bundle in `{directory}` is not `{target}`: its digest is another one.")
    except BundleError as exc:
        return Verified(target, directory, problem=str(exc))
    manifest = bundle.manifest
    return Verified(str(manifest.tag), directory, len(manifest.files), manifest.bundle_digest)
