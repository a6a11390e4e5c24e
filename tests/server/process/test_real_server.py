"""Real gunicorn: signals, sockets and processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually

DOUBLE = "def double(values):\n    return [2 * value for value in values]\n"


def received(connection: socket.socket) -> bytes:
    """Return everything that the server sends until it closes the connection."""
    chunks = []
    while chunk := connection.recv(1 << 16):
        chunks.append(chunk)
    return b"".join(chunks)


def metric(server: Any, name: str) -> float | None:
    """Return the value of one series, ``None`` if it is not there."""
    for line in server.request("GET", "/metrics")[1].decode().splitlines():
        series, _, value = line.rpartition(" ")
        if series == name:
            return float(value)
    return None


def test_the_server_answers_and_stops_when_asked(start: Any) -> None:
    server = start(DOUBLE, batch=["double"])
    assert server.request("GET", "/healthz")[:2] == (200, b"ok\n")
    assert server.request("GET", "/readyz")[:2] == (200, b"ready\n")
    assert server.post("/double", 21) == 42
    code, log = server.stop()
    assert code == 0
    assert "Serving Numbers:1 at http://127.0.0.1:" in log
    assert "with 1 worker, batching on." in log
    assert "Traceback" not in log


def test_idle_connections_do_not_hold_up_a_stop(start: Any) -> None:
    server = start(DOUBLE, batch=["double"], options={"graceful_timeout_s": 3600.0})  # whoever waits for that hangs
    with server.connect() as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(1 << 16).startswith(b"HTTP/1.1 200")
        code, _ = server.stop()
        assert (code, idle.recv(1)) == (0, b"")


@pytest.mark.engine
def test_concurrent_clients_get_their_own_answers(start: Any) -> None:
    server = start(DOUBLE, batch=["double"])

    def ask(client: int) -> list[int]:
        return [server.post("/double", 1000 * client + number) for number in range(25)]

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(ask, range(16)))
    assert answers == [[2 * (1000 * client + number) for number in range(25)] for client in range(16)]


SLOW = """
import time
def slow(value):
    time.sleep(1.0)
    return value
"""


@pytest.mark.engine
def test_a_stop_waits_for_accepted_requests_and_refuses_new_connections(start: Any) -> None:
    server = start(SLOW, single=["slow"])
    with server.connect() as client:
        client.sendall(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n7")
        answers: list[bytes] = []
        reader = threading.Thread(target=lambda: answers.append(received(client)))
        reader.start()
        series = 'kappa_queue_duration_seconds_count{api="slow",service="Numbers"}'
        eventually(lambda: metric(server, series) == 1.0)
        server.process.send_signal(signal.SIGTERM)
        port = server.port
        code, _ = server.end()
        reader.join(5)
    assert code == 0
    assert answers[0].startswith(b"HTTP/1.1 200")
    assert answers[0].endswith(b"\r\n\r\n7")
    assert b"Connection: close" in answers[0]
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_port_in_use_is_reported_with_its_holder(start: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, log = start(DOUBLE, ready=False, batch=["double"], options={"port": port}).end()
    assert code == 2
    assert f"Port {port} is already in use by process {os.getpid()} (" in log
    assert "Traceback" not in log


@pytest.mark.engine
def test_two_servers_with_workers_never_share_a_port(start: Any) -> None:
    first = start(DOUBLE, batch=["double"], options={"workers": 2})
    code, log = start(DOUBLE, ready=False, batch=["double"], options={"workers": 2, "port": first.port}).end()
    assert code == 2
    assert f"Port {first.port} is already in use" in log


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.engine)])
def test_a_service_that_cannot_be_loaded_ends_the_server_with_its_code(start: Any, workers: int) -> None:
    code, log = start("import nowhere_to_be_found", ready=False, batch=["double"], options={"workers": workers}).end()
    assert code == 4
    assert "ModuleNotFoundError: No module named 'nowhere_to_be_found'" in log
    assert "Traceback" not in log
    assert log.count("error:") == 1


def test_health_is_answered_while_the_service_loads(start: Any, tmp_path: Path) -> None:
    code = f"""
import os, time
while not os.path.exists({str(tmp_path / "go")!r}):
    time.sleep(0.01)
def double(values):
    return values
