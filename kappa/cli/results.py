"""How `kappa run` prints answers: as they would be sent, as text, as CSV, or as a table."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from kappa import offline
from kappa.adapters.csv import csv_lines
from kappa.cli.run_arguments import ResultForm
from kappa.cli.tables import text_table
from kappa.errors import UsageError
from kappa.types import MEDIA_TYPES, Answer

__all__ = ["Printer", "printer"]

_MOST_TABLE_ROWS = 100
_EXTENSIONS = {media_type: extension for extension, media_type in reversed(MEDIA_TYPES.items())}


class Printer:
    """Writes the answers to one input after the other; this one as JSON, one line per input."""

    def __init__(self, out: BinaryIO) -> None:
        self.out = out
        self._is_open = False

    def begin(self, name: str) -> None:
        """Begin with the answer to the input called ``name``."""

    def write(self, event: Answer | offline.Rows) -> None:
        if isinstance(event, Answer):
            self.whole(event)
        else:
            self.rows(event)

    def whole(self, answer: Answer) -> None:
        self.out.write(answer.body + b"\n")

    def rows(self, rows: offline.Rows) -> None:
        self.out.write((b"," if self._is_open else b"[") + rows.elements)
        self._is_open = True

    def end(self, *, is_answered: bool) -> None:
        """End the answer, which is valid however many rows it has; ``null`` for an input that has none."""
        if self._is_open:
            self.out.write(b"]\n")
        elif not is_answered:
            self.out.write(b"null\n")
        self._is_open = False
        self.out.flush()

    def close(self) -> None:
        """Write what waits for the end of everything."""


class _JsonPrinter(Printer):
    """Writes bodies as the server would have sent them; a binary one unchanged, and alone."""

    def __init__(self, out: BinaryIO, *, is_alone: bool) -> None:
        super().__init__(out)
        self._is_alone = is_alone

    def whole(self, answer: Answer) -> None:
        if _is_text(answer.media_type):
            super().whole(answer)
        elif not self._is_alone or self.out.isatty():
            raise UsageError(f"The answer is a file (`{answer.media_type}`): give `--output-dir` to keep it.")
        else:
            self.out.write(answer.body)


class _TextPrinter(Printer):
    """Writes values that are text without their quotes."""

    def whole(self, answer: Answer) -> None:
        value = _value_of(answer)
        self.out.write((value.encode() if isinstance(value, str) else answer.body) + b"\n")


class _CsvPrinter(Printer):
    """Writes each row as a line under one header; what failed is an empty line of as many fields."""

    def __init__(self, out: BinaryIO) -> None:
        super().__init__(out)
        self._names: list[str] = []
        self._waiting = 0

    def whole(self, answer: Answer) -> None:
        self._lines(_rows_of(_value_of(answer)))

    def rows(self, rows: offline.Rows) -> None:
        self._lines(orjson.loads(b"[%b]" % rows.elements))

    def end(self, *, is_answered: bool) -> None:
        if not is_answered:
            self._lines([None])
        self.out.flush()

    def _lines(self, rows: Sequence[Any]) -> None:
        """Write rows; the first that did not fail tells the names, for those before it as well."""
        for row in rows:
            if row is None and not self._names:
                self._waiting += 1
                continue
            if not self._names:
                self._names = _names_of(row)
                blank = [""] * len(self._names)
                self.out.write(csv_lines([self._names, *[blank] * self._waiting]).encode())
            self.out.write(csv_lines([_fields(row, self._names)]).encode())

    def close(self) -> None:
        if not self._names and self._waiting:
            self.out.write(b"value\n" + b'""\n' * self._waiting)
            self.out.flush()


class _TablePrinter(Printer):
    """Writes the first rows as an aligned table once all are there."""

    def __init__(self, out: BinaryIO) -> None:
        super().__init__(out)
        self._kept: list[Any] = []
        self._count = 0

    def whole(self, answer: Answer) -> None:
        self._keep(_rows_of(_value_of(answer)))

    def rows(self, rows: offline.Rows) -> None:
        self._keep(orjson.loads(b"[%b]" % rows.elements))

    def _keep(self, rows: Sequence[Any]) -> None:
        self._kept += rows[: _MOST_TABLE_ROWS - len(self._kept)]
        self._count += len(rows)

    def end(self, *, is_answered: bool) -> None:
        if not is_answered:
            self._keep([None])

    def close(self) -> None:
        names = next((_names_of(row) for row in self._kept if row is not None), ["value"])
        lines = [names, *([_cell(field) for field in _fields(row, names)] for row in self._kept)]
        self.out.write(text_table(lines).encode() + b"\n")
        if self._count > len(self._kept):
            self.out.write(f"… and {self._count - len(self._kept)} more rows\n".encode())
        self.out.flush()


class _FilePrinter(Printer):
    """Writes each answer as a file of a folder, called like its input, which it never replaces."""

    def __init__(self, directory: Path, out: BinaryIO, *, inputs: Collection[Path]) -> None:
        super().__init__(out)
        self._directory = directory
        self._inputs = {path.resolve() for path in inputs}
        self._name = ""
        self._file: BinaryIO | None = None
        self._taken: set[str] = set()

    def begin(self, name: str) -> None:
        self._name = name

    def whole(self, answer: Answer) -> None:
        with self._created(_EXTENSIONS.get(answer.media_type.partition(";")[0], ".bin")) as file:
            file.write(answer.body)

    def rows(self, rows: offline.Rows) -> None:
        if self._file is None:
            self._file = self._created(".json")
        self._file.write((b"," if self._is_open else b"[") + rows.elements)
        self._is_open = True

    def end(self, *, is_answered: bool) -> None:  # noqa: ARG002 - what failed has no file
        if self._file is not None:
            with self._file as file:
                file.write(b"]\n")
        self._file, self._is_open = None, False
        self.out.flush()

    def _created(self, extension: str) -> BinaryIO:
        """Create the file of an answer and print its path."""
        stem, number = Path(self._name).stem or "answer", 2
        name = f"{stem}{extension}"
        while name in self._taken or (self._directory / name).resolve() in self._inputs:
            name, number = f"{stem}-{number}{extension}", number + 1
        self._taken.add(name)
        path = self._directory / name
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            file = path.open("wb")
        except OSError as exc:
            raise UsageError(f"`{path}` cannot be written: {exc.strerror}.") from exc
        self.out.write(f"{path}\n".encode())
        return file


def printer(form: ResultForm, *, directory: Path | None, is_alone: bool, inputs: Collection[Path] = ()) -> Printer:
    """Return what writes answers to stdout in the chosen form, or into a folder, where ``inputs`` stay as they are."""
    out = sys.stdout.buffer
    if directory is not None:
        return _FilePrinter(directory, out, inputs=inputs)
    if form == "json":
        return _JsonPrinter(out, is_alone=is_alone)
    return {"str": _TextPrinter, "csv": _CsvPrinter, "table": _TablePrinter}[form](out)


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or "json" in media_type


def _value_of(answer: Answer) -> Any:
    """Return an answer as a value; what is not JSON stays text."""
    if "json" in answer.media_type:
        return orjson.loads(answer.body)
    if not _is_text(answer.media_type):
        raise UsageError(f"The answer is a file (`{answer.media_type}`): give `--output-dir` to keep it.")
    return answer.body.decode(errors="replace")


def _rows_of(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _names_of(row: Any) -> list[str]:
    if isinstance(row, Mapping):
        return list(row)
    return [str(index) for index in range(len(row))] if isinstance(row, list) else ["value"]


def _fields(row: Any, names: Sequence[str]) -> list[Any]:
    """Return the fields of a row under a header; what is nested stays JSON."""
    if row is None:
        return [""] * len(names)
    if isinstance(row, Mapping):
        return [_flat(row.get(name)) for name in names]
    return [_flat(value) for value in (row if isinstance(row, list) else [row])]


def _flat(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, Mapping | list) else value


def _cell(field: Any) -> str:
    return csv_lines([[field]]).rstrip("\n").strip('"') if not isinstance(field, str) else field
