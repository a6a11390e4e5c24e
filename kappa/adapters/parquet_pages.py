"""The decoded size of a Parquet file's pages, computed before decoding. The sizes in a file's own metadata are
untrusted; readers follow the header of each page (https://parquet.apache.org/docs/file-format/). Headers are structs of
Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Chunk", "ColumnPages", "chunks_of", "column_pages"]

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_DELTA_BYTE_ARRAY = 7
_DICTIONARY_ENCODINGS = frozenset({2, 8})
_DEEPEST = 16
_LONGEST_LIST = 1000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where the pages of a column stand, within one group of rows."""

    start: int
    length: int
    values: int


def chunks_of(data: bytes) -> Iterator[list[Chunk]]:
    """Yield the chunks of each group of rows, as the end of a file tells; raises `ValueError` for one that is damaged.

    pyarrow tells the same, but ends the process for some of what a file may say there, as of its 26.0: an exception of
    its C++ passes a property that takes none.
    """
    end = len(data) - 8
    size = int.from_bytes(data[end : end + 4], "little")
    if not 0 <= size <= end:
        raise ValueError("the file ends too soon")
    footer, _ = _struct(data, end - size, 0, longest=len(data))
    for group in footer.get(4) or ():
        yield [_chunk(column.get(3)) for column in group.get(1) or ()]


def _chunk(metadata: Any) -> Chunk:
    if not isinstance(metadata, Mapping) or not {5, 7, 9} <= metadata.keys():
        raise ValueError("a column says nothing of itself")
    start, dictionary = metadata[9], metadata.get(11, 0)
    return Chunk(dictionary if 0 < dictionary < start else start, metadata[7], metadata[5])


@dataclass(frozen=True, slots=True)
class ColumnPages:
    """The headers of a column's pages, summed up, within one group of rows."""

    pages: int
    values: int
    unpacked: int
    """Bytes of all pages once they are unpacked."""
    repeated: int
    """The most bytes that a single value can have which takes no room of its own: one of the dictionary, or one that is
    delta-encoded; 0 where each value is stored in full."""
    has_differences: bool
    """Whether values are delta-encoded."""


def column_pages(data: bytes, chunk: Chunk) -> ColumnPages:
    """Read the headers of a column's pages; raises `ValueError` for one that is damaged."""
    pages = seen = unpacked = dictionary = longest = 0
    uses_dictionary = has_differences = False
    for page in _pages(data, chunk.start, chunk.length, chunk.values):
        pages += 1
        size = max(page.get(2, 0), page.get(3, 0))
        unpacked += size
        longest = max(longest, size)
        if page.get(1) == _DICTIONARY:
            dictionary = max(dictionary, size)
        page_header = page.get(8) or page.get(5) or {}
        encoding = page_header.get(4 if 8 in page else 2)
        seen += page_header.get(1, 0)
        uses_dictionary |= encoding in _DICTIONARY_ENCODINGS
        has_differences |= encoding == _DELTA_BYTE_ARRAY
    repeated = max(dictionary if uses_dictionary else 0, longest if has_differences else 0)
    return ColumnPages(pages, seen, unpacked, repeated, has_differences)


def _pages(data: bytes, start: int, length: int, values: int) -> Iterator[Mapping[int, Any]]:
    """Yield the headers of pages, fields by number, up to the last that a reader might look at."""
    end, seen = min(start + length, len(data)), 0
    if start < 0 or length < 0:
        raise ValueError("a column begins before the file")
    while start < end and seen < values:
        header, start = _struct(data, start, 0)
        sizes = header.get(2, 0), header.get(3, 0)
        page_header = header.get(8) or header.get(5) or {}
        count = page_header.get(1, 0)
        if min(*sizes, count) < 0:
            raise ValueError("a page has a negative size")
        seen += count
        start += sizes[1]
        yield header


# -- Thrift's compact protocol -----------------------------------------------------------------------------------------


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        octet = data[at]
        at += 1
        value |= (octet & 127) << shift
        if octet < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _struct(data: bytes, at: int, depth: int, *, longest: int = _LONGEST_LIST) -> tuple[dict[int, Any], int]:
    """Read a struct; return its fields by number, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while (head := data[at]) != 0:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            coded, at = _varint(data, at)
            number = (coded >> 1) ^ -(coded & 1)
        fields[number], at = _value(data, at, head & 15, depth, longest)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int, longest: int) -> tuple[Any, int]:
    """Read a value, or pass over one that no field asked for has; return where it ends."""
    if depth > _DEEPEST:
        raise ValueError("a header is nested too deep")
    if kind in (1, 2):
        return kind == 1, at
    if kind == 3:
        return data[at], at + 1
    if kind in (4, 5, 6):
        coded, at = _varint(data, at)
        return (coded >> 1) ^ -(coded & 1), at
    if kind == 7:
        return None, at + 8
    if kind == 8:
        length, at = _varint(data, at)
        return None, at + length
    if kind in (9, 10):
        head = data[at]
        count, at = (head >> 4, at + 1) if head >> 4 != 15 else _varint(data, at + 1)
        if count > longest:
            raise ValueError("a header has a list that is too long")
        kept = []
        for _ in range(count):
            value, at = (None, at + 1) if head & 15 in (1, 2) else _value(data, at, head & 15, depth + 1, longest)
            kept.append(value)
        return kept, at
    if kind == 12:
        return _struct(data, at, depth + 1, longest=longest)
    raise ValueError("a header is damaged")
