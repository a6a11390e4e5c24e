"""The migrations of the store's tables, as scripts of Alembic."""

from __future__ import annotations

__all__: list[str] = []
