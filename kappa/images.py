"""Images as users name them: names and tags, engines, and the arguments and secrets of a build.

A name is what `docker tag` takes, ``[registry/]path[:tag]``; the grammar is that of the distribution project
(github.com/distribution/reference).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kappa.environment import expanded
from kappa.errors import UsageError
from kappa.tag import Tag

__all__ = [
    "BUILDERS",
    "BuilderName",
    "Secret",
    "check_image",
    "default_image",
    "parse_build_argument",
    "parse_secret",
    "registry_of",
]

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
_IMAGE = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::\w[\w.-]{{0,127}})?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

BuilderName = Literal["auto", "docker", "podman", "sdk"]
BUILDERS: tuple[BuilderName, ...] = ("auto", "docker", "podman", "sdk")
"""The values of ``--builder``; `auto` is the first of the others that answers."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that steps of a build may read: a file's, or that of a variable of this process."""

    id: str
    path: Path | None = None
    variable: str = ""

    @property
    def option(self) -> str:
        """As ``--secret`` takes it."""
        return f"id={self.id},src={self.path}" if self.path is not None else f"id={self.id},env={self.variable}"


def check_image(text: str) -> str:
    """Return ``text`` if it can name an image; raises `ValueError` that says what is wrong."""
    if _IMAGE.fullmatch(text):
        return text
    if _IMAGE.fullmatch(text.lower()):
        raise ValueError(f"`{text}` cannot name an image, which has no capital letters: write `{text.lower()}`")
    raise ValueError(f"`{text}` cannot name an image: write `name:tag` or `registry.example.org/team/name:tag`")


def default_image(tag: Tag) -> str:
    """Return the image's name for a bundle: the service in small letters, and the version.

    >>> default_image(Tag("IrisClassifier", "1.0"))
    'irisclassifier:1.0'
    """
    name = re.sub(r"_{3,}", "__", tag.name.lower()).strip("_")
    return f"{name}:{tag.version}"


def registry_of(image: str) -> str:
    """Return the host of an image's registry; Docker Hub's for a name without one."""
    host, slash, _ = image.partition("/")
    return host if slash and (set(".:[") & set(host) or host == "localhost") else "docker.io"


def parse_build_argument(text: str) -> tuple[str, str | None]:
    """Read ``KEY=VALUE``, or ``KEY`` for the value of the variable; raises `UsageError`."""
    key, equals, value = text.partition("=")
    if not _ARGUMENT.fullmatch(key):
        raise UsageError(f"`--build-arg {text}` is not one: write `KEY=VALUE`, or `KEY` for the value of the variable.")
    return key, value if equals else None


def parse_secret(text: str, *, environ: Mapping[str, str]) -> Secret:
    """Read ``id=NAME,src=FILE`` or ``id=NAME,env=VARIABLE``; raises `UsageError` for one that is not there."""
    words = dict(part.partition("=")[::2] for part in text.split(",")) if text else {}
    name, kind = words.pop("id", ""), words.pop("type", "")
    source = words.pop("src", "") or words.pop("source", "")
    variable = words.pop("env", "")
    if words or not _NAME.fullmatch(name) or kind not in ("", "file", "env") or (source and variable):
        raise UsageError(
            "A `--secret` is `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`, never the value itself; one of yours is "
            "neither."
        )
    if source:
        path = expanded(source)
        if not path.is_file():
            raise UsageError(f"The secret `{name}` names the file `{source}`, which is not there.")
        return Secret(name, path.resolve())
    variable = variable or name
    if variable not in environ:
        raise UsageError(f"The secret `{name}` names the variable `{variable}`, which is not set.")
    return Secret(name, variable=variable)
