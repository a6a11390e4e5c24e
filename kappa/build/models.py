"""What the models of a service need: the modules and versions that their files name, without loading any of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from kappa.build.distributions import DistributionIndex
from kappa.build.modules import CodeBase, is_pythons_own
from kappa.build.project import Project
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds
from kappa.spec.document import ArtifactSource

__all__ = ["NamedByModels", "inspect_models"]


@dataclass(slots=True)
class NamedByModels:
    """What the model files of a service name."""

    modules: list[str] = field(default_factory=list)
    """The user's own modules, which the bundle must hold."""
    distributions: dict[str, str] = field(default_factory=dict)
    """Third-party distribution to where it is named, e.g. ``model.joblib (sklearn.svm._classes)``."""
    versions: dict[str, str] = field(default_factory=dict)
    """The version that a model was made with, by the normalised name of the distribution."""
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def inspect_models(project: Project, code: CodeBase) -> NamedByModels:
    """Read the names in every model of a project; whole sentences say what is wrong with one."""
    found = NamedByModels()
    index = DistributionIndex()
    for plugin in project.spec.artifacts:
        source = project.sources.get(plugin.name)
        if source is not None:
            place = source.path.name if source.path is not None else f"the artifact `{plugin.name}`"
            _sort(_needs_of(plugin, source), place, code, index, found)
    return found


def _needs_of(plugin: ArtifactPlugin, source: ArtifactSource) -> ModelNeeds:
    if source.path is None:
        return plugin.needs_of_model(source.value)
    return plugin.needs_of_file(source.path) if source.path.exists() else ModelNeeds()


def _sort(needs: ModelNeeds, place: str, code: CodeBase, index: DistributionIndex, found: NamedByModels) -> None:
    for module in needs.modules:
        if module == "__main__":
            found.problems.append(
                f"{_subject(place)} names a class or function of `__main__`, the script that made it, and could be "
                "loaded nowhere else: define it in a module, import it from there, and save the model again."
            )
        elif is_pythons_own(module):
            continue
        elif (local := code.resolve(module)) is not None and local.is_local:
            found.modules.append(module)
        elif (distribution := index.brings(module)) is not None:
            found.distributions.setdefault(distribution, f"named in {place} ({module})")
        else:
            found.warnings.append(
                f"{_subject(place)} names the module `{module}`, which is neither installed nor known: name its "
                "package in `pip_packages`."
            )
    for distribution, version in needs.versions.items():
        found.versions[canonicalize_name(distribution)] = version
        found.warnings += _other_version(distribution, version, place)


def _other_version(distribution: str, version: str, place: str) -> Iterator[str]:
    """Warn when what is tested here is not what the model was made with, and the bundle will have."""
    try:
        installed = metadata.version(distribution)
        differs = Version(installed).public != Version(version).public
    except (metadata.PackageNotFoundError, InvalidVersion):
        return
    if differs:
        yield (
            f"{_subject(place)} was made with {distribution} {version}, which the bundle gets; {installed} is "
            "installed here, so what is tested here is not what will be served."
        )


def _subject(place: str) -> str:
    return f"{place[0].upper()}{place[1:]}" if place.startswith("the ") else f"`{place}`"
