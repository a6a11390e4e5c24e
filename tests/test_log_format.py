"""Lines of log as JSON: one object a line, which knows the requests that it belongs to."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from kappa.log_format import JsonFormatter, formatter_of, level_of, telling_requests


def line_of(message: Any, *arguments: Any, exc_info: Any = None, **extra: Any) -> dict[str, Any]:
    logger = logging.getLogger("mine")
    record = logger.makeRecord("mine", logging.WARNING, __file__, 1, message, arguments, exc_info, extra=extra or None)
    record.created = 1.5
    text = JsonFormatter().format(record)
    assert text.isascii()
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(line.pop("process"), (int, str))
    return line


PLAIN = {"time": "1970-01-01T00:00:01.500Z", "level": "warning", "logger": "mine"}


def test_a_line_says_when_how_bad_where_and_what() -> None:
    assert line_of("%d rows\n\x1b[31mü\ud800", 3) == {**PLAIN, "message": "3 rows\n\x1b[31mü\ud800"}


def test_what_a_caller_adds_is_there_and_takes_no_other_place() -> None:
    assert line_of("x", rows=3, time="mine", level=1) == {**PLAIN, "message": "x", "rows": 3}
    assert line_of("x", path=sys, number=float("nan"))["number"] == "nan"
    assert line_of("x", table={1: 2, (3, 4): 5})["message"] == "x"


def test_a_traceback_is_part_of_its_line() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        line = line_of("failed", exc_info=sys.exc_info())
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: no")
    assert "exception" not in line_of("fine", exc_info=(None, None, None))


def tasks(*names: str) -> list[Any]:
    return [SimpleNamespace(task_id=name) for name in names]


def test_lines_of_a_call_know_its_requests_and_no_others_do() -> None:
    said: list[dict[str, Any]] = []

    def answer(given: list[Any]) -> int:
        said.append(line_of("x"))
        return len(given)

    async def answer_async(given: list[Any]) -> int:
        await asyncio.sleep(0)
        return answer(given)

    async def both() -> list[int]:
        told = telling_requests(answer_async)
        return list(await asyncio.gather(told(tasks("c")), told(tasks("d"))))

    assert telling_requests(answer)(tasks("a")) == 1
    assert telling_requests(answer)(tasks("a", "b")) == 2
    assert asyncio.run(both()) == [1, 1]
    assert [line.get("request_id", line.get("request_ids")) for line in said] == ["a", ["a", "b"], "c", "d"]
    assert "request_id" not in line_of("x")


def test_after_a_failure_lines_know_of_no_request() -> None:
    def fail(_: list[Any]) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        telling_requests(fail)(tasks("a"))
    assert "request_id" not in line_of("x")
    assert line_of("x", request_id="given")["request_id"] == "given"


def test_formats_and_levels_are_those_of_logging() -> None:
    assert isinstance(formatter_of("json"), JsonFormatter)
    assert not isinstance(formatter_of("text"), JsonFormatter)
    assert [level_of(level) for level in ("debug", "info", "warning", "error")] == [10, 20, 30, 40]
