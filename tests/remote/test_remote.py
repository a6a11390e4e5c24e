"""Clients: what they send, how long they wait, and what they make of answers; no socket is opened."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

import kappa
from kappa.adapters import JsonInput, MultiFileInput
from kappa.errors import AnswerError, InferenceFailedError, MissingDependencyError, UsageError
from kappa.remote.client import AsyncClient, Client
from kappa.remote.transport import Request, Response
from kappa.services.openapi import openapi_document
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec
from kappa.types import HTTPHeaders

URL = "http://iris.test/base"
SPEC = ServiceSpec(
    name="Doubler",
    apis=(
        ApiSpec(name="double", target=FunctionTarget(function="m:f"), input=JsonInput(), route="v1/double"),
        ApiSpec(name="call", target=FunctionTarget(function="m:g"), input=JsonInput()),
    ),
)


def reply(value: Any, status: int = 200, **headers: str) -> Response:
    told = {"content-type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    return Response(status, HTTPHeaders(told), json.dumps(value).encode())


DOCUMENT = reply(openapi_document(SPEC, version="1"))


class Server:
    """Answers with what it was given, in order; remembers what it was asked and how long was waited."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Request] = []
        self.waits: list[float] = []
        self.is_closed = False

    def send(self, sending: Request) -> Response:
        self.asked.append(sending)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.is_closed = True

    @property
    def paths(self) -> list[str]:
        return [f"{sending.method} {sending.url.removeprefix(URL)}" for sending in self.asked]


