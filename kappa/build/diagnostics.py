"""Problems of a kappafile and of the code it names: what each is, and how it is shown.

Every kind of problem has a stable *code* (see `kappa.build.codes`). A *diagnostic* is one problem at one place; a
*label* marks a second place that belongs to it, such as the first of two equal keys.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from kappa.build.positions import Positions, Span, TextLines, TreePath, pointer
from kappa.errors import ManifestError

__all__ = [
    "Diagnostic",
    "Diagnostics",
    "Label",
    "Severity",
    "display_path",
    "one_of",
    "quoted",
    "read_text",
    "render_text",
    "sentence",
]

Severity = Literal["error", "warning"]

_SHOWN_COLUMNS = 110
_USER_INFORMATION = re.compile(r"(?<=://)[^\s/@\"']+(?=@)")
_VALUE = re.compile(r"(\"[^\"]*\"|'[^']*')(?!\s*[=:])|(?<=[:=] )[^\s\"'{\[][^,}\]#]*")


@dataclass(frozen=True, slots=True)
class Label:
    """A second place that belongs to a problem, and what it has to do with it."""

    file: Path
    span: Span
    message: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem at one place."""

    code: str
    """Stable; see `kappa.build.codes`."""
    message: str
    """What is wrong, in whole sentences."""
    file: Path
    span: Span
    """Where, in ``file``: the offending key or value."""
    path: str = ""
    """Where, in the document: a JSON pointer; empty for a problem of the whole file or of another file."""
    severity: Severity = "error"
    """Warnings never fail a build."""
    help: str = ""
    """What to do, in whole sentences."""
    replacement: str | None = None
    """What to write in place of the span, where one answer is likely."""
    labels: tuple[Label, ...] = ()

    @property
    def is_error(self) -> bool:
        return self.severity == "error"


