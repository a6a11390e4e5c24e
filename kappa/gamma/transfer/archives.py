"""Bundles as single files: a `.kappa` archive is a tar (POSIX.1-2001, pax) of a bundle's files.

The manifest comes first, the others follow by path. Nothing in it says when or by whom it was made, so a bundle always
makes the same archive. An archive is not trusted: every name, type and size in it is checked before a file is written,
and every file is compared with the manifest's digest while it is written.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kappa._files import staged_file, walk_files
from kappa.errors import BundleError, UsageError, printable
from kappa.services.bundle import Bundle, open_bundle
from kappa.spec.layout import MANIFEST_NAME
from kappa.spec.manifest import MAX_SIZE_BYTES, BundleManifest, read_manifest
from kappa.spec.portable_paths import clash_in, why_not_portable

__all__ = ["ARCHIVE_SUFFIX", "read_archive", "write_archive"]

ARCHIVE_SUFFIX = ".kappa"
_MAX_FILES = 100_000
_CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int], None]
"""Called with the bytes that are done and those of the whole."""


def write_archive(
    directory: Path, file: Path, *, is_replaced: bool = False, on_progress: Progress | None = None
) -> Bundle:
    """Write the bundle in ``directory`` as the archive ``file``, verified first; return the bundle.

    Raises `BundleError` for a bundle that is not as it was built, and `DestinationExistsError` for a file that is
    there, unless it ``is_replaced``. On an error nothing is left behind.
    """
    bundle = open_bundle(directory)
    bundle.verify()
    paths = [Path(MANIFEST_NAME), *(path for path in walk_files(bundle.directory) if path != Path(MANIFEST_NAME))]
    total, done = sum((bundle.directory / path).stat().st_size for path in paths), 0
    with (
        staged_file(file, is_replaced=is_replaced) as staged,
        tarfile.open(staged, "w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in paths:
            source = bundle.directory / path
            with source.open("rb") as content:
                archive.addfile(_entry(path, source), content)
            done += source.stat().st_size
            if on_progress is not None:
                on_progress(done, total)
    return bundle


def _entry(path: Path, source: Path) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.as_posix())
    stat = source.stat()
    entry.size = stat.st_size
    entry.mode = 0o755 if stat.st_mode & 0o100 else 0o644
    return entry


def read_archive(file: Path, directory: Path, *, on_progress: Progress | None = None) -> BundleManifest:
    """Unpack the archive ``file`` as ``directory``, which must not exist; return the bundle's manifest.

    Raises `UsageError` for a file that cannot be read and `BundleError` for one that is not the archive of a bundle, or
    not whole. What is in ``directory`` then is of no use.
    """
    with _opened(file) as archive:
        members = _checked_members(archive, file)
        manifest = _manifest_of(archive, members, file)
        expected = _expected_digests(manifest, members, file)
        directory.mkdir()
        total, done = sum(member.size for member in members.values()), 0
        for path, member in members.items():
            digest = _unpack(archive, member, directory / path)
            if expected[path] not in ("", digest):
                raise BundleError(f"`{file}` is damaged: `{printable(path)}` is not what its manifest says.")
            done += member.size
            if on_progress is not None:
                on_progress(done, total)
    bundle = open_bundle(directory)
    if bundle.digest != bundle.manifest.bundle_digest or not _are_same(directory, manifest):
        raise BundleError(f"`{file}` is damaged: its `{MANIFEST_NAME}` was changed.")
    return bundle.manifest


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        archive = tarfile.open(file, "r:")  # noqa: SIM115 - closed below; what it raises here is about the file alone
    except OSError as exc:
        raise UsageError(f"`{file}` cannot be read: {exc.strerror or exc}.") from None
    except tarfile.TarError as exc:
        raise BundleError(f"`{file}` is not an archive that `kappa export` wrote: {exc}.") from None
    with archive:
        try:
            yield archive
        except (tarfile.TarError, EOFError) as exc:
            raise BundleError(f"`{file}` is damaged: {exc}.") from exc


def _checked_members(archive: tarfile.TarFile, file: Path) -> dict[str, tarfile.TarInfo]:
    """Return the files of an archive by path; raises `BundleError` unless each may be written."""
    members: dict[str, tarfile.TarInfo] = {}
    size_bytes = file.stat().st_size
    for member in archive:
        path = member.name
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
            raise BundleError(f"`{file}` holds `{printable(path)}`, which is not a plain file; nothing was unpacked.")
        if reason := why_not_portable(path):
            raise BundleError(f"`{file}` holds `{printable(path)}`, {reason}; nothing was unpacked.")
        if path in members:
            raise BundleError(f"`{file}` holds `{printable(path)}` twice; nothing was unpacked.")
        if member.size < 0 or member.offset_data + member.size > size_bytes:
            raise BundleError(f"`{file}` is cut off: it ends within `{printable(path)}`; nothing was unpacked.")
        members[path] = member
        if len(members) > _MAX_FILES:
            raise BundleError(f"`{file}` holds more than {_MAX_FILES} files; nothing was unpacked.")
    if clash := clash_in(members):
        raise BundleError(f"`{file}` holds `{printable(clash)}`, which another file's name rules out.")
    if next(iter(members), None) != MANIFEST_NAME:
        raise BundleError(f"`{file}` is not an archive that `kappa export` wrote: it does not begin with a manifest.")
    if members[MANIFEST_NAME].size > MAX_SIZE_BYTES:
        raise BundleError(f"The manifest in `{file}` has more than {MAX_SIZE_BYTES} bytes; nothing was unpacked.")
    return members


def _manifest_of(archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], file: Path) -> BundleManifest:
    with tempfile.TemporaryDirectory(prefix="kappa-") as folder:
        _unpack(archive, members[MANIFEST_NAME], Path(folder, MANIFEST_NAME))
        try:
            return read_manifest(Path(folder))
        except BundleError as exc:
            raise BundleError(str(exc).replace(str(Path(folder)), str(file))) from None


def _expected_digests(manifest: BundleManifest, members: Mapping[str, tarfile.TarInfo], file: Path) -> dict[str, str]:
    """Return the digest of each file, empty for the manifests; raises `BundleError` unless just these are there."""
    manifests = (MANIFEST_NAME, f"{manifest.name}/{MANIFEST_NAME}")
    expected = {**dict.fromkeys(manifests, ""), **manifest.files}
    if missing := sorted(expected.keys() - members.keys()):
        raise BundleError(f"`{file}` is not whole: `{printable(missing[0])}` is missing; nothing was unpacked.")
    if added := sorted(members.keys() - expected.keys()):
        raise BundleError(
            f"`{file}` holds `{printable(added[0])}`, which its manifest does not name; nothing was unpacked."
        )
    return expected


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> str:
    """Write one file and return its sha256."""
    content = archive.extractfile(member)
    assert content is not None  # noqa: S101 - it is a plain file
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("xb") as written:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
            written.write(chunk)
    if target.stat().st_size != member.size:
        raise BundleError(f"`{archive.name!s}` is cut off within `{printable(member.name)}`.")
    target.chmod(0o755 if member.mode & 0o100 else 0o644)
    return digest.hexdigest()


def _are_same(directory: Path, manifest: BundleManifest) -> bool:
    package = directory / manifest.name / MANIFEST_NAME
    return package.read_bytes() == (directory / MANIFEST_NAME).read_bytes()
