"""Where the bytes of bundles are kept: what every kind of storage offers to the registry that keeps the records."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

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

    def remove(self, tag: Tag) -> Callable[[], None] | None:
        """Make a bundle invisible in one step; return what frees its room, or ``None`` if it is not there."""
