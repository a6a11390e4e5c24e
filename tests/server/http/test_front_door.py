"""What a client meets, whoever it is and whatever it sends: the same for both servers."""

from __future__ import annotations

import contextlib
import json
import random
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
]

DOUBLE = "def double(values):\n    return [2 * value for value in values]\n"
BIG = "def big(value):\n    return 'x' * value\n"
BOUNDS = {"HEADER_TIMEOUT_S": 0.5, "BODY_TIMEOUT_S": 0.5, "SEND_TIMEOUT_S": 1.0}

Serve = Callable[..., Any]


@pytest.fixture(params=["gunicorn", "uvicorn"])
def serve(request: pytest.FixtureRequest, start: Any) -> Serve:
    """Start the server of this name for the functions of a text."""
    return lambda code=DOUBLE, **wanted: start(code, server=request.param, **{"batch": ["double"], **wanted})


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", *(headers or (f"Content-Length: {len(body)}",))]
    return "\r\n".join([*lines, "", ""]).encode() + body


def reply(stream: Any) -> tuple[int, dict[str, str], bytes]:
    """Read one answer from a connection's file."""
    status = int(stream.readline().split()[1])
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, stream.read(int(headers["content-length"]))


def everything(connection: socket.socket) -> bytes:
    chunks = []
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(1 << 16):
            chunks.append(chunk)
    return b"".join(chunks)


def test_one_connection_answers_request_after_request(serve: Serve) -> None:
    with serve().connect() as client, client.makefile("rb") as stream:
        for number in range(3):
            client.sendall(post("/double", str(number).encode()))
            status, headers, body = reply(stream)
            assert (status, body, headers["content-type"]) == (200, str(2 * number).encode(), "application/json")


def test_pipelined_requests_are_answered_in_their_order(serve: Serve) -> None:
    with serve().connect() as client, client.makefile("rb") as stream:
        client.sendall(b"".join(post("/double", str(number).encode()) for number in range(20)))
        assert [reply(stream)[2] for _ in range(20)] == [str(2 * number).encode() for number in range(20)]


def test_a_body_may_come_in_chunks_and_in_pieces(serve: Serve) -> None:
    with serve().connect() as client, client.makefile("rb") as stream:
        whole = post("/double", b"1\r\n4\r\n3\r\n211\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
        for i in range(len(whole)):
            client.sendall(whole[i : i + 1])
        assert reply(stream)[::2] == (200, b"8422")


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(("Content-Length: 1", "Content-Length: 2"), id="two-lengths"),
        pytest.param(("Content-Length: 1", "Transfer-Encoding: chunked"), id="length-and-chunked"),
        pytest.param(("Content-Length: -1",), id="negative-length"),
        pytest.param(("Content-Length: 0x1",), id="hexadecimal-length"),
        pytest.param(("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), id="two-codings"),
        pytest.param(("Content-Length : 1",), id="blank-before-colon"),
    ],
)
def test_what_another_server_might_frame_differently_is_refused(serve: Serve, headers: tuple[str, ...]) -> None:
    server = serve()
    with server.connect() as client:
        client.sendall(post("/double", b"1", *headers) + post("/double", b"7"))
        client.shutdown(socket.SHUT_WR)
        answer = everything(client)
    assert re.match(rb"HTTP/1\.1 (400|501) ", answer), answer
    assert answer.count(b"HTTP/1.1 ") == 1, "what follows is not taken for a request"
    assert json.loads(answer.partition(b"\r\n\r\n")[2]).keys() == {"error", "request_id"}
    assert server.post("/double", 1) == 2


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(b"", b"", id="silence"),
        pytest.param(b"POST /double HTTP/1.1\r\nHo", b"", id="half-a-header"),
        pytest.param(b"POST /double HTTP/1.1\r\n", b"X-Slow: 1\r\n", id="one-header-after-the-other"),
        pytest.param(post("/double", b"1", "Content-Length: 100"), b"", id="half-a-body"),
        pytest.param(post("/double", b"1", "Content-Length: 100"), b"1", id="one-byte-after-the-other"),
    ],
)
def test_a_request_that_does_not_arrive_is_given_up_with_408(serve: Serve, first: bytes, then: bytes) -> None:
    server = serve(bounds=BOUNDS)
    with server.connect() as client, client.makefile("rb") as stream:
        client.sendall(first)
        is_over = threading.Event()

        def trickle() -> None:
            while then and not is_over.wait(0.1):
                with contextlib.suppress(OSError):
                    client.sendall(then)

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            status, _, body = reply(stream)
            with contextlib.suppress(ConnectionError):
                assert stream.read() == b""
        finally:
            is_over.set()
            sender.join()
    assert (status, json.loads(body).keys()) == (408, {"error", "request_id"})
    assert server.post("/double", 1) == 2


