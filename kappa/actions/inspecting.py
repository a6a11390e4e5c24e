"""The report on a model file: its facts, the packages and modules that it needs here, and the kappafile to write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kappa.build.code.model_names import main_problem
from kappa.build.code.model_packages import ModelPackages, packages_of
from kappa.build.manifest.nearby_models import command_for, find_model
from kappa.build.manifest.other_frameworks import advice_for_type
from kappa.build.packages.installed import installed_version, is_same_version
from kappa.errors import UsageError
from kappa.inspection.detection import inspect_path
from kappa.inspection.report import Model
from kappa.plugins import ARTIFACTS
from kappa.wording import quoted

__all__ = ["InspectedModel", "inspect_model"]


@dataclass(frozen=True, slots=True)
class InspectedModel:
    """A model file with what it means on this machine."""

    path: Path
    model: Model
    packages: ModelPackages
    other_versions: Mapping[str, str]
    """The versions installed here, by distribution, where the model was saved with others."""
    advice: str
    """The next step, in sentences."""

    def to_tree(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "path": str(self.path),
            **self.model.to_tree(),
            "packages": list(self.packages.requirements),
            "own_modules": list(self.packages.own_modules),
            "unknown_modules": list(self.packages.unknown_modules),
            "other_versions": dict(self.other_versions),
            "advice": self.advice,
        }

    @property
    def is_refused(self) -> bool:
        """Whether it is not a model, is not whole, or would do what no model needs."""
        is_dangerous = self.model.verdict is not None and self.model.verdict.state == "dangerous"
        return not self.model.kind or bool(self.model.problem) or is_dangerous


def inspect_model(path: Path) -> InspectedModel:
    """Read a model's file or folder, or the model file in a folder; raises `UsageError` where there is none."""
    if not path.exists():
        raise UsageError(f"There is no file or folder {quoted(str(path))}.")
    if not (path.is_file() or path.is_dir()):
        raise UsageError(f"{quoted(str(path))} is neither a file nor a folder.")
    try:
        if (model := inspect_path(path)) is None:
            path = _model_in(path)
            model = inspect_path(path) or Model(kind="")
    except OSError as exc:
        raise UsageError(f"{quoted(str(path))} cannot be read: {exc.strerror or exc}.") from None
    packages = packages_of(model, (path.parent, Path()))
    versions = {name: installed_version(name) for name in model.versions}
    others = {
        name: here
        for name, here in versions.items()
        if here is not None and not is_same_version(here, model.versions[name])
    }
    return InspectedModel(path, model, packages, others, _advice_for(model, path))


def _model_in(folder: Path) -> Path:
    file = find_model(folder)
    if file is None:
        raise UsageError(f"The folder {quoted(str(folder))} is not a model, and no model's file is in it.")
    return file


def _advice_for(model: Model, path: Path) -> str:
    if not model.kind:
        return "See `kappa explain artifacts` for the types that a kappafile takes."
    if model.problem:
        return "Save the model again, or copy the file again." if model.is_truncated else ""
    if model.of_main:
        return main_problem(model.of_main, path.name).help
    if model.artifact_type:
        return f"{command_for(str(path))} writes a kappafile for it."
    if model.kind in ARTIFACTS.builtins and ARTIFACTS.load(model.kind)(name="model").problem_of(path) is None:
        return f'Write `type = "{model.kind}"` for it; a function receives it by the artifact\'s name.'
    advice = advice_for_type(model.kind, artifact="model")
    return advice[0] if advice is not None else ""
