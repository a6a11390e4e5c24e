"""Examples as a gate: what fails one, and what then happens to a start, a reload and a replacement."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from kappa.actions.examples import Examples, _answer, _replay
from kappa.choices import ExamplesUse
from kappa.errors import ExampleFailedError, InferenceFailedError, KappaError
from kappa.server.http.app import create_app
from kappa.server.options import ServerOptions
from kappa.server.served import Served
from kappa.services.comparison import replay_lines
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.spec.service import ApiSpec, ExampleSpec, FunctionTarget, ServiceSpec, ServingSpec

CODE = """
from kappa.types import InferenceError, InferenceResult

asked = []

def same(value):
    asked.append(value)
    return value

def both(values):
    return list(values)

async def later(value):
    return value

def breaks(value):
    raise RuntimeError("broken release")

async def breaks_later(value):
    raise RuntimeError("broken release")

def leaves(value):
    raise SystemExit("bye")

class Unkind(Exception):
    def __str__(self):
        raise self

def unkind(value):
    raise Unkind

def refuses(value):
    return InferenceError(err_msg="not today", http_status=422)

def discards(values, tasks):
    tasks[0].discard("no such customer")
    return []

def answers_503(value):
    return InferenceResult(value, http_status=503)

def answers_a_word(value):
    return InferenceResult(value, http_status="many")

def sends_a_line_break(value):
    return InferenceResult(value, http_headers={"X-Reason": "a\\nb"})

def unencodable(value):
    return object()

def too_many(values):
    return [*values, 1]
