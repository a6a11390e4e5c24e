"""The application by itself, without a socket."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import falcon.testing
import pytest
from PIL import Image

from kappa.errors import BundleError, ConfigurationError, KappaError
from kappa.server import options as options_module
from kappa.server.batching.policy import Limits
from kappa.server.failures import Failure
from kappa.server.http.answering import response_of
from kappa.server.http.app import create_app
from kappa.server.http.exchange import PlainRequest, PlainResponse
from kappa.server.http.swap import Generation
from kappa.server.options import BatchingOptions
from kappa.server.parent import AwaitedStart
from kappa.server.served import Served
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.spec.service import ApiSpec, ExampleSpec, FunctionTarget, ServiceSpec, ServingSpec
from kappa.types import Answer
from tests.eventually import eventually_in_loop

CODE = """
from kappa.types import InferenceError, InferenceResult

calls = []

def double(values):
    return [2 * value for value in values]

def divide(value):
    return 100 / value

def batch_divide(values):
    calls.append(list(values))
    return [100 / value for value in values]

def count(values):
    return len(values)

class Unkind(Exception):
    def __str__(self):
        raise self

def unkind(value):
    raise Unkind

def leave(value):
    raise SystemExit("bye")

def say(value):
    return InferenceResult(**value)

def refuse(value):
    return InferenceError(err_msg=str(value), http_status=418)

def headers_of(value, task):
    return {name: task.http_headers[name] for name in value} | {"id": task.task_id}

def whole(values):
    return [values]

def consume(values):
    return [100 / value.pop() for value in values]
"""

_BATCHED = {"double", "batch_divide", "count", "whole"}


def described(folder: Path, *names: str, name: str = "Numbers", **options: Any) -> Served:
    (folder / "app_handlers.py").write_text(CODE, encoding="utf-8")
    spec = ServiceSpec(
        name=name,
        apis=tuple(
            ApiSpec(
                name=api,
                target=FunctionTarget(function=f"app_handlers:{api}"),
                input="json",
                batch=api in _BATCHED,
                doc=f"Does {api}.",
            )
            for api in names
        ),
        **options,
    )
    return Served(spec, "7", partial(load_service, ServiceSource.of_project(spec, {}, root=folder)))


@pytest.fixture(autouse=True)
def fresh_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test import its own `app_handlers`."""
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "app_handlers", raising=False)


@asynccontextmanager
async def running(services: Sequence[Served], **options: Any) -> AsyncIterator[falcon.testing.ASGIConductor]:
    parent = AwaitedStart()
    app = create_app(services, parent=parent, **options)
    async with falcon.testing.ASGIConductor(app) as conductor:
        await asyncio.wait_for(parent.outcome, 60)
        yield conductor


def generation_of(conductor: falcon.testing.ASGIConductor) -> Generation:
    application: Any = conductor.app
    generation: Generation = application.current
    return generation


def exchange(
    services: Sequence[Served], *requests: tuple[Any, ...], **options: Any
) -> list[tuple[int, Any, dict[str, str]]]:
    """Send each ``(method, path[, body[, headers]])`` in turn; return status, body (parsed if JSON), headers."""

    async def run() -> list[tuple[int, Any, dict[str, str]]]:
        found = []
        async with running(services, **options) as conductor:
            for method, path, *rest in requests:
                body = rest[0] if rest else None
                headers = rest[1] if len(rest) > 1 else None
                result = await conductor.simulate_request(method, path, body=body, headers=headers)
                is_json = result.headers.get("content-type") == "application/json" and result.content
                found.append((result.status_code, result.json if is_json else result.content, result.headers))
        return found

    return asyncio.run(run())


def ask(services: Sequence[Served], *request: Any, **options: Any) -> tuple[int, Any, Mapping[str, str]]:
    return exchange(services, request, **options)[0]


# -- predictions -------------------------------------------------------------------------------------------------------


def test_a_prediction_is_answered(tmp_path: Path) -> None:
    status, body, headers = ask([described(tmp_path, "double")], "POST", "/double", "21")
    assert (status, body) == (200, 42)
    assert re.fullmatch(r"[0-9a-f]{12}-1", headers["x-request-id"])


