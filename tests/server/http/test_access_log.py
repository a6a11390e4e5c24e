"""The access log, in front of an application, and the log of whole servers as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kappa.server.http.access_log import AccessLog
from kappa.server.http.app import create_app

APIS: Any = {
    "/predict": SimpleNamespace(
        endpoint=SimpleNamespace(service=SimpleNamespace(name="Iris"), spec=SimpleNamespace(name="predict"))
    )
}


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    kept: list[logging.LogRecord] = []
    handler, logger = logging.Handler(), logging.getLogger("kappa.access")
    handler.emit = kept.append  # type: ignore[assignment, method-assign] # as one of its own class would
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield kept
    logger.removeHandler(handler)
    logger.setLevel(before)


def ask(app: Any, path: str = "/predict", **scope: Any) -> None:
    async def send(_: Any) -> None:
        """Nobody reads it."""

    whole = {"type": "http", "method": "POST", "path": path, "headers": [], "client": ("10.0.0.1", 5), **scope}
    asyncio.run(AccessLog(app, APIS)(whole, None, send))


async def hello(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 201, "headers": [(b"X-Request-Id", b"id-1")]})
    await send({"type": "http.response.body", "body": b"hel", "more_body": True})
    await send({"type": "http.response.body", "body": b"lo"})


@pytest.mark.parametrize(("path", "api"), [("/predict", "predict"), ("/predict/", "predict"), ("/healthz", None)])
def test_a_request_is_one_line_with_its_id_and_duration(
    records: list[logging.LogRecord], path: str, api: str | None
) -> None:
    ask(hello, path, query_string=b"a=b", headers=[(b"user-agent", b"curl")])
    (record,) = records
    line = rf'10\.0\.0\.1 - - \[\S+ \+0000\] "POST {path}\?a=b HTTP/1\.1" 201 5 "-" "curl" id-1 \d+\.\dms'
    assert re.fullmatch(line, record.getMessage())
    fields = vars(record)
    assert {key: fields[key] for key in ("client", "method", "path", "status", "bytes", "request_id")} == {
        "client": "10.0.0.1", "method": "POST", "path": path, "status": 201, "bytes": 5, "request_id": "id-1"
    }  # fmt: skip
    assert fields["duration_ms"] >= 0
    assert (fields.get("api"), fields.get("service")) == (api, "Iris" if api else None)


def test_a_client_that_left_and_a_failure_are_logged(records: list[logging.LogRecord]) -> None:
    async def leave(*_: Any) -> None:
        """Answer nothing."""

    async def fail(*_: Any) -> None:
        raise RuntimeError

    ask(leave)
    with pytest.raises(RuntimeError):
        ask(fail)
    assert [(vars(record)["status"], vars(record)["request_id"]) for record in records] == [(499, None)] * 2


def test_no_client_writes_a_line_of_its_own(records: list[logging.LogRecord]) -> None:
    hostile = "x\n2026 INFO forged\x1b[31m\x85\u2028"
    headers = [(name, hostile.encode()) for name in (b"user-agent", b"referer")]
    ask(hello, f"/{hostile}", headers=headers, query_string=b'q"')
    (record,) = records
    assert record.getMessage().isprintable()
    assert record.getMessage().count('"') == 6
    assert vars(record)["path"].isprintable()


def test_nothing_of_it_costs_anything_where_it_was_not_asked_for() -> None:
    plain, logged = create_app([]), create_app([], has_access_log=True)
    assert (plain.current.log, isinstance(plain.current.app, AccessLog)) == (None, False)
    assert logged.current.app is logged.current.log


# -- whole servers -----------------------------------------------------------------------------------------------------

HANDLERS = """
import logging, warnings

log = logging.getLogger("mine")


def predict(values):
    log.debug("much")
    log.info("asked %d", len(values), extra={"rows": len(values)})
    warnings.warn("careful")
    if 0 in values:
        raise RuntimeError("zero")
    return values
"""
KAPPAFILE = """
kappafile = 1
[service]
name = "Logs"
[apis.predict]
function = "handlers:predict"
input = "json"
batch = true
"""
SERVE = """
from kappa.actions.serving import served_project
from kappa.server.process.launch import {serve} as serve
from kappa.server.options import ServerOptions
serve([served_project(".")], ServerOptions(host="127.0.0.1", port=0, access_log=True, {options}))
"""
COMMANDS = {
    "gunicorn": [sys.executable, "-c", SERVE.format(serve="serve_gunicorn", options="log_format='json'")],
    "uvicorn": [sys.executable, "-c", SERVE.format(serve="serve_uvicorn", options="log_format='json'")],
    "project": [sys.executable, "-m", "kappa", "serve", ".", "--host", "127.0.0.1", "--port", "0", "--access-log"],
}


def post(port: str, body: bytes, request_id: str) -> None:
    headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, headers)
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as exc:
        exc.close()


@pytest.mark.engine
@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
@pytest.mark.parametrize("server", COMMANDS)
def test_every_line_of_a_server_is_an_object_that_knows_its_request(tmp_path: Path, server: str) -> None:
    (tmp_path / "handlers.py").write_text(HANDLERS, encoding="utf-8")
    (tmp_path / "kappafile.toml").write_text(KAPPAFILE, encoding="utf-8")
    environ = {**os.environ, "KAPPA_SERVER__LOG_FORMAT": "json"}
    out = tmp_path / "out"
    with out.open("wb") as stdout:
        process = subprocess.Popen(
            COMMANDS[server], stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environ
        )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        for line in process.stderr:
            lines.append(line)
            if "Ready" in line:
                break
        found = re.search(r"127\.0\.0\.1:(\d+)", "".join(lines))
        assert found is not None, lines
        post(found[1], b"1", "good")
        post(found[1], b"0", "bad")
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=30)
    log = [json.loads(line) for line in [*lines, *rest.splitlines()]]
    for line in log:
        assert line.keys() >= {"time", "level", "logger", "message"}
    said = [(line["message"], line["request_id"]) for line in log if line["logger"] == "mine"]
    assert said == [("asked 1", "good"), ("asked 1", "bad")]
    (failure,) = [line for line in log if line["level"] == "error"]
    assert failure["request_id"] == "bad"
    assert failure["exception"].endswith("RuntimeError: zero")
    assert [line["request_id"] for line in log if line["logger"] == "py.warnings"] == ["good"]
    asked = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(line["request_id"], line["status"], line["api"], line["method"], line["path"]) for line in asked] == [
        ("good", 200, "predict", "POST", "/predict"),
        ("bad", 500, "predict", "POST", "/predict"),
    ]
    assert all(line["duration_ms"] > 0 for line in asked)
