"""Problems of a kappafile and of the code it names: what each is, and how it is shown.

Every kind of problem has a stable *code* (see `kappa.build.manifest.codes`). A *diagnostic* is one problem at one
place; a *label* marks a second place that belongs to it, such as the first of two equal keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kappa.build.manifest.excerpts import Excerpts, Mark, Style
from kappa.build.manifest.positions import Positions, Span, TreePath, pointer
from kappa.errors import ManifestError
from kappa.wording import one_of

__all__ = [
    "Diagnostic",
    "Diagnostics",
    "Label",
    "Severity",
    "display_path",
    "render_text",
]

Severity = Literal["error", "warning"]


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
    """Stable; see `kappa.build.manifest.codes`."""
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

    @property
    def line(self) -> str:
        """The problem on one line, as a log has it."""
        return f"{self.file.name}:{self.span.line}: {self.message} {self.help}".rstrip()


class Diagnostics:
    """Collects the problems of one kappafile; a place that has one is not blamed again for what follows from it."""

    def __init__(self, file: Path, positions: Positions | None = None) -> None:
        self.file = file
        self.positions = positions if positions is not None else _NOWHERE
        self._diagnostics: dict[Diagnostic, None] = {}
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
        self._diagnostics[diagnostic] = None

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            self.append(diagnostic)

    def keep_below(self, prefix: TreePath) -> None:
        """Forget problems elsewhere in the document, and count paths from ``prefix``; mistakes of syntax stay."""
        root, kept = pointer(prefix), dict[Diagnostic, None]()
        for diagnostic in self._diagnostics:
            if diagnostic.path == root or diagnostic.path.startswith(f"{root}/"):
                kept[replace(diagnostic, path=diagnostic.path[len(root) :])] = None
            elif diagnostic.code in ("KF102", "KF103"):
                kept[diagnostic] = None
        self._diagnostics = kept
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
        return any(diagnostic.is_error for diagnostic in self._diagnostics)

    def __iter__(self) -> Iterator[Diagnostic]:
        """Yield them in the order of the file, then those of other files."""
        return iter(
            sorted(self._diagnostics, key=lambda d: (d.file != self.file, str(d.file), d.span, d.code, d.message))
        )

    def __len__(self) -> int:
        return len(self._diagnostics)

    def check(self) -> None:
        """Raise a `ManifestError` that carries everything if there is an error."""
        if self.has_errors:
            diagnostics = tuple(self)
            raise ManifestError(render_text(diagnostics), diagnostics=diagnostics)


_NOWHERE = Positions()


def display_path(file: Path, *, relative_to: Path | None = None) -> str:
    """Return a file's name as messages show it: relative to a folder, by default the current one, if it is below it."""
    try:
        return file.relative_to(relative_to or Path.cwd()).as_posix()
    except (ValueError, OSError):
        return str(file)


def render_text(diagnostics: Sequence[Diagnostic], *, relative_to: Path | None = None, color: bool = False) -> str:
    """Write problems for people: each with its place, the lines it is about, and what to do; then how many.

    The files are read again for the excerpts.
    """
    excerpts = Excerpts(color=color)
    entries = (_entry(diagnostic, excerpts, relative_to) for diagnostic in diagnostics)
    return "\n".join([*entries, _summary(diagnostics)])


def _entry(diagnostic: Diagnostic, excerpts: Excerpts, relative_to: Path | None) -> str:
    def position_text(file: Path, span: Span) -> str:
        return f"{display_path(file, relative_to=relative_to)}:{span.line}:{span.column}"

    paint, file = excerpts.paint, diagnostic.file
    style: Style = "error" if diagnostic.is_error else "warning"
    kind = paint(f"{diagnostic.severity}[{diagnostic.code}]", style)
    marks = [Mark(diagnostic.span, "", "^", style)]
    marks += [Mark(label.span, label.message, "-", "label") for label in diagnostic.labels if label.file == file]
    elsewhere = [label for label in diagnostic.labels if label.file != file]
    width = len(str(max([*(mark.span.line for mark in marks), *(label.span.line for label in elsewhere)])))
    lines = [f"{paint(position_text(file, diagnostic.span), 'place')}: {kind}: {diagnostic.message}"]
    name = diagnostic.path.rpartition("/")[2] if diagnostic.path.startswith("/env/variables/") else None
    lines += excerpts.lines(file, marks, width, only_key=name)
    indent = " " * width
    for label in elsewhere:
        mark, key = Mark(label.span, label.message, "^", "label"), _key_alone(diagnostic.path)
        excerpt = list(excerpts.lines(label.file, [mark], width, only_key=key))
        suffix = "" if excerpt else f": {label.message}"
        lines += [f"{indent} {paint('::', 'label')} {position_text(label.file, label.span)}{suffix}", *excerpt]
    if diagnostic.help:
        lines.append(f"{indent} {paint('=', 'label')} {diagnostic.help}")
    return "\n".join([*lines, ""])


def _key_alone(path: str) -> str | None:
    """Return the key that may be shown of lines whose values may be credentials; ``None`` for all other lines."""
    return path.rpartition("/")[2] if path.startswith("/env/variables") else None


def _summary(diagnostics: Sequence[Diagnostic]) -> str:
    errors = sum(diagnostic.is_error for diagnostic in diagnostics)
    counts = [(errors, "error"), (len(diagnostics) - errors, "warning")]
    words = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count]
    return f"Found {one_of(words, joined_by='and') if words else 'no problems'}."
