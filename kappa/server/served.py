"""What a process is told to serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kappa.services.bundle import load_bundle, open_bundle
from kappa.services.service import LoadedService
from kappa.spec.manifest import BundleManifest
from kappa.spec.service import ServiceSpec

__all__ = ["Served", "served_bundle"]


@dataclass(frozen=True, slots=True)
class Served:
    """A service that a process is told to serve: what is known of it before its code is imported."""

    spec: ServiceSpec
    version: str
    load: Callable[[], LoadedService]
    """Called once per process, in a thread; raises `KappaError`."""
    manifest: BundleManifest | None = None
    """``None`` for a project served without building."""
    directory: Path | None = None
    """Where the bundle is."""
    has_passed: bool = False
    """Whether it was ready before in this server: its examples, which others may make fail, are no gate any more."""


def served_bundle(directory: Path) -> Served:
    """Describe the bundle in a directory; reads its manifest and nothing else."""
    bundle = open_bundle(directory)
    manifest = bundle.manifest
    return Served(
        manifest.service, manifest.version, partial(load_bundle, bundle.directory), manifest, bundle.directory
    )
