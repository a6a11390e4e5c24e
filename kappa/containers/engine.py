"""Engines for images: a builder makes them, a client moves them to and from registries, a runner runs them.

Each is a protocol of its own, so that one can be had without the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from kappa.containers.facts import ImageFacts
from kappa.containers.request import ImageRequest

__all__ = ["Builder", "Engine", "RegistryClient", "Runner", "Running"]


class Builder(Protocol):
    """Makes images. Failures are `ContainerError`, and leave nothing running."""

    @property
    def title(self) -> str:
        """Its name in messages, e.g. ``Docker (BuildKit)``."""

    def build(self, request: ImageRequest) -> ImageFacts:
        """Build one image under all its tags."""


class RegistryClient(Protocol):
    """Asks image registries, as the caller is logged in to them. Failures are `ContainerError`."""

    def push(self, image: str) -> str:
        """Push an image that was built here and return its digest in the registry."""

    def pin(self, image: str) -> str:
        """Return ``name:tag@sha256:…`` for what a registry has under ``name:tag`` now."""


class Running(Protocol):
    """A container that runs an image, gone when its block ends."""

    @property
    def url(self) -> str:
        """Where its port 5000 is reached from here; empty as long as it has none."""

    def has_ended(self) -> bool: ...

    def logs(self) -> str: ...


class Runner(Protocol):
    """Runs images on this machine. Failures are `ContainerError`."""

    def run(self, image: str, *, variables: Mapping[str, str]) -> AbstractContextManager[Running]:
        """Run an image on a free port of this machine; values of variables never stand on a command line."""


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts of one engine."""

    builder: Builder
    registry: RegistryClient
    runner: Runner
