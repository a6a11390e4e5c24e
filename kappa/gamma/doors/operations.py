"""The operations of the HTTP API: for each its method, path, body, answer and what it asks of the registry.

The routes and the OpenAPI document are made of this table. Blobs, which stream, have routes of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from kappa.errors import UsageError
from kappa.gamma.protocols.registry import BundleFile, Commit, Garbage, Registry, RegistryInfo, SignedUrl, Upload
from kappa.gamma.wire.checks import (
    check_alias,
    check_digest,
    check_operation,
    check_order,
    check_services,
    check_session,
    checked_query,
    checked_reference,
    checked_service,
    checked_tag,
)
from kappa.gamma.wire.http_api import (
    OPERATION_HEADER,
    AliasTarget,
    BlobSize,
    Deletion,
    GarbageCollection,
    LabelChanges,
    NewUpload,
)
from kappa.labels import checked_changes, parse_selector
from kappa.spec.store import Alias, AliasChange, BundleRecord, Query, ServiceRecord
from kappa.tag import ALL_NAMESPACES, DEFAULT_NAMESPACE, BundleReference, Tag

__all__ = ["OPERATIONS", "Call", "Operation", "Parameter"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query."""

    name: str
    description: str
    kind: str = "string"
    """Its type in JSON Schema."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to an operation."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any = None
    operation: str | None = None

    @property
    def tag(self) -> Tag:
        return checked_tag(self.path["namespace"], self.path["name"], self.path["version"])

    @property
    def service(self) -> tuple[str, str]:
        return checked_service(self.path["namespace"], self.path["name"])

    @property
    def write_id(self) -> str:
        """The id of a write, made by the client; raises `UsageError` where there is none."""
        if self.operation is None:
            raise UsageError(
                f"A write needs an id, which a client makes: a new one in the header `{OPERATION_HEADER}` of each, and "
                "the same one where it is repeated."
            )
        return check_operation(self.operation)

    def number(self, name: str) -> int | None:
        """Return a whole number of the query; raises `UsageError`."""
        text = self.query.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 20):
            raise UsageError(f"The parameter `{name}` is `{text[:100]}`: expected a whole number.")
        return int(text)

    def flag(self, name: str) -> bool:
        """Return a truth value of the query; raises `UsageError`."""
        text = self.query.get(name, "false")
        if text not in ("true", "false"):
            raise UsageError(f"The parameter `{name}` is `{text[:100]}`: expected `true` or `false`.")
        return text == "true"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the API."""

    method: str
    path: str
    """Below the prefix of the API, with its variables in braces."""
    name: str
    """What it is called in metrics and logs, as by gRPC."""
    summary: str
    answer: Any
    """The type of what it returns; ``None`` for nothing."""
    ask: Callable[[Registry, Call], Any]
    body: Any = None
    parameters: tuple[Parameter, ...] = field(default=())
    is_write: bool = False


def _query(call: Call) -> Query:
    labels = call.query.get("labels")
    query = Query(
        name=call.query.get("name"),
        version=call.query.get("version"),
        digest=call.query.get("digest"),
        selector=parse_selector(labels) if labels else (),
        limit=call.number("limit"),
        offset=call.number("offset") or 0,
        order_by=check_order(call.query.get("order_by", "created_at")),
        ascending=call.flag("ascending"),
        namespace=call.query.get("namespace", DEFAULT_NAMESPACE),
        requires=call.query.get("requires"),
    )
    return checked_query(query)


def _list_services(registry: Registry, call: Call) -> list[ServiceRecord]:
    search, namespace = call.query.get("search", ""), call.query.get("namespace", DEFAULT_NAMESPACE)
    limit, offset = call.number("limit"), call.number("offset") or 0
    check_services(search, namespace, limit, offset)
    return registry.list_services(search, namespace=namespace, limit=limit, offset=offset)


def _resolve(registry: Registry, call: Call) -> BundleRecord:
    version: str | None = call.path["version"]
    namespace, name = call.service
    if call.path["version"].startswith("sha256:"):
        reference = BundleReference(name, digest=version, namespace=namespace)
    else:
        is_latest = call.path["version"].lower() == "latest"
        reference = BundleReference(name, version=None if is_latest else version, namespace=namespace)
    return registry.resolve(checked_reference(reference))


