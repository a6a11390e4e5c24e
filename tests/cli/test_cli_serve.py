"""`kappa serve` and `kappa serve-gunicorn` as processes of their own, asked over HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.eventually import eventually

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
]

Kappa = Callable[..., Result]

WITHIN_S = 30.0


class Server:
    """A running `kappa serve…`: its port is known from the start-up line."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self.log = log
        with log.open("w", encoding="utf-8") as output:
            self.process = subprocess.Popen([sys.executable, "-m", "kappa", *arguments], stdout=output, stderr=output)
        self.port = self.wait_for(self.announced_port)

    def announced_port(self) -> int | None:
        found = re.search(r" at http://[^ ]+:(\d+) ", self.log.read_text(encoding="utf-8"))
        return int(found[1]) if found else None

    def wait_for(self, look: Callable[[], Any]) -> Any:
        def looked() -> Any:
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            return look()

        return eventually(looked, why=lambda: self.log.read_text(encoding="utf-8"))

    def ask(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=WITHIN_S) as response:
            return json.loads(response.read())

    def wait_until_ready(self, *, workers: int) -> None:
        self.wait_for(lambda: self.log.read_text(encoding="utf-8").count("Ready") >= workers)


@contextmanager
def serving(*arguments: str, log: Path) -> Iterator[Server]:
    server = Server([*arguments, "--host", "127.0.0.1", "--port", "0"], log)
    try:
        server.wait_until_ready(workers=2 if "2" in arguments else 1)
        yield server
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(WITHIN_S) == 0, log.read_text(encoding="utf-8")
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["serve"], id="serve"),
        pytest.param(["serve", "--server", "uvicorn"], id="serve-uvicorn"),
        pytest.param(["serve-gunicorn", "--workers", "2"], id="serve-gunicorn"),
        pytest.param(["serve", "--disable-microbatch"], id="without-batching"),
    ],
)
def test_a_bundle_is_served_until_it_is_asked_to_stop(bundle: Path, tmp_path: Path, arguments: list[str]) -> None:
    with serving(*arguments, "Scaler:latest", log=tmp_path / "log") as server:
        assert server.ask("/scale", 2) == 21
        assert server.ask("/metadata")["version"] == "1.0"
        with pytest.raises(urllib.error.HTTPError) as caught:
            server.ask("/scale", "two")
        with caught.value as answer:
            assert (answer.code, json.loads(answer.read())["error"]) == (400, "not a number")


def test_a_project_is_served_without_building_and_again_after_an_edit(project: Path, tmp_path: Path) -> None:
    with serving("serve", ".", log=tmp_path / "log") as server:
        assert server.ask("/scale", 2) == 21
        source = next(project.glob("*.py"))
        source.write_text(source.read_text(encoding="utf-8").replace('"offset": 1', '"offset": 7'), encoding="utf-8")
        server.wait_for(lambda: server.ask("/scale", 2) == 27)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


@pytest.mark.parametrize("command", ["serve", "serve-gunicorn"])
def test_a_port_in_use_exits_with_2_and_says_who_holds_it(
    kappa: Kappa, bundle: Path, taken_port: int, command: str
) -> None:
    arguments = ["-m", "kappa", command, "Scaler", "--host", "127.0.0.1", "--port", str(taken_port)]
    finished = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=WITHIN_S
    )
    assert (finished.returncode, finished.stdout) == (2, "")
    assert f"error: Port {taken_port} is already in use" in finished.stderr
    if sys.platform == "linux":
        assert f" by process {os.getpid()} (" in finished.stderr


def test_a_service_that_cannot_be_loaded_exits_with_its_own_code(bundle: Path) -> None:
    (bundle / "Scaler" / "artifacts" / "factor" / "content.json").write_text("[", encoding="utf-8")
    arguments = ["-m", "kappa", "serve", "Scaler", "--host", "127.0.0.1", "--port", "0"]
    finished = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=WITHIN_S
    )
    assert (finished.returncode, finished.stdout) == (4, "")
    assert "is not as it was built: `Scaler/artifacts/factor/content.json` was changed" in finished.stderr


def spoil(project: Path, old: str, new: str) -> None:
    source = next(project.glob("*.py"))
    source.write_text(source.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


SERVERS = [["serve-gunicorn", "--workers", "2"], ["serve"], ["serve", "--server", "uvicorn"]]


@pytest.mark.parametrize("arguments", SERVERS, ids=["two", "one", "uvicorn"])
def test_a_version_that_fails_its_examples_does_not_start(
    project: Path, make_bundle: Callable[..., Path], tmp_path: Path, arguments: list[str]
) -> None:
    spoil(project, '"offset": 1', '"offset": 7')
    directory = make_bundle(tmp_path / "bundle")
    command = [sys.executable, "-m", "kappa", *arguments, str(directory), "--host", "127.0.0.1", "--port", "0"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    assert finished.returncode == 9
    assert finished.stderr.endswith(
        "error: `Scaler` fails 2 of its 2 examples, so it is not served. "
        "Mend it, or start the server with `--examples warn`.\n"
        "FAILED  scale: a number\n"
        "        the answer: expected 21, got 27\n"
        "FAILED  scale: a file\n"
        "        the answer: expected 31.0, got 37, 6 apart where 0.5 is allowed\n"
    )
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("says", ["flag", "environment", "config"])
def test_the_operator_may_serve_it_all_the_same(
    project: Path,
    make_bundle: Callable[..., Path],
    kappa_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says: str,
) -> None:
    spoil(project, '"offset": 1', '"offset": 7')
    directory = make_bundle(tmp_path / "bundle")
    if says == "environment":
        monkeypatch.setenv("KAPPA_SERVER__EXAMPLES", "warn")
    elif says == "config":
        kappa_home.mkdir()
        (kappa_home / "config.yml").write_text("server: {examples: warn}\n", encoding="utf-8")
    flags = ["--examples", "warn"] if says == "flag" else []
    with serving("serve-gunicorn", str(directory), *flags, log=tmp_path / "log") as server:
        assert server.ask("/scale", 2) == 27
    assert "WARNING `Scaler` fails 2 of its 2 examples." in server.log.read_text(encoding="utf-8")


def test_a_project_with_an_example_that_fails_is_served_while_it_is_edited(project: Path, tmp_path: Path) -> None:
    spoil(project, '"offset": 1', '"offset": 7')
    with serving("serve", ".", log=tmp_path / "log") as server:
        assert server.ask("/scale", 2) == 27
    assert "WARNING `Scaler` fails 2 of its 2 examples." in server.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_worker_that_dies_is_replaced_though_an_example_fails_by_now(
    project: Path, make_bundle: Callable[..., Path], tmp_path: Path, workers: str
) -> None:
    flag = tmp_path / "backend"
    flag.touch()
    code = f'__import__("pathlib").Path({str(flag)!r}).exists() and {{"offset": 1}} or {{"offset": 5}}'
    spoil(project, '{"offset": 1}', code)
    directory = make_bundle(tmp_path / "bundle")
    with serving("serve-gunicorn", str(directory), "--workers", workers, log=tmp_path / "log") as server:
        assert server.ask("/scale", 2) == 21
        flag.unlink()
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        for child in children[:1]:
            os.kill(int(child), signal.SIGKILL)
        server.wait_until_ready(workers=int(workers) + 1)
    assert "WARNING `Scaler` fails 2 of its 2 examples." in server.log.read_text(encoding="utf-8")
