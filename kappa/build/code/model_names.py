"""Checks the names in a model's file: its modules must be the user's own, or of a known distribution."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from kappa.build.code.absent import AbsentModules
from kappa.build.code.modules import CodeBase, is_pythons_own
from kappa.build.code.tracing import is_installed
from kappa.inspection.detection import read_model
from kappa.inspection.report import Model
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds, model_files
from kappa.wording import one_of, quoted

__all__ = [
    "NameProblem",
    "dill_problem",
    "main_problem",
    "model_of",
    "name_problem",
    "needs_of_file",
    "size_of_model",
    "subject_of",
]


class NameProblem(NamedTuple):
    """A problem of a module that a model names; whole sentences."""

    code: str
    message: str
    help: str
    is_sure: bool = True


def needs_of_file(plugin: ArtifactPlugin, path: Path) -> ModelNeeds:
    """Return what a model's file or folder names; one that has not changed is read once."""
    try:
        return _needs_of(plugin, path, *_extent_of(path))
    except OSError:
        return ModelNeeds()


def model_of(path: Path) -> Model | None:
    """Return what a model's file or folder says of itself; one that has not changed is read once."""
    try:
        return _model_of(path, *_extent_of(path))
    except OSError:
        return None


@lru_cache(maxsize=64)
def _model_of(path: Path, mtime_ns: int, size_bytes: int) -> Model | None:  # noqa: ARG001
    return read_model(path)


def size_of_model(path: Path) -> int:
    """Return the bytes of a model's file or folder; raises `OSError`."""
    return _extent_of(path)[1]


def _extent_of(path: Path) -> tuple[int, int]:
    """Return the time in ns of a file's, or of a folder's newest file's, last change, and how many bytes it has."""
    statuses = [file.stat() for file in model_files(path)]
    return max((status.st_mtime_ns for status in statuses), default=0), sum(status.st_size for status in statuses)


@lru_cache(maxsize=64)
def _needs_of(plugin: ArtifactPlugin, path: Path, mtime_ns: int, size_bytes: int) -> ModelNeeds:  # noqa: ARG001
    return plugin.needs_of_file(path)


def dill_problem(needs: ModelNeeds, model: str) -> NameProblem | None:
    """Return why a model cannot be loaded if `dill` wrote it: `pickle` finds no `__builtin__`, and no `__main__`."""
    if "dill._dill" not in needs.modules:
        return None
    message = f"{subject_of(model)} was written by `dill`, and `pickle`, which loads it, cannot read what that writes."
    return NameProblem("KF341", message, "Save the model with `cloudpickle` or `joblib`.")


def name_problem(
    module: str, model: str, needs: ModelNeeds, code: CodeBase, absent: AbsentModules
) -> NameProblem | None:
    """Return the problem of a module that ``model`` names; ``None`` if the bundle can have it."""
    if module == "__main__":
        return main_problem(needs.of_main, model)
    direct = code.direct(module)
    if direct is not None and direct.origin != "archive" and direct.name not in absent.listed.names:
        message = f"{subject_of(model)} names {quoted(module)}. {direct.problem}"
        return NameProblem("KF342", message, direct.help)
    if is_pythons_own(module) or is_installed(module, code):
        return None
    if ((local := code.resolve(module)) is not None and local.is_local) or isinstance(
        unknown := absent.find(module, asker="model"), str
    ):
        return None
    return NameProblem("KF314", f"{subject_of(model)} needs a module. {unknown.message}", unknown.help, unknown.is_sure)


def main_problem(names: Sequence[str], model: str) -> NameProblem:
    """Return the problem of a model that needs the script that made it; ``names`` may be empty."""
    listed = one_of([f"`{name}`" for name in names] or ["a class or function"], joined_by="and")
    message = (
        f"{subject_of(model)} needs {listed} of the script or notebook that was run (`__main__`), and could be loaded "
        "nowhere else."
    )
    tops = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names)) or "NAME"
    moved = listed if names else "that"
    help_ = (
        f"Move {moved}, with the imports and helpers that it uses, out of the script into a file beside the kappafile, "
        f"e.g. `features.py`; write `from features import {tops}` in the script instead, and run it again, so that it "
        "saves the model anew."
    )
    return NameProblem("KF341", message, help_)


def subject_of(model: str) -> str:
    """Return a model's file or artifact as the beginning of a sentence."""
    return f"{model[0].upper()}{model[1:]}" if model.startswith("the ") else f"`{model}`"
