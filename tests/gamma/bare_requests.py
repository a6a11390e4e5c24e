"""Every operation of a registry as a bare request to each door, with an `Authorization` header of the test's choice.

No client of Kappa's is between the two: what a foreign or a hostile one may send is what is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from ssl import SSLContext, create_default_context
from typing import Any
from uuid import uuid4

import grpc
import httpx

from kappa.gamma.wire.proto import conversion, messages
from kappa.gamma.wire.proto.descriptors import methods
from kappa.gamma.wire.proto.limits import ERROR_KEY
from kappa.spec.store import Query
from kappa.tag import BundleReference, Tag
from tests.gamma.sealed import Bundle
from tests.gamma.servers import Protocol, Served

__all__ = ["OPERATIONS", "Answer", "Target", "ask"]

_TIMEOUT_S = 120


@dataclass(frozen=True)
class Target:
    """What is asked for: a bundle that is there, one that is not, and an upload of it that has begun."""

    bundle: Bundle
    namespace: str
    new: Bundle
    session: str
    digest: str
    """Of a blob that the upload lacks."""

    @property
    def tag(self) -> Tag:
        return Tag(self.bundle.tag.name, self.bundle.tag.version, self.namespace)

    @property
    def own_digest(self) -> str:
        """Of a file that the bundle has."""
        return next(file.digest for file in self.bundle.files if file.size_bytes)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    failure: str
    """The class of `kappa.errors`; empty where all went well."""
    status: int | grpc.StatusCode
    text: str
    """All of it, as text."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Http:
    method: str
    path: str
    json: Any = None
    content: bytes | None = None


@dataclass(frozen=True)
class _Asked:
    """How one operation is asked for at each door."""

    method: str
    message: Callable[[Target], Any]
    http: Callable[[Target], _Http]


def _path(target: Target) -> str:
    return f"/bundles/{target.namespace}/{target.tag.name}/{target.tag.version}"


def _service(target: Target) -> str:
    return f"{target.namespace}/{target.tag.name}"


def _uploaded(target: Target) -> str:
    return f"/uploads/{target.session}/blobs/{target.digest}"


def _once() -> str:
    return uuid4().hex


def _tag(target: Target) -> messages.Tag:
    return conversion.tag_message(target.tag)


def _reference(target: Target) -> messages.Reference:
    tag = target.tag
    return conversion.reference_message(BundleReference(tag.name, tag.version, namespace=tag.namespace))


def _service_parts(target: Target) -> dict[str, str]:
    return {"namespace": target.namespace, "name": target.tag.name}


def _new_upload(target: Target) -> dict[str, Any]:
    files = [
        {"path": file.path, "digest": file.digest, "size_bytes": file.size_bytes, "is_executable": file.is_executable}
        for file in target.new.files
    ]
    return {"manifest": target.new.manifest.decode(), "files": files, "namespace": target.namespace}


def _tag_parts(target: Target) -> dict[str, str]:
    return {**_service_parts(target), "version": target.tag.version}