def test_a_second_request_that_stops_in_the_middle_is_given_up_too(serve: Serve) -> None:
    with serve(bounds=BOUNDS).connect() as client, client.makefile("rb") as stream:
        client.sendall(post("/double", b"1"))
        assert reply(stream)[0] == 200
        client.sendall(b"POST /double HT")
        assert reply(stream)[0] == 408
        assert stream.read() == b""


def test_an_idle_connection_is_closed_without_a_word(serve: Serve) -> None:
    with serve(options={"keep_alive_s": 1.0}).connect() as client, client.makefile("rb") as stream:
        client.sendall(post("/double", b"1"))
        assert reply(stream)[0] == 200
        assert stream.read() == b""


def is_let_go(client: socket.socket) -> bool:
    """Return whether the server has closed a connection, as it says to whoever still writes."""
    try:
        client.send(b" ")
    except ConnectionError:
        return True
    return False


def test_a_client_that_reads_nothing_is_let_go_and_holds_nobody_up(serve: Serve) -> None:
    server = serve(BIG, batch=[], single=["big"], bounds=BOUNDS)
    with server.connect() as client:
        client.sendall(post("/big", b"50000000"))
        eventually(lambda: server.post("/big", 3) == "xxx" and is_let_go(client))


def test_a_stop_waits_for_a_body_that_is_on_its_way(serve: Serve) -> None:
    server = serve()
    with server.connect() as client, client.makefile("rb") as stream:
        client.sendall(post("/double", b"1", "Content-Length: 3"))
        assert server.post("/double", 4) == 8
        server.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(ConnectionError):
            while True:
                server.connect().close()
        client.sendall(b"11")
        status, headers, body = reply(stream)
        assert (status, body, headers.get("connection", "close").lower()) == (200, b"222", "close")
        assert stream.read() == b""
    assert server.end()[0] == 0


SLOW = """
import time
from pathlib import Path

def slow(value):
    Path(__file__).with_name(f"begun-{value}").touch()
    while not Path(__file__).with_name("go").exists():
        time.sleep(0.01)
    return value
"""


def test_a_request_whose_client_leaves_before_its_turn_is_not_run(serve: Serve, tmp_path: Path) -> None:
    server = serve(SLOW, batch=[], single=["slow"])
    with server.connect() as first, server.connect() as second:
        first.sendall(post("/slow", b"1"))
        eventually((tmp_path / "begun-1").exists)
        second.sendall(post("/slow", b"2"))
        waiting = b'kappa_queue_requests{api="slow",service="Numbers"} 1.0'
        eventually(lambda: waiting in server.request("GET", "/metrics")[1])
        second.close()
        left = b'kappa_dropped_requests_total{api="slow",reason="disconnected",service="Numbers"} 1.0'
        eventually(lambda: left in server.request("GET", "/metrics")[1])
        (tmp_path / "go").touch()
        assert reply(first.makefile("rb"))[2] == b"1"
    assert server.post("/slow", 3) == 3
    assert not (tmp_path / "begun-2").exists()
    code, log = server.stop()
    assert (code, "Traceback" in log) == (0, False), log


