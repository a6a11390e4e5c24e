"""Files of GGUF, in which llama.cpp and its kin keep language models: what their header says.

A header has pairs of keys and values, then the name, shape, type and place of each tensor; the tensors follow
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Each text of a list of words has a length of its own, and a
list of words may have hundreds of thousands: how many are read is bounded.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import BinaryIO

from kappa.inspection.report import Model
from kappa.inspection.streams import Stream, TruncatedError, UnreadableError

__all__ = ["read_gguf"]

_SIGNATURE = b"GGUF"
_VERSIONS = (2, 3)
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""How many bytes a value has, by its type."""
_UINT32, _TEXT, _ARRAY = 4, 8, 9
_WORDS = ("general.architecture", "general.name")
_ALIGNMENT_KEY, _ALIGNMENT = "general.alignment", 32
_MOST_ENTRIES = 1_000_000
"""The most pairs, texts of lists and tensors together that are read of a header."""
_MOST_TEXT_BYTES = 1 << 16
_MOST_DIMENSIONS = 8
_BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    30: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    20: (32, 18),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
}
"""How many numbers of a tensor's type are a block, and how many bytes that has (`ggml_type`); others are newer."""


def read_gguf(path: Path, head: bytes) -> Model | None:
    """Read the header of a GGUF file: how many tensors there are, and what the model is called."""
    if not head.startswith(_SIGNATURE):
        return None
    problem = UnreadableError("")
    with path.open("rb") as file:
        header = _Header(file, path.stat().st_size)
        try:
            header.read()
        except UnreadableError as exc:
            problem = exc
    return Model(
        kind="gguf",
        certainty="likely" if str(problem) else "certain",
        weights=header.tensors,
        problem=str(problem),
        is_truncated=isinstance(problem, TruncatedError),
        remarks=tuple(f"`{key}` is `{value}`." for key, value in header.words.items()),
    )


class _Header:
    """What has been read of a header."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._stream = Stream(file, size_bytes)
        self._size_bytes = size_bytes
        self._entries_left = _MOST_ENTRIES
        self._alignment = _ALIGNMENT
        self.tensors: int | None = None
        self.words: dict[str, str] = {}

    def read(self) -> None:
        """Read it to its end; raises `UnreadableError`, and `TruncatedError` where a tensor lies beyond the file's."""
        version, tensors, pairs = struct.unpack("<4xIQQ", self._stream.read(24))
        if version not in _VERSIONS:
            raise UnreadableError(f"its version {version} of the format is not read")
        self.tensors = tensors
        for _ in self._entries(pairs):
            self._pair()
        end = max((self._end_of_tensor() for _ in self._entries(tensors)), default=0)
        begin = self._stream.position
        begin += -begin % self._alignment
        if end and begin + end > self._size_bytes:
            raise TruncatedError

    def _entries(self, count: int) -> range:
        if count > self._entries_left:
            if count > self._size_bytes:  # each has a byte at least
                raise TruncatedError
            raise UnreadableError("its header has more entries than are read")
        self._entries_left -= count
        return range(count)

    def _pair(self) -> None:
        key, kind = self._text(), self._number("<I")
        if kind == _TEXT:
            value = self._text()
            if key in _WORDS:
                self.words[key] = value
        elif kind == _ARRAY:
            self._skip_array()
        elif key == _ALIGNMENT_KEY and kind == _UINT32:
            self._alignment = max(self._number("<I"), 1)
        else:
            self._stream.skip(self._width_of(kind))

    def _skip_array(self) -> None:
        kind, count = self._number("<I"), self._number("<Q")
        if kind != _TEXT:
            self._stream.skip(count * self._width_of(kind))
            return
        for _ in self._entries(count):
            self._stream.skip(self._number("<Q"))

    def _end_of_tensor(self) -> int:
        """Read about a tensor, and return where it ends, counted from the beginning of the first one.

        Of a type that is not known, that is where it begins.
        """
        self._text()
        dimensions = self._number("<I")
        if dimensions > _MOST_DIMENSIONS:
            raise UnreadableError(f"a tensor in its header has {dimensions} dimensions")
        sizes = [self._number("<Q") for _ in range(dimensions)]
        kind, offset = self._number("<I"), self._number("<Q")
        numbers, block_bytes = _BLOCKS.get(kind, (1, 0))
        return offset + -(-prod(sizes) // numbers) * block_bytes

    def _text(self) -> str:
        length = self._number("<Q")
        if length > _MOST_TEXT_BYTES:
            self._stream.skip(length)
            return ""
        return self._stream.read(length).decode("utf-8", "replace")

    def _number(self, form: str) -> int:
        (number,) = struct.unpack(form, self._stream.read(struct.calcsize(form)))
        return int(number)

    def _width_of(self, kind: int) -> int:
        if kind not in _WIDTHS:
            raise UnreadableError("a value in its header is of a type that there is not")
        return _WIDTHS[kind]
