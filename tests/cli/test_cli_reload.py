"""`kappa reload` against a real server, while clients ask it."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from tests.eventually import eventually

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
]

Kappa = Callable[..., Result]
MakeBundle = Callable[..., Path]


class Server:
    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        command = [sys.executable, "-m", "kappa", *arguments, "--host", "127.0.0.1", "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []

    def wait_for(self, text: str, *, times: int = 1) -> None:
        assert self.process.stderr is not None
        while sum(text in line for line in self.lines) < times:
            line = self.process.stderr.readline()
            assert line, "".join(self.lines)
            self.lines.append(line)

    @property
    def port(self) -> int:
        found = re.search(r"http://127\.0\.0\.1:(\d+)", "".join(self.lines))
        assert found is not None
        return int(found[1])


@contextmanager
def serving(*arguments: str, workers: int, log: Path) -> Iterator[Server]:
    server = Server(log, *arguments, "--workers", str(workers))
    try:
        server.wait_for("Ready.", times=workers)
        yield server
        server.process.send_signal(signal.SIGTERM)
        _, rest = server.process.communicate(timeout=60)
        assert (server.process.returncode, "Traceback" in rest) == (0, False), rest
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


@contextmanager
def asked_all_the_time(port: int, *, clients: int = 8) -> Iterator[list[Counter[object]]]:
    """Ask over keep-alive connections from several threads; yields what each one was answered, by value."""
    is_over = threading.Event()
    answers: list[Counter[object]] = [Counter() for _ in range(clients)]

    def ask(seen: Counter[object]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            while not is_over.is_set():
                connection.request("POST", "/scale", b"2", {"Content-Type": "application/json"})
                answer = connection.getresponse()
                seen[json.loads(answer.read()) if answer.status == 200 else f"status {answer.status}"] += 1
        except OSError as exc:
            seen[repr(exc)] += 1
        connection.close()

    threads = [threading.Thread(target=ask, args=(seen,)) for seen in answers]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def await_more(answers: list[Counter[object]], *, than: list[int]) -> None:
    """Wait until each client has had twenty more answers than it had."""
    eventually(
        lambda: all(seen.total() >= 20 + count for seen, count in zip(answers, than, strict=True)), why=lambda: answers
    )


@pytest.fixture
def make_next(project: Path, make_bundle: MakeBundle, kappa_home: Path) -> Callable[..., Path]:
    """Return a function that puts another version into the store, with other code in a module of the same name.

    Its examples expect the new answers, or with ``is_good=False`` the old ones.
    """

    def make(version: str, *, replacing: tuple[str, str], is_good: bool = True) -> Path:
        if is_good:
            declared = project / "kappafile.toml"
            text = re.sub("^(expect|tolerance) = .*$", "", declared.read_text(encoding="utf-8"), flags=re.MULTILINE)
            declared.write_text(text, encoding="utf-8")
        source = next(project.glob("*.py"))
        source.write_text(source.read_text(encoding="utf-8").replace(*replacing), encoding="utf-8")
        created = f"2026-01-02T03:05:0{version[0]}Z"
        return make_bundle(kappa_home / "repository" / "Scaler" / version, version=version, created=created)

    return make


every_server = pytest.mark.parametrize(
    ("command", "workers"),
    [
        pytest.param(["serve-gunicorn"], 1, id="one"),
        pytest.param(["serve-gunicorn"], 2, id="two"),
        pytest.param(["serve", "--server", "uvicorn"], 1, id="uvicorn"),
    ],
)


@every_server
def test_a_new_version_is_brought_to_all_workers_without_a_failed_request(
    kappa: Kappa, bundle: Path, make_next: Callable[..., Path], tmp_path: Path, command: list[str], workers: int
) -> None:
    with serving(*command, "Scaler:latest", workers=workers, log=tmp_path / "log") as server:
        with asked_all_the_time(server.port) as answers:
            await_more(answers, than=[0] * len(answers))
            make_next("2.0", replacing=('"offset": 1', '"offset": 7'))
            done = kappa("reload", "--port", server.port)
            assert (done.exit_code, done.stdout) == (0, "Scaler:2.0\n")
            before = [seen.total() for seen in answers]
            await_more(answers, than=before)
        assert {value for seen in answers for value in seen} == {21, 27}
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for path, expected in (("/metadata", b'"2.0"'), ("/readyz", b"ready")):
            connection.request("GET", path)
            assert expected in connection.getresponse().read()
        connection.close()


def test_a_version_that_cannot_be_loaded_changes_nothing(
    kappa: Kappa, bundle: Path, make_next: Callable[..., Path], tmp_path: Path
) -> None:
    with serving("serve-gunicorn", "Scaler:latest", workers=2, log=tmp_path / "log") as server:
        with asked_all_the_time(server.port, clients=4) as answers:
            make_next("2.0", replacing=('return {"offset": 1}', 'raise OSError("no database")'))
            failed = kappa("reload", "--port", server.port)
            assert failed.exit_code == 9
            assert "The server stays with Scaler:1.0: `setup`" in failed.stderr
            assert "no database" in failed.stderr
        assert {value for seen in answers for value in seen} == {21}

        shutil.rmtree(bundle.parent / "2.0")
        make_next("3.0", replacing=('raise OSError("no database")', 'return {"offset": 9}'))
        assert kappa("reload", "--port", server.port).stdout == "Scaler:3.0\n"


@every_server
def test_a_version_that_fails_its_examples_changes_nothing(
    kappa: Kappa, bundle: Path, make_next: Callable[..., Path], tmp_path: Path, command: list[str], workers: int
) -> None:
    with serving(*command, "Scaler:latest", workers=workers, log=tmp_path / "log") as server:
        with asked_all_the_time(server.port, clients=4) as answers:
            make_next("2.0", replacing=('"offset": 1', '"offset": 7'), is_good=False)
            failed = kappa("reload", "--port", server.port)
            assert (failed.exit_code, failed.stdout) == (9, "")
            assert failed.stderr == (
                "error: The server stays with Scaler:1.0: `Scaler` fails 2 of its 2 examples, so it is not served. "
                "Mend it, or start the server with `--examples warn`.\n"
                "FAILED  scale: a number\n"
                "        the answer: expected 21, got 27\n"
                "FAILED  scale: a file\n"
                "        the answer: expected 31.0, got 37, 6 apart where 0.5 is allowed\n"
            )
        assert {value for seen in answers for value in seen} == {21}
        shutil.rmtree(bundle.parent / "2.0")
        make_next("3.0", replacing=('"offset": 7', '"offset": 9'))
        assert kappa("reload", "--port", server.port).stdout == "Scaler:3.0\n"


def test_without_a_server_there_is_nothing_to_reload(kappa: Kappa) -> None:
    result = kappa("reload", "--port", "1")
    assert result.exit_code == 2
    assert "No server that could reload was found on port 1" in result.stderr
