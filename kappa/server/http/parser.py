"""gunicorn's parser of HTTP/1.1, with what it leaves open.

The base's behaviour, measured with gunicorn 27.0, and the changes here (RFC 9112):

- It takes a request without `Host`, and any text for one. Here both are refused (section 3.2).
- It takes a whole URL for a path. Here its host stands in place of `Host` (section 3.2.2).
- It calls every version that it does not know malformed. Here one that is well formed is told apart (505).
- It hands a body on that a transfer coding has packed as if it were plain. Here only `chunked` is taken (501).
- A `Content-Length` of 5,000 digits ends in a traceback, and the fields of a head may be 800 KB. Both are refused here,
  and so are very many chunks that are smaller than their framing.
- It hands each chunk of a body on by itself. Here those that came together stay together.
- It copies whatever follows a request. Here that is read on where it is.
- It looks at each byte of the fields by itself. Here one pattern does, wherever it knows what it sees.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from gunicorn.asgi.parser import (
    InvalidChunkExtension,
    InvalidChunkSize,
    InvalidHeader,
    InvalidHeaderName,
    InvalidHTTPVersion,
    InvalidRequestLine,
    InvalidRequestMethod,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseError,
    PythonProtocol,
    UnsupportedTransferCoding,
)

from kappa.server.http.fields import fields_in
from kappa.server.http.targets import is_host, target_of

__all__ = ["KappaParser", "refusal_of"]

_VERSION = re.compile(r"HTTP/[0-9]\.[0-9]")
_MOST_DIGITS = 18
_MOST_HEAD_BYTES = 1 << 16
_MOST_FRAMING_BYTES = 1 << 16
"""Of chunks that are smaller than their framing, which takes at least five bytes."""
_MOST_SHOWN = 100
_ENDLESS = "no body has a length of so many digits"


class _UnknownVersionError(ParseError):  # type: ignore[misc] # gunicorn has no types
    """A version of HTTP that is not spoken here."""


class _ProxyError(ParseError):  # type: ignore[misc]
    """A request for a tunnel."""


_REFUSALS = (
    (LimitRequestLine, 414, "its first line is too long"),
    (LimitRequestHeaders, 431, "its header fields are too many or too long"),
    (UnsupportedTransferCoding, 501, "of all transfer codings, only `chunked` is known here"),
    (_ProxyError, 501, "this server is not a proxy"),
    (_UnknownVersionError, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here"),
    (InvalidHeaderName, 400, "`{}` is not the name of a field that may stand there"),
    (InvalidRequestMethod, 400, "`{}` is not a method"),
    (InvalidHTTPVersion, 400, "`{}` is not a version of HTTP"),
)


def refusal_of(error: Exception) -> tuple[int, str]:
    """Return the status and the words for a request that cannot be read."""
    reason = " ".join(str(error).split())[:_MOST_SHOWN]
    for kind, status, text in _REFUSALS:
        if isinstance(error, kind):
            return status, f"The request cannot be read: {text.format(reason)}."
    return 400, f"The request cannot be read: {reason}."


_known_fields = lru_cache(maxsize=128)(fields_in)
"""PERF: a client's requests mostly have one and the same head."""


