"""Where a service comes from: a bundle, a project as it lies on disk, a snapshot, or an instance in this process.

A source holds the facts that are known before any code of the service is imported;
`kappa.services.service.load_service` makes a service of it that answers, whichever it is.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kappa.errors import BundleError, ConfigurationError, KappaError
from kappa.services.bundle import Bundle
from kappa.services.declared import DeclaredService
from kappa.services.declaring import declared_spec
from kappa.services.loading import ServiceCode, code_of_bundle, code_of_project, described
from kappa.services.packed import Artifact, Model, frozen_metadata
from kappa.services.snapshot import read_snapshot
from kappa.services.versions import (
    differing,
    names_asked_for,
    say_differences,
    say_saved,
    versions_here,
    versions_pinned,
)
from kappa.spec.contracts import ArtifactPlugin, model_files
from kappa.spec.document import ArtifactSource
from kappa.spec.freezing import freeze
from kappa.spec.manifest import BundleManifest
from kappa.spec.service import ServiceSpec

__all__ = ["UNBUILT", "ServiceSource", "load_kept"]

_logger = logging.getLogger("kappa.service")

_MOST_BYTES_READ = 1 << 26
UNBUILT = "development"
"""The version of what is not built."""


@dataclass(frozen=True, slots=True)
class ServiceSource:
    """The declaration of a service, and where its code, its models and its files are."""

    spec: ServiceSpec
    version: str
    code: Callable[[], ServiceCode]
    """Makes the modules of its code importable in this process; nothing is imported yet."""
    artifact_of: Callable[[ArtifactPlugin], Artifact]
    """Loads one model, once the service's code can be imported; raises `KappaError`."""
    examples_directory: Path | None
    """Where the files of its examples are; ``None`` where they are not at hand."""
    static_directory: Path | None = None
    """The static content at the root, if there is any."""
    instance: DeclaredService | None = None
    """The object that answers, if there is one already."""
    bundle: Bundle | None = None
    """The bundle that it is; ``None`` for what is not built."""

    @property
    def manifest(self) -> BundleManifest | None:
        """The manifest of its build; ``None`` for what is not built."""
        return self.bundle.manifest if self.bundle is not None else None

    @classmethod
    def of_bundle(cls, bundle: Bundle, *, on_path: bool = True) -> ServiceSource:
        """Return a bundle as a source.

        When it is loaded, the names of its files and the bytes of its code are compared with its digests; those of its
        models are not. Unless ``on_path``, `sys.path` stays as it is. Where a module of the same name comes from
        elsewhere already, the bundle's are imported beside it, under names of their own.
        """
        manifest = bundle.manifest
        return cls(
            manifest.service.as_kept(),
            manifest.version,
            partial(_verified_code, bundle, on_path=on_path),
            partial(_packed, bundle),
            bundle.examples,
            bundle.package.static_content if manifest.service.web_static_content is not None else None,
            bundle=bundle,
        )

    @classmethod
    def of_project(cls, spec: ServiceSpec, models: Mapping[str, ArtifactSource], *, root: Path) -> ServiceSource:
        """Return a project as it lies on disk: code and ``models`` are taken from where they are."""
        code = partial(code_of_project, root, spec.files.paths)
        return cls(spec, UNBUILT, code, partial(_from_file, models), root, _static(spec, root))

    @classmethod
    def of_snapshot(cls, folder: Path) -> ServiceSource:
        """Return the snapshot in a folder as a source: its models are there, its code is where it was."""
        snapshot = read_snapshot(folder)
        spec, root = snapshot.spec, snapshot.root
        code = partial(code_of_project, root, spec.files.paths, on_path=snapshot.paths)
        return cls(spec, UNBUILT, code, partial(_kept, folder, snapshot.metadata), root, _static(spec, root))

    @classmethod
    def of_instance(cls, service: DeclaredService) -> ServiceSource:
        """Return an instance as it is, with what is packed in it; its class may be defined anywhere."""
        file = getattr(sys.modules.get(type(service).__module__), "__file__", None)
        folder = Path(file).absolute().parent if file is not None else Path.cwd()
        spec = declared_spec(type(service))
        code = partial(ServiceCode, folder)
        return cls(spec, UNBUILT, code, partial(_in_memory, service), folder, _static(spec, folder), instance=service)


