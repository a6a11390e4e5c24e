"""Where the dependencies of a `pyproject.toml` come from, if not from an index: uv's sources, and those of Poetry.

The dependency is only a name there, and the table of the tool says what it means. An index may have another project
under that name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import tomli
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from kappa.wording import quoted

__all__ = ["Source", "Sourced", "project_folders", "sources_of", "unread_settings", "with_sources", "workspace_of"]

_REPOSITORIES = ("git", "hg", "svn")


@dataclass(frozen=True, slots=True)
class Source:
    """Where one dependency comes from: exactly one of its fields says it."""

    folder: Path | None = None
    """A project of the user's own."""
    url: str = ""
    """A public archive."""
    index: str = ""
    """The URL of an index, the only one that may be asked."""
    problem: str = ""
    """Why a bundle cannot have it; the end of a sentence that begins with its name."""


def sources_of(pyproject: Path, tree: Mapping[str, Any]) -> Mapping[str, Source]:
    """Read where dependencies of a `pyproject.toml` come from, by normalised names, if not from any index."""
    workspace = workspace_of(pyproject)
    sources: dict[str, Source] = {}
    if workspace is not None and workspace != pyproject:
        sources.update(_uv_sources(workspace, _read(workspace), workspace))
    sources.update(_pdm_sources(tree))
    sources.update(_poetry_sources(pyproject, tree))
    sources.update(_uv_sources(pyproject, tree, workspace))
    return sources


def unread_settings(tree: Mapping[str, Any], indexes: Collection[str]) -> Iterator[str]:
    """Yield the settings of a `pyproject.toml` on indexes that only its own tool reads.

    Each is the end of a sentence; ``indexes`` are the URLs of those that are asked.
    """
    uv = _at(tree, "tool", "uv")
    indexed = {url.rstrip("/") for url in (*indexes, _PYPI)}
    listed = [*_tables(uv, "index"), *_tables(_at(tree, "tool", "pdm"), "source"), *_poetry_indexes(tree)]
    urls = [str(index.get("url", "")) for index in listed if not _is_for_some(index)]
    for key in ("index-url", "extra-index-url"):
        value = uv.get(key, [])
        urls += [str(url) for url in (value if isinstance(value, list) else [value])]
    for url in dict.fromkeys(urls):
        if url and url.rstrip("/") not in indexed:
            yield (
                f"names the index {quoted(url)} for its tool, and that is not asked: name it in `pip_index_url` or "
                "`pip_extra_index_url`"
            )
    for key in _UVS_RULES:
        if uv.get(key):
            yield f"has `{key}` in `[tool.uv]`, which only uv reads: run `uv lock`, whose pins are taken"


_PYPI = "https://pypi.org/simple"
_UVS_RULES = ("constraint-dependencies", "override-dependencies", "exclude-dependencies")


def _is_for_some(index: Mapping[str, Any]) -> bool:
    """Return whether an index is asked only for what names it."""
    return bool(index.get("explicit") or index.get("priority") == "explicit" or index.get("include_packages"))


