"""The token of a client: where it comes from, whom it goes to, and that nobody else reads it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from kappa.cli.main import cli
from kappa.errors import AccessDeniedError, ConfigurationError, UnauthenticatedError
from kappa.gamma import client
from kappa.gamma.clients.addresses import ConnectionSettings, parse_address
from kappa.gamma.clients.connecting import connect
from kappa.gamma.clients.tokens import check_may_send, token_of
from kappa.gamma.protocols.registry import Registry
from kappa.settings import GammaSettings
from kappa.spec.store import Query
from kappa.tag import Tag
from tests.gamma.guarded_servers import Guarded, guarded_server, make_token
from tests.gamma.sealed import pull, push, seal, write_bundle
from tests.gamma.servers import Protocol

SECRET = "kgt_0123456789ab_" + "cd" * 32


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with guarded_server(tmp_path / "server") as server:
        yield server


@pytest.fixture(params=["grpc", "http"])
def protocol(request: pytest.FixtureRequest) -> Protocol:
    name: Protocol = request.param
    return name


def token_file(path: Path, text: str = SECRET, *, mode: int = 0o600) -> GammaSettings:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return GammaSettings(token_file=str(path))


# -- where it comes from -----------------------------------------------------------------------------------------------


def test_the_variable_comes_before_the_file(tmp_path: Path) -> None:
    settings = token_file(tmp_path / "token", f"{SECRET}\n")
    assert token_of(settings, {}) == SECRET
    assert token_of(settings, {"KAPPA_GAMMA_TOKEN": ""}) == SECRET
    assert token_of(settings, {"KAPPA_GAMMA_TOKEN": "kgt_other\n"}) == "kgt_other"
    assert token_of(GammaSettings(), {}) is None


@pytest.mark.skipif(sys.platform == "win32", reason="files have no such modes")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    settings = token_file(tmp_path / "token", mode=mode)
    with pytest.raises(ConfigurationError, match="`chmod 600 ") as caught:
        token_of(settings, {})
    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent`, which `gamma_service\.token_file` names, cannot be read"):
        token_of(GammaSettings(token_file=str(tmp_path / "absent")), {})


@pytest.mark.parametrize("text", ["two words", "ümlaut", "a\nb", "x" * 5000, "a\x00b"])
def test_what_cannot_be_a_token_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="holds no token") as caught:
        token_of(token_file(tmp_path / "token", text), {})
    assert text not in str(caught.value)
    with pytest.raises(ConfigurationError, match="`KAPPA_GAMMA_TOKEN` holds no token"):
        token_of(GammaSettings(), {"KAPPA_GAMMA_TOKEN": text})


def test_an_empty_file_holds_no_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no token"):
        token_of(token_file(tmp_path / "token", ""), {})


# -- whom it goes to ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["localhost:1", "127.0.0.1:1", "127.9.9.9:1", "http://[::1]:1", "grpcs://gamma:1", "https://gamma"]
)
def test_it_may_go_to_this_machine_or_by_tls(url: str) -> None:
    check_may_send(parse_address(url), GammaSettings())


@pytest.mark.parametrize(
    ("url", "instead"),
    [
        ("gamma:50051", "grpcs://gamma:50051"),
        ("http://10.0.0.7:3000", "https://10.0.0.7:3000"),
        ("localhost.example.com:1", "grpcs://localhost.example.com:1"),
        ("http://127.0.0.1.example.com", "https://127.0.0.1.example.com:80"),
    ],
)
def test_it_goes_to_no_other_machine_in_the_clear_unless_that_is_allowed(url: str, instead: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        connect(url, token=SECRET)
    assert f"gamma_service.url={instead}`" in str(caught.value)
    assert SECRET not in str(caught.value)
    check_may_send(parse_address(url), GammaSettings(allow_plaintext=True))


def test_it_is_in_no_representation() -> None:
    settings = ConnectionSettings(token=SECRET)
    assert SECRET not in f"{settings!r} {settings}"
    assert settings.authorization == f"Bearer {SECRET}"


# -- with a server -----------------------------------------------------------------------------------------------------


def test_every_kind_of_operation_shows_it(guarded: Guarded, protocol: Protocol, tmp_path: Path) -> None:
    writer = make_token(guarded.database_url, "writer", "write")
    registry: Registry = connect(guarded.served.url(protocol), token=writer.text)
    bundle = seal("1", {"Iris/model.bin": bytes(3 << 20)})
    commit = push(registry, bundle)
    registry.set_alias(commit.record.tag, "production", operation="op-1")
    assert [record.tag.version for record in registry.list_bundles(Query())] == ["1"]
    assert registry.list_services("iris")[0].versions == 1
    assert pull(registry, commit.record.tag) == bundle.contents
    assert registry.delete([Tag("Iris", "1")], force=True, operation="op-2") == [Tag("Iris", "1")]
    registry.close()


@pytest.mark.parametrize("text", [None, SECRET], ids=["none", "wrong"])
def test_without_a_valid_one_the_error_says_what_to_do(guarded: Guarded, protocol: Protocol, text: str | None) -> None:
    registry = connect(guarded.served.url(protocol), token=text)
    with pytest.raises(UnauthenticatedError, match="kappa gamma-token") as caught:
        registry.list_bundles(Query())
    assert SECRET not in str(caught.value)
    registry.close()


def test_a_role_that_is_too_low_is_told_from_a_wrong_token(guarded: Guarded, protocol: Protocol) -> None:
    reader = make_token(guarded.database_url, "reader", "read")
    registry = connect(guarded.served.url(protocol), token=reader.text)
    with pytest.raises(AccessDeniedError, match="has the role `read`"):
        push(registry, seal("1"))
    registry.close()


def test_programs_take_it_from_the_environment(guarded: Guarded, protocol: Protocol, tmp_path: Path) -> None:
    writer = make_token(guarded.database_url, "writer", "write")
    environ = {"KAPPA_HOME": str(tmp_path / "home"), "KAPPA_GAMMA_TOKEN": writer.text}
    with client(guarded.served.url(protocol), environ=environ) as team:
        assert team.list_bundles() == []
        assert writer.secret not in repr(team)


def test_commands_take_it_from_a_file(guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = make_token(guarded.database_url, "writer", "write")
    settings = token_file(tmp_path / "token", writer.text)
    monkeypatch.setenv("KAPPA_GAMMA_SERVICE__URL", guarded.served.grpc)
    folder = write_bundle(tmp_path / "iris", "Iris", "1")
    refused = CliRunner().invoke(cli, ["push", str(folder)], prog_name="kappa")
    assert (refused.exit_code, "KAPPA_GAMMA_TOKEN" in refused.output) == (7, True)
    monkeypatch.setenv("KAPPA_GAMMA_SERVICE__TOKEN_FILE", str(settings.token_file))
    done = CliRunner().invoke(cli, ["push", str(folder), "--verbose"], prog_name="kappa")
    assert done.exit_code == 0, done.output
    listed = CliRunner().invoke(cli, ["list", "-o", "json"], prog_name="kappa")
    assert '"Iris"' in listed.output
    assert writer.secret not in refused.output + done.output + listed.output


def test_the_token_of_one_server_goes_to_no_other_one(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded_server(tmp_path / "other") as other:
        for server in (guarded, other):  # a token that both would take
            monkeypatch.setenv("KAPPA_GAMMA_TOKEN", make_token(server.database_url, "writer", "write").text)
        push(other.service, seal("1"))
        monkeypatch.setenv("KAPPA_GAMMA_SERVICE__URL", other.served.grpc)
        copied = CliRunner().invoke(cli, ["copy", "Iris:1", "Iris:1", "--to", guarded.served.grpc], prog_name="kappa")
    assert copied.exit_code == 7
    assert "This Gamma server wants a token" in copied.output
    assert os.environ["KAPPA_GAMMA_TOKEN"] not in copied.output
