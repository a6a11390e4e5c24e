"""Requirement lines: a list of the user's, and requirements files, read without asking pip.

A *requirement* is one line of PEP 508. A requirements file may also hold *constraints* (``-c``), the hashes that a
requirement must have, other files (``-r``), and *options* that say where packages come from. All of it is published in
a bundle, so nothing may name a folder of this machine or carry a password.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from kappa.build.manifest.texts import decoded
from kappa.secret_urls import masked, password_in, secret_in

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
"""Distributions that are never locked: a bundle carries Kappa itself, and `kappa` on the index is an unrelated
project."""

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

_EDITABLE = {"-e", "--editable"}
_IGNORED = {"--require-hashes"}  # a lock always has hashes
_VALUED = {*_OPTIONS, *_FILES, *_EDITABLE, "--hash"}

_COMMENT = re.compile(r"(^|\s+)#.*$")
_OPTIONS_OF_A_LINE = re.compile(r"(?:^|\s)(?=--?[a-zA-Z])")
_ARCHIVE = re.compile(r"\.(whl|zip|tar\.\w+|tgz)(\[[^]]*\])?$", re.IGNORECASE)
_WHEEL = re.compile(r"(?:^|[/\\])(?P<name>[A-Za-z0-9._]+)-(?P<version>[A-Za-z0-9.!+_]+)-[^/\\]+\.whl(?:#|$)")
_VCS = re.compile(r"(git|hg|bzr|svn)\+", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
"""Variables that pip fills in from the environment."""
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RequirementLine:
    """One requirement and where it was written, e.g. ``requirements.txt:3``."""

    text: str
    origin: str
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
    """Return what is wrong with a requirement, as the end of a sentence; ``None`` if a bundle may hold it.

    Kappa itself may come from anywhere, because a bundle leaves it out.
    """
    if problem := _say_variable(text):
        return problem
    try:
        requirement = Requirement(text)
    except InvalidRequirement as exc:
        return _say_invalid(text, exc)
    url = requirement.url
    if url is None:
        return None
    is_left_out = canonicalize_name(requirement.name) in OWN_NAMES
    if _VCS.match(url) and not is_left_out:
        return f"`{masked(text)}` {_REPOSITORY.format(name='name')}"
    if (not _URL.match(url) or url.lower().startswith("file:")) and not is_left_out:
        wheel = _WHEEL.search(unquote(url))
        version = wheel["version"] if wheel else "<version>"
        return (
            f"`{masked(text)}` names a file that only this machine has: if `pip freeze` wrote that, as it "
            f"does in conda's environments, write `{requirement.name}=={version}` (`pip list --format=freeze` prints "
            "it so), else publish the package to an index"
        )
    if secret := password_in(url) if is_left_out else secret_in(url):
        return (
            f"`{masked(text)}` has {secret} in its URL, which a bundle would publish: remove it, and let a `.netrc` "
            "file tell the resolver what the server asks for"
        )
    return None


_REPOSITORY = (
    "names a repository, which has no hash: name an archive instead, "
    "e.g. `{name} @ https://host/project/archive/<commit>.zip`"
)


def check_location(url: str) -> str | None:
    """Return what is wrong with the URL of an index, as the end of a sentence; ``None`` if a bundle may hold it."""
    if secret := secret_in(url):
        return (
            f"has {secret} in its URL, which a bundle would publish: remove it, and give it to the resolver with "
            "`PIP_INDEX_URL` or a `.netrc` file"
        )
    if not _URL.match(url) or url.lower().startswith("file:"):
        return (
            "names a folder that only this machine has: name a URL, or set it for the resolver alone with "
            "`PIP_FIND_LINKS`"
        )
    return None


def read_requirements_file(path: Path, *, root: Path) -> RequirementsFile:
    """Read a requirements file of the project in ``root``, and those it names; collects problems and raises nothing."""
    collected = _Collected()
    _read(path, collected, root=root, is_constraint=False, reading=(), asked_by="")
    return RequirementsFile(
        requirements=tuple(collected.requirements),
        constraints=tuple(collected.constraints),
        options=tuple(dict.fromkeys(collected.options)),
        problems=tuple(map(masked, collected.problems)),
    )


class _Collected:
    def __init__(self) -> None:
        self.requirements: list[RequirementLine] = []
        self.constraints: list[RequirementLine] = []
        self.options: list[str] = []
        self.problems: list[str] = []


def _read(
    path: Path, collected: _Collected, *, root: Path, is_constraint: bool, reading: tuple[Path, ...], asked_by: str
) -> None:
    """Read one file; ``asked_by`` is the place and the text of the line that names it, if another file does."""
    path = path.resolve()
    if path in reading:
        return
    if not path.is_relative_to(root.resolve()):
        collected.problems.append(
            f"{asked_by}names a file outside of the project: put it into the project, or write its lines here."
            if asked_by
            else f"`{path}` lies outside the project `{root}`."
        )
        return
    shown = path.relative_to(root.resolve()).as_posix()
    try:
        text = decoded(path.read_bytes(), as_pip=True)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        collected.problems.append(
            f"{asked_by}cannot be followed: {reason}."
            if asked_by
            else f"The requirements file `{shown}` cannot be read: {reason}."
        )
        return
    for number, line in _logical_lines(text):
        origin = f"{shown}:{number}"
        if problem := _say_variable(line):
            collected.problems.append(f"{origin}: {problem}.")
            continue
        requirement, _, written = _partition(line)
        try:
            options = [*_options(shlex.split(written))]
        except ValueError as exc:
            collected.problems.append(f"{origin}: `{line}` cannot be read: {str(exc).lower()}.")
            continue
        if requirement:
            _read_requirement(requirement, options, origin, collected, is_constraint=is_constraint)
            continue
        for option, value in options:
            if option in _FILES:
                included = path.parent / value
                constraint = is_constraint or option in {"-c", "--constraint"}
                if _URL.match(value):
                    collected.problems.append(
                        f"{origin}: `{option} {value}` names a URL: put the file into the project."
                    )
                else:
                    prefix = f"{origin}: `{option} {value}` "
                    _read(
                        included,
                        collected,
                        root=root,
                        is_constraint=constraint,
                        reading=(*reading, path),
                        asked_by=prefix,
                    )
            else:
                _read_option(option, value, origin, collected)


def _partition(line: str) -> tuple[str, str, str]:
    """Split a line where its options begin, as pip does."""
    match = _OPTIONS_OF_A_LINE.search(line)
    return (line[: match.start()].strip(), " ", line[match.start() :]) if match else (line, "", "")


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the options of a line with their values, in the forms that pip takes: `--x y`, `--x=y`, `-x y`, `-xy`."""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        option, equals, value = word.partition("=")
        if not word.startswith("--") and word.startswith("-"):
            option, equals, value = word[:2], word[2:], word[2:].removeprefix("=")
        if not equals and waiting and (option in _VALUED or not waiting[0].startswith("-")):
            value = waiting.pop(0)
        yield option, value


