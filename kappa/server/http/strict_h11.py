"""h11's reading of requests, with what it leaves open.

h11's behaviour, measured with 0.16, and the changes here (RFC 9112), so that both servers refuse the same:

- It takes a transfer coding beside a length, whichever of the two a proxy goes by. Here that is refused (section 6.1).
- It takes every version from 0.0 to 9.9, and fails to answer. Here an unsupported version gets 505.
- It takes lines that end with a line feed alone, joins lines that are folded, and takes control characters. Here all
  of that is refused (sections 2.2, 5.2 and 5.5).
- It takes several equal lengths, and any text for a host. Here they are refused (sections 3.2 and 6.3).
- It takes a whole URL for a path. Here its host stands in place of `Host` (section 3.2.2).
- It refuses a request behind an empty line. Here the line is skipped (section 2.2).
- It bounds neither a head that arrives at once, nor the extensions of chunks, nor how many chunks are smaller
  than their framing. Here all are.
- It makes an event of each chunk, for 15 µs. Here those that came together stay together, for 1 µs each.
"""

from __future__ import annotations

import re
from typing import Any

import h11
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer

from kappa.server.http.targets import is_host, target_of

__all__ = ["StrictConnection", "UnreadableError"]

_MOST_HEAD_BYTES = 1 << 16
_MOST_LINE_BYTES = 8190
_MOST_FIELDS = 100
_MOST_FRAMING_BYTES = 1 << 14
"""Of chunks that are smaller than their framing, which takes at least five bytes."""
_LOOSE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(rb"[ \t]*[0-9]{1,18}[ \t]*")
_CHUNK_LINE = re.compile(rb"0*([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_NOT_IN_TRAILERS = frozenset({b"content-length", b"transfer-encoding", b"host"})


class UnreadableError(Exception):
    """The request is refused with ``status`` before the application sees it."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"The request cannot be read: {why}.")
        self.status = status


class _StrictBuffer(ReceiveBuffer):
    """The input buffer, from which h11 takes lines and bytes."""

    is_at_head = True
    """Whether the lines that come next are those of a request, and not of trailers."""
    _framing_bytes = 0

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Take the lines until the first empty one, if that has arrived."""
        if self.is_at_head:
            while self._data.startswith(b"\r\n"):
                self._extract(2)
        elif self._data.startswith(b"\r\n"):
            self._extract(2)
            return []
        searched = self._multiple_lines_search
        end = self._data.find(b"\r\n\r\n", max(0, searched - 3))
        if _LOOSE_LINE_FEED.search(self._data, max(0, searched - 1), end if end >= 0 else len(self._data)):
            raise UnreadableError(400, "a line does not end as lines do")
        self._multiple_lines_search = len(self._data)
        if max(end, 0) > _MOST_HEAD_BYTES or (end < 0 and len(self._data) > _MOST_HEAD_BYTES):
            is_in_first = b"\r\n" not in self._data[:_MOST_HEAD_BYTES]
            raise _too_long(is_in_first and self.is_at_head)
        if end < 0:
            return None
        lines: list[bytearray] = self._extract(end + 4)[:-4].split(b"\r\n")
        self._check(lines)
        self._framing_bytes = 0
        return lines

    def _check(self, lines: list[bytearray]) -> None:
        first, fields = (lines[0], lines[1:]) if self.is_at_head else (b"", lines)
        if len(first) > _MOST_LINE_BYTES:
            raise _too_long(is_in_first=True)
        if len(fields) > _MOST_FIELDS or any(len(field) > _MOST_LINE_BYTES for field in fields):
            raise _too_long(is_in_first=False)
        has_length = False
        for field in fields:
            name, _, value = bytes(field.lower()).partition(b":")
            if field.startswith((b" ", b"\t")):
                raise UnreadableError(400, "a line is folded")
            if _NOT_TEXT.search(field):
                raise UnreadableError(400, "a field has a control character")
            if not self.is_at_head and name in _NOT_IN_TRAILERS:
                raise UnreadableError(400, f"`{name.decode()}` may not stand behind a body")
            if name == b"content-length":
                if has_length or not _LENGTH.fullmatch(value):
                    raise UnreadableError(400, "its `Content-Length` is not one number")
                has_length = True

    def is_next_line_obviously_invalid_request_line(self) -> bool:
        return self._data != b"\r" and super().is_next_line_obviously_invalid_request_line()

    def maybe_extract_next_line(self) -> bytearray | None:
        """Take the line before a chunk, if it has arrived."""
        line = super().maybe_extract_next_line()
        # what ends a chunk is two bytes more, which are counted as if they were the chunk's
        self._count_framing(len(self._data) if line is None else 0, 0 if line is None else len(line) + 4)
        if line is not None and not _CHUNK_LINE.fullmatch(line):
            raise UnreadableError(400, "a chunk does not say how long it is")
        return line

    def maybe_extract_at_most(self, count: int) -> bytearray | None:
        content = super().maybe_extract_at_most(count)
        self._framing_bytes = max(0, self._framing_bytes - len(content or b""))
        return content

    def extract_chunks(self) -> bytes:
        """Take the contents of the chunks that are there whole; h11 reads an unusual one."""
        data, offset, taken = self._data, 0, bytearray()
        while line := _CHUNK_LINE.match(data, offset):
            start = line.end()
            end = start + int(line[1], 16)
            if end == start or data[end : end + 2] != b"\r\n":
                break
            self._count_framing(0, start - offset + 2)
            self._framing_bytes = max(0, self._framing_bytes - (end - start))
            taken += data[start:end]
            offset = end + 2
        if offset:
            self._extract(offset)
        return bytes(taken)

    def _count_framing(self, waiting: int, taken: int) -> None:
        self._framing_bytes += taken
        if self._framing_bytes + waiting > _MOST_FRAMING_BYTES:
            raise UnreadableError(400, "its chunks are nearly nothing but framing")


class _Chunks(ChunkedReader):
    """A body in chunks."""

    def __call__(self, buf: ReceiveBuffer) -> Any:
        is_between_chunks = not (self._bytes_in_chunk or self._bytes_to_discard or self._reading_trailer)
        if is_between_chunks and isinstance(buf, _StrictBuffer) and (taken := buf.extract_chunks()):
            return h11.Data(data=taken)
        return super().__call__(buf)


def _too_long(is_in_first: bool) -> UnreadableError:
    if is_in_first:
        return UnreadableError(414, "its first line is too long")
    return UnreadableError(431, "its header fields are too many or too long")


class StrictConnection(h11.Connection):
    """Reads the requests of one connection; raises `UnreadableError` for those that are refused."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=2 * _MOST_HEAD_BYTES)
        self._receive_buffer = self._buffer = _StrictBuffer()

    @property
    def held_bytes(self) -> int:
        """How much has arrived that was not read yet."""
        return len(self._buffer)

    def _get_io_object(self, *state: Any) -> Any:
        reader = super()._get_io_object(*state)
        return _Chunks() if type(reader) is ChunkedReader else reader

    def next_event(self) -> Any:
        self._buffer.is_at_head = self.their_state is h11.IDLE
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as exc:
            why = ascii(" ".join(str(exc).split()))[1:-1][:100]
            raise UnreadableError(exc.error_status_hint, why) from None
        return _checked(event) if type(event) is h11.Request else event


def _checked(request: h11.Request) -> h11.Request:
    """Return a request as it is answered: its target is a path."""
    if request.http_version not in (b"1.0", b"1.1"):
        raise UnreadableError(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if request.method == b"CONNECT":
        raise UnreadableError(501, "this server is not a proxy")
    names = [name for name, _ in request.headers]
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        raise UnreadableError(400, "where its body ends is said in two ways")
    hosts = [value for name, value in request.headers if name == b"host"]
    if len(hosts) > 1 or not all(map(is_host, hosts)):
        raise UnreadableError(400, "its `Host` is not the name or address of a host")
    target = target_of(request.method, request.target)
    if target is None:
        raise UnreadableError(400, "its target is neither a path nor a URL")
    if target.host is None:
        return request
    headers = [(name, target.host if name == b"host" else value) for name, value in request.headers]
    return h11.Request(method=request.method, target=target.path, headers=headers, http_version=request.http_version)
