"""Which packages a service asks for directly, and why; everything that those need in turn is the resolver's work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from kappa.build.bundle.model_files import NamedByModels
from kappa.build.packages.companions import are_bound
from kappa.build.packages.cuda import CUDA_RELEASES
from kappa.build.packages.installed import installed_sibling, installed_version
from kappa.build.packages.known_modules import siblings_of
from kappa.build.packages.lock_record import NOTHING, Asker, Brought, InputLine, LockRecord
from kappa.build.packages.provenance import direct_origin_of
from kappa.build.packages.pyproject import ProjectDependencies, read_dependencies
from kappa.build.packages.requirements import (
    OWN_NAMES,
    check_location,
    check_requirement,
    name_of,
    read_requirements_file,
)
from kappa.build.packages.targets import Target, holds_on, marker_for
from kappa.build.packages.wheel import describe_kappa
from kappa.build.project import Project
from kappa.spec.contracts import Plugin
from kappa.spec.platforms import System
from kappa.spec.service import EnvSpec, ServiceSpec

__all__ = ["Evidence", "Packages", "PlannedRequirement", "UsersWord", "choose_packages", "users_word"]


@dataclass(frozen=True, slots=True)
class PlannedRequirement:
    """A direct requirement (PEP 508) and the reason why it is there."""

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class UsersWord:
    """The user's requirements, which win over everything inferred."""

    requirements: tuple[PlannedRequirement, ...]
    inputs: tuple[str, ...]
    """The same requirements, with the hashes that the user gave."""
    constraints: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """Where packages come from."""
    replaces_all: bool = False
    """Whether nothing is inferred beside it, because it is a requirements file."""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The normalised names of the distributions that it names."""
        return frozenset(name_of(requirement.text) for requirement in self.requirements)

    def missing(self, name: str, target: Target) -> tuple[System, ...]:
        """Return the systems of a target on which it does not ask for a distribution, by its normalised name.

        A requirement whose marker is false there names nothing there.
        """
        markers = [
            Requirement(requirement.text).marker
            for requirement in self.requirements
            if name_of(requirement.text) == name
        ]
        return tuple(
            system
            for system in target.systems
            if all(marker is not None and holds_on(str(marker), target.python, system) is False for marker in markers)
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence for a service's packages: its code, its models and an earlier lock."""

    imported: tuple[Brought, ...]
    models: NamedByModels
    record: LockRecord
    """The requirements of an earlier lock; it is taken over, whatever is installed here."""
    locked: Mapping[str, str]
    """The versions of that lock, by normalised names."""


