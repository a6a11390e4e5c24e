"""How servers log, as flags, environment and `config.yml` decide it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from kappa.actions import serving
from kappa.log_format import JsonFormatter
from kappa.server.process import launch

Kappa = Callable[..., Result]


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect what servers are started with, and start none."""
    started: list[Any] = []
    monkeypatch.setattr(launch, "serve_gunicorn", lambda _services, options, **_: started.append(options))
    monkeypatch.setattr(serving, "serve_project", lambda _target, options: started.append(options))
    return started


@pytest.mark.parametrize(
    ("arguments", "variables", "config", "expected"),
    [
        ([], {}, "", ("text", "info")),
        (["--log-format", "json", "--log-level", "debug"], {}, "", ("json", "debug")),
        ([], {"LOG_FORMAT": "json", "LOG_LEVEL": "error"}, "", ("json", "error")),
        (["--log-format", "text"], {"LOG_FORMAT": "json"}, "", ("text", "info")),
        ([], {}, "server: {log_format: json, log_level: warning}", ("json", "warning")),
        ([], {"LOG_LEVEL": "debug"}, "server: {log_level: warning}", ("text", "debug")),
    ],
)
def test_a_flag_stands_over_the_environment_and_that_over_the_file(
    kappa: Kappa,
    bundle: Path,
    options: list[Any],
    kappa_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    variables: dict[str, str],
    config: str,
    expected: tuple[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"KAPPA_SERVER__{name}", value)
    (kappa_home / "config.yml").write_text(config, encoding="utf-8")
    assert kappa("serve-gunicorn", bundle, *arguments).exit_code == 0
    (chosen,) = options
    assert (chosen.log_format, chosen.log_level) == expected


@pytest.mark.parametrize(
    ("command", "exit_code", "kind"),
    [
        (["serve-gunicorn", "./absent"], 4, "BundleNotFoundError"),
        (["serve", "absent"], 4, "BundleNotFoundError"),
        (["serve", ".", "--workers", "2"], 2, "UsageError"),
    ],
)
def test_a_server_that_cannot_start_says_so_as_a_line_of_its_log(
    kappa: Kappa, project: Path, command: list[str], exit_code: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = kappa(*command, "--log-format", "json")
    assert (result.exit_code, result.output) == (exit_code, "")
    (record,) = caplog.records  # pytest has handlers of its own, so that Kappa adds none
    told = json.loads(JsonFormatter().format(record))
    assert (told["level"], told["kind"], told["exit_code"]) == ("critical", kind, exit_code)


def test_an_unknown_format_is_refused_with_those_there_are(
    kappa: Kappa, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kappa("serve", bundle, "--log-format", "xml").exit_code == 2
    monkeypatch.setenv("KAPPA_SERVER__LOG_FORMAT", "xml")
    result = kappa("serve", bundle)
    assert result.exit_code == 3
    assert "The variable `KAPPA_SERVER__LOG_FORMAT` must be `text` or `json`, not `xml`." in result.stderr