"""
    server = start(code, ready=False, batch=["double"])
    server.wait_for("Serving")
    assert server.request("GET", "/healthz")[0] == 200
    status, body, headers = server.request("GET", "/readyz")
    assert (status, headers["retry-after"]) == (503, "1")
    assert json.loads(body) == {"error": "The service is loading.", "request_id": headers["x-request-id"]}
    status, body, headers = server.request("POST", "/double", b"1")
    assert (status, headers["retry-after"]) == (503, "1")
    (tmp_path / "go").touch()
    server.wait_for("Ready.")
    assert server.request("GET", "/readyz")[0] == 200


def test_a_worker_that_dies_while_it_loads_ends_the_server(start: Any) -> None:
    code, log = start("import os; os._exit(7)", ready=False, batch=["double"]).end()
    assert code == 9
    assert "A worker process ended while it loaded the service" in log


def test_a_stop_while_the_service_loads_is_no_failure(start: Any) -> None:
    server = start("import time; time.sleep(60)", ready=False, batch=["double"])
    server.wait_for("Serving")
    assert server.request("GET", "/healthz")[0] == 200
    code, log = server.stop()
    assert (code, "error:" in log) == (0, False)


@pytest.mark.engine
def test_a_worker_that_dies_is_replaced_and_connections_wait_for_the_next(start: Any) -> None:
    die = "import os\ndef die(value):\n    os._exit(1)\ndef pid(value):\n    return os.getpid()\n"
    server = start(die, single=["die", "pid"])
    first = server.post("/pid", 0)
    with pytest.raises(ConnectionError):
        server.post("/die", 0)
    server.wait_for("Ready.", times=2)
    assert server.post("/pid", 0) != first


@pytest.mark.engine
def test_two_workers_share_the_port_and_each_tells_the_sum_of_the_metrics(start: Any) -> None:
    server = start("import os\ndef pid(value):\n    return os.getpid()\n", single=["pid"], options={"workers": 2})
    pids = [server.post("/pid", 0) for _ in range(64)]
    assert len(set(pids)) == 2
    series = 'kappa_request_duration_seconds_count{api="pid",service="Numbers",status="200"}'
    eventually(lambda: metric(server, series) == 64.0)
    assert {metric(server, series) for _ in range(16)} == {64.0}
    assert metric(server, 'kappa_ready_workers{service="Numbers",version="1"}') == 2.0
    code, log = server.stop()
    assert (code, "Traceback" in log) == (0, False), log


def test_a_body_over_the_limit_is_refused_and_the_client_reads_why(start: Any) -> None:
    server = start(DOUBLE, batch=["double"], spec={"serving": {"max_request_size_bytes": 1000}})
    big = b"[" + b"1," * 2_000_000 + b"1]"
    status, body, headers = server.request("POST", "/double", big)
    assert status == 413
    assert json.loads(body) == {
        "error": "The body is larger than the 1000 bytes that are taken here.",
        "request_id": headers["x-request-id"],
    }
    with server.connect() as client:  # a length that is not announced is counted
        head = b"POST /double HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head + b"320\r\n" + b"1" * 800 + b"\r\n" + b"320\r\n" + b"1" * 800 + b"\r\n")
        assert received(client).startswith(b"HTTP/1.1 413")
    assert server.post("/double", 1) == 2


GARBAGE = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no target": b"GET\r\n\r\n",
    "a negative length": b"POST /double HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a huge header": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
}


def test_garbage_is_answered_with_an_error_and_harms_nobody(start: Any) -> None:
    server = start(DOUBLE, batch=["double"])
    for kind, garbage in GARBAGE.items():
        with server.connect() as client:
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
            answer = received(client)
        if answer:
            head, _, body = answer.partition(b"\r\n\r\n")
            assert re.match(rb"HTTP/1\.1 4\d\d ", head), kind
            assert sorted(json.loads(body)) == ["error", "request_id"], kind
        assert server.post("/double", 1) == 2, kind


def test_a_client_that_leaves_in_the_middle_harms_nobody(start: Any) -> None:
    server = start(DOUBLE, batch=["double"])
    for _ in range(20):
        with server.connect() as client:
            client.sendall(b"POST /double HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[1")
    assert server.post("/double", 1) == 2
    code, log = server.stop()
    assert (code, "Traceback" in log) == (0, False), log


@pytest.mark.engine
def has_queued(server: Any, count: float) -> bool:
    return metric(server, 'kappa_queue_requests{api="slow",service="Numbers"}') == count


def test_a_request_whose_client_leaves_is_counted_and_not_run(start: Any) -> None:
    server = start(SLOW, single=["slow"])
    first, second = server.connect(), server.connect()
    for client in (first, second):
        client.sendall(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n7")
        wanted = float(client is second)
        eventually(partial(has_queued, server, wanted))
    second.close()
    gone = 'kappa_request_duration_seconds_count{api="slow",service="Numbers",status="499"}'
    eventually(lambda: metric(server, gone) == 1.0)
    assert metric(server, 'kappa_dropped_requests_total{api="slow",reason="disconnected",service="Numbers"}') == 1.0
    assert first.recv(1 << 16).endswith(b"7")
    first.close()
    assert metric(server, 'kappa_batch_requests_count{api="slow",service="Numbers"}') == 1.0


@pytest.mark.engine
def test_an_interrupt_stops_quickly_and_closes_the_service(start: Any, tmp_path: Path) -> None:
    code = f"""
