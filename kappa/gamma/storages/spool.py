"""What arrives of uploads: each blob in a file of its own until it is whole.

A transfer that broke off goes on where its file ends, in this process or a later one. Two that send the same blob at
the same time take turns.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from kappa._files import sha256_of_file
from kappa.errors import BundleError, GammaError
from kappa.gamma.protocols.storage import Blob

__all__ = ["Arrival", "Spool", "damaged", "overlong"]

_TURN_S = 60.0
"""A connection that is dead unnoticed is closed after 30 s without a byte."""


class Spool:
    """The uploads below a folder, which need not exist: one folder each, and in it two names for each blob.

    ``<hex>.part`` is what has arrived, ``<hex>`` is whole and checked.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path_of(self, session: str, blob: Blob) -> Path:
        """Return where a whole blob is kept."""
        return self.folder / session / blob.hex

    def received(self, session: str, blob: Blob) -> int:
        """Return how many bytes of a blob have arrived."""
        whole = self.path_of(session, blob)
        return _size_of(whole) or _size_of(whole.with_suffix(".part"))

    @contextmanager
    def arriving(self, session: str, blob: Blob) -> Iterator[Arrival]:
        """Yield what has arrived of a blob, for this caller alone.

        Raises `GammaError` where another one does not let go of it, or the folder cannot be written to.
        """
        from filelock import FileLock, Timeout  # which a bundle's own packages do not have

        whole = self.path_of(session, blob)
        try:
            whole.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(whole.with_suffix(".lock"), timeout=_TURN_S)
            lock.acquire()
        except Timeout:
            raise GammaError(f"`{blob.digest}` is being written by another connection. Try again later.") from None
        except OSError as exc:
            raise _failure(whole.parent, exc) from exc
        try:
            yield Arrival(whole, blob)
        finally:
            lock.release()

    def size_of(self, session: str) -> int:
        """Return how many bytes an upload has here."""
        return sum(_size_of(path) for path in (self.folder / session).glob("*"))

    def discard(self, session: str) -> int:
        """Remove an upload; return how many bytes that were."""
        size_bytes = self.size_of(session)
        shutil.rmtree(self.folder / session, ignore_errors=True)
        return size_bytes

    def sessions(self) -> set[str]:
        """Return the uploads that have a folder."""
        try:
            return {path.name for path in self.folder.iterdir()}
        except FileNotFoundError:
            return set()


class Arrival:
    """What has arrived of one blob."""

    def __init__(self, whole: Path, blob: Blob) -> None:
        self.blob = blob
        self._whole = whole
        self._part = whole.with_suffix(".part")
        self.size_bytes = _size_of(whole) or _size_of(self._part)

    @property
    def path(self) -> Path:
        """The file that holds it."""
        return self._whole if self._whole.exists() else self._part

    @property
    def is_whole(self) -> bool:
        return self.size_bytes == self.blob.size_bytes

    def append(self, offset: int, chunks: Iterable[bytes]) -> Iterator[memoryview]:
        """Write chunks that begin at ``offset`` of the blob, and yield what is new of each.

        Once the blob is whole, it is compared with its digest. Raises `BundleError` where they differ or it is longer
        than it was to be, and then nothing is left of it; `GammaError` for an offset behind what is there, and where
        the file cannot be written: what was written stays.
        """
        if offset > self.size_bytes:
            raise GammaError(
                f"`{self.blob.digest}` has {self.size_bytes} bytes here: it goes on there, not at {offset}."
            )
        if self._whole.exists():
            return
        overlap = self.size_bytes - offset
        running = hashlib.sha256() if self.size_bytes == 0 else None
        with self._open() as file:
            for chunk in chunks:
                new = memoryview(chunk)[overlap:]
                overlap = max(0, overlap - len(chunk))
                if self.size_bytes + len(new) > self.blob.size_bytes:
                    raise self._beginning_again(overlong(self.blob))
                self._write(file, new)
                if running is not None:
                    running.update(new)
                if new:
                    yield new
        if self.is_whole:
            digest = running.hexdigest() if running is not None else sha256_of_file(self._part)
            if digest != self.blob.hex:
                raise self._beginning_again(damaged(self.blob, digest))

    def keep(self) -> None:
        """Give a blob that is whole its final name, once its bytes are on the disk."""
        if self._whole.exists():
            return
        try:
            with self._part.open("rb") as file:
                os.fsync(file.fileno())
            self._part.replace(self._whole)
        except OSError as exc:
            raise _failure(self._part.parent, exc) from exc

    def remove(self) -> None:
        """Remove the file: the blob is kept elsewhere."""
        with suppress(OSError):
            self._part.unlink()

    def _open(self) -> FileIO:
        try:
            return FileIO(self._part, "ab")  # unbuffered: its size says what was written
        except OSError as exc:
            raise _failure(self._part.parent, exc) from exc

    def _write(self, file: FileIO, data: memoryview) -> None:
        while data:
            try:
                written = file.write(data)
            except OSError as exc:
                raise _failure(self._part.parent, exc) from exc
            self.size_bytes += written
            data = data[written:]

    def _beginning_again(self, problem: BundleError) -> BundleError:
        self.remove()
        self.size_bytes = 0
        return problem


def overlong(blob: Blob) -> BundleError:
    """Return the error for a blob that goes on after its end."""
    return BundleError(f"The blob `{blob.digest}` has more than its {blob.size_bytes} bytes. Nothing was kept of it.")


def damaged(blob: Blob, digest: str) -> BundleError:
    """Return the error for a blob whose content has another digest, in hex digits."""
    return BundleError(f"The blob `{blob.digest}` arrived as `sha256:{digest}`. Nothing was kept of it: send it again.")


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _failure(folder: Path, exc: OSError) -> GammaError:
    return GammaError(
        f"The registry cannot write to `{folder.parent}`: {exc.strerror}. Once it can, the upload goes on where it "
        "stopped."
    )
