"""What a client may send, byte by byte, at a real server: every way through it answers the same."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from wire_cases import CASES, answers_to

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
]

DOUBLE = "def double(values):\n    return [2 * value for value in values]\n"


@pytest.mark.parametrize(
    ("door", "access_log"),
    [("gunicorn", False), ("gunicorn", True), ("uvicorn", False)],
    ids=["whole-requests-go-straight", "all-are-parsed", "uvicorn"],
)
def test_what_is_sent_is_answered_as_http_says(start: Any, door: str, access_log: bool) -> None:
    server = start(DOUBLE, batch=["double"], server=door, options={"access_log": access_log})
    wrong = {}
    for case in CASES:
        with server.connect() as client:
            found = answers_to(client, case)
        wanted = [case.statuses] if case.closes else [case.statuses, {200}]
        if len(found) != len(wanted) or any(status not in may for status, may in zip(found, wanted, strict=True)):
            wrong[case.name] = (found, wanted)
    assert wrong == {}
    code, log = server.stop()
    assert (code, "Traceback" in log) == (0, False), log
