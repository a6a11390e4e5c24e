"""The records of Gamma: its tables, their migrations, and every statement, on a connection of the caller's."""

from __future__ import annotations

__all__: list[str] = []
