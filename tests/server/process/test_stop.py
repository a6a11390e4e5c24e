"""Nobody is reset when a server stops, or when a worker makes room for another."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import pytest

from tests.eventually import eventually
from tests.server.busy_clients import REQUEST, Busy, asking

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
]

CODE = """
import os, time

def double(values):
    return [2 * value for value in values]

def stick(value):
    time.sleep(60)

def pid(value):
    return os.getpid()
"""


@pytest.mark.parametrize(
    ("door", "workers", "drain_delay_s", "after"),
    [
        *(
            ("gunicorn", *rest)
            for rest in [(1, 0, 100), (1, 0, 700), (1, 1, 100), (2, 0, 100), (2, 0, 700), (2, 1, 700)]
        ),
        *(("uvicorn", *rest) for rest in [(1, 0, 100), (1, 0, 700), (1, 1, 100)]),
    ],
)
def test_a_stop_resets_nobody(start: Any, door: str, workers: int, drain_delay_s: int, after: int) -> None:
    options = {"workers": workers, "drain_delay_s": drain_delay_s}
    server = start(CODE, batch=["double"], server=door, options=options)
    busy = Busy(server.port)

    async def stop() -> None:
        await busy.have_answers(after)
        server.process.send_signal(signal.SIGTERM)

    asyncio.run(asking(busy, 64, stop))
    code, log = server.end()
    assert (code, "Traceback" in log) == (0, False), log
    assert busy.seen.keys() == {"answered", "told to close", "not connected"}, busy.seen
    assert busy.seen["not connected"] == 64


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_makes_room_for_another_resets_nobody(start: Any, workers: int) -> None:
    server = start(
        CODE,
        batch=["double"],
        single=["stick", "pid"],
        api={"stick": {"run_timeout": 0.2}},
        options={"workers": workers},
    )
    eventually(lambda: len({server.post("/pid", 0) for _ in range(20)}) == workers)
    busy = Busy(server.port)

    async def replace() -> None:
        await asyncio.sleep(0)
        assert (await asyncio.to_thread(server.request, "POST", "/stick", b"1"))[0] == 504
        await asyncio.to_thread(server.wait_for, "Ready.", times=workers + 1)
        await busy.have_answers(busy.seen["answered"] + 100)
        busy.is_over = True

    asyncio.run(asking(busy, 32, replace))
    assert busy.seen.keys() == {"answered", "told to close"}, busy.seen
    code, log = server.stop()
    assert (code, "Traceback" in log) == (0, False), log


@pytest.mark.parametrize("door", ["gunicorn", "uvicorn"])
@pytest.mark.parametrize("drain_delay_s", [0, 1])
def test_who_asks_on_an_idle_connection_after_the_signal_is_answered_and_told_to_close(
    start: Any, drain_delay_s: int, door: str
) -> None:
    server = start(CODE, batch=["double"], server=door, options={"drain_delay_s": drain_delay_s})
    with server.connect() as client, client.makefile("rb") as stream:
        client.sendall(REQUEST)
        assert b"connection" not in heads(stream)
        with server.connect() as other, other.makefile("rb") as others:
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: heads(others, of=other).get(b"connection"))
        client.sendall(REQUEST)
        assert heads(stream)[b"connection"] == b"close"
        assert stream.read() == b""
    assert server.end()[0] == 0


def heads(stream: Any, of: Any = None) -> dict[bytes, bytes]:
    """Read one answer, asked for on ``of`` first; return its fields."""
    if of is not None:
        of.sendall(REQUEST)
    assert stream.readline().split()[1] == b"200"
    fields = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    stream.read(int(fields[b"content-length"]))
    return fields
