"""Reading messages of protocol buffers from a file, field by field, without their schemas.

Of a field there is its number, and its value or where its bytes are: what is not asked for is never in memory
(https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kappa.inspection.streams import TruncatedError, UnreadableError

__all__ = ["Field", "Message", "open_message"]

_MOST_FIELDS = 1_000_000
_MOST_TEXT_BYTES = 1 << 16
_VARINT_BYTES = 10
_WIDTHS = {1: 8, 5: 4}


class _Source:
    """A file, and how many more fields are read of it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.fields_left = _MOST_FIELDS

    def varint(self) -> int:
        value = 0
        for shift in range(0, 7 * _VARINT_BYTES, 7):
            byte = self.file.read(1)
            if not byte:
                raise TruncatedError
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value
        raise UnreadableError("a number in it is too long")


@dataclass(frozen=True, slots=True)
class Message:
    """A part of a file that holds fields."""

    source: _Source
    start: int
    end: int

    def __iter__(self) -> Iterator[Field]:
        at, source = self.start, self.source
        while at < self.end:
            if not source.fields_left:
                raise UnreadableError("it has more fields than are read")
            source.fields_left -= 1
            source.file.seek(at)
            key = source.varint()
            wire, number, value = key & 7, key >> 3, 0
            if wire == 0:
                value = source.varint()
            start = source.file.tell()
            if wire == 2:
                length = source.varint()
                start = source.file.tell()
                at = start + length
            elif wire in _WIDTHS:
                at = start + _WIDTHS[wire]
            elif wire == 0:
                at = start
            else:
                raise UnreadableError("a field in it is of a kind that there is not")
            if not number:
                raise UnreadableError("a field in it has no number")
            if at > self.end:
                raise TruncatedError
            yield Field(number, wire == 2, value, Message(source, start, at))

    def all(self, *numbers: int) -> Iterator[Message]:
        """Yield the messages in the fields of a number; of several numbers, those inside of each other."""
        for item in self:
            if item.number == numbers[0] and item.is_bytes:
                if len(numbers) == 1:
                    yield item.body
                else:
                    yield from item.body.all(*numbers[1:])

    def text(self, number: int = 0) -> str:
        """Return a message as text, or that in its first field of a number; empty if it has none."""
        if number:
            return next((body.text() for body in self.all(number)), "")
        self.source.file.seek(self.start)
        return self.source.file.read(min(self.end - self.start, _MOST_TEXT_BYTES)).decode("utf-8", "replace")

    def number(self, number: int) -> int:
        """Return the number in the first field of a number; 0 if there is none."""
        return next((item.value for item in self if item.number == number and not item.is_bytes), 0)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    number: int
    is_bytes: bool
    value: int
    body: Message


@contextmanager
def open_message(path: Path) -> Iterator[Message]:
    """Open a file that is one message; raises `OSError`."""
    with path.open("rb") as file:
        yield Message(_Source(file), 0, path.stat().st_size)
