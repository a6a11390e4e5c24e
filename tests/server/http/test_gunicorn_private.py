"""Each name that Kappa uses of gunicorn is there, and each that it uses is listed."""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from textwrap import dedent
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("gunicorn does not run on Windows", allow_module_level=True)

from kappa.server.http.gunicorn_private import MEMBERS
from kappa.server.http.parser import KappaParser
from kappa.server.http.worker import KappaProtocol, KappaWorker
from kappa.server.process.arbiter import GunicornApplication, KappaArbiter

SUBCLASSES = (KappaProtocol, KappaWorker, KappaParser, KappaArbiter, GunicornApplication)


@cache
def members_of(base: type) -> frozenset[str]:
    """Return the attributes of a class of gunicorn's and of its instances."""
    theirs = [each for each in base.__mro__ if each.__module__.startswith("gunicorn")]
    nodes = [node for each in theirs for node in ast.walk(ast.parse(dedent(inspect.getsource(each))))]
    stored = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    return frozenset(stored.union(*map(vars, theirs)))


def used_by(ours: type) -> set[str]:
    """Return what a class defines, and what it takes from `self` and `super()`."""
    names = set(vars(ours))
    for node in ast.walk(ast.parse(dedent(inspect.getsource(ours)))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "super()"):
            names.add(node.attr)
    return {name for name in names if not name.startswith("__")}


@pytest.mark.parametrize(("base", "name"), [(base, name) for base, names in MEMBERS.items() for name in names.split()])
def test_gunicorn_has_the_member(base: type, name: str) -> None:
    assert name in members_of(base)


@pytest.mark.parametrize("ours", SUBCLASSES)
def test_every_member_of_gunicorn_that_is_used_is_listed(ours: Any) -> None:
    assert used_by(ours) & members_of(ours.__base__) == set(MEMBERS[ours.__base__].split())
