"""Role × operation × scope × door: each is allowed, refused, or finds nothing there, as designed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

import grpc
import pytest

from kappa.errors import AccessDeniedError
from kappa.gamma.access.roles import ROLE_OF, guarded
from kappa.gamma.protocols.callers import ROLES, Caller, Role
from kappa.gamma.protocols.registry import Registry
from kappa.gamma.wire.proto.descriptors import methods
from kappa.spec.store import AliasChange, BundleRecord, Query
from kappa.tag import BundleReference, Tag
from tests.gamma.bare_requests import OPERATIONS, Answer, Target, ask
from tests.gamma.canned import CannedRegistry
from tests.gamma.guarded_servers import Guarded, Token, guarded_server, make_token
from tests.gamma.sealed import push, seal
from tests.gamma.servers import Protocol

NAMESPACE = "team-a"
SCOPES = {"everything": "*/*", "its namespace": "team-a/*", "its name": "*/Iri*", "another namespace": "team-b/*"}
REACHING = ("everything", "its namespace", "its name")
"""The scopes that have the service that is asked for."""
NUMBERS = count()

Outcome = Literal["allowed", "denied", "absent", "nothing"]
STATUSES: dict[Protocol, dict[Outcome, tuple[object, ...]]] = {
    "http": {"allowed": (200, 204), "denied": (403,), "absent": (404, 409), "nothing": (200, 204)},
    "grpc": {
        "allowed": (grpc.StatusCode.OK,),
        "denied": (grpc.StatusCode.PERMISSION_DENIED,),
        "absent": (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION),
        "nothing": (grpc.StatusCode.OK,),
    },
}
ABSENT = {"resolve", "files_of", "read_blob", "download_url"} | {
    *("write_blob", "upload_url", "take_blob", "upload_state", "commit_upload")
}
"""What finds nothing outside of a scope, and says so; lists and what may be repeated just find nothing."""
EMPTY = {"list_bundles", "list_services", "aliases", "alias_history", "abort_upload"}


def expected(operation: str, role: Role, scope: str) -> Outcome:
    """Return what the design says, in a few words."""
    if ROLES.index(role) < ROLES.index(ROLE_OF[operation]):
        return "denied"
    if operation == "collect_garbage":
        return "allowed" if scope == "everything" else "denied"
    if operation == "info" or scope in REACHING:
        return "allowed"
    return "absent" if operation in ABSENT else "nothing" if operation in EMPTY else "denied"


@dataclass(frozen=True)
class Setting:
    """A server, and a token of each role and scope."""

    server: Guarded
    tokens: dict[tuple[Role, str], Token]

    def target(self, token: Token, *, is_theirs: bool) -> Target:
        """Return a bundle that nobody asked for yet, with an alias, and an upload of the token or of another one."""
        number = next(NUMBERS)
        bundle = seal(f"{number}", {"Iris/handlers.py": b"x = %d" % number})
        other = seal(f"{number}-more", {"Iris/artifacts/model.bin": b"model %d" % number})
        new = seal(f"{number}-new", {"Iris/artifacts/model.bin": b"new %d" % number})
        service = self.server.service
        record = push(service, bundle, namespace=NAMESPACE).record
        service.set_alias(record.tag, "live", operation="")
        owner = token if is_theirs else self.tokens["admin", "everything"]
        begun = service.seen_by(owner.caller).begin_upload(
            other.manifest, other.files, namespace=NAMESPACE, operation=""
        )
        digest = next(digest for digest in begun.missing if other.blobs[digest].startswith(b"model"))
        return Target(bundle, NAMESPACE, new, begun.session, digest)

    def state(self, target: Target) -> tuple[object, ...]:
        """Return all of the service that an operation may change."""
        service = self.server.service
        query = Query(name="Iris", version=target.tag.version, namespace=NAMESPACE)
        records: list[BundleRecord] = service.list_bundles(query)
        history: list[AliasChange] = service.alias_history("Iris", "live", namespace=NAMESPACE)
        return (
            records,
            history,
            service.aliases("Iris", namespace=NAMESPACE),
            service.upload_state(target.session).missing,
        )


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with guarded_server(tmp_path_factory.mktemp("guarded"), repository="memory://") as server:
        tokens = {
            (role, name): make_token(server.database_url, f"{role}-{number}", role, scope)
            for role in ROLES
            for number, (name, scope) in enumerate(SCOPES.items())
        }
        yield Setting(server, tokens)


@pytest.mark.parametrize("door", ["grpc", "http"])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", ROLE_OF)
def test_an_operation_is_allowed_or_refused_as_designed(
    setting: Setting, operation: str, role: Role, scope: str, door: Protocol
) -> None:
    token = setting.tokens[role, scope]
    is_reached = scope in REACHING
    # an upload of someone who may not begin one, or not there, is another's: this table asks for both together
    target = setting.target(token, is_theirs=is_reached and role != "read")
    before = setting.state(target)
    answer = ask(setting.server.served, door, operation, target, token.header)
    outcome = expected(operation, role, scope)
    assert answer.status in STATUSES[door][outcome] or _fails_for_another_reason(operation, outcome, answer), answer
    assert (answer.failure == "AccessDeniedError") is (outcome == "denied"), answer
    if outcome != "allowed":
        assert setting.state(target) == before
        assert target.bundle.tag.version not in answer.text or answer.failure, answer
    elif operation in EMPTY - {"abort_upload"}:
        assert target.tag.version in answer.text


def _fails_for_another_reason(operation: str, outcome: Outcome, answer: Answer) -> bool:
    """Return whether what is allowed was refused by the registry: a half upload, or a store that signs no URLs."""
    return outcome == "allowed" and (operation, answer.failure) in {
        ("commit_upload", "GammaError"),
        ("take_blob", "BundleError"),
    }


@pytest.mark.parametrize("door", ["grpc", "http"])
@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic YTpi", "Bearer kgt_nonsense"])
@pytest.mark.parametrize("operation", ROLE_OF)
def test_nothing_is_answered_without_a_token(
    setting: Setting, operation: str, authorization: str | None, door: Protocol
) -> None:
    target = Target(seal("1"), NAMESPACE, seal("2"), "a" * 48, "sha256:" + "0" * 64)
    answer = ask(setting.server.served, door, operation, target, authorization)
    assert answer.failure == "UnauthenticatedError"
    if door == "http":
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    else:
        assert answer.status is grpc.StatusCode.UNAUTHENTICATED


def test_the_table_has_every_operation_of_a_registry_and_every_method_of_each_door() -> None:
    operations = {name for name, _ in inspect.getmembers(Registry, inspect.isfunction) if not name.startswith("_")}
    assert set(ROLE_OF) == set(OPERATIONS) == operations - {"close"}
    assert {asked.method for asked in OPERATIONS.values()} == set(methods())


def test_what_has_no_row_cannot_be_called() -> None:
    registry = guarded(CannedRegistry(), Caller())
    for name in ("close", "location", "forget", "_note", "adopt", "tokens"):
        with pytest.raises(AttributeError, match="not an operation that a caller may have"):
            getattr(registry, name)
    assert registry.resolve(BundleReference("Iris")).tag.name == "Iris"


def test_a_lower_role_is_refused_before_the_registry_is_asked() -> None:
    canned = CannedRegistry()
    registry = guarded(canned, Caller("0" * 12, "ci", "read"))
    with pytest.raises(AccessDeniedError, match="The token `ci` has the role `read`, and this needs `write`"):
        registry.delete([Tag("Iris", "1")], operation="x")
    assert canned.asked == []
