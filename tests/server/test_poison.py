"""Bodies whose decoding does not end, at real servers."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import pytest

pytestmark = pytest.mark.engine

CODE = """
import os
import time
from pydantic import BaseModel, field_validator

class Item(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def check(cls, text):
        if text.startswith("poison"):
            time.sleep(3600)
        return text

def size(item):
    return len(item.text)

def double(values):
    return [2 * value for value in values]

def pid(value):
    return os.getpid()
"""
WANTED: dict[str, Any] = {
    "batch": ["double"],
    "single": ["size", "pid"],
    "api": {"size": {"input": {"type": "json", "schema": "handlers:Item"}}},
    "bounds": {"DECODING_TIMEOUT_S": 0.5},
}
PADDING = "x" * 70_000
SERVERS = [
    pytest.param("gunicorn", marks=pytest.mark.skipif(sys.platform == "win32", reason="it does not run there")),
    "uvicorn",
]


def large(text: str) -> bytes:
    return json.dumps({"text": text + PADDING}).encode()


def poison(server: Any, count: int) -> list[int]:
    """Send poisonous bodies at the same time, and return the statuses."""
    statuses: list[int] = []
    senders = [
        threading.Thread(target=lambda: statuses.append(server.request("POST", "/size", large("poison"))[0]))
        for _ in range(count)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return statuses


@pytest.mark.parametrize("kind", SERVERS)
def test_poisonous_bodies_are_answered_and_never_stop_the_others_nor_a_stop(start: Any, kind: str) -> None:
    server = start(CODE, server=kind, **WANTED, options={"graceful_timeout_s": 300})
    assert poison(server, 6) == [504] * 6
    status, body, _ = server.request("POST", "/size", large("harmless"))
    assert (status, json.loads(body)) == (200, len(PADDING) + 8)
    code, log = server.stop()  # within 30 s
    assert code == 0
    assert log.count("was not decoded by `Numbers.size` in time") == 6
    assert "Traceback" not in log


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_poison_keeps_busy_leaves_when_its_successor_is_ready(start: Any, workers: int) -> None:
    server = start(CODE, **WANTED, options={"workers": workers})
    before: set[int] = set()
    while len(before) < workers:
        before.add(server.post("/pid", 0))
    assert poison(server, 4 * workers) == [504] * 4 * workers
    now: set[int] = set()
    while not now - before:
        assert server.post("/double", 21) == 42
        now.add(server.post("/pid", 0))
    for number in range(50):
        assert server.post("/double", number) == 2 * number
    server.wait_for("Ready.", times=workers + 1)
    code, log = server.stop()
    assert code == 0
    assert "another will take its place" in log
    assert log.count("Ready.") == workers + 1, "more than one was replaced within a minute"
