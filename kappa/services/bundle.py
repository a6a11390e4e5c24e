"""Bundles on disk: opened, verified, loaded. Everything here reads only what `kappa.yml` says."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from kappa._files import entries_of, sha256_of_file
from kappa.errors import BundleError, BundleNotFoundError, printable
from kappa.services.declared import DeclaredService
from kappa.services.loading import code_of_bundle, loading
from kappa.services.packed import Artifact
from kappa.services.service import LoadedService, import_class, load_artifact, load_service, prepare_environment
from kappa.spec.freezing import freeze
from kappa.spec.manifest import MANIFEST_NAME, BundleManifest, bundle_digest, manifest_of, read_tree

__all__ = ["Bundle", "load", "load_bundle", "open_bundle"]

_CODE = (".py", ".whl", *EXTENSION_SUFFIXES)
"""How the names of files end that Python may import: those of `_kappa` too."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle in a directory: the whole of it, or only its package when it was installed with pip."""

    directory: Path
    manifest: BundleManifest
    digest: str
    """What the digest of the manifest is, as it lies there; it says itself what it should be."""

    @property
    def package(self) -> Path:
        """The folder of the service's code and models, which is what pip installs."""
        is_package = (self.directory / "__init__.py").is_file()
        return self.directory if is_package else self.directory / self.manifest.name

    @property
    def is_installed(self) -> bool:
        """Whether only the package is here."""
        return self.package == self.directory

    def verify(self) -> None:
        """Compare every file with the digests in the manifest; raises `BundleError` that lists what differs.

        Detects corruption. Whoever can change the files can change the manifest too: against that, compare
        ``manifest.bundle_digest`` with one that came from elsewhere.
        """
        self._compare(lambda _: True)

    def verify_code(self) -> None:
        """Do the same without reading what is not code: models may be large. Names are compared of all files."""
        self._compare(lambda path: path.endswith(_CODE))

    def _compare(self, is_read: Callable[[str], bool]) -> None:
        prefix = f"{self.manifest.name}/" if self.is_installed else ""
        expected = {path: digest for path, digest in self.manifest.files.items() if path.startswith(prefix)}
        manifests = {MANIFEST_NAME, f"{self.manifest.name}/{MANIFEST_NAME}"}
        try:
            entries = entries_of(self.directory, inside=prefix)
            strange = {prefix + path.as_posix(): word for path, word in entries if word}
            found = {prefix + path.as_posix(): path for path, word in entries if not word}
            shared = expected.keys() & found.keys()
            changed = {
                path
                for path in shared
                if is_read(path) and sha256_of_file(self.directory / found[path]) != expected[path]
            }
            texts = {(folder / MANIFEST_NAME).read_bytes() for folder in (self.directory, self.package)}
        except OSError as exc:
            raise BundleError(f"The bundle in `{self.directory}` cannot be read: {exc}.") from exc
        problems = [f"`{printable(path)}` is {word}" for path, word in strange.items()]
        problems += [
            f"`{printable(path)}` is missing" for path in sorted(expected.keys() - found.keys() - strange.keys())
        ]
        problems += [f"`{printable(path)}` was added" for path in sorted(found.keys() - expected.keys() - manifests)]
        problems += [f"`{printable(path)}` was changed" for path in sorted(changed)]
        if len(texts) > 1 or self.digest != self.manifest.bundle_digest:
            problems.append(f"`{MANIFEST_NAME}` was changed")
        if problems:
            shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
            raise BundleError(f"The bundle in `{self.directory}` is not as it was built: {shown}.")


def open_bundle(directory: Path) -> Bundle:
    """Read a bundle's manifest, and nothing else; raises `BundleError`."""
    directory = directory.expanduser().resolve()
    if not directory.is_dir():
        raise BundleNotFoundError(f"There is no bundle in `{directory}`: no such folder.")
    tree = read_tree(directory)
    return Bundle(directory, manifest_of(tree, directory), bundle_digest(tree))


@loading()
def load_bundle(
    directory: Path, *, on_path: bool = True, environ: MutableMapping[str, str] = os.environ
) -> LoadedService:
    """Import the code of a bundle, load its models and call its `setup`; raises `KappaError`.

    The names of its files and the bytes of its code are compared with its digests first, those of its models are not.
    Unless ``on_path``, `sys.path` stays as it is. Where a module of the same name comes from elsewhere already, the
    bundle's are imported beside it, under names of their own.
    """
    bundle = open_bundle(directory)
    bundle.verify_code()
    manifest, spec = bundle.manifest, bundle.manifest.service
    prepare_environment(spec, environ)
    code = code_of_bundle(bundle.package, manifest.bundle_digest, on_path=on_path, paths=manifest.code_paths)
    spec = import_class(spec, code)
    metadata = {artifact.name: artifact.metadata for artifact in manifest.artifacts}
    artifacts = {}
    with code.unpickling():  # artifacts that are pickles may name classes of the bundle
        for plugin in spec.artifacts:
            folder = bundle.package / "artifacts" / plugin.name
            if not folder.is_dir():
                raise BundleError(f"The bundle in `{bundle.directory}` has no artifact `{plugin.name}`.")
            artifacts[plugin.name] = Artifact(load_artifact(plugin, folder), freeze(metadata.get(plugin.name, {})))
    service = load_service(spec, code=code, artifacts=artifacts, version=manifest.version, environ=environ)
    service.manifest = manifest
    service.examples_directory = None if bundle.is_installed else bundle.directory / "examples"
    if spec.web_static_content is not None:
        service.static_directory = bundle.package / "web_static_content"
    return service


def load(path: str | os.PathLike[str]) -> DeclaredService:
    """Load the bundle in a directory; each API is a method of what is returned and takes the function's own argument.

    Several versions of a service can be loaded in one process, each with its own code and models. That a bundle has
    just the files it was built with, and its code, is checked; ``kappa verify`` compares every byte.

    >>> kappa.load("bundles/iris").predict([[5.1, 3.5, 1.4, 0.2]])  # doctest: +SKIP
    """
    directory = Path(path).expanduser()
    if not directory.exists() and ":" in str(path):
        raise BundleNotFoundError(
            f"There is no bundle in `{path}`: `load` takes a folder. "
            f"`kappa get {path} --print-location` prints the one of a tag."
        )
    return load_bundle(directory, on_path=False).as_object()
