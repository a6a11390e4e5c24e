"""What is changed of gunicorn's worker, one test per member, with the worker running on this test's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from kappa.server.http import worker as worker_module
from kappa.server.http.answering import RefusedAnswer
from kappa.server.http.bounds import sweep
from kappa.server.http.exchange import PlainResponse
from kappa.server.http.parser import KappaParser
from kappa.server.http.swap import DRAIN, Application, Generation
from kappa.server.http.worker import KappaProtocol, KappaWorker
from kappa.server.requests import Door
from kappa.types import Answer
from tests.eventually import eventually_in_loop

Reply = Callable[[dict[str, Any], Any, Any], Awaitable[None]]

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer(send: Any, body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def say_hello(_scope: Any, _receive: Any, send: Any) -> None:
    await answer(send, b"hello")


class Client:
    """The other end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        """Return the next answer: status, headers, body."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-1])}
        return int(head[0].split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))

    async def is_closed(self) -> bool:
        return await asyncio.wait_for(self._reader.read(), 60) == b""


class Served:
    """A running worker."""

    def __init__(self, worker: KappaWorker, port: int) -> None:
        self.worker = worker
        self.port = port
        self.task = asyncio.create_task(worker._serve())
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    async def connection(self) -> KappaProtocol:
        """Return the server's end of the only connection."""
        await eventually_in_loop(lambda: len(self.worker.connections) == 1)
        return next(iter(self.worker.connections))

    async def end(self) -> None:
        for client in self._clients:
            client.writer.close()
        self.worker._quick_shutdown = True
        self.worker.stop()
        await asyncio.wait([self.task])
        for connection in self.worker.connections:
            connection.transport.abort()
        await eventually_in_loop(lambda: not self.worker.connections)


class Pending:
    """A request that was begun, whose end the test decides."""

    def __init__(self, body: bytes, door: Door) -> None:
        self.body = body
        self.door = door
        self.is_given_up = False
        self.is_done = False

    def answer(self) -> None:
        self.is_done = True
        self.door.deliver(Answer(b"double " + self.body), "id-1")

    def give_up(self) -> None:
        self.is_given_up = True


class Api:
    """Stands for an `ApiResource`."""

    def __init__(self, *, refusal: RefusedAnswer | None = None, takes: bool = True) -> None:
        self.refusal = refusal
        self.takes = takes
        self.begun: list[Pending] = []

    def refused(self, _given_id: bytes | None) -> RefusedAnswer | None:
        return self.refusal

    def begin(self, _headers: Any, body: bytes, door: Door) -> Pending | None:
        if not self.takes:
            return None
        self.begun.append(Pending(body, door))
        return self.begun[-1]


class DirectApplication(Application):
    """One API at `/predict`; anything else goes to an application of ASGI."""

    def __init__(self, application: Any, api: Api, host: Any) -> None:
        self._application = application
        apis: Any = {"/predict": api}
        self.current = Generation(host, application, application, apis)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await self._application(scope, receive, send)


