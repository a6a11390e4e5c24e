"""Arrays and tensors: rows of one kind and shape, in a batch what they are alone."""

from __future__ import annotations

import io
import json
import sys
import tracemalloc
from base64 import b64encode
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kappa.adapters import NdarrayInput, NdarrayOutput, PytorchTensorInput, TfTensorInput, TfTensorOutput
from kappa.adapters.media_types import NPY
from kappa.errors import BadInputError, InferenceFailedError, MissingDependencyError
from kappa.types import DecodingLimits, Payload


def json_payload(body: Any) -> Payload:
    return Payload(json.dumps(body).encode(), "application/json")


def npy_payload(array: Any, **options: Any) -> Payload:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return Payload(buffer.getvalue(), NPY)


def array_of(body: Any, **options: Any) -> Any:
    adapter = NdarrayInput(**options)
    return adapter.merge([adapter.decode(json_payload(body))])


def same(found: Any, expected: Any) -> bool:
    return (found.dtype, found.shape, found.tolist()) == (expected.dtype, expected.shape, expected.tolist())


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "text": st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    "bytes": st.binary(max_size=4).map(lambda data: {"b64": b64encode(data).decode()}),
}


@st.composite
def rows(draw: st.DrawFn) -> list[Any]:
    leaf = LEAVES[draw(st.sampled_from(sorted(LEAVES)))]
    shape = draw(st.lists(st.integers(1, 2), max_size=2))
    for size in reversed(shape):
        leaf = st.lists(leaf, min_size=size, max_size=size)
    return draw(st.lists(leaf, min_size=1, max_size=3))


@settings(max_examples=80)
@given(st.lists(rows(), min_size=1, max_size=6))
def test_a_request_in_a_batch_is_what_it_is_alone(requests: list[Any]) -> None:
    adapter = NdarrayInput()
    groups: dict[Any, list[Any]] = {}
    for body in requests:
        form = adapter.decode(json_payload(body))
        groups.setdefault(adapter.group_of(form), []).append(form)
    for forms in groups.values():
        batch, start = adapter.merge(forms), 0
        for form in forms:
            count = adapter.rows_of(form)
            assert same(batch[start : start + count], adapter.merge([form]))
            start += count
        assert start == len(batch)


@given(rows())
def test_no_value_is_changed(body: list[Any]) -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        return {"b64": b64encode(value).decode()} if isinstance(value, bytes) else value

    assert plain(array_of(body).tolist()) == body


def test_null_is_not_a_number() -> None:
    found = array_of([[1, None], [2.5, 3]])
    assert (found.dtype, np.isnan(found).tolist()) == (np.float64, [[False, True], [False, False]])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (5, "An array of rows is needed, `[[…]]`, not `5`."),
        ({"instances": [1]}, "The request has `instances`; send the rows themselves: `[[…]]`."),
        ({"area": 1}, 'An array of rows is needed, `[[…]]`, not `{"area":1}`.'),
        ([], "The array is empty; at least one row is needed."),
        ([[1], [1, 2]], "The rows have different shapes; an array needs one shape for all."),
        ([[1], 2], "The rows have different shapes; an array needs one shape for all."),
        ([1, "x"], "The rows hold values of different kinds; an array needs one kind: numbers, texts or bytes."),
        ([{"a": 1}], '`{"a":1}` is not a value of an array; bytes are written `{"b64": …}`.'),
        ([{"b64": "?"}], '`{"b64":"?"}` does not hold valid base64.'),
        ([2**53 + 1, 0.5], f"`{2**53 + 1}` would lose digits among numbers that are not whole."),
        ([2**53 + 1, None], f"`{2**53 + 1}` would lose digits among numbers that are not whole."),
        ([2**64, 1], f"`{2**64}` would lose digits among numbers that are not whole."),
        ([-1, 2**63], f"`{2**63}` would lose digits among numbers that are not whole."),
        ([[], []], "The rows of the array are empty; at least one value is needed in each."),
        ([[[1]], [1]], "The rows have different shapes; an array needs one shape for all."),
        ([[1, [1]]], "The rows have different shapes; an array needs one shape for all."),
        ([True, None], "The rows hold values of different kinds; an array needs one kind: numbers, texts or bytes."),
        (["x", None], "The rows hold values of different kinds; an array needs one kind: numbers, texts or bytes."),
        (nested(40), "The rows are nested too deep for an array."),
    ],
)
def test_what_is_no_array_is_refused(body: Any, message: str) -> None:
    with pytest.raises(BadInputError) as refused:
        array_of(body)
    assert (refused.value.http_status, str(refused.value)) == (400, message)


