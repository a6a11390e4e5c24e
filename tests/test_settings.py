"""Settings: the environment over `config.yml` over the defaults, and a message for everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kappa.environment import home_directory
from kappa.errors import ConfigurationError
from kappa.settings import Settings, read_settings


@pytest.mark.parametrize(
    ("config", "environ", "expected"),
    [
        (None, {}, {}),
        ("", {}, {}),
        ("server:\n", {}, {}),
        ("server: {port: 1}", {}, {"server": {"port": 1}}),
        ("server: {port: 1}", {"KAPPA_SERVER__PORT": "2"}, {"server": {"port": 2}}),
        ("server:\n", {"KAPPA_SERVER__PORT": "2"}, {"server": {"port": 2}}),
        ("server: {port: 1}", {"KAPPA_SERVER__HOST": "::"}, {"server": {"port": 1, "host": "::"}}),
        ("default_docker_base_image: a", {}, {"default_docker_base_image": "a"}),
        (
            "default_docker_base_image: a",
            {"KAPPA_DEFAULT_DOCKER_BASE_IMAGE": "b"},
            {"default_docker_base_image": "b"},
        ),
        (None, {"KAPPA_TEST_REQUIRE": "x", "KAPPA_PORT": "tcp://1", "SERVER__PORT": "3"}, {}),
    ],
)
def test_what_wins(tmp_path: Path, config: str | None, environ: dict[str, str], expected: dict[str, Any]) -> None:
    if config is not None:
        (tmp_path / "config.yml").write_text(config, encoding="utf-8")
    assert read_settings({"KAPPA_HOME": str(tmp_path), **environ}) == Settings.model_validate(expected)


def test_another_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "team.yml").write_text("server: {port: 7}", encoding="utf-8")
    assert read_settings({"KAPPA_CONFIG": str(tmp_path / "team.yml")}).server.port == 7


def test_the_home_is_named_by_the_environment_or_below_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("USERPROFILE", "/home/someone")
    assert home_directory({"KAPPA_HOME": "/data"}) == Path("/data")
    assert home_directory({"KAPPA_HOME": ""}) == home_directory({}) == Path("/home/someone/kappa")


@pytest.mark.parametrize(
    ("config", "environ", "message"),
    [
        ("server: {prot: 1}", {}, "config.yml` is not a setting. Did you mean `server.port`?"),
        ("server: 5", {"KAPPA_SERVER__PORT": "2"}, "config.yml` must hold settings, not `5`."),
        ("1: 2", {}, "`1` in `"),
        ("[1]", {}, "must hold a mapping of settings."),
        ("a: [", {}, "it is not valid YAML in line 1, column 5: "),
        (
            "a:\n\tb: 1",
            {},
            "line 2, column 1: found character '\\t' that cannot start any token. Mend it, or put",
        ),
        ('server:\n  host: "a\n  port: 1\n', {}, "it is not valid YAML in line 2, column 9: found unexpected end"),
        (
            "a: !!python/name:os.system",
            {},
            "it is not valid YAML in line 1, column 4: could not determine a",
        ),
        ("a: 2024-99-99", {}, "cannot be read: "),
        ("[" * 5000, {}, "cannot be read: "),
        (
            None,
            {"KAPPA_SERVER__PORT": "many"},
            "The variable `KAPPA_SERVER__PORT` is not right: ",
        ),
        (None, {"KAPPA_NOTHING__X": "1"}, "The variable `KAPPA_NOTHING__X` is not a setting."),
        (None, {"KAPPA_SERVER__PORT": "65536"}, "The variable `KAPPA_SERVER__PORT` must be at most 65535"),
        (None, {"KAPPA_SERVER__PORT": "99999999"}, "must be at most 65535, not 99999999."),
        (
            "gamma_service: {url: 'gamma:99999'}",
            {},
            "`gamma_service.url` in `",
        ),
        (
            None,
            {"KAPPA_GAMMA_SERVICE__URLL": "gamma:1"},
            "The variable `KAPPA_GAMMA_SERVICE__URLL` is not a setting. Did you mean `gamma_service.url`?",
        ),
        (
            None,
            {"KAPPA_CONFIG": "/surely/not/here.yml"},
            "`KAPPA_CONFIG` names `/surely/not/here.yml`, which is not a file.",
        ),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, config: str | None, environ: dict[str, str], message: str) -> None:
    if config is not None:
        (tmp_path / "config.yml").write_text(config, encoding="utf-8")
    with pytest.raises(ConfigurationError) as error:
        read_settings({"KAPPA_HOME": str(tmp_path), **environ})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_text_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read: it is not text in UTF-8, from byte 0 on"):
        read_settings({"KAPPA_HOME": str(tmp_path)})
