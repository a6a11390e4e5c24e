"""The record of a bundle, read from the bundle itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from kappa.gamma.protocols.registry import BundleFile
from kappa.spec.manifest import BundleManifest
from kappa.spec.pins import pins_of
from kappa.spec.store import BundleRecord
from kappa.spec.views import metadata_view
from kappa.tag import DEFAULT_NAMESPACE, Tag

__all__ = ["record_of", "record_of_contents"]


def record_of(
    directory: Path, manifest: BundleManifest, *, uri: str, namespace: str = DEFAULT_NAMESPACE
) -> BundleRecord:
    """Return the record of the bundle in ``directory``, which is kept at ``uri``."""
    try:
        lock = (directory / manifest.env.lock).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        lock = ""  # `kappa verify` reports it; a bundle without its lock can still be found and deleted
    size_bytes = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    return _record(manifest, replace(manifest.tag, namespace=namespace), lock=lock, uri=uri, size_bytes=size_bytes)


def record_of_contents(
    manifest: BundleManifest, tag: Tag, files: Iterable[BundleFile], *, lock: str, uri: str
) -> BundleRecord:
    """Return the record of a bundle of ``files`` that will be kept at ``uri``; ``lock`` is the text of its lock."""
    return _record(manifest, tag, lock=lock, uri=uri, size_bytes=sum(file.size_bytes for file in files))


def _record(manifest: BundleManifest, tag: Tag, *, lock: str, uri: str, size_bytes: int) -> BundleRecord:
    return BundleRecord(
        tag=tag,
        created_at=datetime.fromisoformat(manifest.created_at.replace("Z", "+00:00")),
        uri=uri,
        kappa_version=manifest.kappa_version,
        content_digest=manifest.content_digest,
        bundle_digest=manifest.bundle_digest,
        size_bytes=size_bytes,
        view=metadata_view(manifest),
        labels=dict(manifest.labels),
        packages=tuple((pin.name, pin.version) for pin in pins_of(lock)),
    )