def test_one_long_text_makes_the_others_no_longer() -> None:
    rows = ["a" * 1_000_000, *[""] * 1500]
    payload = json_payload(rows)
    tracemalloc.start()
    form = NdarrayInput().decode(payload)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (form.tolist(), form.dtype) == (rows, object)
    assert peak < 1 << 24, f"{peak} bytes were taken"  # the parser alone takes 12 for each byte


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (DecodingLimits(max_cells=5), "The array has 6 values; 5 are taken here at once."),
        (DecodingLimits(max_bytes=47), "The values of the body take about "),
    ],
    ids=["cells", "bytes"],
)
@pytest.mark.parametrize("adapter", [NdarrayInput(), PytorchTensorInput(), TfTensorInput()], ids=lambda it: it.type)
@pytest.mark.parametrize(
    "body", [[[1, 2], [3, 4], [5, 6]], [["a"] * 6], [{"b64": ""}] * 6], ids=["numbers", "texts", "bytes"]
)
def test_an_array_is_bounded(adapter: Any, body: Any, limits: DecodingLimits, reason: str) -> None:
    payload = json_payload(body)
    assert adapter.decode(payload).size == 6
    with pytest.raises(BadInputError) as refused:
        adapter.decode(payload._replace(limits=limits))
    assert (refused.value.http_status, str(refused.value)[: len(reason)]) == (413, reason)


def test_named_inputs_are_bounded_and_tell_what_they_hold() -> None:
    payload = json_payload({"instances": [{"a": [1, 2], "b": "x"}]})
    adapter = TfTensorInput()
    assert adapter.nbytes_of(adapter.decode(payload)) == 16 + 8 + 64
    with pytest.raises(BadInputError):
        adapter.decode(payload._replace(limits=DecodingLimits(max_cells=1)))


@pytest.mark.parametrize(
    ("dtype", "body", "expected"),
    [
        ("float32", [[1, 2.5]], np.array([[1, 2.5]], dtype="float32")),
        ("float64", [1, 2], np.array([1.0, 2.0])),
        ("int64", [1.0, 2.0], np.array([1, 2])),
        ("uint8", [0, 255], np.array([0, 255], dtype="uint8")),
        ("bool", [True], np.array([True])),
        ("str", ["x"], np.array(["x"], dtype=object)),
        ("bytes", [{"b64": "AA=="}], np.array([b"\0"], dtype=object)),
    ],
)
def test_values_are_brought_to_the_declared_dtype(dtype: Any, body: Any, expected: Any) -> None:
    assert same(array_of(body, dtype=dtype), expected)


@pytest.mark.parametrize(
    ("dtype", "body", "message"),
    [
        ("int64", [1.5], "The values must be `int64`: `1.5` does not fit."),
        ("int64", [2**63], f"The values must be `int64`: `{2**63}` does not fit."),
        ("uint64", [-1], "The values must be `uint64`: `-1` does not fit."),
        ("uint8", [256], "The values must be `uint8`: `256` does not fit."),
        ("int32", [None], "The values must be `int32`: `null` does not fit."),
        ("float64", [2**53 + 1], f"The values must be `float64`: `{2**53 + 1}` does not fit."),
        ("float32", [1e39], "The values must be `float32`: `1e+39` does not fit."),
        ("float64", ["1"], 'The values must be `float64`, not `"1"`.'),
        ("float64", [True], "The values must be `float64`, not `true`."),
        ("bool", [1], "The values must be `bool`, not `1`."),
        ("str", [1], "The values must be `str`, not `1`."),
        ("bytes", ["x"], 'The values must be `bytes`, not `"x"`.'),
    ],
)
def test_values_that_do_not_fit_the_declared_dtype_are_refused(dtype: Any, body: Any, message: str) -> None:
    with pytest.raises(BadInputError) as refused:
        array_of(body, dtype=dtype)
    assert (refused.value.http_status, str(refused.value)) == (422, message)


