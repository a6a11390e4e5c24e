"""`kappa config`: the settings of this machine are shown and changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Kappa = Callable[..., Result]


def test_the_pages_command_names_the_server(kappa: Kappa, kappa_home: Path) -> None:
    result = kappa("config", "set", "gamma_service.url=0.0.0.0:50051")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"Wrote `{kappa_home / 'config.yml'}`.\n"
    assert kappa("config", "get", "gamma_service.url").stdout == "0.0.0.0:50051\n"
    assert kappa("config", "unset", "gamma_service.url").exit_code == 0
    assert kappa("config", "get", "gamma_service.url").stdout == "\n"


def test_view_shows_the_file_and_with_effective_everything(
    kappa: Kappa, kappa_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kappa("config", "view").stderr.startswith("The file sets nothing")
    kappa("config", "set", "server.port=80", "gamma_service.timeout=5")
    assert kappa("config", "view").stdout.splitlines() == [
        "KEY                    VALUE  FROM",
        "server.port            80     file",
        "gamma_service.timeout  5.0    file",
    ]
    monkeypatch.setenv("KAPPA_SERVER__PORT", "81")
    effective = json.loads(kappa("config", "view", "--effective", "-o", "json").stdout)
    assert effective["server.port"] == {"value": 81, "from": "environment"}
    assert effective["cache.max_size"] == {"value": "20 GB", "from": "default"}
    assert kappa("config", "view", "-o", "yaml").stdout == "server.port: 80\ngamma_service.timeout: 5.0\n"


def test_secrets_in_the_file_are_masked(kappa: Kappa, kappa_home: Path) -> None:
    kappa_home.mkdir(parents=True)
    (kappa_home / "config.yml").write_text("default_docker_base_image: https://me:hunter2@registry/x\n")
    for arguments in (["view"], ["view", "-o", "json"], ["view", "-o", "yaml"], ["view", "--effective"]):
        result = kappa("config", *arguments)
        assert result.exit_code == 0, result.stderr
        assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set"], "write `kappa config set KEY=VALUE`"),
        (["set", "server.port"], "`server.port` has no value: write `server.port=VALUE`."),
        (["set", "server.port=1", "server.port=2"], "`server.port` is given twice."),
        (["set", "gamma_service.ulr=a:1"], "Did you mean `gamma_service.url`?"),
        (["get"], "`kappa config get` takes one key"),
        (["get", "server.prot"], "Did you mean `server.port`?"),
        (["unset"], "write `kappa config unset KEY`"),
        (["unset", "server.prot"], "Did you mean `server.port`?"),
        (["view", "server.port"], "`kappa config view` takes no `server.port`."),
        (["get", "server.port", "--effective"], "`--effective` is an option of `kappa config view`."),
        (["sett", "a=b"], "'sett' is not one of"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(kappa: Kappa, arguments: list[str], message: str) -> None:
    result = kappa("config", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_reset_says_where_the_former_settings_are(kappa: Kappa, kappa_home: Path) -> None:
    kappa("config", "set", "server.port=80")
    assert f"`{kappa_home / 'config.yml.bak'}`" in kappa("config", "reset").stderr
    assert kappa("config", "get", "server.port").stdout == "5000\n"


def test_local_counts_for_the_command_alone(kappa: Kappa, kappa_home: Path) -> None:
    kappa("config", "set", "gamma_service.url=localhost:1")
    assert kappa("list", "--local").exit_code == 0
    assert "KAPPA_GAMMA_SERVICE__URL" not in os.environ
    assert kappa("config", "get", "gamma_service.url", "--local").stdout == "\n"
    assert kappa("config", "get", "gamma_service.url").stdout == "localhost:1\n"


def test_a_setting_that_there_is_not_can_be_taken_out_of_the_file(kappa: Kappa, kappa_home: Path) -> None:
    kappa_home.mkdir(parents=True, exist_ok=True)
    (kappa_home / "config.yml").write_text("gamma_service:\n  urll: gamma:1\n")
    assert kappa("config", "unset", "gamma_service.urll").exit_code == 0
    assert kappa("config", "view", "-o", "json").stdout == "{}\n"


@pytest.mark.parametrize("url", ["gamma:99999", "http://gamma:0/x", "grpcs://gamma:65536"])
def test_a_server_has_a_port_of_tcp(kappa: Kappa, url: str) -> None:
    result = kappa("config", "set", f"gamma_service.url={url}")
    assert result.exit_code == 3
    assert f"`{url}` is not the URL of a Gamma server" in result.stderr


def test_a_namespace_of_the_command_line_is_not_a_setting_of_the_file(kappa: Kappa) -> None:
    result = kappa("list", "--namespace", "Growth")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: Invalid value for '--namespace': `Growth` is not a namespace: use 1 to 63")
