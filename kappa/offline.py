"""Answers one input without a server: a value is answered whole, a file of rows in parts.

A *file of rows* is CSV or JSON lines. Its answer is one JSON array, made of as many calls as the rows need; a row that
fails is ``null`` in its place and a `Failure` beside it. Rows that the adapter refuses are found by halving, because
decoding changes nothing. Calls that raise are halved only for a model's own method: a user's function may have done
half of its work, and nobody may repeat that unseen.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import orjson

from kappa.adapters.json import encode_json
from kappa.errors import BadInputError, InferenceFailedError, KappaError
from kappa.inference import Inference
from kappa.spec.contracts import InputAdapter
from kappa.spec.models import ArtifactMethod
from kappa.types import Answer, InferenceTask, Payload

__all__ = ["Failure", "answer_parts"]


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


def answer_parts(inference: Inference, payload: Payload, *, rows_per_call: int) -> Iterator[bytes | Failure]:
    """Answer ``payload``; the bytes, joined, are the body that HTTP would send, or ``null`` where that is an error.

    A file of more than ``rows_per_call`` rows is answered in parts of that many, each joined to the array as soon as
    it is there.
    """
    try:
        rows = _rows_of(payload, inference)
    except (UnicodeDecodeError, LookupError) as exc:
        yield Failure(f"The text cannot be decoded: {exc}.", cause=exc)
        yield b"null"
        return
    parts = rows.parts(rows_per_call) if rows is not None else iter([])
    first, second = next(parts, []), next(parts, [])
    if rows is None or not first:
        yield from _answer_whole(inference, payload)
        return
    spans = rows.answer(first, first_row=1)
    if len(spans) == 1 and not second and rows.are_merged and spans[0].answer is not None:
        yield spans[0].answer.body
        return
    if (failure := _common_refusal(spans)) is not None:
        yield failure
        yield b"null"
        return
    yield b"["
    yield from rows.joined(spans)
    number = 1 + len(first)
    while second:
        yield b","
        yield from rows.joined(rows.answer(second, first_row=number))
        number += len(second)
        second = next(parts, [])
    yield b"]"


def _answer_whole(inference: Inference, payload: Payload) -> Iterator[bytes | Failure]:
    try:
        answer = inference.answer_payload(payload)
    except Exception as exc:  # noqa: BLE001 - the user's function may raise anything
        yield Failure(_sentence(exc), cause=exc)
        yield b"null"
        return
    if answer.http_status >= 400:
        yield Failure(_refusal(answer))
        yield b"null"
    else:
        yield answer.body


@dataclass(slots=True)
class _Span:
    """Consecutive rows of a file that one task stands for, and what came of them."""

    first: int
    texts: Sequence[str]
    task: InferenceTask | None = None
    answer: Answer | None = None
    elements: bytes = b""
    failure: Failure | None = None

    def fail(self, exc: Exception) -> _Span:
        return self.without_answer(Failure(_sentence(exc), self.first, len(self.texts), exc))

    def without_answer(self, failure: Failure) -> _Span:
        return replace(self, elements=b",".join([b"null"] * len(self.texts)), failure=failure)

    def halves(self) -> tuple[_Span, _Span]:
        middle = len(self.texts) // 2
        return _Span(self.first, self.texts[:middle]), _Span(self.first + middle, self.texts[middle:])


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a file for one API: ``pack`` makes the payload of some of them."""

    inference: Inference
    texts: Iterator[str]
    pack: Callable[[Sequence[str]], Payload]
    are_merged: bool
    """Whether the adapter takes many rows in one request; otherwise each row is a request."""

    def parts(self, size: int) -> Iterator[list[str]]:
        """Yield the texts of up to ``size`` rows at a time."""
        try:
            while part := list(islice(self.texts, size)):
                yield part
        except csv.Error as exc:
            raise BadInputError(f"The CSV cannot be read: {exc}.") from exc

    def answer(self, texts: Sequence[str], *, first_row: int) -> list[_Span]:
        """Answer some rows; the spans returned cover all of them, in order, each answered or failed."""
        if self.are_merged:
            decoded = self._decode(_Span(first_row, texts))
            return [answered for span in decoded for answered in self._run([span])]
        decoded = [
            span for number, text in enumerate(texts) for span in self._decode(_Span(first_row + number, [text]))
        ]
        groups: dict[Hashable, list[_Span]] = {}
        for span in decoded:
            is_shared = span.task is not None and self.inference.spec.batch
            key = self.inference.group_of(span.task) if span.task and is_shared else span.first
            groups.setdefault((is_shared, key), []).append(span)
        answered = [span for group in groups.values() for span in self._run(group)]
        return sorted(answered, key=lambda span: span.first)

    def _decode(self, span: _Span) -> list[_Span]:
        try:
            return [replace(span, task=self.inference.decode(self.pack(span.texts)))]
        except BadInputError as exc:
            if len(span.texts) == 1:
                return [span.fail(exc)]
            return [decoded for half in span.halves() for decoded in self._decode(half)]

    def _run(self, spans: list[_Span]) -> list[_Span]:
        """Answer spans of one group with one call; those that were refused pass through."""
        tasks = [span.task for span in spans if span.task is not None]
        if len(tasks) < len(spans):
            return spans
        try:
            values = self.inference.run(tasks)
        except Exception as exc:  # noqa: BLE001 - the user's function may raise anything
            return self._run_again(spans, exc)
        encoded = map(self.inference.encode, values, tasks)
        return [_answered(span, answer) for span, answer in zip(spans, encoded, strict=True)]

    def _run_again(self, spans: list[_Span], exc: Exception) -> list[_Span]:
        if isinstance(self.inference.spec.target, ArtifactMethod):
            if len(spans) > 1:
                middle = len(spans) // 2
                return self._run(spans[:middle]) + self._run(spans[middle:])
            if len(spans[0].texts) > 1:
                halves = [decoded for half in spans[0].halves() for decoded in self._decode(half)]
                return [answered for half in halves for answered in self._run([half])]
        return [span.fail(exc) for span in spans]

    def joined(self, spans: Sequence[_Span]) -> Iterator[bytes | Failure]:
        """Yield the elements of the array that the spans make, then why some of them are ``null``."""
        spans = [self._checked(span) for span in spans]
        yield b",".join(span.elements for span in spans)
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
        if not isinstance(array, list) or len(array) != len(span.texts):
            return span.fail(
                InferenceFailedError(
                    f"The answer is not an array of {len(span.texts)} results, so it cannot be joined with those of "
                    "the other rows. Answer the file in one call: raise `--max-batch-size` to its number of rows."
                )
            )
        return replace(span, elements=body[1:-1])


