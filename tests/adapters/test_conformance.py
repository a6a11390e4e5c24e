"""Every built-in adapter passes the suite that adapters of others inherit, and the suite sees what is wrong."""

from __future__ import annotations

import io
import json
from copy import deepcopy
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import ConfigDict

from kappa.adapters import (
    AnnotatedImageInput,
    DataframeInput,
    DataframeOutput,
    DefaultOutput,
    FileInput,
    FileOutput,
    ImageInput,
    ImageOutput,
    JsonInput,
    JsonOutput,
    MultiFileInput,
    MultiImageInput,
    NdarrayInput,
    NdarrayOutput,
    PytorchTensorInput,
    SeriesOutput,
    StringInput,
    TfTensorInput,
    TfTensorOutput,
)
from kappa.adapters.multipart import form_payload
from kappa.plugins import INPUT_ADAPTERS, OUTPUT_ADAPTERS
from kappa.spec.contracts import InputAdapter, OutputAdapter
from kappa.testing.adapters import InputAdapterSuite, OutputAdapterSuite, is_same, spoil
from kappa.types import Answer, FileLike, Payload


def as_json(*values: Any) -> list[Payload]:
    return [Payload(json.dumps(value).encode(), "application/json") for value in values]


def picture(width: int, height: int, form: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(width * height * 3, dtype="uint8").reshape(height, width, 3)).save(buffer, form)
    return buffer.getvalue()


def npy(array: Any) -> Payload:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return Payload(buffer.getvalue(), "application/x-npy")


def parquet(frame: pd.DataFrame) -> Payload:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return Payload(buffer.getvalue(), "application/vnd.apache.parquet")


