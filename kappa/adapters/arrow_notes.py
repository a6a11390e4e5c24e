"""pandas' metadata in an Arrow table: row labels, dtypes, and the names of the columns. They are untrusted; entries
that do not fit the table are ignored. See https://pandas.pydata.org/docs/development/developer.html.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Notes", "notes_of"]

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class Notes:
    """How the columns of a table make a frame."""

    places: tuple[int, ...]
    """Where in the table the frame's columns are."""
    names: tuple[Hashable, ...]
    """Their names."""
    index: tuple[int, ...] = ()
    """Where the columns are that label the rows."""
    index_names: tuple[str | None, ...] = ()
    rows: range | None = None
    """The labels of rows that are numbers in even steps."""
    dtypes: Mapping[int, str] = field(default_factory=dict)
    """The dtypes that columns had, by place."""
    levels: tuple[str | None, ...] = (None,)
    """The names of the columns' levels; more than one if the labels are tuples."""


def notes_of(table: Any) -> Notes:
    """Read the notes of a table."""
    texts: list[str] = table.column_names
    noted = _noted(table)
    columns = {
        entry["field_name"]: entry for entry in _tables_in(noted, "columns") if isinstance(entry.get("field_name"), str)
    }
    places = {text: at for at, text in enumerate(texts)}
    listed = noted.get("index_columns")
    listed = listed if isinstance(listed, list) else []
    index = [name for name in listed if isinstance(name, str) and name in places]
    index = index if len(set(index)) == len(index) else []
    rows, rows_name = _range_of(listed[0], len(table)) if len(listed) == 1 and not index else (None, None)
    kept = [at for at, text in enumerate(texts) if text not in index]
    levels = tuple(_text(entry.get("name")) for entry in _tables_in(noted, "column_indexes")) or (None,)
    return Notes(
        tuple(kept),
        _names([texts[at] for at in kept], noted, levels),
        tuple(places[name] for name in index),
        tuple(_text(columns[name].get("name")) if name in columns else None for name in index) or (rows_name,),
        rows,
        {places[name]: dtype for name, entry in columns.items() if name in places and (dtype := _dtype(entry))},
        levels,
    )


def _noted(table: Any) -> Mapping[str, Any]:
    try:
        noted = json.loads((table.schema.metadata or {})[b"pandas"])
    except (KeyError, ValueError, RecursionError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _tables_in(noted: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    entries = noted.get(key)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _dtype(entry: Mapping[str, Any]) -> str:
    return _text(entry.get("numpy_type")) or ""


def _range_of(index: Any, count: int) -> tuple[range | None, str | None]:
    if not isinstance(index, dict) or index.get("kind") != "range":
        return None, None
    with suppress(TypeError, ValueError, OverflowError):
        rows = range(index["start"], index["stop"], index["step"])
        if len(rows) == count:
            return rows, _text(index.get("name"))
    return None, None


def _names(texts: Sequence[str], noted: Mapping[str, Any], levels: Sequence[Any]) -> tuple[Hashable, ...]:
    """Return the labels of columns: integers or tuples where they were, which Arrow has only texts for."""
    kinds = [entry.get("pandas_type") for entry in _tables_in(noted, "column_indexes")]
    if kinds == ["int64"] and all(map(_INTEGER.fullmatch, texts)):
        return tuple(map(int, texts))
    if len(levels) > 1:
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            names = tuple(ast.literal_eval(text) for text in texts)
            if all(isinstance(name, tuple) and len(name) == len(levels) for name in names) and hash(names):
                return names
    return tuple(texts)
