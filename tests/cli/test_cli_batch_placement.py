"""Who decides where batches run: flag, environment, the service, `config.yml`, in this order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from kappa.choices import BatchPlacement
from kappa.cli.serving import server_options, server_options_of
from kappa.server.options import BatchingOptions
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec, ServingSpec

PLACEMENTS = {
    "auto": {"thread", "loop", "paused"},
    "no-pause": {"thread", "loop"},
    "thread": {"thread"},
}


@pytest.mark.parametrize(
    ("flag", "variable", "declared", "config", "decided"),
    [
        pytest.param(None, None, None, None, "auto", id="nobody"),
        pytest.param(None, None, None, "thread", "thread", id="config"),
        pytest.param(None, None, "no-pause", "thread", "no-pause", id="declared"),
        pytest.param(None, "thread", "no-pause", "auto", "thread", id="environment"),
        pytest.param("auto", "thread", "no-pause", "thread", "auto", id="flag"),
    ],
)
def test_the_nearest_word_about_the_placement_of_batches_counts(
    flag: str | None,
    variable: str | None,
    declared: BatchPlacement | None,
    config: str | None,
    decided: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path))
    if config is not None:
        (tmp_path / "config.yml").write_text(f"server:\n  batch_placement: {config}\n", encoding="utf-8")
    if variable is not None:
        monkeypatch.setenv("KAPPA_SERVER__BATCH_PLACEMENT", variable)
    api = ApiSpec(name="a", target=FunctionTarget(function="m:f"), input="json")
    spec = ServiceSpec(name="S", apis=(api,), serving=ServingSpec(batch_placement=declared))
    placements: set[str] = set()

    @click.command()
    @server_options
    def command(**options: Any) -> None:
        batching = server_options_of(spec, **options).batching
        placements.update(batching.placer_of(spec.serving, is_loop_safe=True, is_pause_safe=True).placements)

    result = CliRunner().invoke(command, [] if flag is None else ["--batch-placement", flag])
    assert (result.exit_code, placements) == (0, PLACEMENTS[decided])


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_no_placement_runs_a_function_where_it_may_not_run(placement: BatchPlacement) -> None:
    options = BatchingOptions(placement=placement)
    assert options.placer_of(ServingSpec(), is_loop_safe=False, is_pause_safe=False).placements == {"thread"}
