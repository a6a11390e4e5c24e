"""What each page shows, read through a `Registry` as its caller may use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from kappa.errors import BundleError
from kappa.gamma.protocols.registry import BundleFile, Registry
from kappa.gamma.service.comparison import compare_bundles
from kappa.gamma.transfer.sources import RegistrySource, open_source
from kappa.gamma.ui.charts import HEIGHT, WIDTH, metric_charts
from kappa.gamma.ui.rendering import render
from kappa.labels import parse_selector
from kappa.spec.manifest import BundleManifest
from kappa.spec.pins import pins_of
from kappa.spec.store import AliasChange, BundleRecord, Query
from kappa.tag import ALL_NAMESPACES, BundleReference, Tag

__all__ = ["bundle_page", "comparison_page", "error_page", "service_page", "services_page"]

PAGE = 50
"""How many rows a page has."""
_MOST_CHANGES = 20
_MOST_FILES = 500
_NEIGHBOURS = 200
_LARGEST_TEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one page of several."""

    rows: Sequence[Any]
    number: int
    has_more: bool

    @classmethod
    def of(cls, rows: Sequence[Any], number: int) -> _Part:
        """Make one of rows of which there is one more than fits, if there is another page."""
        return cls(rows[:PAGE], number, len(rows) > PAGE)


def services_page(registry: Registry, *, root: str, search: str = "", number: int = 1) -> str:
    """Return the services of all namespaces, the one built last first."""
    services = registry.list_services(search, namespace=ALL_NAMESPACES, limit=PAGE + 1, offset=(number - 1) * PAGE)
    info = registry.info()
    return render(
        "services", root=root, search=search, part=_Part.of(services, number), is_open=not info.has_authentication
    )


def service_page(registry: Registry, namespace: str, name: str, *, root: str, labels: str = "", number: int = 1) -> str:
    """Return the versions of a service, its aliases with their changes, and its metrics.

    Raises `BundleNotFoundError` where there is no version of it, and `UsageError` for a selector that is none.
    """
    latest = registry.resolve(BundleReference(name, namespace=namespace))
    query = Query(name=name, namespace=namespace, selector=parse_selector(labels) if labels.strip() else ())
    records = registry.list_bundles(replace(query, limit=PAGE + 1, offset=(number - 1) * PAGE))
    aliases = registry.aliases(name, namespace=namespace)
    return render(
        "service",
        root=root,
        namespace=namespace,
        name=name,
        latest=latest,
        labels=labels,
        part=_Part.of(records, number),
        aliases=aliases,
        changes=_changes(registry, namespace, name, [alias.alias for alias in aliases]),
        charts=metric_charts(records[:PAGE]),
        width=WIDTH,
        height=HEIGHT,
    )


def bundle_page(registry: Registry, reference: BundleReference, *, root: str) -> str:
    """Return what one version is; raises `BundleNotFoundError`."""
    record = registry.resolve(reference)
    source, problem = _opened(registry, record)
    files = list(source.files.values()) if source is not None else list(registry.files_of(record.tag))
    return render(
        "bundle",
        root=root,
        record=record,
        view=record.view,
        manifest=source.manifest if source is not None else None,
        problem=problem,
        packages=_packages(source),
        readme=_text(source, "README.md"),
        files=_largest_first(files)[:_MOST_FILES],
        file_count=len(files),
        before=_version_before(registry, record.tag),
    )


def comparison_page(registry: Registry, before: BundleReference, after: BundleReference, *, root: str) -> str:
    """Return what differs between two bundles; raises `BundleNotFoundError`, and `BundleError` for a broken one."""
    old, new = (registry.resolve(reference) for reference in (before, after))
    difference = compare_bundles(_with_labels(registry, old), _with_labels(registry, new))
    return render(
        "comparison",
        root=root,
        old=old,
        new=new,
        difference=difference,
        code={path: _marked(text) for path, text in difference.code.items()},
    )


def error_page(title: str, message: str, *, root: str, request_id: str) -> str:
    """Return why a page cannot be shown."""
    return render("error", root=root, title=title, message=message, request_id=request_id)


def _changes(registry: Registry, namespace: str, name: str, aliases: Sequence[str]) -> list[AliasChange]:
    """Return the last changes of the aliases that there are, the newest first."""
    histories = (registry.alias_history(name, alias, namespace=namespace)[:_MOST_CHANGES] for alias in aliases)
    return sorted(chain.from_iterable(histories), key=lambda change: change.changed_at, reverse=True)[:_MOST_CHANGES]


def _opened(registry: Registry, record: BundleRecord) -> tuple[RegistrySource | None, str]:
    """Return a bundle whose files can be read, or why it cannot be: its record is shown all the same."""
    try:
        return open_source(registry, record), ""
    except BundleError as exc:
        return None, str(exc)


def _packages(source: RegistrySource | None) -> list[tuple[str, str]]:
    lock = _text(source, source.manifest.env.lock) if source is not None else ""
    return sorted({(pin.name, pin.version) for pin in pins_of(lock)})


def _text(source: RegistrySource | None, path: str) -> str:
    """Return a text of a bundle; empty for one that is not there, too large or not text."""
    content = source.read(path, limit=_LARGEST_TEXT) if source is not None else None
    return (content or b"").decode(errors="replace")


def _largest_first(files: Sequence[BundleFile]) -> list[BundleFile]:
    return sorted(files, key=lambda file: (-file.size_bytes, file.path))


def _version_before(registry: Registry, tag: Tag) -> str:
    """Return the version that was built before this one; empty if that is not among the last ones."""
    query = Query(name=tag.name, namespace=tag.namespace, limit=_NEIGHBOURS)
    versions = [record.tag.version for record in registry.list_bundles(query)]
    after = versions[versions.index(tag.version) + 1 :] if tag.version in versions else []
    return after[0] if after else ""


def _with_labels(registry: Registry, record: BundleRecord) -> RegistrySource:
    """Open a bundle with the labels that it has now."""
    source = open_source(registry, record)
    manifest: BundleManifest = source.manifest.model_copy(update={"labels": dict(record.labels)})
    return RegistrySource(registry, record, source.files, manifest)


def _marked(diff: str) -> list[tuple[str, str]]:
    """Return the lines of a unified diff, each with what it is."""
    kinds = {"+": "added", "-": "removed", "@": "place"}
    lines = diff.splitlines()[2:]  # the names of the files are above it
    return [(kinds.get(line[:1], "same"), line) for line in lines]