import pathlib
def stop():
    pathlib.Path({str(tmp_path / "closed")!r}).touch()
def double(values):
    return values
"""
    server = start(code, batch=["double"], spec={"teardown": "handlers:stop"})
    assert server.stop(signal.SIGINT)[0] == 0
    assert (tmp_path / "closed").exists()


@pytest.mark.engine
def test_the_drain_delay_keeps_accepting_while_readiness_says_no(start: Any) -> None:
    server = start(DOUBLE, batch=["double"], options={"drain_delay_s": 1.0})
    os.kill(worker_of(server), signal.SIGTERM)
    eventually(lambda: server.request("GET", "/readyz")[0] != 200)
    status, body, _ = server.request("GET", "/readyz")
    assert (status, json.loads(body)["error"]) == (503, "The service is draining.")
    assert server.post("/double", 4) == 8
    assert server.stop()[0] == 0


def worker_of(server: Any) -> int:
    pid = server.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])


@pytest.mark.engine
def test_uvicorn_serves_the_same_application(start: Any) -> None:
    server = start(DOUBLE, batch=["double"], server="uvicorn")
    assert server.post("/double", 21) == 42
    status, body, headers = server.request("GET", "/nothing")
    assert (status, json.loads(body)["request_id"]) == (404, headers["x-request-id"])
    assert server.stop()[0] in (0, -signal.SIGTERM)
    code, log = start("import nowhere_to_be_found", ready=False, batch=["double"], server="uvicorn").end()
    assert code == 4
    assert "No module named 'nowhere_to_be_found'" in log


STUCK = """
import os, time
def stick(value):
    time.sleep(3600)
def pid(value):
    return os.getpid()
"""


@pytest.mark.engine
@pytest.mark.parametrize("workers", [1, 2])
def test_a_call_that_does_not_end_costs_its_request_and_a_worker_and_nothing_more(start: Any, workers: int) -> None:
    server = start(STUCK, single=["stick", "pid"], options={"workers": workers}, api={"stick": {"run_timeout": 0.3}})
    first = eventually(lambda: pids if len(pids := {server.post("/pid", 0) for _ in range(32)}) == workers else set())
    status, body, headers = server.request("POST", "/stick", b"1")
    assert (status, json.loads(body)) == (
        504,
        {"error": "The function did not return within 0.3 seconds.", "request_id": headers["x-request-id"]},
    )
    server.wait_for("Ready.", times=workers + 1)
    eventually(lambda: len({server.post("/pid", 0) for _ in range(32)} - first) == 1)
    code, log = server.stop()
    assert (code, log.count("did not return within 0.3 seconds, and nothing can end it")) == (0, 1)


@pytest.mark.engine
def test_async_functions_answer_many_at_once_and_are_ended_when_they_take_too_long(start: Any) -> None:
    code = """
import asyncio
arrived = 0
everybody = asyncio.Event()
async def meet(value):
    global arrived
    arrived += 1
    if arrived == 16:
        everybody.set()
    await everybody.wait()
    return value
async def wait(value):
    await asyncio.Event().wait()
"""
    server = start(code, single=["meet", "wait"], api={"wait": {"run_timeout": 0.3}})
    with ThreadPoolExecutor(16) as clients:
        assert list(clients.map(lambda value: server.post("/meet", value), range(16))) == list(range(16))
    assert server.request("POST", "/wait", b"1")[0] == 504
    assert server.post("/meet", 17) == 17
    assert server.stop()[0] == 0