OPERATIONS: Mapping[str, _Asked] = {
    "info": _Asked("GetInfo", lambda _: messages.GetInfoRequest(), lambda _: _Http("GET", "")),
    "resolve": _Asked("Resolve", _reference, lambda target: _Http("GET", _path(target))),
    "list_bundles": _Asked(
        "ListBundles",
        lambda target: conversion.query_message(Query(namespace=target.namespace)),
        lambda target: _Http("GET", f"/bundles?namespace={target.namespace}"),
    ),
    "list_services": _Asked(
        "ListServices",
        lambda target: messages.ListServicesRequest(namespace=target.namespace, search="ir"),
        lambda target: _Http("GET", f"/services?namespace={target.namespace}&search=ir"),
    ),
    "files_of": _Asked("ListFiles", _tag, lambda target: _Http("GET", f"{_path(target)}/files")),
    "read_blob": _Asked(
        "ReadBlob",
        lambda target: messages.ReadBlobRequest(tag=_tag(target), digest=target.own_digest),
        lambda target: _Http("GET", f"{_path(target)}/blobs/{target.own_digest}"),
    ),
    "download_url": _Asked(
        "GetDownloadUrl",
        lambda target: messages.BundleBlob(tag=_tag(target), digest=target.own_digest),
        lambda target: _Http("GET", f"{_path(target)}/blobs/{target.own_digest}/url"),
    ),
    "aliases": _Asked(
        "ListAliases",
        lambda target: messages.ListAliasesRequest(**_service_parts(target)),
        lambda target: _Http("GET", f"/aliases/{_service(target)}"),
    ),
    "alias_history": _Asked(
        "GetAliasHistory",
        lambda target: messages.AliasHistoryRequest(**_service_parts(target), alias="live"),
        lambda target: _Http("GET", f"/aliases/{_service(target)}/live/history"),
    ),
    "set_labels": _Asked(
        "SetLabels",
        lambda target: conversion.label_changes_message(target.tag, {"stage": "test"}, operation=_once()),
        lambda target: _Http("PATCH", f"{_path(target)}/labels", {"changes": {"stage": "test"}}),
    ),
    "set_alias": _Asked(
        "SetAlias",
        lambda target: messages.SetAliasRequest(tag=_tag(target), alias="next", operation=_once()),
        lambda target: _Http("PUT", f"/aliases/{_service(target)}/next", {"version": target.tag.version}),
    ),
    "delete_alias": _Asked(
        "DeleteAlias",
        lambda target: messages.DeleteAliasRequest(**_service_parts(target), alias="live", operation=_once()),
        lambda target: _Http("DELETE", f"/aliases/{_service(target)}/live"),
    ),
    "begin_upload": _Asked(
        "BeginUpload",
        lambda target: messages.BeginUploadRequest(
            manifest=target.new.manifest,
            files=map(conversion.file_message, target.new.files),
            namespace=target.namespace,
            operation=_once(),
        ),
        lambda target: _Http("POST", "/uploads", _new_upload(target)),
    ),
    "write_blob": _Asked(
        "WriteBlob",
        lambda target: messages.WriteBlobRequest(session=target.session, digest=target.digest, data=b"m"),
        lambda target: _Http("PUT", _uploaded(target), content=b"m"),
    ),
    "upload_url": _Asked(
        "GetUploadUrl",
        lambda target: messages.UploadBlob(session=target.session, digest=target.digest),
        lambda target: _Http("GET", f"{_uploaded(target)}/url"),
    ),
    "take_blob": _Asked(
        "TakeBlob",
        lambda target: messages.UploadBlob(session=target.session, digest=target.digest),
        lambda target: _Http("POST", f"{_uploaded(target)}/take"),
    ),
    "upload_state": _Asked(
        "GetUpload",
        lambda target: messages.UploadSession(session=target.session),
        lambda target: _Http("GET", f"/uploads/{target.session}"),
    ),
    "commit_upload": _Asked(
        "CommitUpload",
        lambda target: messages.CommitUploadRequest(session=target.session, operation=_once()),
        lambda target: _Http("POST", f"/uploads/{target.session}/commit"),
    ),
    "abort_upload": _Asked(
        "AbortUpload",
        lambda target: messages.UploadSession(session=target.session),
        lambda target: _Http("DELETE", f"/uploads/{target.session}"),
    ),
    "delete": _Asked(
        "DeleteBundles",
        lambda target: messages.DeleteBundlesRequest(tags=[_tag(target)], force=True, operation=_once()),
        lambda target: _Http("POST", "/deletions", {"tags": [_tag_parts(target)], "force": True}),
    ),
    "collect_garbage": _Asked(
        "CollectGarbage",
        lambda _: messages.CollectGarbageRequest(grace_seconds=3600, dry_run=True),
        lambda _: _Http("POST", "/garbage-collections", {"grace_seconds": 3600}),
    ),
}
"""By the name of a method of `Registry`."""


def ask(served: Served, door: Protocol, operation: str, target: Target, authorization: str | None = None) -> Answer:
    """Ask for an operation, as who shows ``authorization``."""
    asked = OPERATIONS[operation]
    if door == "http":
        return _ask_http(served, asked.http(target), authorization)
    return _ask_grpc(served, asked.method, asked.message(target), authorization)


@cache
def _tls() -> SSLContext:
    """Return what every client of HTTP has, made once: the certificates of the system are read for it."""
    return create_default_context()


def _ask_http(served: Served, asked: _Http, authorization: str | None) -> Answer:
    headers = {"Idempotency-Key": _once(), **({"Authorization": authorization} if authorization is not None else {})}
    options: dict[str, Any] = {"content": asked.content} if asked.content is not None else {"json": asked.json}
    options = options if asked.json is not None or asked.content is not None else {}
    answer = httpx.request(
        asked.method, f"{served.http}/api/v1{asked.path}", headers=headers, timeout=_TIMEOUT_S, verify=_tls(), **options
    )
    return Answer(answer.headers.get("Kappa-Error", ""), answer.status_code, answer.text, answer.headers)


def _ask_grpc(served: Served, name: str, message: Any, authorization: str | None) -> Answer:
    method = methods()[name]
    coding: dict[str, Any] = {
        "request_serializer": method.request.SerializeToString,
        "response_deserializer": method.response.FromString,
    }
    options: dict[str, Any] = {"timeout": _TIMEOUT_S}
    if authorization is not None:
        options["metadata"] = (("authorization", authorization),)
    with grpc.insecure_channel(served.grpc.removeprefix("grpc://")) as channel:
        try:
            if method.takes_stream:
                text = str(channel.stream_unary(method.path, **coding)(iter([message]), **options))
            elif method.returns_stream:
                text = "".join(map(str, channel.unary_stream(method.path, **coding)(message, **options)))
            else:
                text = str(channel.unary_unary(method.path, **coding)(message, **options))
        except grpc.RpcError as exc:
            return _refusal(exc)
    return Answer("", grpc.StatusCode.OK, text)


def _refusal(exc: grpc.RpcError) -> Answer:
    assert isinstance(exc, grpc.Call)
    trailing = {key: str(value) for key, value in exc.trailing_metadata() or ()}
    return Answer(trailing.get(ERROR_KEY, ""), exc.code(), exc.details() or "", trailing)
