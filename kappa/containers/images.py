"""Names of images, as `docker tag` takes them: ``[registry/]path[:tag]``, and what an engine tells of an image.

The grammar is that of the distribution project (github.com/distribution/reference).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kappa.errors import ContainerError
from kappa.tag import Tag

__all__ = ["ImageFacts", "check_image", "default_image", "pinned", "registry_of"]

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
_IMAGE = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::\w[\w.-]{{0,127}})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an engine knows of one image."""

    id: str
    """The digest of its configuration, ``sha256:…``."""
    size_bytes: int
    digests: tuple[str, ...]
    """``name@sha256:…`` as registries know it, for those that it was pulled from or pushed to."""


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


def pinned(image: str, facts: ImageFacts) -> str:
    """Return an image's name with the digest that its registry has for it."""
    if "@" in image:
        return image
    digests = [digest.partition("@")[2] for digest in facts.digests if not digest.startswith("localhost/")]
    if not digests:
        raise ContainerError(f"`{image}` comes from no registry, so it has no digest that others could pull it by.")
    return f"{image}@{digests[0]}"