def _read_option(option: str, value: str, origin: str, collected: _Collected) -> None:
    if option in _EDITABLE:
        collected.problems.append(f"{origin}: {_say_folder(value, f'{option} {value}')}.")
    elif option in _FLAGS:
        collected.options.append(option)
    elif (name := _OPTIONS.get(option)) is None:
        if option not in _IGNORED:
            collected.problems.append(f"{origin}: `{option}` has no meaning in a bundle: remove it.")
    elif name in _LOCATIONS and (problem := check_location(value)):
        collected.problems.append(f"{origin}: `{name} {value}` {problem}.")
    else:
        collected.options.append(f"{name} {value}")


def _read_requirement(
    text: str, options: Sequence[tuple[str, str]], origin: str, collected: _Collected, *, is_constraint: bool
) -> None:
    if problem := check_requirement(text):
        collected.problems.append(f"{origin}: {problem}.")
        return
    if strange := [option for option, _ in options if option != "--hash"]:
        collected.problems.append(f"{origin}: `{strange[0]}` has no meaning in a bundle: remove it.")
        return
    hashes = tuple(value for option, value in options if option == "--hash")
    (collected.constraints if is_constraint else collected.requirements).append(RequirementLine(text, origin, hashes))


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
    shown = masked(text)
    if text.startswith("-"):
        return f"`{shown}` is an option of pip and not a requirement: options belong in a `requirements_txt_file`"
    if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0]:
        return f"`{shown}` stands in quotes, which only a shell takes away: write `{shown[1:-1]}`"
    if _VCS.match(text) or (_URL.match(text) and not text.lower().startswith("file:")):
        wheel = _WHEEL.search(text)
        name = canonicalize_name(wheel["name"]) if wheel else "name"
        if _VCS.match(text):
            return f"`{shown}` {_REPOSITORY.format(name=name)}"
        return f"`{shown}` has no name: write `{name} @ {'https://…' if not wheel else shown}`"
    if _ARCHIVE.search(text):
        wheel = _WHEEL.search(text)
        name = f"`{canonicalize_name(wheel['name'])}`" if wheel else "it"
        return (
            f"`{shown}` names a file that only this machine has: publish {name} to an index (a page of "
            "links to wheels is one, which `--find-links https://…` names), and write its name and version"
        )
    if text.startswith((".", "/", "~", "file:")) or re.match(r"[A-Za-z]:[\\/]", text):
        return _say_folder(text, text)
    return f"`{shown}` is not a requirement: {str(error).splitlines()[0].rstrip('.:').lower()}"


def _say_variable(text: str) -> str | None:
    """Say what to do about a variable of the environment, which would mean something else on another machine."""
    variable = _VARIABLE.search(text)
    if variable is None or secret_in(text):
        return None
    return (
        f"`{masked(text)}` names the variable `{variable[1]}`, which only the environment knows: a bundle is the same "
        "everywhere, so write the value, or give an index to the resolver alone with `PIP_INDEX_URL`"
    )


def _say_folder(value: str, written: str) -> str:
    """Say what to do about a folder, or a repository, that is to be installed as it stands."""
    shown = masked(written)
    if _VCS.match(value):
        return f"`{shown}` {_REPOSITORY.format(name='name')}"
    if value.partition("[")[0].rstrip("/") == ".":
        return (
            f"`{shown}` names the project itself, a folder of this machine, whose code is packed as far as the service "
            'imports it: remove the line, and take what the project needs with `pyproject = "pyproject.toml"`'
        )
    return (
        f"`{shown}` names a folder of this machine, whose code is packed as far as the service imports it: remove the "
        "line, and list what that code needs, by name"
    )
