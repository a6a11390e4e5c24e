"""A project: one kappafile, the service it declares, and where the models are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from kappa.errors import ConfigurationError, ManifestError
from kappa.spec.document import ArtifactSource, Kappafile
from kappa.spec.models import ServiceSpec

__all__ = ["KAPPAFILE_NAMES", "Project", "find_kappafile", "read_project"]

KAPPAFILE_NAMES = ("kappafile.toml", "kappafile.yaml", "kappafile.yml")


@dataclass(frozen=True, slots=True)
class Project:
    """A service as its kappafile declares it, with the files it is made of."""

    root: Path
    """Absolute and resolved; the kappafile's relative paths start here."""
    file: Path | None
    """The kappafile; ``None`` for a service that a class declares alone."""
    spec: ServiceSpec
    sources: Mapping[str, ArtifactSource]
    """Where each artifact comes from, by its name."""


def find_kappafile(directory: Path) -> Path:
    """Return the one kappafile of ``directory``; raises `ConfigurationError` for none and for two."""
    found = [directory / name for name in KAPPAFILE_NAMES if (directory / name).is_file()]
    pyproject = directory / "pyproject.toml"
    if pyproject.is_file() and _has_kappa_table(pyproject):
        found.append(pyproject)
    if not found:
        names = ", ".join(f"`{name}`" for name in KAPPAFILE_NAMES)
        raise ConfigurationError(
            f"There is no kappafile in `{directory}`: expected one of {names}, or `[tool.kappa]` in `pyproject.toml`."
        )
    if len(found) > 1:
        names = " and ".join(f"`{path.name}`" for path in found)
        raise ConfigurationError(
            f"`{directory}` has more than one kappafile: {names}. Remove all but one, or name one with `-f`."
        )
    return found[0]


def read_project(path: Path) -> Project:
    """Read a kappafile, or the one of a directory; raises `ManifestError` that carries every problem found."""
    path = path.resolve()
    if path.is_dir():
        path = find_kappafile(path)
    try:
        tree = _read_tree(path)
        document = Kappafile.model_validate(tree)
        spec = document.to_spec()
    except ValidationError as exc:
        raise ManifestError(f"`{path}` has problems: {exc}") from None
    root = path.parent
    sources = {
        name: ArtifactSource(path=root / table.path, metadata=table.metadata)
        for name, table in document.artifacts.items()
    }
    return Project(root=root, file=path, spec=spec, sources=sources)


def _has_kappa_table(pyproject: Path) -> bool:
    try:
        return "kappa" in tomli.loads(pyproject.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError):
        return False


def _read_tree(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            tree = tomli.loads(text)
            return tree["tool"]["kappa"] if path.name == "pyproject.toml" else tree
        return YAML(typ="safe", pure=True).load(text)
    except (OSError, ValueError, KeyError, YAMLError) as exc:
        raise ManifestError(f"`{path}` cannot be read: {exc}") from exc
