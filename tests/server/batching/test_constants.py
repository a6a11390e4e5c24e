"""Every tuning constant of batching stands in one table, with its unit and meaning, and is used."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import kappa
from kappa.server.batching import constants

ROOT = Path(kappa.__file__).parent / "server"
STATEMENTS = ast.parse(Path(constants.__file__).read_text(encoding="utf-8")).body


def test_every_constant_has_a_unit_and_a_meaning() -> None:
    for statement, following in pairwise(STATEMENTS):
        if isinstance(statement, ast.Assign):
            assert isinstance(following, ast.Expr), ast.unparse(statement)
            assert isinstance(following.value, ast.Constant)
            assert re.match(r"[A-Z][A-Za-z (),']+: ", str(following.value.value)), ast.unparse(statement)


def test_every_constant_is_used() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py") if path.stem != "constants")
    names = {name for name in vars(constants) if name.isupper()}
    assert {name for name in names if not re.search(rf"\b{name}\b", sources)} == set()


def test_no_other_module_of_batching_has_constants_of_its_own() -> None:
    own = {
        f"{path.stem}.{target.id}"
        for path in (ROOT / "batching").glob("*.py")
        if path.stem != "constants"
        for statement in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    assert own == set()
