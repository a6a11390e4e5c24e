"""The bundles of the store: listed, shown, labelled, compared, verified and deleted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from kappa import gamma
from kappa.actions.failures import failing_writes_explained
from kappa.actions.stores import (
    bundle_store,
    default_namespace,
    gamma_url,
    local_environment,
    local_store,
    reference_of,
    resolved,
)
from kappa.actions.targets import find_bundle, names_path, stored_tags
from kappa.errors import BundleError, BundleNotFoundError, UsageError
from kappa.labels import Requirement, checked_changes, label_words
from kappa.spec.store import Alias, AliasChange, BundleRecord, Query, Store
from kappa.spec.views import bundle_view, metadata_view
from kappa.tag import Tag

__all__ = [
    "StoredBundle",
    "Verified",
    "alias_history",
    "aliases_of",
    "bundle_record",
    "bundles_to_delete",
    "bundles_to_forget",
    "delete_alias",
    "delete_bundles",
    "difference_of",
    "exact_tags",
    "forget_tags",
    "label_bundle",
    "list_bundles",
    "parse_label_changes",
    "plan_pruning",
    "roll_back_alias",
    "set_alias",
    "verify_bundles",
]


_ALL = Query()


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """The record of a bundle, and where it is."""

    record: BundleRecord
    uri: str
    """Its folder, or the address that its server gives."""
    uri_type: str = "LOCAL"

    @property
    def view(self) -> dict[str, Any]:
        """The whole record, as `kappa get` prints it, with the labels and aliases that it has now."""
        metadata = {**self.record.view, "labels": dict(self.record.labels)}
        view = bundle_view(metadata, uri=self.uri, uri_type=self.uri_type)
        return {**view, "aliases": list(self.record.aliases)} if self.record.aliases else view


def list_bundles(query: Query = _ALL, *, environ: Mapping[str, str] = os.environ) -> list[StoredBundle]:
    """List the bundles of the store that a query selects.

    Raises `BundleNotFoundError` for a name that has no bundle at all.
    """
    store = bundle_store(environ)
    records = store.list_bundles(query)
    if not records and query.name is not None:
        resolved(store, reference_of(f"{query.namespace}/{query.name}"), environ)
    return [_stored(store, record) for record in records]


def _stored(store: Store, record: BundleRecord) -> StoredBundle:
    uri_type, uri = store.address_of(record)
    return StoredBundle(record, uri, uri_type)


def bundle_record(text: str, *, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the whole record of one bundle, wherever it is."""
    if names_path(text):
        bundle = find_bundle(text, environ=environ).bundle
        return bundle_view(metadata_view(bundle.manifest), uri=str(bundle.directory))
    store = bundle_store(environ)
    return _stored(store, resolved(store, reference_of(text, environ), environ)).view


def bundles_to_delete(
    targets: Sequence[str], query: Query | None = None, *, environ: Mapping[str, str] = os.environ
) -> list[StoredBundle]:
    """Return the stored bundles that a user names for deletion; nothing is deleted.

    A target is one bundle; a name alone means its versions that ``query`` selects. Without targets the query selects,
    and without both there is nothing. Raises `UsageError` or `BundleNotFoundError`.
    """
    if not targets:
        return list_bundles(query, environ=environ) if query is not None else []
    store = bundle_store(environ)
    chosen: dict[Tag, StoredBundle] = {}
    for target in targets:
        reference = reference_of(target, environ)
        if target.removeprefix("gamma:") in (reference.name, f"{reference.namespace}/{reference.name}"):
            if query is None:
                raise UsageError(
                    f"`{target}` names every version of a service: say `{target} --all` for all of them, "
                    f"`{target}:latest` for the newest, or name a version."
                )
            of_name = replace(query, name=reference.name, namespace=reference.namespace)
            named = list_bundles(of_name, environ=environ)
        else:
            named = [_stored(store, resolved(store, reference, environ))]
        chosen.update({stored.record.tag: stored for stored in named})
    return list(chosen.values())


def delete_bundles(tags: Sequence[Tag], *, force: bool = False, environ: Mapping[str, str] = os.environ) -> list[Tag]:
    """Delete bundles from the store and return those that were there.

    Raises `GammaError` where an alias names one, unless ``force``; then nothing is deleted.
    """
    with failing_writes_explained("The store"):
        return bundle_store(environ).delete(tags, force=force)


