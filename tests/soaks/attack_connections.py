"""Attacks that are no single request: connections that flood, stall, upgrade, or speak HTTP badly.

The letters and numbers of a title are those under which an attack was first found.
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from urllib.parse import quote

sys.path.append(str(Path(__file__).parents[1] / "server"))

from tests.server.wire_cases import CASES, answers_to
from tests.soaks.attack import ANSWER_S, MOST_BYTES, Attack, Came, Target, answer_of, ask, head, read_answer

__all__ = ["FORGED", "connection_attacks"]

FORGED = "2026-01-01 00:00:00,000 1 CRITICAL FORGED"
BIG_FILE = "/big.bin"
OK, ONE = frozenset({200}), b"4"
SMALL = head("/double", "Content-Type: application/json", "Content-Length: 1") + ONE
LARGER = b"[" + b"1.5," * 49_999 + b"1.5]"


def connection_attacks() -> Iterator[Attack]:
    """Yield them."""
    yield Attack("C4 requests without end behind a running one", _flood)
    yield Attack("C4 the same on eight connections", lambda target, came: _flood(target, came, connections=8))
    yield Attack("C4 requests faster than answers", _pipeline)
    yield Attack("C4 answers that nobody reads", _unread)
    yield Attack("C4 chunks without end", _chunks)
    yield Attack("H1 a body whose decoding does not end", _poison, is_long=True)
    yield Attack("H4 idle clients that announce much", lambda target, came: _uploads(target, came, _announced))
    yield Attack("H4 the same in chunks", lambda target, came: _uploads(target, came, _chunked))
    yield Attack("H4 a byte a second", _slow_bytes, is_long=True)
    yield Attack("H4 bodies that never begin", _unbegun, is_long=True)
    yield Attack("H7 WebSockets and forged log lines", _websockets)
    yield Attack("H8, L5, L7 HTTP as it should not be", _wire)
    yield Attack("L6 a length over the limit", _expecting)
    yield Attack("M3 a large file that nobody reads", _files)
    yield Attack("held: idle and partial connections", _idle)
    yield Attack("held: requests cut anywhere", _cuts)


def _flood(target: Target, came: Came, *, connections: int = 1) -> None:
    """Send as much as is taken behind a request that takes a while."""
    waits_s = 1.0 if target.is_short else max(2.0, target.seconds)
    value = b"%.2f" % (waits_s / connections)  # one after the other
    running = head("/wait", "Content-Type: application/json", f"Content-Length: {len(value)}") + value
    many = SMALL * 2000
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(target.connect()) for _ in range(connections)]
        for client in clients:
            client.sendall(running)
            client.setblocking(False)
        until = time.monotonic() + 0.75 * waits_s
        while time.monotonic() < until:
            taken = 0
            for client in clients:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    taken += client.send(many)
            if not taken:
                time.sleep(0.01)
        for client in clients:
            client.settimeout(ANSWER_S)
            came.take("the running one", read_answer(client)[0], OK)


def _pipeline(target: Target, came: Came) -> None:
    """Send as much as is taken, and read each answer."""
    until = time.monotonic() + target.seconds
    with target.connect() as client, client.makefile("rb") as stream:

        def send_on() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client.sendall(SMALL * 10_000)

        sender = threading.Thread(target=send_on)
        sender.start()
        count = 0
        while count < 1000 or time.monotonic() < until:
            count += 1
            status, _ = answer_of(stream)
            came.take("one of many", status, OK)
        client.shutdown(socket.SHUT_RDWR)
        sender.join()


def _unread(target: Target, came: Came) -> None:
    """Ask again and again, and read nothing."""
    many = head("/docs.json", method="GET") * 2000
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(target.connect()) for _ in range(8)]
        for client in clients:
            client.setblocking(False)
        until = time.monotonic() + (target.seconds or 0.5)
        while time.monotonic() < until:
            for client in clients:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    client.send(many)
            time.sleep(0.01)
        for client in clients:
            client.settimeout(ANSWER_S)
            came.take("the first", read_answer(client)[0], OK)


def _chunks(target: Target, came: Came) -> None:
    """Send bodies in the smallest chunks, and extensions without end."""
    start = head("/json", "Content-Type: application/json", "Transfer-Encoding: chunked")
    for name, chunk, right in (
        ("chunks of one byte", b"1\r\n \r\n", frozenset({400, 413})),
        ("extensions", b"1;" + b"a" * 4000 + b"\r\n \r\n", frozenset({400, 413})),
        ("a size without end", b"0" * 1000, frozenset({400, 413})),
        ("chunks over the limit", b"10000\r\n" + b" " * 0x10000 + b"\r\n", frozenset({413})),
    ):
        with target.connect() as client:
            until = time.monotonic() + ANSWER_S
            began = time.monotonic()
            with contextlib.suppress(ConnectionError, TimeoutError):
                client.sendall(start)
                piece = chunk * (1 + 65_536 // len(chunk))
                sent = 0
                while sent < 4 * MOST_BYTES and time.monotonic() < until:
                    client.sendall(piece)
                    sent += len(piece)
            status, said = read_answer(client)
            came.take(name, status, right, said=said, took_s=time.monotonic() - began)


def _poison(target: Target, came: Came) -> None:
    began = time.monotonic()
    body = b'{"text": "' + b"x" * 70_000 + b'"}'
    status, said = ask(target, head("/poison", "Content-Type: application/json", f"Content-Length: {len(body)}") + body)
    came.take("the poison", status, frozenset({504}), said=said, took_s=time.monotonic() - began)


_announced = head("/length", "Content-Type: application/json", f"Content-Length: {MOST_BYTES}") + b"["
_chunked = head("/length", "Content-Type: application/json", "Transfer-Encoding: chunked") + b"1\r\n[\r\n"


def _uploads(target: Target, came: Came, begun: bytes) -> None:
    """Begin many bodies, and see whether whole ones are still taken."""
    good = (
        head("/length", "Content-Type: application/json", f"Content-Length: {len(LARGER)}", "Connection: close")
        + LARGER
    )
    until = time.monotonic() + target.seconds
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(target.connect()).sendall(begun)
        number = 0
        while number < 5 or time.monotonic() < until:
            number += 1
            began = time.monotonic()
            status, said = ask(target, good)
            came.take("a whole body", status, OK, said=said, took_s=time.monotonic() - began)


def _slow_bytes(target: Target, came: Came) -> None:
    """Send heads and bodies byte by byte."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(target.connect()) for _ in range(18)]
        begun = _announced.index(b"[")
        for number, client in enumerate(clients):
            client.sendall(_announced[: begun if number % 2 else 1])
        for place in range(1, 13):
            for number, client in enumerate(clients):
                with contextlib.suppress(OSError):  # it was given up
                    client.sendall(b"[" if number % 2 else _announced[place : place + 1])
            time.sleep(1)
        for client in clients:
            status, said = read_answer(client)
            came.take("a slow one", status, frozenset({408}), said=said)


