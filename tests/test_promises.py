"""Each promise of the concepts page is held by tests that exist and that are run; the table of them is generated."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tomli

TESTS = Path(__file__).parent
PROMISES: list[dict[str, Any]] = tomli.loads((TESTS / "promises.toml").read_text(encoding="utf-8"))["promise"]


def lines_of(promise: dict[str, Any]) -> tuple[int, int]:
    first, _, last = promise["lines"].partition("-")
    return int(first), int(last or first)


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of a file's tests that nothing skips altogether."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return frozenset(
        node.name
        for node in functions
        if node.name.startswith("test_")
        and not any("mark.skip(" in ast.unparse(mark) or "xfail" in ast.unparse(mark) for mark in node.decorator_list)
    )


@pytest.mark.parametrize("test", sorted({test for promise in PROMISES for test in promise["tests"]}))
def test_that_holds_a_promise_is_there_and_is_run(test: str) -> None:
    file, _, name = test.partition("::")
    assert name in names_in(file)


def test_promises_stand_in_the_order_of_the_page() -> None:
    places = [lines_of(promise) for promise in PROMISES]
    assert places == sorted(places)
    assert all(first <= last for first, last in places)
    assert all(promise["tests"] and promise["says"].endswith(".") for promise in PROMISES)


def test_nothing_is_promised_twice() -> None:
    said = [promise["says"] for promise in PROMISES]
    assert len(set(said)) == len(said) >= 150
