"""The tree in the docstring of `kappa.errors` is the tree, and every class has its exit code."""

from __future__ import annotations

import re

import pytest

import kappa.errors
from kappa.errors import (
    BadInputError,
    KappaError,
    ManifestError,
    MissingDependencyError,
    exception_text,
    optional_import,
)


def _classes() -> list[type[KappaError]]:
    return [value for value in vars(kappa.errors).values() if isinstance(value, type) and issubclass(value, KappaError)]


def test_the_tree_in_the_docstring_is_complete_and_right() -> None:
    drawn: dict[str, tuple[str, int]] = {}
    parents: list[tuple[str, int]] = []
    for line in (kappa.errors.__doc__ or "").splitlines():
        if match := re.fullmatch(r"    ([│├└─ ]*)(\w+Error)(?: \.+ +(\d+)?.*)?", line):
            depth = len(match[1]) // 4
            del parents[depth:]
            parent, inherited = parents[-1] if parents else ("Exception", 0)
            code = int(match[3]) if match[3] else inherited
            drawn[match[2]] = (parent, code)
            parents.append((match[2], code))
    classes = _classes()
    assert drawn == {cls.__name__: (cls.__bases__[0].__name__, cls.exit_code) for cls in classes}


def test_every_class_is_public() -> None:
    others = {"EXIT_INTERRUPTED", "MisplacedError", "exception_text", "optional_import", "printable"}
    assert set(kappa.errors.__all__) == {cls.__name__ for cls in _classes()} | others


def test_an_import_that_fails_names_what_to_install_and_other_failures_pass() -> None:
    message = r"^The type `x` needs `acme`, which is not installed here\. Run `pip install acme`\.$"
    with pytest.raises(MissingDependencyError, match=message), optional_import("acme", needed_for="the type `x`"):
        import surely_absent  # type: ignore[import-not-found] # noqa: F401
    with pytest.raises(ZeroDivisionError), optional_import("acme", needed_for="the type `x`"):
        1 / 0  # noqa: B018


@pytest.mark.parametrize(
    ("requirement", "command"),
    [
        ("scikit-learn", "pip install scikit-learn"),
        ("kappa-ml[docker]", "pip install 'path/to/kappa[docker]'"),
        ("kappa-ml", "pip install path/to/kappa"),
    ],
)
def test_a_missing_package_comes_with_the_command_that_brings_it(requirement: str, command: str) -> None:
    error = MissingDependencyError(requirement, needed_for="the thing")
    message = f"The thing needs `{requirement}`, which is not installed here. Run `{command}`."
    assert (str(error), error.requirement, error.exit_code) == (message, requirement, 10)


def test_errors_carry_what_their_readers_need() -> None:
    assert (BadInputError("no").http_status, BadInputError("no", http_status=422).http_status) == (400, 422)
    assert ManifestError("no", diagnostics=[1, 2]).diagnostics == (1, 2)


def test_an_exception_that_cannot_be_read_is_said_all_the_same() -> None:
    class Unkind(Exception):
        def __str__(self) -> str:
            raise self

    assert exception_text(Unkind()) == "Unkind: its text cannot be read"
