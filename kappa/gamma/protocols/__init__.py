"""What the rooms of Gamma agree on: the operations of a registry, and what a storage of bundles offers to it."""

from __future__ import annotations

__all__: list[str] = []
