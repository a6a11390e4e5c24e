"""Inputs that are answered without a server: files, forms of several inputs, and files of rows that are read in parts.

A *file of rows* is CSV, JSON lines or Parquet. Of any size, it is read a call's share at a time.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from kappa.adapters.arrow import PARQUET, arrow_payload, parquet_batches
from kappa.adapters.media_types import LINES
from kappa.adapters.multipart import FORM, form_payload
from kappa.errors import BadInputError
from kappa.spec.contracts import InputAdapter
from kappa.types import DecodingLimits, Payload

__all__ = ["InputFile", "InputForm", "RowParts", "Source", "is_file_of_rows", "payload_of", "rows_of"]


_OF_ONES_OWN = DecodingLimits(max_bytes=1 << 40, max_cells=1 << 40, max_columns=1 << 20)
"""The decoding limits of a local file: none but memory."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that is read lazily; one that ends in `.gz` is unpacked on the way."""

    path: Path
    media_type: str
    on_read: Callable[[int], None] | None = None
    """Called with the number of bytes read so far, again and again, while rows are read."""

    @property
    def size_bytes(self) -> int:
        """How large the file is; 0 for one that tells only when it is read."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def read(self) -> Payload:
        """Return the whole file as one request body."""
        with self.opened() as file, _reading_problems():
            return Payload(file.read(), self.media_type, name=self.path.name, limits=_OF_ONES_OWN)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open the file; `-` is standard input."""
        with ExitStack() as stack:
            raw: Any = sys.stdin.buffer
            if str(self.path) != "-":
                raw = stack.enter_context(self.path.open("rb"))
            if self.on_read is not None:
                raw = stack.enter_context(io.BufferedReader(_Counted(raw, self.on_read), 1 << 18))
            if self.path.suffix == ".gz":
                raw = stack.enter_context(gzip.GzipFile(fileobj=raw))
            yield raw


@dataclass(frozen=True, slots=True)
class InputForm:
    """Several inputs that make one request, each with its name."""

    parts: tuple[tuple[str, Payload | InputFile], ...]
    media_type: str = FORM

    def read(self) -> Payload:
        """Return the form as a request body."""
        return form_payload((name, payload_of(part)) for name, part in self.parts)


Source = Payload | InputFile | InputForm


def payload_of(source: Source) -> Payload:
    """Return an input as a request body."""
    return source if isinstance(source, Payload) else source.read()


class _Counted(io.RawIOBase):
    """A file that tells how far it was read."""

    def __init__(self, file: BinaryIO, on_read: Callable[[int], None]) -> None:
        self._file, self._on_read = file, on_read

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._on_read(self._file.tell())
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


# -- files of rows -----------------------------------------------------------------------------------------------------


def is_file_of_rows(source: Source, adapter: InputAdapter) -> bool:
    """Return whether an input is a file of rows for this adapter: JSON lines are, wherever it takes JSON at all."""
    if isinstance(source, InputForm):
        return False
    taken = adapter.request_content()
    if source.media_type == LINES:
        return "application/json" in taken
    return _takes_rows(adapter) and source.media_type in ("text/csv", PARQUET) and source.media_type in taken


def _takes_rows(adapter: InputAdapter) -> bool:
    return type(adapter).rows_of is not InputAdapter.rows_of


class RowParts(NamedTuple):
    """The rows of a file for one adapter."""

    parts: Iterator[Any]
    """Some rows at a time, which have a length and can be cut; raises `BadInputError` where no more can be read."""
    pack: Callable[[Any], Payload]
    """Makes the request body of some rows."""
    are_merged: bool
    """Whether the adapter takes many rows in one request; otherwise each row is a request."""


def rows_of(adapter: InputAdapter, media_type: str, stream: BinaryIO, *, charset: str, size: int) -> RowParts:
    """Return the rows of an open file, up to ``size`` at a time."""
    if media_type == PARQUET:
        return RowParts(parquet_batches(stream, rows=size), _packed_table, are_merged=True)
    if media_type == "text/csv":
        header: list[str] = []

        def packed_records(rows: Sequence[str]) -> Payload:
            return Payload("".join([*header, *rows]).encode(), "text/csv", limits=_OF_ONES_OWN)

        return RowParts(_csv_parts(stream, charset, header, size), packed_records, are_merged=True)
    takes_rows = _takes_rows(adapter)
    packed = _packed_lines if takes_rows else _packed_line
    return RowParts(_line_parts(stream, charset, size), packed, are_merged=takes_rows)


def _packed_table(table: Any) -> Payload:
    return arrow_payload(table, _OF_ONES_OWN) if len(table) else Payload(b"[]", "application/json")


def _packed_lines(lines: Sequence[bytes]) -> Payload:
    return Payload(b"[%b]" % b",".join(lines), "application/json", limits=_OF_ONES_OWN)


def _packed_line(lines: Sequence[bytes]) -> Payload:
    return Payload(lines[0] if lines else b"", "application/json")


def _line_parts(stream: BinaryIO, charset: str, size: int) -> Iterator[list[bytes]]:
    """Yield up to ``size`` JSON lines at a time; only line feeds end a line, because JSON texts may hold U+2028."""
    with _reading_problems(), io.TextIOWrapper(stream, charset, newline="\n") as text:
        lines = chain((line.removeprefix("\ufeff") for line in islice(text, 1)), text)
        while block := list(islice(lines, size)):
            if part := [stripped.encode() for line in block if (stripped := line.strip())]:
                yield part


def _csv_parts(stream: BinaryIO, charset: str, header: list[str], size: int) -> Iterator[list[str]]:
    """Yield up to ``size`` records of a CSV text at a time, as they stand there; the first is put into ``header``.

    PERF: only where there are quotes, in which a line may break, does a parser have to tell where records end.
    """
    with _reading_problems(), io.TextIOWrapper(stream, charset, newline="") as text:
        while not header and (line := text.readline().removeprefix("\ufeff")):
            header += _csv_records(iter([line]), text)
        while block := list(islice(text, size)):
            joined = "".join(block)
            is_plain = '"' not in joined and "\n\n" not in joined and "\r" not in joined and block[0] != "\n"
            if part := block if is_plain else list(_csv_records(iter(block), text)):
                yield part


def _csv_records(lines: Iterator[str], further: Iterator[str]) -> Iterator[str]:
    """Yield the records that begin in ``lines`` (RFC 4180); the last may end in the ``further`` ones."""
    for line in lines:
        if '"' not in line:
            if line.strip("\r\n"):
                yield line
            continue
        taken = [line]
        if next(csv.reader(chain([line], _noted(chain(lines, further), taken)))):
            yield "".join(taken)


def _noted(lines: Iterator[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line


@contextmanager
def _reading_problems() -> Iterator[None]:
    """Refuse a file that cannot be read on."""
    try:
        yield
    except csv.Error as exc:
        raise BadInputError(f"The CSV cannot be read: {exc}.") from exc
    except (UnicodeDecodeError, LookupError) as exc:
        raise BadInputError(f"The text cannot be decoded: {exc}.") from exc
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise BadInputError(f"The file cannot be unpacked: {exc}.") from exc
