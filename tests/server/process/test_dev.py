"""The server for a project that is edited."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually

pytestmark = pytest.mark.engine


def value(number: int) -> str:
    return f"def value(anything):\n    return {number}\n"


def edit(tmp_path: Path, code: str) -> None:
    (tmp_path / "handlers.py").write_text(code, encoding="utf-8")


def has_value(server: Any, number: int) -> bool:
    return bool(server.post("/value", 0) == number)


def test_an_edit_is_served_without_one_failed_request(start: Any, tmp_path: Path) -> None:
    server = start(value(1), single=["value"], edited=True, ready=False)
    server.wait_for("Ready after")
    assert server.post("/value", 0) == 1
    for number in (2, 3):
        edit(tmp_path, value(number))
        eventually(partial(has_value, server, number))
    code, log = server.stop(signal.SIGINT)
    assert code == 0
    assert log.count("`handlers.py` changed.") == 2
    assert "Traceback" not in log


def test_what_cannot_be_loaded_is_shown_and_the_last_good_state_stays(start: Any, tmp_path: Path) -> None:
    server = start(value(1), single=["value"], edited=True, ready=False)
    server.wait_for("Ready after")
    edit(tmp_path, "def value(")
    server.wait_for("The last good state is still served. Waiting for the next edit.")
    assert "SyntaxError: '(' was never closed (handlers.py, line 1)" in "".join(server.lines)
    assert server.post("/value", 0) == 1
    eventually(lambda: len(children_of(server.process.pid)) == 2)  # a spare one waits for the remedy
    edit(tmp_path, value(2))
    eventually(lambda: server.post("/value", 0) == 2)


def test_a_project_that_cannot_be_loaded_at_first_is_served_once_it_can(start: Any, tmp_path: Path) -> None:
    server = start("import nowhere", single=["value"], edited=True, ready=False)
    server.wait_for("Nothing is served. Waiting for the next edit.")
    for method, path in (("POST", "/value"), ("GET", "/readyz"), ("GET", "/")):
        status, body, headers = server.request(method, path, b"0")
        assert (status, headers["retry-after"]) == (503, "1")
        assert "No module named 'nowhere'" in json.loads(body)["error"]
        assert json.loads(body)["error"].endswith("Nothing is served. Waiting for the next edit.")
    status, body, headers = server.request("GET", "/", Accept="text/html")
    assert (status, headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "No module named &#x27;nowhere&#x27;" in body.decode()
    assert server.request("GET", "/healthz")[:2] == (200, b"ok\n")
    assert server.request("HEAD", "/value")[:2] == (503, b"")
    edit(tmp_path, value(1))
    server.wait_for("Ready after")
    assert server.post("/value", 0) == 1


def test_files_that_the_code_imports_are_watched_too(start: Any, tmp_path: Path) -> None:
    (tmp_path / "numbers_of_handlers.py").write_text("N = 1\n", encoding="utf-8")
    code = "from numbers_of_handlers import N\ndef value(anything):\n    return N\n"
    server = start(code, single=["value"], edited=True, ready=False)
    server.wait_for("Ready after")
    assert server.post("/value", 0) == 1
    (tmp_path / "numbers_of_handlers.py").write_text("N = 2\n", encoding="utf-8")
    eventually(lambda: server.post("/value", 0) == 2)


def test_variables_are_there_before_the_code_is_imported_after_an_edit_too(start: Any, tmp_path: Path) -> None:
    code = "import os\nV = os.environ['KAPPA_TEST_VARIABLE']\ndef value(anything):\n    return V\n"
    spec = {"env": {"variables": {"KAPPA_TEST_VARIABLE": "set"}}}
    server = start(code, single=["value"], edited=True, ready=False, spec=spec)
    server.wait_for("Ready after")
    assert server.post("/value", 0) == "set"
    edit(tmp_path, code.replace("return V", "return V + '!'"))
    eventually(lambda: server.post("/value", 0) == "set!")


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_process_is_left_behind(start: Any, with_signal: signal.Signals) -> None:
    server = start(value(1), single=["value"], edited=True, ready=False)
    server.wait_for("Ready after")
    eventually(lambda: len(children_of(server.process.pid)) == 2)  # the one that serves, and the spare one
    children = children_of(server.process.pid)
    os.kill(server.process.pid, with_signal)
    server.end()
    eventually(lambda: not any(is_alive(child) for child in children))


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_server_process_that_dies_is_started_with_the_next_edit(start: Any, tmp_path: Path) -> None:
    code = "import os\ndef value(anything):\n    os._exit(5) if anything else None\n    return 1\n"
    server = start(code, single=["value"], edited=True, ready=False)
    server.wait_for("Ready after")
    with pytest.raises(ConnectionError):
        server.post("/value", 1)
    server.wait_for("The server process ended with exit code 5. It is started again with the next edit.")
    edit(tmp_path, value(2))
    eventually(lambda: answer_or_none(server) == 2)


def answer_or_none(server: Any) -> Any:
    status, body, _ = server.request("POST", "/value", b"0")
    return json.loads(body) if status == 200 else None


def test_an_edit_that_breaks_the_project_as_soon_as_it_is_ready_changes_nothing(start: Any, tmp_path: Path) -> None:
    server = start(value(1), single=["value"], edited=True, ready=False)
    server.wait_for("Serving")
    eventually(lambda: server.request("GET", "/readyz")[0] == 200)
    edit(tmp_path, "def value(")
    server.wait_for("The last good state is still served. Waiting for the next edit.")
    assert server.post("/value", 0) == 1


def test_until_the_first_state_is_loaded_it_is_said_so(start: Any, tmp_path: Path) -> None:
    code = (
        "import time\nfrom pathlib import Path\n"
        "while not Path(__file__).with_name('go').exists():\n    time.sleep(0.01)\n" + value(1)
    )
    server = start(code, single=["value"], edited=True, ready=False)
    server.wait_for("Serving")
    status, body, _ = server.request("GET", "/readyz")
    assert (status, json.loads(body)["error"]) == (503, "The project is being loaded; try again.")
    (tmp_path / "go").touch()
    server.wait_for("Ready after")
    assert server.post("/value", 0) == 1


def test_clients_that_say_nothing_hold_no_edit_up(start: Any, tmp_path: Path) -> None:
    server = start("import nowhere", single=["value"], edited=True, ready=False)
    server.wait_for("Waiting for the next edit.")
    with server.connect(), server.connect() as client:
        client.sendall(b"POST /value HTTP/1.1\r\nContent-Length: 1000000\r\n")
        edit(tmp_path, value(1))
        eventually(lambda: answer_or_none(server) == 1)


def test_failures_of_functions_are_shown_to_whoever_writes_them(start: Any) -> None:
    code = "def value(anything):\n    raise LookupError('the cellar is empty')\n"
    server = start(code, single=["value"], edited=True, ready=False)
    server.wait_for("Ready after")
    status, body, _ = server.request("POST", "/value", b"0")
    assert status == 500
    assert json.loads(body)["error"].startswith("The service failed to answer: LookupError: the cellar is empty.")


def test_pages_of_other_sites_are_refused(start: Any) -> None:
    server = start(value(1), single=["value"], edited=True, ready=False)
    server.wait_for("Ready after")
    simple = {"Content_Type": "text/plain", "Origin": "https://evil.example.com"}
    status, body, _ = server.request("POST", "/value", b"0", **simple)
    assert (status, "`kappa serve --cors-origin`" in json.loads(body)["error"]) == (403, True)
    assert server.request("POST", "/value", b"0", Origin=f"http://127.0.0.1:{server.port}")[0] == 200
