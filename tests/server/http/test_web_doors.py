"""What the whole application does behind both servers, beside predictions: what it refuses, logs and sends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.eventually import eventually

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
]

Serve = Callable[..., Any]

CODE = "def double(value):\n    return 2 * value if value > 0 else 1 / 0\n"

FORGED = "2026-01-01 00:00:00,000 1 CRITICAL FORGED"


@pytest.fixture(params=["gunicorn", "uvicorn"])
def serve(request: pytest.FixtureRequest, start: Any, tmp_path: Any) -> Serve:
    """Start the server of this name for one function, with static content."""
    (tmp_path / "static").mkdir()
    spec = {"web_static_content": "static"}
    return lambda code=CODE, **wanted: start(
        code, server=request.param, **{"single": ["double"], "spec": spec, **wanted}
    )


def ask(server: Any, data: bytes) -> bytes:
    """Return all that the server answers to ``data`` until it closes the connection."""
    with server.connect() as client:
        client.sendall(data)
        chunks = []
        while chunk := client.recv(1 << 16):
            chunks.append(chunk)
    return b"".join(chunks)


def upgrade(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade, close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def test_websockets_are_refused_at_any_path(serve: Serve) -> None:
    server = serve()
    for path in ("/", "/healthz", "/double", "/docs", "/nothing", f"/x%0a{quote(FORGED)}"):
        for headers in ((), ("Sec-WebSocket-Version: 13", KEY), ("Sec-WebSocket-Version: 8",)):
            answer = ask(server, upgrade(path, *headers))
            assert answer.startswith(b"HTTP/1.1 403 "), answer
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].startswith("WebSockets are not spoken here")
    assert server.post("/double", 4) == 8
    log = server.stop()[1]
    assert ("Traceback" in log, "FORGED" in log, "Unsupported upgrade" in log) == (False, False, False), log


@pytest.mark.parametrize("access_log", [False, True], ids=["", "access-log"])
def test_no_client_writes_lines_into_the_log(serve: Serve, access_log: bool, capfd: Any) -> None:
    server = serve(options={"access_log": access_log})
    user = b64encode(f"x\n{FORGED}\x1b[31m:".encode()).decode()
    hostile = quote(f"/x\n{FORGED}\r\n\x1b[31m\x85\u2028")
    for request in (
        f"GET {hostile} HTTP/1.1\r\nHost: x\r\n",
        f"POST {hostile}?{quote(FORGED)} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n",
        f"{hostile} / HTTP/1.1\r\nHost: x\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {user}\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: {hostile}\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: \x85{FORGED}\x1b\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nReferer: \u00a0\x85\r\n {FORGED}\r\n",
        f"GET / HTTP/1.1\nHost: x\n\x85{FORGED}: 1\r\n",
        f"POST /double HTTP/1.1\r\nHost: x\r\nX-Request-Id: \x85{FORGED}\r\nContent-Length: 2\r\n",
    ):
        body = "-1" if "Content-Length: 2" in request else ""
        ask(server, f"{request}Connection: close\r\n\r\n{body}".encode("latin-1", "ignore"))
    log = server.stop()[1] + capfd.readouterr().out
    assert "ZeroDivisionError" in log
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028]", log), log
    assert not any(line.lstrip().startswith(("2026-01-01", "\x85")) for line in log.split("\n")), log


# -- files -------------------------------------------------------------------------------------------------------------


def resident_mib(server: Any) -> float:
    """Return what the server's processes hold."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    texts = [Path(f"/proc/{process}/status").read_text(encoding="ascii") for process in (pid, *children)]
    return sum(int(re.findall(r"VmRSS:\s+(\d+) kB", text)[0]) for text in texts) / 1024


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]).encode()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_clients_that_read_nothing_of_a_large_file_cost_no_memory(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    (tmp_path / "static" / "big.bin").touch()
    os.truncate(tmp_path / "static" / "big.bin", 200 << 20)
    assert ask(server, get("/big.bin", "Range: bytes=0-9")).endswith(b"\0" * 10)
    before = resident_mib(server)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(8)]
        for client in clients:
            client.sendall(get("/big.bin"))
        for client in clients:  # each answer has begun
            assert client.recv(12) == b"HTTP/1.1 200"
        assert server.post("/double", 4) == 8
        assert resident_mib(server) - before < 32
        size = sum(iter(lambda: len(clients[0].recv(1 << 20)), 0))
        assert size > 200 << 20
        assert resident_mib(server) - before < 32
    code, log = server.stop()
    assert (code, "Traceback" in log) == (0, False), log