@pytest.mark.parametrize(
    ("shape", "body", "message"),
    [
        ((2,), [[1, 2, 3]], "The rows have the shape (3); this API takes (2)."),
        ((-1, 2), [[1, 2]], "The rows have the shape (2); this API takes (any, 2)."),
        ((), [[1]], "The rows have the shape (1); this API takes ()."),
    ],
)
def test_rows_of_another_shape_are_refused(shape: Any, body: Any, message: str) -> None:
    with pytest.raises(BadInputError) as refused:
        array_of(body, shape=shape)
    assert (refused.value.http_status, str(refused.value)) == (422, message)


@pytest.mark.parametrize("shape", [(-1, 2), (3, 2), (3, -1)])
def test_rows_of_the_declared_shape_are_taken(shape: Any) -> None:
    assert array_of([[[1, 2], [3, 4], [5, 6]]], shape=shape).shape == (1, 3, 2)


@pytest.mark.parametrize("options", [{"dtype": "float"}, {"shape": [-2]}, {"shape": ["a"]}])
def test_what_cannot_be_declared(options: Any) -> None:
    with pytest.raises(ValidationError):
        NdarrayInput(**options)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="float32").reshape(2, 3),
        np.arange(6, dtype=">i4").reshape(3, 2),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array([True, False]),
        np.array(["x", "yz"]),
        np.array([b"x"]),
    ],
    ids=["float32", "big-endian", "fortran", "bool", "text", "bytes"],
)
def test_npy_is_read_as_it_was_saved(array: Any) -> None:
    adapter = NdarrayInput()
    found = adapter.merge([adapter.decode(npy_payload(array))])
    assert found.tolist() == array.tolist()
    assert found.dtype.isnative


@pytest.mark.parametrize(
    ("payload", "status", "message"),
    [
        (Payload(b"junk", NPY), 400, "The body is not an array in `.npy`: "),
        (npy_payload(np.array([{}]), allow_pickle=True), 400, "The body is not an array in `.npy`: it holds objects"),
        (npy_payload(np.array(5)), 400, "The array is empty; at least one row is needed."),
        (npy_payload(np.zeros(2, dtype=[("a", "i4")])), 422, "An array of structures is not taken here;"),
        (Payload(b"1", "text/csv"), 415, "`text/csv` is not taken here; send `application/json` or"),
    ],
    ids=["junk", "pickle", "scalar", "structure", "media type"],
)
def test_what_is_no_array_in_npy_is_refused(payload: Payload, status: int, message: str) -> None:
    with pytest.raises(BadInputError) as refused:
        NdarrayInput().decode(payload)
    assert (refused.value.http_status, str(refused.value)[: len(message)]) == (status, message)


def test_a_header_that_claims_more_than_there_is_takes_no_memory() -> None:
    data = bytearray(npy_payload(np.zeros(4)).data)
    claimed = bytes(data).replace(b"(4,), }" + b" " * 20, b"(4000000000000,), }" + b" " * 8)
    assert len(claimed) == len(data)
    with pytest.raises(BadInputError, match=r"The body is not an array in `\.npy`"):
        NdarrayInput().decode(Payload(claimed, NPY))


@given(st.binary(max_size=40) | st.binary(max_size=200).map(lambda junk: npy_payload(np.zeros(3)).data[:-9] + junk))
def test_whatever_is_sent_is_decoded_or_refused(data: bytes) -> None:
    for adapter in (NdarrayInput(), TfTensorInput(), NdarrayInput(dtype="float32", shape=(2,))):
        for media_type in (NPY, "application/json"):
            with suppress(BadInputError):
                adapter.decode(Payload(data, media_type))


# -- answers -----------------------------------------------------------------------------------------------------------


def test_an_array_is_answered_as_json_or_npy() -> None:
    array = np.array([[1.5, np.nan], [np.inf, 2]])
    assert NdarrayOutput().encode(array).body == b"[[1.5,null],[null,2.0]]"
    answer = NdarrayOutput().encode(array, accept=NPY)
    assert answer.media_type == NPY
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.body)), array)


