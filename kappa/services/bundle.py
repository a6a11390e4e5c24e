"""Bundles on disk: opened and verified. Everything here reads only what `kappa.yml` says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path, PurePosixPath
from typing import Any

from kappa._files import entries_of, sha256_of_file
from kappa.environment import expanded
from kappa.errors import BundleError, BundleNotFoundError, printable
from kappa.services.openapi import openapi_document
from kappa.spec.layout import MANIFEST_NAME, BundleLayout, PackageLayout
from kappa.spec.manifest import BundleManifest, bundle_digest, manifest_of, read_tree

__all__ = ["Bundle", "open_bundle"]

_CODE = (".py", ".whl", *EXTENSION_SUFFIXES)
"""The extensions of files that Python may import, those of `_kappa` too."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle in a directory: the whole of it, or only its package when it was installed with pip."""

    directory: Path
    manifest: BundleManifest
    digest: str
    """The digest of the manifest as it is; its own field holds the expected one."""

    @property
    def is_installed(self) -> bool:
        """Whether only the package is here."""
        return PackageLayout(self.directory).code.is_file()

    @property
    def layout(self) -> BundleLayout[Path]:
        """Where things are, if the whole of it is here."""
        return BundleLayout(self.directory)

    @property
    def package(self) -> PackageLayout[Path]:
        """The service's code and models, which is what pip installs."""
        return PackageLayout(self.directory) if self.is_installed else self.layout.package(self.manifest.name)

    @property
    def examples(self) -> Path | None:
        """Where the files of its examples are; ``None`` where only the package is here."""
        return None if self.is_installed else self.layout.examples

    def openapi(self) -> dict[str, Any]:
        """Return its OpenAPI document as it was built: only a build asks the service's own adapters what they take.

        Made of the manifest where that file is not there, as in an installed package. Raises `BundleError`.
        """
        file = self.layout.openapi
        if not file.is_file():
            return openapi_document(self.manifest.service, version=self.manifest.version)
        try:
            document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise BundleError(f"`{file}` cannot be read: {exc}. `kappa verify` compares the whole bundle.") from None
        return document

    def verify(self) -> None:
        """Compare every file with the digests in the manifest; raises `BundleError` that lists what differs.

        Detects corruption. It does not detect tampering, which can change the manifest too: against that, compare
        ``manifest.bundle_digest`` with a trusted one.
        """
        self._compare(lambda _: True)

    def verify_code(self) -> None:
        """Do the same without reading what is not code: models may be large. Names are compared of all files."""
        self._compare(lambda path: path.endswith(_CODE))

    def _compare(self, is_read: Callable[[str], bool]) -> None:
        prefix = f"{self.manifest.name}/" if self.is_installed else ""
        layout = BundleLayout(PurePosixPath())
        expected = {path: digest for path, digest in self.manifest.files.items() if path.startswith(prefix)}
        manifests = {str(layout.manifest), str(layout.package(self.manifest.name).manifest)}
        try:
            entries = entries_of(self.directory, inside=prefix)
            strange = {prefix + path.as_posix(): word for path, word in entries if word}
            present = {prefix + path.as_posix(): path for path, word in entries if not word}
            shared = expected.keys() & present.keys()
            changed = {
                path
                for path in shared
                if is_read(path) and sha256_of_file(self.directory / present[path]) != expected[path]
            }
            texts = {path.read_bytes() for path in (self.layout.manifest, self.package.manifest)}
        except OSError as exc:
            raise BundleError(f"The bundle in `{self.directory}` cannot be read: {exc}.") from exc
        problems = [f"`{printable(path)}` is {word}" for path, word in strange.items()]
        problems += [
            f"`{printable(path)}` is missing" for path in sorted(expected.keys() - present.keys() - strange.keys())
        ]
        problems += [f"`{printable(path)}` was added" for path in sorted(present.keys() - expected.keys() - manifests)]
        problems += [f"`{printable(path)}` was changed" for path in sorted(changed)]
        if len(texts) > 1 or self.digest != self.manifest.bundle_digest:
            problems.append(f"`{MANIFEST_NAME}` was changed")
        if problems:
            shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
            raise BundleError(f"The bundle in `{self.directory}` is not as it was built: {shown}.")


def open_bundle(directory: Path) -> Bundle:
    """Read a bundle's manifest, and nothing else; raises `BundleError`."""
    directory = expanded(directory).resolve()
    if not directory.is_dir():
        raise BundleNotFoundError(f"There is no bundle in `{directory}`: no such folder.")
    tree = read_tree(directory)
    return Bundle(directory, manifest_of(tree, directory), bundle_digest(tree))