@dataclass(frozen=True, slots=True)
class Packages:
    """The input of a resolver."""

    requirements: tuple[PlannedRequirement, ...]
    inputs: tuple[str, ...]
    """The requirements, with the hashes that the user gave."""
    input_lines: tuple[InputLine, ...]
    """Their origins, as a lock records them."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Need:
    """A requirement that is inferred."""

    asker: Asker
    subject: str
    requirement: str
    """Empty for a module that is optional and not installed."""
    why: str


def users_word(project: Project, target: Target) -> UsersWord:
    """Read the requirements that the user wrote down; a requirements file replaces every other source."""
    env = project.spec.env
    if env.requirements_txt_file is not None:
        return _from_file(project, env.requirements_txt_file)
    problems: list[str] = []
    warnings: list[str] = []
    listed = [*_listed(env, problems, warnings)]
    own_project = ProjectDependencies()
    if env.pyproject is not None:
        indexes = [url for url in (env.pip_index_url, *env.pip_extra_index_url) if url is not None]
        indexes += [CUDA_RELEASES[env.cuda].index_url] if env.cuda is not None else []
        own_project = read_dependencies(
            project.root / env.pyproject,
            target,
            shown=env.pyproject,
            groups=env.pyproject_groups,
            extras=env.pyproject_extras,
            indexes=indexes,
        )
        problems += own_project.problems
        warnings += [*own_project.warnings, *own_project.unread]
        for text in own_project.requirements:
            if name_of(text) in OWN_NAMES:
                warnings.append(_left_out(text, env.pyproject))
            else:
                listed.append(PlannedRequirement(text, f"`{env.pyproject}`"))
    return UsersWord(
        tuple(listed),
        inputs=tuple(line.text for line in listed),
        constraints=(*(pin for pin in own_project.pins if not _is_own(pin)), *_cuda_constraints(env)),
        options=_options(env, problems),
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def choose_packages(project: Project, users: UsersWord, evidence: Evidence, target: Target) -> Packages:
    """Collect the direct requirements of a service.

    The user's words win: a plugin's, a model's or an inferred requirement is left out where the user names the
    distribution, and a requirements file replaces them all.
    """
    warnings: list[str] = []
    input_lines = [
        InputLine("user", " ".join(text.split()), " ".join(text.split()), requirement.why)
        for text, requirement in zip(users.inputs, users.requirements, strict=True)
    ]
    needed = []
    stands_for: dict[str, dict[str, None]] = {}
    for need in () if users.replaces_all else _needs(project.spec, evidence):
        answer = _answer(need, users, evidence, target, warnings)
        input_lines.append(InputLine(need.asker, need.subject, answer, need.why))
        if need.requirement and (other := name_of(need.requirement)) != input_lines[-1].users and input_lines[-1].users:
            stands_for.setdefault(input_lines[-1].users, {})[other] = None
        if (requirement := input_lines[-1].requirement) is not None:
            needed.append(PlannedRequirement(requirement, need.why))
    runtime = [PlannedRequirement(text, "Kappa at run time") for text in describe_kappa().runtime]
    input_lines += [InputLine("kappa", requirement.text, requirement.text, requirement.why) for requirement in runtime]
    listed = [
        replace(requirement, why=_in_place(requirement.why, stands_for.get(name_of(requirement.text), ())))
        for requirement in users.requirements
    ]
    requirements = _merged([*listed, *needed, *runtime])
    inputs = dict(zip((requirement.text for requirement in users.requirements), users.inputs, strict=True))
    return Packages(
        requirements,
        inputs=tuple(inputs.get(requirement.text, requirement.text) for requirement in requirements),
        input_lines=tuple(input_lines),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _needs(spec: ServiceSpec, evidence: Evidence) -> Iterator[_Need]:
    for plugin, why in _plugins(spec):
        for text in plugin.requires():
            yield _Need("plugin", text, text, why)
    for brought in evidence.models.brought:
        yield _Need("model", brought.module, brought.distribution, f"named in {brought.origin}")
    for brought in evidence.imported if spec.env.infer_pip_packages else ():
        yield _Need("import", brought.module, brought.distribution, f"imported at {brought.origin}")


def _answer(need: _Need, users: UsersWord, evidence: Evidence, target: Target, warnings: list[str]) -> str:
    """Return the requirement for a resolver, or the other answer: see `kappa.build.packages.lock_record`."""
    if not need.requirement or name_of(need.requirement) in OWN_NAMES:
        return NOTHING
    wanted = Requirement(need.requirement)
    name = canonicalize_name(wanted.name)
    for candidate in (name, *sorted(siblings_of(name) - {name})):
        if candidate in users.names and not users.missing(candidate, target):
            return f"user {candidate}"
    systems = users.missing(name, target)
    spelled = _standing_in(need, wanted.name, evidence)
    name, version = canonicalize_name(spelled), _version(need, spelled, evidence)
    if version and version.startswith("==") and not wanted.specifier.contains(version[2:], prereleases=True):
        version = None
    if version is None and not wanted.specifier and not are_bound(name, evidence.models.apart):
        warnings.append(
            f"`{wanted.name}` ({need.why}) is not installed here, and nothing tells its version: the newest one is "
            "taken. Name the version you want in `pip_packages`."
        )
    extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
    markers = [str(wanted.marker)] if wanted.marker else []
    if len(systems) < len(target.systems):
        markers.append(marker_for(systems))
    marker = f"; {' and '.join(f'({part})' for part in markers) if len(markers) > 1 else markers[0]}" if markers else ""
    return f"{name}{extras}{version or wanted.specifier}{marker}"


def _standing_in(need: _Need, spelled: str, evidence: Evidence) -> str:
    """Return the distribution of the same module that an earlier lock has, or that is installed here."""
    recorded = evidence.record.answer(need.asker, need.subject)
    if (
        recorded is not None
        and recorded.requirement is not None
        and recorded.distribution in siblings_of(name_of(spelled))
    ):
        return recorded.distribution
    return installed_sibling(spelled)


def _in_place(why: str, others: Iterable[str]) -> str:
    """Return the reason of a requirement, which may stand for other distributions of the same module."""
    named = ", ".join(f"`{other}`" for other in sorted(others))
    return f"{why}, instead of {named}" if named else why


def _version(need: _Need, spelled: str, evidence: Evidence) -> str | None:
    """Return the end of a requirement that says the version, e.g. ``==1.9.0``; ``None`` if nothing tells it.

    It is the version that a model was made with, else the one of an earlier lock, else what is installed here, unless
    that stands beside a model of another version. A local part like `+cpu` is of one machine and left out.
    """
    name, versions = canonicalize_name(spelled), evidence.models.versions
    made_with = next((versions[other] for other in (name, *sorted(siblings_of(name))) if other in versions), None)
    if (made_with := _public(made_with)) is not None:
        return f"=={made_with}"
    recorded = evidence.record.answer(need.asker, need.subject)
    text = recorded.requirement if recorded is not None and recorded.distribution == name else None
    if (text := text or evidence.record.requirement_of(name)) is not None:
        requirement = Requirement(text)
        return f" @ {requirement.url} " if requirement.url else str(requirement.specifier)
    is_bound = are_bound(name, evidence.models.apart)
    if (direct := direct_origin_of(spelled)) is not None:
        return f" @ {direct.url} " if direct.origin == "archive" else None
    installed = None if is_bound else _public(installed_version(spelled))
    version = installed or evidence.locked.get(name)
    return f"=={version}" if version is not None else None


def _public(version: str | None) -> str | None:
    try:
        return Version(version).public if version is not None else None
    except InvalidVersion:
        return None


def _listed(env: EnvSpec, problems: list[str], warnings: list[str]) -> Iterator[PlannedRequirement]:
    for text in map(str.strip, env.pip_packages):
        if problem := check_requirement(text):
            problems.append(f"`pip_packages`: {problem}.")
        elif name_of(text) in OWN_NAMES:
            warnings.append(_left_out(text, "pip_packages"))
        else:
            yield PlannedRequirement(text, "`pip_packages`")


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


def _from_file(project: Project, name: str) -> UsersWord:
    content = read_requirements_file(project.root / name, root=project.root)
    warnings = [_left_out(line.text, line.origin) for line in content.requirements if name_of(line.text) in OWN_NAMES]
    lines = [line for line in content.requirements if name_of(line.text) not in OWN_NAMES]
    named = {name_of(line.text) for line in lines}
    warnings += [
        f"`{name}` does not name `{text}`, which {why} needs; nothing is added to a requirements file."
        for plugin, why in _plugins(project.spec)
        for text in plugin.requires()
        if not siblings_of(name_of(text)) & named
    ]
    return UsersWord(
        tuple(PlannedRequirement(line.text, line.origin) for line in lines),
        inputs=tuple(" ".join([line.text, *(f"--hash={digest}" for digest in line.hashes)]) for line in lines),
        constraints=tuple(line.text for line in content.constraints),
        options=content.options,
        replaces_all=True,
        problems=content.problems,
        warnings=tuple(warnings),
    )


def _plugins(spec: ServiceSpec) -> Iterator[tuple[Plugin, str]]:
    for artifact in spec.artifacts:
        compiled = ", compiled" if artifact.compiling is not None else ""
        yield artifact.kept, f"the artifact `{artifact.name}` ({artifact.type}{compiled})"
    for api in spec.apis:
        yield api.input, f"the input of `{api.name}` ({api.input.type})"
        yield api.output, f"the output of `{api.name}` ({api.output.type})"


def _left_out(requirement: str, origin: str) -> str:
    return f"`{requirement}` in `{origin}` is left out, because the bundle carries Kappa itself."


def _is_own(pin: str) -> bool:
    return name_of(pin.partition(" --hash=")[0]) in OWN_NAMES


def _merged(requirements: Iterable[PlannedRequirement]) -> tuple[PlannedRequirement, ...]:
    """List each requirement once, in order of names, with all its reasons."""
    reasons: dict[str, list[str]] = {}
    for requirement in requirements:
        reasons.setdefault(requirement.text, []).append(requirement.why)
    merged = [PlannedRequirement(text, ", ".join(dict.fromkeys(whys))) for text, whys in reasons.items()]
    return tuple(sorted(merged, key=lambda requirement: (name_of(requirement.text), requirement.text)))
