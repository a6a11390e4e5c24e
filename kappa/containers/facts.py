"""Facts of an image, from its engine."""

from __future__ import annotations

from dataclasses import dataclass

from kappa.errors import ContainerError

__all__ = ["ImageFacts", "pinned"]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts of one image."""

    id: str
    """The digest of its configuration, ``sha256:…``."""
    size_bytes: int
    digests: tuple[str, ...]
    """``name@sha256:…`` as registries know it, for those that it was pulled from or pushed to."""


def pinned(image: str, facts: ImageFacts) -> str:
    """Return an image's name with the digest that its registry has for it."""
    if "@" in image:
        return image
    digests = [digest.partition("@")[2] for digest in facts.digests if not digest.startswith("localhost/")]
    if not digests:
        raise ContainerError(f"`{image}` comes from no registry, so it has no digest that others could pull it by.")
    return f"{image}@{digests[0]}"
