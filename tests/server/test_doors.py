"""Every way in to an API is the same: status, headers, body, metrics and the line in the access log.

The ways: gunicorn's worker, which recognizes whole requests; the application of ASGI by itself; the framework's own
route, which has what stands in front of it leave a request alone; uvicorn; and the client in this process. All but the
last with and without an access log.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import logging
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from PIL import Image

import kappa.testing
from kappa.actions.serving import served_project
from kappa.server.http.app import create_app
from kappa.server.http.exchange import RequestHeaders, media_type_of
from kappa.server.http.swap import Application
from kappa.server.options import ServerOptions
from kappa.server.parent import AwaitedStart
from kappa.server.requests import ApiRequest
from kappa.services.representations import PLAIN
from kappa.types import InferenceError, Payload
from tests.eventually import eventually_in_loop

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")

HANDLERS = """
import asyncio
import threading

from kappa.types import InferenceError, InferenceResult

begun, may_end = threading.Event(), threading.Event()


def same(values):
    return values


def total(df):
    return df.sum(axis=1).to_frame("total")


def double(array):
    return array * 2


def length(text):
    return len(text)


def size(file):
    return len(file.read())


def sizes(first, second):
    return [len(first.read()), None if second is None else len(second.read())]


def shape(image):
    return list(image.shape)


def shapes(before, after):
    return [[list(one.shape), list(other.shape)] for one, other in zip(before, after, strict=True)]


def column(df):
    return df["a"] * 2


async def endless(value):
    if value == "for ever":
        await asyncio.Event().wait()
    return value


def fail(value):
    return 1 / value


def say(value):
    return InferenceResult(**value)


def refuse(value):
    return InferenceError(err_msg=str(value), http_status=418)


def hold(value):
    begun.set()
    may_end.wait(60)
    return value
