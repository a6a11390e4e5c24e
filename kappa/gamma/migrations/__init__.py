"""The history of the registry's tables: Alembic's scripts, and how a database is brought to the newest."""

from __future__ import annotations

__all__: list[str] = []