"""

_BATCHED = {"both", "discards", "too_many"}


@pytest.fixture(autouse=True)
def own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "gated", raising=False)


def described(folder: Path, *examples: ExampleSpec, use: ExamplesUse | None = None, version: str = "1") -> Served:
    (folder / "gated.py").write_text(CODE, encoding="utf-8")
    spec = ServiceSpec(
        name="Gated",
        apis=tuple(
            ApiSpec(name=api, target=FunctionTarget(function=f"gated:{api}"), input="json", batch=api in _BATCHED)
            for api in dict.fromkeys(["same", *(example.api for example in examples)])
        ),
        examples=examples,
        serving=ServingSpec(examples=use, max_request_size_bytes=1000),
    )
    return Served(spec, version, partial(load_service, ServiceSource.of_project(spec, {}, root=folder)))


class Recording:
    """A parent that keeps what it is told: the failure of each start and reload, ``None`` for one that went well."""

    def __init__(self) -> None:
        self.coming: Sequence[Served] = ()
        self._words: asyncio.Queue[KappaError | str | None] = asyncio.Queue()

    async def next_word(self) -> KappaError | str | None:
        return await asyncio.wait_for(self._words.get(), 20)

    def ready(self) -> None:
        self._words.put_nowait(None)

    def failed(self, error: KappaError) -> None:
        self._words.put_nowait(error)

    def is_started(self) -> bool:
        return True

    def stuck(self) -> None:
        self._words.put_nowait("stuck")

    def worn(self) -> None:
        self._words.put_nowait("worn")

    def wanted(self) -> Sequence[Served]:
        return self.coming

    def reloaded(self, error: KappaError | None) -> None:
        self._words.put_nowait(error)


async def started(  # type: ignore[return] # to a type checker, leaving a conductor may swallow an error
    served: Served, *reloads: Served, options: ServerOptions | None = None
) -> list[KappaError | None]:
    """Start a process with a service, reload it, and return what failed of each; ask whether it still answers."""
    parent = Recording()
    app = create_app([served], parent=parent, examples_of=None if options is None else options.examples_of)
    async with falcon.testing.ASGIConductor(app) as conductor:
        failures: list[Any] = [await parent.next_word()]
        for coming in reloads:
            parent.coming = [coming]
            app.begin_reload()
            failures.append(await parent.next_word())
        if failures[0] is None:
            assert (await conductor.simulate_post("/same", body="7")).json == 7
        return failures


def start(served: Served, *reloads: Served, options: ServerOptions | None = None) -> list[KappaError | None]:
    return asyncio.run(started(served, *reloads, options=options))


def one(api: str, value: Any = 5, **expected: Any) -> ExampleSpec:
    return ExampleSpec(name="one", api=api, input=value, **expected)


FAILING = {
    "exception": (one("breaks"), "RuntimeError: broken release"),
    "exception-of-a-coroutine": (one("breaks_later"), "RuntimeError: broken release"),
    "exit": (one("leaves"), "The function raised `SystemExit`, which ends a program or a loop."),
    "exception-that-cannot-be-read": (one("unkind"), "Unkind: its text cannot be read"),
    "refusal": (one("refuses"), "the answer has the status 422: not today"),
    "discarded": (one("discards"), "the answer has the status 400: no such customer"),
    "status-of-a-result": (one("answers_503"), "the answer has the status 503: 5"),
    "no-status": (one("answers_a_word"), "The function's answer cannot be sent: `many` is not a status of an answer."),
    "header": (
        one("sends_a_line_break"),
        "The function's answer cannot be sent: the value of the header `X-Reason` cannot be sent.",
    ),
    "not-encodable": (one("unencodable"), "the answer has the status 500: The answer could not be encoded."),
    "too-many-results": (
        one("too_many"),
        (
            f"`too_many` (`gated.py:{CODE.partition('def too_many')[0].count(chr(10)) + 1}`, API `too_many`) was given "
            "1 input and returned 2 results: return a list, an array or a frame with one result for each input, in "
            "their order. What belongs to one input is one result: `return [[first, second]]`."
        ),
    ),
    "too-large": (
        one("same", "x" * 2000),
        "the answer has the status 413: The body is larger than the 1000 bytes that are taken here.",
    ),
    "other-value": (one("same", expect=6), "the answer: expected 6, got 5"),
    "other-value-of-a-coroutine": (one("later", expect=6), "the answer: expected 6, got 5"),
    "other-value-of-a-batch": (one("both", expect=6), "the answer: expected 6, got 5"),
    "beyond-tolerance": (
        one("same", {"p": [0.5]}, expect={"p": [0.25]}, tolerance=0.125),
        "`p[0]`: expected 0.25, got 0.5, 0.25 apart where 0.125 is allowed",
    ),
}
PASSING = {
    "answered": one("same"),
    "equal": one("same", [1, {"a": None}], expect=[1.0, {"a": None}]),
    "within-tolerance": one("same", 0.5, expect=0.25, tolerance=0.25),
    "coroutine": one("later", expect=5),
    "batch": one("both", expect=5),
}


@pytest.mark.parametrize("kind", FAILING)
def test_an_example_that_fails_stops_the_start(tmp_path: Path, kind: str) -> None:
    example, problem = FAILING[kind]
    (error,) = start(described(tmp_path, one("same"), example))
    assert (type(error), error and error.exit_code) == (ExampleFailedError, 9)
    assert str(error) == (
        "`Gated` fails 1 of its 2 examples, so it is not served. "
        "Mend it, or start the server with `--examples warn`.\n"
        f"FAILED  {example.api}: one\n        {problem}"
    )


@pytest.mark.parametrize("kind", FAILING)
def test_an_example_that_fails_stops_a_reload_and_the_old_version_answers(tmp_path: Path, kind: str) -> None:
    example, problem = FAILING[kind]
    none, error = start(described(tmp_path), described(tmp_path, example, version="2"))
    assert none is None
    assert problem in str(error)


@pytest.mark.parametrize("kind", PASSING)
def test_examples_that_are_answered_as_expected_let_a_version_in(tmp_path: Path, kind: str) -> None:
    served = described(tmp_path, PASSING[kind])
    assert start(served, replace(served, version="2")) == [None, None]


@pytest.mark.parametrize("kind", FAILING)
def test_what_fails_a_start_fails_kappa_test_too(tmp_path: Path, kind: str) -> None:
    example, problem = FAILING[kind]
    if kind in {"exit", "no-status", "header"}:
        pytest.skip("only a server sends headers, and only a server must not end")
    served = described(tmp_path, example)
    examples = Examples(served.spec, tmp_path)
    service = served.load()
    ask = partial(_answer, service.apis[example.api], examples.spec.serving)
    assert replay_lines([_replay(example, examples, ask)]) == f"FAILED  {example.api}: one\n        {problem}"


def test_all_that_fails_is_said_at_once(tmp_path: Path) -> None:
    (error,) = start(described(tmp_path, one("breaks"), one("same", expect=6), one("same", expect=5)))
    assert "`Gated` fails 2 of its 3 examples" in str(error)
    assert "FAILED  breaks: one" in str(error)
    assert "FAILED  same: one" in str(error)


def test_the_log_says_where_an_example_broke(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    start(described(tmp_path, one("breaks")))
    (record,) = [record for record in caplog.records if "raised an exception" in record.getMessage()]
    assert record.exc_info is not None
    assert 'raise RuntimeError("broken release")' in caplog.text


def test_a_version_that_was_ready_before_only_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    served = replace(described(tmp_path, one("same", expect=6)), has_passed=True)
    assert start(served, replace(served, version="2")) == [None, None]
    assert caplog.text.count("`Gated` fails 1 of its 1 examples.") == 2


USES: list[tuple[ExamplesUse | None, ServerOptions, str]] = [
    (None, ServerOptions(), "gate"),
    ("gate", ServerOptions(), "gate"),
    ("warn", ServerOptions(), "warn"),
    ("skip", ServerOptions(), "skip"),
    ("gate", ServerOptions(examples="warn"), "warn"),
    ("warn", ServerOptions(examples="gate"), "gate"),
    ("warn", ServerOptions(usual_examples="skip"), "warn"),
    (None, ServerOptions(usual_examples="skip"), "skip"),
    (None, ServerOptions(is_development=True), "warn"),
    ("gate", ServerOptions(is_development=True), "warn"),
    ("skip", ServerOptions(is_development=True), "skip"),
    (None, ServerOptions(is_development=True, usual_examples="skip"), "skip"),
    (None, ServerOptions(is_development=True, examples="gate"), "gate"),
]


@pytest.mark.parametrize(("declared", "options", "use"), USES)
def test_the_operator_decides_then_the_service_then_the_machine(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    declared: ExamplesUse | None,
    options: ServerOptions,
    use: str,
) -> None:
    served = described(tmp_path, one("same", expect=6), use=declared)
    (failure,) = start(served, options=options)
    assert (failure is not None) == (use == "gate")
    assert ("fails 1 of its 1 examples" in caplog.text) == (use == "warn")
    assert sys.modules["gated"].asked[:1] == ([7] if use == "skip" else [5])


def test_each_version_brings_its_own_word_on_examples(tmp_path: Path) -> None:
    lax = described(tmp_path, one("same", expect=6), use="warn")
    strict = described(tmp_path, one("same", expect=6), use="gate")
    assert [failure is None for failure in start(lax, strict, lax)] == [True, False, True]


@pytest.mark.parametrize("directory", ["absent", "installed"])
def test_an_example_whose_file_is_absent_is_named_and_not_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, directory: str
) -> None:
    there = ExampleSpec(name="there", api="same", input_file="one.json", expect=1)
    gone = ExampleSpec(name="gone", api="same", input_file="samples/gone.json")
    (tmp_path / "one.json").write_text("1", encoding="utf-8")
    served = described(tmp_path, there, gone, one("same", 2))

    def load() -> Any:
        service = served.load()
        if directory == "installed":
            service.examples_directory = None
        return service

    assert start(replace(served, load=load)) == [None]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    expected = ["The example `gone` of `Gated` was not tried: its file `samples/gone.json` is not here."]
    if directory == "installed":
        expected.insert(0, "The example `there` of `Gated` was not tried: its file `one.json` is not here.")
    assert warnings == expected
    assert sys.modules["gated"].asked == ([1, 2, 7] if directory == "absent" else [2, 7])


STUCK = """
import threading

may_end = threading.Event()

def stick(value):
    may_end.wait()
"""


def test_a_version_that_was_ready_before_and_gets_stuck_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "gated.py").write_text(STUCK, encoding="utf-8")
    spec = ServiceSpec(
        name="Gated",
        apis=(ApiSpec(name="stick", target=FunctionTarget(function="gated:stick"), input="json", run_timeout=0.1),),
        examples=(one("stick"),),
    )
    served = Served(spec, "1", partial(load_service, ServiceSource.of_project(spec, {}, root=tmp_path)))

    async def end_of(served: Served) -> Any:
        parent = Recording()
        async with falcon.testing.ASGIConductor(create_app([served], parent=parent)):
            outcome = await parent.next_word()
            sys.modules["gated"].may_end.set()
            return outcome

    assert asyncio.run(end_of(replace(served, has_passed=True))) == "stuck"
    sys.modules["gated"].may_end.clear()
    assert type(asyncio.run(end_of(served))) is InferenceFailedError
