"""Tokens: made, shown once, listed and revoked by who runs a server; checked at its doors."""

from __future__ import annotations

import hmac
import json
import logging
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, update

from kappa.cli.main import cli
from kappa.errors import AccessDeniedError, ConfigurationError, GammaError, UnauthenticatedError, UsageError
from kappa.gamma.access.failed_logins import FailedLogins
from kappa.gamma.access.gate import OpenGate
from kappa.gamma.access.token_gate import TokenGate
from kappa.gamma.access.tokens import TokenText, is_right, new_token
from kappa.gamma.database.engine import open_database, sqlite_url
from kappa.gamma.database.token_tables import tokens as table
from kappa.gamma.doors.grpc_door import _address_of
from kappa.gamma.doors.openapi import openapi_document
from kappa.gamma.protocols.callers import ANYBODY, Caller, Scope
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.gamma.tokens import all_tokens, create_token, revoke_token
from kappa.gamma.wire.failures import TooManyFailuresError
from kappa.tag import Tag
from tests.gamma.bare_requests import OPERATIONS, Target, ask
from tests.gamma.canned import CannedRegistry
from tests.gamma.guarded_servers import Guarded, Token, guarded_server, make_token
from tests.gamma.sealed import pull, push, seal
from tests.gamma.servers import Protocol

Kappa = Callable[..., Result]


# -- the text ----------------------------------------------------------------------------------------------------------


def test_a_token_is_read_as_it_was_written() -> None:
    made = new_token()
    assert TokenText.parse(str(made.text)) == made.text
    assert is_right(made.text.secret, salt=made.salt, secret_hash=made.secret_hash)
    assert made.text.secret not in f"{made!r} {made.text!r}"
    others = [new_token() for _ in range(100)]
    assert len({other.text.id for other in others} | {other.text.secret for other in others}) == 200
    assert len({other.salt for other in others}) == 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kgt",
        "kgt__",
        "kgt_0123456789ab_",
        "kgt_0123456789ab_" + "0" * 63,
        "kgt_0123456789ab_" + "0" * 65,
        "kgt_0123456789AB_" + "0" * 64,
        "kgt_0123456789ab_" + "g" * 64,
        "kgt_0123456789ab_" + "٣" * 64,
        "KGT_0123456789ab_" + "0" * 64,
        "kgt_0123456789ab_" + "0" * 64 + "\n",
        " kgt_0123456789ab_" + "0" * 64,
    ],
)
def test_what_cannot_be_a_token_is_none(text: str) -> None:
    assert TokenText.parse(text) is None


def test_a_secret_is_compared_in_constant_time_whether_there_is_a_hash_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def compare(first: str, second: str) -> bool:
        compared.append((first, second))
        return hmac.compare_digest(first, second)

    monkeypatch.setattr("kappa.gamma.access.tokens.hmac", SimpleNamespace(compare_digest=compare))
    made = new_token()
    assert is_right(made.text.secret, salt=made.salt, secret_hash=made.secret_hash)
    assert not is_right("0" * 64, salt=made.salt, secret_hash=made.secret_hash)
    assert not is_right(made.text.secret)
    assert [second for _, second in compared] == [made.secret_hash, made.secret_hash, "0" * 64]
    assert compared[0][0] == made.secret_hash


# -- made, listed, revoked ---------------------------------------------------------------------------------------------


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


def test_a_token_is_listed_without_its_secret_and_revoked_by_name_or_id(database_url: str) -> None:
    admin, _ = create_token(database_url, "admin", role="admin")
    ci, text = create_token(
        database_url, "ci", role="write", scope=["team-a/*", "team-a/*", "*/Iris"], expires_in=timedelta(days=9)
    )
    assert text.startswith(f"kgt_{ci.id}_")
    assert ci.expires_at is not None
    assert ci.expires_at - ci.created_at == timedelta(days=9)
    assert (str(ci.scope), admin.expires_at, admin.scope.is_unrestricted) == ("team-a/*, */Iris", None, True)
    assert all_tokens(database_url) == [admin, ci]
    revoked = revoke_token(database_url, "ci")
    assert revoked.revoked_at is not None
    assert revoked == replace(ci, revoked_at=revoked.revoked_at)
    assert all_tokens(database_url) == [admin, revoked]
    again, _ = create_token(database_url, "ci", role="read")
    assert revoke_token(database_url, again.id).id == again.id
    for absent in ("ci", ci.id, "nobody"):
        with pytest.raises(GammaError, match=f"There is no token `{absent}` that could be revoked"):
            revoke_token(database_url, absent)


