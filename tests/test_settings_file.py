"""`config.yml` is changed key by key: comments and everything else stay, and what does not fit changes nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.errors import ConfigurationError, KappaError, UsageError
from kappa.settings import Settings, read_settings
from kappa.settings_file import (
    change_settings,
    reset_settings,
    setting_in_effect,
    setting_keys,
    settings_in_effect,
    settings_in_file,
)

COMMENTED = """\
# What our team has agreed on.
server:
  port: 8080   # behind the proxy
  # host: 127.0.0.1

default_docker_base_image: "registry.local/python:3.11"  # mirrored
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"KAPPA_HOME": str(tmp_path)}


def text_of(environ: dict[str, str]) -> str:
    return Path(environ["KAPPA_HOME"], "config.yml").read_text(encoding="utf-8")


def test_a_setting_is_written_and_read_back(environ: dict[str, str]) -> None:
    change_settings({"gamma_service.url": "0.0.0.0:50051", "server.port": "80"}, environ=environ)
    assert text_of(environ) == "gamma_service:\n  url: 0.0.0.0:50051\nserver:\n  port: 80\n"
    settings = read_settings(environ)
    assert (settings.gamma_service.url, settings.server.port) == ("0.0.0.0:50051", 80)


def test_comments_and_other_settings_stay(environ: dict[str, str]) -> None:
    Path(environ["KAPPA_HOME"], "config.yml").write_text(COMMENTED, encoding="utf-8")
    change_settings({"server.port": "9090", "gamma_service.url": "https://gamma.local/team"}, environ=environ)
    assert text_of(environ) == (COMMENTED.replace("8080", "9090") + "gamma_service:\n  url: https://gamma.local/team\n")
    change_settings({"server.port": "8080", "gamma_service.url": None}, environ=environ)
    assert text_of(environ) == COMMENTED


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("gamma_service.token_file", "/run/secrets/a=b=c", "/run/secrets/a=b=c"),
        ("gamma_service.allow_plaintext", "true", True),
        ("gamma_service.timeout", "2.5", 2.5),
        ("server.cors_origins", "https://a.example,https://b.example", ["https://a.example", "https://b.example"]),
        ("cache.max_size", "500 MB", "500 MB"),
        ("default_docker_base_image", "python:3.12-slim", "python:3.12-slim"),
    ],
)
def test_a_value_has_the_type_of_its_key(environ: dict[str, str], key: str, text: str, value: object) -> None:
    change_settings({key: text}, environ=environ)
    setting = setting_in_effect(key, environ=environ)
    assert (setting.value, setting.origin, setting.text) == (value, "file", text)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"gamma_service.ulr": "a:1"}, UsageError, "Did you mean `gamma_service.url`?"),
        ({"url": "a:1"}, UsageError, "Did you mean `gamma_service.url`?"),
        ({"zzzzz": "1"}, UsageError, "There are `server.port`, `server.host`"),
        ({"gamma_service": "a:1"}, UsageError, "There is no setting `gamma_service`."),
        ({"server.port": "many"}, ConfigurationError, "`server.port`"),
        ({"server.port": "65536"}, ConfigurationError, "`server.port`"),
        ({"gamma_service.url": "50051"}, ConfigurationError, "write `host:50051`"),
        ({"gamma_service.url": "ftp://host:1"}, ConfigurationError, "write `host:50051`"),
        ({"gamma_service.url": "https://me:secret@host"}, ConfigurationError, "`token_file`"),
        ({"gamma_service.namespace": "Team A"}, ConfigurationError, "not a namespace"),
        ({"gamma_service.on_unreachable": "maybe"}, ConfigurationError, "`fail` or `keep`"),
        ({"cache.max_size": "much"}, ConfigurationError, "write it like `500 MB`"),
    ],
)
def test_what_does_not_fit_changes_nothing(
    environ: dict[str, str], changes: dict[str, str | None], kind: type[KappaError], message: str
) -> None:
    change_settings({"server.port": "80"}, environ=environ)
    with pytest.raises(kind) as error:
        change_settings({"server.host": "::", **changes}, environ=environ)
    assert message in str(error.value)
    assert "secret" not in str(error.value)
    assert text_of(environ) == "server:\n  port: 80\n"


def test_a_file_that_cannot_be_read_is_left_alone(environ: dict[str, str]) -> None:
    path = Path(environ["KAPPA_HOME"], "config.yml")
    path.write_text("server: [", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        change_settings({"server.port": "80"}, environ=environ)
    assert path.read_text(encoding="utf-8") == "server: ["


@pytest.mark.parametrize("text", ["server: [", "server: !!python/name:os.system"])
def test_what_a_file_says_is_not_shown_where_it_cannot_be_read(environ: dict[str, str], text: str) -> None:
    Path(environ["KAPPA_HOME"], "config.yml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="it is not valid YAML in line 1, column"):
        settings_in_file(environ)


def test_reset_puts_the_file_aside(environ: dict[str, str]) -> None:
    assert reset_settings(environ=environ)[1] is None
    path = Path(environ["KAPPA_HOME"], "config.yml")
    path.write_text(COMMENTED, encoding="utf-8")
    _, aside = reset_settings(environ=environ)
    assert aside is not None
    assert (path.exists(), aside.read_text(encoding="utf-8")) == (False, COMMENTED)
    assert read_settings(environ) == Settings()


def test_the_environment_overrides_the_file_and_says_so(environ: dict[str, str]) -> None:
    change_settings({"gamma_service.url": "a:1", "server.port": "80"}, environ=environ)
    environ["KAPPA_GAMMA_SERVICE__URL"] = ""
    origins = {setting.key: (setting.value, setting.origin) for setting in settings_in_effect(environ)}
    assert origins["gamma_service.url"] == (None, "environment")
    assert origins["server.port"] == (80, "file")
    assert origins["gamma_service.namespace"] == ("default", "default")
    assert [setting.key for setting in settings_in_file(environ)] == ["gamma_service.url", "server.port"]


def test_every_key_can_be_named() -> None:
    keys = setting_keys()
    assert {"gamma_service.url", "cache.max_size", "server.port", "default_docker_base_image"} <= set(keys)
    assert len(set(keys)) == len(keys)


def test_changes_at_the_same_time_are_all_kept(environ: dict[str, str]) -> None:
    changes = [{"server.port": "81"}, {"server.host": "::"}, {"gamma_service.url": "a:1"}, {"cache.max_size": "1 GB"}]
    threads = [
        threading.Thread(target=change_settings, args=(change,), kwargs={"environ": environ}) for change in changes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(settings_in_file(environ)) == len(changes)


@given(
    text=st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\x85\u2028\u2029\ufeff"), min_size=1
    )
)
def test_any_text_survives_the_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    environ = {"KAPPA_HOME": str(tmp_path_factory.mktemp("home"))}
    change_settings({"default_docker_base_image": text}, environ=environ)
    assert read_settings(environ).default_docker_base_image == text
