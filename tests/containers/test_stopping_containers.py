"""`docker stop` under load: every request that a worker had accepted is answered."""

from __future__ import annotations

import http.client
import re
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from tests.containers.engines import CODE, Container, Door, build, write_project
from tests.eventually import eventually

pytestmark = [pytest.mark.engine, pytest.mark.index]

TELLING = CODE.replace(
    "def slow(value):\n", "def slow(value):\n    print(f\"began {value['id']}.\", file=sys.stderr, flush=True)\n"
).replace("import os\n", "import os\nimport sys\n")
"""The service says which requests reached it."""


class Load:
    """Clients that ask one slow request after the other, each on a new connection, until the server is gone."""

    def __init__(self, container: Container, clients: int) -> None:
        self.container = container
        self.numbers = count(1)
        self.answered: set[int] = set()
        self.wrong: list[tuple[int, int]] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _ask(self) -> None:
        for number in self.numbers:
            with suppress(OSError, http.client.HTTPException):
                status, answer = self.container.request("POST", "/slow", {"id": number, "seconds": 0.05})
                if (status, answer) == (200, {"id": number, "seconds": 0.05}):
                    self.answered.add(number)
                else:
                    self.wrong.append((number, status))
                continue
            if self.stopping.is_set():
                return

    def finish(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(30)


@pytest.fixture(scope="session")
def telling(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("telling")
    return build(write_project(folder / "project", code=TELLING), folder / "bundle", KAPPA_HOME=str(shared / "home"))


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_that_a_worker_began_are_answered_before_the_container_ends(
    docker: Door, telling: Path, workers: int
) -> None:
    docker.containerize(telling, "--tag", "telling")
    _stop_under_load(docker, "telling", workers)


def test_podman_stops_the_same_way(podman: Door, telling: Path) -> None:
    podman.containerize(telling, "--tag", "telling")
    _stop_under_load(podman, "telling", workers=1)


def _stop_under_load(door: Door, image: str, workers: int) -> None:
    with door.running(image, command=("--workers", str(workers))) as container:
        load = Load(container, clients=8)
        eventually(lambda: len(load.answered) > 20)
        load.stopping.set()
        door.ask("stop", "--time", "30", container.id)
        load.finish()
        began = {int(number) for number in re.findall(r"began (\d+)\.", container.logs())}  # lines of two may mix
        state = container.state()
    assert len(began) > 20
    assert began - load.answered == set()
    assert [status for _, status in load.wrong if status != 503] == []
    assert state["ExitCode"] == 0
