"""The clients against a real server, over sockets."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

import kappa
from kappa.errors import AnswerError, InferenceFailedError

pytestmark = pytest.mark.engine

SOURCE = """\
import time
import kappa
from kappa.adapters import DataframeInput, DataframeOutput, NdarrayInput, NdarrayOutput

class Echo(kappa.BentoService):
    @kappa.api(input=DataframeInput(), output=DataframeOutput(), batch=True)
    def frame(self, frame):
        return frame

    @kappa.api(input=NdarrayInput(), output=NdarrayOutput(), batch=True)
    def array(self, array):
        return array * 2

    @kappa.api(input=NdarrayInput(), batch=True, max_latency_ms=1)
    def slow(self, array):
        time.sleep(0.2)
        return array
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo_of_clients.py").write_text(SOURCE, encoding="utf-8")
    sys.path.insert(0, str(folder))
    service = importlib.import_module("echo_of_clients").Echo()
    yield service.start_dev_server(0)
    service.stop_dev_server()
    sys.path.remove(str(folder))
    del sys.modules["echo_of_clients"]


FRAME = pd.DataFrame({"at": pd.to_datetime(["2026-01-02", "2026-01-03"]), "n": [1, 2], "x": [0.5, np.nan]})


def test_frames_and_arrays_go_there_and_back(url: str) -> None:
    with kappa.client(url) as client:
        assert client.is_ready()
        pd.testing.assert_frame_equal(client.frame(FRAME), FRAME)
        assert client.array(np.arange(6.0).reshape(2, 3)).tolist() == [[0, 2, 4], [6, 8, 10]]
        assert client.metadata()["name"] == "Echo"
        assert client.apis == ["frame", "array", "slow"]
        with pytest.raises(AnswerError, match="answered 400"):
            client.array("text")


def test_many_questions_are_asked_at_once_from_an_event_loop(url: str) -> None:
    async def ask() -> list[list[list[float]]]:
        async with kappa.async_client(url) as client:
            assert await client.is_ready()
            assert await client.apis() == ["frame", "array", "slow"]
            answers = await asyncio.gather(*(client.array(np.array([[float(n)]])) for n in range(50)))
            pd.testing.assert_frame_equal(await client.frame(FRAME), FRAME)
            return [answer.tolist() for answer in answers]

    assert asyncio.run(ask()) == [[[2.0 * n]] for n in range(50)]


def test_a_call_that_takes_too_long_ends(url: str) -> None:
    with kappa.client(url, timeout_s=0.05) as client, pytest.raises((InferenceFailedError, AnswerError)):
        client.slow([[1]])


def test_a_server_that_is_not_there_is_said(url: str) -> None:
    with kappa.client("http://127.0.0.1:9") as client:
        assert not client.is_ready()
        with pytest.raises(InferenceFailedError, match=r"Nothing listens at `http://127\.0\.0\.1:9`"):
            client.array([[1]])
