"""The OpenAPI document says what the service takes, in plain JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kappa.plugins import INPUT_ADAPTERS, OUTPUT_ADAPTERS
from kappa.services.openapi import openapi_document
from kappa.spec.service import RESERVED_NAMES, ServiceSpec


def spec(api: dict[str, Any] | None = None, **service: Any) -> ServiceSpec:
    api = {"name": "predict", "target": {"function": "m:f"}, "input": "dataframe", "batch": True, **(api or {})}
    return ServiceSpec.model_validate({"name": "Iris", "apis": [api], **service})


def test_an_operation_per_api_and_per_page() -> None:
    document = openapi_document(
        spec({"route": "v1/predict", "doc": "Predict.\n\nMore."}, doc="Irises.\nAll."), version="1.0"
    )
    assert document["info"] == {"title": "Iris", "version": "1.0", "summary": "Irises.", "description": "Irises.\nAll."}
    assert list(document["paths"]) == ["/v1/predict", "/healthz", "/readyz", "/metadata", "/metrics", "/docs.json"]
    operation = document["paths"]["/v1/predict"]["post"]
    assert (operation["operationId"], operation["summary"], operation["description"]) == (
        "predict",
        "Predict.",
        "Predict.\n\nMore.",
    )
    assert list(operation["responses"]) == ["200", "400", "408", "413", "415", "422", "500", "503", "504"]


def test_every_operation_has_an_id_of_its_own() -> None:
    document = openapi_document(spec({"name": "docs_json"}), version="1")
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)
    assert set(ids) - RESERVED_NAMES == {"docs_json"}


@pytest.mark.parametrize("input_type", sorted(INPUT_ADAPTERS.builtins))
@pytest.mark.parametrize("output_type", sorted(OUTPUT_ADAPTERS.builtins))
def test_the_document_of_every_adapter_is_plain_json(input_type: str, output_type: str) -> None:
    options = {"input_names": ["a", "b"]} if input_type == "multi_file" else {}
    document = openapi_document(spec({"input": {"type": input_type, **options}, "output": output_type}), version="1")
    assert json.loads(json.dumps(document)) == document


def test_declared_columns_and_examples_are_shown() -> None:
    columns = {"a": "int64", "b": "str"}
    document = openapi_document(
        spec({"input": {"type": "dataframe", "columns": columns, "orient": "records"}}), version="1"
    )
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert content["application/json"]["schema"]["items"] == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": ["string", "null"]}},
        "required": ["a", "b"],
    }
    document = openapi_document(
        spec({"input": {"type": "json", "http_input_example": {"x": [1, {"y": None}]}}}), version="1"
    )
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert json.loads(json.dumps(content["application/json"]["example"])) == {"x": [1, {"y": None}]}


def test_what_generators_need_is_there() -> None:
    apis = [
        {"name": "rows", "target": {"function": "m:f"}, "input": "dataframe", "output": "dataframe", "batch": True},
        {"name": "text", "target": {"function": "m:f"}, "input": "string"},
        {
            "name": "value",
            "target": {"function": "m:f"},
            "input": {
                "type": "json",
                "request_schema": {"type": "array", "default": [{"type": "array"}]},
                "http_input_example": {"type": "array"},
            },
        },
    ]
    paths = openapi_document(ServiceSpec.model_validate({"name": "S", "apis": apis}), version="1")["paths"]
    bodies = {
        path: operation["post"]["requestBody"]["content"] for path, operation in paths.items() if "post" in operation
    }
    assert [("multipart/form-data" in content) for content in bodies.values()] == [False, True, False]
    assert paths["/rows"]["post"]["responses"]["200"]["content"]["application/json"]["schema"] == {
        "type": "array",
        "items": {},
    }
    assert bodies["/value"]["application/json"] == {
        "schema": {"type": "array", "default": [{"type": "array"}], "items": {}},
        "example": {"type": "array"},
    }
    assert paths["/value"]["post"]["x-kappa"] == {
        "input": {"type": "json"},
        "output": {"type": "default"},
        "batch": False,
    }
