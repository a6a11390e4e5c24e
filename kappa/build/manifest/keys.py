"""Keys that a table does not have, and what was probably meant."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from kappa.build.manifest.kappafile import Document
from kappa.build.manifest.positions import TreePath
from kappa.build.manifest.shapes import fields_of, items_of, table_of
from kappa.build.manifest.words import nearest, normal, translate
from kappa.spec.document import Kappafile
from kappa.wording import known_names

__all__ = ["Advice", "advise", "template_of"]


_VERSIONS = frozenset({"version", "service_version", "model_version", "bundle_version"})
_VERSION_HELP = (
    "A build gives the version: `kappa build --version 1.0`, or numbers to begin it with in `[service.ver]`."
)


@dataclass(frozen=True, slots=True)
class Advice:
    """The advice on an unknown key."""

    help: str = ""
    replacement: str | None = None
    meant: TreePath | None = None
    """The key, or the table, that is there under this other word and so is not missing."""


def advise(key: str, keys: Collection[str], path: TreePath, document: Document) -> Advice:
    """Suggest what ``key`` in the table at ``path``, whose keys are ``keys``, means.

    In this order: the same word spelled otherwise or nearly so, another tool's word for it, a key of another table, a
    word that is at least somewhat near.
    """
    if key == "name" and len(path) == 2 and path[0] in ("apis", "artifacts"):
        return Advice(f"Its name is `{path[1]}`, the key of its table.")
    if (sibling := nearest(key, keys, cutoff=0.85)) is not None:
        return Advice(f"Did you mean `{sibling}`?", sibling, (*path, sibling))
    template = template_of(path)
    if normal(key) in _VERSIONS and (template or "kappafile" in document.tree):
        return Advice(_VERSION_HELP)
    if (target := translate(key, template)) is not None:
        *table, last = target.split(".")
        if tuple(table) == template and last not in ("NAME", "NUMBER"):
            return Advice(f"Kappa calls it `{last}`.", last, (*path, last))
        meant = (table[0] if table else last,) if not path else None
        return Advice(f"Kappa calls it {_where(tuple(table), last, document)}.", meant=meant)
    home = _only_home(normal(key))
    if home is not None and home != template:
        return Advice(f"It belongs to {document.table_name(home) if home else 'the top of the file'}.")
    if (sibling := nearest(key, keys, cutoff=0.6)) is not None:
        return Advice(f"Did you mean `{sibling}`?", sibling, (*path, sibling))
    return Advice(known_names(keys) if keys else "")


def template_of(path: TreePath) -> tuple[str, ...]:
    """Return the path of a table with placeholders for what the user chooses."""
    if len(path) == 2 and path[0] in ("apis", "artifacts", "examples"):
        return str(path[0]), "NUMBER" if path[0] == "examples" else "NAME"
    return tuple(str(part) for part in path)


def _where(table: tuple[str, ...], last: str, document: Document) -> str:
    if last in ("NAME", "NUMBER") or not table:
        is_table = last in ("NAME", "NUMBER") or table_of(fields_of(Kappafile)[last].annotation) is not None
        return document.table_name((*table, last)) if is_table else f"`{last}`, at the top of the file"
    return f"`{last}`, in {document.table_name(table)}"


@cache
def _only_home(key: str) -> TreePath | None:
    """Return the one table that has this key; ``None`` if none or several have it."""
    homes: list[TreePath] = []
    for name, info in fields_of(Kappafile).items():
        path: TreePath = (name,)
        if name == key:
            homes.append(())
        if (model := table_of(info.annotation)) is None:
            model, path = table_of(items_of(info.annotation, {})), (name, "NAME")
        if model is not None and key in fields_of(model):
            homes.append(path)
    return homes[0] if len(homes) == 1 else None
