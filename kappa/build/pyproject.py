"""The dependencies of a `pyproject.toml`, and the versions at which the user's own lock beside it pins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from kappa.build.foreign_locks import ForeignLock, pylock_pins, uv_pins
from kappa.build.requirements import check_requirement
from kappa.build.targets import Target

__all__ = ["ProjectDependencies", "read_dependencies"]


@dataclass(frozen=True, slots=True)
class ProjectDependencies:
    """What a `pyproject.toml` asks for; ``problems`` and ``warnings`` are whole sentences."""

    requirements: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    """What its lock pins for the target: ``name==version`` with the hashes that the lock states."""
    lock: str = ""
    """The name of that lock; empty if there is none that is up to date."""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_dependencies(path: Path, target: Target, *, shown: str) -> ProjectDependencies:
    """Read the dependencies of the `pyproject.toml` at ``path`` for ``target``; messages call it ``shown``."""
    try:
        project = _table(tomli.loads(path.read_text(encoding="utf-8")), "project")
    except (OSError, ValueError) as exc:  # a TOMLDecodeError is a ValueError
        return ProjectDependencies(problems=(f"`{shown}` cannot be read: {exc}.",))
    dependencies = project.get("dependencies", [])
    if "dependencies" in project.get("dynamic", ()):
        return ProjectDependencies(
            problems=(f"The dependencies of `{shown}` are dynamic: only building it could tell them. Write them out.",)
        )
    if not isinstance(dependencies, list) or not all(isinstance(text, str) for text in dependencies):
        return ProjectDependencies(problems=(f"`project.dependencies` of `{shown}` is not a list of texts.",))
    problems = [f"`{shown}`: {problem}." for text in dependencies if (problem := check_requirement(text))]
    problems += _misfit(project, target, shown)
    if problems:
        return ProjectDependencies(problems=tuple(problems))
    found = _lock_beside(path, project, [Requirement(text) for text in dependencies], target)
    if isinstance(found, str):
        return ProjectDependencies(tuple(dependencies), warnings=(found,) if found else ())
    return ProjectDependencies(
        tuple(dependencies),
        pins=found.pins,
        lock=found.name,
        problems=tuple(f"`{found.name}`: {problem}" for problem in found.problems),
    )


def _misfit(project: Mapping[str, Any], target: Target, shown: str) -> list[str]:
    wanted = project.get("requires-python")
    try:
        if wanted is None or SpecifierSet(wanted).contains(f"{target.python}.99"):
            return []
    except InvalidSpecifier:
        return [f"`project.requires-python` of `{shown}` is not a range of versions: `{wanted}`."]
    return [f"`{shown}` wants Python `{wanted}`, and the service runs on Python {target.python}: set `python`."]


def _lock_beside(
    path: Path, project: Mapping[str, Any], dependencies: Sequence[Requirement], target: Target
) -> ForeignLock | str:
    """Return the first lock beside a `pyproject.toml` that is up to date with it, or why none is."""
    stale = ""
    name = canonicalize_name(str(project.get("name", "")))
    for file, read in (("uv.lock", uv_pins), ("pylock.toml", pylock_pins)):
        place = path.with_name(file)
        if not place.is_file():
            continue
        try:
            found = read(tomli.loads(place.read_text(encoding="utf-8")), name, dependencies, target)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            stale = f"`{file}` cannot be read as a lock, so it is not used: {type(exc).__name__}: {exc}."
            continue
        if found is not None:
            return found
        stale = f"`{file}` is not up to date with `{path.name}`, so it is not used. {_REMEDIES[file]}"
    return stale


_REMEDIES = {"uv.lock": "Run `uv lock`.", "pylock.toml": "Lock again with the tool that made it."}


def _table(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = tree.get(key, {})
    return value if isinstance(value, Mapping) else {}
