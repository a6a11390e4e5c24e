"""Compares the outcome of an example with its expectation: one judgement for `kappa test` and for a server's start."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from kappa.errors import BadInputError, KappaError, exception_text
from kappa.services.threads import hint_of
from kappa.spec.contracts import thaw
from kappa.spec.service import ExampleSpec
from kappa.types import Answer

__all__ = ["Replay", "differences", "replay_lines", "replay_of"]

_SHOWN_PROBLEMS = 10
_NEAR = 0.01
_NOT_SENT = (
    " If clients do not send it, like a column that is predicted or the labels of rows, leave it out of `columns`, or "
    "of the sample that `columns_from` names; if they do, add it to the example."
)


@dataclass(frozen=True, slots=True)
class Replay:
    """One example that was sent again; ``problems`` is empty when the answer is what it should be."""

    example: ExampleSpec
    problems: tuple[str, ...]
    got: Any = None
    """The answer as a value; text if it is not JSON, ``None`` if there is none."""
    duration_ms: float = 0.0
    cause: Exception | None = None
    """The exception of the user's code, if that is the reason."""

    def to_tree(self) -> dict[str, Any]:
        return {
            "name": self.example.name,
            "api": self.example.api,
            "passed": not self.problems,
            "problems": self.problems,
            "expected": thaw(self.example.expect),
            "got": self.got,
            "duration_ms": round(self.duration_ms, 3),
        }


def replay_of(
    example: ExampleSpec, outcome: Answer | Exception, *, duration_ms: float = 0.0, not_sent: str = ""
) -> Replay:
    """Judge the outcome of an example: an error, a status of 400 or above, or another answer than expected fails it.

    ``not_sent`` is the advice for a missing column, where the caller knows more.
    """
    if isinstance(outcome, BadInputError):
        return Replay(example, (_refused(outcome.http_status, str(outcome), not_sent),), None, duration_ms)
    if isinstance(outcome, Exception):
        problem = str(outcome) if isinstance(outcome, KappaError) else exception_text(outcome) + hint_of(outcome)
        return Replay(example, (problem,), None, duration_ms, outcome)
    got = _value_of(outcome)
    return Replay(example, tuple(_problems_of(example, outcome, got, not_sent)), got, duration_ms)


def replay_lines(replays: Sequence[Replay]) -> str:
    """Show one line for each example, and below it what is wrong."""
    lines = []
    for replay in replays:
        lines.append(f"{'FAILED' if replay.problems else 'ok':6}  {replay.example.api}: {replay.example.name}")
        lines += [f"        {problem}" for problem in replay.problems[:_SHOWN_PROBLEMS]]
        more = len(replay.problems) - _SHOWN_PROBLEMS
        lines += [f"        and {more} more differences"] if more > 0 else []
    return "\n".join(lines)


def _problems_of(example: ExampleSpec, answer: Answer, got: Any, not_sent: str) -> Iterator[str]:
    if not isinstance(answer.http_status, int):
        yield f"the answer has the status `{answer.http_status}`, which is not a number"
    elif answer.http_status >= 400:
        message = got.get("error", got) if isinstance(got, dict) else got
        yield _refused(answer.http_status, str(message), not_sent)
    elif example.expect is not None:
        yield from differences(example.expect, got, tolerance=example.tolerance)


def _refused(http_status: int, message: str, not_sent: str) -> str:
    advice = (not_sent or _NOT_SENT) if message.startswith("Missing columns") else ""
    return f"the answer has the status {http_status}: {message}{advice}"


def _value_of(answer: Answer) -> Any:
    try:
        return orjson.loads(answer.body)
    except ValueError:
        return answer.body.decode(errors="replace")


def differences(expected: Any, got: Any, *, tolerance: float = 0.0, where: str = "") -> Iterator[str]:
    """Yield one sentence per difference between two JSON values, each with its place, e.g. ``[1].score``.

    Numbers agree when they are at most ``tolerance`` apart; ``true`` is not ``1``.
    """
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        for key in [*expected, *(key for key in got if key not in expected)]:
            inside = f"{where}.{key}" if where else str(key)
            if key not in got:
                yield f"{_subject(inside)} is missing; expected {_shown(expected[key])}"
            elif key not in expected:
                yield f"{_subject(inside)} is not expected; got {_shown(got[key])}"
            else:
                yield from differences(expected[key], got[key], tolerance=tolerance, where=inside)
    elif _is_array(expected) and _is_array(got):
        if len(expected) != len(got):
            yield f"{_subject(where)} has {len(got)} elements; expected {len(expected)}"
        for number, (left, right) in enumerate(zip(expected, got, strict=False)):
            yield from differences(left, right, tolerance=tolerance, where=f"{where}[{number}]")
    elif _is_number(expected) and _is_number(got):
        if (distance := abs(expected - got)) > tolerance:
            allowed = (
                f", {distance:.3g} apart where {tolerance:g} is allowed" if tolerance else _advice(distance, expected)
            )
            yield f"{_subject(where)}: expected {_shown(expected)}, got {_shown(got)}{allowed}"
    elif type(expected) is not type(got) or expected != got:
        yield f"{_subject(where)}: expected {_shown(expected)}, got {_shown(got)}"


def _advice(distance: float, expected: float) -> str:
    """Name `tolerance` where numbers are so near that it may be what is missing."""
    is_near = distance <= _NEAR * abs(expected)
    return f", {distance:.3g} apart: `tolerance` in the example says how much is allowed" if is_near else ""


def _is_array(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _subject(where: str) -> str:
    return f"`{where}`" if where else "the answer"


def _shown(value: Any, *, limit: int = 60) -> str:
    text = json.dumps(thaw(value), ensure_ascii=False)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
