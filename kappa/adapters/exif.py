"""Directories of tags, which TIFF files are made of and which Exif keeps in pictures of other formats (TIFF 6.0).

Only sizes and the orientation are read here. Libraries follow every offset: tags that share their bytes make gigabytes
of a small file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["is_sound", "orientation_of"]

_ORIENTATION = 0x0112
_FURTHER_DIRECTORIES = (0x8769, 0x8825, 0xA005)
_BYTES_PER_VALUE = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_SHORT = 3
_TEXT_OR_BYTES = (1, 2, 7)
_MOST_VALUES = 1 << 18
_MOST_TAGS = 1024
_MOST_DIRECTORIES = 16
_SLACK = 1 << 16
"""Small values may be shared."""


class _Tag(NamedTuple):
    number: int
    kind: int
    values: int
    value: int
    """Its value, or where its values are."""


def _tags(block: bytes, start: int | None = None) -> Iterator[_Tag]:
    """Yield the tags of a directory, the first one if ``start`` is not given; nothing from what is none."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return
    is_big = block[2:4] in (b"+\0", b"\0+")
    word, entry, room = ("Q", "HHQQ", 8) if is_big else ("I", "HHII", 4)
    try:
        if start is None:
            (start,) = struct.unpack_from(order + word, block, 8 if is_big else 4)
        (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), block, start)
        first, step = start + (8 if is_big else 2), 20 if is_big else 12
        for at in range(first, first + step * min(count, 0xFFFF), step):
            number, kind, values, value = struct.unpack_from(order + entry, block, at)
            if kind == _SHORT:
                (value,) = struct.unpack_from(order + "H", block, at + step - room)
            yield _Tag(number, kind, values, value)
    except struct.error:
        return


def is_sound(block: bytes) -> bool:
    """Return whether the values of all tags together are about as many bytes as there are, and nothing is too many."""
    starts: list[int | None] = [None]
    size = 0
    for start in starts:
        for number, tag in enumerate(_tags(block, start)):
            if number == _MOST_TAGS:
                return False
            if tag.values > _MOST_VALUES and tag.kind not in _TEXT_OR_BYTES:
                return False
            size += tag.values * _BYTES_PER_VALUE.get(tag.kind, 0)
            if size > len(block) + _SLACK:
                return False
            if tag.number in _FURTHER_DIRECTORIES:
                starts.append(tag.value)
        if len(starts) > _MOST_DIRECTORIES:
            return False
    return True


def orientation_of(block: bytes) -> int:
    """Return how a picture was held (Exif 3.0, section 4.6.5), by its Exif data; 1, upright, if these do not tell."""
    block = block.removeprefix(b"Exif\0\0")
    return next((tag.value for tag in _tags(block) if tag.number == _ORIENTATION and tag.kind == _SHORT), 1)
