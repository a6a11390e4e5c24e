from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import Result

Kappa = Callable[..., Result]


@pytest.mark.engine
@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
def test_a_bundle_is_measured_simulated_and_given_advice(kappa: Kappa, bundle: Path, tmp_path: Path) -> None:
    plot = tmp_path / "curves.svg"
    found = kappa("tune", "Scaler:latest", "--seconds", "1", "--plot", plot, "--format", "json")
    assert found.exit_code == 0, found.stderr
    tuning = json.loads(found.stdout)
    assert (tuning["api"], tuning["target_ms"]) == ("scale", 100.0)
    assert tuning["recommended"]["max_batch_size"] >= 1
    assert tuning["measured"]["base_ms"] + tuning["measured"]["item_ms"] > 0
    assert [len(points) for points in tuning["curves"].values()] == [12, 12]
    assert ET.parse(plot).getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--api", "nothing"], 2, "`Scaler` has no API `nothing`. It has `scale`, `explode`."),
        (["--api", "explode"], 3, "There is no example for the API `explode` to measure with"),
    ],
)
def test_what_cannot_be_tuned_is_said(
    kappa: Kappa, bundle: Path, arguments: list[str], code: int, message: str
) -> None:
    found = kappa("tune", "Scaler:latest", *arguments)
    assert found.exit_code == code
    assert message in found.stderr


def test_a_project_is_to_be_built_first(kappa: Kappa, project: Path) -> None:
    found = kappa("tune", ".")
    assert found.exit_code == 2
    assert "build it first" in found.stderr
