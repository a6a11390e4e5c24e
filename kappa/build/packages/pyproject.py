"""The dependencies of a `pyproject.toml`, and the versions at which the user's own lock beside it pins them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from kappa.build.manifest.texts import decoded
from kappa.build.packages.declared_elsewhere import say_elsewhere
from kappa.build.packages.foreign_locks import ForeignLock, Wanted, pylock_pins, uv_pins
from kappa.build.packages.optional_dependencies import OptionalDependencies
from kappa.build.packages.project_sources import unread_settings, with_sources, workspace_of
from kappa.build.packages.requirements import check_requirement
from kappa.build.packages.targets import Target
from kappa.wording import quoted

__all__ = ["ProjectDependencies", "read_dependencies"]


@dataclass(frozen=True, slots=True)
class ProjectDependencies:
    """The requirements of a `pyproject.toml`; ``problems`` and ``warnings`` are whole sentences."""

    requirements: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    """The pins of its lock for the target: ``name==version`` with the hashes that the lock states."""
    lock: str = ""
    """The name of that lock; empty if there is none that is up to date."""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    """Settings that only its own tool reads; whole sentences."""


def read_dependencies(
    path: Path,
    target: Target,
    *,
    shown: str,
    groups: Sequence[str] = (),
    extras: Sequence[str] = (),
    indexes: Collection[str] = (),
) -> ProjectDependencies:
    """Read the dependencies of the `pyproject.toml` at ``path`` for ``target``; messages call it ``shown``.

    Those of its dependency ``groups`` and of its own ``extras`` come to it. What comes from elsewhere than an index, or
    from an index of its own, is never asked of another one; ``indexes`` are the URLs of those that are asked.
    """
    try:
        tree = tomli.loads(decoded(path.read_bytes()))
    except (OSError, ValueError) as exc:  # a TOMLDecodeError is a ValueError
        return ProjectDependencies(problems=(f"`{shown}` cannot be read: {str(exc).rstrip('.')}.",))
    project = _table(tree, "project")
    optional = OptionalDependencies(tree, shown=shown)
    if (problem := _unusable(tree, path, shown, is_complete=bool(groups or extras))) is not None:
        return ProjectDependencies(problems=(problem,))
    written: list[str] = project.get("dependencies", [])
    dependencies = [*optional.expanded(written)]
    added = {
        **{("extra", name): optional.of_extra(name) for name in extras},
        **{("group", name): optional.of_group(name) for name in groups},
    }
    dependencies = list(dict.fromkeys([*dependencies, *itertools.chain.from_iterable(added.values())]))
    problems = [*optional.problems]
    problems += [f"`{shown}`: {problem}." for text in dependencies if (problem := check_requirement(text))]
    problems += _misfit(project, target, shown)
    if problems:
        return ProjectDependencies(problems=tuple(dict.fromkeys(problems)))
    wanted = Wanted(
        [Requirement(text) for text in written],
        {name: [Requirement(text) for text in optional.written("extra", name)] for name in extras},
        {name: [Requirement(text) for text in optional.written("group", name)] for name in groups},
        [Requirement(text) for text in dependencies],
    )
    sourced = with_sources(dependencies, path, tree)
    problems = [f"`{shown}`: {problem}." for problem in sourced.problems]
    lock = _lock_beside(path, project, wanted, target, project_names=sourced.project_names)
    if isinstance(lock, str):
        problems += [
            f"`{shown}`: `{name}` comes from the index {quoted(url)} alone, and another one may have a stranger's of "
            "that name: name that index in `pip_extra_index_url`, or run `uv lock`, whose hashes are taken."
            for name, url in sourced.indexed.items()
            if url.rstrip("/") not in {index.rstrip("/") for index in indexes}
        ]
        covered = (*indexes, *sourced.indexed.values())
        return ProjectDependencies(
            tuple(sourced.requirements),
            problems=tuple(problems),
            warnings=(lock,) if lock else (),
            unread=tuple(f"`{shown}` {setting}." for setting in unread_settings(tree, covered)) if dependencies else (),
        )
    if problems:
        return ProjectDependencies(problems=tuple(problems))
    return ProjectDependencies(
        tuple(sourced.requirements),
        pins=lock.pins,
        lock=lock.name,
        problems=tuple(f"`{lock.name}`: {problem}" for problem in lock.problems),
    )


def _unusable(tree: Mapping[str, Any], path: Path, shown: str, *, is_complete: bool) -> str | None:
    """Say why a `pyproject.toml` does not tell what it depends on; ``is_complete`` if groups or extras do."""
    project = _table(tree, "project")
    if "dependencies" in project.get("dynamic", ()):
        files = _table(_table(_table(_table(tree, "tool"), "setuptools"), "dynamic"), "dependencies").get("file")
        listed = [files] if isinstance(files, str) else files
        advice = "Write them out."
        if isinstance(listed, list) and listed:
            advice = f"Name `{listed[0]}`, from which setuptools reads them, in `requirements_txt_file`."
        return f"The dependencies of `{shown}` are dynamic: only building it could tell them. {advice}"
    if "dependencies" not in project:
        return None if is_complete else say_elsewhere(tree, path.parent, shown=shown)
    dependencies = project["dependencies"]
    if not isinstance(dependencies, list) or not all(isinstance(text, str) for text in dependencies):
        return f"`project.dependencies` of `{shown}` is not a list of texts."
    return None


def _misfit(project: Mapping[str, Any], target: Target, shown: str) -> list[str]:
    wanted = project.get("requires-python")
    try:
        if wanted is None or SpecifierSet(wanted).contains(f"{target.python}.99"):
            return []
    except InvalidSpecifier:
        return [f"`project.requires-python` of `{shown}` is not a range of versions: `{wanted}`."]
    return [f"`{shown}` wants Python `{wanted}`, and the service runs on Python {target.python}: set `python`."]


def _lock_beside(
    path: Path, project: Mapping[str, Any], wanted: Wanted, target: Target, *, project_names: Collection[str] = ()
) -> ForeignLock | str:
    """Return the first lock beside a `pyproject.toml` that is up to date with it, or why none is.

    A member of a workspace has its lock where that begins. Projects of the user's ``own`` are pinned by none.
    """
    stale = ""
    name = canonicalize_name(str(project.get("name", "")))
    for file, read in (("uv.lock", uv_pins), ("pylock.toml", pylock_pins)):
        workspace = workspace_of(path) if file == "uv.lock" else None
        lock_file = (path if workspace is None else workspace).with_name(file)
        if not lock_file.is_file():
            continue
        try:
            lock = read(tomli.loads(decoded(lock_file.read_bytes())), name, wanted, target)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            stale = f"`{file}` cannot be read as a lock, so it is not used: {type(exc).__name__}: {exc}."
            continue
        if lock is not None:
            starts = tuple(f"`{project_name}` " for project_name in project_names)
            return replace(lock, problems=tuple(problem for problem in lock.problems if not problem.startswith(starts)))
        stale = f"`{file}` is not up to date with `{path.name}`, so it is not used. {_REMEDIES[file]}"
    return stale


_REMEDIES = {"uv.lock": "Run `uv lock`.", "pylock.toml": "Lock again with the tool that made it."}


def _table(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = tree.get(key, {})
    return value if isinstance(value, Mapping) else {}
