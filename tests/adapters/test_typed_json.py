"""JSON that a model of the user's describes: functions get instances, and what does not fit is told where."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from kappa.adapters import JsonInput
from kappa.errors import BundleError
from kappa.services.inference import Inference
from kappa.services.openapi import openapi_document
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec
from kappa.types import Payload


class Item(BaseModel):
    name: str
    price: float = Field(gt=0)

    @field_validator("name")
    @classmethod
    def _has_letters(cls, name: str) -> str:
        if not name.isalpha():
            raise ValueError("letters only")
        return name


class Order(BaseModel):
    items: list[Item]


@dataclass
class Point:
    x: int


class NoModel:
    """Nothing that pydantic knows."""


OWN = {"shop:Order": Order, "shop:Item": Item, "shop:Point": Point, "shop:NoModel": NoModel, "shop:Items": list[Item]}


def inference_of(reference: Any, function: Any = lambda value: value, **options: Any) -> Inference:
    adapter = JsonInput(schema=reference)
    spec = ApiSpec(name="order", target=FunctionTarget(function="shop:order"), input=adapter, **options)
    return Inference(spec, function, {}, load=OWN.__getitem__)


def asked(inference: Inference, body: Any) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = inference.answer_payload(Payload(data, "application/json"))
    found = json.loads(answer.body)
    return answer.http_status, found["error"] if answer.http_status >= 400 else found


def test_functions_get_instances() -> None:
    single = inference_of("shop:Order", lambda order: sum(item.price for item in order.items))
    assert asked(single, {"items": [{"name": "a", "price": 1}, {"name": "b", "price": 2.5}]}) == (200, 3.5)
    batch = inference_of("shop:Item", lambda items: [item.name for item in items], batch=True)
    assert asked(batch, {"name": "a", "price": 1}) == (200, "a")
    assert asked(inference_of("shop:Point", lambda point: point.x), {"x": 3}) == (200, 3)
    assert asked(inference_of("shop:Items", len), [{"name": "a", "price": 1}]) == (200, 1)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"items": [{"name": "a", "price": 0}]}, 422, "`items[0].price`: Input should be greater than 0."),
        (
            {"items": [{"name": "a1", "price": 1}, {"price": 2}]},
            422,
            "`items[0].name`: letters only; `items[1].name`: Field required.",
        ),
        ({}, 422, "`items`: Field required."),
        (5, 422, "The body: Input should be an object."),
        (b'{"items": [', 400, "The body is not valid JSON: unexpected end of data: line 1 column 12 (char 11)."),
        (b"", 400, "The body is empty; it must be JSON."),
    ],
)
def test_what_does_not_fit_is_refused_with_where_it_is(body: Any, status: int, message: str) -> None:
    assert asked(inference_of("shop:Order"), body) == (status, message)


def test_a_body_with_countless_mistakes_is_refused_with_the_first_of_them() -> None:
    status, message = asked(inference_of("shop:Order"), {"items": [{}] * 100})
    assert (status, message.count("Field required"), message[-15:]) == (422, 20, "; and 180 more.")


def test_another_charset_is_read_before_it_is_validated() -> None:
    answer = inference_of("shop:Item", lambda item: item.name).answer_payload(
        Payload('{"name": "ä", "price": 1}'.encode("latin-1"), "application/json", "latin-1")
    )
    assert json.loads(answer.body) == "ä"


def test_another_media_type_is_refused() -> None:
    assert inference_of("shop:Item").answer_payload(Payload(b"1", "image/png")).http_status == 415


def test_a_class_is_named_by_where_it_is_defined() -> None:
    adapter = JsonInput(schema=Order)
    assert adapter.schema_ == f"{__name__}:Order"
    assert adapter == JsonInput.model_validate({"type": "json", "schema": f"{__name__}:Order"})
    assert adapter.references() == (f"{__name__}:Order",)


@pytest.mark.parametrize("schema", ["Order", "shop.Order", 5])
def test_what_names_no_class_is_refused(schema: Any) -> None:
    with pytest.raises(ValidationError):
        JsonInput(schema=schema)


def test_what_pydantic_does_not_know_is_an_error_when_the_service_is_loaded() -> None:
    with pytest.raises(BundleError, match="`shop:NoModel` is nothing that pydantic validates"):
        inference_of("shop:NoModel")


def test_the_model_is_in_the_openapi_document_once_however_many_apis_take_it() -> None:
    adapter = JsonInput(schema="shop:Order").described(OWN.__getitem__)
    apis = [
        ApiSpec(name=name, target=FunctionTarget(function="shop:order"), input=adapter) for name in ("order", "again")
    ]
    document = openapi_document(ServiceSpec(name="Shop", apis=tuple(apis)), version="1")
    schemas = document["components"]["schemas"]
    assert list(schemas) == ["Error", "Item", "Order"]
    assert schemas["Order"]["properties"]["items"]["items"] == {"$ref": "#/components/schemas/Item"}
    for name in ("order", "again"):
        content = document["paths"][f"/{name}"]["post"]["requestBody"]["content"]
        assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}


def test_two_models_of_one_name_stay_apart_in_the_document() -> None:
    other = {"$ref": "#/$defs/Order", "$defs": {"Order": {"type": "object", "title": "Order"}}}
    inputs = [JsonInput(schema="shop:Order").described(OWN.__getitem__), JsonInput(request_schema=other)]
    apis = [
        ApiSpec(name=name, target=FunctionTarget(function="shop:order"), input=adapter)
        for name, adapter in zip(("one", "two"), inputs, strict=True)
    ]
    document = openapi_document(ServiceSpec(name="Shop", apis=tuple(apis)), version="1")
    assert list(document["components"]["schemas"]) == ["Error", "Item", "Order", "two_Order"]
    content = document["paths"]["/two"]["post"]["requestBody"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/two_Order"}


@pytest.mark.parametrize(
    ("given", "content"),
    [
        ({"type": "object"}, {"application/json": {"schema": {"type": "object"}}}),
        (
            {"application/vnd.acme+json": {"schema": {"type": "array"}}},
            {"application/vnd.acme+json": {"schema": {"type": "array"}}},
        ),
    ],
    ids=["a schema", "by media type"],
)
def test_a_schema_of_the_users_own_stands_in_place_of_the_adapters(given: Any, content: Any) -> None:
    assert JsonInput(request_schema=given).documented_content() == content
