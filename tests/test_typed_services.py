"""A declared service is right to a strict type checker that knows nothing of Kappa or pydantic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DECLARED = """
from typing import Any

import kappa
from kappa.adapters import DataframeInput, JsonInput, JsonOutput
from kappa.frameworks.json import JSONArtifact
from kappa.frameworks.sklearn import SklearnModelArtifact


@kappa.ver(1, 2)
@kappa.name("scores")
@kappa.label(team="growth")
@kappa.env(infer_pip_packages=True)
@kappa.artifacts([SklearnModelArtifact("model"), JSONArtifact(name="limits")])
class Scorer(kappa.BentoService):
    @kappa.example("of a row", input=[[1]])
    @kappa.api(input=DataframeInput(), batch=True)
    def predict(self, df: Any) -> list[int]:
        return [0] * len(df)

    @kappa.api(input=JsonInput(), output=JsonOutput())
    def score(self, value: float) -> float:
        return value


reveal_type(Scorer().score(0.5))
"""


@pytest.mark.engine  # mypy reads pydantic and Kappa from nothing
def test_decorators_and_artifacts_are_typed_for_users(tmp_path: Path) -> None:
    (tmp_path / "scorer.py").write_text(DECLARED, encoding="utf-8")
    (tmp_path / "none.ini").write_text("[mypy]\n", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "none.ini", "scorer.py"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert 'Revealed type is "float"' in checked.stdout
