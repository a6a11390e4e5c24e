"""Answers inputs without a server: a value is answered whole, a file of rows in parts.

A *file of rows* is CSV, JSON lines or Parquet. Its answer is one JSON array, made of as many calls as the rows need,
while only the rows of one call are in memory; a row that fails is ``null`` in its place and a `Failure` beside it. Rows
that the adapter refuses are found by halving, because decoding changes nothing. Calls that raise are halved only for a
model's own method: a user's function may have done half of its work, and must not be called twice unnoticed.

What comes of an input is a sequence of *events*: one `Answer`, or the `Rows` of an array in order, and `Failure`s.
"""

from __future__ import annotations

import io
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from kappa.adapters.default import DefaultOutput
from kappa.adapters.json import JsonOutput, encode_json, parse_json
from kappa.errors import BadInputError, InferenceFailedError, KappaError, exception_text
from kappa.offline.inputs import InputForm, RowParts, Source, is_file_of_rows, payload_of, rows_of
from kappa.services.inference import Inference
from kappa.services.threads import hint_of
from kappa.spec.service import ArtifactMethod
from kappa.types import Answer, InferenceTask, Payload

__all__ = ["Event", "Failure", "Rows", "answer_events", "answer_parts", "answer_together"]


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
    if isinstance(source, InputForm) or not is_file_of_rows(source, inference.spec.input):
        yield _answer_source(inference, source)
        return
    charset = source.charset if isinstance(source, Payload) else "utf-8"
    with io.BytesIO(source.data) if isinstance(source, Payload) else source.opened() as stream:
        rows = rows_of(inference.spec.input, source.media_type, stream, charset=charset, size=rows_per_call)
        yield from _answer_rows(_Answering(inference, rows))


def answer_together(inference: Inference, payloads: Sequence[Payload]) -> list[Answer | Failure]:
    """Answer requests with as few calls as their groups need; one that the adapter refuses fails alone."""
    rows = RowParts(iter([payloads]), lambda part: part[0], are_merged=False)
    spans = _Answering(inference, rows).answer(payloads, first_row=1)
    return [replace(span.failure, first_row=None) if span.failure else span.answer or Failure("") for span in spans]


def _answer_rows(answering: _Answering) -> Iterator[Event]:
    source = answering.source
    parts = _Parts(source.parts)
    first, second = parts.next(), parts.next()
    if not len(first):
        yield parts.failure or _answer_whole(answering.inference, source.pack(first))
        return
    spans = answering.answer(first, first_row=1)
    is_all = not len(second) and parts.failure is None
    if len(spans) == 1 and is_all and source.are_merged and spans[0].answer is not None:
        yield spans[0].answer
        return
    if (failure := _common_refusal(spans)) is not None:
        yield failure
        return
    yield from answering.joined(spans)
    number = 1 + len(first)
    while len(second):
        yield from answering.joined(answering.answer(second, first_row=number))
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
    """The argument of `RowParts.pack`; has a length and can be cut."""
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
class _Answering:
    """Answers the rows of a file, some at a time."""

    inference: Inference
    source: RowParts

    def answer(self, rows: Any, *, first_row: int) -> list[_Span]:
        """Answer some rows; the spans returned cover all of them, in order, each answered or failed."""
        if self.source.are_merged:
            decoded = self._decode(_Span(first_row, rows))
            return [answered for span in decoded for answered in self._run([span])]
        decoded = [span for number, row in enumerate(rows) for span in self._decode(_Span(first_row + number, [row]))]
        groups: dict[Hashable, list[_Span]] = {}
        for span in decoded:
            is_shared = span.task is not None and self.inference.spec.batch
            key = self.inference.group_and_items_of(span.task)[0] if span.task and is_shared else span.first
            groups.setdefault((is_shared, key), []).append(span)
        answered = [span for group in groups.values() for span in self._run(group)]
        return sorted(answered, key=lambda span: span.first)

    def _decode(self, span: _Span) -> list[_Span]:
        try:
            return [replace(span, task=self.inference.decode(self.source.pack(span.rows)))]
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
        if not self.source.are_merged:
            is_json = "json" in span.answer.media_type
            return replace(span, elements=body if is_json else encode_json(body.decode(errors="replace")))
        array = orjson.loads(body) if body.startswith(b"[") else None
        if body.startswith(b"{") and isinstance(self.inference.spec.output, DefaultOutput | JsonOutput):
            array = _rows_of_outputs(parse_json(Payload(body)))
            body = encode_json(array)
        if not isinstance(array, list) or len(array) != len(span.rows):
            return span.fail(
                InferenceFailedError(
                    f"The answer is not an array of {len(span.rows)} results, so it cannot be joined with those of "
                    "the other rows. Answer the file in one call: raise `--max-batch-size` to its number of rows."
                )
            )
        return replace(span, elements=body[1:-1])


def _rows_of_outputs(outputs: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return what a function returned as several outputs by name, of as many rows each, as an object for each row."""
    columns = [output for output in outputs.values() if isinstance(output, list)]
    if len(columns) < len(outputs) or len({len(column) for column in columns}) != 1:
        return None
    return [dict(zip(outputs, row, strict=True)) for row in zip(*columns, strict=True)]


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
    return str(exc) if isinstance(exc, KappaError) else exception_text(exc) + hint_of(exc)