def test_what_makes_no_array_is_an_error() -> None:
    with pytest.raises(InferenceFailedError, match="A `list` does not make an array of one kind"):
        NdarrayOutput().encode([[1], [1, 2]], accept=NPY)
    with pytest.raises(InferenceFailedError):
        NdarrayOutput().encode(object())


def test_a_batch_is_answered_in_the_form_that_each_accepts() -> None:
    adapter = NdarrayOutput()
    value = np.array([[1, 2], [3, 4]])
    for accepts in (["", ""], [NPY, ""]):
        prepared = adapter.prepare(value, accepts=accepts)
        found = [adapter.encode(prepared[i : i + 1], accept=accept) for i, accept in enumerate(accepts)]
        assert found == [adapter.encode(value[i : i + 1], accept=accept) for i, accept in enumerate(accepts)]


# -- tensors -----------------------------------------------------------------------------------------------------------


def tf_form(body: Any, **options: Any) -> Any:
    return TfTensorInput(**options).decode(json_payload(body))


def test_instances_are_the_rows_of_a_tensor() -> None:
    form = tf_form({"signature_name": "serving_default", "instances": [[1.5, 2], [3, 4]]}, dtype="float32")
    assert same(form, np.array([[1.5, 2], [3, 4]], dtype="float32"))
    assert TfTensorInput().rows_of(form) == 2


def test_bytes_are_written_in_base64() -> None:
    assert tf_form({"instances": [{"b64": "/9j/"}, {"b64": ""}]}).tolist() == [b"\xff\xd8\xff", b""]


def test_rows_of_named_inputs_are_one_array_per_name() -> None:
    adapter = TfTensorInput()
    one = tf_form({"instances": [{"a": 1, "b": [0.5, 1]}, {"b": [2, 3], "a": 2}]})
    assert one.names == ("a", "b")
    assert [array.tolist() for array in one.arrays] == [[1, 2], [[0.5, 1.0], [2.0, 3.0]]]
    assert adapter.rows_of(one) == 2
    assert adapter.group_of(one) == adapter.group_of(tf_form({"instances": [{"a": 7, "b": [0.5, 1]}]}))
    assert adapter.group_of(one) != adapter.group_of(tf_form({"instances": [{"a": 7, "b": [0.5]}]}))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "An object with `instances`, an array of rows, is needed, not `{}`."),
        ({"instances": 5}, 'An object with `instances`, an array of rows, is needed, not `{"instances":5}`.'),
        ({"inputs": [1]}, "`inputs`, the column format, is not taken here; send `instances`, one for each row."),
        ({"instances": []}, "The array is empty; at least one row is needed."),
        ({"instances": [{}]}, "The rows have no inputs."),
        ({"instances": [{"a": 1}, {"b": 1}]}, 'Row 1 does not have the inputs of row 0: `"a"`.'),
        ({"instances": [{"a": 1}, 5]}, 'Row 1 does not have the inputs of row 0: `"a"`.'),
    ],
)
def test_what_tensorflow_serving_would_not_take_is_refused(body: Any, message: str) -> None:
    with pytest.raises(BadInputError) as refused:
        tf_form(body)
    assert (refused.value.http_status, str(refused.value)) == (400, message)


def test_bytes_that_are_no_text_are_answered_in_base64() -> None:
    assert TfTensorOutput().encode(np.array([b"ok", b"\xff"])).body == b'[{"b64":"b2s="},{"b64":"/w=="}]'
    assert TfTensorOutput().encode(np.array([b"ok"])).body == b'["ok"]'


@pytest.mark.parametrize(
    ("adapter", "module", "package"),
    [(TfTensorInput(), "tensorflow", "tensorflow"), (PytorchTensorInput(), "torch", "torch")],
    ids=["tensorflow", "torch"],
)
def test_a_missing_framework_is_named_with_what_to_install(
    adapter: Any, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    form = adapter.decode(json_payload([[1.5]]))
    with pytest.raises(MissingDependencyError, match=f"Run `pip install {package}`"):
        adapter.merge([form])
