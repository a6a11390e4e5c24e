"""What goes wrong stays where it went wrong: real servers under load, with code and workers that fail."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.eventually import eventually

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
]


@contextmanager
def asked_all_the_time(server: Any, path: str, *, clients: int = 8) -> Iterator[Counter[str]]:
    """Send numbers that are all different; yields how often which outcome was seen."""
    outcomes: Counter[str] = Counter()
    is_over = threading.Event()

    def ask(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        number = client * 1_000_000
        while not is_over.is_set():
            number += 1
            outcomes[one(connection, number)] += 1
        connection.close()

    def one(connection: http.client.HTTPConnection, number: int) -> str:
        try:
            connection.request("POST", path, str(number), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = json.loads(answer.read())
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            return "reset" if isinstance(exc, ConnectionError | http.client.HTTPException) else repr(exc)
        if answer.status == 200:
            return "right" if body == 2 * number else f"wrong: {body} for {number}"
        return str(answer.status)

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_a_worker_killed_under_load_loses_its_own_requests_and_is_back(start: Any) -> None:
    code = (
        "import os\ndef double(values):\n    return [2 * v for v in values]\ndef pid(value):\n    return os.getpid()\n"
    )
    server = start(code, batch=["double"], single=["pid"], options={"workers": 2})
    pids: set[int] = set()

    def both_have_answered() -> bool:
        pids.add(server.post("/pid", 0))
        return len(pids) == 2

    eventually(both_have_answered)
    with asked_all_the_time(server, "/double") as outcomes:
        eventually(lambda: outcomes["right"] > 200)
        os.kill(min(pids), signal.SIGKILL)
        eventually(lambda: outcomes["reset"] > 0 or outcomes["right"] > 2000)
        before = outcomes["right"]
        eventually(lambda: outcomes["right"] > before + 100)
        server.wait_for("Ready.", times=3)
    assert set(outcomes) <= {"right", "reset"}, outcomes
    assert outcomes["reset"] <= 8


def test_a_lone_worker_that_is_killed_is_back(start: Any) -> None:
    code = (
        "import os\ndef double(values):\n    return [2 * v for v in values]\ndef pid(value):\n    return os.getpid()\n"
    )
    server = start(code, batch=["double"], single=["pid"])
    worker = server.post("/pid", 0)
    with asked_all_the_time(server, "/double") as outcomes:
        eventually(lambda: outcomes["right"] > 200)
        before = outcomes["right"]
        os.kill(worker, signal.SIGKILL)
        server.wait_for("Ready.", times=2)
        eventually(lambda: outcomes["right"] > before + 200)
    assert set(outcomes) <= {"right", "reset"}, outcomes  # others wait for the new one


UNKIND = """
class Unkind(Exception):
    def __str__(self):
        raise RuntimeError("not even this")
    __repr__ = __str__

def double(values):
    if any(value % 50 == 7 for value in values):
        raise Unkind
    return [2 * value for value in values]

def short(values):
    return [2 * value for value in values][:-1] if len(values) > 1 else [2 * value for value in values]

def leave(values):
    if any(value % 50 == 7 for value in values):
        raise SystemExit
    return [2 * value for value in values]
"""


@pytest.mark.parametrize("api", ["double", "leave"])
def test_code_that_raises_what_cannot_even_be_printed_fails_its_own_requests(start: Any, api: str) -> None:
    server = start(UNKIND, batch=[api])
    with asked_all_the_time(server, f"/{api}") as outcomes:
        eventually(lambda: outcomes["500"] > 20 and outcomes["right"] > 200)
    assert set(outcomes) <= {"right", "500", "503"}, outcomes
    status, body, headers = server.request("POST", f"/{api}", b"7")
    assert (status, json.loads(body)) == (
        500,
        {
            "error": "The service failed to answer; its log says why, under this id.",
            "request_id": headers["x-request-id"],
        },
    )
    assert server.stop()[0] == 0


def test_a_wrong_number_of_results_never_answers_the_wrong_request(start: Any) -> None:
    server = start(UNKIND, batch=["short"])
    with asked_all_the_time(server, "/short") as outcomes:
        eventually(lambda: outcomes.total() > 500)
    assert set(outcomes) == {"right"}, outcomes
    assert "was given 2 inputs and returned 1 result:" in server.stop()[1]
