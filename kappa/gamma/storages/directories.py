"""Bundles as plain trees: ``<root>/<name>/<version>``, complete or absent, never half.

Those of other namespaces than `default` lie at ``<root>/@<namespace>/<name>/<version>``.

A bundle is visible by its tree: it is staged beside the others and moved to its place in one step, and moved away in
one step before it is deleted. Names that begin with a dot are work in progress and never bundles: so are the uploads,
whose blobs become files of a tree when they are all there. A file that another bundle has, too, is a hard link to it
where the file system has such, so that it takes no room twice.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from kappa._files import sha256_of_file, sync_folder, walk_files
from kappa.environment import home_directory
from kappa.errors import BundleError, DestinationExistsError, GammaError
from kappa.gamma.protocols.registry import BundleFile
from kappa.gamma.protocols.storage import CHUNK_BYTES, Blob, BlobsLostError, BlobSource
from kappa.gamma.storages.scratch import move_to_trash, remove_left_behind, staging_in
from kappa.gamma.storages.spool import Spool
from kappa.spec.layout import MANIFEST_NAME
from kappa.spec.manifest import BundleManifest, read_manifest
from kappa.tag import DEFAULT_NAMESPACE, Tag, check_namespace

__all__ = ["DirectoryStorage", "PendingTree", "local_storage"]

_NAMESPACE = "@"
"""What the folder of a namespace begins with; no name of a service does."""
_INCOMING = ".incoming"
_COARSEST_NS = 2_000_000_000
"""FAT keeps times by two seconds: for so long a folder may change without another time of change."""


def local_storage(environ: Mapping[str, str]) -> DirectoryStorage:
    """Return the bundles of this machine, below ``$KAPPA_HOME``; nothing is read or made before it is used."""
    return DirectoryStorage(home_directory(environ) / "repository")


class DirectoryStorage:
    """The bundles below ``root``, which need not exist; a `BundleStorage` whose URIs are paths relative to it."""

    shares_blobs = False
    direct = None

    def __init__(self, root: Path, *, clock: Callable[[], int] = time.time_ns) -> None:
        self.root = root
        self._incoming = Spool(root / _INCOMING)
        self._clock = clock
        self._listings: dict[str, tuple[frozenset[str], str]] = {}
        """Of each folder, what it held, and its state when it was read."""

    @property
    def location(self) -> str:
        return str(self.root)

    @cached_property
    def why_read_only(self) -> str:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with self._lock():
                return ""
        except OSError as exc:
            return str(exc.strerror)

    def exists(self) -> bool:
        return self.root.is_dir()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from changing bundles; the lock of a killed process is free again."""
        if self.why_read_only:
            raise GammaError(f"The store `{self.root}` cannot be changed: {self.why_read_only}.")
        with self._lock():
            yield

    def _lock(self) -> AbstractContextManager[object]:
        from filelock import FileLock  # which a bundle's own packages do not have

        return FileLock(self.root.with_name(f".{self.root.name}.lock"))

    def path_of(self, tag: Tag) -> Path:
        """Return where the bundle of ``tag`` is kept, whether or not it is there."""
        return Path(self._folder_of(tag.namespace, tag.name), tag.version)

    def _folder_of(self, namespace: str, name: str) -> str:
        """Return the folder of a service; text, because paths are slow to make."""
        inside = name if namespace == DEFAULT_NAMESPACE else f"{_NAMESPACE}{namespace}/{name}"
        return f"{self.root}/{inside}"

    def has(self, tag: Tag) -> bool:
        """Return whether the bundle of ``tag`` is there."""
        return (self.path_of(tag) / MANIFEST_NAME).is_file()

    def tags(self) -> set[Tag]:
        """Return the tags of all bundles that are there now.

        A folder is read again when it has changed. It is read each time while its clock may not yet tell the next
        change apart, or a bundle is being copied into it.
        """
        return {
            Tag(name, version, namespace)
            for namespace, name in self.services()
            for version in self.versions_of(namespace, name)[0]
        }

    def services(self) -> set[tuple[str, str]]:
        """Return namespace and name of each service that has a folder."""
        names, _ = self._listing(str(self.root))
        services = {(DEFAULT_NAMESPACE, name) for name in names if not name.startswith(_NAMESPACE)}
        for folder in names:
            if folder.startswith(_NAMESPACE) and _is_namespace(folder[1:]):
                services.update((folder[1:], name) for name in self._listing(f"{self.root}/{folder}")[0])
        return services

    def versions_of(self, namespace: str, name: str) -> tuple[frozenset[str], str]:
        """Return the versions of a service, and the state of its folder.

        The state is empty while a bundle is being copied into the folder, and while its clock may not yet tell the next
        change apart: it may change unseen then.
        """
        return self._listing(self._folder_of(namespace, name), holds_bundles=True)

    def state_of(self, namespace: str, name: str) -> str:
        """Return the state of a service's folder, which is another one after each change; empty if it is not there."""
        try:
            return _state(os.stat(self._folder_of(namespace, name)))  # noqa: PTH116 - a path costs as much as the call
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def _listing(self, folder: str, *, holds_bundles: bool = False) -> tuple[frozenset[str], str]:
        """Return the names of the folders below ``folder``, of bundles the whole ones alone, and its state."""
        try:
            stat = os.stat(folder)  # noqa: PTH116
            state = _state(stat)
            remembered = self._listings.get(folder)
            if remembered is not None and remembered[1] == state:
                return remembered
            now, names = self._clock(), frozenset(_directories(folder))
        except (FileNotFoundError, NotADirectoryError):
            return frozenset(), ""
        whole = frozenset(name for name in names if _is_bundle(f"{folder}/{name}")) if holds_bundles else names
        if now - max(stat.st_mtime_ns, stat.st_ctime_ns) <= _COARSEST_NS or len(whole) < len(names):
            return whole, ""
        self._listings[folder] = whole, state
        return whole, state

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty directory on the file system of the trees, to build in; what is left there is removed."""
        with staging_in(self.root) as staging:
            yield staging

    def put(self, staged: Path, manifest: BundleManifest, *, namespace: str = DEFAULT_NAMESPACE) -> str:
        """Take the complete bundle ``staged`` from such a directory; return its URI, which `fetch` takes.

        A bundle of the same tag stays as it is: fine if it has the same bytes, `DestinationExistsError` if not.
        """
        tag = replace(manifest.tag, namespace=namespace)
        destination = self.path_of(tag)
        destination.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(staged, destination)  # noqa: PTH105 - one atomic step; it fails on a directory that is not empty
        except OSError:
            if not (destination / MANIFEST_NAME).is_file():
                raise
            if read_manifest(destination).bundle_digest != manifest.bundle_digest:
                raise DestinationExistsError(
                    f"`{tag}` is already in the store, and this bundle is not identical to it; a version "
                    "never changes. Give another `--version`, or none to get one made from the time and the content."
                ) from None
        return self.uri_of(tag)

    def uri_of(self, tag: Tag) -> str:
        """Return the URI of the bundle of ``tag``, whether or not it is there."""
        return self.path_of(tag).relative_to(self.root).as_posix()

    def fetch(self, uri: str) -> Path:
        return self.root / uri

    def remove(self, tag: Tag) -> Callable[[], None] | None:
        directory = self.path_of(tag)
        try:
            trash = move_to_trash(directory, self.root)
        except OSError:
            if directory.exists():
                raise
            return None
        with suppress(OSError):
            directory.parent.rmdir()  # unless it holds other versions
            if tag.namespace != DEFAULT_NAMESPACE:
                directory.parent.parent.rmdir()
        return partial(shutil.rmtree, trash, ignore_errors=True)

    def check(self) -> None:
        if self.exists() and not os.access(self.root, os.R_OK | os.X_OK):
            raise GammaError(f"The store `{self.root}` cannot be read.")

    # -- uploads

    def received(self, session: str, blob: Blob) -> int:
        return self._incoming.received(session, blob)

    def receive(self, session: str, blob: Blob, offset: int, chunks: Iterable[bytes]) -> int:
        with self._incoming.arriving(session, blob) as arrival:
            for _ in arrival.append(offset, chunks):
                pass
            if arrival.is_whole:
                arrival.keep()
            return arrival.size_bytes

    def size_of(self, session: str) -> int:
        return self._incoming.size_of(session)

    def discard(self, session: str) -> int:
        return self._incoming.discard(session)

    def sessions(self) -> set[str]:
        return self._incoming.sessions()

    @contextmanager
    def pending(
        self, session: str, tag: Tag, files: Sequence[BundleFile], sources: Mapping[str, BlobSource]
    ) -> Iterator[PendingTree]:
        """Prepare a bundle as a tree beside the others; what another bundle has is compared with its digest."""
        with self.staging() as staging:
            tree = staging / "bundle"
            tree.mkdir()
            lost = [file.digest for file in files if not self._add_file(session, tree, file, sources)]
            if lost:
                raise BlobsLostError(list(dict.fromkeys(lost)), location=self.location)
            for folder in (tree, *(path for path in tree.rglob("*") if path.is_dir())):
                sync_folder(folder)
            yield PendingTree(tree, self.path_of(tag), self.uri_of(tag), root=self.root)

    def _add_file(self, session: str, tree: Path, file: BundleFile, sources: Mapping[str, BlobSource]) -> bool:
        """Put one file into a tree; return whether its blob is there."""
        blob, target = Blob(file.digest, file.size_bytes), tree / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        arrived = self._incoming.path_of(session, blob)
        if arrived.is_file() and arrived.stat().st_size == blob.size_bytes:  # it was compared when it became whole
            _copy(arrived, target, is_executable=file.is_executable)
            return True
        source = sources.get(file.digest)
        if source is None or not (original := self.root / source.uri / source.path).is_file():
            return False
        try:
            _copy(original, target, is_executable=file.is_executable)
        except FileNotFoundError:  # its bundle was deleted meanwhile
            return False
        return sha256_of_file(target) == blob.hex

    # -- bundles

    def files_of(self, uri: str) -> tuple[BundleFile, ...]:
        """List a tree; digests are its manifest's, but for the manifests themselves, which are read."""
        directory = self.fetch(uri)
        digests = read_manifest(directory).files
        try:
            return tuple(
                BundleFile(
                    path.as_posix(),
                    f"sha256:{digests.get(path.as_posix()) or sha256_of_file(directory / path)}",
                    (status := (directory / path).stat()).st_size,
                    bool(status.st_mode & stat.S_IXUSR),
                )
                for path in walk_files(directory)
            )
        except OSError as exc:
            raise BundleError(f"The bundle in `{directory}` cannot be read: {exc}.") from exc

    def read(self, uri: str, file: BundleFile, *, offset: int = 0) -> Iterator[bytes]:
        """Yield a file, which is looked for now, opened with the first chunk, and closed with the iterator."""
        path = self.fetch(uri) / file.path
        with _failing_reads_explained(path):
            path.stat()
        return _chunks_of(path, offset)

    def remove_blobs(self, digests: Sequence[str]) -> None:
        """Do nothing: each bundle has its files."""

    def sweep(self) -> None:
        remove_left_behind(self.root)


