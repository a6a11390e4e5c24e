"""The pieces in which blobs move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["CHUNK_BYTES", "in_chunks"]

CHUNK_BYTES = 1024 * 1024
"""The most bytes of a blob in one message."""


def in_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces that one message may hold."""
    for chunk in chunks:
        if len(chunk) <= CHUNK_BYTES:
            if chunk:
                yield chunk
            continue
        view = memoryview(chunk)
        for start in range(0, len(view), CHUNK_BYTES):
            yield bytes(view[start : start + CHUNK_BYTES])
