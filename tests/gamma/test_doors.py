"""What goes through a door comes out as it went in: operations, values, blobs and failures, over gRPC and HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest

from kappa import errors
from kappa.errors import BundleNotFoundError, DestinationExistsError, GammaError, KappaError, UsageError
from kappa.gamma.doors.openapi import openapi_document
from kappa.gamma.protocols.registry import BundleFile, Registry
from kappa.gamma.wire.proto import messages
from kappa.gamma.wire.proto.descriptors import methods
from kappa.labels import parse_selector
from kappa.spec.store import Query
from kappa.tag import BundleReference, Tag
from tests.gamma.canned import CONTENT, DIGEST, OTHER_DIGEST, RECORD, TAG, CannedRegistry
from tests.gamma.servers import Protocol, Served, serving

FILES = (BundleFile("kappa.yml", DIGEST, 10), BundleFile("ü/x.sh", OTHER_DIGEST, 2**33, True))
QUERY = Query(
    name="Iris",
    version="production",
    digest="sha256:ab12",
    selector=parse_selector("a=1, b!=2, c In (x, y), d NotIn (z), e Exists, f DoesNotExist"),
    limit=7,
    offset=3,
    order_by="name",
    ascending=True,
    namespace="growth",
    requires="pillow<11.1",
)
OPERATIONS: dict[str, Callable[[Registry], Any]] = {
    "resolve the latest": lambda registry: registry.resolve(BundleReference("Iris", namespace="growth")),
    "resolve a version": lambda registry: registry.resolve(BundleReference("Iris", version="1.0-a_b")),
    "resolve a digest": lambda registry: registry.resolve(BundleReference("Iris", digest="sha256:ab12cd")),
    "list all": lambda registry: registry.list_bundles(),
    "list by everything": lambda registry: registry.list_bundles(QUERY),
    "services": lambda registry: registry.list_services(),
    "services of a name": lambda registry: registry.list_services("iR", namespace="*", limit=7, offset=3),
    "files": lambda registry: registry.files_of(TAG),
    "labels": lambda registry: registry.set_labels(TAG, {"team": "growth", "old": None}, operation="op-1"),
    "aliases": lambda registry: registry.aliases("Iris", namespace="growth"),
    "set an alias": lambda registry: registry.set_alias(TAG, "production", operation="op-2"),
    "set a new alias": lambda registry: registry.set_alias(TAG, "production", expect="", operation="op-3"),
    "move an alias": lambda registry: registry.set_alias(TAG, "production", expect="1", operation="op-4"),
    "delete an alias": lambda registry: registry.delete_alias("Iris", "p", namespace="growth", operation="op-5"),
    "delete an alias of": lambda registry: registry.delete_alias("Iris", "p", expect="2", operation="op-6"),
    "history": lambda registry: registry.alias_history("Iris", "production", namespace="growth"),
    "begin": lambda registry: registry.begin_upload("ü: 1\n".encode(), FILES, namespace="growth", operation="op-7"),
    "state": lambda registry: registry.upload_state("session-1"),
    "upload URL": lambda registry: registry.upload_url("session-1", DIGEST),
    "take": lambda registry: registry.take_blob("session-1", DIGEST),
    "download URL": lambda registry: registry.download_url(TAG, DIGEST),
    "commit": lambda registry: registry.commit_upload("session-1", operation="op-8"),
    "abort": lambda registry: registry.abort_upload("session-1"),
    "delete": lambda registry: registry.delete([TAG, Tag("Iris", "2")], force=True, operation="op-9"),
    "count garbage": lambda registry: registry.collect_garbage(grace=timedelta(hours=36, milliseconds=500)),
    "collect garbage": lambda registry: registry.collect_garbage(grace=timedelta(), dry_run=False),
    "info": lambda registry: registry.info(),
    "write": lambda registry: registry.write_blob("session-1", DIGEST, 5, iter([CONTENT, b"", b"end"])),
    "write nothing": lambda registry: registry.write_blob("session-1", DIGEST, 0, []),
    "read": lambda registry: b"".join(registry.read_blob(TAG, DIGEST)),
    "read the rest": lambda registry: b"".join(registry.read_blob(TAG, DIGEST, offset=len(CONTENT) - 5)),
    "read on at the end": lambda registry: b"".join(registry.read_blob(TAG, DIGEST, offset=len(CONTENT))),
}


@pytest.fixture
def canned() -> CannedRegistry:
    return CannedRegistry()


@pytest.fixture
def served(canned: CannedRegistry) -> Iterator[Served]:
    with serving(canned) as server:
        yield server


@pytest.fixture(params=["grpc", "http"])
def protocol(request: pytest.FixtureRequest) -> Protocol:
    name: Protocol = request.param
    return name


@pytest.fixture
def client(served: Served, protocol: Protocol) -> Iterator[Registry]:
    with served.client(protocol) as registry:
        yield registry


def test_every_operation_arrives_as_it_was_asked_and_returns_what_was_answered(
    canned: CannedRegistry, client: Registry
) -> None:
    for name, ask in OPERATIONS.items():
        directly = CannedRegistry()
        expected = ask(directly)
        canned.asked.clear()
        assert (name, ask(client)) == (name, expected)
        arrived = [call for call in canned.asked if call[0] != "files_of" or "files" in name]  # HTTP asks for the size
        if name == "read on at the end":
            arrived = arrived or directly.asked  # which HTTP answers without a read
        assert (name, arrived) == (name, directly.asked)


def test_a_chunk_that_is_sent_is_the_chunk_that_arrives(canned: CannedRegistry, client: Registry) -> None:
    received = bytearray()
    canned.on_chunk = received.extend
    client.write_blob("session-1", DIGEST, 0, [CONTENT, b"end"])
    assert bytes(received) == CONTENT + b"end"


@pytest.mark.parametrize(
    "failure",
    [
        BundleNotFoundError("There is no bundle `Iris:9`.\nIt holds `Iris:1` and `Iris:ü`."),
        DestinationExistsError("`Iris:1` has other bytes: sha256:ab there, sha256:cd here."),
        errors.BundleError("The manifest does not describe its files."),
        UsageError("`1` is a version."),
        GammaError("`production` names `1`, not `2`. " + "x" * 5000),
        errors.UnauthenticatedError("The token was revoked."),
        errors.AccessDeniedError("The token `ci` may read."),
        errors.ConfigurationError("The settings do not fit."),
        KappaError("Something else."),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_failure_has_its_class_its_message_and_its_exit_code(
    canned: CannedRegistry, client: Registry, failure: KappaError
) -> None:
    canned.failure = failure
    for ask in (OPERATIONS["resolve the latest"], OPERATIONS["read"], OPERATIONS["write"], OPERATIONS["list all"]):
        with pytest.raises(KappaError) as caught:
            ask(client)
        assert (type(caught.value), str(caught.value)) == (type(failure), str(failure))
        assert caught.value.exit_code == failure.exit_code


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (BundleNotFoundError("No."), grpc.StatusCode.NOT_FOUND),
        (errors.UnauthenticatedError("No."), grpc.StatusCode.UNAUTHENTICATED),
        (errors.AccessDeniedError("No."), grpc.StatusCode.PERMISSION_DENIED),
        (GammaError("No."), grpc.StatusCode.FAILED_PRECONDITION),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, KappaError) else value.name,
)
def test_a_failure_has_the_status_code_of_grpc(
    canned: CannedRegistry, served: Served, failure: KappaError, code: grpc.StatusCode
) -> None:
    canned.failure = failure
    method = methods()["AbortUpload"]
    with grpc.insecure_channel(served.grpc.removeprefix("grpc://")) as channel:
        ask = channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            ask(messages.UploadSession(session="session-1"), timeout=30)
    assert caught.value.code() is code


def test_a_failure_that_needs_more_than_a_message_becomes_one_of_gamma(
    canned: CannedRegistry, client: Registry
) -> None:
    canned.failure = errors.MissingDependencyError("acme", needed_for="the thing")
    with pytest.raises(KappaError) as caught:
        client.upload_state("session-1")
    assert (type(caught.value), str(caught.value)) == (GammaError, str(canned.failure))


def test_an_error_of_the_servers_own_is_logged_and_named_by_its_id(
    canned: CannedRegistry, client: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    canned.failure = LookupError("secret")
    with pytest.raises(GammaError, match=r"^The Gamma server failed; its log has the reason under the id `(\w+)`\.$"):
        client.upload_state("session-1")
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.name == "kappa.gamma"
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


def test_the_chunks_own_failure_is_raised_and_ends_the_upload(client: Registry) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"begin"
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        client.write_blob("session-1", DIGEST, 0, chunks())


@pytest.mark.parametrize(
    "ask",
    [
        lambda registry: registry.resolve(BundleReference("../x", version="1")),
        lambda registry: registry.list_bundles(Query(limit=-1)),
        lambda registry: registry.list_bundles(Query(order_by="size; --")),  # type: ignore[arg-type]
        lambda registry: registry.list_bundles(Query(namespace="\0")),
        lambda registry: registry.files_of(Tag("Iris", "..", "default")),
        lambda registry: registry.set_labels(TAG, {"a": "\0"}, operation="op"),
        lambda registry: registry.set_labels(TAG, {"a": "1"}, operation=""),
        lambda registry: registry.set_alias(TAG, "latest", operation="op"),
        lambda registry: registry.upload_state("../../etc"),
        lambda registry: registry.write_blob("s", "sha256:12", 0, [b"x"]),
        lambda registry: registry.write_blob("s", DIGEST, -1, [b"x"]),
    ],
)
def test_what_no_client_would_send_is_refused_before_the_registry_is_asked(
    canned: CannedRegistry, client: Registry, ask: Callable[[Registry], Any]
) -> None:
    with pytest.raises(KappaError):
        ask(client)
    assert canned.asked == []


def test_one_client_is_used_by_many_threads(client: Registry) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: b"".join(client.read_blob(TAG, DIGEST)), range(48)))
    assert set(answers) == {CONTENT}


# -- HTTP itself -------------------------------------------------------------------------------------------------------


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.http) as client:
        yield client


BLOB = f"/api/v1/bundles/growth/Iris/1/blobs/{DIGEST}"


@pytest.mark.parametrize(
    ("asked", "status", "content_range", "content"),
    [
        ("bytes=0-9", 206, f"bytes 0-9/{len(CONTENT)}", CONTENT[:10]),
        ("bytes=5-", 206, f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}", CONTENT[5:]),
        (f"bytes=7-{10**15}", 206, f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}", CONTENT[7:]),
        (f"bytes={len(CONTENT)}-", 416, f"bytes */{len(CONTENT)}", b""),
        ("bytes=1-2,4-5", 200, None, CONTENT),
        ("lines=1-2", 200, None, CONTENT),
    ],
)
def test_a_range_of_a_blob(
    http: httpx.Client, asked: str, status: int, content_range: str | None, content: bytes
) -> None:
    answer = http.get(BLOB, headers={"Range": asked})
    assert (answer.status_code, answer.headers.get("Content-Range")) == (status, content_range)
    if status != 416:
        assert answer.content == content


def test_an_error_body_has_the_message_the_id_and_the_class(canned: CannedRegistry, http: httpx.Client) -> None:
    canned.failure = BundleNotFoundError("No.")
    answer = http.get("/api/v1/bundles/default/Iris/1", headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == 404
    assert answer.json() == {"error": "No.", "request_id": "mine-1", "kind": "BundleNotFoundError"}
    assert (answer.headers["X-Request-Id"], answer.headers["Kappa-Error"]) == ("mine-1", "BundleNotFoundError")
    assert "WWW-Authenticate" not in answer.headers
    canned.failure = errors.UnauthenticatedError("No.")
    answer = http.get("/api/v1/bundles/default/Iris/1")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    canned.failure = errors.AccessDeniedError("No.")
    assert http.get("/api/v1/bundles/default/Iris/1").status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("POST", "/api/v1/bundles", {}, 405),
        ("GET", "/api/v1/bundles?limit=many", {}, 400),
        ("GET", "/api/v1/bundles?labels=%3D", {}, 400),
        ("POST", "/api/v1/deletions", {"json": {"tags": [], "farce": True}}, 400),
        ("POST", "/api/v1/deletions", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", "/api/v1/deletions", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 400),
        ("POST", "/api/v1/deletions", {"json": {"tags": [{"name": "Iris", "version": "1"}]}}, 400),
    ],
    ids=[
        "no route",
        "no method",
        "no number",
        "no selector",
        "unknown key",
        "no JSON",
        "no type",
        "no id of the write",
    ],
)
def test_a_request_that_cannot_be_meant_is_answered_with_json(
    http: httpx.Client, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    answer = http.request(method, path, **options)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


def test_a_page_of_another_site_writes_nothing(canned: CannedRegistry, http: httpx.Client) -> None:
    body = {"tags": [{"name": "Iris", "version": "1"}]}
    operation = {"Idempotency-Key": uuid4().hex}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        answer = http.post("/api/v1/deletions", json=body, headers={**operation, **headers})
        assert answer.status_code == 403
    assert canned.asked == []
    host = http.base_url.netloc.decode()
    own = {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin", **operation}
    assert http.post("/api/v1/deletions", json=body, headers=own).status_code == 200


def test_browsers_are_told_to_be_careful(http: httpx.Client) -> None:
    for path in ("/", "/api/v1/bundles", "/metrics", "/nowhere"):
        headers = http.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Cache-Control"] == "no-store"


def test_the_first_page_leads_to_the_api(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    for link in ("api/v1/openapi.json", "metrics"):
        assert f'href="{link}"' in page.text
        assert http.get(f"/{link}").status_code == 200
    assert "This server has no authentication" in page.text


def test_the_document_of_the_api_is_whole(http: httpx.Client) -> None:
    document = http.get("/api/v1/openapi.json").json()
    assert document == json.loads(json.dumps(openapi_document()))
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}:
        assert reference in document["components"]["schemas"], reference
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names)) == 22


def test_metrics_count_what_happened(canned: CannedRegistry, served: Served, http: httpx.Client) -> None:
    for protocol in ("grpc", "http"):
        with served.client(protocol) as client:
            b"".join(client.read_blob(TAG, DIGEST))
            client.write_blob("session-1", DIGEST, 0, [b"12345"])
            canned.failure = UsageError("No.")
            with pytest.raises(UsageError):
                client.upload_state("session-1")
            canned.failure = None
    lines = http.get("/metrics").text.splitlines()
    for door in ("grpc", "http"):
        assert f'kappa_gamma_requests_total{{door="{door}",operation="ReadBlob",outcome="ok"}} 1.0' in lines
        assert f'kappa_gamma_requests_total{{door="{door}",operation="GetUpload",outcome="UsageError"}} 1.0' in lines
        assert f'kappa_gamma_request_seconds_count{{door="{door}",operation="WriteBlob"}} 1.0' in lines
    assert f'kappa_gamma_blob_bytes_total{{direction="out"}} {float(2 * len(CONTENT)):g}' in lines
    assert 'kappa_gamma_blob_bytes_total{direction="in"} 10.0' in lines
    assert 'kappa_gamma_blob_transfers_total{direction="in"} 2.0' in lines


def test_a_record_is_the_same_over_both_doors(served: Served) -> None:
    with served.client("grpc") as grpc, served.client("http") as http:
        assert grpc.resolve(BundleReference("Iris")) == http.resolve(BundleReference("Iris")) == RECORD
