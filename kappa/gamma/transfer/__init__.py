"""Bundles on their way, as a client moves them: to a registry, from it, into the cache, as archives."""

from __future__ import annotations

__all__: list[str] = []
