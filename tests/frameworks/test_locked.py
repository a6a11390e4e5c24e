"""Models of every framework on the page, served from an environment that has what the bundle's lock names alone.

The environment is made by the steps that an image takes. The server has two workers, and many clients ask it at once.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kappa import __version__
from tests.server.conftest import Running
from tests.test_how_to_frameworks import FRAMEWORKS, run, write_project

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.timeout(1800)]  # some hundred MB are installed

_AREAS = range(50, 230, 15)


def _flats(*districts: str) -> list[Any]:
    return [[{"area": float(area), "district": district}] for area in _AREAS for district in districts]


_ROOMS = [[{"area": float(area), "rooms": rooms}] for area in _AREAS for rooms in (2, 5)]
_TRIPLES = [[[float(number), number / 2, -1.0]] for number in range(24)]
_POINTS = [[[number / 4, 6.0 - number / 4]] for number in range(24)]

ASKED: Mapping[str, Sequence[Any]] = {
    "Arrays, tables and files": _POINTS,
    "CatBoost": _flats("north", "south"),
    "H2O": _flats("north", "south"),
    "Keras": _TRIPLES,
    "LightGBM": _ROOMS,
    "MLflow": _ROOMS,
    "ONNX": _TRIPLES,
    "PySpark": _flats("n", "s"),
    "PyTorch": _TRIPLES,
    "TensorFlow": _TRIPLES,
    "Transformers": [f"{'good ' * good}{'bad ' * (3 - good)}day" for good in range(4)] * 3,
    "skops": _ROOMS,
    "spaCy": [f"{'A train ' * number}to Ulm." for number in range(12)],
    "statsmodels": [*range(1, 13)],
}
"""What is asked of the model of each framework: one body for each request."""


class Served:
    """A server of a bundle, and what the model answered before it was built."""

    def __init__(self, server: Running, path: str, requests: Sequence[Any], before: Sequence[Any]) -> None:
        self.server, self.path, self.requests, self.before = server, path, requests, before

    def ask(self, request: Any) -> Any:
        kind = "text/plain; charset=utf-8" if isinstance(request, str) else "application/json"
        status, answer, _ = self.server.request("POST", self.path, body_of(request).encode(), Content_Type=kind)
        assert status == 200, answer
        return json.loads(answer)


@pytest.fixture(scope="module", params=FRAMEWORKS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("locked")
    project, bundle, environment = folder / "project", folder / "bundle", folder / "environment"
    command, _ = write_project(request.param, project)
    api, requests = shlex.split(command)[3], ASKED[request.param]
    printed = run(project, "-m", "kappa", "run", ".", api, "--input", *map(body_of, requests))
    before = [json.loads(line) for line in printed.splitlines()]
    run(project, "-m", "kappa", "build", "--output", str(bundle))
    shutil.rmtree(project)
    install(bundle, environment)
    serve = ("serve-gunicorn", str(bundle), "--host", "127.0.0.1", "--port", "0", "--workers", "2")
    running = Running([str(environment / "bin" / "kappa"), *serve])
    try:
        running.wait_for("Ready.", times=2, timeout_s=300)
        yield Served(running, f"/{api}", requests, before)
    finally:
        code, text = running.stop()
        assert running.process.stderr is not None
        running.process.stderr.close()
        shutil.rmtree(folder)
    assert code == 0, text


def body_of(request: Any) -> str:
    return request if isinstance(request, str) else json.dumps(request)


def install(bundle: Path, environment: Path) -> None:
    """Make the environment as an image has it, and check that it has the lock, Kappa, and nothing else."""
    steps = ("ensure_python", "install_pip_packages", "install_kappa")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", bundle / "kappa-init.sh", *steps],
        env={**os.environ, "KAPPA_VENV": str(environment), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    python = str(environment / "bin" / "python3")
    listed = run(bundle, "-m", "pip", "--python", python, "list", "--format=json")
    installed = {f"{name_of(one['name'])}=={one['version']}" for one in json.loads(listed)}
    lines = (bundle / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert installed <= {line.split(" ")[0] for line in lines if "==" in line} | {f"kappa-ml=={__version__}"}


def name_of(distribution: str) -> str:
    return distribution.lower().replace("_", "-").replace(".", "-")


def test_it_answers_as_the_model_did_where_it_was_trained(served: Served) -> None:
    assert_close([served.ask(request) for request in served.requests], served.before)
    assert len({json.dumps(answer) for answer in served.before}) > 1


def test_requests_at_the_same_time_get_their_own_answers(served: Served) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(served.ask, [*served.requests] * 3))
    assert_close(answers, [*served.before] * 3)


def assert_close(answers: Any, expected: Any) -> None:
    """Check that answers are the same but for how a batch rounds."""
    if isinstance(expected, dict):
        assert answers.keys() == expected.keys()
        for name, value in expected.items():
            assert_close(answers[name], value)
    elif isinstance(expected, list):
        assert len(answers) == len(expected)
        for answer, value in zip(answers, expected, strict=True):
            assert_close(answer, value)
    elif isinstance(expected, float):
        assert np.isclose(answers, expected, rtol=1e-5, atol=1e-7)
    else:
        assert answers == expected
