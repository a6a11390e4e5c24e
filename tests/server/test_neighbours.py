"""What is wrong with one request is nobody else's: functions that fail for some of a batch, however they do."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import re
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from kappa.server import host
from kappa.server.batching.batcher import Batcher
from kappa.server.batching.estimator import Estimator
from kappa.server.http.app import create_app
from kappa.server.parent import AwaitedStart
from kappa.server.served import Served
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec

CODE = """
import concurrent.futures
from dataclasses import dataclass
from kappa.errors import BadInputError
from kappa.types import InferenceError

seen = None

class Slotted(Exception):
    __slots__ = ()

@dataclass(frozen=True)
class Frozen(Exception):
    field: int = 1

class Unkind(Exception):
    def __str__(self):
        raise self
    __repr__ = __str__

class OddRefusal(BadInputError):
    def __init__(self):
        pass

class UnkindRefusal(BadInputError):
    def __str__(self):
        raise ValueError

def caused():
    try:
        try:
            raise KeyError("inner")
        except KeyError as exc:
            raise ValueError("outer") from exc
    except ValueError as exc:
        return exc

future = concurrent.futures.Future()
future.set_exception(OSError("the feature store is down"))
KEPT = {
    "instance": RuntimeError("kept by the module"),
    "slotted": Slotted("no attributes"),
    "frozen": Frozen(),
    "unkind": Unkind(),
    "caused": caused(),
    "exit": SystemExit("bye"),
    "stop": StopIteration(),
    "assertion": AssertionError(),
    "memory": MemoryError(),
    "refusal": BadInputError("The amount is negative."),
}
try:
    KEPT["group"] = ExceptionGroup("several", [ValueError(1), ExceptionGroup("more", [KeyError(2)])])
except NameError:
    KEPT["group"] = RuntimeError("no groups before Python 3.11")

def fail(value):
    held = seen.hold(value)
    kind = value["fail"]
    if kind == "future":
        return future.result()
    if kind == "context":
        try:
            raise LookupError(len(value))
        except LookupError:
            raise KEPT["instance"]
    if kind == "fresh":
        raise ValueError(kind)
    if isinstance(kind, int):
        raise BadInputError(f"The amount is wrong: {kind}.", http_status=kind)
    if kind == "odd-refusal":
        raise OddRefusal
    if kind == "unkind-refusal":
        raise UnkindRefusal("x")
    raise KEPT[kind]

def alone(value):
    return fail(value) if isinstance(value, dict) else 2 * value

def batch(values):
    for value in values:
        if isinstance(value, dict):
            fail(value)
    return [2 * value for value in values]

async def batch_async(values):
    return batch(values)

def short(values):
    return [2 * value for value in values][:1]

def discarding(values, tasks):
    seen.runs.append(len(values))
    kept = []
    for value, task in zip(values, tasks):
        value = value.strip('"')
        if value == "refuse" or (value == "hesitate" and len(seen.runs) == 1):
            task.discard("refused", http_status=422)
        elif value == "raise":
            raise ValueError("one of them")
        else:
            kept.append(value)
        task.data = "spoilt"
    return kept

def spoiling(values):
    seen.runs.append(len(values))
    if any(value["x"].pop() == "raise" for value in values):
        raise ValueError("one of them")
    return [len(value["x"]) for value in values]
"""


class Held:
    """What lives as long as the frame that it is a local of."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Seen:
    """What the functions did, as the tests see it."""

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.held: list[weakref.ref[Held]] = []

    def hold(self, value: Any) -> Held:
        held = Held(value)
        self.held.append(weakref.ref(held))
        return held


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    (tmp_path / "neighbours.py").write_text(CODE, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "neighbours", raising=False)
    module: Any = __import__("neighbours")
    module.seen = Seen()
    yield module.seen
    sys.modules.pop("neighbours", None)


def described(folder: Path, function: str, **options: Any) -> Served:
    target = FunctionTarget(function=f"neighbours:{function}")
    api = ApiSpec(**{"name": "go", "target": target, "input": "json", "batch": function != "alone", **options})
    spec = ServiceSpec(name="N", apis=(api,))
    return Served(spec, "1", partial(load_service, ServiceSource.of_project(spec, {}, root=folder)))


