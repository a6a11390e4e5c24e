"""Synonyms: the words of other tools for Kappa's keys, and the nearest of several words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from pydantic.fields import FieldInfo

from kappa.build.manifest.shapes import fields_of, items_of, table_of
from kappa.spec.document import ArtifactTable, Kappafile
from kappa.spec.naming import AlsoCalled

__all__ = ["nearest", "normal", "translate", "words_of_others"]

Table = tuple[str, ...]


@cache
def words_of_others() -> Mapping[Table, Mapping[str, str]]:
    """Return other words for keys by table, each with the key that it means; those of the top hold in any table."""
    words: dict[Table, dict[str, str]] = {}
    for table, key, field in _keys():
        for mark in field.metadata:
            if isinstance(mark, AlsoCalled):
                for home in (table, ()) if mark.anywhere else (table,):
                    words.setdefault(home, {}).update(dict.fromkeys((mark.words + " " + mark.former).split(), key))
    return words


def _keys() -> Iterator[tuple[Table, str, FieldInfo]]:
    """Yield the keys of every table, dotted from the top of the document."""
    for key, field in fields_of(Kappafile).items():
        placeholder = "NAME" if items_of(field.annotation, {}) else "NUMBER" if items_of(field.annotation, []) else ""
        table = (key, placeholder) if placeholder else (key,)
        yield (), f"{key}.NAME" if placeholder == "NAME" else key, field
        model = table_of(field.annotation) or table_of(items_of(field.annotation, {} if placeholder == "NAME" else []))
        for name, inner in fields_of(model).items() if model is not None else ():
            written = "type" if model is ArtifactTable and name == "plugin" else name
            yield table, ".".join((*table, written)), inner


def normal(word: str) -> str:
    """Return a word as Kappa would spell it: lower case, with ``_``."""
    return word.strip().lower().replace("-", "_").replace(" ", "_")


def translate(word: str, table: Table) -> str | None:
    """Return the key that another tool's word means, dotted from the top of the document."""
    spelled = normal(word)
    return words_of_others().get(table, {}).get(spelled) or words_of_others()[()].get(spelled)


def nearest(word: str, candidates: Iterable[str], *, cutoff: float = 0.75) -> str | None:
    """Return the known word that was most likely meant, if any comes near."""
    by_spelling = {normal(candidate): candidate for candidate in candidates}
    matches = difflib.get_close_matches(normal(word), by_spelling, n=1, cutoff=cutoff)
    return by_spelling[matches[0]] if matches else None
