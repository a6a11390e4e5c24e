"""`start_dev_server` serves what is packed now from a process of its own, and leaves nothing behind."""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from kappa.bento import BentoService
from kappa.errors import ConfigurationError, InferenceFailedError, PortInUseError
from tests.eventually import eventually

pytestmark = [pytest.mark.engine, pytest.mark.skipif(os.name != "posix", reason="the production server is POSIX")]

SOURCE = """\
import kappa
from kappa.adapters import JsonInput
from kappa.frameworks.json import JSONArtifact

@kappa.artifacts([JSONArtifact("factor")])
@kappa.web_static_content("static")
class Multiplier(kappa.BentoService):
    @kappa.api(input=JsonInput())
    def times(self, value):
        return [value * self.artifacts.factor, self.artifacts["factor"].metadata["rows"], self.version]
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BentoService]:
    (tmp_path / "multiplier_of_dev_server.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "index.html").write_text("<h1>Mine</h1>", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    made: BentoService = importlib.import_module("multiplier_of_dev_server").Multiplier()
    yield made.pack("factor", 2, metadata={"rows": 3})
    made.stop_dev_server()
    sys.modules.pop("multiplier_of_dev_server", None)


def ask(url: str, value: int) -> object:
    with urlopen(Request(f"{url}/times", str(value).encode(), {"Content-Type": "application/json"})) as answer:
        return json.loads(answer.read())


def is_gone(url: str) -> bool:
    try:
        urlopen(f"{url}/healthz", timeout=1).close()
    except URLError:
        return True
    return False


def test_what_is_packed_is_served_until_it_is_stopped(service: BentoService) -> None:
    url = service.start_dev_server(0)
    assert ask(url, 21) == [42, 3, "development"]
    with urlopen(f"{url}/") as page:
        assert page.read() == b"<h1>Mine</h1>"
    service.stop_dev_server()
    assert is_gone(url)
    service.stop_dev_server()


def test_starting_again_serves_what_is_packed_now(service: BentoService) -> None:
    first = service.start_dev_server(0)
    service.pack("factor", 10, metadata={"rows": 4})
    second = service.start_dev_server(0)
    assert ask(second, 2) == [20, 4, "development"]
    assert is_gone(first)


def test_a_port_that_is_taken_is_passed_over_unless_it_was_asked_for(service: BentoService) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"Port {port} is already in use"):
            service.start_dev_server(port)
    urls = [service.start_dev_server(), type(service)().pack("factor", 3, metadata={"rows": 1}).start_dev_server()]
    assert urls[0] != urls[1]
    assert all(re.fullmatch(r"http://127\.0\.0\.1:50\d\d", url) for url in urls)


def test_a_service_that_cannot_be_loaded_says_why(service: BentoService, tmp_path: Path) -> None:
    (tmp_path / "multiplier_of_dev_server.py").write_text(f"{SOURCE}\n1 / 0\n", encoding="utf-8")
    with pytest.raises(InferenceFailedError, match=r"ZeroDivisionError: .* \(multiplier_of_dev_server\.py:12\)"):
        service.start_dev_server()


def test_a_service_that_is_not_packed_says_so_at_once(service: BentoService) -> None:
    with pytest.raises(ConfigurationError, match="The artifact `factor` has no model yet: pack it first"):
        type(service)().start_dev_server()


def test_the_server_ends_with_its_instance(service: BentoService) -> None:
    other = type(service)().pack("factor", 3, metadata={"rows": 1})
    url = other.start_dev_server(0)
    del other
    gc.collect()
    assert is_gone(url)


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_the_server_ends_with_the_program_however_that_ends(service: BentoService, tmp_path: Path, how: str) -> None:
    program = (
        "import sys, time; from multiplier_of_dev_server import Multiplier\n"
        "service = Multiplier().pack('factor', 2, metadata={'rows': 1})\n"
        "print(service.start_dev_server(0), flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        assert ask(url, 1) == [2, 1, "development"]
        if how == "kill":
            running.send_signal(signal.SIGKILL)
    eventually(lambda: is_gone(url))
