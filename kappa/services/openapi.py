"""A service's OpenAPI 3.1 document, from its specification alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kappa.adapters.multipart import FORM
from kappa.spec.contracts import Plugin, thaw
from kappa.spec.service import ApiSpec, ServiceSpec

__all__ = ["openapi_document"]

_ERROR = {"$ref": "#/components/responses/Error"}


def openapi_document(spec: ServiceSpec, *, version: str) -> dict[str, Any]:
    """Describe every endpoint, the operational ones included; plain dicts and lists, keys in a stable order."""
    title = spec.doc.partition("\n")[0].strip()
    models: dict[str, Any] = {}
    shown = {example.api: example.input for example in reversed(spec.examples) if example.input is not None}
    paths: dict[str, Any] = {
        f"/{api.path}": {"post": _operation(api, shown.get(api.name), models)} for api in spec.apis
    }
    for path, summary in _OPERATIONAL.items():
        paths[path] = {
            "get": {
                "tags": ["operations"],
                "summary": summary,
                "operationId": path.strip("/"),
                "responses": {"200": {"description": "OK"}, **({"503": _ERROR} if path == "/readyz" else {})},
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": spec.name,
            "version": version,
            **({"summary": title} if title else {}),
            "description": spec.doc,
        },
        "tags": [{"name": "predictions"}, {"name": "operations"}],
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {"error": {"type": "string"}, "request_id": {"type": "string"}},
                    "required": ["error", "request_id"],
                },
                **models,
            },
            "responses": {
                "Error": {
                    "description": "What went wrong, and the id under which the server logged it.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
            },
        },
    }


_OPERATIONAL = {
    "/healthz": "Whether the process lives",
    "/readyz": "Whether predictions can be asked for",
    "/metadata": "What the service is",
    "/metrics": "Prometheus metrics",
    "/docs.json": "This document",
}


def _operation(api: ApiSpec, example: Any, models: dict[str, Any]) -> dict[str, Any]:
    content = _content(api)
    if example is not None and "example" not in content.get("application/json", {"example": None}):
        content["application/json"] = {**content["application/json"], "example": thaw(example)}
    summary = api.doc.partition("\n")[0].strip() or api.name
    return {
        "tags": ["predictions"],
        "summary": summary,
        **({"description": api.doc} if api.doc else {}),
        "operationId": api.name,
        "x-kappa": {
            "input": _adapter(api.input),
            "output": _adapter(api.output),
            "batch": api.batch,
        },
        "requestBody": {"required": True, "content": _shared(content, api.name, models)},
        "responses": {
            "200": {
                "description": "The prediction",
                "content": _shared(_explicit(_answers(api)), api.name, models),
            },
            **dict.fromkeys(("400", "408", "413", "415", "422", "500", "503", "504"), _ERROR),
        },
    }


def _answers(api: ApiSpec) -> dict[str, Any]:
    """Return what an answer holds; outputs by name are an object of them where the adapter says nothing else."""
    content = api.output.response_content()
    if not api.outputs or content.get("application/json") != {"schema": {}}:
        return content
    schema = {"type": "object", "properties": {name: {} for name in api.outputs}, "required": list(api.outputs)}
    return {**content, "application/json": {"schema": schema}}


def _shared(content: dict[str, Any], owner: str, models: dict[str, Any]) -> dict[str, Any]:
    """Move the definitions that schemas bring (`$defs`) into ``models``, the document's own; return what refers there.

    Two that differ under one name keep apart: the later one gets the name of the API that brings it before its own.
    """
    definitions: dict[str, Any] = {}
    _collect(content, definitions)
    names = {}
    for name, schema in definitions.items():
        schema_here = _referring(schema, {})
        is_taken = name == "Error" or models.get(name, schema_here) != schema_here
        names[name] = f"{owner}_{name}" if is_taken else name
    models.update({names[name]: _referring(schema, names) for name, schema in definitions.items()})
    shared: dict[str, Any] = _referring(content, names)
    return shared


def _collect(tree: Any, definitions: dict[str, Any]) -> None:
    if isinstance(tree, dict):
        definitions.update(tree.get("$defs", {}))
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        _collect(part, definitions)


def _referring(tree: Any, names: dict[str, str]) -> Any:
    """Return a schema without its definitions, its references leading to where they are now."""
    if isinstance(tree, list):
        return [_referring(part, names) for part in tree]
    if not isinstance(tree, dict):
        return tree
    moved = {key: _referring(part, names) for key, part in tree.items() if key != "$defs"}
    reference = moved.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        moved["$ref"] = f"#/components/schemas/{names.get(name := reference.removeprefix('#/$defs/'), name)}"
    return moved


def _content(api: ApiSpec) -> dict[str, Any]:
    """Return what a request may be; a form only where nothing simpler will do.

    NOTE: openapi-python-client (0.29) writes modules that cannot be imported where a body is JSON or a form, although
    each alone is fine. A form with the body as its one file is understood by every API.
    """
    content = api.input.documented_content()
    has_simpler = {"application/json", "application/octet-stream"} & content.keys()
    return {kind: _explicit(description) for kind, description in content.items() if kind != FORM or not has_simpler}


def _explicit(schema: Any) -> Any:
    """Return a schema whose arrays all say what their items are, anything if need be: generators insist on it."""
    if isinstance(schema, Mapping):
        made = {
            key: value if key in ("example", "examples", "default") else _explicit(value)
            for key, value in schema.items()
        }
        is_array = made.get("type") == "array" and not {"items", "prefixItems"} & made.keys()
        return {**made, "items": {}} if is_array else made
    return [_explicit(item) for item in schema] if isinstance(schema, list) else schema


def _adapter(adapter: Plugin) -> dict[str, Any]:
    """Return an adapter as the user declared it, without what the document shows in its own place."""
    shown = ("http_input_example", "request_schema")
    return {"type": adapter.type, **{key: value for key, value in adapter.options.items() if key not in shown}}
