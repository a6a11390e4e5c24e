"""Reading single entries of zip archives, which many formats are, in bounded memory; nothing is unpacked to disk.

The layout is that of PKWARE's APPNOTE, 4.3: a directory at the end names each entry and where it begins.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from kappa.inspection.streams import TruncatedError, UnreadableError

__all__ = ["ZIP_SIGNATURE", "Archive", "open_archive"]

ZIP_SIGNATURE = b"PK\x03\x04"
_END, _END_64, _LOCATOR_64, _ENTRY = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02"
_END_BYTES, _COMMENT_BYTES = 22, 0xFFFF
_MOST_ENTRIES = 100_000
_MOST_DIRECTORY_BYTES = 1 << 24
_STORED, _DEFLATED = 0, 8


@dataclass(frozen=True, slots=True)
class _Entry:
    method: int
    packed_bytes: int
    size_bytes: int
    offset: int


@dataclass(frozen=True, slots=True)
class Archive:
    """The directory of an archive."""

    path: Path
    entries: Mapping[str, _Entry]

    @property
    def names(self) -> list[str]:
        return list(self.entries)

    @property
    def strangeness(self) -> str:
        """The problem with the name of an entry, the end of a sentence that begins with "its"; usually empty."""
        name = next((name for name in self.entries if _leaves(name)), "")
        return f"its entry `{name}` would leave the folder that it is unpacked into" if name else ""

    def find(self, name: str) -> str:
        """Return the name of the entry that is called so, at the top or in the one folder there; empty if none is."""
        inside = (entry for entry in self.entries if entry.count("/") == name.count("/") + 1)
        named = next((entry for entry in inside if entry.endswith(f"/{name}")), "")
        return name if name in self.entries else named

    def read(self, name: str, *, most: int) -> bytes:
        """Return the content of an entry; raises `UnreadableError` if it is longer than ``most``, or not whole."""
        entry = self.entries[name]
        if entry.size_bytes > most:
            raise UnreadableError(f"`{name}` in it is larger than is read")
        try:
            with self.path.open("rb") as file:
                return _content_of(file, entry, name, most)
        except (struct.error, zlib.error):
            raise UnreadableError(f"`{name}` in it cannot be unpacked") from None


def open_archive(path: Path) -> Archive:
    """Read the directory of an archive; raises `OSError` and `UnreadableError`."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        try:
            count, length, offset = _end_of(file, size_bytes)
            if count > _MOST_ENTRIES or length > _MOST_DIRECTORY_BYTES:
                raise UnreadableError("it has more entries than are read")
            file.seek(offset)
            return Archive(path, _entries_of(file.read(length), count))
        except (struct.error, OverflowError):
            raise UnreadableError("the directory of the archive makes no sense") from None


def _end_of(file: BinaryIO, size_bytes: int) -> tuple[int, int, int]:
    """Return how many entries there are, and the length and the place of the directory."""
    tail_bytes = min(size_bytes, _END_BYTES + _COMMENT_BYTES)
    file.seek(size_bytes - tail_bytes)
    tail = file.read(tail_bytes)
    at = tail.rfind(_END)
    if at < 0 or at + _END_BYTES > tail_bytes:
        raise TruncatedError
    count, length, offset = struct.unpack_from("<HII", tail, at + 10)
    if count == 0xFFFF or 0xFFFFFFFF in (length, offset):
        locator = tail.rfind(_LOCATOR_64, 0, at)
        if locator >= 0:
            file.seek(struct.unpack_from("<Q", tail, locator + 8)[0])
            end = file.read(56)
            if not end.startswith(_END_64):
                raise UnreadableError("the directory of the archive makes no sense")
            count, length, offset = struct.unpack_from("<QQQ", end, 32)
    if offset + length > size_bytes:
        raise TruncatedError
    return count, length, offset


def _entries_of(directory: bytes, count: int) -> dict[str, _Entry]:
    entries, at = {}, 0
    for _ in range(count):
        if directory[at : at + 4] != _ENTRY:
            raise UnreadableError("the directory of the archive makes no sense")
        (method,) = struct.unpack_from("<H", directory, at + 10)
        packed, size, name_bytes, extra_bytes, comment_bytes = struct.unpack_from("<IIHHH", directory, at + 20)
        (offset,) = struct.unpack_from("<I", directory, at + 42)
        start = at + 46
        name = directory[start : start + name_bytes].decode("utf-8", "replace")
        extra = directory[start + name_bytes : start + name_bytes + extra_bytes]
        entries[name] = _with_64_bits(_Entry(method, packed, size, offset), extra)
        at = start + name_bytes + extra_bytes + comment_bytes
    return entries


def _with_64_bits(entry: _Entry, extra: bytes) -> _Entry:
    """Return an entry with the numbers that did not fit into 32 bits."""
    numbers = [entry.size_bytes, entry.packed_bytes, entry.offset]
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            wide = [number[0] for number in struct.iter_unpack("<Q", extra[4 : 4 + length // 8 * 8])]
            numbers = [wide.pop(0) if number == 0xFFFFFFFF and wide else number for number in numbers]
        extra = extra[4 + length :]
    return _Entry(entry.method, numbers[1], numbers[0], numbers[2])


def _content_of(file: BinaryIO, entry: _Entry, name: str, most: int) -> bytes:
    file.seek(entry.offset)
    head = file.read(30)
    if not head.startswith(ZIP_SIGNATURE):
        raise UnreadableError(f"`{name}` in it is not where the directory says")
    name_bytes, extra_bytes = struct.unpack_from("<HH", head, 26)
    file.seek(name_bytes + extra_bytes, 1)
    packed = file.read(min(entry.packed_bytes, most))
    if entry.method == _STORED:
        data = packed
    elif entry.method == _DEFLATED:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, max(1, entry.size_bytes))
    else:
        raise UnreadableError(f"`{name}` in it is packed in a way that is not read")
    if len(data) != entry.size_bytes:
        raise TruncatedError(f"`{name}` in it is not whole")
    return data


def _leaves(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or name[1:2] == ":"
