"""A service's OpenAPI 3.1 document, from its specification alone."""

from __future__ import annotations

from typing import Any

from kappa.spec.models import ApiSpec, ServiceSpec

__all__ = ["openapi_document"]

_ERROR = {"$ref": "#/components/responses/Error"}


def openapi_document(spec: ServiceSpec, *, version: str) -> dict[str, Any]:
    """Describe every endpoint, the operational ones included; plain dicts and lists, keys in a stable order."""
    title = spec.doc.partition("\n")[0].strip()
    paths: dict[str, Any] = {f"/{api.path}": {"post": _operation(api)} for api in spec.apis}
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
                }
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


def _operation(api: ApiSpec) -> dict[str, Any]:
    summary = api.doc.partition("\n")[0].strip() or api.name
    return {
        "tags": ["predictions"],
        "summary": summary,
        **({"description": api.doc} if api.doc else {}),
        "operationId": api.name,
        "requestBody": {"required": True, "content": api.input.documented_content()},
        "responses": {
            "200": {"description": "The prediction", "content": api.output.response_content()},
            **dict.fromkeys(("400", "413", "415", "422", "500", "503"), _ERROR),
        },
    }