class Recording:
    """The door of a request that went straight to its API."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[int, bytes, dict[str, str]]] = asyncio.get_running_loop().create_future()

    def deliver(self, answer: Answer | Failure, request_id: str) -> None:
        resp = response_of(answer, request_id)
        headers, body = resp.parts()
        named = {name.decode(): value.decode() for name, value in headers}
        self.answer.set_result((int(resp.status), body, named))


SAID = {"data": b"x".decode(), "http_status": 201, "http_headers": {"Content-Type": "text/plain", "X-Own": "1"}}


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        pytest.param("double", b"21", {}, id="plain"),
        pytest.param("double", b"21", {"content-type": "application/json; charset=utf-8"}, id="media-type"),
        pytest.param("double", b"{", {}, id="bad-input"),
        pytest.param("double", b"1", {"x-request-timeout-seconds": "0"}, id="bad-timeout"),
        pytest.param("double", b"1", {"x-request-timeout-seconds": "1e-9"}, id="expired"),
        pytest.param("divide", b"0", {}, id="failure"),
        pytest.param("unkind", b"0", {}, id="unkind-failure"),
        pytest.param("leave", b"0", {}, id="exit"),
        pytest.param("say", json.dumps(SAID).encode(), {}, id="own-headers"),
        pytest.param("say", b'{"data": 1, "http_headers": {"A b": "1"}}', {}, id="bad-headers"),
        pytest.param("refuse", b"1", {}, id="refusal"),
        pytest.param("headers_of", b'["accept", "x-y"]', {"x-y": "2"}, id="headers"),
    ],
)
def test_both_ways_through_an_api_give_the_same_answer(
    tmp_path: Path, path: str, body: bytes, headers: dict[str, str]
) -> None:
    sent = {"accept": "*/*", "x-request-id": "mine", "content-type": "application/json", **headers}

    async def run() -> None:
        services = [described(tmp_path, "double", "divide", "unkind", "leave", "say", "refuse", "headers_of")]
        async with running(services) as conductor:
            theirs = await conductor.simulate_post(f"/{path}", body=body, headers=sent)
            receiver = Recording()
            api = generation_of(conductor).apis[f"/{path}"]
            pending = api.begin({name.encode(): value.encode() for name, value in sent.items()}, body, receiver)
            status, data, ours = await asyncio.wait_for(receiver.answer, 60)
            assert pending is not None
            assert pending.done()
            assert (status, data) == (theirs.status_code, theirs.content)
            assert ours == dict(theirs.headers)
            counted = re.findall(r'duration_seconds_count\{.*status="(\d+)"\} (.+)', await metrics_of(conductor))
            assert counted == [(str(status), "2.0")]

    asyncio.run(run())


@pytest.mark.parametrize(
    "content_type", ["", "application/octet-stream", "application/x-www-form-urlencoded", "image/jpg"]
)
def test_a_picture_goes_the_other_way_whatever_its_sender_calls_it(tmp_path: Path, content_type: str) -> None:
    (tmp_path / "app_handlers.py").write_text(CODE, encoding="utf-8")
    target = FunctionTarget(function="app_handlers:count")
    spec = ServiceSpec(name="Pictures", apis=(ApiSpec(name="count", target=target, input="image", batch=False),))
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4)).save(buffer, "PNG")

    async def run() -> None:
        async with running(
            [Served(spec, "7", partial(load_service, ServiceSource.of_project(spec, {}, root=tmp_path)))]
        ) as conductor:
            api, receiver = generation_of(conductor).apis["/count"], Recording()
            assert api.begin({b"content-type": content_type.encode()}, buffer.getvalue(), receiver) is None
            headers = {"content-type": content_type} if content_type else {}
            answer = await conductor.simulate_post("/count", body=buffer.getvalue(), headers=headers)
            assert (answer.status_code, answer.json) == (200, 4)

    asyncio.run(run())


def test_large_packed_and_heavy_bodies_go_the_other_way(tmp_path: Path) -> None:
    async def run() -> None:
        async with running([described(tmp_path, "double")]) as conductor:
            api, receiver = generation_of(conductor).apis["/double"], Recording()
            assert api.begin({}, b"1" * 70_000, receiver) is None
            assert api.begin({b"content-encoding": b"gzip"}, b"1", receiver) is None
            assert api.begin({b"content-type": b"image/png"}, b"1", receiver) is None
            assert not receiver.answer.done()

    asyncio.run(run())


def test_a_request_that_was_begun_is_never_run_when_its_client_leaves(tmp_path: Path) -> None:
    async def run() -> None:
        async with running([described(tmp_path, "batch_divide")]) as conductor:
            api, receiver = generation_of(conductor).apis["/batch_divide"], Recording()
            pending = api.begin({}, b"1", receiver)
            assert pending is not None
            pending.give_up()
            pending.give_up()
            assert (await conductor.simulate_post("/batch_divide", body="2")).json == 50
            assert not receiver.answer.done()
            text = await metrics_of(conductor)
            assert series(
                text, 'kappa_dropped_requests_total{api="batch_divide",reason="disconnected",service="Numbers"}'
            )
            assert 'status="499"} 1.0' in text

    asyncio.run(run())


def test_a_latency_target_counts_from_when_a_slow_request_was_all_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with running([described(tmp_path, "double")]) as conductor:
            api, resp = generation_of(conductor).apis["/double"], PlainResponse()
            slow = PlainRequest({}, None)
            slow.first_event, slow.arrived = {"type": "http.request", "body": b"1"}, monotonic() - 60
            await api.answer(slow, resp)
            assert resp.data == b"2"
            text = await metrics_of(conductor)
            assert series(text, 'kappa_queue_duration_seconds_sum{api="double",service="Numbers"}') < 30

    asyncio.run(run())


def test_a_receiver_that_fails_harms_nobody_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recording):
        def deliver(self, answer: Answer | Failure, request_id: str) -> None:
            raise OSError("gone")

    async def run() -> None:
        async with running([described(tmp_path, "double")]) as conductor:
            api, receivers = generation_of(conductor).apis["/double"], [Failing(), Recording()]
            for receiver in receivers:
                api.begin({}, b"1", receiver)
            assert (await asyncio.wait_for(receivers[1].answer, 60))[1] == b"2"

    asyncio.run(run())
    assert "could not be sent" in caplog.text


async def metrics_of(conductor: falcon.testing.ASGIConductor) -> str:
    return (await conductor.simulate_get("/metrics")).text


def test_one_request_fails_and_its_neighbours_do_not_learn_of_it(tmp_path: Path) -> None:
    async def run() -> list[tuple[int, Any]]:
        async with running([described(tmp_path, "double")]) as conductor:
            bodies = ["1", "{", "3", '"x"', "5"]
            answers = await asyncio.gather(*(conductor.simulate_post("/double", body=body) for body in bodies))
            return [(answer.status_code, answer.json) for answer in answers]

    answers = asyncio.run(run())
    assert [status for status, _ in answers] == [200, 400, 200, 200, 200]
    assert [body for _, body in answers if not isinstance(body, dict)] == [2, 6, "xx", 10]


def test_requests_that_wait_together_run_together(tmp_path: Path) -> None:
    async def run() -> list[Any]:
        async with running([described(tmp_path, "double", "whole")]) as conductor:
            await conductor.simulate_post("/double", body="1")
            answers = await asyncio.gather(*(conductor.simulate_post("/double", body=str(n)) for n in range(50)))
            metrics = (await conductor.simulate_get("/metrics")).text
        assert series(metrics, 'kappa_batch_requests_sum{api="double",service="Numbers"}') == 51
        batches = series(metrics, 'kappa_batch_requests_count{api="double",service="Numbers"}')
        assert batches < 51
        labels = 'api="double",placement="{}",service="Numbers"'
        counts = [
            series(metrics, f"kappa_batch_runs_total{{{labels.format(placement)}}}")
            for placement in ("thread", "paused")
        ]
        assert sum(count or 0 for count in counts) == batches
        assert series(metrics, 'kappa_loop_paused_seconds_total{api="double",service="Numbers"}') is not None
        return [answer.json for answer in answers]

    assert asyncio.run(run()) == [2 * n for n in range(50)]


def test_without_batching_every_request_runs_alone(tmp_path: Path) -> None:
    async def run() -> Any:
        off = BatchingOptions(is_enabled=False)
        async with running([described(tmp_path, "double")], batching=off) as conductor:
            await asyncio.gather(*(conductor.simulate_post("/double", body="1") for _ in range(10)))
            return series(
                (await conductor.simulate_get("/metrics")).text,
                'kappa_batch_requests_count{api="double",service="Numbers"}',
            )

    assert asyncio.run(run()) == 10


def test_a_failure_of_the_function_is_logged_with_the_id_and_told_without_details(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status, body, headers = ask([described(tmp_path, "divide")], "POST", "/divide", "0", {"X-Request-Id": "mine-1"})
    assert (status, headers["x-request-id"]) == (500, "mine-1")
    assert body == {"error": "The service failed to answer; its log says why, under this id.", "request_id": "mine-1"}
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "`Numbers.divide` failed to answer mine-1"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


def test_a_failed_batch_is_logged_in_full_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> list[int]:
        async with running([one_api(tmp_path, "batch_divide", isolate_failures=False)]) as conductor:
            await asyncio.gather(*(conductor.simulate_post("/batch_divide", body="1") for _ in range(20)))
            posts = (conductor.simulate_post("/batch_divide", body="0") for _ in range(5))
            return [answer.status_code for answer in await asyncio.gather(*posts)]

    assert asyncio.run(run()) == [500] * 5
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 5
    assert sum(record.exc_info is not None for record in errors) < 5


def test_a_function_that_exits_does_not_end_the_server(tmp_path: Path) -> None:
    answers = exchange([described(tmp_path, "leave", "double")], ("POST", "/leave", "1"), ("POST", "/double", "1"))
    assert [status for status, _, _ in answers] == [500, 200]


def test_a_wrong_number_of_results_is_the_services_failure(tmp_path: Path) -> None:
    status, body, _ = ask([described(tmp_path, "count")], "POST", "/count", "1")
    assert (status, sorted(body)) == (500, ["error", "request_id"])


def test_a_function_may_choose_status_and_headers(tmp_path: Path) -> None:
    wanted = {"data": [1], "http_status": 202, "http_headers": {"X-Model": "7", "Set-Cookie": "a=b"}}
    status, body, headers = ask([described(tmp_path, "say")], "POST", "/say", json.dumps(wanted))
    assert (status, body, headers["x-model"], headers["set-cookie"]) == (202, [1], "7", "a=b")


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param({"data": 1, "http_headers": {"X-Evil": "a\r\nSet-Cookie: b=c"}}, id="split"),
        pytest.param({"data": 1, "http_headers": {"X Evil": "a"}}, id="name"),
        pytest.param({"data": 1, "http_headers": {"Content-Length": "0"}}, id="framing"),
        pytest.param({"data": 1, "http_headers": {"Content-Type": "text/plain\r\nSet-Cookie: b=c"}}, id="type"),
        pytest.param({"data": 1, "http_headers": {"Content-Type": ["text/plain", "text/html"]}}, id="two types"),
        pytest.param({"data": 1, "http_headers": {"Content-Type": "text/a", "content-type": "text/b"}}, id="types"),
        pytest.param({"data": 1, "http_headers": {"X-Evil": "a", "x-evil": "b"}}, id="twice"),
        pytest.param({"data": 1, "http_headers": [["Set-Cookie", "a"], ["Set-Cookie", "b"]]}, id="pairs"),
        pytest.param({"data": 1, "http_status": 99}, id="status"),
        pytest.param({"data": 1, "http_status": 400.5}, id="fraction"),
        pytest.param({"data": 1, "http_status": "gone"}, id="word"),
    ],
)
def test_what_cannot_be_sent_is_a_failure_of_the_service(tmp_path: Path, wanted: dict[str, Any]) -> None:
    status, body, headers = ask([described(tmp_path, "say")], "POST", "/say", json.dumps(wanted))
    assert (status, sorted(body)) == (500, ["error", "request_id"])
    assert headers["content-type"] == "application/json"
    assert "x-evil" not in headers
    assert "set-cookie" not in headers


def test_a_function_may_refuse_a_request(tmp_path: Path) -> None:
    status, body, _ = ask([described(tmp_path, "refuse")], "POST", "/refuse", '"no tea"', {"X-Request-Id": "pot"})
    assert (status, body) == (418, {"error": "no tea", "request_id": "pot"})


def test_functions_see_the_headers_in_any_case(tmp_path: Path) -> None:
    asked = json.dumps(["x-tenant", "X-TENANT", "absent"])
    request = ("POST", "/headers_of", asked, {"X-Tenant": "eu", "X-Request-Id": "h"})
    assert ask([described(tmp_path, "headers_of")], *request)[1] == {
        "x-tenant": "eu",
        "X-TENANT": "eu",
        "absent": "",
        "id": "h",
    }


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        pytest.param("abc-DEF_1.2", True, id="good"),
        pytest.param("x" * 128, True, id="longest"),
        pytest.param("x" * 129, False, id="too-long"),
        pytest.param("a b", False, id="blank"),
        pytest.param('a"}', False, id="quote"),
    ],
)
def test_a_request_id_is_taken_over_when_it_is_a_good_one(tmp_path: Path, given: str, is_taken: bool) -> None:
    requests = [("GET", "/healthz", None, {"X-Request-Id": given}), ("GET", "/nothing", None, {"X-Request-Id": given})]
    for _, _, headers in exchange([described(tmp_path, "double")], *requests):
        assert (headers["x-request-id"] == given) is is_taken


# -- requests that are refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        pytest.param(("POST", "/double", "{"), 400, "The body is not valid JSON: ", id="bad-json"),
        pytest.param(("POST", "/double", ""), 400, "The body is empty", id="empty"),
        pytest.param(("POST", "/double", "1", {"Content-Type": "image/png"}), 415, "`image/png` is not ", id="media"),
        pytest.param(
            ("POST", "/double", b"1", {"Content-Encoding": "br"}),
            415,
            "The content encoding `br` is not taken here; send the body plain, or packed with `gzip`.",
            id="encoding",
        ),
        pytest.param(
            ("POST", "/double", gzip.compress(b"1" * 2000), {"Content-Encoding": "gzip"}),
            413,
            "The body is larger than the 1000 bytes",
            id="bomb",
        ),
        pytest.param(
            ("POST", "/double", b"no", {"Content-Encoding": "gzip"}),
            400,
            "The body is not valid `gzip`: Error -3 while decompressing data: incorrect header check.",
            id="no-gzip",
        ),
        pytest.param(
            ("POST", "/double", gzip.compress(b"1")[:-1], {"Content-Encoding": "gzip"}),
            400,
            "The body is not valid `gzip`: it ends too soon.",
            id="half-a-gzip",
        ),
        pytest.param(("POST", "/double", "1" * 2000), 413, "The body is larger than the 1000 bytes", id="large"),
        pytest.param(
            ("POST", "/double", "1", {"X-Request-Timeout-Seconds": "soon"}),
            400,
            "`X-Request-Timeout-Seconds` must be",
            id="deadline",
        ),
        pytest.param(("GET", "/double"), 405, "`GET` is not allowed at `/double`; use POST, e.g. `curl http", id="get"),
        pytest.param(
            ("PUT", "/double", "1"), 405, "`PUT` is not allowed at `/double`; use POST, e.g. `curl http", id="put"
        ),
        pytest.param(
            ("POST", "/metadata", "1"), 405, "`POST` is not allowed at `/metadata`; use GET or HEAD.", id="page"
        ),
        pytest.param(
            ("POST", "/nothing", "1"),
            404,
            "There is nothing at `/nothing`; POST goes to `/double`; `/docs.json` lists all there is.",
            id="unknown",
        ),
        pytest.param(
            ("POST", "/invocations", "1"), 404, "There is nothing at `/invocations`; POST goes to", id="other"
        ),
        pytest.param(("GET", "/health"), 404, "There is nothing at `/health`; `/healthz` says", id="health"),
        pytest.param(("GET", "/livez"), 404, "There is nothing at `/livez`; `/healthz` says", id="livez"),
        pytest.param(("GET", "/ping/"), 404, "There is nothing at `/ping`; `/healthz` says", id="ping"),
        pytest.param(("GET", "/ready"), 404, "There is nothing at `/ready`; `/readyz` says", id="ready"),
        pytest.param(
            ("GET", "/openapi.json"), 404, "There is nothing at `/openapi.json`; `/docs.json` is", id="openapi"
        ),
        pytest.param(("GET", "/x" + "y" * 5000), 404, "There is nothing at `/xyyy", id="long"),
    ],
)
def test_a_refusal_says_why_and_under_which_id(
    tmp_path: Path, request_: tuple[Any, ...], status: int, message: str
) -> None:
    served = described(tmp_path, "double", serving=ServingSpec(max_request_size_bytes=1000))
    found, body, headers = ask([served], *request_)
    assert found == status
    assert sorted(body) == ["error", "request_id"]
    assert body["error"].startswith(message)
    assert len(body["error"]) < 400
    assert body["request_id"] == headers["x-request-id"]


def test_405_names_what_is_allowed(tmp_path: Path) -> None:
    assert ask([described(tmp_path, "double")], "GET", "/double")[2]["allow"] == "OPTIONS, POST"


def test_options_are_answered_with_an_id_too(tmp_path: Path) -> None:
    page, api = exchange([described(tmp_path, "double")], ("OPTIONS", "/metadata"), ("OPTIONS", "/double"))
    assert [(status, headers["allow"]) for status, _, headers in (page, api)] == [
        (200, "GET, HEAD, OPTIONS"),
        (200, "OPTIONS, POST"),
    ]
    assert "x-request-id" in page[2]
    assert "x-request-id" in api[2]


def test_a_deadline_that_has_passed_is_answered_with_504(tmp_path: Path) -> None:
    async def run() -> int:
        async with running([described(tmp_path, "double")]) as conductor:
            headers = {"X-Request-Timeout-Seconds": "1e-9"}
            return int((await conductor.simulate_post("/double", body="1", headers=headers)).status_code)

    assert asyncio.run(run()) == 504


def test_a_full_queue_is_answered_with_503_and_when_to_come_back(tmp_path: Path) -> None:
    async def run() -> set[tuple[int, bool]]:
        served = described(tmp_path, "double", serving=ServingSpec(max_queue_requests=1))
        async with running([served]) as conductor:
            answers = await asyncio.gather(*(conductor.simulate_post("/double", body="1") for _ in range(50)))
            refused = next(answer for answer in answers if answer.status_code == 503)
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.json["request_id"] == refused.headers["x-request-id"]
            metrics = (await conductor.simulate_get("/metrics")).text
            count = sum(answer.status_code == 503 for answer in answers)
            refusals = 'kappa_refused_requests_total{api="double",reason="queue_items",service="Numbers"}'
            assert series(metrics, refusals) == count
            return {(answer.status_code, "retry-after" in answer.headers) for answer in answers}

    assert asyncio.run(run()) == {(200, False), (503, True)}


def test_what_has_arrived_counts_against_what_may_wait_and_what_is_announced_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options_module, "Limits", partial(Limits, max_queue_bytes=10_000))
    rest = b"1," * 2000 + b"1]"

    async def run() -> None:
        async with running([described(tmp_path, "double")]) as conductor:
            idle = [Upload(conductor.app, 9000) for _ in range(12)]
            for upload in idle:
                await upload.send(b"[")
            for _ in range(2):
                taken = Upload(conductor.app, 4003)
                await taken.send(b"[")
                await taken.send(rest, more=False)
                assert (await taken.answer())[0] == 200
            await idle[0].send(rest)
            await idle[1].send(rest)
            refused = Upload(conductor.app, 4003)
            await refused.send(b"[")
            await refused.send(rest)
            assert (await refused.answer())[0] == 503
            await idle[0].send(b"", more=False)
            assert (await idle[0].answer())[0] == 200
            taken = Upload(conductor.app, 4003)
            await taken.send(b"[")
            await taken.send(rest, more=False)
            assert (await taken.answer())[0] == 200
            metrics = (await conductor.simulate_get("/metrics")).text
            refusals = 'kappa_refused_requests_total{api="double",reason="queue_bytes",service="Numbers"}'
            assert series(metrics, refusals) == 1
            for upload in idle[1:]:
                await upload.leave()

    asyncio.run(run())


class Upload:
    """A POST whose body is sent in parts."""

    def __init__(self, app: Any, length: int) -> None:
        headers = [(b"content-length", str(length).encode()), (b"content-type", b"application/json")]
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/double"}
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sent: list[dict[str, Any]] = []
        complete = {**scope, "query_string": b"", "headers": headers}
        self._task = asyncio.create_task(app(complete, self._events.get, self._take))

    async def _take(self, event: dict[str, Any]) -> None:
        self._sent.append(event)

    async def send(self, part: bytes, *, more: bool = True) -> None:
        await self._events.put({"type": "http.request", "body": part, "more_body": more})
        for _ in range(5):
            await asyncio.sleep(0)

    async def leave(self) -> None:
        await self._events.put({"type": "http.disconnect"})
        await asyncio.wait_for(self._task, 60)

    async def answer(self) -> tuple[int, bytes]:
        await asyncio.wait_for(self._task, 60)
        return self._sent[0]["status"], self._sent[1]["body"]


# -- other pages -------------------------------------------------------------------------------------------------------


def test_pages_tell_what_is_served(tmp_path: Path) -> None:
    served = described(tmp_path, "double", doc="Doubles <numbers>.", labels={"team": "growth"})
    health, ready, metadata, docs, index = exchange(
        [served],
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metadata"),
        ("GET", "/docs.json"),
        ("GET", "/"),
    )
    assert health[:2] == (200, b"ok\n")
    assert ready[:2] == (200, b"ready\n")
    assert (metadata[1]["name"], metadata[1]["version"], metadata[1]["labels"]) == ("Numbers", "7", {"team": "growth"})
    assert metadata[1]["apis"][0]["InputType"] == "JsonInput"
    assert docs[1]["info"]["title"] == "Numbers"
    assert "/double" in docs[1]["paths"]
    assert index[1] == {
        "name": "Numbers",
        "version": "7",
        "doc": "Doubles <numbers>.",
        "apis": [{"name": "double", "route": "/double", "doc": "Does double.", "batch": True}],
        "links": {"docs": "/docs", "docs.json": "/docs.json", "metadata": "/metadata"},
    }


def test_browsers_get_a_page_with_everything_escaped(tmp_path: Path) -> None:
    served = described(tmp_path, "double", doc="Doubles <script>.")
    status, body, headers = ask([served], "GET", "/", None, {"Accept": "text/html,*/*"})
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"Doubles &lt;script&gt;." in body
    assert b"POST /double  Does double." in body
    assert b'href="docs.json"' in body


def test_head_is_answered_like_get_without_a_body(tmp_path: Path) -> None:
    answers = exchange(
        [described(tmp_path, "double")], *(("HEAD", path) for path in ("/healthz", "/readyz", "/", "/metadata"))
    )
    assert [(status, body) for status, body, _ in answers] == [(200, b"")] * 4


def test_a_trailing_slash_makes_no_difference(tmp_path: Path) -> None:
    assert ask([described(tmp_path, "double")], "POST", "/double/", "1")[:2] == (200, 2)


def test_several_services_live_at_their_names(tmp_path: Path) -> None:
    first, second = described(tmp_path, "double", name="First"), described(tmp_path, "divide", name="Second")
    answers = exchange(
        [first, second],
        ("POST", "/First/double", "2"),
        ("POST", "/Second/divide", "50"),
        ("POST", "/double", "2"),
        ("GET", "/Second/metadata"),
        ("GET", "/First/docs.json"),
        ("GET", "/"),
        ("GET", "/First", None, {"Accept": "text/html"}),
        ("GET", "/readyz"),
    )
    assert [status for status, _, _ in answers] == [200, 200, 404, 200, 200, 200, 200, 200]
    assert (answers[0][1], answers[1][1], answers[3][1]["name"]) == (4, 2.0, "Second")
    assert answers[4][1]["servers"] == [{"url": "/First"}]
    assert [service["name"] for service in answers[5][1]["services"]] == ["First", "Second"]
    assert b'href="First/docs.json"' in answers[6][1]


def test_services_of_one_name_or_of_a_pages_name_are_refused(tmp_path: Path) -> None:
    first = described(tmp_path, "double", name="First")
    with pytest.raises(ConfigurationError, match="two services are called `First`"):
        create_app([first, first])
    with pytest.raises(ConfigurationError, match="`metrics` is one of the server's own routes"):
        create_app([first, described(tmp_path, "double", name="metrics")])


def test_operations_have_a_port_of_their_own_if_wanted(tmp_path: Path) -> None:
    service = described(tmp_path, "double", labels={"team": "growth"})

    async def run() -> dict[tuple[int, str], tuple[int, Any]]:
        found = {}
        async with running([service], management_port=9000) as conductor:
            for port in (80, 9000):
                for path in ("/healthz", "/readyz", "/metrics", "/metadata", "/docs.json", "/double"):
                    method = "POST" if path == "/double" else "GET"
                    result = await conductor.simulate_request(method, path, body="[1]", port=port)
                    is_json = result.headers.get("content-type") == "application/json"
                    found[port, path] = (result.status_code, result.json if is_json else None)
        return found

    found = asyncio.run(run())
    assert {path: status for (port, path), (status, _) in found.items() if port == 80} == {
        "/healthz": 200,
        "/readyz": 200,
        "/metrics": 404,
        "/metadata": 200,
        "/docs.json": 200,
        "/double": 200,
    }
    assert {path: status for (port, path), (status, _) in found.items() if port == 9000} == {
        "/healthz": 200,
        "/readyz": 200,
        "/metrics": 200,
        "/metadata": 200,
        "/docs.json": 404,
        "/double": 404,
    }
    assert found[80, "/metadata"][1].keys() == {"name", "version", "apis"}
    assert found[9000, "/metadata"][1]["labels"] == {"team": "growth"}
    assert found[9000, "/double"][1]["error"] == "There is nothing at `/double`; the service itself is at its own port."
    both = exchange([described(tmp_path, "double", name=name) for name in ("A", "B")], ("GET", "/metrics"))
    assert both[0][0] == 200


def test_static_content_is_hosted_below_the_apis(tmp_path: Path) -> None:
    folder = tmp_path / "static"
    (folder / "help").mkdir(parents=True)
    (folder / "index.html").write_text("<p>hello", encoding="utf-8")
    (folder / "double").write_text("shadowed", encoding="utf-8")
    (folder / "help" / "index.html").write_text("<p>help", encoding="utf-8")
    (folder / "app.js").write_text("1", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    served = described(tmp_path, "double", web_static_content="static")
    answers = exchange(
        [served],
        *(
            ("GET", path)
            for path in (
                "/",
                "/help",
                "/help/",
                "/app.js",
                "/../secret.txt",
                "/%2e%2e/secret.txt",
                "/link.txt",
                "/a%00b",
                "/no",
            )
        ),
        ("POST", "/app.js", "1"),
        ("POST", "/double", "1"),
        ("GET", "/double"),
    )
    assert [status for status, _, _ in answers] == [200, 200, 200, 200, 404, 404, 404, 404, 404, 404, 200, 405]
    assert [body for _, body, _ in answers[:4]] == [b"<p>hello", b"<p>help", b"<p>help", b"1"]
    assert answers[3][2]["content-type"] == "text/javascript; charset=utf-8"
    assert all(b"secret" not in json.dumps(body).encode() for status, body, _ in answers[4:10] if status != 404)


# -- starting and stopping ---------------------------------------------------------------------------------------------


def test_until_the_service_is_loaded_predictions_wait_for_later(tmp_path: Path) -> None:
    served = described(tmp_path, "double")
    may_load = asyncio.Event()

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def load() -> Any:
            asyncio.run_coroutine_threadsafe(may_load.wait(), loop).result()
            return served.load()

        parent = AwaitedStart()
        app = create_app([Served(served.spec, "7", load)], parent=parent)
        async with falcon.testing.ASGIConductor(app) as conductor:
            early = await conductor.simulate_post("/double", body="1")
            assert (early.status_code, early.headers["retry-after"]) == (503, "1")
            assert (await conductor.simulate_get("/readyz")).status_code == 503
            assert (await conductor.simulate_get("/healthz")).status_code == 200
            assert (await conductor.simulate_get("/metadata")).status_code == 200
            may_load.set()
            await asyncio.wait_for(parent.outcome, 60)
            assert (await conductor.simulate_get("/readyz")).status_code == 200
            assert (await conductor.simulate_post("/double", body="1")).json == 2

    asyncio.run(run())


def failure_of(load: Callable[[], Any], served: Served) -> KappaError:
    async def run() -> KappaError:  # type: ignore[return] # to a type checker, leaving a conductor may swallow an error
        parent = AwaitedStart()
        app = create_app([Served(served.spec, "7", load)], parent=parent)
        async with falcon.testing.ASGIConductor(app) as conductor:
            with pytest.raises(KappaError) as failure:
                await asyncio.wait_for(parent.outcome, 60)
            assert (await conductor.simulate_get("/readyz")).status_code == 503
            return failure.value

    return asyncio.run(run())


def test_a_service_that_cannot_be_loaded_is_reported(tmp_path: Path) -> None:
    def load() -> Any:
        raise BundleError("The artifact `model` is missing.")

    error = failure_of(load, described(tmp_path, "double"))
    assert (type(error), str(error)) == (BundleError, "The artifact `model` is missing.")


def test_a_service_that_fails_to_load_in_an_unknown_way_is_reported(tmp_path: Path) -> None:
    def load() -> Any:
        raise MemoryError("no more")

    error = failure_of(load, described(tmp_path, "double"))
    assert (error.exit_code, str(error)) == (70, "The service cannot be loaded: MemoryError: no more.")


def test_examples_are_answered_before_the_service_is_ready(tmp_path: Path) -> None:
    (tmp_path / "five.json").write_text("5", encoding="utf-8")
    examples = (
        ExampleSpec(name="four", api="batch_divide", input=4),
        ExampleSpec(name="five", api="batch_divide", input_file="five.json"),
    )

    async def run() -> list[Any]:
        import sys

        async with running([described(tmp_path, "batch_divide", examples=examples)]):
            return list(sys.modules["app_handlers"].calls)

    assert asyncio.run(run()) == [[4], [5]]


def test_a_stop_answers_what_was_accepted_and_closes_the_service(tmp_path: Path) -> None:
    closed = []
    served = described(tmp_path, "double")

    def load() -> Any:
        service = served.load()
        service._teardown = lambda: closed.append("closed")
        return service

    async def run() -> list[Any]:
        async with running([Served(served.spec, "7", load)]) as conductor:
            posts = [asyncio.create_task(conductor.simulate_post("/double", body=str(n))) for n in range(20)]
            batcher = generation_of(conductor).apis["/double"].endpoint.batcher
            assert batcher is not None
            await eventually_in_loop(lambda: batcher.state.offered_items == 20)
        return [(await post).json for post in posts]

    assert asyncio.run(run()) == [2 * n for n in range(20)]
    assert closed == ["closed"]


# -- metrics -----------------------------------------------------------------------------------------------------------


def series(text: str, name: str) -> Any:
    """Return the value of a series, ``None`` where there is none."""
    for line in text.splitlines():
        found, _, value = line.rpartition(" ")
        if found == name:
            return float(value)
    return None


def test_requests_are_counted_by_api_and_status_and_clients_cannot_add_series(tmp_path: Path) -> None:
    requests = [("POST", "/divide", "1"), ("POST", "/divide", "0"), ("POST", "/divide", "{"), ("POST", "/divide", "2")]
    noise = [("GET", f"/made/up/{n}") for n in range(5)] + [("POST", f"/divide{n}", "1") for n in range(5)]
    answers = exchange([described(tmp_path, "divide")], *requests, *noise, ("GET", "/metrics"))
    text = answers[-1][1].decode()
    counts = {
        status: series(
            text, f'kappa_request_duration_seconds_count{{api="divide",service="Numbers",status="{status}"}}'
        )
        for status in (200, 400, 404, 500)
    }
    assert counts == {200: 2.0, 400: 1.0, 404: None, 500: 1.0}
    assert "made" not in text
    assert "divide1" not in text
    assert series(text, 'kappa_ready_workers{service="Numbers",version="7"}') == 1.0
    assert series(text, 'kappa_service_duration_seconds_count{api="divide",outcome="failed",service="Numbers"}') == 1.0


def test_metrics_of_the_users_code_are_shown_too(tmp_path: Path) -> None:
    from prometheus_client import REGISTRY, Counter

    counter = Counter("users_own_events", "Counted by a test.")
    try:
        counter.inc()
        text = ask([described(tmp_path, "double")], "GET", "/metrics")[1].decode()
        assert series(text, "users_own_events_total") == 1.0
    finally:
        REGISTRY.unregister(counter)


# -- what the keys of an API decide ------------------------------------------------------------------------------------


def one_api(folder: Path, api: str, **options: Any) -> Served:
    served = described(folder, api)
    spec = served.spec.model_copy(update={"apis": (served.spec.apis[0].model_copy(update=options),)})
    return Served(spec, "7", partial(load_service, ServiceSource.of_project(spec, {}, root=folder)))


def all_at_once(served: Served, api: str, bodies: Sequence[str], **options: Any) -> list[int]:
    async def run() -> list[int]:
        async with running([served], **options) as conductor:
            await conductor.simulate_post(f"/{api}", body=bodies[-1])
            asked = [conductor.simulate_post(f"/{api}", body=body) for body in bodies]
            return [result.status_code for result in await asyncio.gather(*asked)]

    return asyncio.run(run())


def test_without_microbatching_every_request_is_run_by_itself(tmp_path: Path) -> None:
    served = one_api(tmp_path, "batch_divide")
    options = {"batching": BatchingOptions(is_enabled=False)}
    assert all_at_once(served, "batch_divide", ["1", "0", "2", "4"], **options) == [200, 500, 200, 200]


def test_the_saturation_ratio_is_exported(tmp_path: Path) -> None:
    _, metrics, _ = exchange([described(tmp_path, "double")], ("POST", "/double", "1"), ("GET", "/metrics"))[1]
    assert b'kappa_saturation_ratio{api="double",service="Numbers"}' in metrics