@asynccontextmanager
async def serving(
    reply: Reply = say_hello,
    *,
    drain_delay_s: float = 0.0,
    api: Api | None = None,
    host: Any = None,
    age: int = 1,
    management_port: int | None = None,
    **settings: Any,
) -> AsyncIterator[Served]:
    stopped: list[str] = []

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await reply(scope, receive, send)
            return
        scope["state"][DRAIN] = lambda: stopped.append("drained")
        while (event := await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        stopped.append(event["type"])
        await send({"type": "lifespan.shutdown.complete"})

    config = Config()
    for name, value in {"loglevel": "warning", "asgi_disconnect_grace_period": 0, **settings}.items():
        config.set(name, value)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    app = SimpleNamespace(drain_delay_s=drain_delay_s, may_listen=None, management_port=None, reserved=())
    worker = KappaWorker(age, os.getppid(), [SimpleNamespace(sock=listener)], app, 30, config, Logger(config))
    worker.loop = asyncio.get_running_loop()
    worker.asgi = application if api is None else DirectApplication(application, api, host)
    worker.stopped = stopped
    served = Served(worker, listener.getsockname()[1])
    await eventually_in_loop(lambda: bool(worker.servers))
    try:
        yield served
    finally:
        await served.end()
        worker.tmp.close()
        listener.close()


def test_connections_over_the_number_are_refused() -> None:
    async def run() -> None:
        async with serving(worker_connections=1) as served:
            first, second = await served.connect(), await served.connect()
            status, headers, body = await second.reply()
            assert (status, headers["retry-after"], await second.is_closed()) == (503, "1", True)
            assert json.loads(body)["error"] == "Too many connections are open here."
            await first.send(GET)
            assert (await first.reply())[2] == b"hello"

    asyncio.run(run())


@pytest.mark.parametrize("sent", [pytest.param(b"", id="nothing"), pytest.param(b"GET / HTTP/1.1\r\nHo", id="half")])
def test_a_request_that_does_not_arrive_is_given_up(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(worker_module, "HEADER_TIMEOUT_S", 0.05)
    monkeypatch.setattr(worker_module, "_TICK_S", 0.02)

    async def run() -> None:
        async with serving() as served:
            client = await served.connect()
            await client.send(sent)
            status, headers, body = await client.reply()
            assert (status, headers["connection"], headers["content-type"]) == (408, "close", "application/json")
            assert json.loads(body) == {
                "error": "No request arrived within 0.05 seconds.",
                "request_id": headers["x-request-id"],
            }
            assert await client.is_closed()

    asyncio.run(run())


def test_many_connections_that_are_due_at_once_keep_nobody_waiting() -> None:
    async def run() -> None:
        async with serving(worker_connections=200) as served:
            clients = [await served.connect() for _ in range(100)]
            await eventually_in_loop(lambda: len(served.worker.connections) == 100)
            turns = 0

            async def count_turns() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            counting = asyncio.create_task(count_turns())
            await asyncio.sleep(0)
            before = turns
            await sweep(served.worker.connections, served.worker.loop.time() + 11)
            assert turns - before >= 100 * 30 // 500 - 1
            counting.cancel()
            for client in clients:
                assert (await client.reply())[0] == 408

    asyncio.run(run())


def test_a_second_request_whose_headers_stop_in_the_middle_is_given_up() -> None:
    async def run() -> None:
        async with serving(keepalive=1000) as served:
            client = await served.connect()
            await client.send(GET)
            await client.reply()
            await client.send(b"GET / HT")
            connection = await served.connection()
            await eventually_in_loop(lambda: connection._is_incomplete)
            connection.sweep(served.worker.loop.time() + 11)
            assert (await client.reply())[0] == 408

    asyncio.run(run())


def test_idle_connections_are_closed_after_the_keep_alive_time_and_not_before() -> None:
    async def run() -> None:
        async with serving(keepalive=30) as served:
            client = await served.connect()
            await client.send(GET)
            await client.reply()
            connection = await served.connection()
            await eventually_in_loop(lambda: connection._waiting_since is not None)
            connection.sweep(served.worker.loop.time() + 29)
            await client.send(GET)
            assert (await client.reply())[0] == 200
            await eventually_in_loop(lambda: connection._waiting_since is not None)
            connection.sweep(served.worker.loop.time() + 31)
            assert await client.is_closed()

    asyncio.run(run())


def test_a_request_is_never_idle_however_long_it_takes() -> None:
    may_answer = asyncio.Event()

    async def wait(_scope: Any, _receive: Any, send: Any) -> None:
        await may_answer.wait()
        await answer(send, b"at last")

    async def run() -> None:
        async with serving(wait) as served:
            client = await served.connect()
            await client.send(GET)
            connection = await served.connection()
            await eventually_in_loop(lambda: connection._waiting_since is None)
            connection.sweep(served.worker.loop.time() + 1000)
            assert not connection.is_idle(served.worker.loop.time() + 1000)
            may_answer.set()
            assert (await client.reply())[2] == b"at last"

    asyncio.run(run())


def test_a_request_is_answered_in_its_connections_own_task() -> None:
    tasks = []

    async def remember(_scope: Any, _receive: Any, send: Any) -> None:
        tasks.append(asyncio.current_task())
        await answer(send, b"hello")

    async def run() -> None:
        async with serving(remember) as served:
            client = await served.connect()
            await client.send(GET + GET)  # pipelined
            assert [(await client.reply())[2], (await client.reply())[2]] == [b"hello", b"hello"]
            connection = await served.connection()
            assert tasks == [connection._task, connection._task]

    asyncio.run(run())


def test_others_have_their_turn_between_requests_that_follow_each_other_without_waiting() -> None:
    async def run() -> None:
        async with serving() as served:
            client = await served.connect()
            connection = await served.connection()
            turns = []

            async def count_turns() -> None:
                while True:
                    turns.append(connection.req_count)
                    await asyncio.sleep(0)

            counting = asyncio.create_task(count_turns())
            await client.send(GET * 200)
            for _ in range(200):
                await client.reply()
            counting.cancel()
            assert set(range(1, 200)) <= set(turns)

    asyncio.run(run())


class Flood:
    """A client that sends without end and reads nothing."""

    MOST = 100_000_000

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    def receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._socket.recv(1 << 20)

    async def send_on(self, data: bytes, *, most: int = MOST) -> int:
        """Send ``data`` again and again until nobody takes it any more; return how many bytes were taken."""
        sent, turns = 0, 0
        data *= 1 + 100_000 // len(data)
        while sent < most and turns < 2000:
            with contextlib.suppress(BlockingIOError):
                sent += self._socket.send(data)
                turns = 0
            turns += 1
            await asyncio.sleep(0)
        return sent

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(GET, id="small-requests"),
        pytest.param(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1", id="requests-for-an-api"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n" + b"1" * 90_000, id="bodies"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n", id="chunks"
        ),
        pytest.param(b"X-Field: 1\r\n", id="fields"),
        pytest.param(b"\0", id="noise"),
    ],
)
@pytest.mark.parametrize("running", ["straight", "parsed", "parsed-to-be-closed"])
def test_little_is_taken_of_what_follows_a_request_before_its_answer(running: str, behind: bytes) -> None:
    api, may_answer = Api(), asyncio.Event()

    async def wait(_scope: Any, _receive: Any, send: Any) -> None:
        await may_answer.wait()
        await answer(send, b"at last")

    async def run() -> None:
        async with serving(wait, api=api) as served:
            client = Flood(served.port)
            first = {
                "straight": post(b"1"),
                "parsed": GET,
                "parsed-to-be-closed": GET.replace(b"Host", b"Connection: close\r\nHost"),
            }
            client.send(first[running])
            connection = await served.connection()
            await eventually_in_loop(lambda: connection._waiting_since is None)
            assert await client.send_on(behind) < client.MOST / 4, "what the system itself holds"
            assert connection._http1_buffered() < 1_000_000
            client.close()
            may_answer.set()

    asyncio.run(run())


