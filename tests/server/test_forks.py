"""Services whose functions fork processes, as `multiprocessing` does: the server is none of theirs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")

CODE = """
import multiprocessing
import os
import signal

fork = multiprocessing.get_context("fork")

def square(value):
    return value * value

def pool(value):
    with fork.Pool(2) as pool:
        return pool.map(square, [value])

def end(number):
    child = fork.Process(target=signal.pause)
    child.start()
    os.kill(child.pid, number)
    child.join()
    return child.exitcode

def keep(_):
    if not (pid := os.fork()):
        signal.pause()
        os._exit(0)
    return pid, os.getpid()
"""
APIS = ["pool", "end", "keep"]
DOORS = [
    pytest.param({}, id="gunicorn"),
    pytest.param({"options": {"workers": 2}}, id="two workers"),
    pytest.param({"server": "uvicorn"}, id="uvicorn"),
]


@contextmanager
def kept_process(server: Any) -> Iterator[tuple[int, int]]:
    """Have a function fork a process that stays; the ids of that and of the process it comes from."""
    child, parent = server.post("/keep", 0)
    try:
        yield child, parent
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def received(connection: socket.socket) -> bytes:
    """Return everything that comes until the connection ends."""
    chunks = []
    while chunk := connection.recv(1 << 16):
        chunks.append(chunk)
    return b"".join(chunks)


@pytest.mark.engine
@pytest.mark.parametrize("door", DOORS)
def test_signals_end_a_forked_process_and_not_the_server(start: Any, door: dict[str, Any]) -> None:
    server = start(CODE, single=APIS, **door)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        assert server.post("/end", number) == -number
    assert server.post("/pool", 3) == [9]
    code, log = server.stop()
    assert (code, log.count("Ready.")) == (0, door.get("options", {}).get("workers", 1)), log


@pytest.mark.engine
@pytest.mark.parametrize("door", DOORS)
def test_the_end_of_a_connection_reaches_its_client_while_a_forked_process_lives(
    start: Any, door: dict[str, Any]
) -> None:
    server = start(CODE, single=APIS, **door)
    with server.connect() as idle, server.connect() as closing, kept_process(server):
        closing.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert received(closing).startswith(b"HTTP/1.1 200")
        server.process.send_signal(signal.SIGTERM)
        assert received(idle) == b""


@pytest.mark.engine
@pytest.mark.parametrize("workers", [1, 2])
def test_a_forked_process_that_outlives_its_worker_takes_no_connection_and_keeps_no_port(
    start: Any, workers: int
) -> None:
    server = start(CODE, single=APIS, options={"workers": workers})
    with kept_process(server) as (_, worker):
        os.kill(worker, signal.SIGKILL)
        server.wait_for("Ready.", times=workers + 1)
        assert [server.request("GET", "/healthz")[0] for _ in range(20)] == [200] * 20
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        with pytest.raises(ConnectionRefusedError):
            server.connect().close()


FORKS = """
import os, signal, socket, sys

def fail_now():
    os.kill(os.getpid(), signal.SIGTERM)

os.register_at_fork(after_in_child=fail_now)  # before what is tried, which would come too late
from kappa.server.forks import forks_leave

reader, writer = socket.socketpair()
writer.setblocking(False)
reader.setblocking(False)
signal.set_wakeup_fd(writer.fileno())
signal.signal(signal.SIGTERM, lambda *_: None)
if sys.argv[1] == "serving":
    with forks_leave([]):
        child = os.fork()
        if child == 0:
            os._exit(0)
else:
    with forks_leave([]):
        pass
    child = os.fork()
    if child == 0:
        os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
try:
    told = reader.recv(1)
except BlockingIOError:
    told = b""
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
print(code, told, sorted(blocked))
"""


@pytest.mark.parametrize(
    ("state", "said"), [("serving", "-15 b'' []"), ("served", "0 b'\\x0f' []")], ids=["serving", "no longer"]
)
def test_a_signal_that_comes_first_waits_for_the_handlers_of_the_new_process(state: str, said: str) -> None:
    ended = subprocess.run([sys.executable, "-c", FORKS, state], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.strip() == said