def test_uvicorn_gives_up_what_a_stop_cannot_wait_for_with_a_word(start: Any, tmp_path: Path) -> None:
    server = start(SLOW, single=["slow"], server="uvicorn", options={"graceful_timeout_s": 1})
    with server.connect() as client:
        client.sendall(post("/slow", b"1"))
        eventually((tmp_path / "begun-1").exists)
        server.process.send_signal(signal.SIGTERM)
        status, headers, body = reply(client.makefile("rb"))
    assert (status, headers["retry-after"]) == (503, "1")
    assert json.loads(body)["error"] == "The server stops, and could not answer in time."
    (tmp_path / "go").touch()
    code, log = server.end()
    assert (code, "Traceback" in log) == (0, False), log


@pytest.mark.parametrize(
    ("server", "workers"), [("gunicorn", 1), ("gunicorn", 2), ("uvicorn", 1)], ids=["one", "two", "uvicorn"]
)
def test_operators_reach_their_own_port_when_the_service_has_no_connection_left(
    start: Any, server: str, workers: int
) -> None:
    options = {"management_port": 0, "max_connections": 2, "workers": workers}
    running = start(DOUBLE, batch=["double"], server=server, options=options)
    found = re.search(r"Metrics are at http://127\.0\.0\.1:(\d+)/metrics", "".join(running.lines))
    assert found is not None
    assert running.post("/double", 1) == 2
    with contextlib.ExitStack() as stack:
        while True:
            client = stack.enter_context(running.connect())
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            if (status := reply(client.makefile("rb"))[0]) == 503:
                break
            assert status == 404
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=60) as operator:
            operator.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            status, _, body = reply(operator.makefile("rb"))
    assert status == 200
    assert b'kappa_request_duration_seconds_count{api="double"' in body
    code, log = running.stop()
    assert (code, "Traceback" in log) == (0, False), log


def test_the_drain_delay_answers_while_readiness_says_no(serve: Serve) -> None:
    server = serve(options={"drain_delay_s": 1.0})
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: server.request("GET", "/readyz")[0] != 200)
    assert server.post("/double", 4) == 8
    assert server.end()[0] == 0


def test_ten_thousand_idle_connections_leave_room_for_those_that_ask(serve: Serve) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] not in (resource.RLIM_INFINITY, -1) and before[1] < 10_500:
        pytest.skip("so many files may not be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (10_500, before[1]))
    idle: list[socket.socket] = []
    try:
        server = serve(options={"max_connections": 10_100})
        with server.connect() as client, client.makefile("rb") as stream:
            for number in range(10_000):
                idle.append(socket.create_connection(("127.0.0.1", server.port), timeout=60))
                if number % 500 == 0:
                    client.sendall(post("/double", str(number).encode()))
                    assert reply(stream)[2] == str(2 * number).encode()
            assert server.post("/double", 4) == 8
            idle[77].sendall(post("/double", b"5"))
            with idle[77].makefile("rb") as other:
                assert reply(other)[2] == b"10"
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert server.post("/double", 4) == 8
    assert server.stop()[0] == 0


def test_connections_over_the_number_are_told_so(serve: Serve) -> None:
    server = serve(options={"max_connections": 3})
    clients = [server.connect() for _ in range(3)]
    for client in clients:
        client.sendall(post("/double", b"1"))
        with client.makefile("rb") as stream:
            assert reply(stream)[0] == 200
    with server.connect() as client:
        answer = everything(client)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in answer
    for client in clients:
        client.close()


def test_a_few_slow_clients_take_no_place_for_longer_than_a_request_may_take_to_arrive(serve: Serve) -> None:
    server = serve(options={"max_connections": 3}, bounds=BOUNDS)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(3)]
        for client in slow:
            client.sendall(b"POST /double HTTP/1.1\r\nHo")
        is_over = threading.Event()

        def trickle() -> None:
            while not is_over.wait(0.1):
                for client in slow:
                    with contextlib.suppress(OSError):
                        client.sendall(b"X")

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            eventually(lambda: server.request("GET", "/healthz")[0] != 503)
        finally:
            is_over.set()
            sender.join()
    assert server.post("/double", 1) == 2