def test_a_body_in_chunks_is_read_a_little_in_each_turn_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    uvloop = pytest.importorskip("uvloop")
    turn, taken = 0, Counter[int]()
    feed = KappaParser.feed

    def count(parser: KappaParser, data: bytes) -> None:
        taken[turn] += len(data)
        feed(parser, data)

    async def take_all(_scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await answer(send, b"taken")

    async def run() -> None:
        nonlocal turn
        async with serving(take_all) as served:
            monkeypatch.setattr(KappaParser, "feed", count)
            client = Flood(served.port)
            client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n")
            for number in range(200):
                turn = number
                with contextlib.suppress(BlockingIOError):
                    while True:  # until the system holds no more
                        client.send(b"1" * 100_000)
                await asyncio.sleep(0)
            assert sum(taken.values()) > 1_000_000
            assert max(taken.values()) < 300_000
            client.close()

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_who_reads_no_answers_is_not_read_from_for_long(method: str) -> None:
    api = Api(refusal=RefusedAnswer(b"no", "id-1", retry_after_s=1))

    async def greet(scope: dict[str, Any], _receive: Any, send: Any) -> None:
        await answer(send, b"" if scope["method"] == "HEAD" else b"hello")

    requests = {"GET": GET, "HEAD": GET.replace(b"GET", b"HEAD"), "POST": post(b"1")}

    async def run() -> None:
        async with serving(greet, api=api) as served:
            client = Flood(served.port)
            connection = await served.connection()
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            await client.send_on(requests[method], most=3_000_000)
            seen, quiet = 0, 0
            while quiet < 100:
                assert connection.transport.get_write_buffer_size() < 1_000_000
                quiet = quiet + 1 if connection.req_count == seen else 0
                seen = connection.req_count
                await asyncio.sleep(0)
            assert connection._http1_buffered() < 1_000_000
            client.close()

    asyncio.run(run())


def test_no_more_is_held_of_requests_without_end_however_many_are_answered() -> None:
    async def run() -> None:
        async with serving() as served:
            client = Flood(served.port)
            connection = await served.connection()
            for _ in range(30):
                await client.send_on(GET, most=200_000)
                client.receive()
                assert connection._http1_buffered() < 1_000_000
            assert connection.req_count > 1000
            client.close()

    asyncio.run(run())


def test_a_client_that_is_told_to_close_reads_its_answer_whatever_it_sent_behind() -> None:
    async def run() -> None:
        async with serving() as served:
            client = await served.connect()
            await client.send(GET.replace(b"Host", b"Connection: close\r\nHost") + GET * 10_000)
            status, headers, body = await client.reply()
            assert (status, headers["connection"], body) == (200, "close", b"hello")
            assert await client.is_closed()

    asyncio.run(run())


def test_a_client_of_http_1_0_that_asks_to_keep_its_connection_is_told_that_it_stays() -> None:
    async def run() -> None:
        async with serving(api=Api()) as served:
            client = await served.connect()
            for path in ("/", "/predict"):
                await client.send(f"GET {path} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n".encode())
                status, headers, body = await client.reply()
                assert (status, headers["connection"], body) == (200, "keep-alive", b"hello")
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert (await client.reply())[1]["connection"] == "close"
            assert await client.is_closed()

    asyncio.run(run())


def test_a_request_that_begins_on_an_idle_connection_has_its_own_time_to_arrive() -> None:
    async def run() -> None:
        async with serving(keepalive=1000) as served:
            client = await served.connect()
            await client.send(GET)
            await client.reply()
            connection = await served.connection()
            await eventually_in_loop(lambda: connection._waiting_since is not None)
            connection._waiting_since = (connection._waiting_since or 0) - 500
            await client.send(GET[:10])
            await eventually_in_loop(lambda: connection._is_incomplete)
            connection.sweep(served.worker.loop.time() + 9)
            await client.send(GET[10:])
            assert (await client.reply())[0] == 200

    asyncio.run(run())


def test_a_body_that_breaks_while_it_is_answered_ends_the_connection_without_another_answer() -> None:
    has_begun = asyncio.Event()

    async def begin(_scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        has_begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    async def run() -> None:
        async with serving(begin) as served:
            client = await served.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            await has_begun.wait()
            await client.send(b"x\r\n")
            assert (await client._reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert await client._reader.read() == b"a"

    asyncio.run(run())


def test_a_new_connection_may_send_its_first_request_during_a_stop() -> None:
    async def run() -> None:
        async with serving() as served:
            client = await served.connect()
            connection = await served.connection()
            now = served.worker.loop.time()
            assert (connection.is_idle(now), connection.is_idle(now + 2)) == (False, True)
            served.worker.handle_exit_signal()
            await client.send(GET)
            status, headers, _ = await client.reply()
            assert (status, headers["connection"]) == (200, "close")
            await served.task

    asyncio.run(run())


def test_the_rest_of_a_refused_body_is_thrown_away_before_the_connection_closes() -> None:
    async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, b"too large", 413)

    async def run() -> None:
        async with serving(refuse) as served:
            client = await served.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
            for _ in range(3):
                await client.send(b"x" * 1_000_000)
            status, headers, body = await client.reply()
            assert (status, headers["connection"], body) == (413, "close", b"too large")
            assert await client.is_closed()

    asyncio.run(run())


def test_what_is_not_http_is_answered_in_the_form_of_all_errors() -> None:
    async def run() -> None:
        async with serving() as served:
            client = await served.connect()
            await client.send(b"what is this\r\n\r\n")
            status, headers, body = await client.reply()
            assert (status, headers["content-type"], headers["connection"]) == (400, "application/json", "close")
            assert re.fullmatch("[0-9a-f]{16}", headers["x-request-id"])
            assert json.loads(body)["request_id"] == headers["x-request-id"]

    asyncio.run(run())


def test_a_stop_begins_at_once_closes_idle_connections_in_the_end_and_waits_for_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "_IDLE_S", 0.05)
    may_answer = asyncio.Event()

    async def wait(scope: dict[str, Any], _receive: Any, send: Any) -> None:
        if scope["path"] == "/wait":
            await may_answer.wait()
        await answer(send, b"done")

    async def run() -> None:
        async with serving(wait) as served:
            idle, busy = await served.connect(), await served.connect()
            await idle.send(GET)
            await idle.reply()
            await busy.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            await eventually_in_loop(lambda: sum(c._waiting_since is None for c in served.worker.connections) == 1)
            served.worker.handle_exit_signal()
            assert await idle.is_closed()
            with pytest.raises(ConnectionError):
                await served.connect()
            assert not served.task.done()
            may_answer.set()
            status, headers, body = await busy.reply()
            assert (status, headers["connection"], body) == (200, "close", b"done")
            await served.task
            assert served.worker.stopped == ["drained", "lifespan.shutdown"]

    asyncio.run(run())


@pytest.mark.parametrize("drain_delay_s", [0.0, 30.0])
@pytest.mark.parametrize("request_", ["straight", "refused", "parsed"])
def test_from_the_signal_on_answers_announce_the_end_of_their_connections(request_: str, drain_delay_s: float) -> None:
    api = Api(refusal=RefusedAnswer(b"no", "id-1", retry_after_s=1) if request_ == "refused" else None)

    async def run() -> None:
        async with serving(api=api, drain_delay_s=drain_delay_s) as served:
            meanwhile, after = await served.connect(), await served.connect()
            for client in (meanwhile, after):
                await client.send(GET)
                assert "connection" not in (await client.reply())[1]
            if request_ == "straight":
                await meanwhile.send(post(b"1"))
                pending = await begun(api, 1)
                served.worker.handle_exit_signal()
                pending.answer()
                assert (await meanwhile.reply())[1]["connection"] == "close"
                assert await meanwhile.is_closed()
            else:
                served.worker.handle_exit_signal()
            await after.send(GET if request_ == "parsed" else post(b"2"))
            assert (await after.reply())[1]["connection"] == "close"
            assert await after.is_closed()

    asyncio.run(run())


@pytest.mark.parametrize("settings", [{}, {"accesslog": "-"}], ids=["no-access-log", "access-log"])
def test_a_connection_whose_end_was_not_announced_stays_for_one_more_request(settings: dict[str, Any]) -> None:
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def slowly(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        has_begun.set()
        await may_end.wait()
        await send({"type": "http.response.body", "body": b"b"})

    async def run() -> None:
        async with serving(slowly, **settings) as served:
            client = await served.connect()
            await client.send(GET)
            await has_begun.wait()
            served.worker.handle_exit_signal()
            may_end.set()
            status, headers, body = await client.reply()
            assert (status, headers.get("connection"), body) == (200, None, b"ab")
            await client.send(GET)
            status, headers, body = await client.reply()
            assert (status, headers["connection"], body) == (200, "close", b"ab")
            assert await client.is_closed()
            await served.task

    asyncio.run(run())


def test_connections_that_wait_when_the_worker_stops_to_listen_are_taken() -> None:
    async def run() -> None:
        async with serving() as served:
            waiting = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(20)]
            served.worker.is_accepting = False
            await served.worker._stop_listening()
            for connection in waiting:
                client = Client(*await asyncio.open_connection(sock=connection))
                await client.send(GET)
                assert (await client.reply())[2] == b"hello"
                client.writer.close()

    asyncio.run(run())


def test_half_a_request_holds_a_stop_no_longer_than_it_may_take_to_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "HEADER_TIMEOUT_S", 0.05)

    async def run() -> None:
        async with serving(graceful_timeout=1000) as served:
            client = await served.connect()
            await client.send(GET[:10])
            connection = await served.connection()
            await eventually_in_loop(lambda: connection._is_incomplete)
            served.worker.handle_exit_signal()
            assert (await client.reply())[0] == 408
            await asyncio.wait_for(served.task, 60)

    asyncio.run(run())


