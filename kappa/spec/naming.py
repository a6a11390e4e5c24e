"""What a key is called elsewhere: a mark in the type of its field."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AlsoCalled"]


@dataclass(frozen=True, slots=True)
class AlsoCalled:
    """Other words for a key, with blanks between them."""

    words: str = ""
    """Words of other tools: a message says what Kappa calls it."""
    former: str = ""
    """Names that it had: decorators still take them, and a message says what it is called now."""
    anywhere: bool = False
    """Whether the words mean this key in every table, and not only where it belongs."""