def bundles_to_forget(
    targets: Sequence[str], query: Query | None = None, *, environ: Mapping[str, str] = os.environ
) -> tuple[list[StoredBundle], list[Tag]]:
    """Return the stored bundles that a user names for deletion, as `bundles_to_delete`, and the tags to free then.

    These are theirs, and those of targets that were deleted before. Raises `UsageError` where a Gamma server is
    configured: that frees no tag for its clients.
    """
    if (url := gamma_url(environ)) is not None:
        raise UsageError(
            f"The Gamma server `{url}` frees no tag for its clients. Who runs it does so on its host: `kappa delete "
            "NAME:VERSION --forget --db-url URL`, with the server's own `--db-url`."
        )
    bundles: dict[Tag, StoredBundle] = {}
    tags: dict[Tag, None] = {}
    named = [_named_or_deleted((target,), query, environ) for target in targets]
    for stored, deleted in named or [_named_or_deleted((), query, environ)]:
        bundles.update({bundle.record.tag: bundle for bundle in stored})
        tags.update(dict.fromkeys((*(bundle.record.tag for bundle in stored), *deleted)))
    return list(bundles.values()), list(tags)


def _named_or_deleted(
    targets: Sequence[str], query: Query | None, environ: Mapping[str, str]
) -> tuple[list[StoredBundle], list[Tag]]:
    try:
        return bundles_to_delete(targets, query, environ=environ), []
    except BundleNotFoundError:
        references = [reference_of(target, environ) for target in targets]
        tags = [Tag(name.name, name.version, name.namespace) for name in references if name.version is not None]
        if not tags:
            raise
        return [], tags


def exact_tags(targets: Sequence[str], *, environ: Mapping[str, str] = os.environ) -> list[Tag]:
    """Return the tags that are written as `Name:version`; raises `UsageError` for any other reference."""
    tags = []
    for target in targets:
        reference = reference_of(target, environ)
        if reference.version is None:
            raise UsageError(f"`{target}` names no version: write `{reference.name}:<version>`, as it was deleted.")
        tags.append(Tag(reference.name, reference.version, reference.namespace))
    return tags


def forget_tags(
    tags: Sequence[Tag], *, db_url: str | None = None, environ: Mapping[str, str] = os.environ
) -> list[Tag]:
    """Free the tags of deleted bundles, so that other bytes may have them, and return them.

    They are those of the store of this machine, or with ``db_url`` of the Gamma server that has this database. Raises
    `BundleNotFoundError` for tags that were not reserved; the others are free then.
    """
    with failing_writes_explained("The store"):
        freed = local_store(environ).forget(tags) if db_url is None else gamma.forget_reserved(db_url, tags)
    if absent := [f"`{tag}`" for tag in tags if tag not in freed]:
        raise BundleNotFoundError(f"Nothing is reserved for {', '.join(absent)}: no such bundle was deleted.")
    return freed


def plan_pruning(
    name: str | None,
    *,
    keep: int | None = None,
    older_than: timedelta | None = None,
    labels: tuple[Requirement, ...] = (),
    environ: Mapping[str, str] = os.environ,
) -> gamma.Pruning:
    """Return which versions of a service, or of every service of the namespace, are superfluous.

    `kappa.gamma.retention` has the rules. Raises `BundleNotFoundError` for a name that has no bundle at all.
    """
    query = Query(selector=labels, namespace=default_namespace(environ))
    store = bundle_store(environ)
    if name is not None:
        reference = reference_of(name, environ)
        if reference.version is not None or reference.digest is not None:
            raise UsageError(f"`{name}` is more than the name of a service: `kappa delete {name}` deletes one bundle.")
        query = replace(query, name=reference.name, namespace=reference.namespace)
        resolved(store, reference, environ)
    return gamma.plan_pruning(store, query, now=datetime.now(timezone.utc), keep=keep, older_than=older_than)


# -- labels and aliases


def label_bundle(
    text: str, changes: Mapping[str, str | None], *, environ: Mapping[str, str] = os.environ
) -> StoredBundle:
    """Set labels of one bundle, remove those whose value is ``None``, and return it as it is then."""
    store = bundle_store(environ)
    tag = resolved(store, reference_of(text, environ), environ).tag
    return _stored(store, store.set_labels(tag, changes))


