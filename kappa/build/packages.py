"""Which packages a service asks for directly, and why; everything that those need in turn is the resolver's work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from kappa.build.project import Project
from kappa.build.requirements import OWN_NAMES, check_requirement, name_of, read_requirements_file
from kappa.build.wheel import describe_kappa
from kappa.spec.contracts import Plugin
from kappa.spec.models import ServiceSpec

__all__ = ["Packages", "PlannedRequirement", "choose_packages"]


@dataclass(frozen=True, slots=True)
class PlannedRequirement:
    """A direct requirement (PEP 508) and the reason why it is there."""

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Packages:
    """What a resolver is asked for."""

    requirements: tuple[PlannedRequirement, ...]
    inputs: tuple[str, ...]
    """The requirements, with the hashes that the user gave."""
    constraints: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """Where packages come from, as the requirements file says it."""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_packages(project: Project, imported: Mapping[str, str]) -> Packages:
    """Collect the direct requirements of a service.

    ``imported`` maps the distributions that its code imports to where it does. The user's words win: a plugin's or an
    inferred requirement is left out where the user names the distribution, and a requirements file replaces them all.
    """
    if project.spec.env.requirements_txt_file is not None:
        return _from_file(project, project.spec.env.requirements_txt_file)
    env = project.spec.env
    problems: list[str] = []
    warnings: list[str] = []
    user = []
    for text in map(str.strip, env.pip_packages):
        if problem := check_requirement(text):
            problems.append(f"`pip_packages`: {problem}.")
        elif name_of(text) in OWN_NAMES:
            warnings.append(_own(text, "pip_packages"))
        else:
            user.append(PlannedRequirement(text, "`pip_packages`"))
    named = {name_of(one.text) for one in user}
    needed = [
        PlannedRequirement(_at_installed_version(text), why)
        for plugin, why in _plugins(project.spec)
        for text in plugin.requires()
        if name_of(text) not in named
    ]
    inferred = [
        PlannedRequirement(_at_installed_version(name), f"imported at {place}")
        for name, place in imported.items()
        if env.infer_pip_packages and canonicalize_name(name) not in named | OWN_NAMES
    ]
    requirements = _merged([*user, *needed, *inferred, *_runtime()])
    inputs = tuple(one.text for one in requirements)
    return Packages(requirements, inputs, problems=tuple(problems), warnings=tuple(warnings))


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


def _at_installed_version(requirement: str) -> str:
    """Pin to what is installed here, if it is; a local part like `+cpu` is of this machine and left out."""
    parsed = Requirement(requirement)
    try:
        version = Version(metadata.version(parsed.name)).public
    except metadata.PackageNotFoundError:
        return requirement
    extras = f"[{','.join(sorted(parsed.extras))}]" if parsed.extras else ""
    marker = f"; {parsed.marker}" if parsed.marker else ""
    return f"{canonicalize_name(parsed.name)}{extras}=={version}{marker}"


def _merged(requirements: Iterable[PlannedRequirement]) -> tuple[PlannedRequirement, ...]:
    """List each requirement once, in order of names, with all its reasons."""
    reasons: dict[str, list[str]] = {}
    for one in requirements:
        reasons.setdefault(one.text, []).append(one.why)
    merged = [PlannedRequirement(text, ", ".join(dict.fromkeys(whys))) for text, whys in reasons.items()]
    return tuple(sorted(merged, key=lambda one: (name_of(one.text), one.text)))
