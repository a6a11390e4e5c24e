"""The calls of a model that a service makes when it answers its examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Calls"]


@dataclass(slots=True)
class Calls:
    """How a service calls a model when it answers its examples."""

    made: list[tuple[str, str, Any]] = field(default_factory=list)
    """The example, the method and its argument."""
    failures: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Attributes that a compiled model has not."""
    methods: set[str] = field(default_factory=set)
    """The methods that the service is known to call."""
    example: str = ""
