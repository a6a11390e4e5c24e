"""Requirement lines: a list of the user's, and requirements files, read without asking pip.

A *requirement* is one line of PEP 508. A requirements file may also hold *constraints* (``-c``), the hashes that a
requirement must have, other files (``-r``), and *options* that say where packages come from. Whatever is read here
travels in a bundle, so nothing may name a folder of this machine or carry a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

__all__ = [
    "OWN_NAMES",
    "RequirementLine",
    "RequirementsFile",
    "check_location",
    "check_requirement",
    "name_of",
    "read_requirements_file",
]

OWN_NAMES = frozenset({"kappa", "kappa-ml"})
"""What never stands in a lock: a bundle carries Kappa itself, and `kappa` on the index is an unrelated project."""

_OPTIONS = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--trusted-host": "--trusted-host",
    "--only-binary": "--only-binary",
    "--no-binary": "--no-binary",
}
_FLAGS = {"--no-index", "--pre", "--prefer-binary"}
_FILES = {"-r", "--requirement", "-c", "--constraint"}
_LOCATIONS = {"--index-url", "--extra-index-url", "--find-links"}

_OPTION = re.compile(r"(--[a-z-]+|-[a-z])[\s=]*(.*)")
_COMMENT = re.compile(r"(^|\s+)#.*$")
_HASH = re.compile(r"\s--hash[= ](\S+)")
_VCS = re.compile(r"(git|hg|bzr|svn)\+", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_USER_INFORMATION = re.compile(r"://[^/?#\s]*@")


@dataclass(frozen=True, slots=True)
class RequirementLine:
    """One requirement and where it was written, e.g. ``requirements.txt:3``."""

    text: str
    place: str
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RequirementsFile:
    """A requirements file with the files it names, flat; ``problems`` are whole sentences with their place."""

    requirements: tuple[RequirementLine, ...] = ()
    constraints: tuple[RequirementLine, ...] = ()
    options: tuple[str, ...] = ()
    """Lines such as ``--index-url https://…``, in the order of the file."""
    problems: tuple[str, ...] = ()


def name_of(requirement: str) -> str:
    """Return the normalised name (PEP 503) of the distribution that a valid requirement names."""
    return canonicalize_name(Requirement(requirement).name)


def check_requirement(text: str) -> str | None:
    """Return what is wrong with a requirement, as the end of a sentence; ``None`` if a bundle may hold it."""
    try:
        url = Requirement(text).url
    except InvalidRequirement as exc:
        return _say_invalid(text, exc)
    if url is None:
        return None
    if _USER_INFORMATION.search(url) and not _VCS.match(url):
        return f"`{_without_user_information(text)}` has a user or password in its URL, which a bundle would publish"
    if _VCS.match(url):
        return (
            f"`{_without_user_information(text)}` names a repository, which has no hash: name an archive instead, "
            "e.g. `name @ https://host/project/archive/<commit>.zip`"
        )
    if not _URL.match(url) or url.lower().startswith("file:"):
        return f"`{text}` names a file of this machine, which nobody else has: publish it to an index"
    return None


def check_location(url: str) -> str | None:
    """Return what is wrong with the URL of an index, as the end of a sentence; ``None`` if a bundle may hold it."""
    if _USER_INFORMATION.search(url):
        return (
            "has a user or password in its URL, which a bundle would publish: remove it, and give it to the resolver "
            "with `PIP_INDEX_URL` or a `.netrc` file"
        )
    if not _URL.match(url) or url.lower().startswith("file:"):
        return (
            "names a folder of this machine, which nobody else has: name a URL, or set it for the resolver alone with "
            "`PIP_FIND_LINKS`"
        )
    return None


def read_requirements_file(path: Path, *, root: Path) -> RequirementsFile:
    """Read a requirements file of the project in ``root``, and those it names; collects problems and raises nothing."""
    found = _Found()
    _read(path, found, root=root, is_constraint=False, reading=())
    return RequirementsFile(
        requirements=tuple(found.requirements),
        constraints=tuple(found.constraints),
        options=tuple(dict.fromkeys(found.options)),
        problems=tuple(found.problems),
    )


class _Found:
    def __init__(self) -> None:
        self.requirements: list[RequirementLine] = []
        self.constraints: list[RequirementLine] = []
        self.options: list[str] = []
        self.problems: list[str] = []


def _read(path: Path, found: _Found, *, root: Path, is_constraint: bool, reading: tuple[Path, ...]) -> None:
    path = path.resolve()
    if path in reading:
        return
    if not path.is_relative_to(root.resolve()):
        found.problems.append(f"`{path}` lies outside the project `{root}`.")
        return
    shown = path.relative_to(root.resolve()).as_posix()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        found.problems.append(f"The requirements file `{shown}` cannot be read: {reason}.")
        return
    for number, line in _logical_lines(text):
        place = f"{shown}:{number}"
        if (match := _OPTION.fullmatch(line)) is None:
            _read_requirement(line, place, found, is_constraint=is_constraint)
            continue
        option, value = match.groups()
        if option in _FILES:
            included = path.parent / value
            constraint = is_constraint or option in {"-c", "--constraint"}
            if _URL.match(value):
                found.problems.append(f"{place}: `{option} {value}` names a URL: put the file into the project.")
            else:
                _read(included, found, root=root, is_constraint=constraint, reading=(*reading, path))
        else:
            _read_option(option, value, place, found)


def _read_option(option: str, value: str, place: str, found: _Found) -> None:
    if option in {"-e", "--editable"}:
        found.problems.append(f"{place}: `-e {value}` names a folder of this machine: list what it needs, by name.")
    elif option in _FLAGS:
        found.options.append(option)
    elif (name := _OPTIONS.get(option)) is None:
        if option != "--require-hashes":  # a lock always has hashes
            found.problems.append(f"{place}: `{option}` has no meaning in a bundle: remove it.")
    elif name in _LOCATIONS and (problem := check_location(value)):
        found.problems.append(f"{place}: `{name} {_without_user_information(value)}` {problem}.")
    else:
        found.options.append(f"{name} {value}")


def _read_requirement(line: str, place: str, found: _Found, *, is_constraint: bool) -> None:
    hashes = tuple(_HASH.findall(line))
    text = _HASH.sub("", line).strip()
    if problem := check_requirement(text):
        found.problems.append(f"{place}: {problem}.")
        return
    (found.constraints if is_constraint else found.requirements).append(RequirementLine(text, place, hashes))


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their first number, continuations joined and comments removed, as pip reads them."""
    joined, first = "", 0
    for number, line in enumerate((*text.splitlines(), ""), start=1):
        first = first or number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            joined += f"{line[:-1].strip()} "
            continue
        if logical := _COMMENT.sub("", joined + line).strip():
            yield first, logical
        joined, first = "", 0


def _say_invalid(text: str, error: InvalidRequirement) -> str:
    if text.startswith("-"):
        return f"`{text}` is an option of pip and not a requirement: options belong in a `requirements_txt_file`"
    if _URL.match(text) or _VCS.match(text) or text.startswith((".", "/", "~")) or text.endswith((".whl", ".tar.gz")):
        return f"`{_without_user_information(text)}` has no name: write `name @ https://…`"
    return f"`{text}` is not a requirement: {str(error).splitlines()[0].rstrip('.:').lower()}"


def _without_user_information(text: str) -> str:
    return _USER_INFORMATION.sub("://****@", text)
