"""A service handed over to another process as it is now: its models in a folder, and where its code lies.

No bundle is built for it: the process runs with the same packages and reads the code from where it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from kappa.errors import BuildError, ConfigurationError, KappaError, said
from kappa.services.loading import code_of_project, loading, paths_on_path
from kappa.services.packed import Artifact
from kappa.services.service import LoadedService, import_class, load_artifact, load_service
from kappa.spec.document import ArtifactSource
from kappa.spec.freezing import freeze, thaw
from kappa.spec.service import ServiceSpec

__all__ = ["hand_over", "handed_over_spec", "load_handed_over"]

_ORDER = "service.json"


def hand_over(spec: ServiceSpec, sources: Mapping[str, ArtifactSource], *, root: Path, folder: Path) -> None:
    """Write what `load_handed_over` needs into an empty folder; raises `ConfigurationError` for a missing model."""
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
            raise BuildError(f"{message}: {said(exc)}") from exc
        metadata[plugin.name] = thaw(source.metadata or {})
    order = {
        "spec": spec.model_dump(mode="json", by_alias=True),
        "root": str(root),
        "paths": paths_on_path(root),
        "metadata": metadata,
    }
    (folder / _ORDER).write_text(json.dumps(order), encoding="utf-8")


def handed_over_spec(folder: Path) -> ServiceSpec:
    """Return what the service in a folder declares."""
    return ServiceSpec.model_validate(json.loads((folder / _ORDER).read_text(encoding="utf-8"))["spec"])


@loading()
def load_handed_over(folder: Path, *, environ: MutableMapping[str, str] = os.environ) -> LoadedService:
    """Load what `hand_over` wrote; raises `KappaError` as loading a bundle does."""
    order = json.loads((folder / _ORDER).read_text(encoding="utf-8"))
    spec, root = ServiceSpec.model_validate(order["spec"]), Path(order["root"])
    code = code_of_project(root, spec.files.paths, on_path=order["paths"])
    spec = import_class(spec, code)
    with code.unpickling():
        artifacts = {
            plugin.name: Artifact(load_artifact(plugin, folder / plugin.name), freeze(order["metadata"][plugin.name]))
            for plugin in spec.artifacts
        }
    service = load_service(spec, code=code, artifacts=artifacts, version="development", environ=environ)
    service.examples_directory = root
    if spec.web_static_content is not None:
        service.static_directory = root / spec.web_static_content
    return service
