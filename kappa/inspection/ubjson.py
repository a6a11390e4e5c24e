"""Reading UBJSON, the binary JSON that XGBoost writes (https://ubjson.org/type-reference), without its large parts."""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Any

from kappa.inspection.streams import Stream, UnreadableError

__all__ = ["read_ubjson"]

_MOST_VALUES = 2_000_000
_MOST_DEPTH = 32
_MOST_TEXT_BYTES = 1 << 16
_NUMBERS = {"i": ">b", "U": ">B", "I": ">h", "l": ">i", "L": ">q", "d": ">f", "D": ">d"}
_CONSTANTS = {"Z": None, "T": True, "F": False}


def read_ubjson(stream: Stream, *, left_out: Collection[str]) -> Any:
    """Read a value; those of the keys ``left_out``, and the elements of typed arrays, are skipped and ``None``."""
    return _Reader(stream, frozenset(left_out)).value()


class _Reader:
    def __init__(self, stream: Stream, left_out: frozenset[str]) -> None:
        self.stream = stream
        self.left_out = left_out
        self.values_left = _MOST_VALUES
        self.depth = 0

    def marker(self) -> str:
        return self.stream.read(1).decode("latin-1")

    def number(self, marker: str) -> Any:
        form = _NUMBERS.get(marker)
        if form is None:
            raise UnreadableError(f"{marker!r} in it stands for no number of UBJSON")
        return struct.unpack(form, self.stream.read(struct.calcsize(form)))[0]

    def length(self) -> int:
        length = self.number(self.marker())
        if not isinstance(length, int) or length < 0:
            raise UnreadableError("a length in it is not a length")
        return length

    def text(self) -> str:
        length = self.length()
        if length > _MOST_TEXT_BYTES:
            self.stream.skip(length)
            return ""
        return self.stream.read(length).decode("utf-8", "replace")

    def value(self, marker: str = "") -> Any:
        if not self.values_left:
            raise UnreadableError("it has more values than are read")
        self.values_left -= 1
        marker = marker or self.marker()
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker in ("S", "H"):
            return self.text()
        if marker == "C":
            return self.marker()
        if marker not in ("[", "{"):
            return self.number(marker)
        if self.depth == _MOST_DEPTH:
            raise UnreadableError("it is nested deeper than is read")
        self.depth += 1
        value = self.array() if marker == "[" else self.table()
        self.depth -= 1
        return value

    def array(self) -> Any:
        marker, kind, count = self.marker(), "", -1
        if marker == "$":
            kind, marker = self.marker(), self.marker()
            if marker != "#":
                raise UnreadableError("an array in it has a type and no length")
        if marker == "#":
            count, marker = self.length(), ""
        if kind in _NUMBERS:
            self.stream.skip(count * struct.calcsize(_NUMBERS[kind]))
            return None
        values: list[Any] = []
        while len(values) != count:
            if count < 0 and marker == "]":
                break
            values.append(self.value(kind or marker))
            marker = self.marker() if count < 0 else ""
        return values

    def table(self) -> dict[str, Any]:
        table: dict[str, Any] = {}
        marker, count = self.marker(), -1
        if marker == "#":
            count, marker = self.length(), ""
        seen = 0
        while seen != count and marker != "}":
            length = self.number(marker or self.marker())
            if not isinstance(length, int) or not 0 <= length <= _MOST_TEXT_BYTES:
                raise UnreadableError("a key in it is not a key")
            key = self.stream.read(length).decode("utf-8", "replace")
            value = self.value()
            if key not in self.left_out:
                table[key] = value
            seen += 1
            marker = self.marker() if count < 0 else ""
        return table
