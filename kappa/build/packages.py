"""Which packages a service asks for directly, and why; everything that those need in turn is the resolver's work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from kappa.build.cuda import CUDA_RELEASES
from kappa.build.models import NamedByModels
from kappa.build.project import Project
from kappa.build.pyproject import ProjectDependencies, read_dependencies
from kappa.build.requirements import OWN_NAMES, check_location, check_requirement, name_of, read_requirements_file
from kappa.build.targets import Target
from kappa.build.wheel import describe_kappa
from kappa.spec.contracts import Plugin
from kappa.spec.models import EnvSpec, ServiceSpec

__all__ = ["Found", "Packages", "PlannedRequirement", "choose_packages"]


@dataclass(frozen=True, slots=True)
class PlannedRequirement:
    """A direct requirement (PEP 508) and the reason why it is there."""

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Found:
    """What code, models and an earlier lock tell of the packages that a service needs."""

    imported: Mapping[str, str]
    """The distributions that the code imports, to where it does, e.g. ``handlers.py:3``."""
    models: NamedByModels
    locked: Mapping[str, str]
    """The versions of the committed lock, by normalised names."""

    def pinned(self, requirement: str) -> str:
        """Pin to the version that a model was made with, else to what is installed here, else to what was locked.

        A local part like `+cpu` is of one machine and left out.
        """
        parsed = Requirement(requirement)
        name = canonicalize_name(parsed.name)
        version = self.models.versions.get(name) or _installed(parsed.name) or self.locked.get(name)
        if version is None:
            return requirement
        extras = f"[{','.join(sorted(parsed.extras))}]" if parsed.extras else ""
        marker = f"; {parsed.marker}" if parsed.marker else ""
        return f"{name}{extras}=={Version(version).public}{marker}"


@dataclass(frozen=True, slots=True)
class Packages:
    """What a resolver is asked for."""

    requirements: tuple[PlannedRequirement, ...]
    inputs: tuple[str, ...]
    """The requirements, with the hashes that the user gave."""
    constraints: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """Where packages come from, as the user says it."""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_packages(project: Project, found: Found, target: Target) -> Packages:
    """Collect the direct requirements of a service.

    The user's words win: a plugin's, a model's or an inferred requirement is left out where the user names the
    distribution, and a requirements file replaces them all.
    """
    env = project.spec.env
    if env.requirements_txt_file is not None:
        return _from_file(project, env.requirements_txt_file)
    problems: list[str] = []
    warnings: list[str] = []
    user = [*_listed(env, problems, warnings)]
    own_project = ProjectDependencies()
    if env.pyproject is not None:
        own_project = read_dependencies(project.root / env.pyproject, target, shown=env.pyproject)
        problems += own_project.problems
        warnings += own_project.warnings
        for text in own_project.requirements:
            if name_of(text) in OWN_NAMES:
                warnings.append(_own(text, env.pyproject))
            else:
                user.append(PlannedRequirement(text, f"`{env.pyproject}`"))
    named = {name_of(one.text) for one in user} | OWN_NAMES
    needed = [
        PlannedRequirement(found.pinned(text), why)
        for text, why in [*_needs(project.spec, found), *(found.imported.items() if env.infer_pip_packages else ())]
        if name_of(text) not in named
    ]
    requirements = _merged([*user, *needed, *_runtime()])
    return Packages(
        requirements,
        inputs=tuple(one.text for one in requirements),
        constraints=(*(pin for pin in own_project.pins if not _is_own(pin)), *_cuda_constraints(env)),
        options=_options(env, problems),
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _listed(env: EnvSpec, problems: list[str], warnings: list[str]) -> Iterator[PlannedRequirement]:
    for text in map(str.strip, env.pip_packages):
        if problem := check_requirement(text):
            problems.append(f"`pip_packages`: {problem}.")
        elif name_of(text) in OWN_NAMES:
            warnings.append(_own(text, "pip_packages"))
        else:
            yield PlannedRequirement(text, "`pip_packages`")


def _needs(spec: ServiceSpec, found: Found) -> Iterator[tuple[str, str]]:
    for plugin, why in _plugins(spec):
        for text in plugin.requires():
            yield text, why
    yield from found.models.distributions.items()


def _options(env: EnvSpec, problems: list[str]) -> tuple[str, ...]:
    """Return the lines of a requirements file that say where packages come from."""
    indexes = [("pip_index_url", "--index-url", env.pip_index_url)] if env.pip_index_url is not None else []
    indexes += [("pip_extra_index_url", "--extra-index-url", url) for url in env.pip_extra_index_url]
    if env.cuda is not None:
        indexes.append(("cuda", "--extra-index-url", CUDA_RELEASES[env.cuda].index_url))
    problems += [f"`{key}` {problem}." for key, _, url in indexes if (problem := check_location(url))]
    hosts = [f"--trusted-host {host}" for host in env.pip_trusted_host]
    return (*(f"{option} {url}" for _, option, url in indexes), *hosts)


def _cuda_constraints(env: EnvSpec) -> tuple[str, ...]:
    return CUDA_RELEASES[env.cuda].constraints if env.cuda is not None else ()


def _from_file(project: Project, name: str) -> Packages:
    content = read_requirements_file(project.root / name, root=project.root)
    warnings = [_own(line.text, line.place) for line in content.requirements if name_of(line.text) in OWN_NAMES]
    lines = [line for line in content.requirements if name_of(line.text) not in OWN_NAMES]
    named = {name_of(line.text) for line in lines}
    warnings += [
        f"`{name}` does not name `{text}`, which {why} needs; nothing is added to a requirements file."
        for plugin, why in _plugins(project.spec)
        for text in plugin.requires()
        if name_of(text) not in named
    ]
    requirements = _merged([*(PlannedRequirement(line.text, line.place) for line in lines), *_runtime()])
    hashed = {line.text: " ".join([line.text, *(f"--hash={one}" for one in line.hashes)]) for line in lines}
    return Packages(
        requirements,
        inputs=tuple(hashed.get(one.text, one.text) for one in requirements),
        constraints=tuple(line.text for line in content.constraints),
        options=content.options,
        problems=content.problems,
        warnings=tuple(warnings),
    )


def _plugins(spec: ServiceSpec) -> Iterator[tuple[Plugin, str]]:
    for artifact in spec.artifacts:
        yield artifact, f"the artifact `{artifact.name}` ({artifact.type})"
    for api in spec.apis:
        yield api.input, f"the input of `{api.name}` ({api.input.type})"
        yield api.output, f"the output of `{api.name}` ({api.output.type})"


def _runtime() -> list[PlannedRequirement]:
    return [PlannedRequirement(text, "Kappa at run time") for text in describe_kappa().runtime]


def _own(requirement: str, place: str) -> str:
    return f"`{requirement}` in `{place}` is left out, because the bundle carries Kappa itself."


def _is_own(pin: str) -> bool:
    return name_of(pin.partition(" --hash=")[0]) in OWN_NAMES


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _merged(requirements: Iterable[PlannedRequirement]) -> tuple[PlannedRequirement, ...]:
    """List each requirement once, in order of names, with all its reasons."""
    reasons: dict[str, list[str]] = {}
    for one in requirements:
        reasons.setdefault(one.text, []).append(one.why)
    merged = [PlannedRequirement(text, ", ".join(dict.fromkeys(whys))) for text, whys in reasons.items()]
    return tuple(sorted(merged, key=lambda one: (name_of(one.text), one.text)))
