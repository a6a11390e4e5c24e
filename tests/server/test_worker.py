"""What is changed of gunicorn's worker, one test per member, with the worker running on this test's event loop."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gasgi import ASGIWorker

from kappa.server import worker as worker_module
from kappa.server.swap import DRAIN
from kappa.server.worker import KappaProtocol, KappaWorker

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
        return await asyncio.wait_for(self._reader.read(), 5) == b""


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
        await until(lambda: len(self.worker.connections) == 1)
        return next(iter(self.worker.connections))

    async def end(self) -> None:
        for client in self._clients:
            client.writer.close()
        self.worker._quick_shutdown = True
        self.worker.stop()
        await asyncio.wait([self.task])


async def until(holds: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + 5
    for _ in iter(holds, True):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(reply: Reply = say_hello, *, drain_delay_s: float = 0.0, **settings: Any) -> AsyncIterator[Served]:
    stopped = []

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
    app = SimpleNamespace(drain_delay_s=drain_delay_s, may_listen=None, management_port=None)
    worker = KappaWorker(1, os.getppid(), [SimpleNamespace(sock=listener)], app, 30, config, Logger(config))
    worker.loop = asyncio.get_running_loop()
    worker.asgi = application
    worker.stopped = stopped
    served = Served(worker, listener.getsockname()[1])
    await until(lambda: bool(worker.servers))
    try:
        yield served
    finally:
        await served.end()
        worker.tmp.close()
        listener.close()


def test_every_overridden_member_is_one_of_the_base() -> None:
    own = {"__init__", "__doc__", "__module__", "__annotations__", "__qualname__", "__firstlineno__"}
    added = (
        {"close", "sweep", "is_idle"},
        {"stop", "forget", "handle_reload_signal", "is_full", "_listen", "_sleep", "_wake"},
    )
    for changed, base, new in zip((KappaProtocol, KappaWorker), (ASGIProtocol, ASGIWorker), added, strict=True):
        members = {name for name in vars(changed) if name not in own and not name.startswith("__")}
        assert {name for name in members if not hasattr(base, name)} == new


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


def test_a_second_request_whose_headers_stop_in_the_middle_is_given_up() -> None:
    async def run() -> None:
        async with serving(keepalive=1000) as served:
            client = await served.connect()
            await client.send(GET)
            await client.reply()
            await client.send(b"GET / HT")
            connection = await served.connection()
            await until(lambda: connection._is_incomplete)
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
            await until(lambda: connection._waiting_since is not None)
            connection.sweep(served.worker.loop.time() + 29)
            await client.send(GET)
            assert (await client.reply())[0] == 200
            await until(lambda: connection._waiting_since is not None)
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
            await until(lambda: connection._waiting_since is None)
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


def test_a_stop_begins_at_once_closes_idle_connections_and_waits_for_requests() -> None:
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
            await until(lambda: sum(c._waiting_since is None for c in served.worker.connections) == 1)
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


def test_the_drain_delay_keeps_accepting() -> None:
    async def run() -> None:
        async with serving(drain_delay_s=0.2) as served:
            served.worker.handle_exit_signal()
            client = await served.connect()
            await client.send(GET)
            assert ((await client.reply())[0], served.worker.stopped) == (200, ["drained"])
            await asyncio.wait_for(served.task, 5)

    asyncio.run(run())


def test_a_quick_stop_does_not_wait_for_requests_but_ends_the_application() -> None:
    async def wait(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        async with serving(wait) as served:
            client = await served.connect()
            await client.send(GET)
            connection = await served.connection()
            await until(lambda: connection._waiting_since is None)
            served.worker.handle_quit_signal()
            await asyncio.wait_for(served.task, 5)
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
            await until(lambda: connection._waiting_since is None)
            served.worker.handle_exit_signal()
            await asyncio.wait_for(served.task, 5)

    asyncio.run(run())


def test_a_worker_without_its_parent_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_TICK_S", 0.02)

    async def run() -> None:
        async with serving() as served:
            served.worker.ppid = -1
            await asyncio.wait_for(served.task, 5)
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
            await until(lambda: connection._waiting_since is None)
            client.writer.close()
            await until(lambda: ended == ["cancelled"])
            await until(lambda: not served.worker.connections)

    asyncio.run(run())