class AsyncServer:
    """The same for an event loop."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def send(self, sending: Request) -> Response:
        return self._server.send(sending)

    async def close(self) -> None:
        self._server.close()


async def ask_asynchronously(server: Server, name: str, value: Any, options: dict[str, Any], **more: Any) -> Any:
    async def sleep(seconds: float) -> None:
        server.waits.append(seconds)

    async with AsyncClient(URL, AsyncServer(server), sleep=sleep, **options) as client:
        return await client.call(name, value, **more)


def ask(
    server: Server, name: str, value: Any, *, is_async: bool, options: dict[str, Any] | None = None, **more: Any
) -> Any:
    if is_async:
        return asyncio.run(ask_asynchronously(server, name, value, options or {}, **more))
    with Client(URL, server, sleep=server.waits.append, **(options or {})) as client:
        return client.call(name, value, **more)


both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@both
def test_a_call_reads_the_document_and_asks_the_route(is_async: bool) -> None:
    server = Server(DOCUMENT, reply(42))
    options = {"headers": {"Authorization": "Bearer t"}, "timeout_s": 8.0}
    assert ask(server, "double", 21, is_async=is_async, options=options, headers={"X-Mine": "1"}) == 42
    assert server.paths == ["GET /docs.json", "POST /v1/double"]
    question = server.asked[1]
    assert (question.body, question.headers["Content-Type"]) == (b"21", "application/json")
    assert (question.headers["Authorization"], question.headers["X-Mine"]) == ("Bearer t", "1")
    assert 2 < float(question.headers["X-Request-Timeout-Seconds"]) <= 8.0
    assert 2 < question.timeout_s <= 8.0
    assert server.is_closed


def test_the_document_is_read_once_and_every_api_is_a_method() -> None:
    server = Server(DOCUMENT, reply(2), reply(3))
    client = Client(URL, server)
    assert [client.double(1), client.call("call", 2)] == [2, 3]
    assert server.paths == ["GET /docs.json", "POST /v1/double", "POST /call"]
    assert client.apis == ["double", "call"]
    assert repr(client) == f"<client of {URL}>"


@both
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(is_async: bool, status: int) -> None:
    busy = reply({"error": "busy"}, status, retry_after="2")
    server = Server(DOCUMENT, busy, busy, reply(42))
    assert ask(server, "double", 21, is_async=is_async) == 42
    assert server.paths[1:] == ["POST /v1/double"] * 3
    assert [2 <= wait <= 2.5 for wait in server.waits] == [True, True]


def test_a_date_to_come_back_at_is_understood() -> None:
    at = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=10), usegmt=True)
    server = Server(DOCUMENT, reply({}, 503, retry_after=at), reply(1))
    assert ask(server, "double", 1, is_async=False) == 1
    assert 8 < server.waits[0] < 13


def test_a_server_that_is_still_loading_is_waited_for() -> None:
    server = Server(reply({}, 503, retry_after="1"), DOCUMENT, reply(1))
    assert ask(server, "double", 1, is_async=False) == 1
    assert len(server.waits) == 1


@pytest.mark.parametrize(
    ("headers", "options"),
    [
        pytest.param({}, {}, id="it does not say when"),
        pytest.param({"retry_after": "soon"}, {}, id="it says nothing sensible"),
        pytest.param({"retry_after": "1"}, {"retries": 0}, id="no retries"),
        pytest.param({"retry_after": "30"}, {"timeout_s": 20}, id="too late"),
    ],
)
def test_a_refusal_is_final_where_waiting_is_of_no_use(headers: dict[str, str], options: dict[str, Any]) -> None:
    server = Server(DOCUMENT, reply({"error": "busy", "request_id": "r1"}, 503, **headers))
    with pytest.raises(AnswerError) as error:
        ask(server, "double", 1, is_async=False, options=options)
    assert (error.value.http_status, error.value.request_id, server.waits) == (503, "r1", [])


@both
@pytest.mark.parametrize(
    ("answer", "message", "request_id"),
    [
        (reply({"error": "`age` is missing", "request_id": "r2"}, 422), "422: `age` is missing", "r2"),
        (
            Response(502, HTTPHeaders({"x-request-id": "r3"}), b"<h1>Bad gateway</h1>"),
            "502: <h1>Bad gateway</h1>",
            "r3",
        ),
        (Response(301, HTTPHeaders({}), b""), "301: ", ""),
    ],
)
def test_an_error_says_what_the_server_said(is_async: bool, answer: Response, message: str, request_id: str) -> None:
    with pytest.raises(AnswerError) as error:
        ask(Server(DOCUMENT, answer), "double", 1, is_async=is_async)
    assert str(error.value) == f"`double` at `{URL}` answered {message}"
    assert (error.value.request_id, error.value.exit_code) == (request_id, 9)


@both
@pytest.mark.parametrize(("name", "hint"), [("triple", ""), ("dubble", r" Did you mean `double`\?")])
def test_an_api_that_is_not_there_is_said(is_async: bool, name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=rf"has no API `{name}`; it has `double`, `call`\.{hint}$"):
        ask(Server(DOCUMENT), name, 1, is_async=is_async)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda client: client.double(1), f"What answers at `{URL}` is not a service of Kappa's."),
        (lambda client: client.metadata(), f"What answers at `{URL}` is not a service of Kappa's."),
    ],
)
def test_something_else_at_the_url_is_said(call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(InferenceFailedError) as error:
        call(Client(URL, Server(Response(200, HTTPHeaders({}), b"<html>"))))
    assert str(error.value) == message


@both
def test_what_is_no_form_of_an_answer_is_refused_before_anything_is_asked_of_the_api(is_async: bool) -> None:
    server = Server(DOCUMENT)
    with pytest.raises(UsageError, match=r"`returns` is one of .*, not `frame`\."):
        ask(server, "double", 1, is_async=is_async, returns="frame")
    assert server.paths == ["GET /docs.json"]


def test_an_answer_without_a_body_is_none() -> None:
    empty = Response(204, HTTPHeaders({"content-type": "application/json"}), b"")
    assert ask(Server(DOCUMENT, empty), "double", 1, is_async=False) is None


def test_bytes_that_are_no_text_are_said() -> None:
    picture = Response(200, HTTPHeaders({"content-type": "image/png"}), b"\x89PNG")
    with pytest.raises(InferenceFailedError, match="The answer of `double` is no text: "):
        ask(Server(DOCUMENT, picture), "double", 1, is_async=False, returns="text")


def test_an_api_of_several_inputs_takes_a_mapping_of_them() -> None:
    target = FunctionTarget(function="m:f")
    spec = ServiceSpec(
        name="Pairs", apis=(ApiSpec(name="pair", target=target, input=MultiFileInput(input_names=["a"])),)
    )
    server = Server(reply(openapi_document(spec, version="1")))
    with pytest.raises(UsageError, match=r"`pair` takes a form: give a mapping of its parts, not a `str`\."):
        ask(server, "pair", "text", is_async=False)


@pytest.mark.parametrize("token", ["secret\n", "sécret"])
@pytest.mark.parametrize("client", [kappa.client, kappa.async_client])
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(client: Callable[..., Any], token: str) -> None:
    call = client("http://127.0.0.1:9", headers={"Authorization": token}).metadata
    with pytest.raises(UsageError, match="The header `Authorization` cannot be sent: ") as error:
        asyncio.run(call()) if client is kappa.async_client else call()
    assert token.strip() not in "".join(traceback.format_exception(error.value))


def test_a_url_that_cannot_be_read_is_said() -> None:
    with kappa.client("http://[iris") as client, pytest.raises(InferenceFailedError, match="`http://\\[iris/metadata`"):
        client.metadata()


def test_readiness_is_asked_once_and_silence_is_a_no() -> None:
    answers: list[Any] = [reply("ready"), reply({}, 503, retry_after="1"), InferenceFailedError("does not answer")]
    client = Client(URL, Server(*answers))
    assert [client.is_ready(), client.is_ready(), client.is_ready()] == [True, False, False]


def test_metadata_is_what_the_service_says() -> None:
    server = Server(reply({"name": "Doubler"}))
    assert (Client(URL, server).metadata(), server.paths) == ({"name": "Doubler"}, ["GET /metadata"])


def test_what_is_no_url_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="`localhost:5000` is not the URL of a service"):
        kappa.client("localhost:5000")


def test_without_httpx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with pytest.raises(MissingDependencyError, match=r"needs `httpx`.*`pip install httpx`"):
        kappa.client("http://localhost:5000")
