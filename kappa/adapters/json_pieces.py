"""Large JSON, parsed piece by piece, so that other threads get the GIL in between.

One call of orjson's holds the GIL to its end: 0.75 s for an object of a million names. So a large body is cut at
commas. What is open where a piece begins is opened again in front of it, and what is open where it ends is closed
behind it: each piece is JSON by itself, and what it holds goes to the end of the containers that it continues. NumPy
finds the commas, and releases the GIL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple
from uuid import uuid4

import orjson

__all__ = ["NestedTooDeepError", "parsed_in_pieces"]

_PIECE_BYTES = 1 << 17
_CONTINUED = uuid4().hex
"""The name of what stands first in an object that is opened again; no body can know it."""
_OPENING = {"[": b"[", "{": b'{"%b":' % _CONTINUED.encode()}
_CLOSING = {"[": b"]", "{": b"}"}
_CONTENT_AFTER = "unexpected content after document"
_NO_UTF_8 = "str is not valid UTF-8: surrogates not allowed"
_QUOTE, _COMMA, _BRACE, _CLOSING_BRACE = b'",{}'
_BRACE_BIT = 0x20
"""The difference between a brace and a square bracket in ASCII."""


class NestedTooDeepError(ValueError):
    """Arrays and objects are nested deeper than they may be."""


class _Open(NamedTuple):
    """A container that is open: its bracket, and its name in its parent if that is an object."""

    bracket: str
    name: str | None


class _Piece(NamedTuple):
    """Some of the text, without the commas before and after it."""

    start: int
    end: int
    kept: int
    """How many of the containers that were open before it are still so behind it."""
    opened: Sequence[_Open]
    """Those that are open behind it, outermost first."""


def parsed_in_pieces(
    data: bytes, parse: Callable[[bytes], Any], *, most_nested: int, piece_bytes: int = _PIECE_BYTES
) -> Any:
    """Return the value of UTF-8 JSON of which ``parse`` reads one piece after the other, as it would read the whole.

    Raises `NestedTooDeepError`, and what ``parse`` does: an `orjson.JSONDecodeError`, with its position in ``data``.
    """
    value: Any = None
    opened: Sequence[_Open] = ()
    containers: list[Any] = []  # those that are open
    for piece in _pieces(data, most_nested, piece_bytes):
        if piece.start and not opened:
            raise _error(_CONTENT_AFTER, data, piece.start, -1)
        before = b"".join([_OPENING[bracket] for bracket, _ in opened]) + (b"0," if opened else b"")
        text = data[piece.start : piece.end]
        is_nothing = piece.opened and text.rstrip().endswith((b"[", b"{"))  # a comma follows, and the closing would not
        after = [b"," if is_nothing else b"", *(_CLOSING[bracket] for bracket, _ in reversed(piece.opened))]
        try:
            part = parse(b"".join([before, text, *after]))
        except orjson.JSONDecodeError as exc:
            raise _error(exc.msg, data, piece.start, exc.pos - len(before)) from None
        if opened:
            _continue(containers, part)
        else:
            value = part
        del containers[piece.kept :]
        for _, name in piece.opened[piece.kept :]:
            containers.append(_child(containers[-1], name) if containers else value)
        opened = piece.opened
    return value


def _continue(containers: Sequence[Any], part: Any) -> None:
    """Put what a piece holds to the end of the containers that it continues."""
    for container in containers:
        if type(container) is list:
            first = part[0]
            container.extend(islice(part, 1, None))
        else:
            first = part.pop(_CONTINUED)
            container.update(part)
        part = first


def _child(parent: Any, name: str | None) -> Any:
    return parent[-1] if name is None else parent[name]


def _error(message: str, data: bytes, start: int, characters: int) -> orjson.JSONDecodeError:
    """Return an error that is so many characters behind the first bytes of a text, or before their end."""
    try:
        return orjson.JSONDecodeError(message, data.decode(), len(data[:start].decode()) + characters)
    except UnicodeDecodeError:
        return orjson.JSONDecodeError(_NO_UTF_8, "", 0)  # as orjson says it of the whole


# -- where to cut ------------------------------------------------------------------------------------------------------


def _pieces(data: bytes, most_nested: int, piece_bytes: int) -> Iterator[_Piece]:
    """Yield pieces that each end at the last comma of a window; they are longer where a window has none."""
    import numpy as np

    stack: list[_Open] = []
    start, at, kept, in_text = 0, 0, 0, 0
    while at < len(data):
        window = _window(data, at, piece_bytes)
        characters = np.frombuffer(window, np.uint8)
        in_texts = (characters == _QUOTE).view(np.uint8).cumsum(dtype=np.uint8) + np.uint8(in_text) & 1
        commas = (characters == _COMMA) > in_texts
        size = len(window) - 1 - int(commas[::-1].argmax())
        is_cut = bool(commas[size]) and at + len(window) < len(data)
        size = size if is_cut else len(window)
        lower = characters[:size] | _BRACE_BIT  # square brackets are braces
        is_opening = lower == _BRACE
        brackets = ((is_opening | (lower == _CLOSING_BRACE)) > in_texts[:size]).nonzero()[0]
        if len(brackets):
            opens = is_opening[brackets]
            depths = np.cumsum(2 * opens.view(np.int8) - 1, dtype=np.int32) + len(stack)
            if depths.max() > most_nested:
                raise NestedTooDeepError
            lowest = np.minimum.accumulate(depths[::-1])[::-1]  # from here to the end
            del stack[max(int(lowest[0]), 0) :]
            kept = min(kept, len(stack))
            for offset in brackets[opens & (lowest >= depths)].tolist():
                is_named = bool(stack) and stack[-1].bracket == "{"
                stack.append(_Open(chr(window[offset]), _name_before(data, at + offset) if is_named else None))
        if is_cut:
            yield _Piece(start, at + size, kept, tuple(stack))
            start, kept, in_text = at + size + 1, len(stack), 0
            at = start
        else:
            at += size
            in_text = int(in_texts[-1])
    yield _Piece(start, len(data), 0, ())


def _window(data: bytes, start: int, size: int) -> bytes:
    """Return so many bytes, or one more, with something else in place of what a backslash stands before."""
    for end in (start + size, start + size + 1):
        window = data[start:end].replace(rb"\\", b"__").replace(rb"\"", b"__")
        if not window.endswith(b"\\"):
            break
    return window


def _name_before(data: bytes, at: int) -> str:
    """Return the name of what begins here in an object; anything where there is none, which is for `parse` to say."""
    end = data.rfind(b'"', 0, at)
    start = data.rfind(b'"', 0, max(end, 0))
    while start > 0 and _is_escaped(data, start):
        start = data.rfind(b'"', 0, start)
    try:
        return str(orjson.loads(data[max(start, 0) : end + 1]))
    except ValueError:
        return ""


def _is_escaped(data: bytes, at: int) -> bool:
    backslashes = 0
    while data[at - 1 - backslashes : at - backslashes] == b"\\":
        backslashes += 1
    return backslashes % 2 == 1
