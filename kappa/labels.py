"""Labels: key/value pairs that identify a bundle or a deployment."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kappa.errors import UsageError

__all__ = ["LABEL", "check_label", "parse_labels"]

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""What a key and a value of a label may be."""


def check_label(text: str, *, what: str = "value") -> str:
    """Return ``text`` if it may be the key or value of a label: 1 to 63 characters, alphanumeric at both ends."""
    if not LABEL.fullmatch(text):
        raise ValueError(
            f"`{text}` cannot be the {what} of a label: use 1 to 63 letters, digits, `-`, `_` and `.`, "
            "beginning and ending with a letter or a digit"
        )
    return text


def parse_labels(pairs: Iterable[str]) -> dict[str, str]:
    """Read ``key=value`` words as given on a command line; raises `UsageError`."""
    labels: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"The label `{pair}` has no value: write `{pair}=<value>`.")
        try:
            check_label(key, what="key")
            check_label(value)
        except ValueError as exc:
            raise UsageError(f"{exc}.") from None
        if labels.setdefault(key, value) != value:
            raise UsageError(f"The label `{key}` is given twice, as `{labels[key]}` and as `{value}`.")
    return labels