FRAME = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, None, float("inf")], "c": ["x", None, "z"]})
TABLES = [
    *as_json([{"a": 1, "b": 0.5}], [{"a": 2, "b": 1.5}, {"a": 3, "b": None}], {"a": [1], "b": [True]}, [[1, 0.5]]),
    *as_json({"columns": ["a", "b"], "index": ["x"], "data": [[1, 0.5]]}),
    Payload(b"a,b\n1,0.5\n,2\n", "text/csv"),
    Payload(b'{"a":1,"b":2.5}\n', "application/x-ndjson"),
    parquet(FRAME),
    *as_json([{"a": 1, "b": [1, {"c": 2}]}, {"a": 2, "b": None}], [{"a": 1, "b": {"c": [2]}}]),
    form_payload([("file", Payload(b"b,a\n1,0.5\n", name="rows.csv"))]),
]
MANY = 20_000
LARGE = [  # what bodies unfold to, which `nbytes_of` must tell
    parquet(pd.DataFrame({"a": np.zeros(MANY), "b": ["a text of some length"] * MANY})),
    parquet(pd.DataFrame({"a": [1, None] * MANY, "b": [[1.5] * 3] * 2 * MANY})),
    parquet(pd.DataFrame({"a": [1.5] * MANY, "b": pd.Categorical(["x", "y"] * (MANY // 2))})),
    *as_json([{"a": i + 0.5, "b": [i, {"c": i}]} for i in range(MANY // 10)], {"a": [1] * MANY, "b": ["é"] * MANY}),
]
NO_TABLES = [*as_json([], 5, [1]), Payload(b"", "text/csv"), Payload(b"x", "image/png")]
FORM = form_payload([("image", Payload(picture(2, 1))), ("annotations", Payload(b"[1]"))])


class TestDataframeInput(InputAdapterSuite):
    adapter = DataframeInput()
    good = TABLES
    bad = NO_TABLES


class TestLargeDataframeInput(InputAdapterSuite):
    adapter = DataframeInput()
    good = LARGE

    def test_damaged_requests_are_decoded_or_refused(self) -> None:
        """Seen of small ones."""


class TestDataframeInputWithColumns(InputAdapterSuite):
    adapter = DataframeInput(columns={"a": {"dtype": "float64", "nullable": True}, "b": "object"}, extra_columns="pass")
    good = TABLES
    bad = [*NO_TABLES, *as_json([{"a": "x", "b": 1}], [{"b": 1}])]


class TestJsonInput(InputAdapterSuite):
    adapter = JsonInput(http_input_example={"a": [1]})
    good = as_json(1, None, [1, {"a": "b"}])
    bad = [Payload(b"{"), Payload(b""), Payload(b"1", "image/png")]


class TestStringInput(InputAdapterSuite):
    adapter = StringInput()
    good = [Payload(b"one"), Payload("zwölf".encode("latin-1"), "text/plain", "latin-1"), Payload(b""), *as_json("a")]
    bad = [Payload(b"\xff"), Payload(b"x", charset="none"), *as_json(["a"], {"text": "a"}, 5)]


class TestFileInput(InputAdapterSuite):
    adapter = FileInput()
    good = [Payload(b"a", name="a.bin"), Payload(b"b"), form_payload([("f", Payload(b"c", name="c.txt"))])]
    bad = [Payload(b""), form_payload([])]


class TestImageInput(InputAdapterSuite):
    adapter = ImageInput()
    good = [Payload(picture(3, 2)), Payload(picture(1, 1, "jpeg"), "image/jpeg"), Payload(picture(2, 2, "webp"))]
    bad = [Payload(b"x"), Payload(b"x", "image/gif"), Payload(picture(2, 2, "gif"))]


class TestMultiFileInput(InputAdapterSuite):
    adapter = MultiFileInput(input_names=["l", "r"], allow_none=True)
    good = [
        form_payload([("l", Payload(b"1")), ("r", Payload(b"2", name="r.txt"))]),
        form_payload([("r", Payload(b"3"))]),
    ]
    bad = [Payload(b"x"), Payload(b"x", "text/csv")]


class TestMultiImageInput(InputAdapterSuite):
    adapter = MultiImageInput()
    good = [form_payload([("image", Payload(picture(width, 1)))]) for width in (1, 2)]
    bad = [form_payload([]), form_payload([("image", Payload(b"x"))])]


class TestAnnotatedImageInput(InputAdapterSuite):
    adapter = AnnotatedImageInput()
    good = [FORM, form_payload([("image", Payload(picture(1, 1)))])]
    bad = [form_payload([("annotations", Payload(b"1"))]), form_payload([("image", Payload(b"x"))])]


ARRAYS = [*as_json([[1, 2]], [[3, 4], [5, 6]], [[0.5, 1]], [["x", "y"]], [1]), npy(np.array([[7, 8]]))]
NO_ARRAYS = [*as_json([], 5, [[1], [1, 2]]), Payload(b"x", "application/x-npy"), Payload(b"x", "text/csv")]


class TestNdarrayInput(InputAdapterSuite):
    adapter = NdarrayInput()
    good = ARRAYS
    bad = NO_ARRAYS


class TestNdarrayInputWithShape(InputAdapterSuite):
    adapter = NdarrayInput(dtype="float32", shape=(2,))
    good = ARRAYS[:3]
    bad = [*NO_ARRAYS, *ARRAYS[3:5]]


INSTANCES = as_json({"instances": [[1.5]]}, {"instances": [[2.5], [3.5]]}, {"instances": [{"a": 1, "b": [2]}]})


@pytest.mark.tensorflow
class TestTfTensorInput(InputAdapterSuite):
    adapter = TfTensorInput()
    good = INSTANCES
    bad = as_json({"inputs": [1]}, {"instances": []})


@pytest.mark.torch
class TestPytorchTensorInput(InputAdapterSuite):
    adapter = PytorchTensorInput(dtype="float32")
    good = ARRAYS[:3]
    bad = NO_ARRAYS


NUMBERS = np.array([[1.5, np.nan], [np.inf, 2]])


class TestDefaultOutput(OutputAdapterSuite):
    adapter = DefaultOutput()
    values = [{"a": None}, pd.Series([1, 2]), NUMBERS, "text", 1.5]
    batches = [(FRAME["a"], [1, 2]), (NUMBERS, [None, None]), ([1, "x", None], [None, None, None])]
    unwritable = [object(), b"\xff"]


class TestJsonOutput(OutputAdapterSuite):
    adapter = JsonOutput()
    values = [FRAME, {"a": [np.float32(0.5)]}, None]
    batches = [(FRAME, [1, 2]), (FRAME["b"], [2, 1]), (NUMBERS, [1, 1]), ({"a": FRAME["b"], "n": [1, 2, 3]}, [2, 1])]
    unwritable = [object(), {1j: 2}]


@pytest.mark.parametrize("orient", ["records", "values", "split", "index", "columns", "table"])
class TestDataframeOutput:
    def test_the_suite(self, orient: Any) -> None:
        class Suite(OutputAdapterSuite):
            adapter = DataframeOutput(orient=orient)
            values = [FRAME, FRAME["a"], [{"a": 1}, {"a": 2}]]
            batches = [(FRAME, [1, 2]), (FRAME.set_index("c"), [2, 1]), ({"a": FRAME["b"], "n": [1, 2, 3]}, [2, 1])]
            unwritable = [5, pd.DataFrame([[1, 2]], columns=["a", "a"])] if orient != "values" else [5]

        passes(Suite)


class TestSeriesOutput(OutputAdapterSuite):
    adapter = SeriesOutput()
    values = [pd.Series([1.5, None], name="a"), [1, "x"], NUMBERS[0], FRAME[["a"]]]
    batches = [(FRAME["b"], [1, 2]), (NUMBERS[:, 0], [1, 1]), ([1, 2], [1, 1])]
    unwritable = [FRAME, object()]


class TestNdarrayOutput(OutputAdapterSuite):
    adapter = NdarrayOutput()
    values = [NUMBERS, [[1, 2]], 5]
    batches = [(NUMBERS, [1, 1]), (NUMBERS, [None, None])]
    unwritable = [object()]


class TestTfTensorOutput(OutputAdapterSuite):
    adapter = TfTensorOutput()
    values = [NUMBERS, np.array([b"\xff"])]
    batches = [(NUMBERS, [1, 1])]
    unwritable = [object()]


class TestFileOutput(OutputAdapterSuite):
    adapter = FileOutput()
    values = [b"a", FileLike(b"b")]
    batches = [([b"a", b"b"], [None, None]), ([b"a", b"b"], [1, 1])]
    unwritable = ["text", 5]


class TestImageOutput(OutputAdapterSuite):
    adapter = ImageOutput()
    values = [np.zeros((2, 3, 3), "uint8"), Image.new("RGBA", (1, 1))]
    batches = [(np.zeros((2, 3, 4), "uint8"), [None, None])]
    unwritable = [np.zeros((2, 2)), "text"]


def passes(suite: type) -> None:
    for name in dir(suite):
        if name.startswith("test_"):
            getattr(suite(), name)()


SHARED = np.array([1.5, 2.5])


@pytest.mark.parametrize(
    "share",
    [
        pytest.param(lambda: SHARED, id="array"),
        pytest.param(lambda: np.array([{"a": [1]}, None], dtype=object), id="array-of-objects"),
        pytest.param(lambda: pd.DataFrame({"a": [[1, 2]]}), id="list-in-a-cell"),
        pytest.param(lambda: pd.DataFrame({"a": [{"b": 1}]}), id="object-in-a-cell"),
        pytest.param(lambda: {"a": [1]}, id="object"),
        pytest.param(lambda: ([1],), id="list-in-a-tuple"),
        pytest.param(lambda: FileLike(b"a"), id="file"),
        pytest.param(lambda: np.array(["2020-01-01"], dtype="datetime64[us]"), id="dates"),
        pytest.param(lambda: np.array([True]), id="flags"),
        pytest.param(lambda: np.array(["text"]), id="texts"),
    ],
)
def test_the_suite_changes_all_that_a_function_could_change(share: Any) -> None:
    argument = share()
    before = deepcopy(argument)
    spoil(argument)
    assert not is_same(argument, before)


def test_every_built_in_adapter_is_among_them() -> None:
    suites: list[Any] = [*InputAdapterSuite.__subclasses__(), *OutputAdapterSuite.__subclasses__()]
    adapters = {suite.adapter.type for suite in suites}
    assert adapters | {"dataframe"} == {*INPUT_ADAPTERS.builtins, *OUTPUT_ADAPTERS.builtins}


# -- the suite itself --------------------------------------------------------------------------------------------------


class _Lines(InputAdapter):
    """Lines of text; wrong in one way at a time."""

    type: Literal["lines"] = "lines"

    def decode(self, payload: Payload) -> Any:
        return payload.data.decode(errors="replace")

    def request_content(self) -> dict[str, Any]:
        return {"text/plain": {"schema": {}}}


class _Changeable(_Lines):
    model_config = ConfigDict(frozen=False)


class _Crashing(_Lines):
    def decode(self, payload: Payload) -> Any:
        return payload.data.decode()


class _Mixing(_Lines):
    def merge(self, forms: Any) -> Any:
        return sorted(forms)


class _Undocumented(_Lines):
    def request_content(self) -> dict[str, Any]:
        return {"text": {}}


class _Sharing(_Lines):
    copies = True

    def decode(self, payload: Payload) -> Any:
        return [payload.data]


class _SharingOne(_Sharing):
    supports_batch = False


class _Spending(_Lines):
    def decode(self, payload: Payload) -> Any:
        return iter([payload.data])

    def merge(self, forms: Any) -> Any:
        return [next(form, None) for form in forms]


class _Relabelling(_Lines):
    def merge(self, forms: Any) -> Any:
        return pd.DataFrame({"line": list(forms)}, index=[0] * len(forms))


@pytest.mark.parametrize(
    ("adapter", "test"),
    [
        (_Changeable(), "test_it_cannot_be_changed"),
        (_Crashing(), "test_damaged_requests_are_decoded_or_refused"),
        (_Mixing(), "test_a_request_in_a_batch_is_what_it_is_alone"),
        (_Undocumented(), "test_the_openapi_document_says_what_it_takes"),
        (_Spending(), "test_a_batch_can_be_built_again"),
        (_Relabelling(), "test_the_rows_of_a_batch_have_labels_of_their_own"),
        (_Sharing(), "test_a_function_that_changes_its_argument_changes_no_form_of_an_adapter_that_copies"),
        (_SharingOne(), "test_a_function_that_changes_its_argument_changes_no_form_of_an_adapter_that_copies"),
        (_Lines(), "test_bad_requests_are_refused_with_a_4xx_and_a_reason"),
        (_Lines(), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, InputAdapter) else value or "good",
)
def test_the_suite_sees_what_is_wrong(adapter: Any, test: str | None) -> None:
    suite: Any = type(
        "Suite", (InputAdapterSuite,), {"adapter": adapter, "good": [Payload("ü%".encode()), Payload(b"a")]}
    )
    if test is None:
        passes(suite)
        return
    suite.bad = [Payload(b"b")]
    with pytest.raises((AssertionError, UnicodeDecodeError)):
        getattr(suite(), test)()


class _Hoarding(InputAdapter):
    type: Literal["hoarding"] = "hoarding"

    def decode(self, payload: Payload) -> Any:
        return np.zeros(int(payload.data))

    def request_content(self) -> dict[str, Any]:
        return {"text/plain": {"schema": {}}}


def test_the_suite_sees_a_form_that_holds_more_than_is_said() -> None:
    suite: Any = type("Suite", (InputAdapterSuite,), {"adapter": _Hoarding(), "good": [Payload(b"100000")]})
    with pytest.raises(AssertionError, match="a form of about 800000 bytes is said to hold 0: override `nbytes_of`"):
        suite().test_what_a_form_holds_is_told()


class _Shouting(OutputAdapter):
    type: Literal["shouting"] = "shouting"

    def encode(self, value: Any, *, accept: str = "") -> Answer:
        return Answer(json.dumps(value).encode(), "text/plain")

    def response_content(self) -> dict[str, Any]:
        return {"application/json": {"schema": {}}}


def test_the_suite_sees_an_answer_that_the_document_does_not_know() -> None:
    suite = type("Suite", (OutputAdapterSuite,), {"adapter": _Shouting(), "values": [1]})
    with pytest.raises(AssertionError, match="`text/plain` is not in `response_content`"):
        suite().test_values_are_written_as_the_openapi_document_says()


class _Sorting(_Shouting):
    def prepare(self, value: Any, *, accepts: Any = ()) -> Any:
        return {name: sorted(rows) for name, rows in value.items()} if isinstance(value, dict) else sorted(value)


@pytest.mark.parametrize(
    "test",
    [
        "test_the_parts_of_a_batch_are_written_as_they_are_alone",
        "test_outputs_by_name_are_written_as_they_are_alone",
    ],
)
def test_the_suite_sees_a_batch_that_is_prepared_in_another_order(test: str) -> None:
    suite: Any = type(
        "Suite", (OutputAdapterSuite,), {"adapter": _Sorting(), "values": [1], "batches": [([2, 1], [1, 1])]}
    )
    with pytest.raises(AssertionError):
        getattr(suite(), test)()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        ([1], [2]),
        ({"a": 1}, {"b": 1}),
        (np.array([1]), np.array([1.0])),
        (np.array([1]), np.array([[1]])),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1.0]})),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]}, index=[1])),
        (FileLike(b"a"), FileLike(b"b")),
    ],
)
def test_arguments_that_differ_in_anything_are_not_the_same(one: Any, other: Any) -> None:
    assert not is_same(one, other)
    assert is_same(one, one)
    assert is_same(float("nan"), float("nan"))
