"""Where things stand in a text: lines, columns, and the spans of a document's keys and values.

Lines and columns count from 1 and in code points, as editors show them; the end of a span is exclusive. A *path* leads
from the top of a document to a place in it: keys of tables and indices of lists.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Positions", "Span", "TextLines", "TreePath", "pointer"]

TreePath = tuple[str | int, ...]


def pointer(path: TreePath) -> str:
    """Write a path as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of text."""

    line: int
    column: int
    end_line: int
    end_column: int


class TextLines:
    """A text with ``\\n`` line ends, and the way from offsets in it to lines and columns."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def start_of(self, line: int) -> int:
        """Return the offset at which a line begins."""
        return self._starts[line - 1]

    def line_at(self, offset: int) -> int:
        return min(bisect_right(self._starts, offset), len(self.lines))

    def span(self, start: int, end: int) -> Span:
        """Return the span of ``text[start:end]``, moved inside the text if it is not."""
        start = max(0, min(start, len(self.text)))
        end = max(start, min(end, len(self.text)))
        line, end_line = self.line_at(start), self.line_at(end)
        return Span(line, start - self.start_of(line) + 1, end_line, end - self.start_of(end_line) + 1)

    def span_of_bytes(self, start: Sequence[int], end: Sequence[int]) -> Span:
        """Return the span between two points of a line, from 0, and a column in bytes of UTF-8 (as tree-sitter has)."""
        return Span(start[0] + 1, self._column(*start), end[0] + 1, self._column(*end))

    def word_at(self, offset: int) -> Span:
        """Return the span of what stands at an offset: a word, or one character; at a line's end, what precedes it."""
        line = self.line_at(offset)
        text, column = self.lines[line - 1], offset - self.start_of(line)
        if not text[column:].strip():
            column = len(text.rstrip())
            return Span(line, column + 1, line, column + 2)
        end = column
        while end < len(text) and (text[end].isalnum() or text[end] in "_-."):
            end += 1
        return Span(line, column + 1, line, max(end, column + 1) + 1)

    def _column(self, line: int, column: int) -> int:
        text = self.lines[line] if line < len(self.lines) else ""
        return column + 1 if text.isascii() else len(text.encode()[:column].decode(errors="replace")) + 1


@dataclass(slots=True)
class Positions:
    """The spans of a document's keys and values, by path."""

    keys: dict[TreePath, Span] = field(default_factory=dict)
    values: dict[TreePath, Span] = field(default_factory=dict)

    def of_key(self, path: TreePath) -> Span:
        """Return where a key stands, or what comes nearest: the value, then the table around it."""
        for depth in range(len(path), 0, -1):
            span = self.keys.get(path[:depth]) or self.values.get(path[:depth])
            if span is not None:
                return span
        return Span(1, 1, 1, 2)

    def of_value(self, path: TreePath) -> Span:
        """Return where a value stands, or what comes nearest."""
        return self.values.get(path) or self.of_key(path)
