"""The registry itself: bundles in a storage, and their records in a database, behind the operations of `Registry`."""

from __future__ import annotations

__all__: list[str] = []
