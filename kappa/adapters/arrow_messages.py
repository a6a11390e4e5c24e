"""The decoded size of an Arrow stream's or file's messages, computed before decoding.

A message is metadata and a body; its metadata say which parts of the body are buffers, and a compressed buffer begins
with its own length (https://arrow.apache.org/docs/format/Columnar.html). The metadata are flatbuffers; the few fields
that are needed are read here, because pyarrow shows none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack_from
from typing import Any

from kappa.errors import BadInputError

__all__ = ["check_file", "check_stream"]

_DICTIONARY, _BATCH = 2, 3
_MOST_MESSAGES = 10_000
_READ_AGAIN = 8  # a dictionary is looked at again with each batch that follows it
_HUGE = 1 << 40
_Table = int  # where in a buffer a table of flatbuffers begins


def check_stream(data: bytes, *, most_bytes: int) -> None:
    """Refuse a stream whose messages hold more than so many bytes with 413."""
    _check(_messages_of_stream(memoryview(data)), most_bytes)


def check_file(data: bytes, *, most_bytes: int) -> None:
    """Refuse a file whose messages hold more than so many bytes with 413, each as often as the footer lists it."""
    _check(_messages_of_file(memoryview(data)), most_bytes)


def _check(messages: Iterator[tuple[memoryview, memoryview]], most_bytes: int) -> None:
    held = dictionaries = read = 0
    for number, (metadata, body) in enumerate(messages):
        if number >= _MOST_MESSAGES:
            message = f"The table comes in more than {_MOST_MESSAGES} parts. Send more rows in each."
            raise BadInputError(message, http_status=413)
        kind, size = _size_of(metadata, body)
        held += size
        dictionaries += size if kind == _DICTIONARY else 0
        read += dictionaries if kind == _BATCH else 0
        if held > most_bytes or read > _READ_AGAIN * most_bytes:
            raise BadInputError(
                f"The table unfolds to more than {most_bytes} bytes, which is what is taken here at once. "
                "Send fewer rows at a time.",
                http_status=413,
            )


def _messages_of_stream(data: memoryview) -> Iterator[tuple[memoryview, memoryview]]:
    at = 0
    while at + 4 <= len(data):
        start, length = _framed(data, at)
        if length <= 0:
            return
        metadata, rest = data[start : start + length], data[start + length :]
        yield metadata, rest
        at = start + length + max(_body_length(metadata), 0)


def _messages_of_file(data: memoryview) -> Iterator[tuple[memoryview, memoryview]]:
    (length,) = unpack_from("<i", data, len(data) - 10)
    footer = data[max(len(data) - 10 - length, 0) : len(data) - 10]
    root = unpack_from("<I", footer)[0]
    for field in (2, 3):  # the dictionaries, and the batches
        at, count = _vector(footer, root, field)
        for block in range(count):
            offset, metadata_length = unpack_from("<qi", footer, at + 24 * block)
            start, length = _framed(data, offset)
            yield data[start : start + length], data[offset + metadata_length :]


def _framed(data: memoryview, at: int) -> tuple[int, int]:
    """Return where the metadata of a message begin, and their length."""
    (length,) = unpack_from("<i", data, at)
    return (at + 8, unpack_from("<i", data, at + 4)[0]) if length == -1 else (at + 4, length)


def _body_length(metadata: memoryview) -> int:
    at = _field(metadata, unpack_from("<I", metadata)[0], 3)
    return int(unpack_from("<q", metadata, at)[0]) if at else 0


def _size_of(metadata: memoryview, body: memoryview) -> tuple[int, int]:
    """Return the kind of a message, and how many bytes its buffers hold once they are unpacked."""
    import numpy as np

    message = unpack_from("<I", metadata)[0]
    kind_at = _field(metadata, message, 1)
    kind = metadata[kind_at] if kind_at else 0
    if kind not in (_DICTIONARY, _BATCH):
        return kind, 0
    batch = _child(metadata, message, 2)
    if kind == _DICTIONARY:
        batch = _child(metadata, batch, 1)
    at, count = _vector(metadata, batch, 2)
    buffers = np.frombuffer(metadata, "<i8", 2 * count, at).reshape(-1, 2)
    sizes = buffers[:, 1]
    if _field(metadata, batch, 3):
        sizes = _unpacked(buffers[sizes > 0], body)
    if (sizes < 0).any():
        raise ValueError("a buffer has a negative length")
    return kind, int(np.minimum(sizes, _HUGE).sum())


def _unpacked(buffers: Any, body: memoryview) -> Any:
    """Return the lengths of compressed buffers as they stand before each; -1 is for one that is not compressed."""
    import numpy as np

    starts = buffers[:, 0]
    if ((starts < 0) | (starts > len(body) - 8)).any():
        raise ValueError("a buffer lies beyond the end of its message")
    octets = np.frombuffer(body, np.uint8)
    lengths = octets[starts[:, None] + np.arange(8)].view("<i8")[:, 0]
    return np.where(lengths == -1, buffers[:, 1], lengths)


# -- flatbuffers -------------------------------------------------------------------------------------------------------


def _field(data: memoryview, table: _Table, number: int) -> int:
    """Return where a field of a table is, or 0 if it has none such."""
    entries = table - unpack_from("<i", data, table)[0]
    if entries < 0 or 4 + 2 * number >= unpack_from("<H", data, entries)[0]:
        return 0
    offset = unpack_from("<H", data, entries + 4 + 2 * number)[0]
    return table + offset if offset else 0


def _child(data: memoryview, table: _Table, number: int) -> _Table:
    at = _field(data, table, number)
    if not at:
        raise ValueError("a message has no content")
    return at + int(unpack_from("<I", data, at)[0])


def _vector(data: memoryview, table: _Table, number: int) -> tuple[int, int]:
    """Return where the items of a vector begin, and how many there are."""
    at = _field(data, table, number)
    if not at:
        return 0, 0
    start = at + unpack_from("<I", data, at)[0]
    return start + 4, unpack_from("<I", data, start)[0]
