"""What an attack is: requests or connections that mean harm, and what came of them."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import BinaryIO

__all__ = [
    "ANSWER_S",
    "MOST_BYTES",
    "Attack",
    "Came",
    "Shot",
    "Target",
    "answer_of",
    "ask",
    "by_bodies",
    "head",
    "read_answer",
]

MOST_BYTES = 20 * 2**20
"""The largest body that is taken, if a service does not say."""
ANSWER_S = 30.0
"""For so long an attacker waits for an answer; decoding ends after 10 s at the latest."""
_MOST_KEPT = 10


@dataclass(frozen=True)
class Target:
    """The server, and for how long an attack goes on at least; with 0, everything is sent once."""

    port: int
    seconds: float

    @property
    def is_short(self) -> bool:
        return not self.seconds

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_S)


@dataclass
class Came:
    """What came of an attack."""

    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(
        self, name: str, status: int | str, right: frozenset[int | str], *, said: bytes = b"", took_s: float = 0
    ) -> None:
        """Take note of an answer, or of what came instead."""
        with self._lock:
            self.answers[str(status)] += 1
            self.slowest_s = max(self.slowest_s, took_s)
        if status not in right:
            self.fault(f"{name}: {status} instead of {' or '.join(map(str, sorted(right)))}: {said[:200]!r}")

    def fault(self, text: str) -> None:
        with self._lock:
            if len(self.wrong) < _MOST_KEPT:
                self.wrong.append(text)


@dataclass(frozen=True)
class Attack:
    """One kind of attack, with its siblings."""

    title: str
    act: Callable[[Target, Came], None]
    is_long: bool = False
    """Whether it only shows when it lasts, because the server waits for a while: there is no short form."""


@dataclass(frozen=True)
class Shot:
    """One request, and the statuses that may answer it."""

    name: str
    path: str
    body: bytes
    right: frozenset[int]
    media_type: str = "application/json"
    headers: tuple[str, ...] = ()

    @property
    def sent(self) -> bytes:
        lines = (f"Content-Type: {self.media_type}", f"Content-Length: {len(self.body)}", *self.headers)
        return head(self.path, *lines, "Connection: close") + self.body


def head(path: str, *headers: str, method: str = "POST") -> bytes:
    """Return a request without its body."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode("latin-1")


def read_answer(connection: socket.socket) -> tuple[int | str, bytes]:
    """Return the next answer's status and body, or what came in place of an answer."""
    with connection.makefile("rb") as stream:
        return answer_of(stream)


def answer_of(stream: BinaryIO) -> tuple[int | str, bytes]:
    """Return the same of a connection's file."""
    try:
        if not (first := stream.readline()):
            return "closed", b""
        length = 0
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return int(first.split()[1]), stream.read(length)
    except TimeoutError:
        return "no answer", b""
    except OSError:
        return "reset", b""


def ask(target: Target, sent: bytes) -> tuple[int | str, bytes]:
    """Send a request on a connection of its own; return what `read_answer` does."""
    with target.connect() as connection:
        with suppress(OSError):  # the answer may come, and the connection close, before all is sent
            connection.sendall(sent)
        return read_answer(connection)


def by_bodies(title: str, shots: Sequence[Shot], *, at_once: int = 4) -> Attack:
    """Return the attack that sends these, so many at a time, each at least once.

    That there is no room for one more is a right answer to any of several.
    """

    def act(target: Target, came: Came) -> None:
        until, numbers = time.monotonic() + target.seconds, count()

        def shoot() -> None:
            while (number := next(numbers)) < len(shots) or time.monotonic() < until:
                shot = shots[number % len(shots)]
                began = time.monotonic()
                status, said = ask(target, shot.sent)
                came.take(shot.name, status, shot.right | {503}, said=said, took_s=time.monotonic() - began)

        threads = [threading.Thread(target=shoot) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return Attack(title, act)
