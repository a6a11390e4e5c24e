"""The distributions that the user names, wherever that is, and which modules they may bring.

What is named and not installed here cannot be looked into. A name may still tell: `redis` brings `redis`, and a table
knows more. One that is in no table may bring anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from kappa.build.packages.conda import conda_environment
from kappa.build.packages.distributions import guessed_distribution
from kappa.build.packages.installed import installed_version
from kappa.build.packages.known_modules import KNOWN_MODULES, distribution_of, siblings_of
from kappa.build.packages.pyproject import read_dependencies
from kappa.build.packages.requirements import read_requirements_file
from kappa.build.packages.targets import Target, holds_on
from kappa.spec.platforms import running_python
from kappa.spec.service import EnvSpec

__all__ = ["Listed", "listed_in"]

_CONDA_NAME = re.compile(r"(?:[\w.-]+::)?([\w.-]+)")
_AFFIXES = (r"python[-_.]?", r"py[-_.]?", r"[-_.]?python", r"[-_.]?py\d?", r"[-_.]?sdk", r"[-_.]?client")
"""Words in names of distributions beside that of their module."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Distributions that the user names, normalised (PEP 503)."""

    names: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    """Those that are not installed here."""
    is_open: bool = False
    """Whether the image may get more: from a script of its own."""

    def __or__(self, other: Listed) -> Listed:
        return Listed(self.names | other.names, self.absent | other.absent, self.is_open or other.is_open)

    def bringing(self, module: str) -> str | None:
        """Return the absent distribution whose name says that it brings a module."""
        parts = module.split(".")
        spelled = {canonicalize_name("-".join(parts[:depth])) for depth in range(1, len(parts) + 1)}
        distributions = {distribution_of(module), guessed_distribution(module)} - {None}
        wanted = {other for name in distributions for other in siblings_of(str(name))}
        for name in sorted(self.absent):
            if name in wanted or _stems(name) & spelled:
                return name
        return None

    def perhaps(self, imported: Iterable[str]) -> list[str]:
        """Return the absent distributions of which nothing tells what they bring, not even one of the imports."""
        brought = {self.bringing(module) for module in imported}
        return sorted(name for name in self.absent if name not in brought and not _is_known(name))


def _stems(name: str) -> set[str]:
    """Return a normalised name, and what is left of it without the words that names of distributions have."""
    stems = {name}
    for affix in _AFFIXES:
        stems |= {re.sub(rf"^{affix}|{affix}$", "", stem) for stem in stems}
    return {stem.strip("-") for stem in stems} - {""}


def _is_known(name: str) -> bool:
    return name in KNOWN_MODULES.values() or len(siblings_of(name)) > 1


def listed_in(env: EnvSpec, root: Path) -> Listed:
    """Return the distributions that `[env]` of the project in ``root`` names; its mistakes are reported elsewhere."""
    target = Target.of(env.python or running_python(), ())
    names = frozenset(canonicalize_name(name) for name in _names(env, root, target))
    absent = frozenset(name for name in names if installed_version(name) is None)
    return Listed(names, absent, is_open=env.setup_sh is not None)


def _names(env: EnvSpec, root: Path, target: Target) -> Iterator[str]:
    texts: Iterable[str] = env.pip_packages
    if env.requirements_txt_file is not None:
        file = root / env.requirements_txt_file
        texts = [line.text for line in read_requirements_file(file, root=root).requirements] if file.is_file() else []
    else:
        if env.pyproject is not None and (root / env.pyproject).is_file():
            read = read_dependencies(root / env.pyproject, target, shown=env.pyproject)
            texts = [*texts, *read.requirements, *(pin.partition(" --hash=")[0] for pin in read.pins)]
    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if not _holds_nowhere(requirement.marker, target):
            yield requirement.name
    file_is_there = env.conda_env_yml_file is None or (root / env.conda_env_yml_file).is_file()
    if file_is_there and (env.conda_dependencies or env.conda_env_yml_file):
        made = conda_environment("x", env, python=target.python, root=root)
        for line in made.text.partition("dependencies:")[2].splitlines():
            if (match := _CONDA_NAME.match(line.strip().removeprefix("- ").strip("'\""))) is not None and match[
                1
            ] != "python":
                yield match[1]


def _holds_nowhere(marker: Marker | None, target: Target) -> bool:
    """Return whether a marker is false for the whole of a target, so that its requirement asks for nothing."""
    return marker is not None and all(
        holds_on(str(marker), target.python, system) is False for system in target.systems
    )
