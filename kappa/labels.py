"""Labels, key/value pairs that identify a bundle or a deployment, and selectors, which choose among those.

A *selector* is one or several *requirements*, joined by commas, all of which must hold::

    framework=pytorch, stage!=test, team In (growth, core), platform NotIn (lambda), cohort Exists, cicd DoesNotExist

Only `DoesNotExist` selects what does not have the key: `!=` and `NotIn` need it, unlike in Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from kappa.errors import UsageError

__all__ = [
    "LABEL",
    "Operator",
    "Requirement",
    "check_label",
    "checked_changes",
    "label_words",
    "matches",
    "parse_labels",
    "parse_selector",
]

Operator = Literal["in", "notin", "exists", "doesnotexist"]

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""The grammar of a label's key and value."""


def check_label(text: object, *, part: str = "value") -> str:
    """Return ``text`` if it may be the key or value of a label: 1 to 63 characters, alphanumeric at both ends."""
    if not isinstance(text, str):
        raise ValueError(  # noqa: TRY004 - what is wrong with a value, whatever it is
            f"`{text!r}` cannot be the {part} of a label: labels are text, so write it in quotes"
        )
    if not LABEL.fullmatch(text):
        raise ValueError(
            f"`{text}` cannot be the {part} of a label: use 1 to 63 letters, digits, `-`, `_` and `.`, "
            "beginning and ending with a letter or a digit"
        )
    return text


def checked_changes(changes: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return changes of labels, of which ``None`` removes one; raises `UsageError` for what cannot be a label."""
    try:
        return {
            check_label(key, part="key"): None if value is None else check_label(value)
            for key, value in changes.items()
        }
    except ValueError as exc:
        raise UsageError(f"{exc}.") from None


def label_words(words: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the labels in words of a command line: ``key=value`` or ``key:value``, several joined by commas.

    A label without a value has ``None``. Neither part of a label can hold one of these signs.
    """
    for word in words:
        for text in word.split(","):
            key, sign, value = _PAIR.fullmatch(text.strip()).groups()  # type: ignore[union-attr]  # matches any text
            yield key, value if sign else None


_PAIR = re.compile(r"([^=:]*)(?:([=:])(.*))?", re.DOTALL)


def parse_labels(pairs: Iterable[str]) -> dict[str, str]:
    """Read labels as `label_words` does; raises `UsageError` for one without a value, or with two."""
    labels: dict[str, str] = {}
    for key, value in label_words(pairs):
        if value is None:
            raise UsageError(f"The label `{key}` has no value: write `{key or 'key'}=<value>`.")
        checked_changes({key: value})
        if labels.setdefault(key, value) != value:
            raise UsageError(f"The label `{key}` is given twice, as `{labels[key]}` and as `{value}`.")
    return labels


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement of a selector; `=` and `!=` are `in` and `notin` with one value."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Return whether something with these labels is selected."""
        if self.operator == "in":
            return labels.get(self.key) in self.values
        if self.operator == "notin":
            return self.key in labels and labels[self.key] not in self.values
        if self.operator == "exists":
            return self.key in labels
        return self.key not in labels


def matches(labels: Mapping[str, str], selector: Iterable[Requirement]) -> bool:
    """Return whether every requirement holds."""
    return all(requirement.holds(labels) for requirement in selector)


_PARTS = re.compile(r"[^,()]*(?:\([^()]*\))?[^,()]*")
_EQUALITY = re.compile(r"(?P<key>[^=!\s()]+)\s*(?P<sign>!?=)\s*(?P<value>[^=!\s()]*)")
_SET = re.compile(r"(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)", re.IGNORECASE)
_PRESENCE = re.compile(r"(?P<key>[^\s()=!]+)(?:\s+(?P<operator>exists|doesnotexist))?", re.IGNORECASE)
_WORDS = frozenset({"in", "notin", "exists", "doesnotexist"})


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """Read a selector; raises `UsageError` that shows the part at fault and its column, counted from 1."""
    try:
        return tuple(_placed_requirement(part, begin) for part, begin in _split(text))
    except _SelectorError as exc:
        raise UsageError(
            f"The label selector `{text}` cannot be read at column {exc.column}: {exc}. Requirements are `key=value`, "
            "`key!=value`, `key In (a, b)`, `key NotIn (a, b)`, `key Exists` and `key DoesNotExist`, joined by commas."
        ) from None


class _SelectorError(ValueError):
    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


def _split(text: str) -> Iterator[tuple[str, int]]:
    """Yield the parts between commas that stand outside of parentheses, and where each begins."""
    position = 0
    while True:
        match = _PARTS.match(text, position)
        whole = match[0] if match else ""
        part = whole.strip()
        begin = position + len(whole) - len(whole.lstrip())
        position += len(whole)
        if not part:
            raise _SelectorError("a requirement is empty" if text.strip() else "it is empty", begin + 1)
        yield part, begin
        if position == len(text):
            return
        if text[position] != ",":
            raise _SelectorError(f"`{text[position]}` is not expected after `{part}`", position + 1)
        position += 1


def _placed_requirement(part: str, begin: int) -> Requirement:
    try:
        return _requirement(part)
    except ValueError as exc:
        raise _SelectorError(str(exc), begin + 1) from None


def _requirement(part: str) -> Requirement:
    if match := _SET.fullmatch(part):
        values = tuple(value.strip() for value in match["values"].split(","))
        operator: Operator = "in" if match["operator"].lower() == "in" else "notin"
        return Requirement(_key(match["key"]), operator, tuple(check_label(value) for value in values))
    if match := _EQUALITY.fullmatch(part):
        return Requirement(
            _key(match["key"]), "in" if match["sign"] == "=" else "notin", (check_label(match["value"]),)
        )
    if match := _PRESENCE.fullmatch(part):
        is_absence = (match["operator"] or "").lower() == "doesnotexist"
        return Requirement(_key(match["key"]), "doesnotexist" if is_absence else "exists")
    raise ValueError(f"`{part}` is not a requirement")


def _key(text: str) -> str:
    if text.lower() in _WORDS:
        raise ValueError(f"`{text}` has no key before it")
    return check_label(text, part="key")
