"""Reading tables of FlatBuffers from a file by the numbers of their fields, without their schemas.

Every offset is held against the size, and what is not asked for is never in memory
(https://flatbuffers.dev/internals).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from kappa.inspection.streams import TruncatedError, UnreadableError

__all__ = ["FlatTable", "root_table"]

_MOST_ITEMS = 100_000
_MOST_TEXT_BYTES = 1 << 16


class _Source:
    """The part of a file that is a buffer."""

    def __init__(self, file: BinaryIO, start: int, size_bytes: int) -> None:
        self._file, self._start, self._size_bytes = file, start, size_bytes

    def read(self, at: int, size_bytes: int) -> bytes:
        if at < 0 or at + size_bytes > self._size_bytes:
            raise UnreadableError("an offset in it leads out of it")
        self._file.seek(self._start + at)
        data = self._file.read(size_bytes)
        if len(data) != size_bytes:
            raise TruncatedError
        return data

    def number(self, form: str, at: int) -> int:
        (value,) = struct.unpack(form, self.read(at, struct.calcsize(form)))
        return int(value)

    def target(self, at: int) -> int:
        """Return the slot that the offset at a slot leads to."""
        return at + self.number("<I", at)


@dataclass(frozen=True, slots=True)
class FlatTable:
    """A table: its fields have numbers, in the order of its schema."""

    source: _Source
    at: int

    def integer(self, number: int, default: int = 0) -> int:
        """Return a field of 32 bits; ``default`` if it is absent."""
        slot = self._field(number)
        return default if slot is None else self.source.number("<i", slot)

    def text(self, number: int) -> str:
        """Return a string; empty if it is absent."""
        slot = self._field(number)
        if slot is None:
            return ""
        at = self.source.target(slot)
        length = self.source.number("<I", at)
        return self.source.read(at + 4, min(length, _MOST_TEXT_BYTES)).decode("utf-8", "replace")

    def table(self, number: int) -> FlatTable | None:
        slot = self._field(number)
        return None if slot is None else FlatTable(self.source, self.source.target(slot))

    def tables(self, number: int) -> Iterator[FlatTable]:
        """Yield the tables of a vector; raises `UnreadableError` for more than are read."""
        slot = self._field(number)
        if slot is None:
            return
        at = self.source.target(slot)
        count = self.source.number("<I", at)
        if count > _MOST_ITEMS:
            raise UnreadableError("it has more tables than are read")
        for item in range(at + 4, at + 4 + 4 * count, 4):
            yield FlatTable(self.source, self.source.target(item))

    def _field(self, number: int) -> int | None:
        """Return where a field is; ``None`` if the table does not have it."""
        offsets = self.at - self.source.number("<i", self.at)
        if 4 + 2 * number >= self.source.number("<H", offsets):
            return None
        offset = self.source.number("<H", offsets + 4 + 2 * number)
        return self.at + offset if offset else None


def root_table(file: BinaryIO, *, start: int, size_bytes: int) -> FlatTable:
    """Return the root of a buffer that begins at ``start`` in a file; raises `UnreadableError`."""
    source = _Source(file, start, size_bytes)
    return FlatTable(source, source.target(0))
