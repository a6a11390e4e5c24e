"""Where the bytes of bundles are kept: what every kind of storage offers to the service that keeps the records."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from kappa.spec.manifest import BundleManifest
from kappa.tag import Tag

__all__ = ["BundleStorage"]


class BundleStorage(Protocol):
    """Whole bundles by their tags; a version never changes."""

    @property
    def location(self) -> str:
        """Where it is, for messages."""

    @property
    def why_read_only(self) -> str:
        """Why bundles can be read here and not changed; empty if they can be changed."""

    def exists(self) -> bool:
        """Return whether anything was ever kept here; asking makes nothing."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other processes from changing bundles and their records; raises `GammaError` where it is read-only."""

    def staging(self) -> AbstractContextManager[Path]:
        """Yield an empty directory to build in; what is left there is removed."""

    def put(self, staged: Path, manifest: BundleManifest) -> str:
        """Take the complete bundle ``staged`` from such a directory; return its URI, which `fetch` takes.

        A bundle of the same tag stays as it is: fine if it has the same bytes, `DestinationExistsError` if not.
        """

    def fetch(self, uri: str) -> Path:
        """Return a directory that holds a bundle."""

    def remove(self, tag: Tag) -> Callable[[], None] | None:
        """Make a bundle invisible in one step; return what frees its room, or ``None`` if it is not there."""