def _unbegun(target: Target, came: Came) -> None:
    """Announce bodies, at any path, and send nothing of them."""
    framings = ("Content-Length: 5", f"Content-Length: {MOST_BYTES}", "Transfer-Encoding: chunked")
    with contextlib.ExitStack() as stack:
        clients = []
        for path, framing in product(("/json", "/json/", "/picture", "/nothing", "/docs.json", "/"), framings):
            clients.append(stack.enter_context(target.connect()))
            clients[-1].sendall(head(path, framing))
        for client in clients:
            status, said = read_answer(client)
            came.take("one that does not begin", status, frozenset({408}), said=said)


def _websockets(target: Target, came: Came) -> None:
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    until = time.monotonic() + target.seconds
    while True:
        for path in (
            "/",
            "/healthz",
            "/double",
            "/docs",
            "/nothing",
            f"/x%0a{quote(FORGED)}",
            f"/x%0d%0a{quote(FORGED)}",
        ):
            for headers in ((), ("Sec-WebSocket-Version: 13", key), ("Sec-WebSocket-Version: 8",)):
                sent = head(path, "Upgrade: websocket", "Connection: Upgrade", *headers, method="GET")
                status, said = ask(target, sent)
                came.take(f"an upgrade at {path}", status, frozenset({403}), said=said)
        status, said = ask(target, head(f"/x%0a{quote(FORGED)}", method="GET"))
        came.take("a forged line", status, frozenset({404}), said=said)
        if time.monotonic() >= until:
            return


