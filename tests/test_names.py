"""A name says what a value is (`matches`, `path`, `pins`), not how it was come by (`found`, `given`, `told`)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kappa"

VAGUE = frozenset({"about", "found", "given", "known", "one", "own", "place", "said", "those", "told", "what", "whose"})
"""Words that could name any value; a leading underscore does not make them better."""


def vague_names(source: str) -> Iterator[tuple[int, str]]:
    """Yield each binding of a vague name with its line: variables, parameters, attributes, functions, classes."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                name: str | None = node.name
            case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar():
                name = node.name
            case ast.Name(ctx=ast.Store()):
                name = node.id
            case ast.Attribute(ctx=ast.Store()):
                name = node.attr
            case ast.arg():
                name = node.arg
            case ast.alias():
                name = node.asname
            case _:
                continue
        if name is not None and name.lstrip("_").lower() in VAGUE:
            yield node.lineno, name


def test_no_name_of_the_package_is_vague() -> None:
    vague = [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, name in sorted(vague_names(path.read_text(encoding="utf-8")))
    ]
    assert not vague, "\n".join(["name these after what they are:", *vague])


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "def f(told): ...",
        "def f(*, given=1): ...",
        "def _said(): ...",
        "class Known: ...",
        "class C:\n    place: str",
        "self._found = 1",
        "[one for one in xs]",
        "f(a := 1, (what := 2))",
        "for own, y in pairs: ...",
        "match x:\n    case [*known]: ...",
        "import a as about",
    ],
)
def test_each_kind_of_binding_is_seen(source: str) -> None:
    assert list(vague_names(source))


def test_uses_and_longer_names_are_allowed() -> None:
    assert not list(vague_names("founder = match.found\nknown_names = {'given': f(place=1)}\nf(own)"))
