"""The needs of a service's models: the modules and versions that their files name, without loading any of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kappa.build.code.absent import AbsentModules, Unknown
from kappa.build.code.model_names import dill_problem, name_problem, needs_of_file, subject_of
from kappa.build.code.modules import CodeBase, is_pythons_own
from kappa.build.code.tracing import is_installed
from kappa.build.packages.distributions import DistributionIndex
from kappa.build.packages.installed import installed_sibling, installed_version, is_same_version
from kappa.build.packages.listed import listed_in
from kappa.build.packages.lock_record import NO_RECORD, Brought, LockRecord
from kappa.build.packages.requirements import OWN_NAMES, check_requirement, name_of
from kappa.build.project import Project
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds
from kappa.spec.document import ArtifactSource

__all__ = ["NamedByModels", "inspect_models", "needs_of", "versions_at_save"]


@dataclass(slots=True)
class NamedByModels:
    """The names in the model files of a service."""

    modules: list[str] = field(default_factory=list)
    """The user's own modules, which the bundle must hold."""
    brought: list[Brought] = field(default_factory=list)
    """Modules of others with where they are named, e.g. ``model.joblib (sklearn.svm._classes)``."""
    versions: dict[str, str] = field(default_factory=dict)
    """The version that a model was made with, by the normalised name of the distribution."""
    apart: set[str] = field(default_factory=set)
    """Distributions, by normalised names, of models that were made with other versions than are installed here."""
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def inspect_models(project: Project, code: CodeBase, record: LockRecord = NO_RECORD) -> NamedByModels:
    """Read the names in every model of a project; whole sentences say what is wrong with one.

    Which distribution brings a module is taken from the ``record`` of an earlier lock, where that knows it.
    """
    named = NamedByModels()
    index = DistributionIndex()
    absent = AbsentModules(code, listed_in(project.spec.env, project.root), record=record)
    for plugin in project.spec.artifacts:
        source = project.sources.get(plugin.name)
        if source is not None:
            model = source.path.name if source.path is not None else f"the artifact `{plugin.name}`"
            _sort(needs_of(plugin.kept, source), model, named, code=code, index=index, absent=absent)
    return named


def needs_of(plugin: ArtifactPlugin, source: ArtifactSource) -> ModelNeeds:
    """Return what a model names, be it a file or an object that was packed."""
    if source.path is None:
        return plugin.needs_of_model(source.value)
    return needs_of_file(plugin, source.path)


def versions_at_save(plugin: ArtifactPlugin, source: ArtifactSource) -> dict[str, str]:
    """Return the versions that a model was saved with, by distribution: a packed one, with those installed here."""
    here = [Requirement(text).name for text in plugin.requires()] if source.path is None else []
    installed = {name: version for name in here if (version := installed_version(name)) is not None}
    versions = {**installed, **needs_of(plugin, source).versions}
    return {canonicalize_name(name): version for name, version in versions.items()}


def _sort(
    needs: ModelNeeds,
    model: str,
    named: NamedByModels,
    *,
    code: CodeBase,
    index: DistributionIndex,
    absent: AbsentModules,
) -> None:
    beside = set()
    if (problem := dill_problem(needs, model)) is not None:
        named.problems.append(f"{problem.message} {problem.help}")
        return
    later = [module for module in needs.later if is_installed(module, code) or code.resolve(module) is not None]
    for module in (*needs.modules, *later):
        if (problem := name_problem(module, model, needs, code, absent)) is not None:
            message = f"{problem.message} {problem.help}".rstrip()
            (named.problems if problem.is_sure else named.warnings).append(message)
        elif is_pythons_own(module):
            continue
        elif (local := code.resolve(module)) is not None and local.is_local:
            named.modules.append(module)
        elif (recorded := absent.record.module("model", module)) is not None:
            named.brought.append(Brought(recorded.subject, recorded.distribution, f"{model} ({module})"))
            beside.add(recorded.distribution)
        elif isinstance(distribution := _brings(module, code, index, absent), str):
            named.brought.append(Brought(code.package_of(module), distribution, f"{model} ({module})"))
            beside.add(canonicalize_name(distribution))
    for text in needs.requirements:
        if (why := check_requirement(text)) is not None:
            named.warnings.append(f"{subject_of(model)} lists a package: {why}.")
        elif (name := name_of(text)) not in beside and name not in OWN_NAMES:
            named.brought.append(Brought(name, text, f"{model} (its own list)"))
    for distribution, version in needs.versions.items():
        name = canonicalize_name(distribution)
        named.versions[name] = version
        installed = installed_version(installed_sibling(distribution))
        if not is_same_version(installed, version):
            named.apart |= {name, *beside}
            if installed is not None:
                named.warnings.append(_other_version(distribution, version, installed, model, beside - {name}))


def _brings(module: str, code: CodeBase, index: DistributionIndex, absent: AbsentModules) -> str | Unknown | None:
    if is_installed(module, code):
        return index.brings(module, preferred=absent.listed.names)
    return absent.find(module, asker="model")


def _other_version(distribution: str, version: str, installed: str, model: str, beside: Collection[str]) -> str:
    """Warn that the version here is not the one that made the model, and that the bundle will have."""
    text = (
        f"{subject_of(model)} was made with {distribution} {version}, which the bundle gets; {installed} is "
        "installed here, so what is tested here is not what will be served."
    )
    if beside:
        listed = ", ".join(sorted(beside))
        text += f" The versions of {listed} beside it are those that fit it, and not the installed ones."
    return text
