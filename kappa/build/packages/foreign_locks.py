"""Locks of other tools, read as data: `uv.lock` (version 1) and `pylock.toml` (PEP 751).

Each reader returns what a lock pins for a target, or ``None`` for a lock that is not up to date with the dependencies
it was made from. A lock holds every system and extra of a project; here only what the target needs is taken.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from kappa.build.packages.targets import Target, holds_on, marker_for
from kappa.secret_urls import secret_in
from kappa.spec.platforms import System

__all__ = ["ForeignLock", "Wanted", "pylock_pins", "uv_pins"]

Entry = Mapping[str, Any]  # a package as TOML gives it

_EXTRA = re.compile(r"extra == '([^']*)'")
_MEMBER = re.compile(r"(['\"])(?P<name>[^'\"]+)\1 (?P<negated>not )?in (?P<set>extras|dependency_groups)")
"""What a marker of `pylock.toml` asks of the extras and groups that are installed (PEP 751)."""


@dataclass(frozen=True, slots=True)
class ForeignLock:
    """The pins of a lock; ``problems`` are sentences about what a bundle cannot pin by hash."""

    name: str
    pins: tuple[str, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """The requirements on a lock, as a `pyproject.toml` writes them."""

    dependencies: Sequence[Requirement]
    extras: Mapping[str, Sequence[Requirement]] = field(default_factory=dict)
    groups: Mapping[str, Sequence[Requirement]] = field(default_factory=dict)
    everything: Sequence[Requirement] = ()
    """All of them, the project's own extras written out."""


@dataclass(slots=True)
class _Needed:
    """One version of a distribution and the systems that need it."""

    entry: Entry
    systems: list[System] = field(default_factory=list)


def _lock_of(name: str, needed: Iterable[_Needed], target: Target) -> ForeignLock:
    pins, problems = [], []
    for package in needed:
        entry = package.entry
        hashes = sorted(set(_hashes(entry)))
        if (source := _unhashable(entry)) is not None or not hashes:
            problems.append(f"`{entry['name']}` comes from {source or 'nowhere'} there, which has no hash.")
            continue
        requirement = f"{canonicalize_name(entry['name'])}=={entry.get('version', '')}"
        if (url := _url(entry)) is not None:
            requirement = f"{canonicalize_name(entry['name'])} @ {url}"
            if secret := secret_in(url):
                problems.append(f"`{entry['name']}` has {secret} in its URL there, which a bundle would publish.")
        if len(package.systems) < len(target.systems):
            requirement += f" ; {marker_for(package.systems)}"
        pins.append(" ".join([requirement, *(f"--hash={digest}" for digest in hashes)]))
    return ForeignLock(name, tuple(sorted(pins)), tuple(problems))


def _unhashable(entry: Entry) -> str | None:
    source = entry.get("source", entry)
    words = {"git": "a repository", "vcs": "a repository", "path": "a file of this machine"}
    words |= dict.fromkeys(("directory", "editable", "virtual"), "a folder of this machine")
    return next((words[key] for key in words if key in source), None)


def _url(entry: Entry) -> str | None:
    """Return the URL of a package that is taken from there and not from an index."""
    archive = entry.get("archive", {})
    url = entry.get("source", {}).get("url") or archive.get("url")
    return str(url) if url is not None else None


def _hashes(entry: Entry) -> Iterator[str]:
    files = [*entry.get("wheels", ()), *(entry[key] for key in ("sdist", "archive") if key in entry)]
    for file in files:
        if "hash" in file:
            yield str(file["hash"])
        elif "sha256" in file.get("hashes", {}):
            yield f"sha256:{file['hashes']['sha256']}"


# -- uv.lock -----------------------------------------------------------------------------------------------------------


def uv_pins(tree: Mapping[str, Any], name: str, wanted: Wanted, target: Target) -> ForeignLock | None:
    """Return what a `uv.lock` pins for the project ``name``; ``None`` if it does not fit what is wanted."""
    if tree["version"] != 1:
        raise ValueError(f"its format has the version {tree['version']}, and only 1 is known")
    packages: dict[str, list[Entry]] = {}
    for entry in tree.get("package", ()):
        packages.setdefault(canonicalize_name(entry["name"]), []).append(entry)
    root = next((entry for entry in packages.get(name, ()) if {"virtual", "editable"} & entry["source"].keys()), None)
    root = _without_a_project(tree) if root is None and not name else root
    if root is None or not _asks_for(root, wanted):
        return None
    edges = [*root.get("dependencies", ()), *_edges(root, "optional-dependencies", wanted.extras)]
    edges += _edges(root, "dev-dependencies", wanted.groups)
    needed: dict[tuple[str, str], _Needed] = {}
    for system in target.systems:
        for entry in _reached(root, edges, packages, target.python, system):
            key = (entry["name"], entry.get("version", ""))
            needed.setdefault(key, _Needed(entry)).systems.append(system)
    return _lock_of("uv.lock", needed.values(), target)


def _without_a_project(tree: Mapping[str, Any]) -> Entry:
    """Return what stands for the project in a lock of dependency groups alone."""
    groups = tree.get("manifest", {}).get("dependency-groups", {})
    edges = {
        name: [{**requirement, "extra": requirement.get("extras", ())} for requirement in requirements]
        for name, requirements in groups.items()
    }
    return {"name": "", "dev-dependencies": edges, "metadata": {"requires-dev": groups}}