def _poetry_indexes(tree: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _tables(_at(tree, "tool", "poetry"), "source")


def _tables(table: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    listed = table.get(key, ())
    return [table for table in listed if isinstance(table, Mapping)] if isinstance(listed, list) else []


def project_folders(pyproject: Path) -> tuple[Path, ...]:
    """Return the folders of the user's own projects that a `pyproject.toml` needs, directly or through others."""
    folders: dict[Path, None] = {}
    waiting = [pyproject]
    while waiting:
        file = waiting.pop()
        tree = _read(file)
        dependencies = {canonicalize_name(Requirement(text).name) for text in _dependencies(tree) if _is_valid(text)}
        for name, source in sources_of(file, tree).items():
            if source.folder is not None and name in dependencies and source.folder not in folders:
                folders[source.folder] = None
                waiting.append(source.folder / "pyproject.toml")
    return tuple(folders)


@dataclass(slots=True)
class Sourced:
    """Dependencies, each with its source; ``problems`` are the ends of sentences."""

    requirements: list[str] = field(default_factory=list)
    project_names: set[str] = field(default_factory=set)
    """The normalised names of the user's own projects, whose code is packed and whose needs are taken."""
    problems: list[str] = field(default_factory=list)
    indexed: dict[str, str] = field(default_factory=dict)
    """The URL of the one index that may be asked, by the name of a dependency."""


def with_sources(texts: Iterable[str], pyproject: Path, tree: Mapping[str, Any]) -> Sourced:
    """Bring requirements together with where they come from; the user's own projects become what they need."""
    sourced = Sourced()
    waiting = deque([(list(texts), sources_of(pyproject, tree))])
    while waiting:
        listed, sources = waiting.popleft()
        for text in listed:
            requirement = Requirement(text)
            name = canonicalize_name(requirement.name)
            source = sources.get(name)
            if source is None or requirement.url is not None:
                sourced.requirements.append(text)
            elif source.problem:
                sourced.problems.append(f"`{requirement.name}` {source.problem}")
            elif source.url:
                marker = f" ; {requirement.marker}" if requirement.marker else ""
                sourced.requirements.append(f"{requirement.name} @ {source.url}{marker}")
            elif source.folder is None:
                sourced.indexed[requirement.name] = source.index
                sourced.requirements.append(text)
            elif name not in sourced.project_names:
                sourced.project_names.add(name)
                file = source.folder / "pyproject.toml"
                inner = _read(file)
                waiting.append(([text for text in _dependencies(inner) if _is_valid(text)], sources_of(file, inner)))
    return sourced


def _dependencies(tree: Mapping[str, Any]) -> list[str]:
    listed = _at(tree, "project").get("dependencies", ())
    return [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []


def _is_valid(text: str) -> bool:
    try:
        Requirement(text)
    except InvalidRequirement:
        return False
    return True


def workspace_of(pyproject: Path) -> Path | None:
    """Return the `pyproject.toml` of the uv workspace that a project is in, which may be its own."""
    for folder in (pyproject.parent, *pyproject.parent.parents):
        file = folder / "pyproject.toml"
        if file.is_file() and "workspace" in _at(_read(file), "tool", "uv"):
            return file
    return None


def _uv_sources(pyproject: Path, tree: Mapping[str, Any], workspace: Path | None) -> Iterator[tuple[str, Source]]:
    uv = _at(tree, "tool", "uv")
    indexes = {str(index.get("name", "")): str(index.get("url", "")) for index in _tables(uv, "index")}
    for name, entries in _at(uv, "sources").items():
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, Mapping):
                continue
            if entry.get("workspace"):
                member = _member(name, workspace) if workspace is not None else None
                problem = "" if member is not None else "is of a uv workspace that has no such member"
                yield canonicalize_name(name), Source(folder=member, problem=problem)
            elif "index" in entry:
                yield canonicalize_name(name), Source(index=indexes.get(str(entry["index"]), str(entry["index"])))
            else:
                yield canonicalize_name(name), _source(entry, pyproject)


def _pdm_sources(tree: Mapping[str, Any]) -> Iterator[tuple[str, Source]]:
    for index in _tables(_at(tree, "tool", "pdm"), "source"):
        for pattern in index.get("include_packages", ()):
            for text in _dependencies(tree):
                if _is_valid(text) and fnmatchcase(name := canonicalize_name(Requirement(text).name), str(pattern)):
                    yield name, Source(index=str(index.get("url", "")))


def _poetry_sources(pyproject: Path, tree: Mapping[str, Any]) -> Iterator[tuple[str, Source]]:
    indexes = {str(index.get("name", "")): str(index.get("url", "")) for index in _poetry_indexes(tree)}
    for name, entries in _at(tree, "tool", "poetry", "dependencies").items():
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, Mapping) and {"path", "file", "url", *_REPOSITORIES} & entry.keys():
                yield canonicalize_name(name), _source(entry, pyproject)
            elif isinstance(entry, Mapping) and "source" in entry:
                yield canonicalize_name(name), Source(index=indexes.get(str(entry["source"]), str(entry["source"])))


def _source(entry: Mapping[str, Any], pyproject: Path) -> Source:
    if (tool := next((key for key in _REPOSITORIES if key in entry), None)) is not None:
        return Source(problem=f"comes from the repository {quoted(str(entry[tool]))} there, which has no hash")
    if "url" in entry:
        return Source(url=str(entry["url"]))
    text = str(entry.get("path", entry.get("file", "")))
    path = (pyproject.parent / text).resolve()
    if path.is_dir():
        return Source(folder=path)
    kind = "the file" if path.is_file() else "the folder"
    gone = "" if path.exists() else ", which is not there"
    return Source(problem=f"comes from {kind} {quoted(text)} there{gone or ', which no other machine has'}")


def _member(name: str, workspace: Path) -> Path | None:
    """Return the folder of the member of a workspace that has a name."""
    patterns = _at(_read(workspace), "tool", "uv", "workspace").get("members", ())
    folders = [workspace.parent, *(path for text in patterns for path in sorted(workspace.parent.glob(str(text))))]
    for folder in folders:
        project_name = _at(_read(folder / "pyproject.toml"), "project").get("name", "")
        if canonicalize_name(str(project_name)) == canonicalize_name(name):
            return folder
    return None


def _read(file: Path) -> Mapping[str, Any]:
    try:
        return tomli.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError):
        return {}


def _at(tree: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    value: Any = tree
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}
