"""Rows inside an object, as other servers take them, which is what clients that were written for these send."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kappa.errors import BadInputError

__all__ = ["refuse_wrapped"]

_WRAPPINGS = frozenset(
    {"data", "instances", "inputs", "input", "rows", "records", "dataframe_records", "dataframe_split", "dataframe"}
)
_COMPANIONS = frozenset({"params", "parameters", "signature_name", "id", "meta", "names", "outputs"})


def refuse_wrapped(body: dict[str, Any], rows: str, *, columns: Collection[str] = ()) -> None:
    """Refuse an object that is no table itself but holds the rows of one; ``rows`` is how rows are written here.

    A name in ``columns`` is that of a column, and so is one whose values are no rows.
    """
    named = [name for name in body if name in _WRAPPINGS and name not in columns]
    if len(named) != 1 or not body.keys() <= {named[0], *_COMPANIONS}:
        return
    held = body[named[0]]
    if isinstance(held, dict) and (named[0] != "data" or _holds_rows(held)):
        raise BadInputError(f"The request has `{named[0]}`; send what is in it by itself.")
    if isinstance(held, list) and held and isinstance(held[0], list | dict):
        raise BadInputError(f"The request has `{named[0]}`; send the rows themselves: `{rows}`.")


def _holds_rows(held: dict[str, Any]) -> bool:
    return any(isinstance(item, list) for item in held.values())
