"""Where things are in a bundle, known in one place."""

from __future__ import annotations

import ast
from pathlib import Path, PurePath

import pytest

from kappa.spec.layout import BundleLayout, PackageLayout

PACKAGE = Path(__file__).parents[2] / "kappa"

OTHERS = ("build/packages/", "inspection/", "spec/layout.py")
"""Modules that read such names elsewhere: in projects, resolvers' folders and models' folders; and the owner."""


def names_of(layout: object) -> set[str]:
    """Return the names of the files and folders that a layout knows."""
    values = [getattr(layout, name) for name, member in vars(type(layout)).items() if isinstance(member, property)]
    return {value.name for value in values if isinstance(value, PurePath)} - {"__init__.py"}


NAMES = names_of(BundleLayout(Path())) | names_of(PackageLayout(Path()))


def joined(source: str) -> set[str]:
    """Return the names of ``NAMES`` that a module joins to paths."""
    tree = ast.parse(source)
    ends = (node.right for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
    return {end.value for end in ends if isinstance(end, ast.Constant) and end.value in NAMES}


def test_all_names_are_known() -> None:
    assert {"kappa.yml", "_kappa", "artifacts", "examples", "requirements.txt", "Dockerfile"} <= NAMES


@pytest.mark.parametrize("source", ["path / 'artifacts' / name", "(a / b) / 'kappa.yml'"])
def test_a_name_that_is_joined_is_seen(source: str) -> None:
    assert len(joined(source)) == 1


def test_no_other_module_joins_a_path_inside_of_a_bundle() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): names
        for path in PACKAGE.rglob("*.py")
        if not path.relative_to(PACKAGE).as_posix().startswith(OTHERS)
        and (names := joined(path.read_text(encoding="utf-8")))
    }
    assert found == {}
