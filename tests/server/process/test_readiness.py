"""When a server says that requests are welcome, they are, whichever of its workers they meet."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
]

CODE = """
import os, time
from pathlib import Path

here = Path(__file__).parent
(here / f"began-{os.getpid()}").touch()

def others():
    return sorted(int(file.name.removeprefix("began-")) for file in here.glob("began-*"))

while len(others()) < WORKERS:
    time.sleep(0.005)
while others().index(os.getpid()) in HELD and not (here / "go").exists():
    time.sleep(0.005)
if (here / "fail").exists():
    FAIL

def pid(value):
    return os.getpid()
"""


def code(workers: int, held: tuple[int, ...], fail: str = "pass") -> str:
    """Return functions whose workers of these places wait for the file `go` while they load, and may `fail` then."""
    return CODE.replace("WORKERS", str(workers)).replace("HELD", str(held)).replace("FAIL", fail)


def statuses(server: Any, path: str, times: int = 20) -> set[int]:
    """Ask with a connection for each request, which the system spreads over the workers that listen."""
    if path == "/pid":
        return {server.request("POST", path, b"1")[0] for _ in range(times)}
    return {server.request("GET", path)[0] for _ in range(times)}


@pytest.mark.parametrize("held", [pytest.param((1,), id="second-is-slow"), pytest.param((0,), id="first-is-slow")])
def test_a_server_is_ready_when_each_of_its_first_workers_is(start: Any, tmp_path: Path, held: tuple[int]) -> None:
    server = start(code(2, held), ready=False, single=["pid"], options={"workers": 2, "management_port": 0})
    server.wait_for("Ready.")
    found = re.search(r"Metrics are at http://127\.0\.0\.1:(\d+)/metrics", "".join(server.lines))
    assert found is not None

    def operators(path: str) -> int:
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=60) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return int(client.makefile("rb").readline().split()[1])

    assert statuses(server, "/readyz") == {503} == {operators("/readyz") for _ in range(20)}
    assert statuses(server, "/healthz") == {200} == {operators("/healthz") for _ in range(20)}
    if held == (1,):
        assert statuses(server, "/pid") == {200}, "who is not ready takes no connections"
    (tmp_path / "go").touch()
    server.wait_for("Ready.", times=2)
    assert statuses(server, "/readyz") == {200} == {operators("/readyz") for _ in range(20)}
    assert statuses(server, "/pid", 50) == {200}


def test_until_the_first_worker_is_ready_one_says_so(start: Any, tmp_path: Path) -> None:
    server = start(code(2, (0, 1)), ready=False, single=["pid"], options={"workers": 2})
    server.wait_for("Serving")
    eventually(lambda: statuses(server, "/healthz", 1) == {200})
    assert statuses(server, "/healthz") == {200}
    assert statuses(server, "/readyz") == statuses(server, "/pid") == {503}
    (tmp_path / "go").touch()
    server.wait_for("Ready.", times=2)
    assert statuses(server, "/pid") == {200}


def test_who_replaces_one_of_two_takes_connections_when_it_is_ready(start: Any, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    server = start(code(2, (0, 1, 2)), single=["pid"], options={"workers": 2})
    (tmp_path / "go").unlink()
    os.kill(server.post("/pid", 0), signal.SIGKILL)
    eventually(lambda: len(list(tmp_path.glob("began-*"))) >= 3)
    assert statuses(server, "/readyz") == {200}
    assert len({server.post("/pid", 0) for _ in range(50)}) == 1
    (tmp_path / "go").touch()
    server.wait_for("Ready.", times=3)
    assert statuses(server, "/readyz") == statuses(server, "/pid") == {200}


def test_connections_wait_for_who_replaces_the_only_worker(start: Any, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    server = start(code(1, (0, 1)), single=["pid"])
    (tmp_path / "go").unlink()
    first = server.post("/pid", 0)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: len(list(tmp_path.glob("began-*"))) >= 2)
    with server.connect() as client:
        client.sendall(b"POST /pid HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1")
        (tmp_path / "go").touch()
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert int(body) != first


FAILURES = [
    pytest.param("os._exit(3)", id="exit-3"),
    pytest.param("os._exit(4)", id="exit-4"),
    pytest.param("os.kill(os.getpid(), 9)", id="killed"),
    pytest.param("raise ValueError('not today')", id="raises"),
]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("fail", FAILURES)
def test_who_cannot_replace_another_is_tried_again(start: Any, tmp_path: Path, workers: int, fail: str) -> None:
    server = start(code(workers, (), fail), single=["pid"], options={"workers": workers})
    (tmp_path / "fail").touch()
    os.kill(server.post("/pid", 0), signal.SIGKILL)
    server.wait_for("A worker could not be replaced: ")
    if workers > 1:
        assert statuses(server, "/pid") == statuses(server, "/readyz") == {200}
    (tmp_path / "fail").unlink()
    server.wait_for("Ready.", times=workers + 1)
    assert statuses(server, "/pid") == statuses(server, "/readyz") == {200}
    code_, log = server.stop()
    assert (code_, "error:" in log) == (0, False), log


LEAVING = """
import ctypes, os, signal, threading

def pid(value):
    return os.getpid()

def leave(how):
    exec(how, globals())
    return 0
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_no_way_in_which_a_ready_worker_leaves_ends_the_server(start: Any, workers: int) -> None:
    server = start(LEAVING, single=["pid", "leave"], options={"workers": workers})
    ways = ("os._exit(3)", "os._exit(4)", "ctypes.CDLL(None).exit(3)", "os.abort()", "os.kill(os.getpid(), 15)")
    for number, way in enumerate(ways, 1):
        with contextlib.suppress(ConnectionError):
            server.post("/leave", way)
        server.wait_for("Ready.", times=workers + number)
        assert statuses(server, "/pid") == {200}, way
    for way in ("raise SystemExit(3)", "threading.Thread(target=exit, args=(4,)).start()"):
        server.request("POST", "/leave", f'"{way}"'.encode())
        assert statuses(server, "/pid") == {200}, way
    assert server.stop()[0] == 0