def _wire(target: Target, came: Came) -> None:
    """Send every case of the wire, which end well or badly as HTTP says."""
    until = time.monotonic() + target.seconds
    while True:
        for case in CASES:
            with target.connect() as client:
                found = answers_to(client, case)
            wanted = [case.statuses] if case.closes else [case.statuses, OK]
            if len(found) != len(wanted):
                came.fault(f"{case.name}: {found}")
            for status, right in zip(found, wanted, strict=False):
                came.take(case.name, status, right)
        if time.monotonic() >= until:
            return


def _expecting(target: Target, came: Came) -> None:
    until = time.monotonic() + target.seconds
    while True:
        for path in ("/json", "/frame", "/picture", "/json/"):
            for headers in (("Expect: 100-continue",), ()):
                status, said = ask(target, head(path, f"Content-Length: {MOST_BYTES + 1}", *headers))
                came.take(f"{path} {headers}", status, frozenset({413}), said=said)
        if time.monotonic() >= until:
            return


def _files(target: Target, came: Came) -> None:
    """Ask for a large file and read nothing of it; ask what it would be; ask for pieces."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(target.connect()) for _ in range(24)]
        for client in clients:
            client.sendall(head(BIG_FILE, method="GET"))
        for client in clients:
            started = re.match(rb"HTTP/1.1 (\d+)", client.recv(12))
            came.take("the file", int(started[1]) if started else "closed", OK)
        until = time.monotonic() + target.seconds
        while True:
            for _ in range(8):
                with target.connect() as client:
                    client.sendall(head(BIG_FILE, "Connection: close", method="HEAD"))
                    came.take("its head", int(client.makefile("rb").read().split()[1]), OK)
            ranges = ",".join(f"{place}-" for place in range(500))
            with target.connect() as client:
                client.sendall(head(BIG_FILE, f"Range: bytes={ranges}", "Connection: close", method="GET"))
                came.take("many ranges", int(client.recv(12).split()[1]), frozenset({200, 206, 416}))
            if time.monotonic() >= until:
                return
            time.sleep(0.1)


def _idle(target: Target, came: Came) -> None:
    """Open many connections that say nothing or half of something."""
    with contextlib.ExitStack() as stack:
        for number in range(200 if target.is_short else 4000):
            client = stack.enter_context(target.connect())
            client.sendall(SMALL[: number % len(SMALL)] if number % 2 else b"")
        time.sleep(target.seconds)
        came.take("somebody else", ask(target, SMALL)[0], OK)


CUTS_PER_S = 1000


def _cuts(target: Target, came: Came) -> None:
    """Send requests that end anywhere, and leave; a thousand a second, since more is a flood whatever they are."""
    chance = random.Random(7)
    began = time.monotonic()
    until = began + target.seconds
    wholes = [SMALL, head("/length", "Content-Type: application/json", f"Content-Length: {len(LARGER)}") + LARGER]
    count = 0
    while count < 200 or time.monotonic() < until:
        count += 1
        whole = wholes[count % 2]
        with target.connect() as client, contextlib.suppress(OSError):
            client.sendall(whole[: chance.randrange(len(whole))])
        time.sleep(max(0.0, began + count / CUTS_PER_S - time.monotonic()))
    came.take("somebody else", ask(target, SMALL)[0], OK)