def _set_labels(registry: Registry, call: Call) -> BundleRecord:
    body: LabelChanges = call.body
    return registry.set_labels(call.tag, checked_changes(body.changes), operation=call.write_id)


def _aliases(registry: Registry, call: Call) -> list[Alias]:
    namespace, name = call.service
    return registry.aliases(name, namespace=namespace)


def _set_alias(registry: Registry, call: Call) -> AliasChange:
    body: AliasTarget = call.body
    tag = checked_tag(call.path["namespace"], call.path["name"], body.version)
    return registry.set_alias(tag, check_alias(call.path["alias"]), expect=body.expect, operation=call.write_id)


def _delete_alias(registry: Registry, call: Call) -> AliasChange:
    namespace, name = call.service
    return registry.delete_alias(
        name,
        check_alias(call.path["alias"]),
        namespace=namespace,
        expect=call.query.get("expect"),
        operation=call.write_id,
    )


def _alias_history(registry: Registry, call: Call) -> list[AliasChange]:
    namespace, name = call.service
    return registry.alias_history(name, check_alias(call.path["alias"]), namespace=namespace)


def _begin_upload(registry: Registry, call: Call) -> Upload:
    body: NewUpload = call.body
    for file in body.files:
        check_digest(file.digest)
    return registry.begin_upload(body.manifest.encode(), body.files, namespace=body.namespace, operation=call.write_id)


def _upload_url(registry: Registry, call: Call) -> SignedUrl:
    return registry.upload_url(check_session(call.path["session"]), check_digest(call.path["digest"]))


def _take_blob(registry: Registry, call: Call) -> BlobSize:
    return BlobSize(registry.take_blob(check_session(call.path["session"]), check_digest(call.path["digest"])))


def _download_url(registry: Registry, call: Call) -> SignedUrl:
    return registry.download_url(call.tag, check_digest(call.path["digest"]))


def _delete(registry: Registry, call: Call) -> list[Tag]:
    body: Deletion = call.body
    tags = [checked_tag(tag.namespace, tag.name, tag.version) for tag in body.tags]
    return registry.delete(tags, force=body.force, operation=call.write_id)


def _delete_one(registry: Registry, call: Call) -> list[Tag]:
    return registry.delete([call.tag], force=call.flag("force"), operation=call.write_id)


def _collect(registry: Registry, call: Call) -> Garbage:
    body: GarbageCollection = call.body
    try:
        grace = timedelta(seconds=body.grace_seconds)
    except (OverflowError, ValueError):
        raise UsageError(f"`{body.grace_seconds}` seconds are not a time that garbage can be kept.") from None
    return registry.collect_garbage(grace=grace, dry_run=body.dry_run)


