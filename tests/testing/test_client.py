from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kappa.errors import BundleError, BundleNotFoundError
from kappa.testing import client

KAPPAFILE = """\
kappafile = 1
[service]
name = "Doubler"
teardown = "doubler_of_test_client:note"
[apis.double]
function = "doubler_of_test_client:double"
input = "json"
batch = true
"""

SOURCE = """\
from pathlib import Path

def double(values, tasks):
    for value, task in zip(values, tasks):
        if value < 0:
            task.discard("negative")
    return [2 * value for value in values if value >= 0]

def note():
    Path(__file__).with_name("closed").touch()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "kappafile.toml").write_text(KAPPAFILE, encoding="utf-8")
    (tmp_path / "doubler_of_test_client.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("doubler_of_test_client", None)


def test_requests_go_through_the_whole_application(project: Path) -> None:
    with client(project) as asking:
        answer = asking.post("/double", json=21)
        assert (answer.status_code, answer.json, answer.headers["content-type"]) == (200, 42, "application/json")
        assert asking.post("/double", body="3", headers={"X-Request-Id": "mine"}).headers["x-request-id"] == "mine"
        refused = asking.post("/double", json=-1, headers={"X-Request-Id": "mine"})
        assert (refused.status_code, refused.json) == (400, {"error": "negative", "request_id": "mine"})
        assert asking.get("/healthz").text == "ok\n"
        assert asking.get("/absent").status_code == 404
    assert (project / "closed").is_file()


def test_requests_of_several_threads_get_their_own_answers(project: Path) -> None:
    answers: dict[int, int] = {}

    with client(project) as asking:

        def ask(number: int) -> None:
            answers[number] = asking.post("/double", json=number).json

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: 2 * number for number in range(20)}


def test_a_service_that_cannot_be_loaded_raises_its_error(project: Path) -> None:
    (project / "doubler_of_test_client.py").write_text(SOURCE + "\n1 / 0\n", encoding="utf-8")
    with pytest.raises(BundleError, match="ZeroDivisionError"), client(project):
        pass


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="There is nothing at"), client(tmp_path / "absent"):
        pass