def _chunks_of(path: Path, offset: int) -> Iterator[bytes]:
    with _failing_reads_explained(path), path.open("rb") as content:
        content.seek(offset)
        while chunk := content.read(CHUNK_BYTES):
            yield chunk


@contextmanager
def _failing_reads_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise BundleError(f"`{path}` cannot be read: {exc.strerror}.") from exc


def _state(stat: os.stat_result) -> str:
    return f"{stat.st_ino}-{stat.st_mtime_ns}-{stat.st_ctime_ns}"


def _is_bundle(directory: str) -> bool:
    return os.path.isfile(f"{directory}/{MANIFEST_NAME}")  # noqa: PTH113


def _is_namespace(text: str) -> bool:
    try:
        check_namespace(text)
    except ValueError:
        return False
    return text != DEFAULT_NAMESPACE


def _directories(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


class PendingTree:
    """A tree that is complete, beside its place."""

    def __init__(self, tree: Path, destination: Path, uri: str, *, root: Path) -> None:
        self.uri = uri
        self._root = root
        self._tree = tree
        self._destination = destination

    def content_of(self, file: BundleFile) -> bytes:
        return (self._tree / file.path).read_bytes()

    def publish(self) -> None:
        """Move the tree to its place; the same bundle may be there already, from a process that died after that."""
        self._destination.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(self._tree, self._destination)  # noqa: PTH105 - one atomic step
        except OSError:
            if not _is_bundle(str(self._destination)):
                raise
            if read_manifest(self._destination).bundle_digest != read_manifest(self._tree).bundle_digest:
                raise
        for folder in self._destination.parents:  # what is acknowledged is there after a power cut
            sync_folder(folder)
            if folder == self._root:
                break


def _copy(source: Path, target: Path, *, is_executable: bool) -> None:
    """Link a file, or copy it where the two cannot be one."""
    if bool(source.stat().st_mode & stat.S_IXUSR) == is_executable:
        with suppress(OSError):  # another file system, or one without links, or too many of them
            target.hardlink_to(source)
            return
    shutil.copyfile(source, target)
    target.chmod(0o755 if is_executable else 0o644)
    with target.open("rb+") as file:
        os.fsync(file.fileno())