"""
KAPPAFILE = """
kappafile = 1
[service]
name = "Doors"
[serving]
max_queue_requests = 1
max_request_size_bytes = 2000
"""
APIS = {
    "same": 'input = "json"\nbatch = true',
    "total": 'input = "dataframe"\nbatch = true',
    "column": 'input = "dataframe"\noutput = "series"\nbatch = true',
    "double": 'input = "ndarray"\nbatch = true',
    "length": 'input = "string"\nbatch = false',
    "size": 'input = "file"\nbatch = false',
    "sizes": 'input = { type = "multi_file", input_names = ["first", "second"], allow_none = true }\nbatch = false',
    "shape": 'input = "image"\nbatch = false',
    "shapes": 'input = { type = "multi_image", input_names = ["before", "after"] }\nbatch = true',
    "fail": 'input = "json"\nbatch = false',
    "say": 'input = "json"\nbatch = false',
    "refuse": 'input = "json"\nbatch = false',
    "hold": 'input = "json"\nbatch = false',
    "endless": 'input = "json"\nbatch = false\nrun_timeout = 0.1',
}
"""The tables of the kappafile, but for their functions, which are called alike."""


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def form(**files: bytes) -> bytes:
    """Return the body of a form, whose boundary is `cut`."""
    parts = [
        f'--cut\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in files.items()
    ]
    return b"".join([*parts, b"--cut--\r\n"])


FORM = {"content-type": "multipart/form-data; boundary=cut"}


class Case(NamedTuple):
    """A request whose answer needs no other."""

    api: str
    body: bytes
    headers: Mapping[str, str] = {}
    """Beside those that every request has."""


CASES = {
    "json": Case("same", b"[1, null]"),
    "json-bad": Case("same", b"{"),
    "json-empty": Case("same", b""),
    "json-of-another-type": Case("same", b"1", {"content-type": "image/png"}),
    "json-packed": Case("same", gzip.compress(b"[1]"), {"content-encoding": "gzip"}),
    "json-packed-badly": Case("same", b"[1]", {"content-encoding": "gzip"}),
    "table": Case("total", b'[{"a": 1, "b": 2}, {"a": 3, "b": 4}]'),
    "table-as-csv": Case("total", b"a,b\n1,2\n", {"content-type": "text/csv"}),
    "table-answered-as-csv": Case("total", b'[{"a": 1, "b": 2}]', {"accept": "text/csv"}),
    "table-bad": Case("total", b"7"),
    "series": Case("column", b'[{"a": 1.5}, {"a": null}]'),
    "series-answered-as-csv": Case("column", b'[{"a": 1.5}]', {"accept": "text/csv"}),
    "array": Case("double", b"[[1.5, 2], [3, 4]]"),
    "array-bad": Case("double", b'["x", [1]]'),
    "text": Case("length", "größe".encode(), {"content-type": "text/plain"}),
    "text-bad": Case("length", b"\xff", {"content-type": "text/plain"}),
    "file": Case("size", b"abc", {"content-type": "application/octet-stream"}),
    "files": Case("sizes", form(first=b"abc", second=b"de"), FORM),
    "files-of-which-one-is-absent": Case("sizes", form(first=b"abc"), FORM),
    "files-cut-short": Case("sizes", form(first=b"abc")[:-4], FORM),
    "picture": Case("shape", picture(), {"content-type": "image/png"}),
    "picture-bad": Case("shape", b"no", {"content-type": "image/png"}),
    "pictures": Case("shapes", form(before=picture(), after=picture()), FORM),
    "pictures-of-which-one-is-absent": Case("shapes", form(before=picture()), FORM),
    "pictures-of-which-one-is-none": Case("shapes", form(before=picture(), after=b"no"), FORM),
    "failure": Case("fail", b"0"),
    "overdue": Case("endless", b'"for ever"'),
    "answered-after-one-was-overdue": Case("endless", b"1"),
    "status-and-headers": Case(
        "say", b'{"data": [1], "http_status": 201, "http_headers": {"X-Own": "1", "Set-Cookie": ["a=1", "b=2"]}}'
    ),
    "no-content": Case("say", b'{"data": "", "http_status": 204}'),
    "header-that-cannot-be-sent": Case("say", b'{"data": 1, "http_headers": {"A b": "1"}}'),
    "refusal-of-the-function": Case("refuse", b'"no tea"'),
    "expired": Case("same", b"1", {"x-request-timeout-seconds": "1e-9"}),
    "in-time": Case("same", b"1", {"x-request-timeout-seconds": "60"}),
    "bad-time-out": Case("same", b"1", {"x-request-timeout-seconds": "soon"}),
    "too-large": Case("same", b"1" * 3000),
}

DECODED_ELSEWHERE = {
    "json-of-another-type",
    "json-packed",
    "json-packed-badly",
    "table-as-csv",
    "files",
    "files-of-which-one-is-absent",
    "files-cut-short",
    "pictures",
    "pictures-of-which-one-is-absent",
    "pictures-of-which-one-is-none",
    "picture",
    "picture-bad",
    "too-large",
}
"""What a worker does not hand straight to an API, because it may take long to decode, or is for its parser to judge."""

UNLIKE = frozenset({"connection", "date", "server"})
"""Headers of the connection and the server, which no door answers for."""


class Seen(NamedTuple):
    """What a client and the operators see of one request."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Send = Callable[[str, bytes, Mapping[str, str]], Awaitable[Seen]]
"""Sends one request: its path, body and headers. If it is cancelled, the client has left."""


def seen(status: int, headers: Mapping[str, str] | list[tuple[str, str]], body: bytes) -> Seen:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return Seen(status, sorted((name.lower(), value) for name, value in pairs if name.lower() not in UNLIKE), body)


# -- the doors ---------------------------------------------------------------------------------------------------------


