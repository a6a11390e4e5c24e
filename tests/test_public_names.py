"""What each module offers: `__all__` exists, is sorted, is true, and the package shows nothing else."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import kappa

ROOT = Path(__file__).parents[1]
MODULES = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "kappa").rglob("*.py"))]
SHADOWING = {"artifacts", "api", "client", "env", "load", "save", "ver"}
"""Names on the package that are functions: a module of that name would replace them once it is imported."""


def tree_of(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def declared_names(tree: ast.Module) -> list[str] | None:
    """Return the value of the literal ``__all__`` of a module."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            assert node.value is not None
            return list(ast.literal_eval(node.value))
    return None


def defined_names(tree: ast.Module) -> set[str]:
    """Return the public names that a module defines itself, in the order of nothing."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("path", MODULES)
def test_module_declares_its_public_names(path: str) -> None:
    declared = declared_names(tree_of(path))
    assert declared is not None, "`__all__` is missing"
    assert len(set(declared)) == len(declared)


@pytest.mark.parametrize("path", MODULES)
def test_public_functions_and_classes_are_declared_or_private(path: str) -> None:
    tree = tree_of(path)
    assert defined_names(tree) - set(declared_names(tree) or []) == set()


def test_package_shows_exactly_its_public_names() -> None:
    assert {name for name in dir(kappa) if not name.startswith("_")} == set(kappa.__all__) - {"__version__"}


def test_every_public_name_of_the_package_is_there() -> None:
    assert [name for name in kappa.__all__ if not hasattr(kappa, name)] == []


def test_no_module_shadows_a_function_of_the_package() -> None:
    assert {path.stem for path in (ROOT / "kappa").iterdir()} & SHADOWING == set()


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Return the module of each name that a façade imports for type checkers."""
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {
        alias.name: node.module or ""
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


FACADES = [path for path in MODULES if "\n_HOMES" in (ROOT / path).read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", FACADES)
def test_a_facade_has_the_names_that_it_declares(path: str) -> None:
    facade = importlib.import_module(path.removesuffix("/__init__.py").replace("/", "."))
    assert imported_names(tree_of(path)) == facade._HOMES
    assert set(facade._HOMES) == set(facade.__all__) - {"__version__"}
    assert [name for name in facade._HOMES if not hasattr(facade, name)] == []
