"""The event loop pauses while a function runs; who asks for the server's health is answered all the same."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from kappa.server.batching.constants import PAUSE_S
from kappa.server.batching.estimator import Estimate
from kappa.server.batching.placement import Placement, Placer
from kappa.server.http.app import create_app
from kappa.server.options import BatchingOptions
from kappa.server.parent import AwaitedStart
from kappa.server.served import Served
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec, ServingSpec
from tests.eventually import eventually_in_loop

CODE = """
import threading

begun, healthy = [], threading.Event()

def patient(values):
    begun.append(len(values))
    return [healthy.wait(60)] * len(values)

def quick(values):
    begun.append(len(values))
    return values
"""


class PausingPlacer(Placer):
    """Pauses the loop for every batch, as for a function of which that was learned."""

    def __init__(self) -> None:
        super().__init__(may_pause=True)
        self.usually_pauses = True

    def choose(self, items: int, *, is_suspect: bool, estimate: Estimate, now: float) -> tuple[Placement, float]:
        return "paused", PAUSE_S


@dataclass(frozen=True, slots=True)
class Pausing(BatchingOptions):
    def placer_of(self, serving: ServingSpec, *, is_loop_safe: bool, is_pause_safe: bool) -> Placer:
        return PausingPlacer()


Scenario = Callable[[falcon.testing.ASGIConductor, Any], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Scenario], None]]:
    """Play a scenario with a service whose API `/go` is a function of the code above, in batches of one."""
    (tmp_path / "pausing.py").write_text(CODE, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "pausing", raising=False)

    async def run(function: str, scenario: Scenario) -> None:
        target = FunctionTarget(function=f"pausing:{function}")
        api = ApiSpec(name="go", target=target, input="json", batch=True, max_batch_size=1)
        spec = ServiceSpec(name="P", apis=(api,))
        load = partial(load_service, ServiceSource.of_project(spec, {}, root=tmp_path))
        parent = AwaitedStart()
        app = create_app([Served(spec, "1", load)], batching=Pausing(), parent=parent)
        async with falcon.testing.ASGIConductor(app) as conductor:
            await asyncio.wait_for(parent.outcome, 60)
            await scenario(conductor, sys.modules["pausing"])

    yield lambda function, scenario: asyncio.run(run(function, scenario))
    sys.modules.pop("pausing", None)


def test_health_is_answered_before_a_function_that_waits_for_that(play: Callable[[str, Scenario], None]) -> None:
    """A pause has an end: else it would last as long as the function."""

    async def scenario(conductor: falcon.testing.ASGIConductor, code: Any) -> None:
        asked = asyncio.ensure_future(conductor.simulate_post("/go", body="1"))
        await eventually_in_loop(lambda: code.begun)
        health = await conductor.simulate_get("/healthz")
        code.healthy.set()
        assert health.status_code == 200
        assert (await asked).json is True

    play("patient", scenario)


def test_health_is_answered_between_two_batches_for_which_the_loop_pauses(
    play: Callable[[str, Scenario], None],
) -> None:
    """However many wait: else it would be answered when none is left."""

    async def scenario(conductor: falcon.testing.ASGIConductor, code: Any) -> None:
        asked = [asyncio.ensure_future(conductor.simulate_post("/go", body=str(number))) for number in range(40)]
        await eventually_in_loop(lambda: code.begun)
        health = await conductor.simulate_get("/healthz")
        begun = len(code.begun)
        assert health.status_code == 200
        assert [(await answer).json for answer in asked] == list(range(40))
        assert begun < len(code.begun) == 40

    play("quick", scenario)
