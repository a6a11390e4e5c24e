"""Answers inputs without a server: a value is answered whole, a file of rows in parts.

A *file of rows* is CSV, JSON lines or Parquet. Its answer is one JSON array, made of as many calls as the rows need,
while only the rows of one call are in memory; a row that fails is ``null`` in its place and a `Failure` beside it. Rows
that the adapter refuses are found by halving, because decoding changes nothing. Calls that raise are halved only for a
model's own method: a user's function may have done half of its work, and nobody may repeat that unseen.

What comes of an input is a sequence of *events*: one `Answer`, or the `Rows` of an array in order, and `Failure`s.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from kappa.adapters.arrow import PARQUET, arrow_payload, parquet_batches
from kappa.adapters.json import LINES_MEDIA_TYPES, encode_json
from kappa.adapters.multipart import FORM, form_payload
from kappa.errors import BadInputError, InferenceFailedError, KappaError
from kappa.inference import Inference
from kappa.spec.contracts import InputAdapter
from kappa.spec.models import ArtifactMethod
from kappa.types import Answer, InferenceTask, Payload

__all__ = [
    "Event",
    "Failure",
    "InputFile",
    "InputForm",
    "Rows",
    "Source",
    "answer_events",
    "answer_parts",
    "answer_together",
    "is_file_of_rows",
    "payload_of",
]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an input, or some rows of it, have no answer."""

    message: str
    first_row: int | None = None
    """Counted from 1; ``None`` when the whole input failed."""
    rows: int = 1
    cause: Exception | None = None

    @property
    def where(self) -> str:
        """``row 17``, ``rows 17 to 20``, or nothing for the whole input."""
        if self.first_row is None:
            return ""
        return (
            f"row {self.first_row}" if self.rows == 1 else f"rows {self.first_row} to {self.first_row + self.rows - 1}"
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """The answers to consecutive rows: JSON values with commas between them."""

    elements: bytes
    count: int


Event = Answer | Rows | Failure


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that is read when its turn comes; one that ends in `.gz` is unpacked on the way."""

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
            return Payload(file.read(), self.media_type, name=self.path.name)

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


def answer_parts(inference: Inference, source: Source, *, rows_per_call: int) -> Iterator[bytes | Failure]:
    """Answer ``source``; the bytes, joined, are the body that HTTP would send, or ``null`` where that is an error.

    A file of more than ``rows_per_call`` rows is answered in parts of that many, each joined to the array as soon as
    it is there.
    """
    opened = b"["
    has_answer = False
    for event in answer_events(inference, source, rows_per_call=rows_per_call):
        if isinstance(event, Failure):
            yield event
        elif isinstance(event, Answer):
            yield event.body
            has_answer = True
        else:
            yield opened + event.elements
            opened = b","
    if opened == b",":
        yield b"]"
    elif not has_answer:
        yield b"null"


def answer_events(inference: Inference, source: Source, *, rows_per_call: int) -> Iterator[Event]:
    """Answer ``source``: with one `Answer` or `Failure` if it is one request, else with the `Rows` of its array."""
    if isinstance(source, InputForm) or not is_file_of_rows(source.media_type, inference):
        yield _answer_source(inference, source)
        return
    charset = source.charset if isinstance(source, Payload) else "utf-8"
    with io.BytesIO(source.data) if isinstance(source, Payload) else source.opened() as stream:
        yield from _answer_rows(_rows_of(inference, source.media_type, stream, charset, rows_per_call))


def answer_together(inference: Inference, payloads: Sequence[Payload]) -> list[Answer | Failure]:
    """Answer requests with as few calls as their groups need; one that the adapter refuses fails alone."""
    rows = _RowsOfFile(inference, iter([payloads]), lambda part: part[0], are_merged=False)
    spans = rows.answer(payloads, first_row=1)
    return [replace(span.failure, first_row=None) if span.failure else span.answer or Failure("") for span in spans]


def _answer_rows(rows: _RowsOfFile) -> Iterator[Event]:
    parts = _Parts(rows.parts)
    first, second = parts.next(), parts.next()
    if not len(first):
        yield parts.failure or _answer_whole(rows.inference, rows.pack(first))
        return
    spans = rows.answer(first, first_row=1)
    is_all = not len(second) and parts.failure is None
    if len(spans) == 1 and is_all and rows.are_merged and spans[0].answer is not None:
        yield spans[0].answer
        return
    if (failure := _common_refusal(spans)) is not None:
        yield failure
        return
    yield from rows.joined(spans)
    number = 1 + len(first)
    while len(second):
        yield from rows.joined(rows.answer(second, first_row=number))
        number += len(second)
        second = parts.next()
    if parts.failure is not None:
        yield replace(parts.failure, message=f"Nothing is read from row {number} on. {parts.failure.message}")


class _Parts:
    """The rows of a file, a call's share at a time, as far as it can be read."""

    def __init__(self, parts: Iterator[Any]) -> None:
        self._parts = parts
        self.failure: Failure | None = None
        """Why there are no more, if not because the file ended."""

    def next(self) -> Any:
        """Return the next rows; none at the end."""
        try:
            return next(self._parts, ()) if self.failure is None else ()
        except BadInputError as exc:
            self.failure = Failure(str(exc), cause=exc)
            return ()


def _answer_source(inference: Inference, source: Source) -> Answer | Failure:
    try:
        return _answer_whole(inference, payload_of(source))
    except BadInputError as exc:
        return Failure(str(exc), cause=exc)


def _answer_whole(inference: Inference, payload: Payload) -> Answer | Failure:
    try:
        answer = inference.answer_payload(payload)
    except Exception as exc:  # noqa: BLE001 - the user's function may raise anything
        return Failure(_sentence(exc), cause=exc)
    return answer if answer.http_status < 400 else Failure(_refusal(answer))


@dataclass(slots=True)
class _Span:
    """Consecutive rows of a file that one task stands for, and what came of them."""

    first: int
    rows: Any
    """What `_RowsOfFile.pack` takes; has a length and can be cut."""
    task: InferenceTask | None = None
    answer: Answer | None = None
    elements: bytes = b""
    failure: Failure | None = None

    def fail(self, exc: Exception) -> _Span:
        return self.without_answer(Failure(_sentence(exc), self.first, len(self.rows), exc))

    def without_answer(self, failure: Failure) -> _Span:
        return replace(self, elements=b",".join([b"null"] * len(self.rows)), failure=failure)

    def halves(self) -> tuple[_Span, _Span]:
        middle = len(self.rows) // 2
        return _Span(self.first, self.rows[:middle]), _Span(self.first + middle, self.rows[middle:])


@dataclass(frozen=True, slots=True)
class _RowsOfFile:
    """The rows of a file for one API, a call's share at a time: ``pack`` makes the payload of some of them."""

    inference: Inference
    parts: Iterator[Any]
    """Raises `BadInputError` where the file cannot be read on."""
    pack: Callable[[Any], Payload]
    are_merged: bool
    """Whether the adapter takes many rows in one request; otherwise each row is a request."""

    def answer(self, rows: Any, *, first_row: int) -> list[_Span]:
        """Answer some rows; the spans returned cover all of them, in order, each answered or failed."""
        if self.are_merged:
            decoded = self._decode(_Span(first_row, rows))
            return [answered for span in decoded for answered in self._run([span])]
        decoded = [span for number, row in enumerate(rows) for span in self._decode(_Span(first_row + number, [row]))]
        groups: dict[Hashable, list[_Span]] = {}
        for span in decoded:
            is_shared = span.task is not None and self.inference.spec.batch
            key = self.inference.group_of(span.task) if span.task and is_shared else span.first
            groups.setdefault((is_shared, key), []).append(span)
        answered = [span for group in groups.values() for span in self._run(group)]
        return sorted(answered, key=lambda span: span.first)

    def _decode(self, span: _Span) -> list[_Span]:
        try:
            return [replace(span, task=self.inference.decode(self.pack(span.rows)))]
        except BadInputError as exc:
            if len(span.rows) == 1:
                return [span.fail(exc)]
            return [decoded for half in span.halves() for decoded in self._decode(half)]

    def _run(self, spans: list[_Span]) -> list[_Span]:
        """Answer spans of one group with one call; those that were refused pass through."""
        tasks = [span.task for span in spans if span.task is not None]
        if len(tasks) < len(spans):
            return spans
        try:
            answers = self.inference.answer(tasks)
        except Exception as exc:  # noqa: BLE001 - the user's function may raise anything
            return self._run_again(spans, exc)
        return [_answered(span, answer) for span, answer in zip(spans, answers, strict=True)]

    def _run_again(self, spans: list[_Span], exc: Exception) -> list[_Span]:
        if isinstance(self.inference.spec.target, ArtifactMethod):
            if len(spans) > 1:
                middle = len(spans) // 2
                return self._run(spans[:middle]) + self._run(spans[middle:])
            if len(spans[0].rows) > 1:
                halves = [decoded for half in spans[0].halves() for decoded in self._decode(half)]
                return [answered for half in halves for answered in self._run([half])]
        return [span.fail(exc) for span in spans]

    def joined(self, spans: Sequence[_Span]) -> Iterator[Rows | Failure]:
        """Yield the elements of the array that the spans make, then why some of them are ``null``."""
        spans = [self._checked(span) for span in spans]
        yield Rows(b",".join(span.elements for span in spans), sum(len(span.rows) for span in spans))
        yield from _merged(span.failure for span in spans if span.failure is not None)

    def _checked(self, span: _Span) -> _Span:
        """Take the elements out of a span's answer; what is not one element per row fails."""
        if span.answer is None:
            return span
        body = span.answer.body
        if not self.are_merged:
            is_json = "json" in span.answer.media_type
            return replace(span, elements=body if is_json else encode_json(body.decode(errors="replace")))
        array = orjson.loads(body) if body.startswith(b"[") else None
        if not isinstance(array, list) or len(array) != len(span.rows):
            return span.fail(
                InferenceFailedError(
                    f"The answer is not an array of {len(span.rows)} results, so it cannot be joined with those of "
                    "the other rows. Answer the file in one call: raise `--max-batch-size` to its number of rows."
                )
            )
        return replace(span, elements=body[1:-1])


# -- reading rows ------------------------------------------------------------------------------------------------------


def is_file_of_rows(media_type: str, inference: Inference) -> bool:
    """Return whether a file is rows for this API: JSON lines always are, where it takes JSON at all."""
    adapter = inference.spec.input
    takes_rows = type(adapter).rows_of is not InputAdapter.rows_of
    if media_type in LINES_MEDIA_TYPES:
        return "application/json" in adapter.request_content()
    return takes_rows and media_type in ("text/csv", PARQUET) and media_type in adapter.request_content()


def _rows_of(inference: Inference, media_type: str, stream: BinaryIO, charset: str, size: int) -> _RowsOfFile:
    takes_rows = type(inference.spec.input).rows_of is not InputAdapter.rows_of
    if media_type == PARQUET:
        return _RowsOfFile(inference, parquet_batches(stream, rows=size), _packed_table, are_merged=True)
    if media_type == "text/csv":
        header: list[str] = []

        def packed_records(rows: Sequence[str]) -> Payload:
            return Payload("".join([*header, *rows]).encode(), "text/csv")

        return _RowsOfFile(inference, _csv_parts(stream, charset, header, size), packed_records, are_merged=True)
    packed = _packed_lines if takes_rows else _packed_line
    return _RowsOfFile(inference, _line_parts(stream, charset, size), packed, are_merged=takes_rows)


def _packed_table(table: Any) -> Payload:
    return arrow_payload(table) if len(table) else Payload(b"[]", "application/json")


def _packed_lines(lines: Sequence[bytes]) -> Payload:
    return Payload(b"[%b]" % b",".join(lines), "application/json")


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


def _answered(span: _Span, answer: Answer) -> _Span:
    if answer.http_status >= 400:
        return span.without_answer(Failure(_refusal(answer), span.first, len(span.rows)))
    return replace(span, answer=answer)


def _common_refusal(spans: Sequence[_Span]) -> Failure | None:
    """Return the one reason for which the adapter refused every row: then the file is wrong, and not its rows."""
    refused = [span.failure for span in spans if span.failure and isinstance(span.failure.cause, BadInputError)]
    messages = {failure.message for failure in refused}
    if len(refused) == len(spans) > 1 and len(messages) == 1:
        return Failure(messages.pop(), cause=refused[0].cause)
    return None


def _merged(failures: Iterable[Failure]) -> Iterator[Failure]:
    """Yield one failure for neighbouring rows that failed alike."""
    last: Failure | None = None
    for failure in failures:
        if last and (last.message, (last.first_row or 0) + last.rows) == (failure.message, failure.first_row):
            last = replace(last, rows=last.rows + failure.rows)
        else:
            if last:
                yield last
            last = failure
    if last:
        yield last


def _refusal(answer: Answer) -> str:
    """Return the text of an error's body."""
    try:
        return str(orjson.loads(answer.body)["error"])
    except (ValueError, LookupError, TypeError):
        return f"The answer has the status {answer.http_status}."


def _sentence(exc: Exception) -> str:
    return str(exc) if isinstance(exc, KappaError) else f"{type(exc).__name__}: {exc}"
