"""Bundles in an object store: S3 and what speaks like it, Google Cloud Storage, Azure Blob, a folder, memory.

A blob is the object `blobs/<2 digits>/<64 digits>` of its sha256, for all bundles that have it. The database alone says
which bundles there are.

What arrives in one piece goes on to the store while it is hashed and spooled on this machine; the object appears when
its upload is completed, which only a right digest does. Where the connection breaks off, the store forgets the parts,
and the spool is what the transfer goes on from. So a blob crosses this machine once, and no break costs more than
sending the spool again. A server that loses its spool, or another one, begins the blob anew.

With `is_direct`, clients move blobs to and from the store themselves (`incoming.py`), and what cannot goes this way.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from kappa.errors import BundleError, GammaError
from kappa.gamma.protocols.registry import BundleFile
from kappa.gamma.protocols.storage import CHUNK_BYTES, Blob, BlobsLostError, BlobSource
from kappa.gamma.storages.bucket import Bucket, ObjectStore, key_of
from kappa.gamma.storages.incoming import IncomingObjects
from kappa.gamma.storages.spool import Arrival, Spool, damaged, overlong
from kappa.tag import DEFAULT_NAMESPACE, Tag

__all__ = ["ObjectStorage", "PendingObjects"]

_PART_BYTES = 8 << 20
_MAX_PARTS = 9_000
"""S3 takes 10,000."""
_PARTS_AT_ONCE = 4
_CHECKS_AT_ONCE = 16
_PUT_ATTEMPTS = 4
_READ_ATTEMPTS = 4
LEFT_BEHIND_S = 24 * 3600.0
"""How old a file of an unfinished write is that nobody writes any more."""
_SMALL_BYTES = 1 << 20
"""What is no larger is held in memory and not spooled: it is sent again as quickly as it is asked for."""


class ObjectStorage:
    """The blobs of one object store, below its prefix; a `BundleStorage`."""

    shares_blobs = True
    why_read_only = ""

    def __init__(
        self, store: ObjectStore, spool: Spool, *, location: str, folder: Path | None = None, is_direct: bool = False
    ) -> None:
        """With ``is_direct``, clients move blobs by URLs that ``store`` signs."""
        self.location = location
        self._bucket = Bucket(store, location=location)
        self._incoming = IncomingObjects(self._bucket)
        self.direct = self._incoming if is_direct else None
        self._folder = folder
        self._spool = spool

    def exists(self) -> bool:
        return True  # the database says what is here

    def exclusive(self) -> AbstractContextManager[None]:
        return nullcontext()  # the transaction that changes the rows keeps others out

    def check(self) -> None:
        with self._bucket.failing_explained():
            next(iter(self._bucket.obstore.list(self._bucket.store, chunk_size=1)), None)

    # -- uploads

    def received(self, session: str, blob: Blob) -> int:
        return self._spool.received(session, blob)

    def receive(self, session: str, blob: Blob, offset: int, chunks: Iterable[bytes]) -> int:
        with self._spool.arriving(session, blob) as arrival:
            if offset == arrival.size_bytes == 0:
                if blob.size_bytes <= _SMALL_BYTES:
                    return self._receive_small(blob, chunks)
                self._pass_on(arrival, chunks)
            else:
                self._spool_and_put(arrival, offset, chunks)
            if arrival.is_whole:
                arrival.remove()
            return arrival.size_bytes

    def _receive_small(self, blob: Blob, chunks: Iterable[bytes]) -> int:
        content = bytearray()
        for chunk in chunks:
            content += chunk
            if len(content) > blob.size_bytes:
                raise overlong(blob)
        if len(content) < blob.size_bytes:
            return 0
        if (digest := hashlib.sha256(content).hexdigest()) != blob.hex:
            raise damaged(blob, digest)
        self._put(blob, bytes(content))
        return blob.size_bytes

    def _pass_on(self, arrival: Arrival, chunks: Iterable[bytes]) -> None:
        """Send what arrives to the store at once; where it ends early, the store keeps nothing and the spool all.

        Where the store fails meanwhile, the rest is spooled, and all of it sent at the end.
        """
        source = iter(chunks)
        ends: list[BaseException] = []

        def passing() -> Iterator[memoryview]:
            try:
                yield from arrival.append(0, source)
                if not arrival.is_whole:
                    raise _BrokenOffError  # or what arrived would become the object
            except BaseException as exc:
                ends.append(exc)
                raise

        try:
            self._put_once(arrival.blob, passing())
        except BaseException as exc:
            if not ends and not isinstance(exc, GammaError):
                raise
            if not ends:
                self._spool_and_put(arrival, arrival.size_bytes, source)
            elif not isinstance(ends[0], _BrokenOffError):
                raise ends[0] from exc

    def _spool_and_put(self, arrival: Arrival, offset: int, chunks: Iterable[bytes]) -> None:
        for _ in arrival.append(offset, chunks):
            pass
        if arrival.is_whole:
            self._put(arrival.blob, arrival.path)

    def _put(self, blob: Blob, content: bytes | Path, *, attempt: int = 1) -> None:
        """Store a whole blob; a second time where that fails, and again while only an answer may have been lost."""
        try:
            self._put_once(blob, content)
        except GammaError as exc:
            is_answer_lost = isinstance(exc.__cause__, FileNotFoundError)
            if attempt >= (_PUT_ATTEMPTS if is_answer_lost else 2):
                raise
            self._put(blob, content, attempt=attempt + 1)

    def _put_once(self, blob: Blob, content: bytes | Path | Iterator[memoryview]) -> None:
        part_bytes = max(_PART_BYTES, -(-blob.size_bytes // _MAX_PARTS))
        try:
            with self._bucket.failing_explained():
                self._bucket.obstore.put(
                    self._bucket.store,
                    key_of(blob.digest),
                    content,
                    chunk_size=part_bytes,
                    max_concurrency=_PARTS_AT_ONCE,
                )
        except FileNotFoundError as exc:  # no bucket, or an upload that was completed though the answer was lost
            raise self._bucket.failure(exc) from exc

    def size_of(self, session: str) -> int:
        return self._spool.size_of(session) + self._incoming.size_of(session)

    def discard(self, session: str) -> int:
        return self._spool.discard(session) + self._incoming.discard(session)

    def sessions(self) -> set[str]:
        return self._spool.sessions() | self._incoming.sessions()

    def pending(
        self,
        session: str,  # noqa: ARG002 - blobs are where they belong, those of this upload and those of other bundles
        tag: Tag,
        files: Sequence[BundleFile],
        sources: Mapping[str, BlobSource],  # noqa: ARG002
    ) -> AbstractContextManager[PendingObjects]:
        return nullcontext(PendingObjects(self, _uri_of(tag), files))

    def sizes_of(self, digests: Sequence[str]) -> dict[str, int | None]:
        """Return how many bytes blobs have; ``None`` for those that are not there."""
        with ThreadPoolExecutor(_CHECKS_AT_ONCE) as pool:
            return dict(zip(digests, pool.map(self._size_of, digests), strict=True))

    def _size_of(self, digest: str) -> int | None:
        try:
            with self._bucket.failing_explained():
                return int(self._bucket.obstore.head(self._bucket.store, key_of(digest))["size"])
        except FileNotFoundError:
            return None

    # -- bundles

    def files_of(self, uri: str) -> tuple[BundleFile, ...]:
        raise BundleError(f"The database has no files of `{uri}`, and `{self.location}` does not say them.")

    def read(self, uri: str, file: BundleFile, *, offset: int = 0) -> Iterator[bytes]:  # noqa: ARG002 - all share blobs
        if offset >= file.size_bytes:
            return iter(())
        return self._chunks(file, offset, self._stream(file, offset))

    def _chunks(self, file: BundleFile, offset: int, stream: Iterable[Any]) -> Iterator[bytes]:
        """Yield what a stream has; where it breaks off, another one goes on."""
        attempts = 0
        while True:
            start = offset
            try:
                with self._bucket.failing_explained():
                    for chunk in stream:
                        offset += len(chunk)
                        yield bytes(chunk)
                if offset >= file.size_bytes:
                    return
            except GammaError:
                attempts = attempts + 1 if offset == start else 1
                if attempts == _READ_ATTEMPTS:
                    raise
            stream = self._stream(file, offset)

    def _stream(self, file: BundleFile, offset: int) -> Iterable[Any]:
        problem = "is not there"
        with suppress(FileNotFoundError), self._bucket.failing_explained():
            content = self._bucket.obstore.get(
                self._bucket.store, key_of(file.digest), options={"range": {"offset": offset}}
            )
            if (size := content.meta["size"]) == file.size_bytes:
                stream: Iterable[Any] = content.stream(min_chunk_size=CHUNK_BYTES)
                return stream
            problem = f"has {size} bytes and not {file.size_bytes}"
        raise BundleError(
            f"The blob `{file.digest}` {problem} in `{self.location}`. Push the bundle again from where it was built."
        )

    def remove(self, tag: Tag) -> Callable[[], None] | None:  # noqa: ARG002 - rows make bundles visible
        return None

    def remove_blobs(self, digests: Sequence[str]) -> None:
        with self._bucket.failing_explained():
            for start in range(0, len(digests), 1000):
                keys = [key_of(digest) for digest in digests[start : start + 1000]]
                try:
                    self._bucket.obstore.delete(self._bucket.store, keys)
                except FileNotFoundError:  # folders and memory say so, and stop there
                    for key in keys:
                        with suppress(FileNotFoundError):
                            self._bucket.obstore.delete(self._bucket.store, key)

    def sweep(self) -> None:
        """Remove what killed processes left in a folder; a bucket has a rule of its own for unfinished uploads."""
        if self._folder is None:
            return
        for path in self._folder.glob("blobs/*/*#*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > LEFT_BEHIND_S:
                    path.unlink()


class PendingObjects:
    """A bundle whose blobs are in the store."""

    def __init__(self, storage: ObjectStorage, uri: str, files: Sequence[BundleFile]) -> None:
        self.uri = uri
        self._storage = storage
        self._sizes = {file.digest: file.size_bytes for file in files}

    def content_of(self, file: BundleFile) -> bytes:
        return b"".join(self._storage.read(self.uri, file))

    def publish(self) -> None:
        present = self._storage.sizes_of(list(self._sizes))
        if lost := [digest for digest, size in present.items() if size != self._sizes[digest]]:
            raise BlobsLostError(lost, location=self._storage.location)


class _BrokenOffError(Exception):
    """The chunks ended before the blob was whole."""


def _uri_of(tag: Tag) -> str:
    prefix = "" if tag.namespace == DEFAULT_NAMESPACE else f"@{tag.namespace}/"
    return f"{prefix}{tag.name}/{tag.version}"
