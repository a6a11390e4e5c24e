"""The master's part in a reload, with workers that this test plays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kappa.errors import BundleError, KappaError
from kappa.server.process.rollout import Rollout
from kappa.server.served import Served
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec


def version(name: str) -> Served:
    spec = ServiceSpec(
        name="Demo", apis=(ApiSpec(name="ask", target=FunctionTarget(function="handlers:ask"), input="json"),)
    )
    return Served(spec, name, lambda: pytest.fail("the master loads nothing"), directory=Path(name))


class Played:
    """Two workers, what they were told, and what is announced."""

    def __init__(self) -> None:
        self.found: Sequence[str] | KappaError = ["2"]
        self.reloads: dict[int, KappaError | None] = {}
        self.ready: dict[int, Any] = {1: {}, 2: {}}
        self.wanted: list[Path] = []
        self.has_passed = False
        self.told: list[tuple[int, str]] = []
        self.announced: list[Any] = []
        this: Any = self  # it plays both: the folder that workers write to, and the report of a start
        self.rollout = Rollout(
            [version("1")],
            this,
            this,
            port=5000,
            find=self.find,
            tell=self.tell,
        )

    def find(self) -> list[Served]:
        if isinstance(self.found, KappaError):
            raise self.found
        return [version(name) for name in self.found]

    def tell(self, pid: int) -> None:
        self.told.append((pid, f"{self.wanted[0]}{' again' if self.has_passed else ''}"))

    def want(self, directories: list[Path], *, have_passed: bool = False) -> None:
        self.wanted, self.has_passed = directories, have_passed

    def announce(self, announcement: Any) -> None:
        self.announced.append((announcement.reloads, announcement.state, announcement.services))

    def says(self, pid: int, error: KappaError | None = None, *, workers: Sequence[int] = (1, 2)) -> None:
        self.reloads[pid] = error
        self.rollout.look(set(workers))


@pytest.fixture
def played() -> Played:
    return Played()


def test_one_worker_reloads_after_the_other(played: Played) -> None:
    played.rollout.look({1, 2})
    assert played.told == []
    played.rollout.begin()
    played.rollout.look({1, 2})
    played.rollout.look({1, 2})
    assert played.told == [(1, "2")]
    played.says(1)
    assert played.told == [(1, "2"), (2, "2")]
    assert [served.version for served in played.rollout.services] == ["1"]
    played.says(2)
    assert [served.version for served in played.rollout.services] == ["2"]
    assert played.announced == [
        (0, "none", ("Demo:1",)),
        (1, "running", ("Demo:1",)),
        (1, "done", ("Demo:2",)),
    ]


def test_workers_that_had_reloaded_go_back_when_one_cannot(played: Played) -> None:
    played.rollout.begin()
    played.rollout.look({1, 2})
    played.says(1)
    played.says(2, BundleError("It does not fit into memory."))
    assert played.told == [(1, "2"), (2, "2"), (1, "1 again")]
    played.says(1)
    assert played.announced[-1] == (1, "failed", ("Demo:1",))
    assert [served.version for served in played.rollout.services] == ["1"]


def test_a_worker_that_starts_once_another_was_ready_loads_what_has_passed(played: Played) -> None:
    assert [served.has_passed for served in played.rollout.services] == [True]
    played.ready.clear()
    assert [served.has_passed for served in played.rollout.services] == [False]


def test_a_worker_that_dies_while_it_reloads_is_a_failure(played: Played) -> None:
    played.rollout.begin()
    played.rollout.look({1, 2})
    played.rollout.look({2})
    assert played.announced[-1] == (1, "failed", ("Demo:1",))
    assert played.told == [(1, "2")]


def test_a_worker_that_started_meanwhile_reloads_too(played: Played) -> None:
    played.rollout.begin()
    played.rollout.look({1, 2})
    played.says(1, workers=(1, 2, 3))
    played.says(2, workers=(1, 2, 3))
    played.says(3, workers=(1, 2, 3))
    assert played.told == [(1, "2"), (2, "2"), (3, "2")]
    assert played.announced[-1] == (1, "done", ("Demo:2",))


def test_a_bundle_that_is_not_there_asks_no_worker(played: Played) -> None:
    played.found = BundleError("There is no bundle.")
    played.rollout.begin()
    played.rollout.look({1, 2})
    assert (played.told, played.announced[-1]) == ([], (1, "failed", ("Demo:1",)))


def test_a_reload_asked_for_during_another_follows_it(played: Played) -> None:
    played.rollout.begin()
    played.rollout.look({1})
    played.found = ["3"]
    played.rollout.begin()
    played.says(1, workers=(1,))
    played.rollout.look({1})
    played.says(1, workers=(1,))
    assert played.told == [(1, "2"), (1, "3")]
    assert played.announced[-1] == (2, "done", ("Demo:3",))
