"""A bundle on its way from a registry to a folder: every blob hashed as it comes, several at once.

What a registry says is not trusted: each path is checked before it is written, each blob must have its digest, and the
whole the digest of the record.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kappa.errors import BundleError, GammaUnreachableError, printable
from kappa.gamma.protocols.registry import BundleFile, Registry
from kappa.gamma.transfer.direct import DirectRoute, direct_route
from kappa.gamma.transfer.streams import Meter, Patience, Progress, in_streams
from kappa.services.bundle import open_bundle
from kappa.spec.layout import MANIFEST_NAME
from kappa.spec.portable_paths import clash_in, why_not_portable
from kappa.spec.store import BundleRecord
from kappa.tag import Tag

__all__ = ["fetch_bundle", "read_file"]


def fetch_bundle(
    registry: Registry,
    record: BundleRecord,
    directory: Path,
    *,
    streams: int = 4,
    on_progress: Progress | None = None,
    pause: Callable[[float], None] | None = None,
) -> None:
    """Write the bundle of a record as ``directory``, which must not exist.

    Raises `BundleError` where what comes is not the bundle that the record describes, and `GammaUnreachableError` where
    the registry stays away. What is in ``directory`` then is of no use.
    """
    files = _checked(registry.files_of(record.tag), record.tag)
    places: dict[str, list[BundleFile]] = {}
    for file in files:
        places.setdefault(file.digest, []).append(file)
    for folder in sorted({(directory / file.path).parent for file in files}):
        folder.mkdir(parents=True, exist_ok=True)
    meter = Meter(sum(same[0].size_bytes for same in places.values()), on_progress)
    largest_first = sorted(places.values(), key=lambda same: -same[0].size_bytes)
    with direct_route(registry, meter) as direct:
        fetcher = _Fetcher(registry, record.tag, directory, meter, pause or meter.pause, direct)
        in_streams([partial(fetcher.fetch, same) for same in largest_first], meter, streams=streams)
    _check_whole(directory, record, files)


def read_file(registry: Registry, tag: Tag, file: BundleFile) -> bytes:
    """Return the content of a small file of a bundle; raises `BundleError` where it is not what was said."""
    content = b""
    for chunk in registry.read_blob(tag, file.digest):
        content += chunk
        if len(content) > file.size_bytes:
            break
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != file.digest:
        raise _damage(tag, file.path)
    return content


def _damage(tag: Tag, path: str) -> BundleError:
    return BundleError(f"`{printable(path)}` of `{tag}` did not arrive as it was saved; nothing was kept.")


def _checked(files: Sequence[BundleFile], tag: Tag) -> Sequence[BundleFile]:
    """Return the files if each may be written."""
    paths = [file.path for file in files]
    for path in paths:
        if reason := why_not_portable(path):
            raise BundleError(f"The registry names a file `{printable(path)}` of `{tag}`, {reason}.")
    if len(set(paths)) != len(paths) or clash_in(paths):
        raise BundleError(f"The registry names a file of `{tag}` twice.")
    return files


@dataclass(frozen=True)
class _Fetcher:
    registry: Registry
    tag: Tag
    directory: Path
    meter: Meter
    pause: Callable[[float], None]
    direct: DirectRoute | None

    def fetch(self, files: Sequence[BundleFile]) -> None:
        """Write the files of one content: the first as it comes, the others as copies."""
        first = self.directory / files[0].path
        if self.direct is None or not self.direct.fetch(self.tag, files[0], first):
            self._write(files[0], first)
        for file in files[1:]:
            shutil.copyfile(first, self.directory / file.path)
        for file in files:
            (self.directory / file.path).chmod(0o755 if file.is_executable else 0o644)

    def _write(self, file: BundleFile, target: Path) -> None:
        digest, patience = hashlib.sha256(), Patience(self.pause)
        with target.open("xb") as written:
            while written.tell() < file.size_bytes:
                self.meter.check()
                began = written.tell()
                try:
                    for chunk in self.registry.read_blob(self.tag, file.digest, offset=began):
                        if written.tell() + len(chunk) > file.size_bytes:
                            raise _damage(self.tag, file.path)
                        digest.update(chunk)
                        written.write(chunk)
                        self.meter.at(file.digest, written.tell())
                    if written.tell() < file.size_bytes:  # it ended too soon without saying so
                        raise GammaUnreachableError(
                            f"`{self.registry.location}` ended within `{printable(file.path)}` of `{self.tag}`."
                        )
                except GammaUnreachableError as exc:
                    if written.tell() > began:
                        patience.renew()
                    patience.after(exc)
        if f"sha256:{digest.hexdigest()}" != file.digest:
            raise _damage(self.tag, file.path)


def _check_whole(directory: Path, record: BundleRecord, files: Sequence[BundleFile]) -> None:
    """Compare what was written, each file of which has its digest, with the manifest and the record."""
    bundle = open_bundle(directory)
    digests: Mapping[str, str] = {file.path: file.digest.removeprefix("sha256:") for file in files}
    manifests = (MANIFEST_NAME, f"{bundle.manifest.name}/{MANIFEST_NAME}")
    rest = {path: digest for path, digest in digests.items() if path not in manifests}
    is_right = (
        bundle.digest == bundle.manifest.bundle_digest == record.bundle_digest
        and (bundle.manifest.name, bundle.manifest.version) == (record.tag.name, record.tag.version)
        and rest == dict(bundle.manifest.files)
        and len({digests.get(path) for path in manifests}) == 1
    )
    if not is_right:
        raise BundleError(f"The registry's files of `{record.tag}` are not the bundle {record.bundle_digest}.")