class Diagnostics:
    """Collects the problems of one kappafile; a place that has one is not blamed again for what follows from it."""

    def __init__(self, file: Path, positions: Positions | None = None) -> None:
        self.file = file
        self.positions = positions if positions is not None else _NOWHERE
        self._found: list[Diagnostic] = []
        self._bad: set[TreePath] = set()

    def add(
        self,
        code: str,
        message: str,
        path: TreePath,
        *,
        at: Literal["key", "value"] = "value",
        severity: Severity = "error",
        help: str = "",  # noqa: A002 - what every compiler calls it
        replacement: str | None = None,
        labels: Sequence[Label] = (),
        span: Span | None = None,
    ) -> None:
        """Report a problem of the key or the value at a path; ``span`` is given where only a part of it is meant."""
        if span is None:
            span = self.positions.of_key(path) if at == "key" else self.positions.of_value(path)
        if severity == "error":
            self._bad.add(path)
        self.append(
            Diagnostic(
                code=code,
                message=message,
                file=self.file,
                span=span,
                path=pointer(path),
                severity=severity,
                help=help,
                replacement=replacement,
                labels=tuple(labels),
            )
        )

    def append(self, diagnostic: Diagnostic) -> None:
        if diagnostic not in self._found:
            self._found.append(diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            self.append(diagnostic)

    def keep_below(self, prefix: TreePath) -> None:
        """Forget problems elsewhere in the document, and count paths from ``prefix``; mistakes of syntax stay."""
        root, kept = pointer(prefix), []
        for diagnostic in self._found:
            if diagnostic.path == root or diagnostic.path.startswith(f"{root}/"):
                kept.append(replace(diagnostic, path=diagnostic.path[len(root) :]))
            elif diagnostic.code in ("KF102", "KF103"):
                kept.append(diagnostic)
        self._found = kept
        self._bad = {path[len(prefix) :] for path in self._bad if path[: len(prefix)] == prefix}

    def label(self, path: TreePath, message: str) -> Label:
        """Mark the key at a path as a second place."""
        return Label(self.file, self.positions.of_key(path), message)

    def is_bad(self, path: TreePath) -> bool:
        """Return whether an error was reported at a path, in what it contains, or in what contains it."""
        return any(path[: len(bad)] == bad or bad[: len(path)] == path for bad in self._bad)

    def has_error_at(self, path: TreePath) -> bool:
        """Return whether an error was reported at exactly this path."""
        return path in self._bad

    @property
    def has_errors(self) -> bool:
        return any(diagnostic.is_error for diagnostic in self._found)

    def __iter__(self) -> Iterator[Diagnostic]:
        """Yield them in the order of the file, then those of other files."""
        return iter(sorted(self._found, key=lambda d: (d.file != self.file, str(d.file), d.span, d.code, d.message)))

    def __len__(self) -> int:
        return len(self._found)

    def check(self) -> None:
        """Raise a `ManifestError` that carries everything if there is an error."""
        if self.has_errors:
            found = tuple(self)
            raise ManifestError(render_text(found), diagnostics=found)


_NOWHERE = Positions()


def quoted(value: object) -> str:
    """Return a value from the user's file as messages show it: short, printable, in backticks."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(character if character.isprintable() else "�" for character in text)
    text = _USER_INFORMATION.sub("…", text)
    return f"`{text if len(text) <= 60 else text[:57] + '…'}`"


def sentence(text: str) -> str:
    """Make a whole, printable sentence of a message that begins in lower case and ends without a full stop."""
    text = "".join(character if character.isprintable() else "�" for character in text)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"


def one_of(words: Iterable[str], *, joined_by: str = "or") -> str:
    """Join words as a sentence does: ``a, b or c``.

    >>> one_of(["a", "b", "c"])
    'a, b or c'
    """
    items = list(words)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {joined_by} {items[-1]}" if items else "nothing"


def display_path(file: Path, *, relative_to: Path | None = None) -> str:
    """Return a file's name as messages show it: relative to a folder, by default the current one, if it is below it."""
    try:
        return file.relative_to(relative_to or Path.cwd()).as_posix()
    except (ValueError, OSError):
        return str(file)


def read_text(file: Path) -> str:
    """Read a file for its excerpts, whatever is in it; empty when it cannot be read."""
    try:
        data = file.read_bytes()
    except OSError:
        return ""
    return data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n")


def render_text(
    diagnostics: Sequence[Diagnostic],
    *,
    relative_to: Path | None = None,
    color: bool = False,
) -> str:
    """Write problems for people: each with its place, the lines it is about, and what to do; then how many.

    The files are read again for the excerpts.
    """
    page = _Page(relative_to, _Palette(color))
    return "\n".join([*(page.entry(diagnostic) for diagnostic in diagnostics), _summary(diagnostics)])


def _summary(diagnostics: Sequence[Diagnostic]) -> str:
    errors = sum(diagnostic.is_error for diagnostic in diagnostics)
    warnings = len(diagnostics) - errors
    counts = [
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((errors, "error"), (warnings, "warning"))
        if count
    ]
    return f"Found {' and '.join(counts) if counts else 'no problems'}."


@dataclass(frozen=True, slots=True)
class _Palette:
    """ANSI escape sequences (ECMA-48, SGR), or none of them."""

    is_on: bool

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self.is_on and text else text


_BOLD, _RED, _YELLOW, _BLUE = "1", "1;31", "1;33", "1;34"


class _Page:
    """Renders diagnostics as text, reading each file once."""

    def __init__(self, relative_to: Path | None, palette: _Palette) -> None:
        self._relative_to = relative_to
        self._palette = palette
        self._texts: dict[Path, TextLines] = {}

    def entry(self, diagnostic: Diagnostic) -> str:
        paint, span = self._palette.paint, diagnostic.span
        style = _RED if diagnostic.is_error else _YELLOW
        place = f"{self._name(diagnostic.file)}:{span.line}:{span.column}"
        kind = paint(f"{diagnostic.severity}[{diagnostic.code}]", style)
        lines = [f"{paint(place, _BOLD)}: {kind}: {diagnostic.message}"]
        marks = [_Mark(span, "", "^", style)]
        elsewhere = []
        for label in diagnostic.labels:
            if label.file == diagnostic.file:
                marks.append(_Mark(label.span, label.message, "-", _BLUE))
            else:
                elsewhere.append(label)
        width = len(str(max(mark.span.line for mark in marks)))
        lines += self._excerpt(diagnostic.file, marks, width, is_secret=diagnostic.path.startswith("/env/variables"))
        for label in elsewhere:
            place = f"{self._name(label.file)}:{label.span.line}:{label.span.column}"
            lines.append(f"{' ' * width} {paint('::', _BLUE)} {place}: {label.message}")
        if diagnostic.help:
            lines.append(f"{' ' * width} {paint('=', _BLUE)} {diagnostic.help}")
        return "\n".join([*lines, ""])

    def _name(self, file: Path) -> str:
        return display_path(file, relative_to=self._relative_to)

    def _excerpt(self, file: Path, marks: Sequence[_Mark], width: int, *, is_secret: bool) -> Iterator[str]:
        if file not in self._texts:
            self._texts[file] = TextLines(read_text(file))
        source = self._texts[file].lines
        rule = self._palette.paint("|", _BLUE)
        previous = None
        yield f"{' ' * width} {rule}"
        for mark in sorted(marks, key=lambda mark: mark.span):
            number = mark.span.line
            if number > len(source):
                continue
            text = source[number - 1]
            if number != previous:
                if previous is not None and number > previous + 1:
                    yield self._palette.paint("." * 3, _BLUE)
                shown = _Shown.of(text, mark.span, is_secret=is_secret)
                yield f"{self._palette.paint(str(number).rjust(width), _BLUE)} {rule} {shown.text}".rstrip()
            previous = number
            underline = self._palette.paint(f"{mark.sign * shown.width(mark.span)} {mark.message}".rstrip(), mark.style)
            yield f"{' ' * width} {rule} {' ' * shown.indent(mark.span)}{underline}"


@dataclass(frozen=True, slots=True)
class _Mark:
    span: Span
    message: str
    sign: str
    style: str


@dataclass(frozen=True)
class _Shown:
    """A source line as printed: a window of it, with every character one that a terminal prints in known width."""

    line: str
    first: int
    is_secret: bool

    @classmethod
    def of(cls, line: str, span: Span, *, is_secret: bool) -> _Shown:
        first = 0 if span.column <= _SHOWN_COLUMNS - 20 else span.column - 20
        return cls(line, first, is_secret)

    @cached_property
    def _clean(self) -> str:
        line = _USER_INFORMATION.sub(lambda match: "*" * len(match[0]), self.line)
        if self.is_secret:
            line = _VALUE.sub(lambda match: "*" * len(match[0]), line)
        return "".join(c if c.isprintable() else " " if c == "\t" else "�" for c in line)

    @property
    def text(self) -> str:
        window = self._clean[self.first : self.first + _SHOWN_COLUMNS]
        before = "…" if self.first else ""
        return f"{before}{window}{'…' if len(self._clean) > self.first + _SHOWN_COLUMNS else ''}"

    def indent(self, span: Span) -> int:
        return bool(self.first) + _cells(self._clean[self.first : max(span.column - 1, self.first)])

    def width(self, span: Span) -> int:
        end = span.end_column - 1 if span.end_line == span.line else len(self._clean.rstrip())
        end = min(end, self.first + _SHOWN_COLUMNS)
        return max(1, _cells(self._clean[span.column - 1 : end]))


def _cells(text: str) -> int:
    """Return how many columns of a terminal a text takes (Unicode, annex 11)."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
