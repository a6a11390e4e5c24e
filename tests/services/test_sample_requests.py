"""Requests to begin with: each is one that its API takes."""

from __future__ import annotations

import json
import shlex
from typing import Any, get_args

import pytest

from kappa.adapters import DataframeInput, JsonInput, MultiFileInput, NdarrayInput, StringInput
from kappa.adapters.arrays import ArrayDtype
from kappa.adapters.columns import Orient
from kappa.services.sample_requests import arguments_for_curl, arguments_for_run
from kappa.spec.contracts import InputAdapter
from kappa.spec.service import ApiSpec, ExampleSpec, FunctionTarget, ServiceSpec
from kappa.types import Payload

COLUMNS = {"a": "float64", "b": "int64", "c": "bool", "d": "str", "e": "datetime"}
READERS: dict[str, InputAdapter] = {
    "columns": DataframeInput(columns=COLUMNS),
    "names": DataframeInput(columns=["a", "b"]),
    "frame": DataframeInput(),
    "json": JsonInput(),
    "array": NdarrayInput(),
    **{f"array of {shape}": NdarrayInput(shape=shape) for shape in ((3,), (-1, 2), ())},
    **{f"array of {dtype}": NdarrayInput(dtype=dtype) for dtype in get_args(ArrayDtype)},
    "text": StringInput(),
    **{f"any table as {orient}": DataframeInput(orient=orient) for orient in get_args(Orient)},
    **{f"orient {orient}": DataframeInput(columns=COLUMNS, orient=orient) for orient in get_args(Orient)},
}


def service(adapter: InputAdapter, *examples: ExampleSpec) -> tuple[ServiceSpec, ApiSpec]:
    api = ApiSpec(name="predict", target=FunctionTarget(function="handlers:predict"), input=adapter, batch=True)
    return ServiceSpec(name="Demo", apis=(api,), examples=examples), api


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("words", [arguments_for_curl, arguments_for_run])
def test_a_request_that_is_shown_is_taken(kind: str, words: Any) -> None:
    body = shlex.split(words(*service(READERS[kind])))[-1]
    READERS[kind].decode(Payload(body.encode(), "application/json"))


def test_the_example_of_the_api_comes_first_and_curl_needs_no_quotes_for_its_rows() -> None:
    example = ExampleSpec(name="one", api="predict", input=[{"a": 2.5, "b": 3}])
    asked = service(DataframeInput(columns=["a", "b"]), example)
    assert arguments_for_run(*asked) == """--input '[{"a": 2.5, "b": 3}]'"""
    assert arguments_for_curl(*asked) == "--header 'Content-Type: application/json' --data '[[2.5, 3]]'"


def test_a_long_example_is_not_shown() -> None:
    asked = service(JsonInput(), ExampleSpec(name="one", api="predict", input=list(range(1000))))
    assert json.loads(shlex.split(arguments_for_run(*asked))[-1]) == {"key": 1}


def test_a_long_row_is_not_made_up() -> None:
    assert arguments_for_run(*service(NdarrayInput(shape=(28, 28)))) == "--input-file FILE"


def test_files_are_named_by_their_parts() -> None:
    asked = service(MultiFileInput(input_names=["left", "right"]))
    assert arguments_for_curl(*asked) == "--form left=@FILE --form right=@FILE"
    assert arguments_for_run(*asked) == "--input-file-left FILE --input-file-right FILE"
