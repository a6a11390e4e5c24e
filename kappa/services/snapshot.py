"""A service written down for another process as it is now: its models in a folder, and where its code lies.

No bundle is built for it: the process runs with the same packages and reads the code from where it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kappa.errors import BuildError, ConfigurationError, KappaError, exception_text
from kappa.services.loading import paths_on_path
from kappa.spec.document import ArtifactSource
from kappa.spec.freezing import thaw
from kappa.spec.service import ServiceSpec

__all__ = ["Snapshot", "read_snapshot", "write_snapshot"]

_FILE = "service.json"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The file beside the models, each of which has a folder of its name."""

    spec: ServiceSpec
    root: Path
    """The folder of the project."""
    paths: Sequence[str]
    """Further folders on `sys.path` for the project's modules, relative to its folder."""
    metadata: Mapping[str, Any]
    """That of each model, by its name."""


def write_snapshot(spec: ServiceSpec, sources: Mapping[str, ArtifactSource], *, root: Path, folder: Path) -> None:
    """Write a service into an empty folder; raises `ConfigurationError` for a missing model."""
    metadata = {}
    for plugin in spec.artifacts:
        source = sources.get(plugin.name)
        if source is None:
            raise ConfigurationError(f"The artifact `{plugin.name}` has no model yet: pack it first.")
        directory = folder / plugin.name
        directory.mkdir()
        try:
            if source.path is None:
                plugin.save(source.value, directory)
            else:
                plugin.adopt(source.path, directory, link=True)
        except KappaError:
            raise
        except Exception as exc:  # the model's own code runs here, and may raise anything
            message = f"The model of the artifact `{plugin.name}` cannot be kept as `{plugin.type}`"
            raise BuildError(f"{message}: {exception_text(exc)}") from exc
        metadata[plugin.name] = thaw(source.metadata or {})
    tree = {
        "spec": spec.model_dump(mode="json", by_alias=True),
        "root": str(root),
        "paths": paths_on_path(root),
        "metadata": metadata,
    }
    (folder / _FILE).write_text(json.dumps(tree), encoding="utf-8")


def read_snapshot(folder: Path) -> Snapshot:
    """Read a snapshot."""
    tree = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    return Snapshot(ServiceSpec.model_validate(tree["spec"]), Path(tree["root"]), tree["paths"], tree["metadata"])
