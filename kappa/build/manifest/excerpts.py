"""Lines of a file with what is meant in them underlined."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kappa.build.manifest.positions import Span, TextLines
from kappa.secret_urls import masked

__all__ = ["Excerpts", "Mark", "Style"]

Style = Literal["error", "warning", "label", "place"]

_STYLES: dict[Style, str] = {"error": "1;31", "warning": "1;33", "label": "1;34", "place": "1"}
"""As ANSI escape sequences say them (ECMA-48, SGR)."""
_SHOWN_COLUMNS = 110


@dataclass(frozen=True, slots=True)
class Mark:
    """A span to underline, its sign, and a remark."""

    span: Span
    message: str
    sign: str
    style: Style


class Excerpts:
    """Shows lines of files, each file read once."""

    def __init__(self, *, color: bool) -> None:
        self._color = color
        self._files: dict[Path, Sequence[str]] = {}

    def paint(self, text: str, style: Style) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._color and text else text

    def lines(self, file: Path, marks: Sequence[Mark], width: int, *, only_key: str | None = None) -> Iterator[str]:
        """Yield the lines that are marked, numbered in ``width`` columns.

        With ``only_key``, values may be credentials: nothing is shown but the names of keys.
        """
        source = self._source(file)
        if all(mark.span.line > len(source) for mark in marks):
            return
        rule, previous = self.paint("|", "label"), 0
        yield f"{' ' * width} {rule}"
        for mark in sorted(marks, key=lambda mark: mark.span):
            number = mark.span.line
            if number > len(source):
                continue
            line = _Line(_shown(source[number - 1], mark.span, only_key), mark.span)
            if number != previous:
                if previous and number > previous + 1:
                    yield self.paint("...", "label")
                yield f"{self.paint(str(number).rjust(width), 'label')} {rule} {line.text}".rstrip()
            previous = number
            underline = self.paint(f"{mark.sign * line.marked} {mark.message}".rstrip(), mark.style)
            yield f"{' ' * width} {rule} {' ' * line.before}{underline}"

    def _source(self, file: Path) -> Sequence[str]:
        if file not in self._files:
            try:
                data = file.read_bytes()
            except OSError:
                data = b""
            text = "" if b"\0" in data else data.decode("utf-8-sig", errors="replace")
            self._files[file] = TextLines(text.replace("\r\n", "\n")).lines
        return self._files[file]


def _shown(line: str, span: Span, only_key: str | None) -> str:
    """Return a line with every character printable, and without secrets."""
    line = masked(line, keeps_length=True)
    if only_key is not None:
        start, end = span.column - 1, span.end_column - 1
        is_key = line[start:end].strip("\"'") == only_key
        first = min((line.find(sign) % (len(line) + 1) for sign in "=:"), default=0)
        line = "".join(
            "*" if at > first and not (is_key and start <= at < end) and not character.isspace() else character
            for at, character in enumerate(line)
        )
    return "".join(c if c.isprintable() else " " if c == "\t" else "�" for c in line)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line as printed: all of it, or a window around what is marked."""

    line: str
    span: Span

    @property
    def _first(self) -> int:
        return 0 if self.span.column <= _SHOWN_COLUMNS - 20 else self.span.column - 20

    @property
    def text(self) -> str:
        end = self._first + _SHOWN_COLUMNS
        return f"{'…' if self._first else ''}{self.line[self._first : end]}{'…' if len(self.line) > end else ''}"

    @property
    def before(self) -> int:
        """The columns before what is marked."""
        return bool(self._first) + _cells(self.line[self._first : max(self.span.column - 1, self._first)])

    @property
    def marked(self) -> int:
        """The columns of what is marked; of several lines, those of the first."""
        end = self.span.end_column - 1 if self.span.end_line == self.span.line else len(self.line.rstrip())
        return max(1, _cells(self.line[self.span.column - 1 : min(end, self._first + _SHOWN_COLUMNS)]))


def _cells(text: str) -> int:
    """Return how many columns of a terminal a text takes (Unicode, annex 11)."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
