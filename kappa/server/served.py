"""The services of a process, before they are loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kappa.services.service import LoadedService, load_service
from kappa.services.source import ServiceSource
from kappa.spec.manifest import BundleManifest
from kappa.spec.service import ServiceSpec

__all__ = ["Served"]


@dataclass(frozen=True, slots=True)
class Served:
    """A service before its code is imported."""

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

    @classmethod
    def of(cls, source: ServiceSource) -> Served:
        """Describe a service that each process of a server loads."""
        directory = source.bundle.directory if source.bundle is not None else None
        return cls(source.spec, source.version, partial(load_service, source), source.manifest, directory)
