"""The paths inside a bundle, for everything that writes, reads, checks or installs one.

A layout names paths below a folder: one on disk (a `Path`), or the bundle's own (`PurePosixPath()`). It says nothing of
what is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Generic, TypeVar

__all__ = ["MANIFEST_NAME", "BundleLayout", "PackageLayout"]

MANIFEST_NAME = "kappa.yml"
P = TypeVar("P", bound=PurePath)


@dataclass(frozen=True, slots=True)
class PackageLayout(Generic[P]):
    """The package of a service, which is all that pip installs: its code, its models, and how it is installed."""

    folder: P

    @property
    def code(self) -> P:
        """The `__init__.py`; the service's own modules are beside it."""
        return self.folder / "__init__.py"

    @property
    def manifest(self) -> P:
        """The same bytes as the bundle's."""
        return self.folder / MANIFEST_NAME

    @property
    def wheels(self) -> P:
        """Where the wheel of Kappa is that the bundle was built with."""
        return self.folder / "_kappa"

    @property
    def artifacts(self) -> P:
        return self.folder / "artifacts"

    def artifact(self, name: str) -> P:
        """The folder of one model."""
        return self.artifacts / name

    @property
    def static_content(self) -> P:
        """The static content at the server's root."""
        return self.folder / "web_static_content"

    @property
    def folders(self) -> tuple[P, ...]:
        """Its folders that hold no module of the service's."""
        return (self.wheels, self.artifacts, self.static_content)


@dataclass(frozen=True, slots=True)
class BundleLayout(Generic[P]):
    """A whole bundle."""

    root: P

    def package(self, name: str) -> PackageLayout[P]:
        """The package of the service that is called ``name``."""
        return PackageLayout(self.root / name)

    @property
    def manifest(self) -> P:
        return self.root / MANIFEST_NAME

    @property
    def examples(self) -> P:
        """Where the files of the examples are."""
        return self.root / "examples"

    @property
    def readme(self) -> P:
        return self.root / "README.md"

    @property
    def openapi(self) -> P:
        return self.root / "docs.json"

    @property
    def lock(self) -> P:
        return self.root / "requirements.txt"

    @property
    def python_version(self) -> P:
        return self.root / "python_version"

    @property
    def conda_environment(self) -> P:
        return self.root / "environment.yml"

    @property
    def setup_script(self) -> P:
        """The script that prepares a machine for the service."""
        return self.root / "setup.sh"

    @property
    def setup(self) -> P:
        """The `setup.py` of the package."""
        return self.root / "setup.py"

    @property
    def manifest_in(self) -> P:
        """The list of files for an sdist."""
        return self.root / "MANIFEST.in"

    @property
    def dockerfile(self) -> P:
        return self.root / "Dockerfile"

    @property
    def dockerignore(self) -> P:
        return self.root / ".dockerignore"

    @property
    def init_script(self) -> P:
        """The script by which the Dockerfile installs packages."""
        return self.root / "kappa-init.sh"

    @property
    def entrypoint(self) -> P:
        """The entry point of an image."""
        return self.root / "docker-entrypoint.sh"