def test_two_valid_tokens_have_two_names(database_url: str) -> None:
    create_token(database_url, "ci", role="read")
    with pytest.raises(GammaError, match=r"There is a token `ci`, so nothing was made.*`kappa gamma-token revoke ci`"):
        create_token(database_url, "ci", role="admin")
    assert [token.role for token in all_tokens(database_url)] == ["read"]


@pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 64, "0123456789ab", "ü", "a\n", "a/b"])
def test_what_cannot_name_a_token_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot name a token"):
        create_token(sqlite_url(tmp_path / "new.db"), name, role="read")
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("expires_in", [timedelta(), timedelta(seconds=-1), timedelta(days=36_501)])
def test_an_end_that_cannot_be_is_refused(expires_in: timedelta, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least a second and at most 36500 days"):
        create_token(sqlite_url(tmp_path / "new.db"), "ci", role="read", expires_in=expires_in)


def test_the_first_token_makes_the_database_that_the_server_then_uses(empty_database_url: str, tmp_path: Path) -> None:
    create_token(empty_database_url, "admin", role="admin")
    service = GammaService(open_storage("memory://", environ={"KAPPA_HOME": str(tmp_path)}), empty_database_url)
    service.open()
    assert service.tokens.has_admin()
    service.close()


def test_a_database_of_another_version_stays_as_it_is(tmp_path: Path) -> None:
    older = tmp_path / "older.db"
    older.write_bytes((Path(__file__).parent / "databases" / "0001.db").read_bytes())
    before = older.read_bytes()
    for act in (
        lambda url: create_token(url, "ci", role="read"),
        all_tokens,
        lambda url: revoke_token(url, "ci"),
    ):
        with pytest.raises(GammaError, match="use the Kappa that the server runs with"):
            act(sqlite_url(older))
    assert older.read_bytes() == before


def test_tokens_are_not_looked_for_where_no_database_is(tmp_path: Path) -> None:
    for act in (all_tokens, lambda url: revoke_token(url, "ci")):
        with pytest.raises(GammaError, match="There is no database"):
            act(sqlite_url(tmp_path / "absent.db"))
    assert not (tmp_path / "absent.db").exists()
    with pytest.raises(ConfigurationError) as caught:
        create_token("mysql://ada:secret@db/kappa", "ci", role="read")
    assert "secret" not in str(caught.value)


def test_an_admin_is_valid_and_unrestricted(database_url: str, engine: Engine, tmp_path: Path) -> None:
    service = GammaService(open_storage("memory://", environ={"KAPPA_HOME": str(tmp_path)}), database_url)
    make_token(database_url, "writer", "write")
    make_token(database_url, "local", "admin", "team-a/*")
    ended = make_token(database_url, "ended", "admin", expires_in=timedelta(days=1))
    expire(engine, ended)
    assert not service.tokens.has_admin()
    make_token(database_url, "admin", "admin", "team-a/*", "*/*")
    assert service.tokens.has_admin()
    revoke_token(database_url, "admin")
    assert not service.tokens.has_admin()
    service.close()


def expire(engine: Engine, token: Token) -> None:
    past = datetime.now(timezone.utc) - timedelta(days=2)
    with engine.begin() as connection:
        connection.execute(update(table).where(table.c.id == token.caller.token_id).values(expires_at=past))


# -- at the gate -------------------------------------------------------------------------------------------------------


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[GammaService]:
    service = GammaService(open_storage("memory://", environ={"KAPPA_HOME": str(tmp_path)}), database_url)
    service.open()
    yield service
    service.close()


def test_a_valid_token_is_let_in_as_it_was_made(service: GammaService, database_url: str) -> None:
    token = make_token(database_url, "ci", "write", "team-a/*")
    gate = TokenGate(service)
    for header in (token.header, f"bearer {token.text}", f"  BEARER   {token.text}  "):
        assert gate.admit(header, "1.2.3.4").caller == Caller(
            token.caller.token_id, "ci", "write", Scope(("team-a/*",))
        )


def refusal(gate: TokenGate, header: str | None) -> str:
    with pytest.raises(UnauthenticatedError) as caught:
        gate.admit(header, "1.2.3.4")
    return str(caught.value)


def test_a_token_that_is_not_valid_is_refused_and_its_state_told_to_its_owner_alone(
    service: GammaService, database_url: str, engine: Engine
) -> None:
    gate = TokenGate(service, failed_logins=FailedLogins(limit=1000))
    revoked, ended = (make_token(database_url, name, "admin") for name in ("revoked", "ended"))
    revoke_token(database_url, "revoked")
    expire(engine, ended)
    assert refusal(gate, revoked.header).startswith("The token `revoked` was revoked.")
    assert refusal(gate, ended.header).startswith("The token `ended` expired at 20")
    wrong = {
        f"Bearer kgt_{token.caller.token_id}_{secret}"
        for token in (revoked, ended)
        for secret in ("0" * 64, token.secret[::-1])
    } | {"Bearer", "Bearer x", f"Bearer {new_token().text}", f"Bearer {ended.text}x", f"Bearer {ended.secret}"}
    assert {refusal(gate, header).partition(".")[0] for header in wrong} == {
        "The token is not one of this Gamma server"
    }
    for header in (None, "", "Basic YTpi", revoked.text):
        assert refusal(gate, header).startswith("This Gamma server wants a token")


def test_a_revoked_token_is_refused_at_the_next_request_by_every_server(
    service: GammaService, database_url: str, tmp_path: Path
) -> None:
    token = make_token(database_url, "ci", "read")
    other = GammaService(open_storage("memory://", environ={"KAPPA_HOME": str(tmp_path)}), database_url)
    gates = TokenGate(service), TokenGate(other)
    for gate in gates:
        gate.admit(token.header, "")
    revoke_token(database_url, "ci")
    for gate in gates:
        assert "was revoked" in refusal(gate, token.header)
    other.close()


def test_the_last_use_is_noted_now_and_then(service: GammaService, database_url: str, engine: Engine) -> None:
    token = make_token(database_url, "ci", "read")
    gate = TokenGate(service)
    assert all_tokens(database_url)[0].last_used_at is None
    gate.admit(token.header, "")
    first = all_tokens(database_url)[0].last_used_at
    gate.admit(token.header, "")
    assert first is not None
    assert all_tokens(database_url)[0].last_used_at == first
    with engine.begin() as connection:
        connection.execute(update(table).values(last_used_at=first - timedelta(minutes=11)))
    gate.admit(token.header, "")
    last = all_tokens(database_url)[0].last_used_at
    assert last is not None
    assert last >= first


def test_a_database_that_takes_no_note_lets_callers_in(
    service: GammaService, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = make_token(database_url, "ci", "read")

    def fail(*_: object) -> None:
        raise GammaError("The disk is full.")

    monkeypatch.setattr("kappa.gamma.service.tokens.Tokens.note_use", fail)
    assert TokenGate(service).admit(token.header, "").caller.name == "ci"


def test_an_open_gate_lets_everybody_in_as_anybody() -> None:
    registry = CannedRegistry()
    admitted = OpenGate(registry).admit(None, "")
    assert (admitted.registry, admitted.caller) == (registry, ANYBODY)
    ANYBODY.check_role("admin")
    ANYBODY.check_scope("team-a", "Iris")
    ANYBODY.check_unrestricted()


def test_failures_of_one_address_are_withheld_after_the_limit_and_for_a_minute() -> None:
    now = 100.0
    failures = FailedLogins(limit=3, clock=lambda: now)
    for _ in range(3):
        failures.note("a")
        now += 1
    with pytest.raises(TooManyFailuresError, match="More than 3 wrong tokens came from `a`") as caught:
        failures.note("a")
    assert caught.value.retry_after_s == 57
    failures.note("b")
    now += 62
    failures.note("a")


def test_many_addresses_take_a_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kappa.gamma.access.failed_logins._ADDRESSES", 5)
    failures = FailedLogins(limit=1, clock=lambda: 0.0)
    for number in range(50):
        failures.note(str(number))
    failures.note("10")  # which is not remembered any more
    with pytest.raises(TooManyFailuresError):
        failures.note("49")


@pytest.mark.parametrize(
    ("peer", "address"),
    [("ipv4:10.0.0.1:50000", "10.0.0.1"), ("ipv6:%5B::1%5D:50000", "::1"), ("ipv6:[::1]:5", "::1"), ("unix:", "unix:")],
)
def test_the_address_of_a_peer_has_no_port(peer: str, address: str) -> None:
    assert _address_of(peer) == address


# -- through both doors ------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Guarded]:
    with guarded_server(tmp_path, limit=4) as guarded:
        yield guarded


@pytest.fixture(params=["grpc", "http"])
def door(request: pytest.FixtureRequest) -> Protocol:
    name: Protocol = request.param
    return name


BUNDLE = seal("1")
TARGET = Target(BUNDLE, "default", seal("2"), "a" * 48, "sha256:" + "0" * 64)


def test_too_many_wrong_tokens_are_withheld_and_a_valid_one_never(server: Guarded, door: Protocol) -> None:
    token = make_token(server.database_url, "ci", "read")
    statuses: list[Any] = []
    for _ in range(6):
        answer = ask(server.served, door, "info", TARGET, f"Bearer {new_token().text}")
        statuses.append(answer.status)
        assert answer.failure == "UnauthenticatedError"
        assert ask(server.served, door, "info", TARGET, token.header).failure == ""
        assert ask(server.served, door, "info", TARGET, None).status in (401, grpc.StatusCode.UNAUTHENTICATED)
    first, last = (
        (401, 429) if door == "http" else (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED)
    )
    assert statuses == [first] * 4 + [last] * 2
    assert 1 <= int(answer.headers["Retry-After" if door == "http" else "retry-after"]) <= 60


def test_an_upload_is_there_for_the_token_that_began_it_alone(server: Guarded, door: Protocol) -> None:
    mine, others = (make_token(server.database_url, name, "admin") for name in ("mine", "others"))
    bundle = seal("1", {"Iris/artifacts/model.bin": b"model"})
    digest = next(digest for digest, content in bundle.blobs.items() if content == b"model")
    upload = server.service.seen_by(mine.caller).begin_upload(bundle.manifest, bundle.files, operation="")
    target = replace(TARGET, session=upload.session, digest=digest)
    for operation in ("write_blob", "upload_url", "take_blob", "upload_state", "commit_upload"):
        answer = ask(server.served, door, operation, target, others.header)
        assert (operation, answer.failure) == (operation, "GammaError")
        assert "This upload is not there any more" in answer.text
    assert ask(server.served, door, "abort_upload", target, others.header).failure == ""
    assert server.service.seen_by(others.caller).begin_upload(
        bundle.manifest, bundle.files, operation=""
    ).session not in (
        upload.session,
        "",
    )
    state = ask(server.served, door, "upload_state", target, mine.header)
    assert (state.failure, digest in state.text) == ("", True)
    assert ask(server.served, door, "write_blob", target, mine.header).failure == ""
    assert ask(server.served, door, "abort_upload", target, mine.header).failure == ""
    assert ask(server.served, door, "upload_state", target, mine.header).failure == "GammaError"


def test_two_tokens_that_push_one_bundle_at_once_both_succeed(server: Guarded) -> None:
    bundle = seal("1")
    views = [server.service.seen_by(make_token(server.database_url, name, "write").caller) for name in ("a", "b")]
    begun = [view.begin_upload(bundle.manifest, bundle.files, operation="") for view in views]
    assert begun[0].session != begun[1].session
    assert [push(view, bundle).was_there for view in views] == [False, True]
    assert pull(views[1], Tag("Iris", "1")) == bundle.contents


def test_the_answer_of_a_write_is_repeated_for_the_token_that_wrote_alone(server: Guarded) -> None:
    mine, others = (
        server.service.seen_by(make_token(server.database_url, name, "write").caller) for name in ("mine", "others")
    )
    tag = push(mine, BUNDLE).record.tag
    writes: list[Callable[[GammaService, str], object]] = [
        lambda view, operation: view.set_labels(tag, {"a": "b"}, operation=operation),
        lambda view, operation: view.set_alias(tag, "live", operation=operation),
        lambda view, operation: view.delete([Tag("Iris", "9")], operation=operation),
    ]
    for write in writes:
        operation = new_token().text.id
        assert write(mine, operation) == write(mine, operation)
        with pytest.raises(UsageError, match="each write needs an id of its own"):
            write(others, operation)


def test_sizes_that_a_door_keeps_are_of_one_caller_alone(server: Guarded) -> None:
    wide, narrow = (
        make_token(server.database_url, name, "read", scope) for name, scope in (("w", "*/*"), ("n", "a/*"))
    )
    push(server.service, BUNDLE)
    url = f"{server.served.http}/api/v1/bundles/default/Iris/1/blobs/{TARGET.own_digest}"
    beyond = {"Range": "bytes=99999999-"}
    assert (
        httpx.get(url, headers={**beyond, "Authorization": wide.header}).headers["Content-Range"].startswith("bytes */")
    )
    answer = httpx.get(url, headers={**beyond, "Authorization": narrow.header})
    assert (answer.status_code, answer.headers["Kappa-Error"]) == (404, "BundleNotFoundError")


def test_what_a_probe_and_a_newcomer_need_is_open_and_numbers_are_not(server: Guarded) -> None:
    for path in ("/healthz", "/readyz", "/static/gamma.css", "/api/v1/openapi.json"):
        assert httpx.get(server.served.http + path).status_code == 200, path
    assert httpx.get(f"{server.served.http}/metrics").status_code == 401
    headers = {"Authorization": make_token(server.database_url, "prometheus", "read", "nowhere/Nothing").header}
    text = httpx.get(f"{server.served.http}/metrics", headers=headers).text
    assert 'kappa_gamma_requests_total{door="http",operation="GetMetrics",outcome="UnauthenticatedError"} 1.0' in text


def test_a_page_shows_what_its_caller_may_read(server: Guarded) -> None:
    for namespace in ("team-a", "team-b"):
        push(server.service, BUNDLE, namespace=namespace)
    headers = {"Authorization": make_token(server.database_url, "reader", "read", "team-a/*").header}
    pages = ("/services/{}/Iris", "/bundles/{}/Iris/1", "/compare/{}/Iris?before=1&after=1")
    for page in ("/", *pages):
        answer = httpx.get(server.served.http + page.format("team-a"))
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "sha256" not in answer.text
    for page in pages:
        statuses = [
            httpx.get(server.served.http + page.format(namespace), headers=headers).status_code
            for namespace in ("team-a", "team-b")
        ]
        assert (page, statuses) == (page, [200, 404])
    text = httpx.get(server.served.http, headers=headers).text
    assert ("team-a" in text, "team-b" in text, "no authentication" in text) == (True, False, False)


def test_the_document_of_the_api_names_the_token() -> None:
    document = openapi_document()
    assert document["security"] == [{"token": []}, {}]
    scheme = document["components"]["securitySchemes"]["token"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_a_body_is_not_read_for_who_is_not_let_in(server: Guarded) -> None:
    url = httpx.URL(server.served.http)
    assert url.port is not None
    head = ("POST /api/v1/uploads HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 60000000")
    with socket.create_connection((url.host, url.port), timeout=60) as connection:
        connection.sendall("\r\n".join([*head, "", "{"]).encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_no_secret_is_in_the_log_the_answers_or_the_database(
    server: Guarded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    push(server.service, BUNDLE)
    valid, narrow = make_token(server.database_url, "ci", "read"), make_token(server.database_url, "n", "read", "a/b")
    revoked, unknown = make_token(server.database_url, "gone", "admin"), new_token().text
    revoke_token(server.database_url, "gone")
    secrets = [token.secret for token in (valid, narrow, revoked)] + [unknown.secret]
    answers = []
    for door in ("grpc", "http"):
        for header in (valid.header, narrow.header, revoked.header, f"Bearer {unknown}", f"Basic {unknown}"):
            answers += [ask(server.served, door, operation, TARGET, header) for operation in OPERATIONS]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    text = repr(answers) + caplog.text + repr([record.__dict__ for record in caplog.records])
    for secret in secrets:
        assert secret not in text
        assert all(secret.encode() not in content for content in written)
    assert "UnauthenticatedError" in caplog.text
    with closing(sqlite3.connect(tmp_path / "storage.db")) as connection:
        rows = connection.execute("SELECT secret_hash, salt FROM tokens").fetchall()
    assert len(set(rows)) == 3


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def kappa(kappa_home: Path) -> Kappa:
    def call(*words: str) -> Result:
        return CliRunner().invoke(cli, list(words), prog_name="kappa")

    return call


@pytest.fixture
def home(kappa_home: Path) -> Path:
    return kappa_home


def test_a_token_is_printed_alone_and_once(kappa: Kappa, home: Path) -> None:
    made = kappa("gamma-token", "create", "ci", "--role", "write", "--scope", "team-a/*", "--expires", "90d")
    text = made.stdout.strip()
    assert (made.exit_code, TokenText.parse(text) is not None, made.stdout.count("\n")) == (0, True, 1)
    assert "`ci` of the role `write` is for `team-a/*`, until 20" in made.stderr
    assert text not in made.stderr
    listed = kappa("gamma-token", "list")
    heading, row = listed.stdout.splitlines()
    assert heading.split() == ["ID", "NAME", "ROLE", "SCOPE", "AGE", "LAST_USED", "STATE"]
    assert row.split()[:4] == [text.split("_")[1], "ci", "write", "team-a/*"]
    assert "valid until" in row
    assert text.split("_")[2] not in listed.output
    assert kappa("gamma-token", "revoke", "ci").stdout == "ci\n"
    assert "  revoked 20" in kappa("gamma-token", "list").stdout
    assert (home / "storage.db").is_file()


def test_tokens_are_json_too(kappa: Kappa, tmp_path: Path) -> None:
    url = ("--db-url", sqlite_url(tmp_path / "team.db"))
    made = json.loads(kappa("gamma-token", "create", "admin", "--role", "admin", *url, "-o", "json").stdout)
    assert (made["name"], made["role"], made["scope"], made["expires_at"]) == ("admin", "admin", ["*/*"], None)
    assert TokenText.parse(made.pop("token")) is not None
    assert json.loads(kappa("gamma-token", "list", *url, "-o", "json").stdout) == [made]
    revoked = json.loads(kappa("gamma-token", "revoke", made["id"], *url, "-o", "json").stdout)
    assert datetime.fromisoformat(revoked["revoked_at"]).tzinfo is not None


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["create"], 2, "Nothing is named: write `kappa gamma-token create NAME`."),
        (["revoke"], 2, "Nothing is named: write `kappa gamma-token revoke NAME`."),
        (["list", "ci"], 2, "`kappa gamma-token list` takes no `ci`."),
        (["revoke", "ci", "--role", "read"], 2, "are options of `kappa gamma-token create`"),
        (["create", "ci", "--scope", "Iris"], 2, "`Iris` is not a pattern of a scope"),
        (["create", "ci", "--expires", "soon"], 2, "`--expires soon`: write a time like"),
        (["create", "ci", "--role", "owner"], 2, "owner"),
        (["list"], 7, "There is no database"),
        (
            ["create", "ci", "--db-url", "postgresql:/ada:secret@db/x", "--scope", "a/*"],
            3,
            "is not the URL of a database",
        ),
        (["list", "--db-url", "mysql://ada:secret@db/x"], 3, "is of a database that Kappa does not know"),
    ],
)
def test_a_call_that_cannot_be_meant_is_explained(kappa: Kappa, words: list[str], code: int, message: str) -> None:
    result = kappa("gamma-token", *words)
    assert (result.exit_code, message in result.stderr) == (code, True), result.stderr
    assert (result.stdout, "secret" in result.output) == ("", False)


def test_a_scope_and_a_role_are_told_apart(service: GammaService) -> None:
    writer = Caller("1" * 12, "ci", "write", Scope(("team-a/*",)))
    with pytest.raises(AccessDeniedError, match="has the role `write`, and this needs `admin`"):
        writer.check_role("admin")
    with pytest.raises(AccessDeniedError, match=r"is for `team-a/\*` alone, and this concerns every service"):
        writer.check_unrestricted()
