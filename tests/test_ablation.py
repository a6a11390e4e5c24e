"""The mechanisms that the ablation benchmark takes away exist under the names that it uses, and can be done without."""

from __future__ import annotations

import random
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from kappa.server.batching.policy import Limits
from kappa.server.tuning.load import poisson
from kappa.server.tuning.simulator import Model, simulate

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


with patch.object(sys, "path", [str(BENCHMARKS), *sys.path]):
    MECHANISMS = runpy.run_path(str(BENCHMARKS / "ablation.py"))["MECHANISMS"]


@pytest.fixture
def taken_away() -> Iterator[None]:
    yield
    patch.stopall()


@pytest.mark.usefixtures("taken_away")
@pytest.mark.parametrize("name", MECHANISMS)
def test_an_api_answers_without_a_mechanism(name: str) -> None:
    _, take_away = MECHANISMS[name]
    take_away()
    arrivals = poisson(300.0, seconds=1.0, rng=random.Random(1))
    limits = Limits(16, max_latency_s=0.1)
    seen = simulate(Model(0.02, 0.001, 0.002, 0.0001), limits, arrivals, seconds=1.0, settle_s=0.0)
    assert len(seen.latencies) + seen.refused == seen.offered
    assert len(seen.latencies) > 200
