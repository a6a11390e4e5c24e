"""Blobs that clients write into an object store by themselves, and read from it, by URLs that the server signs.

A client writes a blob as the object `incoming/<session>/<64 digits>`. Its URL stays good for a while, so what is there
may change at any time: it is first copied to a name that no client has a URL of, and the copy is compared with the
digest and becomes the blob. The store makes the copies itself; the server reads the blob once and writes nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from kappa.errors import BundleError
from kappa.gamma.protocols.storage import CHUNK_BYTES, Blob
from kappa.gamma.storages.bucket import Bucket, key_of
from kappa.gamma.storages.spool import damaged, overlong

__all__ = ["IncomingObjects"]

_FOLDER = "incoming"
_VALID = timedelta(hours=1)
"""How long a URL is good; a transfer that began before may go on after that."""
_LARGEST_BYTES = 5 * 1000**3
"""S3 takes and copies 5 GB in one request."""


class IncomingObjects:
    """What clients write into a bucket themselves; a `DirectBlobs`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def upload_url(self, session: str, blob: Blob) -> str:
        """Return where a blob of an upload can be written whole; empty for one that is too large for one request."""
        return self._signed("PUT", _key(session, blob)) if blob.size_bytes <= _LARGEST_BYTES else ""

    def download_url(self, blob: Blob) -> str:
        """Return where a blob can be read."""
        return self._signed("GET", key_of(blob.digest))

    def _signed(self, method: str, key: str) -> str:
        with self._bucket.failing_explained():
            return str(self._bucket.obstore.sign(self._bucket.store, method, key, _VALID))

    def take(self, session: str, blob: Blob) -> None:
        """Compare a blob with its digest and keep it; raises `BundleError` where it is another one or not there."""
        written = _key(session, blob)
        copied = f"{written}.{secrets.token_hex(8)}"
        try:
            self._copy(written, copied)
        except FileNotFoundError:
            raise BundleError(f"The blob `{blob.digest}` is not where it was to be written: send it again.") from None
        try:
            self._check(copied, blob)
            self._copy(copied, key_of(blob.digest))
        finally:
            self._remove([written, copied])

    def _check(self, key: str, blob: Blob) -> None:
        digest, size_bytes = hashlib.sha256(), 0
        with self._bucket.failing_explained():
            content = self._bucket.obstore.get(self._bucket.store, key)
            if content.meta["size"] > blob.size_bytes:
                raise overlong(blob)
            for chunk in content.stream(min_chunk_size=CHUNK_BYTES):
                digest.update(memoryview(chunk))
                size_bytes += len(chunk)
        if digest.hexdigest() != blob.hex or size_bytes != blob.size_bytes:
            raise damaged(blob, digest.hexdigest())

    def _copy(self, source: str, target: str) -> None:
        with self._bucket.failing_explained():
            self._bucket.obstore.copy(self._bucket.store, source, target)

    # -- what is left of uploads

    def sessions(self) -> set[str]:
        """Return the uploads of which an object is here."""
        with suppress(FileNotFoundError), self._bucket.failing_explained():
            listing = self._bucket.obstore.list_with_delimiter(self._bucket.store, _FOLDER)
            return {prefix.rstrip("/").rpartition("/")[2] for prefix in listing["common_prefixes"]}
        return set()

    def size_of(self, session: str) -> int:
        """Return how many bytes of an upload are here."""
        return sum(self._objects(session).values())

    def discard(self, session: str) -> int:
        """Remove what is here of an upload; return how many bytes that were."""
        objects = self._objects(session)
        self._remove(list(objects))
        return sum(objects.values())

    def _objects(self, session: str) -> dict[str, int]:
        with suppress(FileNotFoundError), self._bucket.failing_explained():
            pages = self._bucket.obstore.list(self._bucket.store, f"{_FOLDER}/{session}")
            return {entry["path"]: int(entry["size"]) for page in pages for entry in page}
        return {}

    def _remove(self, keys: Sequence[str]) -> None:
        with self._bucket.failing_explained():
            for key in keys:
                with suppress(FileNotFoundError):
                    self._bucket.obstore.delete(self._bucket.store, key)


def _key(session: str, blob: Blob) -> str:
    return f"{_FOLDER}/{session}/{blob.hex}"
