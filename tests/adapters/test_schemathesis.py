"""Schemathesis, which makes requests from a service's own OpenAPI document, finds no 500 and no undocumented answer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.every_adapter import write_project
from tests.eventually import eventually

pytestmark = pytest.mark.engine

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
"""All that hold for any API; what a schema cannot say of tables, pictures and forms, the adapter refuses with a 4xx."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    write_project(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "kappa", "serve", str(tmp_path), "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/readyz", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    def is_ready() -> bool:
        assert server.poll() is None, "the server ended"
        urllib.request.urlopen(url, timeout=60).close()
        return True

    eventually(is_ready)


def test_no_request_made_from_the_document_finds_a_500_or_an_undocumented_answer(url: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            *("run", f"{url}/docs.json", "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
            *("--max-examples", "40", "--seed", "1", "--continue-on-failure", "--warnings", "off", "--no-color"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert "Failures" not in done.stdout