def load_kept(
    plugin: ArtifactPlugin, directory: Path, *, versions: Mapping[str, str] | None = None, shown: Path | None = None
) -> Model:
    """Load the model in a directory; warn if other ``versions`` are here than it was saved with.

    Its file tells them where they are not given. Whatever its framework raises becomes a `BundleError` that names the
    artifact.
    """
    if versions is None:
        versions = _versions_in(plugin, directory)
    drift = differing(versions)
    try:
        model = plugin.load(directory)
    except KappaError:
        raise
    except Exception as exc:
        path = shown or directory
        message = f"The artifact `{plugin.name}` ({plugin.type}) cannot be loaded from `{path}`: {described(exc)}"
        if versions:
            advice = (
                "install what it was saved with, or save it again" if drift else "`kappa inspect` tells what is in it"
            )
            message += f" It was saved with {say_saved(drift or versions)}: {advice}."
        raise BundleError(message) from exc
    if drift:
        message = "The artifact `%s` was saved with %s, so it may answer otherwise than it did."
        _logger.warning(message, plugin.name, say_saved(drift))
    return model


def _versions_in(plugin: ArtifactPlugin, directory: Path) -> Mapping[str, str]:
    """Return the versions that a model's file says it was saved with; none of a large one, which takes seconds."""
    paths = list(directory.iterdir()) if directory.is_dir() else []
    if len(paths) != 1 or sum(file.stat().st_size for file in model_files(paths[0])) > _MOST_BYTES_READ:
        return {}
    return plugin.needs_of_file(paths[0]).versions


def _static(spec: ServiceSpec, root: Path) -> Path | None:
    return None if spec.web_static_content is None else root / spec.web_static_content


def _verified_code(bundle: Bundle, *, on_path: bool) -> ServiceCode:
    bundle.verify_code()
    _warn_of_other_versions(bundle)
    manifest = bundle.manifest
    return code_of_bundle(bundle.package.folder, manifest.bundle_digest, on_path=on_path, paths=manifest.code_paths)


def _warn_of_other_versions(bundle: Bundle) -> None:
    """Say which packages that the service names are installed in other versions than the bundle's lock pins.

    An installed bundle has no lock: pip has installed what it pins.
    """
    with suppress(OSError, UnicodeDecodeError):
        lock = (bundle.directory / bundle.manifest.env.lock).read_text(encoding="utf-8")
        of_models = {
            name
            for artifact in bundle.manifest.artifacts
            for name in differing(artifact.versions)  # which is said when that is loaded
        }
        names = [name for name in names_asked_for(lock) if name not in of_models]
        if differences := say_differences(versions_here(names, versions_pinned(lock))):
            _logger.warning("%s", differences)


def _packed(bundle: Bundle, plugin: ArtifactPlugin) -> Artifact:
    directory = bundle.package.artifact(plugin.name)
    if not directory.is_dir():
        raise BundleError(f"The bundle in `{bundle.directory}` has no artifact `{plugin.name}`.")
    resolved = next((artifact for artifact in bundle.manifest.artifacts if artifact.name == plugin.name), None)
    versions, metadata = (resolved.versions, resolved.metadata) if resolved is not None else ({}, {})
    return Artifact(load_kept(plugin, directory, versions=versions), freeze(metadata))


def _kept(folder: Path, metadata: Mapping[str, object], plugin: ArtifactPlugin) -> Artifact:
    return Artifact(load_kept(plugin, folder / plugin.name), freeze(metadata[plugin.name]))


def _from_file(models: Mapping[str, ArtifactSource], plugin: ArtifactPlugin) -> Artifact:
    model = models.get(plugin.name)
    if model is None:
        raise ConfigurationError(
            f"The artifact `{plugin.name}` has no model: say where its file is, in `[artifacts.{plugin.name}]`."
        )
    metadata = frozen_metadata(plugin.name, model.metadata)
    if model.path is None:
        return Artifact(model.value, metadata)
    if not model.path.exists():
        raise ConfigurationError(f"The artifact `{plugin.name}`: there is no `{model.path}`.")
    with tempfile.TemporaryDirectory(prefix="kappa-") as folder:
        plugin.adopt(model.path, Path(folder), link=True)
        return Artifact(load_kept(plugin, Path(folder), shown=model.path), metadata)


def _in_memory(service: DeclaredService, plugin: ArtifactPlugin) -> Artifact:
    if plugin.name not in service.artifacts:
        raise ConfigurationError(f"The artifact `{plugin.name}` has no model yet: pack it first.")
    return service.artifacts[plugin.name]
