"""Which packages and modules a model needs, told from what its file names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from kappa.build.code.modules import is_pythons_own
from kappa.build.packages.distributions import DistributionIndex
from kappa.build.packages.known_modules import distribution_of
from kappa.inspection.report import Model

__all__ = ["ModelPackages", "packages_of"]


@dataclass(frozen=True, slots=True)
class ModelPackages:
    """What a model needs beside Python."""

    requirements: tuple[str, ...]
    """What pip must install, at the version that the file names where it does."""
    own_modules: tuple[str, ...]
    """Modules of the user's, which lie in one of the folders."""
    unknown_modules: tuple[str, ...]
    """Top modules that are neither, and of which no table knows the distribution."""


def packages_of(model: Model, folders: Iterable[Path]) -> ModelPackages:
    """Sort the modules that a model names; those of the user's are looked for in ``folders``."""
    versions = {canonicalize_name(name): version for name, version in model.versions.items()}
    names, local, unknown = {str(name) for name in versions}, [], []
    index, searched = DistributionIndex(), tuple(folders)
    for module in model.modules:
        top = module.partition(".")[0]
        if is_pythons_own(module) or top == "__main__":
            continue
        if any((folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file() for folder in searched):
            local.append(module)
        elif (name := index.brings(module) or distribution_of(module)) is not None:
            names.add(canonicalize_name(name))
        else:
            unknown.append(top)
    names -= {name for text in model.requirements if (name := _name_of(text)) is not None}
    pins = [f"{name}=={versions[name]}" if name in versions else name for name in map(canonicalize_name, sorted(names))]
    return ModelPackages((*model.requirements, *pins), tuple(local), tuple(dict.fromkeys(unknown)))


def _name_of(requirement: str) -> str | None:
    try:
        return canonicalize_name(Requirement(requirement).name)
    except InvalidRequirement:
        return None
