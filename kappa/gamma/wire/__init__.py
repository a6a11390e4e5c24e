"""What both sides of a door agree on: messages, failures, limits, and checks of what arrives."""

from __future__ import annotations

__all__: list[str] = []
