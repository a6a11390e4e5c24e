"""Who decides which pages of other sites may ask: flag, environment, the service, `config.yml`, in this order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from kappa.cli.serving import server_options, server_options_of
from kappa.server.options import ServerOptions
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec, ServingSpec


def options_of(declared: tuple[str, ...] | None, *arguments: str) -> ServerOptions:
    api = ApiSpec(name="a", target=FunctionTarget(function="m:f"), input="json")
    spec = ServiceSpec(name="S", apis=(api,), serving=ServingSpec(cors_origins=declared))
    found: list[ServerOptions] = []

    @click.command()
    @server_options
    def command(**options: Any) -> None:
        found.append(server_options_of(spec, **options))

    result = CliRunner().invoke(command, arguments)
    if not found:
        raise click.UsageError(result.output)
    return found[0]


@pytest.mark.parametrize(
    ("flags", "variable", "declared", "config", "decided"),
    [
        pytest.param([], None, None, None, None, id="nobody"),
        pytest.param([], None, None, "[http://config]", ("http://config",), id="config"),
        pytest.param([], None, ("http://declared",), "[http://config]", None, id="declared"),
        pytest.param([], None, (), "[http://config]", None, id="declared-as-none"),
        pytest.param([], "http://a, http://b", ("http://declared",), None, ("http://a", "http://b"), id="environment"),
        pytest.param([], "", ("http://declared",), "[http://config]", (), id="environment-says-none"),
        pytest.param(["http://x", "*"], "http://a", ("http://declared",), None, ("http://x", "*"), id="flags"),
    ],
)
def test_the_nearest_word_about_origins_counts(
    flags: list[str],
    variable: str | None,
    declared: tuple[str, ...] | None,
    config: str | None,
    decided: tuple[str, ...] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path))
    if config is not None:
        (tmp_path / "config.yml").write_text(f"server:\n  cors_origins: {config}\n", encoding="utf-8")
    if variable is not None:
        monkeypatch.setenv("KAPPA_SERVER__CORS_ORIGINS", variable)
    arguments = [word for flag in flags for word in ("--cors-origin", flag)]
    assert options_of(declared, *arguments).cors_origins == decided


def test_a_flag_that_is_no_origin_is_refused_with_what_to_write() -> None:
    with pytest.raises(click.UsageError, match=r"`app\.example\.com` is not the origin of a web page: write scheme"):
        options_of(None, "--cors-origin", "app.example.com")