def _edges(root: Entry, table: str, names: Iterable[str]) -> Iterator[Entry]:
    wanted = {canonicalize_name(name) for name in names}
    for name, edges in root.get(table, {}).items():
        if canonicalize_name(name) in wanted:
            yield from edges


def _asks_for(root: Entry, wanted: Wanted) -> bool:
    """Return whether a lock was made from what is wanted; uv rewrites markers, so only their presence counts."""
    metadata = root.get("metadata", {})
    stated: dict[str, list[Entry]] = {}
    for requirement in metadata.get("requires-dist", ()):
        extra = _EXTRA.search(requirement.get("marker", ""))
        stated.setdefault(extra[1] if extra else "", []).append(requirement)
    groups = {canonicalize_name(name): requirements for name, requirements in metadata.get("requires-dev", {}).items()}
    pairs = [(stated.get("", ()), wanted.dependencies)]
    pairs += [(stated.get(canonicalize_name(name), ()), listed) for name, listed in wanted.extras.items()]
    pairs += [(groups.get(canonicalize_name(name), ()), listed) for name, listed in wanted.groups.items()]
    return all(_are_same(locked, listed) for locked, listed in pairs)


def _are_same(locked: Iterable[Entry], requirements: Iterable[Requirement]) -> bool:
    return {
        (
            canonicalize_name(entry["name"]),
            str(SpecifierSet(entry.get("specifier", ""))),
            frozenset(map(canonicalize_name, entry.get("extras", ()))),
        )
        for entry in locked
    } == {
        (
            canonicalize_name(requirement.name),
            str(requirement.specifier),
            frozenset(map(canonicalize_name, requirement.extras)),
        )
        for requirement in requirements
    }


def _reached(
    root: Entry, edges: Iterable[Entry], packages: Mapping[str, list[Entry]], python: str, system: System
) -> Iterator[Entry]:
    """Yield the packages that some edges of the project need on a system, itself left out."""
    waiting = deque(edges)
    seen: set[tuple[str, str, str]] = set()
    while waiting:
        edge = waiting.popleft()
        if "marker" in edge and holds_on(edge["marker"], python, system) is False:
            continue
        entry = _chosen(edge, packages[canonicalize_name(edge["name"])], python, system)
        for extra in ("", *edge.get("extra", ())):
            key = (entry["name"], entry.get("version", ""), extra)
            if key in seen:
                continue
            if entry is not root and not any(key[:2] == other[:2] for other in seen):
                yield entry
            seen.add(key)
            waiting.extend(
                entry.get("optional-dependencies", {}).get(extra, ()) if extra else entry.get("dependencies", ())
            )


def _chosen(edge: Entry, entries: Sequence[Entry], python: str, system: System) -> Entry:
    """Return the version that an edge means: the one it names, or the one that its markers allow on the system."""
    fitting = [entry for entry in entries if edge.get("version", entry.get("version")) == entry.get("version")]
    for entry in fitting:
        markers = entry.get("resolution-markers", ())
        if not markers or any(holds_on(marker, python, system) is not False for marker in markers):
            return entry
    return fitting[0]


# -- pylock.toml -------------------------------------------------------------------------------------------------------


def pylock_pins(
    tree: Mapping[str, Any],
    name: str,
    wanted: Wanted,
    target: Target,
) -> ForeignLock | None:
    """Return what a `pylock.toml` pins; ``None`` if what is wanted is not satisfied by what it pins.

    The format does not record its inputs, so no more can be checked.
    """
    if not str(tree["lock-version"]).startswith("1."):
        raise ValueError(f"its format has the version {tree['lock-version']}, and only 1.x is known")
    needed = []
    for entry in tree["packages"]:
        systems = [system for system in target.systems if _is_needed(entry, wanted, target.python, system)]
        if systems and canonicalize_name(entry["name"]) != name:
            needed.append(_Needed(entry, systems))
    for system in target.systems:
        pinned = {
            canonicalize_name(package.entry["name"]): package.entry for package in needed if system in package.systems
        }
        for requirement in wanted.everything:
            if requirement.marker and holds_on(str(requirement.marker), target.python, system) is False:
                continue
            entry = pinned.get(canonicalize_name(requirement.name))
            if entry is None or not requirement.specifier.contains(entry.get("version", "0"), prereleases=True):
                return None
    return _lock_of("pylock.toml", needed, target)


def _is_needed(entry: Entry, wanted: Wanted, python: str, system: System) -> bool:
    """Return whether an installer takes a package that is asked for the extras and groups that are wanted."""
    python_wanted = entry.get("requires-python", "")
    if python_wanted and not SpecifierSet(python_wanted).contains(f"{python}.99"):
        return False
    chosen = {"extras": wanted.extras, "dependency_groups": wanted.groups}
    names = {key: {canonicalize_name(name) for name in listed} for key, listed in chosen.items()}

    def holds(match: re.Match[str]) -> str:
        is_in = canonicalize_name(match["name"]) in names[match["set"]]
        return "python_version > '0'" if is_in is not bool(match["negated"]) else "python_version < '0'"

    marker = _MEMBER.sub(holds, entry.get("marker", ""))
    return not marker or holds_on(marker, python, system) is not False
