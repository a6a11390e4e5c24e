"""The files of `kappa generate`, whole, and read as those who get them read them.

``python tests/rendering/test_deployables.py`` writes the golden files anew; read the difference before committing it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kappa.rendering.deployables import ComposeContext, WorkflowContext
from kappa.rendering.templates import Context, render

GOLDEN = Path(__file__).parents[1] / "golden" / "generate"
CASES: dict[str, Context] = {
    "compose.yaml": ComposeContext("ChurnScorer", "churnscorer", "0.1.0", "churnscorer:1.0", (), False),
    "compose.full.yaml": ComposeContext(
        "ChurnScorer", "churnscorer", "0.1.0", "churnscorer:1.0", ("REDIS_PASSWORD", "TOKEN"), True
    ),
    "workflow.yml": WorkflowContext("ChurnScorer", "churnscorer", "0.1.0", "3.11", "kappafile.toml", "", True),
    "workflow.full.yml": WorkflowContext(
        "ChurnScorer",
        "churnscorer",
        "0.1.0",
        "3.10",
        "services/the churn/kappafile.toml",
        "services/the churn/kappafile.lock",
        True,
    ),
}
SCHEMAS = {"compose": "vendor.compose-spec", "workflow": "vendor.github-workflows"}


@pytest.mark.parametrize("name", CASES)
def test_generated_file_is_the_golden_one(name: str) -> None:
    assert render(CASES[name]) == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_generated_file_is_what_its_readers_know(name: str) -> None:
    schema = SCHEMAS[name.partition(".")[0]]
    checker = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [checker, "--builtin-schema", schema, GOLDEN / name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, context in CASES.items():
        (GOLDEN / name).write_text(render(context), encoding="utf-8")
