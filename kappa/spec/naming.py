"""Other names of a key: marks in the types of fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pydantic.fields import FieldInfo

__all__ = ["AlsoCalled", "Argument", "former_names", "mark_of"]

Mark = TypeVar("Mark", "AlsoCalled", "Argument")


@dataclass(frozen=True, slots=True)
class AlsoCalled:
    """Other words for a key, with blanks between them."""

    words: str = ""
    """Words of other tools: a message says what Kappa calls it."""
    former: str = ""
    """Names that it had: decorators still take them, and a message says what it is called now."""
    anywhere: bool = False
    """Whether the words mean this key in every table, and not only where it belongs."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A decorator's name for a key, where that differs."""

    name: str


def mark_of(kind: type[Mark], field: FieldInfo) -> Mark | None:
    """Return the mark of a kind that a field has."""
    return next((mark for mark in field.metadata if isinstance(mark, kind)), None)


def former_names(field: FieldInfo) -> list[str]:
    """Return the former names of a field."""
    mark = mark_of(AlsoCalled, field)
    return mark.former.split() if mark is not None else []
