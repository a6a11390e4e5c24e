"""What a builder is asked for, and what the caller lends to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kappa.containers.request import lent_proxies, lent_secrets
from kappa.errors import UsageError
from kappa.images import Secret, parse_build_argument, parse_secret


@pytest.mark.parametrize(
    ("text", "expected"),
    [("UID=1000", ("UID", "1000")), ("A=", ("A", "")), ("A=b=c", ("A", "b=c")), ("A", ("A", None))],
)
def test_build_arguments_are_keys_with_values_or_names_of_variables(
    text: str, expected: tuple[str, str | None]
) -> None:
    assert parse_build_argument(text) == expected


@pytest.mark.parametrize("text", ["", "=x", "a b=c", "--push", "1=2"])
def test_other_build_arguments_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write `KEY=VALUE`, or `KEY` for the value of the variable"):
        parse_build_argument(text)


def test_secrets_are_files_or_variables_and_never_values(tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine x")
    environ = {"TOKEN": "s3cret"}
    assert parse_secret(f"id=netrc,src={file}", environ=environ) == Secret("netrc", file)
    assert parse_secret(f"type=file,source={file},id=netrc", environ=environ) == Secret("netrc", file)
    by_variable = parse_secret("id=token,env=TOKEN", environ=environ)
    assert by_variable == Secret("token", variable="TOKEN")
    assert by_variable.option == "id=token,env=TOKEN"
    assert parse_secret("id=TOKEN", environ=environ) == Secret("TOKEN", variable="TOKEN")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("token=s3cret", "A `--secret` is `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`, never the value itself"),
        ("", "one of yours is neither."),
        ("id=../x,src=/etc/hosts", "one of yours is neither."),
        ("id=x,env=A,src=/etc/hosts", "one of yours is neither."),
        ("id=x,type=magic,env=A", "one of yours is neither."),
        ("id=x,src=/nowhere/at/all", "The secret `x` names the file `/nowhere/at/all`, which is not there."),
        ("id=x,env=UNSET", "The secret `x` names the variable `UNSET`, which is not set."),
    ],
)
def test_secrets_that_cannot_be_read_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_secret(text, environ={})
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_proxies_are_lent_by_name_so_that_no_command_line_shows_their_passwords() -> None:
    environ = {"HTTPS_PROXY": "http://ada:pw@proxy:1", "no_proxy": "localhost", "HTTP_PROXY": "", "OTHER": "x"}
    assert lent_proxies(environ) == {"HTTPS_PROXY": None, "no_proxy": None}


def test_certificates_and_indexes_are_lent_as_secrets(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("-----")
    environ = {"PIP_CERT": "/nowhere", "SSL_CERT_FILE": str(file), "PIP_INDEX_URL": "https://x", "PIP_NO_INDEX": "1"}
    assert lent_secrets(environ) == (Secret("kappa-ca.crt", file), Secret("PIP_INDEX_URL", variable="PIP_INDEX_URL"))
    assert lent_secrets({}) == ()
