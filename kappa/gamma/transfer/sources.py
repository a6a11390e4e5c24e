"""Bundles of a registry whose files are read one by one, none of them kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from kappa.errors import BundleError
from kappa.gamma.protocols.registry import BundleFile, Registry
from kappa.gamma.transfer.fetching import read_file
from kappa.spec.layout import MANIFEST_NAME
from kappa.spec.manifest import MAX_SIZE_BYTES, BundleManifest, manifest_of, parse_tree
from kappa.spec.store import BundleRecord

__all__ = ["RegistrySource", "open_source"]


@dataclass(frozen=True)
class RegistrySource:
    """A bundle in a registry whose files are read one by one."""

    registry: Registry
    record: BundleRecord
    files: Mapping[str, BundleFile]
    manifest: BundleManifest

    def read(self, path: str, *, limit: int) -> bytes | None:
        """Return the content of a file; ``None`` for one that has more than ``limit`` bytes or is not there."""
        file = self.files.get(path)
        return None if file is None or file.size_bytes > limit else read_file(self.registry, self.record.tag, file)


def open_source(registry: Registry, record: BundleRecord) -> RegistrySource:
    """Read the list of a bundle's files and its manifest; raises `BundleError` for a broken one."""
    files = {file.path: file for file in registry.files_of(record.tag)}
    if MANIFEST_NAME not in files or files[MANIFEST_NAME].size_bytes > MAX_SIZE_BYTES:
        raise BundleError(f"`{record.tag}` in `{registry.location}` has no manifest that can be read.")
    folder = PurePosixPath(str(record.tag))
    content = read_file(registry, record.tag, files[MANIFEST_NAME])
    return RegistrySource(registry, record, files, manifest_of(parse_tree(content, folder / MANIFEST_NAME), folder))
