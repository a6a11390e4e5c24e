"""Choices that flags, settings and `[serving]` have in common."""

from __future__ import annotations

from typing import Literal

__all__ = ["BatchPlacement", "ExamplesUse"]

ExamplesUse = Literal["gate", "warn", "skip"]
BatchPlacement = Literal["auto", "no-pause", "thread"]
