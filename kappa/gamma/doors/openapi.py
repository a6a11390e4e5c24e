"""The OpenAPI document of the HTTP API, made of its table of operations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kappa._version import __version__
from kappa.gamma.doors.operations import OPERATIONS, Operation
from kappa.gamma.wire.http_api import OPERATION_HEADER, PREFIX, BlobSize, type_adapter

__all__ = ["openapi_document"]

_DIGEST = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_ERROR = {
    "type": "object",
    "required": ["error", "request_id"],
    "properties": {
        "error": {"type": "string", "description": "What happened, and what to do."},
        "request_id": {"type": "string", "description": "The id under which the server logged it."},
        "kind": {"type": "string", "description": "The class of `kappa.errors`."},
    },
}
_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token that `kappa gamma-token create` made. A server that was started with `--auth` answers 401 "
    "without a valid one, 403 where its role or scope does not allow what is asked, and 429 where too many wrong ones "
    "come from one address. What is outside of its scope is not there. Any other server ignores it.",
}
_BLOB = "/bundles/{namespace}/{name}/{version}/blobs/{digest}"
_UPLOADED = "/uploads/{session}/blobs/{digest}"


def openapi_document() -> dict[str, Any]:
    """Return the document (OpenAPI 3.1)."""
    schemas: dict[str, Any] = {"Error": _ERROR}
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _described(operation, schemas)
    paths[PREFIX + _BLOB] = {"get": _read_blob()}
    paths[PREFIX + _UPLOADED] = {"put": _write_blob(schemas)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gamma",
            "version": __version__,
            "description": "The registry of bundles. Errors name a class of `kappa.errors`; a write has an id, made by "
            f"the client, in the header `{OPERATION_HEADER}`: a repeat within a day gets the first answer.",
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": _TOKEN}},
        "security": [{"token": []}, {}],
    }


def _described(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation)],
        "responses": _answers("204" if operation.answer is None else "200", _json(operation.answer, schemas)),
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _json(operation.body, schemas, mode="validation")}
    return described


def _path_parameters(path: str) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        schema = _DIGEST if name == "digest" else {"type": "string"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for parameter in operation.parameters:
        yield {
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            "schema": {"type": parameter.kind},
        }
    if operation.is_write:
        yield {
            "name": OPERATION_HEADER,
            "in": "header",
            "required": True,
            "description": "The id of this write.",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"},
        }


def _json(kind: Any, schemas: dict[str, Any], *, mode: str = "serialization") -> dict[str, Any]:
    """Return the content of a type; its parts go to ``schemas``."""
    if kind is None:
        return {}
    template = "#/components/schemas/{model}"
    schema = type_adapter(kind).json_schema(mode=mode, ref_template=template)  # type: ignore[arg-type]
    schemas |= schema.pop("$defs", {})
    return {"application/json": {"schema": schema}}


def _answers(status: str, content: dict[str, Any]) -> dict[str, Any]:
    good = {"description": "Done.", **({"content": content} if content else {})}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: good, "default": {"description": "Why not.", "content": error}}


def _read_blob() -> dict[str, Any]:
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    answers = _answers("200", content)
    answers["206"] = {"description": "The part that `Range` asked for.", "content": content}
    answers["416"] = {"description": "The blob has no such part."}
    header = {
        "name": "Range",
        "in": "header",
        "description": "One range of bytes, like `bytes=1048576-`.",
        "schema": {"type": "string"},
    }
    return {
        "operationId": "ReadBlob",
        "summary": "The content of a file of a bundle, by its digest.",
        "parameters": [*_path_parameters(_BLOB), header],
        "responses": answers,
    }


def _write_blob(schemas: dict[str, Any]) -> dict[str, Any]:
    offset = {
        "name": "offset",
        "in": "query",
        "description": "How many bytes of the blob come before; 0 by default.",
        "schema": {"type": "integer"},
    }
    return {
        "operationId": "WriteBlob",
        "summary": "Append to a blob of an upload.",
        "parameters": [*_path_parameters(_UPLOADED), offset],
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        "responses": _answers("200", _json(BlobSize, schemas)),
    }
