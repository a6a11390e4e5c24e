"""How messages are worded: whole sentences, the user's own words in backticks, lists as people say them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pydantic_core import ErrorDetails

from kappa.errors import printable
from kappa.secret_urls import masked

__all__ = ["explained", "known_names", "listed", "one_of", "quoted", "reason_of", "sentence", "size_of"]

_SIZES = ("B", "kB", "MB", "GB", "TB")
_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def quoted(value: object) -> str:
    """Return a value from the user's file as messages show it: short, printable, in backticks."""
    text = masked(printable(value if isinstance(value, str) else repr(value)), by="…")
    return f"`{text if len(text) <= 60 else text[:57] + '…'}`"


def sentence(text: str) -> str:
    """Make a whole sentence of a message that begins in lower case and ends without a full stop."""
    text = printable(text)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"


def one_of(words: Iterable[str], *, joined_by: str = "or") -> str:
    """Join words as a sentence does.

    >>> one_of(["a", "b", "c"])
    'a, b or c'
    """
    *most, last = list(words) or ["nothing"]
    return f"{', '.join(most)} {joined_by} {last}" if most else last


def listed(names: Iterable[str]) -> str:
    """Return names as messages show them, in backticks and with commas between."""
    return ", ".join(f"`{name}`" for name in names)


def known_names(names: Collection[str]) -> str:
    """List the known names in a sentence."""
    words = one_of((f"`{name}`" for name in names), joined_by="and")
    return f"Known {'is' if len(names) == 1 else 'are'} {words}."


def reason_of(error: ErrorDetails) -> str:
    """Return what a validator of Kappa's or pydantic itself says of a value."""
    return error["msg"].removeprefix("Value error, ")


def explained(error: ErrorDetails, subject: str) -> str:
    """Say in a sentence what pydantic found wrong with ``subject``, a key in backticks."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _LIMITS:
        words, limit = _LIMITS[kind]
        return f"{subject} must be {words} {context[limit]:g}, not {float(error['input']):.15g}."
    if kind == "literal_error":
        allowed = str(context["expected"]).replace("'", "`")
        return f"{subject} must be {allowed}, not {quoted(error['input'])}."
    if kind == "value_error":
        return sentence(reason_of(error))
    return f"{subject} is not right: {sentence(reason_of(error))}"


def size_of(size_bytes: int) -> str:
    """Return a size in the largest unit that leaves a whole number, to three digits: ``1.21 MB``."""
    size, unit = float(size_bytes), 0
    while size >= 1000 and unit < len(_SIZES) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {_SIZES[unit]}" if size < 999.5 or not unit else f"{size:.0f} {_SIZES[unit]}"