def _rows_of(payload: Payload, inference: Inference) -> _Rows | None:
    """Return the rows of a CSV or JSON-lines file for this API, or ``None`` for an input that is one value."""
    takes_rows = type(inference.spec.input).rows_of is not InputAdapter.rows_of
    is_csv, is_lines = payload.media_type == "text/csv", payload.media_type == "application/x-ndjson"
    if not (is_lines or (is_csv and takes_rows)):
        return None
    text = payload.data.decode(payload.charset).removeprefix("\ufeff")
    if is_csv:
        records = _csv_records(text)
        header = next(records, "")
        return _Rows(
            inference, records, lambda rows: replace(payload, data="".join([header, *rows]).encode()), are_merged=True
        )
    lines = (line for line in text.split("\n") if line.strip())  # not `splitlines`: JSON texts may hold U+2028
    as_json = replace(payload, media_type="application/json")
    if takes_rows:
        return _Rows(
            inference, lines, lambda rows: replace(as_json, data=f"[{','.join(rows)}]".encode()), are_merged=True
        )
    return _Rows(inference, lines, lambda rows: replace(as_json, data=rows[0].encode()), are_merged=False)


def _csv_records(text: str) -> Iterator[str]:
    """Yield the records of a CSV text (RFC 4180) as they stand there; a quoted field may hold line breaks."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    for fields in csv.reader(lines()):
        record = "".join(taken)
        taken.clear()
        if fields:
            yield record


def _answered(span: _Span, answer: Answer) -> _Span:
    if answer.http_status >= 400:
        return span.without_answer(Failure(_refusal(answer), span.first, len(span.texts)))
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