def test_a_file_that_becomes_shorter_while_it_is_sent_ends_the_connection(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    file = tmp_path / "static" / "big.bin"
    file.touch()
    os.truncate(file, 50 << 20)
    with server.connect() as client:
        client.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
        os.truncate(file, 1000)
        with contextlib.suppress(ConnectionError):
            assert sum(iter(lambda: len(client.recv(1 << 20)), 0)) < 50 << 20
    server.wait_for("The answer to GET '/big.bin' was cut short: `big.bin` has become shorter meanwhile.")
    assert server.post("/double", 4) == 8
    code, log = server.stop()
    assert (code, "Traceback" in log) == (0, False), log


# -- pages of other sites ----------------------------------------------------------------------------------------------

PAGE = "https://app.example.com"


def headers_of(answer: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    fields = [line.partition(": ")[::2] for line in lines]
    return int(first.split()[1]), {name.lower(): value for name, value in fields}


def send(line: str, *headers: str, body: str = "") -> bytes:
    fields = ["Host: x", f"Origin: {PAGE}", "Connection: close", *headers]
    return "\r\n".join([f"{line} HTTP/1.1", *fields, "", body]).encode()


@pytest.mark.parametrize("origins", [[PAGE], ["*"]], ids=["one", "any"])
def test_pages_that_may_ask_can_read_every_answer(serve: Serve, origins: list[str], tmp_path: Path) -> None:
    (tmp_path / "static" / "file.txt").write_text("file", encoding="utf-8")
    server = serve(spec={"web_static_content": "static", "serving": {"cors_origins": origins}})
    for line, body, status in (
        ("POST /double", "4", 200),
        ("POST /double", "0", 500),
        ("POST /double", "{", 400),
        ("POST /double", "1" * 30_000_000, 413),
        ("GET /double", "", 405),
        ("GET /nothing", "", 404),
        ("GET /healthz", "", 200),
        ("GET /file.txt", "", 200),
        ("HEAD /docs.json", "", 200),
        ("OPTIONS /double", "", 200),
    ):
        length = (f"Content-Length: {len(body)}",) if body else ()
        found, headers = headers_of(ask(server, send(line, *length, body=body[:9])))
        assert (found, headers["access-control-allow-origin"]) == (status, origins[0]), line
        assert headers["access-control-expose-headers"] == "X-Request-Id, Retry-After"
        assert headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in headers
    asked = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type")
    found, headers = headers_of(ask(server, send("OPTIONS /double", *asked)))
    assert (found, headers["access-control-allow-origin"]) == (204, origins[0])
    assert server.post("/double", 4) == 8


SLOW = """
import time
from pathlib import Path

def double(value):
    Path(__file__).with_name("begun").touch()
    while not Path(__file__).with_name("go").exists():
        time.sleep(0.01)
"""


def test_a_refusal_for_want_of_room_can_be_read_by_a_page_too(serve: Serve, tmp_path: Path) -> None:
    server = serve(code=SLOW, spec={"serving": {"cors_origins": [PAGE], "max_queue_requests": 1}})
    request = send("POST /double", "Content-Length: 1", body="4")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(3)]
        clients[0].sendall(request)
        eventually((tmp_path / "begun").exists)
        clients[1].sendall(request)
        clients[2].sendall(request)
        answered, _, _ = select.select(clients, [], [], 20)
        status, headers = headers_of(answered[0].recv(1 << 16))
        (tmp_path / "go").touch()
    assert (status, headers["access-control-allow-origin"], headers["retry-after"]) == (503, PAGE, "1")


def test_pages_may_ask_nothing_by_default(serve: Serve) -> None:
    server = serve()
    asked = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type")
    for request in (send("OPTIONS /double", *asked), send("POST /double", "Content-Length: 1", body="4")):
        status, headers = headers_of(ask(server, request))
        assert status == 200
        assert not any(name.startswith("access-control") for name in headers)


# -- what cannot be read -----------------------------------------------------------------------------------------------


def test_a_refused_connection_that_stays_harms_nobody(serve: Serve) -> None:
    server = serve(bounds={"HEADER_TIMEOUT_S": 0.1})
    with server.connect() as client:
        client.sendall(b"\0\r\n\r\n")

        def is_let_go() -> bool:
            assert server.post("/double", 4) == 8
            try:
                client.send(b" ")
            except ConnectionError:
                return True
            return False

        eventually(is_let_go)
    code, log = server.stop()
    assert (code, "Traceback" in log) == (0, False), log
