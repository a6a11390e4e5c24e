"""The results of reading a class from its source: its declaration, a problem, or that only importing it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kappa.build.manifest.positions import Span, TreePath
from kappa.spec.service import ServiceSpec

__all__ = ["ClassProblem", "Declaration", "Location", "Opaque"]


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the user's code."""

    file: Path
    span: Span


@dataclass(frozen=True, slots=True)
class Declaration:
    """The declaration of a class, and its location."""

    spec: ServiceSpec
    location: Location
    """Where the class is defined."""
    places: Mapping[TreePath, Location] = field(default_factory=dict)
    """Where the decorators set a key, by its path in a kappafile; others are at ``location``."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Only importing the class can tell what it declares."""

    why: str
    location: Location


@dataclass(frozen=True, slots=True)
class ClassProblem:
    """The class does not declare a service; ``location`` is where in its source."""

    message: str
    location: Location | None = None
    names: tuple[str, ...] = ()
    """The names that the module does define."""
    is_there: bool = False
    """Whether the mistake is at ``location``, and not in naming this class."""
