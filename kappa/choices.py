"""Choices that flags, settings and `[serving]` have in common."""

from __future__ import annotations

from typing import Literal

__all__ = ["ALL_MODELS", "BatchPlacement", "ExamplesUse"]

ALL_MODELS = "*"
"""In place of an artifact's name: each that a build can compile."""

ExamplesUse = Literal["gate", "warn", "skip"]
BatchPlacement = Literal["auto", "no-pause", "thread"]