def posted(served: Served, *waves: Sequence[Any]) -> list[list[tuple[int, Any]]]:
    """Send the values of each wave at the same time, and return their statuses and answers."""

    async def run() -> list[list[tuple[int, Any]]]:
        parent = AwaitedStart()
        app = create_app([served], parent=parent)
        async with falcon.testing.ASGIConductor(app) as conductor:
            await asyncio.wait_for(parent.outcome, 60)
            found = []
            for wave in waves:
                asked = [conductor.simulate_post("/go", body=json.dumps(value)) for value in wave]
                answers = await asyncio.gather(*asked)
                assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
                found.append([(answer.status_code, answer.json) for answer in answers])
        return found

    experienced = Estimator()
    experienced.observe(1000, 0.001)  # so that a batch holds as many as there are
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "Batcher", partial(Batcher, estimator=experienced))
        return asyncio.run(run())


def errors_in(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


FAILURES: list[str | int] = [
    "fresh",
    "future",
    "instance",
    "slotted",
    "frozen",
    "unkind",
    "caused",
    "context",
    "exit",
    "stop",
    "assertion",
    "memory",
    "group",
    "odd-refusal",
    "unkind-refusal",
    200,
    500,
    99,
]


@pytest.mark.parametrize("function", ["batch", "batch_async"])
@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_is_its_own_requests_alone_and_is_logged_once(
    tmp_path: Path, seen: Seen, caplog: pytest.LogCaptureFixture, function: str, kind: Any
) -> None:
    ((first, *rest),) = posted(described(tmp_path, function), [{"fail": kind}, *range(20)])
    assert first[0] == 500
    assert rest == [(200, 2 * number) for number in range(20)]
    (record,) = errors_in(caplog)
    assert record.getMessage() == f"`N.go` failed to answer {first[1]['request_id']}"
    assert record.exc_info


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 415, 422, 429, 499])
def test_a_function_that_refuses_one_request_refuses_no_other(
    tmp_path: Path, seen: Seen, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    ((one, *rest), (alone,)) = posted(described(tmp_path, "batch"), [{"fail": status}, *range(20)], [{"fail": status}])
    assert [found for found, _ in rest] == [200] * 20
    for found, answer in (one, alone):
        assert (found, answer["error"]) == (status, f"The amount is wrong: {status}.")
    assert not errors_in(caplog)


@pytest.mark.parametrize("kind", ["refusal", 422])
def test_a_refusal_in_a_batch_that_must_not_be_run_again_is_a_failure_that_says_what_to_do(
    tmp_path: Path, seen: Seen, caplog: pytest.LogCaptureFixture, kind: Any
) -> None:
    served = described(tmp_path, "batch", isolate_failures=False)
    (answers, (alone,)) = posted(served, [1, {"fail": kind}, 3], [{"fail": 422}])
    assert [status for status, _ in answers] == [500] * 3
    assert all("amount" not in answer["error"] for _, answer in answers)
    assert alone[0] == 422
    in_full, *others = errors_in(caplog)
    assert "refuse one request of a batch by `task.discard`" in in_full.getMessage()
    assert in_full.exc_info
    assert [bool(record.exc_info) for record in others] == [False, False]


@pytest.mark.parametrize("share", [1, 2, 4, 32, 60])
@pytest.mark.parametrize("is_together", [True, False])
def test_however_many_are_bad_the_others_are_answered(
    tmp_path: Path, seen: Seen, share: int, is_together: bool
) -> None:
    values: list[Any] = [{"fail": "fresh"} if place < share else place for place in range(64)]
    if not is_together:
        values = [values[(place * 37) % 64] for place in range(64)]
    for wave in posted(described(tmp_path, "batch"), values, values):
        for value, (status, answer) in zip(values, wave, strict=True):
            assert status == 500 if isinstance(value, dict) else (status, answer) == (200, 2 * value)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return what is logged as text, before pytest gets it and keeps its tracebacks alive."""
    text, formatter = io.StringIO(), logging.Formatter()

    def take(record: logging.LogRecord) -> bool:
        text.write(formatter.format(record) + "\n")
        return False

    monkeypatch.setattr(logging.getLogger("kappa.server"), "filters", [take])
    return text


@pytest.mark.parametrize("kind", [*FAILURES, "refusal"])
@pytest.mark.parametrize("function", ["alone", "batch", "batch_async"])
def test_no_failure_keeps_what_its_request_held_and_each_is_logged_in_full(
    tmp_path: Path, seen: Seen, log: io.StringIO, kind: Any, function: str
) -> None:
    lone, mixed = [{"fail": kind, "n": 1}], [1, {"fail": kind}, 2]
    waves = posted(described(tmp_path, function), lone, lone, lone, mixed)
    gc.collect()
    assert len(seen.held) >= 4
    assert [held for held in seen.held if held() is not None] == []
    ids = [answer["request_id"] for wave in waves for status, answer in wave if status == 500]
    assert len(ids) == (0 if kind == "refusal" else 4)
    entries = re.split("^(?=`N.go`)", log.getvalue(), flags=re.MULTILINE)[1:]
    for entry, request_id in zip(entries, ids, strict=True):
        assert entry.startswith(f"`N.go` failed to answer {request_id}\n")
        assert entry.count("line") >= 4, "its traceback is missing"
        assert entry.count("in fail\n") <= (2 if kind == "context" else 1), "it holds those of other runs"


@pytest.mark.parametrize("kind", ["instance", "refusal"])
def test_with_isolation_off_no_failure_keeps_what_its_requests_held(
    tmp_path: Path, seen: Seen, log: io.StringIO, kind: str
) -> None:
    posted(described(tmp_path, "batch", isolate_failures=False), [1, {"fail": kind}, 2])
    gc.collect()
    assert [held() for held in seen.held] == [None]
    assert log.getvalue().count("Traceback") == 1


def test_a_batch_that_fails_without_a_request_at_fault_is_logged(
    tmp_path: Path, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    (answers,) = posted(described(tmp_path, "short"), [1, 2, 3])
    assert answers == [(200, 2), (200, 4), (200, 6)]
    (record,) = errors_in(caplog)
    assert "A batch of 3 requests of `N.go` failed. Run alone, none of them did" in record.getMessage()
    assert "was given 3 inputs and returned 1 result:" in caplog.text


def test_a_run_begins_undiscarded_and_the_last_one_counts(tmp_path: Path, seen: Seen) -> None:
    (answers,) = posted(described(tmp_path, "discarding"), ["hesitate", "refuse", "raise", "keep"])
    assert [status for status, _ in answers] == [200, 422, 500, 200]
    assert [answers[0][1], answers[3][1]] == ["hesitate", "keep"]


def test_a_request_that_is_run_again_is_as_it_was_sent(tmp_path: Path, seen: Seen) -> None:
    values = [{"x": ["a", "b"]}, {"x": ["a"]}, {"x": ["raise"]}, {"x": ["a", "b", "c"]}]
    (answers,) = posted(described(tmp_path, "spoiling"), values)
    assert [status for status, _ in answers] == [200, 200, 500, 200]
    assert [answer for status, answer in answers if status == 200] == [1, 0, 2]


def test_requests_are_decoded_again_where_bodies_are_decoded_and_only_if_need_be(
    tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kappa.adapters import JsonInput, StringInput

    decoded: list[tuple[str, str]] = []

    def watched(adapter: Any) -> None:
        inner = adapter.decode

        def decode(self: Any, payload: Any) -> Any:
            decoded.append((adapter.__name__, threading.current_thread().name))
            return inner(self, payload)

        monkeypatch.setattr(adapter, "decode", decode)

    watched(JsonInput)
    watched(StringInput)
    posted(described(tmp_path, "batch"), [1, {"fail": "fresh"}, 2])
    assert [name for name, _ in decoded] == ["JsonInput"] * len(decoded)
    assert {thread for _, thread in decoded[3:]} == {"kappa-decode"}
    decoded.clear()
    posted(described(tmp_path, "discarding", input="string"), ["one", "raise", "two"])  # it sees its tasks
    assert {thread for _, thread in decoded[3:]} == {"kappa-decode"}
    decoded.clear()
    posted(described(tmp_path, "short", input="string"), ["one", "two", "three"])
    assert len(decoded) == 3