class KappaParser(PythonProtocol):  # type: ignore[misc]
    """Reads the requests of one connection that do not go straight to an API."""

    is_complete: bool
    path: bytes
    _on_body: Callable[[bytes], None]
    _state: str
    _header_count: int
    _limit_request_fields: int
    _limit_request_field_size: int
    _buffer: bytearray
    _headers_list: list[tuple[bytes, bytes]]
    _target_host: bytes | None
    _fed_bytes = 0
    _framing_bytes = 0

    @property
    def is_fresh(self) -> bool:
        """Whether nothing of a request has been read."""
        return self._state == "request_line" and not self._buffer

    @property
    def held_bytes(self) -> int:
        """The bytes that follow a request that has been read."""
        return len(self._buffer) if self.is_complete else 0

    def hold(self) -> None:
        """Buffer further bytes, as after a request that has been read, until `reset`."""
        self._state = "complete"
        self.is_complete = True

    def release(self) -> bool:
        """Undo `hold`, if nothing has come since then. PERF: to `reset` would take 1 µs."""
        if self._buffer or self._fed_bytes:
            return False
        self._state = "request_line"
        self.is_complete = False
        return True

    def _parse_request_line(self) -> bool:
        try:
            if not super()._parse_request_line():
                return False
        except InvalidHTTPVersion as exc:
            raise _UnknownVersionError if _VERSION.fullmatch(str(exc)) else exc from None
        except InvalidRequestLine:
            if self.method == b"PRI":  # HTTP/2 begins so (RFC 9113, section 3.4)
                raise _UnknownVersionError from None
            raise
        if self.method == b"CONNECT":
            raise _ProxyError
        self._target_host = None
        if not self.path.startswith(b"/"):
            if (target := target_of(self.method, self.path)) is None:
                raise InvalidRequestLine("its target is neither a path nor a URL")
            self.path, self._target_host = target
        return True

    def _parse_headers(self) -> bool:
        """Read the fields at once where all are there and nothing is odd. PERF: the base looks at each byte: 10 µs."""
        end = -1 if self._header_count else self._buffer.find(b"\r\n\r\n", 0, self._limit_request_field_size)
        fields = None if end < 0 else _known_fields(bytes(self._buffer[: end + 2]))
        if fields is None or len(fields) > self._limit_request_fields:
            return bool(super()._parse_headers())
        del self._buffer[: end + 4]
        self._headers_list = list(fields)
        self._finalize_headers()
        return True

    def _finalize_headers(self) -> None:
        if self._fed_bytes - len(self._buffer) > _MOST_HEAD_BYTES:
            raise LimitRequestHeaders
        fields = dict(self._headers_list)
        if b"transfer-encoding" in fields or len(fields) < len(self._headers_list):
            self._judge_each()
        if len(fields.get(b"content-length", b"")) > _MOST_DIGITS:
            raise InvalidHeader(_ENDLESS)
        host = fields.get(b"host")
        if host is None and self.http_version == (1, 1):
            raise InvalidHeader("HTTP/1.1 needs a `Host`")
        if host is not None and not is_host(host):
            raise InvalidHeader("its `Host` is not the name or address of a host")
        if self._target_host is not None:
            for i, (name, _) in enumerate(self._headers_list):
                if name == b"host":
                    self._headers_list[i] = (name, self._target_host)
        super()._finalize_headers()

    def _judge_each(self) -> None:
        """Refuse what may stand in any of several fields of one name; the base refuses that there are several."""
        for name, value in self._headers_list:
            if name == b"content-length" and len(value) > _MOST_DIGITS:
                raise InvalidHeader(_ENDLESS)
            if name == b"transfer-encoding" and value.lower() != b"chunked":
                raise UnsupportedTransferCoding

    def _parse_chunked_body(self) -> bool:
        hand_on, there, taken = self._on_body, len(self._buffer), bytearray()
        self._on_body = taken.extend
        try:
            is_whole = bool(super()._parse_chunked_body())
        finally:
            self._on_body = hand_on
            if taken:
                hand_on(bytes(taken))
        if self._chunk_size >> 60:
            raise InvalidChunkSize("no chunk is as large as that")
        self._framing_bytes += there - len(self._buffer) - 2 * len(taken)
        if self._framing_bytes > _MOST_FRAMING_BYTES:
            raise InvalidChunkExtension("its chunks are smaller than their framing")
        self._framing_bytes = max(self._framing_bytes, 0)
        return is_whole

    def remaining(self) -> bytearray | bytes:
        """Return what has come of what follows; PERF: a copy for each of many small requests would take 1 ms."""
        return self._buffer if self.is_complete else b""

    def feed(self, data: bytes | bytearray) -> None:
        self._fed_bytes += len(data)
        if data.__class__ is bytearray and not self._buffer:
            self._buffer, data = data, b""
        super().feed(data)
        if self._state == "headers" and self._fed_bytes > _MOST_HEAD_BYTES:
            raise LimitRequestHeaders

    def reset(self) -> None:
        self._buffer = bytearray()  # the base would empty what is remaining
        super().reset()
        self._fed_bytes = self._framing_bytes = 0