_BUNDLE = "/bundles/{namespace}/{name}/{version}"
_ALIAS = "/aliases/{namespace}/{name}/{alias}"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET", "", "GetInfo", "What the server says of itself.", RegistryInfo, lambda registry, _: registry.info()
    ),
    Operation(
        "GET",
        "/bundles",
        "ListBundles",
        "The bundles that a query selects, in its order.",
        list[BundleRecord],
        lambda registry, call: registry.list_bundles(_query(call)),
        parameters=(
            Parameter("namespace", f"The namespace, or `{ALL_NAMESPACES}` for all; `{DEFAULT_NAMESPACE}` by default."),
            Parameter("name", "Of this service alone."),
            Parameter("version", "Of this version alone."),
            Parameter("digest", "Whose digest begins so, with `sha256:`."),
            Parameter("labels", "A selector of labels, like `framework=sklearn,stage NotIn (test)`."),
            Parameter("requires", "Which lock one of these versions, like `pillow<11.1`."),
            Parameter("limit", "The most bundles.", "integer"),
            Parameter("offset", "How many to skip.", "integer"),
            Parameter("order_by", "`created_at` or `name`."),
            Parameter("ascending", "Whether the oldest, or the first name, comes first.", "boolean"),
        ),
    ),
    Operation(
        "GET",
        "/services",
        "ListServices",
        "The services, the one built last first.",
        list[ServiceRecord],
        _list_services,
        parameters=(
            Parameter("namespace", f"The namespace, or `{ALL_NAMESPACES}` for all; `{DEFAULT_NAMESPACE}` by default."),
            Parameter("search", "What the name contains, in upper or lower case."),
            Parameter("limit", "The most services.", "integer"),
            Parameter("offset", "How many to skip.", "integer"),
        ),
    ),
    Operation(
        "GET",
        _BUNDLE,
        "Resolve",
        "One bundle, by its version, an alias, `latest` or its digest.",
        BundleRecord,
        _resolve,
    ),
    Operation(
        "DELETE",
        _BUNDLE,
        "DeleteBundle",
        "Delete one bundle; the answer is empty where it is not there.",
        list[Tag],
        _delete_one,
        parameters=(Parameter("force", "Also where aliases name it.", "boolean"),),
        is_write=True,
    ),
    Operation(
        "GET",
        f"{_BUNDLE}/files",
        "ListFiles",
        "The files of a bundle, by path.",
        tuple[BundleFile, ...],
        lambda registry, call: registry.files_of(call.tag),
    ),
    Operation(
        "GET",
        f"{_BUNDLE}/blobs/{{digest}}/url",
        "GetDownloadUrl",
        "Where the object store itself has a file of a bundle; empty where the server has to send it.",
        SignedUrl,
        _download_url,
    ),
    Operation(
        "PATCH",
        f"{_BUNDLE}/labels",
        "SetLabels",
        "Set labels of a bundle, and remove others.",
        BundleRecord,
        _set_labels,
        body=LabelChanges,
        is_write=True,
    ),
    Operation("GET", "/aliases/{namespace}/{name}", "ListAliases", "The aliases of a service.", list[Alias], _aliases),
    Operation(
        "PUT",
        _ALIAS,
        "SetAlias",
        "Let an alias name a version.",
        AliasChange,
        _set_alias,
        body=AliasTarget,
        is_write=True,
    ),
    Operation(
        "DELETE",
        _ALIAS,
        "DeleteAlias",
        "Remove an alias.",
        AliasChange,
        _delete_alias,
        parameters=(Parameter("expect", "The version that it must name now."),),
        is_write=True,
    ),
    Operation(
        "GET",
        f"{_ALIAS}/history",
        "GetAliasHistory",
        "The changes of an alias, the newest first.",
        list[AliasChange],
        _alias_history,
    ),
    Operation(
        "POST",
        "/uploads",
        "BeginUpload",
        "Begin the upload of a bundle; the answer says which blobs are missing.",
        Upload,
        _begin_upload,
        body=NewUpload,
        is_write=True,
    ),
    Operation(
        "GET",
        "/uploads/{session}",
        "GetUpload",
        "What an upload still lacks.",
        Upload,
        lambda registry, call: registry.upload_state(check_session(call.path["session"])),
    ),
    Operation(
        "GET",
        "/uploads/{session}/blobs/{digest}/url",
        "GetUploadUrl",
        "Where a blob can be written, by one `PUT`, into the object store itself; empty where it goes to the server.",
        SignedUrl,
        _upload_url,
    ),
    Operation(
        "POST",
        "/uploads/{session}/blobs/{digest}/take",
        "TakeBlob",
        "Take a blob that was written into the object store: it is compared with its digest.",
        BlobSize,
        _take_blob,
    ),
    Operation(
        "POST",
        "/uploads/{session}/commit",
        "CommitUpload",
        "Make the bundle of a complete upload visible.",
        Commit,
        lambda registry, call: registry.commit_upload(check_session(call.path["session"]), operation=call.write_id),
        is_write=True,
    ),
    Operation(
        "DELETE",
        "/uploads/{session}",
        "AbortUpload",
        "Give an upload up.",
        None,
        lambda registry, call: registry.abort_upload(check_session(call.path["session"])),
    ),
    Operation(
        "POST",
        "/deletions",
        "DeleteBundles",
        "Delete bundles: all of them, or none.",
        list[Tag],
        _delete,
        body=Deletion,
        is_write=True,
    ),
    Operation(
        "POST",
        "/garbage-collections",
        "CollectGarbage",
        "Count, and unless `dry_run` remove, what no bundle and no upload needs.",
        Garbage,
        _collect,
        body=GarbageCollection,
    ),
)