def test_the_drain_delay_keeps_accepting() -> None:
    async def run() -> None:
        async with serving(drain_delay_s=0.2) as served:
            served.worker.handle_exit_signal()
            client = await served.connect()
            await client.send(GET)
            assert ((await client.reply())[0], served.worker.stopped) == (200, ["drained"])
            await asyncio.wait_for(served.task, 60)

    asyncio.run(run())


def test_a_quick_stop_does_not_wait_for_requests_but_ends_the_application() -> None:
    async def wait(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        async with serving(wait) as served:
            client = await served.connect()
            await client.send(GET)
            connection = await served.connection()
            await eventually_in_loop(lambda: connection._waiting_since is None)
            served.worker.handle_quit_signal()
            await asyncio.wait_for(served.task, 60)
            assert served.worker.stopped == ["lifespan.shutdown"]

    asyncio.run(run())


def test_requests_that_take_longer_than_the_graceful_timeout_are_given_up() -> None:
    async def wait(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        async with serving(wait, graceful_timeout=2) as served:
            client = await served.connect()
            await client.send(GET)
            connection = await served.connection()
            await eventually_in_loop(lambda: connection._waiting_since is None)
            served.worker.handle_exit_signal()
            await asyncio.wait_for(served.task, 60)

    asyncio.run(run())


class Loading:
    """Stands for a host that is ready when it has been looked at a few times."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    @property
    def state(self) -> str:
        self.looks -= 1
        return "loading" if self.looks else "ready"


@pytest.mark.parametrize(
    ("age", "workers", "looks_left"),
    [
        pytest.param(1, 1, 3, id="the-only-one"),
        pytest.param(1, 2, 3, id="the-first"),
        pytest.param(2, 2, 0, id="the-second"),
        pytest.param(3, 2, 0, id="replaces-one-of-two"),
        pytest.param(2, 1, 0, id="replaces-the-only-one"),
    ],
)
def test_only_the_first_worker_of_a_server_listens_before_it_has_loaded(
    age: int, workers: int, looks_left: int
) -> None:
    host = Loading(3)

    async def run() -> None:
        async with serving(api=Api(), host=host, age=age, workers=workers):
            assert host.looks == looks_left

    asyncio.run(run())


def test_a_worker_without_its_parent_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_TICK_S", 0.02)

    async def run() -> None:
        async with serving() as served:
            served.worker.ppid = -1
            await asyncio.wait_for(served.task, 60)
            assert served.worker.stopped == ["lifespan.shutdown"]

    asyncio.run(run())


def test_a_worker_that_cannot_start_ends_the_server(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with serving() as served:
            other = KappaWorker(
                2,
                os.getppid(),
                [SimpleNamespace(sock=None)],
                served.worker.app,
                30,
                served.worker.cfg,
                served.worker.log,
            )
            other.loop, other.asgi = served.worker.loop, served.worker.asgi
            with pytest.raises(SystemExit) as ended:
                await other._serve()
            other.tmp.close()
            assert ended.value.code == 3  # gunicorn's word for: do not try again

    asyncio.run(run())


def test_a_client_that_leaves_cancels_what_was_done_for_it() -> None:
    ended = []

    async def wait(_scope: Any, _receive: Any, _send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def run() -> None:
        async with serving(wait) as served:
            client = await served.connect()
            await client.send(GET)
            connection = await served.connection()
            await eventually_in_loop(lambda: connection._waiting_since is None)
            client.writer.close()
            await eventually_in_loop(lambda: ended == ["cancelled"])
            await eventually_in_loop(lambda: not served.worker.connections)

    asyncio.run(run())


# Requests that go straight to an API


def post(body: bytes) -> bytes:
    return b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def begun(api: Api, count: int) -> Pending:
    """Return the last of ``count`` requests, once it has come."""
    await eventually_in_loop(lambda: len(api.begun) == count)
    return api.begun[-1]


def test_a_whole_request_goes_straight_to_its_api_and_is_answered_like_any_other() -> None:
    api = Api()

    async def plainly(_scope: Any, _receive: Any, send: Any) -> None:
        resp = PlainResponse()
        resp.data = b"double 1"
        resp.set_header("Content-Type", "application/json")
        resp.set_header("X-Request-Id", "id-1")
        await resp.send(send)

    async def run() -> None:
        async with serving(plainly, api=api) as served:
            client = await served.connect()
            for number in range(1, 3):
                await client.send(post(b"1"))
                pending = await begun(api, number)
                assert served.worker.asgi.current.exchanges == 1
                pending.answer()
                status, headers, body = await client.reply()
            assert served.worker.asgi.current.exchanges == 0
            await client.send(b"GET /else HTTP/1.1\r\nHost: x\r\n\r\n")
            theirs = await client.reply()
            assert (status, headers.keys(), body) == (theirs[0], theirs[1].keys(), theirs[2])
            assert {**headers, "date": ""} == {**theirs[1], "date": ""}
            await client.send(post(b"2"))
            (await begun(api, 3)).answer()
            assert (await client.reply())[2] == b"double 2"

    asyncio.run(run())


def test_what_follows_a_request_before_its_answer_waits_its_turn() -> None:
    api = Api()

    async def run() -> None:
        async with serving(api=api) as served:
            client = await served.connect()
            await client.send(post(b"1"))
            first = await begun(api, 1)
            for part in (post(b"2")[:30], post(b"2")[30:], GET):
                await client.send(part)
                for _ in range(20):
                    await asyncio.sleep(0)
            assert len(api.begun) == 1
            first.answer()
            assert (await client.reply())[2] == b"double 1"
            assert (await client.reply())[2] == b"hello", "two requests at once are for the parser"
            assert (await client.reply())[2] == b"hello"

    asyncio.run(run())


def test_one_that_follows_before_the_answer_goes_straight_to_the_api_too() -> None:
    api = Api()

    async def run() -> None:
        async with serving(api=api) as served:
            client = await served.connect()
            await client.send(post(b"1"))
            first = await begun(api, 1)
            await client.send(post(b"2"))
            connection = await served.connection()
            await eventually_in_loop(lambda: connection._callback_parser.held_bytes > 0)
            first.answer()
            (await begun(api, 2)).answer()
            assert [(await client.reply())[2], (await client.reply())[2]] == [b"double 1", b"double 2"]
            assert not connection._is_incomplete
            assert served.worker.asgi.current.exchanges == 0

    asyncio.run(run())


def test_a_long_answer_is_sent_whole() -> None:
    api = Api()

    async def run() -> None:
        async with serving(api=api) as served:
            client = await served.connect()
            await client.send(post(b"1"))
            (await begun(api, 1)).door.deliver(Answer(b"1" * 1_000_000), "id-1")
            assert len((await client.reply())[2]) == 1_000_000

    asyncio.run(run())


def test_an_answer_that_is_not_plain_is_sent_with_its_headers() -> None:
    api = Api()

    async def run() -> None:
        async with serving(api=api) as served:
            client = await served.connect()
            for status, data in ((201, b"made"), (204, b"")):
                await client.send(post(b"1"))
                await eventually_in_loop(lambda: bool(api.begun))
                answer = Answer(data, http_status=status, http_headers={"X-Own": "1"})
                api.begun.pop().door.deliver(answer, "id-1")
                if status == 201:
                    found, headers, body = await client.reply()
                    assert (found, headers["x-own"], body) == (201, "1", b"made")
                else:
                    head = await client._reader.readuntil(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 204 ")
                    assert b"content-length" not in head
            await client.send(GET)
            assert (await client.reply())[2] == b"hello"

    asyncio.run(run())


def test_a_refusal_is_sent_at_once_and_the_connection_goes_on() -> None:
    api = Api(refusal=RefusedAnswer(b"no", "id-1", retry_after_s=1))

    async def run() -> None:
        async with serving(api=api) as served:
            client = await served.connect()
            for _ in range(2):
                await client.send(post(b"1"))
                status, headers, body = await client.reply()
                assert (status, headers["retry-after"], headers["x-request-id"], body) == (503, "1", "id-1", b"no")
                assert headers["content-type"] == "application/json"
                assert {"date", "server"} < set(headers)
            assert served.worker.asgi.current.exchanges == 0
            assert not api.begun
            connection = await served.connection()
            assert connection.is_idle(served.worker.loop.time() + 1)
            connection.sweep(served.worker.loop.time() + 1000)
            assert await client.is_closed(), "of an idle connection nobody complains"

    asyncio.run(run())


def test_a_request_whose_client_leaves_is_given_up() -> None:
    api = Api()

    async def run() -> None:
        async with serving(api=api) as served:
            client = await served.connect()
            await client.send(post(b"1"))
            pending = await begun(api, 1)
            client.writer.transport.abort()
            await eventually_in_loop(lambda: pending.is_given_up)
            assert served.worker.asgi.current.exchanges == 0
            await eventually_in_loop(lambda: not served.worker.connections)
            pending.answer()  # a batch that had begun is not called back

    asyncio.run(run())


def test_a_stop_waits_for_a_request_that_was_begun() -> None:
    api = Api()

    async def run() -> None:
        async with serving(api=api) as served:
            client = await served.connect()
            await client.send(post(b"1"))
            pending = await begun(api, 1)
            served.worker.handle_exit_signal()
            await asyncio.sleep(0.2)
            assert not served.task.done()
            pending.answer()
            status, headers, body = await client.reply()
            assert (status, headers["connection"], body) == (200, "close", b"double 1")
            assert await client.is_closed()
            await served.task

    asyncio.run(run())


def test_the_server_reads_what_its_api_does_not_take_this_way() -> None:
    async def run() -> None:
        async with serving(api=Api(takes=False)) as served:
            client = await served.connect()
            for _ in range(2):
                await client.send(post(b"1"))
                assert (await client.reply())[2] == b"hello"
            assert served.worker.asgi.current.exchanges == 0

    asyncio.run(run())


def test_nothing_goes_straight_to_an_api_at_the_operators_port() -> None:
    api = Api()

    async def run() -> None:
        async with serving(api=api) as served:
            served.worker.app.management_port = served.port
            client = await served.connect()
            await client.send(post(b"1"))
            assert (await client.reply())[2] == b"hello"
            assert not api.begun

    asyncio.run(run())