def parse_label_changes(words: Sequence[str]) -> dict[str, str | None]:
    """Read ``key=value`` or ``key:value`` to set a label and ``key-`` to remove one; raises `UsageError`."""
    changes: dict[str, str | None] = {}
    for word, value in label_words(words):
        if value is None and not word.endswith("-"):
            raise UsageError(
                f"`{word}` is not a change of a label: write `{word or 'key'}=<value>` to set it, "
                f"`{word or 'key'}-` to remove it."
            )
        key = word if value is not None else word[:-1]
        change = checked_changes({key: value})
        if key in changes:
            raise UsageError(f"The label `{key}` is given twice.")
        changes |= change
    return changes


def aliases_of(text: str, *, environ: Mapping[str, str] = os.environ) -> list[Alias]:
    """Return the aliases of a service, or of one of its versions; raises `BundleNotFoundError` where it has none."""
    store, reference = bundle_store(environ), reference_of(text, environ)
    record = resolved(store, reference, environ)
    aliases = store.aliases(reference.name, namespace=reference.namespace)
    is_one = reference.version is not None or reference.digest is not None
    return [alias for alias in aliases if not is_one or alias.version == record.tag.version]


def set_alias(
    text: str, alias: str, *, expect: str | None = None, environ: Mapping[str, str] = os.environ
) -> AliasChange:
    """Let an alias name the version that ``text`` means; with ``expect``, only if it names that one now."""
    store = bundle_store(environ)
    return store.set_alias(resolved(store, reference_of(text, environ), environ).tag, alias, expect=expect)


def delete_alias(text: str, *, expect: str | None = None, environ: Mapping[str, str] = os.environ) -> AliasChange:
    """Remove the alias that ``text`` names as ``Name:alias``; raises `BundleNotFoundError` where there is none."""
    name, alias, namespace = _alias_in(text, environ)
    return bundle_store(environ).delete_alias(name, alias, namespace=namespace, expect=expect)


def alias_history(text: str, *, environ: Mapping[str, str] = os.environ) -> list[AliasChange]:
    """Return the changes of the alias that ``text`` names as ``Name:alias``, the newest first."""
    name, alias, namespace = _alias_in(text, environ)
    return bundle_store(environ).alias_history(name, alias, namespace=namespace)


def roll_back_alias(
    name: str, alias: str, *, dry_run: bool = False, environ: Mapping[str, str] = os.environ
) -> gamma.Rollback:
    """Let an alias of a service name the version again that it named before, or with ``dry_run`` say only which."""
    return gamma.roll_back(bundle_store(environ), reference_of(name, environ), alias, dry_run=dry_run)


def _alias_in(text: str, environ: Mapping[str, str]) -> tuple[str, str, str]:
    reference = reference_of(text, environ)
    if reference.version is None:
        raise UsageError(f"`{text}` names no alias: write `{reference.name}:<alias>`.")
    return reference.name, reference.version, reference.namespace


# -- comparing


def difference_of(before: str, after: str, *, environ: Mapping[str, str] = os.environ) -> gamma.BundleDifference:
    """Compare two bundles; of one on a server only the files that are compared are fetched."""
    return gamma.compare_bundles(_source(before, environ), _source(after, environ))


def _source(text: str, environ: Mapping[str, str]) -> gamma.BundleSource:
    """Return a bundle to compare; that of a store has the labels that it has now."""
    if names_path(text):
        return gamma.DirectorySource.opened(find_bundle(text, environ=environ).bundle.directory)
    store = bundle_store(environ)
    record = resolved(store, reference_of(text, environ), environ)
    source: gamma.DirectorySource | gamma.RegistrySource
    if not isinstance(store, gamma.RemoteStore):
        source = gamma.DirectorySource.opened(store.path_of(record))
    elif (cached := store.cache.find(record.bundle_digest)) is not None:
        source = gamma.DirectorySource.opened(cached)
    else:
        source = store.source_of(record)
    return replace(source, manifest=source.manifest.model_copy(update={"labels": dict(record.labels)}))


# -- verifying


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
    """Compare every file of bundles with its digest; with ``everything``, of all in the store of this machine too."""
    yield from (_verified(target, environ) for target in targets)
    if everything:
        here = local_environment(environ)
        yield from (_verified(str(tag), here) for tag in stored_tags(environ))


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