def resident_bytes(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024  # type: ignore[index]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(post("/slow", b"1"), id="requests"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", id="small-requests"),
        pytest.param(post("/slow", b"1" * 100_000), id="bodies"),
    ],
)
def test_a_client_that_sends_on_behind_a_running_request_is_not_read_from(
    serve: Serve, tmp_path: Path, behind: bytes
) -> None:
    server = serve(
        SLOW + "\nimport os\nasync def pid(value):\n    return os.getpid()\n", batch=[], single=["slow", "pid"]
    )
    worker = server.post("/pid", 0)
    before = resident_bytes(worker)
    with server.connect() as client:
        client.sendall(post("/slow", b"1"))
        eventually((tmp_path / "begun-1").exists)
        client.settimeout(1.0)
        sent, data = 0, behind * (1 + 1_000_000 // len(behind))
        with contextlib.suppress(TimeoutError):
            while sent < 100_000_000:
                sent += client.send(data)
        assert sent < 30_000_000, "what the system itself holds"
        assert resident_bytes(worker) - before < 30_000_000
        client.shutdown(socket.SHUT_WR)
    (tmp_path / "go").touch()
    assert server.post("/slow", 3) == 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_client_that_sends_more_than_is_answered_is_read_from_as_it_is_answered(serve: Serve) -> None:
    server = serve(DOUBLE + "\nimport os\nasync def pid(value):\n    return os.getpid()\n", single=["pid"])
    worker = server.post("/pid", 0)
    before = resident_bytes(worker)
    with server.connect() as client, client.makefile("rb") as stream:

        def send_on() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client.sendall(post("/double", b"1") * 10_000)

        sender = threading.Thread(target=send_on)
        sender.start()
        for _ in range(2000):
            assert reply(stream)[::2] == (200, b"2")
        assert resident_bytes(worker) - before < 30_000_000
        client.shutdown(socket.SHUT_RDWR)
        sender.join()
    assert server.post("/double", 4) == 8


@pytest.mark.parametrize("door", ["gunicorn", "uvicorn"])
def test_what_was_loaded_is_out_of_the_garbage_collectors_sight(start: Any, door: str) -> None:
    code = "import gc\ndef seen(value):\n    return [gc.get_threshold()[0], gc.get_freeze_count() > 10_000]\n"
    assert start(code, server=door, single=["seen"]).post("/seen", 1) == [10_000, True]


GOOD = post("/double", b"21", "Content-Length: 2", "Content-Type: application/json", "X-Request-Id: abc")


def mutated(rng: random.Random) -> bytes:
    """Return a request with a few bytes changed, dropped, doubled or shuffled, or plain noise."""
    data = bytearray(GOOD if rng.random() < 0.9 else rng.randbytes(rng.randint(1, 300)))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            del data[at : at + rng.randint(1, 5)]
        elif kind == 2:
            data[at:at] = data[at : at + rng.randint(1, 30)]
        else:
            data[at:at] = rng.choice([b"\r\n", b"\0", b":", b"Content-Length: 5\r\n", b"\xff" * 10, b" " * 50])
        data = data or bytearray(b"\n")
    return bytes(data)


def test_garbage_harms_nobody(serve: Serve) -> None:
    server = serve(bounds=BOUNDS)
    is_over = threading.Event()
    wrong: list[Any] = []

    def attack(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(60):
            with server.connect() as client, contextlib.suppress(ConnectionError, TimeoutError):
                client.sendall(mutated(rng))
                if rng.random() < 0.5:
                    client.shutdown(socket.SHUT_WR)
                if (
                    rng.random() < 0.7
                    and (answer := client.recv(1 << 16))
                    and not re.match(rb"HTTP/1\.[01] \d", answer)
                ):
                    wrong.append(answer)

    def ask() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            if server.post("/double", number) != 2 * number:
                wrong.append(number)

    asking = threading.Thread(target=ask)
    asking.start()
    with ThreadPoolExecutor(8) as attackers:
        list(attackers.map(attack, range(8)))
    is_over.set()
    asking.join()
    assert wrong == []
    code, log = server.stop()
    assert (code, "Traceback" in log) == (0, False), log
