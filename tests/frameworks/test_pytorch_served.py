"""Modules of PyTorch in a bundle: built from files of every format, and asked at the same time by many."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.frameworks import torch_models
from tests.frameworks.torch_models import FORMATS, write
from tests.server.conftest import Running

pytestmark = [pytest.mark.engine, pytest.mark.torch]

ARTIFACT = """
[artifacts.{name}]
type = "pytorch"
path = "{path}"
{options}
[apis.{name}]
artifact = "{name}"
input = "ndarray"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve a module from a bundle, in each format that PyTorch writes."""
    project, bundle = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("built") / "bundle"
    (project / "nets.py").write_text(inspect.getsource(torch_models), encoding="utf-8")
    tables = ['kappafile = 1\n[service]\nname = "Nets"\n[security]\npickle = "allow"\n']
    for name in FORMATS:
        path = write(project, name)
        options = 'factory = "nets:linear"' if path.stem in ("weights", "legacy") else ""
        tables.append(ARTIFACT.format(name=api_of(name), path=name, options=options))
    (project / "kappafile.toml").write_text("".join(tables), encoding="utf-8")
    command = [sys.executable, "-m", "kappa"]
    build = [*command, "build", "--resolver", "installed", "--output", str(bundle)]
    done = subprocess.run(build, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for path in project.iterdir():
        path.unlink()
    running = Running([*command, "serve-gunicorn", str(bundle), "--host", "127.0.0.1", "--port", "0"])
    running.wait_for("Ready.")
    yield running
    running.stop()
    assert running.process.stderr is not None
    running.process.stderr.close()


def api_of(name: str) -> str:
    return name.replace(".", "_")


@pytest.mark.parametrize("name", FORMATS)
def test_requests_at_the_same_time_get_the_answers_that_each_gets_alone(name: str, server: Running) -> None:
    rows = [[float(number), number / 2, -1.0] for number in range(64)]
    expected = [[[first + last, second + last]] for first, second, last in rows]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda row: server.post(f"/{api_of(name)}", [row]), rows))
    assert answers == expected
