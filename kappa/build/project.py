"""A project: one kappafile, the service it declares, and where the models are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from kappa.build.diagnostics import Diagnostics, sentence
from kappa.build.kappafile import find_kappafile, read_kappafile
from kappa.build.validation import validate
from kappa.errors import ManifestError
from kappa.spec.document import ArtifactSource, Kappafile
from kappa.spec.models import ServiceSpec

__all__ = ["Project", "check_kappafile", "find_kappafile", "read_project"]


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


def read_project(path: Path) -> Project:
    """Read a kappafile, or the one of a directory; raises `ManifestError` that carries every problem found."""
    path = path.resolve()
    project, found = check_kappafile(find_kappafile(path) if path.is_dir() else path)
    found.check()
    if project is None:
        raise ManifestError(f"`{path}` declares no service.", diagnostics=tuple(found))
    return project


def check_kappafile(file: Path) -> tuple[Project | None, Diagnostics]:
    """Read and check a kappafile; return the project if it has no errors, and every problem in any case."""
    document, found = read_kappafile(file)
    if document is None:
        return None, found
    validate(document, found)
    if found.has_errors:
        return None, found
    try:
        kappafile = Kappafile.model_validate(document.tree)
        spec = kappafile.to_spec()
    except ValidationError as exc:
        for error in exc.errors():
            found.add("KF204", sentence(error["msg"].removeprefix("Value error, ")), ())
        return None, found
    sources = {
        name: ArtifactSource(path=file.parent / table.path, metadata=table.metadata)
        for name, table in kappafile.artifacts.items()
    }
    return Project(root=file.parent, file=file, spec=spec, sources=sources), found
