"""What the store holds: listed, shown, verified and deleted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kappa import gamma
from kappa.actions.failures import failing_writes_explained
from kappa.actions.targets import find_bundle, local_store, stored_tags
from kappa.errors import BundleError, UsageError
from kappa.labels import parse_selector
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


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """What the registry knows of a bundle, and where it is."""

    record: gamma.BundleRecord
    directory: Path

    @property
    def view(self) -> dict[str, Any]:
        """The whole record, as `kappa get` prints it."""
        return bundle_view(self.record.view, uri=str(self.directory))


def list_bundles(
    *,
    name: str | None = None,
    selector: str | None = None,
    limit: int | None = None,
    offset: int = 0,
    order_by: Literal["created_at", "name"] = "created_at",
    ascending: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> list[StoredBundle]:
    """List the bundles of the store, or of one service, that a label selector chooses.

    Raises `UsageError` for a selector that cannot be read, `BundleNotFoundError` for a name that has no bundle at all.
    """
    requirements = parse_selector(selector) if selector is not None else ()
    store = local_store(environ)
    found = store.list_bundles(
        name=name, selector=requirements, limit=limit, offset=offset, order_by=order_by, ascending=ascending
    )
    if not found and name is not None:
        store.find(BundleReference.parse(name))
    return [StoredBundle(record, store.path_of(record)) for record in found]


def bundle_record(text: str, *, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the whole record of one bundle, wherever it is."""
    bundle = find_bundle(text, environ=environ).bundle
    return bundle_view(metadata_view(bundle.manifest), uri=str(bundle.directory))


def bundles_to_delete(
    targets: Sequence[str], *, selector: str | None, everything: bool, environ: Mapping[str, str] = os.environ
) -> list[StoredBundle]:
    """Return the stored bundles that a user names for deletion; nothing is deleted.

    A target is one bundle; a name alone means all its versions, and only together with ``selector`` or ``everything``.
    Raises `UsageError` or `BundleNotFoundError`.
    """
    chosen = selector is not None or everything
    if not targets:
        return list_bundles(selector=selector, environ=environ) if chosen else []
    found: dict[Tag, StoredBundle] = {}
    for target in targets:
        reference = BundleReference.parse(target)
        if target == reference.name:
            if not chosen:
                raise UsageError(
                    f"`{target}` names every version of a service: say `{target} --all` for all of them, "
                    f"`{target}:latest` for the newest, or name a version."
                )
            named = list_bundles(name=reference.name, selector=selector, environ=environ)
        else:
            place = local_store(environ).find(reference)
            named = [one for one in list_bundles(name=reference.name, environ=environ) if one.directory == place]
        found.update({one.record.tag: one for one in named})
    return list(found.values())


def delete_bundles(tags: Sequence[Tag], *, environ: Mapping[str, str] = os.environ) -> list[Tag]:
    """Delete bundles from the store and return those that were there."""
    with failing_writes_explained("The store"):
        return local_store(environ).delete(tags)


@dataclass(frozen=True, slots=True)
class Verified:
    """What a comparison of a bundle's files with its digests found."""

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
