"""Suggestions for `module:name` where there is no such module."""

from __future__ import annotations

from dataclasses import dataclass

from kappa.build.code.modules import CodeBase
from kappa.build.code.nearby import find_nearby, say_notebook
from kappa.build.manifest.words import nearest

__all__ = ["NoModule", "explain_missing_module"]


@dataclass(frozen=True, slots=True)
class NoModule:
    """A module that is not there."""

    message: str
    help: str
    meant: str | None = None
    """The whole reference that was probably meant."""


def explain_missing_module(code: CodeBase, name: str, qualname: str) -> NoModule:
    """Return the advice for ``name:qualname``: the likely reference, or where modules are looked for."""
    message = f"There is no module `{name}`."
    top, dot, rest = name.partition(".")
    if name.endswith(".py") and code.resolve(stem := name.removesuffix(".py")) is not None:
        meant = f"{stem}:{qualname}"
        return NoModule(message, f"Did you mean `{meant}`? A module is named without its extension.", meant)
    if notebook := say_notebook(name, code.search.root):
        return NoModule(message, notebook)
    if code.resolve(top) is None:
        if (nearby := find_nearby(name, code.search.root)) is not None:
            return NoModule(message, nearby.help)
        if (near := nearest(top, code.top_names(), cutoff=0.6)) is not None:
            meant = f"{near}{dot}{rest}:{qualname}"
            return NoModule(message, f"Did you mean `{meant}`?", meant)
    file = name.removesuffix(".py").replace(".", "/")
    return NoModule(message, f"Expected `{file}.py` beside the kappafile.")
