"""Reading the bytes of a file front to back in bounded memory, unpacked where joblib compressed them.

joblib compresses with zlib, gzip, bz2, xz, lzma or lz4 and names none of them: the first bytes tell.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_CUR, BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from typing import IO, Any

__all__ = [
    "HEAD_BYTES",
    "Stream",
    "TruncatedError",
    "UnreadableError",
    "compression_of",
    "head_of",
    "open_stream",
    "stream_of",
]

_CHUNK = 1 << 16
_LZ4 = b"\x04\x22\x4d\x18"
_SIGNATURES = {b"\x1f\x8b": "gzip", b"BZ": "bz2", b"\xfd7": "xz", b"\x5d\x00": "lzma"}
_LZMA_MEMORY = 1 << 27
"""More than the largest preset of lzma takes to unpack, 65 MiB; a header may ask for 4 GiB."""
_MOST_BYTES = 1 << 33
"""The most that is unpacked of one file."""
_MOST_RATIO = 200
_FREE_BYTES = 1 << 28
"""From here on, a file that unpacks to more than `_MOST_RATIO` times its size is taken for a bomb."""
HEAD_BYTES = 6
"""The length of the longest signature of a compression."""
_BEGINNING_BYTES = 4096


class UnreadableError(Exception):
    """A file breaks a rule of its format, or asks for more than is read; the message is the end of a sentence."""


class TruncatedError(UnreadableError):
    """A file ends before its format does."""

    def __init__(self, message: str = "it ends too soon") -> None:
        super().__init__(message)


def head_of(path: Path) -> bytes:
    """Return the beginning of a file, by which a format is recognized."""
    with path.open("rb") as file:
        return file.read(_BEGINNING_BYTES)


def compression_of(head: bytes) -> str:
    """Return what joblib compressed a file with that begins so; empty for a file that is not compressed."""
    if head[:1] == b"\x78" and int.from_bytes(head[:2], "big") % 31 == 0:  # RFC 1950, section 2.2
        return "zlib"
    return "lz4" if head.startswith(_LZ4) else _SIGNATURES.get(head[:2], "")


class Stream:
    """Reads exactly what is asked for, or raises `TruncatedError`; skipping keeps nothing in memory."""

    def __init__(self, file: IO[bytes] | BufferedReader, size_bytes: int | None) -> None:
        self._file = file
        self._size_bytes = size_bytes

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, which the caller has bounded."""
        data = self._file.read(size)
        if len(data) != size:
            raise TruncatedError
        return data

    def read_at_most(self, size: int) -> bytes:
        """Return ``size`` bytes, or fewer at the end."""
        return self._file.read(size)

    def skip(self, size: int) -> None:
        if self._size_bytes is not None:
            if size > self._size_bytes - self._file.tell():
                raise TruncatedError
            self._file.seek(size, SEEK_CUR)
            return
        while size:
            size -= len(self.read(min(size, _CHUNK)))

    def line(self, most: int) -> bytes:
        """Return the bytes up to the next newline, without it; those after the first ``most`` are left out."""
        line = self._file.readline(most)
        part = line
        while part and not part.endswith(b"\n"):
            part = self._file.readline(_CHUNK)
        if not part:
            raise TruncatedError
        return line.removesuffix(b"\n")

    @property
    def position(self) -> int:
        """The number of bytes before the next one."""
        return self._file.tell()

    @property
    def rest_bytes(self) -> int | None:
        """The number of bytes left; ``None`` for a compressed file, where it is not known."""
        return None if self._size_bytes is None else self._size_bytes - self._file.tell()


def stream_of(data: bytes) -> Stream:
    """Return a stream of bytes in memory."""
    return Stream(BytesIO(data), len(data))


@contextmanager
def open_stream(path: Path) -> Iterator[Stream]:
    """Open a file, unpacked where joblib compressed it; raises `OSError`, and `UnreadableError` for lz4."""
    with path.open("rb") as file:
        packing = compression_of(file.read(HEAD_BYTES))
        file.seek(0)
        if not packing:
            yield Stream(file, path.stat().st_size)
            return
        with _Unpacked(file, packing) as unpacked, BufferedReader(unpacked, _CHUNK) as buffered:
            yield Stream(buffered, None)


def _decompressor_of(packing: str) -> Any:
    if packing in ("zlib", "gzip"):
        return zlib.decompressobj(zlib.MAX_WBITS + (16 if packing == "gzip" else 0))
    return bz2.BZ2Decompressor() if packing == "bz2" else lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)


class _Unpacked(RawIOBase):
    """The content of a compressed file."""

    def __init__(self, file: IO[bytes], packing: str) -> None:
        if packing == "lz4":
            raise UnreadableError("it is compressed by `lz4`, which Python's library cannot unpack")
        self._file = file
        self._decompressor = _decompressor_of(packing)
        self._read_bytes = 0
        self._made_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data and not self._decompressor.eof:
            data = self._next(len(buffer))
        buffer[: len(data)] = data
        self._made_bytes += len(data)
        is_bomb = self._made_bytes > _FREE_BYTES and self._made_bytes > _MOST_RATIO * self._read_bytes
        if is_bomb or self._made_bytes > _MOST_BYTES:
            raise UnreadableError(f"it unpacks to more than {self._made_bytes >> 20} MiB, and is read no further")
        return len(data)

    def _next(self, size: int) -> bytes:
        waiting = getattr(self._decompressor, "unconsumed_tail", b"")
        if not waiting and getattr(self._decompressor, "needs_input", True):
            waiting = self._file.read(_CHUNK)
            self._read_bytes += len(waiting)
        try:
            data: bytes = self._decompressor.decompress(waiting, size)
        except (zlib.error, OSError, lzma.LZMAError) as exc:
            raise UnreadableError(f"it cannot be unpacked: {exc}") from None
        if not (waiting or data or self._decompressor.eof):
            raise TruncatedError
        return data