async def asked_over(port: int, path: str, body: bytes, headers: Mapping[str, str]) -> Seen:
    """Send a request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in head[1:-2])]
        length = int(dict(pairs).get("content-length", "0"))
        return seen(int(head[0].split()[1]), pairs, await reader.readexactly(length))
    finally:
        writer.transport.abort()


def listening() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def gunicorn(app: Application) -> AsyncIterator[Send]:
    from gunicorn.config import Config
    from gunicorn.glogging import Logger

    from kappa.server.http.worker import KappaWorker

    config = Config()
    config.set("loglevel", "warning")
    config.set("asgi_disconnect_grace_period", 0)
    listener = listening()
    arbiter = SimpleNamespace(drain_delay_s=0.0, may_listen=None, management_port=None, reserved=())
    worker = KappaWorker(1, os.getppid(), [SimpleNamespace(sock=listener)], arbiter, 30, config, Logger(config))
    worker.loop, worker.asgi = asyncio.get_running_loop(), app
    task = asyncio.create_task(worker._serve())
    await eventually_in_loop(lambda: bool(worker.servers))
    port = listener.getsockname()[1]
    try:
        yield lambda *request: asked_over(port, *request)
    finally:
        worker.stop()
        await asyncio.wait_for(task, 60)
        worker.tmp.close()
        listener.close()


@asynccontextmanager
async def uvicorn(app: Application) -> AsyncIterator[Send]:
    from kappa.server.http.uvicorn_server import KappaUvicorn

    listener = listening()
    server = KappaUvicorn(app, ServerOptions())
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await eventually_in_loop(lambda: server.started)
    port = listener.getsockname()[1]
    try:
        yield lambda *request: asked_over(port, *request)
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 60)


@asynccontextmanager
async def asgi(app: Application, *, prefix: str = "") -> AsyncIterator[Send]:
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    ended: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    living = asyncio.create_task(app({"type": "lifespan", "state": {}}, events.get, ended.put))
    await events.put({"type": "lifespan.startup"})
    await ended.get()

    async def send(path: str, body: bytes, headers: Mapping[str, str]) -> Seen:
        sent: list[dict[str, Any]] = []
        coming = iter([{"type": "http.request", "body": body}])

        async def receive() -> dict[str, Any]:
            if (event := next(coming, None)) is None:
                await asyncio.Event().wait()
            return event or {}

        async def take(event: dict[str, Any]) -> None:
            sent.append(event)

        scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"}
        scope |= {"path": prefix + path, "query_string": b"", "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80)}
        scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
        await app(scope, receive, take)
        start, *rest = sent
        pairs = [(name.decode(), value.decode()) for name, value in start["headers"]]
        return seen(start["status"], pairs, b"".join(event.get("body", b"") for event in rest))

    try:
        yield send
    finally:
        await events.put({"type": "lifespan.shutdown"})
        await asyncio.wait_for(living, 60)


def framework(app: Application) -> Any:
    """Ask at a path that only the framework takes for that of an API."""
    return asgi(app, prefix="/")


DOORS: Mapping[str, Any] = {"gunicorn": gunicorn, "asgi": asgi, "framework": framework, "uvicorn": uvicorn}


# -- what is seen at one -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project_of(APIS, tmp_path_factory.mktemp("doors"))


@pytest.fixture(autouse=True)
def fresh_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each test load the handlers of its own project."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delitem(sys.modules, "doors_handlers", raising=False)


def project_of(apis: Mapping[str, str], folder: Path) -> Path:
    tables = [f'[apis.{name}]\nfunction = "doors_handlers:{name}"\n{options}\n' for name, options in apis.items()]
    (folder / "doors_handlers.py").write_text(HANDLERS, encoding="utf-8")
    (folder / "kappafile.toml").write_text("".join([KAPPAFILE, *tables]), encoding="utf-8")
    return folder


@contextmanager
def access_log() -> Iterator[list[logging.LogRecord]]:
    kept: list[logging.LogRecord] = []
    handler, logger = logging.Handler(), logging.getLogger("kappa.access")
    handler.emit = kept.append  # type: ignore[assignment, method-assign] # as one of its own class would
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield kept
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def line_of(record: logging.LogRecord) -> tuple[Any, ...]:
    """Return what a line tells, but for its time, its duration and the slash that leads to the framework."""
    names = ("client", "method", "path", "status", "bytes", "request_id", "user_agent", "service", "api")
    fields = [vars(record).get(name) for name in names]
    message = re.sub(r"\[[^]]+\]", "[time]", re.sub(r"[\d.]+ms$", "ms", record.getMessage()))
    return (message.replace("//", "/"), *(str(field).replace("//", "/") for field in fields))


def counted(text: str) -> dict[str, float]:
    """Return what was counted of requests."""
    names = r"kappa_request_duration_seconds_count|kappa_(refused|dropped)_requests_total|kappa_batch_requests_sum"
    found = re.findall(rf"^((?:{names})\{{.*\}}) (\S+)$", text, flags=re.MULTILINE)
    return {series: float(value) for series, _, value in found if float(value)}


def of_apis(counts: Mapping[str, float], *apis: str) -> dict[str, float]:
    return {series: count for series, count in counts.items() if any(f'api="{api}"' in series for api in apis)}


def headers_of(name: str, case: Case) -> dict[str, str]:
    usual = {"host": "x", "user-agent": "doors", "content-type": "application/json", "x-request-id": name}
    return {**usual, "content-length": str(len(case.body)), **case.headers}


async def held_up(send: Send, app: Application) -> dict[str, Seen]:
    """Ask four requests of a function that is held up: one is run, one leaves the queue, and two are refused."""
    handlers, batcher = sys.modules["doors_handlers"], app.current.apis["/hold"].endpoint.batcher
    assert batcher is not None
    handlers.begun.clear()
    handlers.may_end.clear()

    def ask(name: str) -> asyncio.Task[Seen]:
        return asyncio.ensure_future(send("/hold", b"1", headers_of(name, Case("hold", b"1"))))

    runs = ask("runs")
    await eventually_in_loop(handlers.begun.is_set)
    leaves = ask("leaves")
    await eventually_in_loop(lambda: batcher.state.queue_requests == 1)
    refused = {name: await ask(name) for name in ("refused", "refused-again")}
    leaves.cancel()
    with suppress(asyncio.CancelledError):
        await leaves
    await eventually_in_loop(lambda: batcher.state.queue_requests == 0)
    handlers.may_end.set()
    return {**refused, "runs": await runs}


class Findings(NamedTuple):
    answers: dict[str, Seen]
    counts: dict[str, float]
    lines: list[tuple[Any, ...]]
    by_asgi: list[str]
    """The requests that came to the application of ASGI."""


def findings(
    project: Path, door: str, *, has_access_log: bool, cases: Mapping[str, Case] = CASES, is_held_up: bool = True
) -> Findings:
    requests: list[str] = []
    ask = Application.__call__

    async def counting(app: Application, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            requests.append(dict(scope["headers"])[b"x-request-id"].decode())
        await ask(app, scope, receive, send)

    async def run() -> Findings:
        parent = AwaitedStart()
        app = create_app([served_project(str(project))], parent=parent, has_access_log=has_access_log)
        async with DOORS[door](app) as send:
            await asyncio.wait_for(parent.outcome, 60)
            answers = {
                name: await send(f"/{case.api}", case.body, headers_of(name, case)) for name, case in cases.items()
            }
            if is_held_up:
                answers |= await held_up(send, app)
            app.current.host.flush()
            counts = counted(app.current.host.metrics.exposition().decode())
        return Findings(answers, counts, [], requests)

    sys.modules.pop("doors_handlers", None)
    with access_log() as records, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Application, "__call__", counting)
        found = asyncio.run(run())
    return found._replace(lines=sorted(map(line_of, records)))


@pytest.fixture(scope="module")
def usual(project: Path) -> Findings:
    """What is seen at the application of ASGI by itself, with its access log."""
    return findings(project, "asgi", has_access_log=True)


@pytest.mark.parametrize("has_access_log", [False, True], ids=["", "access-log"])
@pytest.mark.parametrize("door", DOORS)
def test_every_door_answers_counts_and_logs_alike(
    project: Path, usual: Findings, door: str, has_access_log: bool
) -> None:
    found = findings(project, door, has_access_log=has_access_log)
    assert found.answers == usual.answers
    assert found.counts == usual.counts
    assert found.lines == (usual.lines if has_access_log else [])
    if door == "gunicorn":
        assert set(found.by_asgi) == DECODED_ELSEWHERE, "all others go straight to their API, log or no log"
    else:
        assert len(found.by_asgi) == len(CASES) + 4


@pytest.mark.parametrize(
    ("adapter", "output"),
    [
        pytest.param("tf_tensor", "tf_tensor", marks=pytest.mark.tensorflow),
        pytest.param("pytorch_tensor", "default", marks=pytest.mark.torch),
    ],
)
def test_every_door_answers_tensors_alike(tmp_path: Path, adapter: str, output: str) -> None:
    options = f'input = {{ type = "{adapter}", dtype = "float32" }}\noutput = "{output}"\nbatch = true'
    project = project_of({"double": options}, tmp_path)
    cases = {"rows": Case("double", b"[[1.5], [2]]"), "no-rows": Case("double", b"7"), "ragged": CASES["array-bad"]}
    first, *others = (
        findings(project, door, has_access_log=False, cases=cases, is_held_up=False).answers for door in DOORS
    )
    assert [answer.status for answer in first.values()] == [200, 400, 400]
    assert b"[3.0],[4.0]" in first["rows"].body
    assert all(other == first for other in others)


def test_what_is_seen_is_what_is_to_be_seen(usual: Findings) -> None:
    """Else all doors might be wrong in the same way."""
    statuses = {name: answer.status for name, answer in usual.answers.items() if answer.status != 200}
    assert statuses == {
        "json-bad": 400,
        "json-empty": 400,
        "json-of-another-type": 415,
        "json-packed-badly": 400,
        "table-bad": 400,
        "array-bad": 400,
        "text-bad": 400,
        "files-cut-short": 400,
        "picture-bad": 400,
        "pictures-of-which-one-is-absent": 400,
        "pictures-of-which-one-is-none": 400,
        "failure": 500,
        "overdue": 504,
        "status-and-headers": 201,
        "no-content": 204,
        "header-that-cannot-be-sent": 500,
        "refusal-of-the-function": 418,
        "expired": 504,
        "bad-time-out": 400,
        "too-large": 413,
        "refused": 503,
        "refused-again": 503,
    }
    bodies = {
        "series": b"[3.0,null]",
        "series-answered-as-csv": b"a\n3.0\n",
        "files": b"[3,2]",
        "files-of-which-one-is-absent": b"[3,null]",
        "pictures": b"[[4,5,3],[4,5,3]]",
    }
    assert {name: usual.answers[name].body for name in bodies} == bodies
    assert of_apis(usual.counts, "hold") == {
        'kappa_batch_requests_sum{api="hold",service="Doors"}': 1,
        'kappa_dropped_requests_total{api="hold",reason="disconnected",service="Doors"}': 1,
        'kappa_refused_requests_total{api="hold",reason="queue_items",service="Doors"}': 2,
        'kappa_request_duration_seconds_count{api="hold",service="Doors",status="200"}': 1,
        'kappa_request_duration_seconds_count{api="hold",service="Doors",status="499"}': 1,
        'kappa_request_duration_seconds_count{api="hold",service="Doors",status="503"}': 2,
    }


def test_a_door_that_asks_for_plain_values_is_counted_alike(project: Path, usual: Findings) -> None:
    """As will be those whose protocols have values of their own."""

    async def run() -> tuple[dict[str, Any], dict[str, float]]:
        parent = AwaitedStart()
        app = create_app([served_project(str(project))], parent=parent)

        async def send(path: str, body: bytes, headers: Mapping[str, str]) -> Any:
            return await ask(app, headers["x-request-id"], Case(path[1:], body))

        async with asgi(app):
            await asyncio.wait_for(parent.outcome, 60)
            answers = {name: await ask(app, name, case) for name, case in CASES.items()}
            answers |= await held_up(send, app)
            app.current.host.flush()
            return answers, counted(app.current.host.metrics.exposition().decode())

    async def ask(app: Application, name: str, case: Case) -> Any:
        endpoint = app.current.apis[f"/{case.api}"].endpoint
        headers = {key.encode(): value.encode() for key, value in case.headers.items()}
        media_type, charset, boundary = media_type_of(case.headers.get("content-type", "application/json").encode())
        request = ApiRequest(
            name,
            RequestHeaders(headers),
            monotonic(),
            Payload(case.body, media_type, charset, boundary=boundary, limits=endpoint.decoding_limits),
            deadline=0.0 if name == "expired" else None,
            announced_bytes=len(case.body),
            unpack=gzip.decompress if name == "json-packed" else None,
            representation=PLAIN,
        )
        return await endpoint.ask(request)

    answers, counts = asyncio.run(run())
    assert (answers["json"], answers["json-packed"], answers["text"]) == ([1, None], [1], 5)
    assert (answers["files"], answers["pictures"], answers["runs"]) == ([3, 2], [[4, 5, 3], [4, 5, 3]], 1)
    assert answers["series"].tolist()[0] == 3.0
    assert answers["table"].to_dict("list") == {"total": [3, 7]}
    assert answers["array"].tolist() == [[3.0, 4.0], [6.0, 8.0]]
    assert answers["status-and-headers"].http_status == 201
    assert answers["refusal-of-the-function"] == InferenceError("no tea", 418)
    assert [answers[name].outcome.grpc_code for name in ("json-bad", "failure", "expired", "overdue", "refused")] == [
        "INVALID_ARGUMENT",
        "INTERNAL",
        "DEADLINE_EXCEEDED",
        "DEADLINE_EXCEEDED",
        "UNAVAILABLE",
    ]
    assert of_apis(counts, "double", "endless", "hold") == of_apis(usual.counts, "double", "endless", "hold")


def test_the_client_in_this_process_sees_the_same(project: Path, usual: Findings) -> None:
    with kappa.testing.client(project) as client:
        for name, case in CASES.items():
            result = client.post(f"/{case.api}", body=case.body, headers=headers_of(name, case))
            pairs = [(header, value) for header, value in result.headers.items() if header != "set-cookie"]
            cookies = [("set-cookie", f"{cookie.name}={cookie.value}") for cookie in result.cookies.values()]
            assert seen(result.status_code, [*pairs, *cookies], result.content) == usual.answers[name], name
        counts = counted(client.get("/metrics").text)
    assert counts == {series: count for series, count in usual.counts.items() if 'api="hold"' not in series}
