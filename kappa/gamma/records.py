"""The record of a bundle, read from the bundle itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from kappa.spec.manifest import BundleManifest
from kappa.spec.pins import pins_of
from kappa.spec.store import BundleRecord
from kappa.spec.views import metadata_view
from kappa.tag import DEFAULT_NAMESPACE

__all__ = ["record_of"]


def record_of(
    directory: Path, manifest: BundleManifest, *, uri: str, namespace: str = DEFAULT_NAMESPACE
) -> BundleRecord:
    """Return the record of the bundle in ``directory``, which is kept at ``uri``."""
    lock = directory / manifest.env.lock
    try:
        pins = tuple((pin.name, pin.version) for pin in pins_of(lock.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        pins = ()  # `kappa verify` reports it; a bundle without its lock can still be found and deleted
    return BundleRecord(
        tag=replace(manifest.tag, namespace=namespace),
        created_at=datetime.fromisoformat(manifest.created_at.replace("Z", "+00:00")),
        uri=uri,
        kappa_version=manifest.kappa_version,
        content_digest=manifest.content_digest,
        bundle_digest=manifest.bundle_digest,
        size_bytes=sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()),
        view=metadata_view(manifest),
        labels=dict(manifest.labels),
        packages=pins,
    )
