"""The signature of a table: declared or taken from a sample, kept by every request, told to everybody."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kappa.adapters import DataframeInput
from kappa.adapters.columns import Columns
from kappa.adapters.signature import DTYPES, Signature, signature_of
from kappa.errors import BadInputError
from kappa.types import Payload


def decode(adapter: DataframeInput, body: Any) -> Columns:
    if isinstance(body, str):
        return adapter.decode(Payload(body.encode(), "text/csv"))
    return adapter.decode(Payload(json.dumps(body).encode(), "application/json"))


def frame_of(adapter: DataframeInput, *bodies: Any) -> pd.DataFrame:
    frame: pd.DataFrame = adapter.merge([decode(adapter, body) for body in bodies])
    return frame


def dtypes_of(frame: pd.DataFrame) -> list[str]:
    return [str(dtype) for dtype in frame.dtypes]


def refusal(adapter: DataframeInput, body: Any) -> tuple[int, str]:
    with pytest.raises(BadInputError) as refused:
        decode(adapter, body)
    return refused.value.http_status, str(refused.value)


# -- fidelity ----------------------------------------------------------------------------------------------------------

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int64": st.integers(-(2**63), 2**63 - 1) | st.sampled_from([5.0, -3.0]),
    "int8": st.integers(-128, 127),
    "uint64": st.integers(0, 2**64 - 1),
    "float64": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
    "float32": st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-100, 100),
    "bool": st.booleans(),
    "str": st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    "datetime": st.datetimes(min_value=pd.Timestamp(1700, 1, 1), max_value=pd.Timestamp(2200, 1, 1)).map(
        lambda time: time.isoformat() + "Z"
    ),
    "object": st.none() | st.booleans() | st.integers() | st.lists(st.integers(), max_size=2),
}


def is_there(value: Any) -> bool:
    return value is not None


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, Any], list[list[dict[str, Any]]]]:
    """Draw a signature, and requests of rows that fit it."""
    dtypes = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))
    nullable = draw(st.lists(st.booleans(), min_size=len(dtypes), max_size=len(dtypes)))
    columns: dict[str, dict[str, Any]] = {
        f"c{i}": {"dtype": dtype, "nullable": can_miss}
        for i, (dtype, can_miss) in enumerate(zip(dtypes, nullable, strict=True))
    }
    row: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {
            name: VALUES[about["dtype"]] | st.none() if about["nullable"] else VALUES[about["dtype"]].filter(is_there)
            for name, about in columns.items()
        }
    )
    requests = draw(st.lists(st.lists(row, min_size=1, max_size=3), min_size=1, max_size=4))
    return columns, [[dict(draw(st.permutations(list(one.items())))) for one in request] for request in requests]


@settings(max_examples=80)
@given(tables())
def test_requests_that_fit_share_one_batch_and_are_in_it_what_they_are_alone(
    table: tuple[dict[str, Any], list[list[dict[str, Any]]]],
) -> None:
    columns, requests = table
    adapter = DataframeInput(columns=columns)
    forms = [decode(adapter, request) for request in requests]
    assert len({adapter.group_of(form) for form in forms}) == 1
    batch, start = adapter.merge(forms), 0
    assert list(batch.columns) == list(columns)
    for form in forms:
        part = batch.iloc[start : start + form.rows].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, adapter.merge([form]))
        start += form.rows


@given(tables())
def test_no_value_is_changed(table: tuple[dict[str, Any], list[list[dict[str, Any]]]]) -> None:
    columns, requests = table
    found = frame_of(DataframeInput(columns=columns), *requests)
    rows = [row for request in requests for row in request]
    for name, about in columns.items():
        values = [None if pd.api.types.is_scalar(v) and pd.isna(v) else v for v in found[name].tolist()]
        sent = [row[name] for row in rows]
        if about["dtype"] == "datetime":
            assert values == [None if v is None else pd.Timestamp(v).tz_localize(None) for v in sent]
        else:
            assert values == sent


@given(tables())
def test_a_sample_gives_a_signature_that_it_fits_itself(
    table: tuple[dict[str, Any], list[list[dict[str, Any]]]],
) -> None:
    _, requests = table
    sample = decode(DataframeInput(), requests[0])
    columns = signature_of(sample)
    adapter = DataframeInput(columns=columns)
    assert list(adapter.columns or ()) == [str(name) for name in sample.names]
    assert dtypes_of(frame_of(adapter, requests[0])) == dtypes_of(DataframeInput().merge([sample]))


# -- what is declared --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "same"),
    [
        ({"a": {"dtype": "int64", "nullable": False}}, {"a": "int64"}),
        ({"a": {"dtype": "str"}}, {"a": "str"}),
        ({"a": {"dtype": "float64", "nullable": True}}, {"a": "float64"}),
    ],
)
def test_a_column_has_one_spelling(columns: Any, same: Any) -> None:
    adapter = DataframeInput(columns=columns)
    assert adapter == DataframeInput(columns=same)
    assert adapter.model_dump(mode="json")["columns"] == same


def test_dtype_is_taken_as_columns_with_dtypes() -> None:
    same = DataframeInput(columns={"a": "int64", "b": "str"})
    assert DataframeInput(dtype={"a": "int64", "b": "str"}) == same
    assert DataframeInput(columns=["a", "b"], dtype=["int64", "str"]) == same
    assert DataframeInput(columns=["a", "b"], dtype={"b": "str", "a": "int64"}) == same


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"a": {"dtype": "int64", "null": True}}}, "`null` says nothing of the column `a`; write `dtype`"),
        ({"columns": {"a": {"dtype": "int64", "nullable": 1}}}, "`nullable` of the column `a` must be `true` or"),
        ({"columns": {"a": {"nullable": True}}}, "`None` of the column `a` is not a known dtype"),
        ({"columns": {"a": "category"}}, "`category` of the column `a` is not a known dtype; known are `int64`, "),
        ({"dtype": ["int64"]}, "a list in `dtype` needs a list of as many names in `columns`"),
        ({"columns": ["a"], "dtype": {"b": "str"}}, "`columns` and `dtype` name different columns"),
        (
            {"columns": ["a"], "columns_from": "rows.csv"},
            "`columns` beside `columns_from` gives single columns other dtypes",
        ),
        ({"extra_columns": "forbid"}, "`extra_columns` goes with `columns` or `columns_from`"),
        ({"prefer_dtypes": {"a": "int"}}, "`int` of the column `a` is not a known dtype"),
    ],
)
def test_what_cannot_be_declared(options: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataframeInput(**options)


def test_an_integer_column_with_missing_values_is_one_of_pandas_own() -> None:
    adapter = DataframeInput(columns={"n": {"dtype": "int64", "nullable": True}})
    found = frame_of(adapter, [{"n": 2**60 + 1}], [{"n": None}])
    pd.testing.assert_frame_equal(found, pd.DataFrame({"n": pd.array([2**60 + 1, None], dtype="Int64")}))


@pytest.mark.parametrize(
    ("dtype", "value", "reason"),
    [
        ("int64", None, "`null` is not a whole number"),
        ("int8", 128, "`128` does not fit 8 bits"),
        ("uint8", -1, "`-1` does not fit 8 bits"),
        ("float64", None, "`null` is not a number"),
        ("float32", 1e39, "`1e+39` does not fit 32 bits"),
        ("bool", None, "`null` is not true or false"),
        ("bool", 1, "`1` is not true or false"),
        ("str", None, "`null` is not text"),
        ("str", 1, "`1` is not text"),
        ("datetime", "soon", '`"soon"` is not a date and time like `2026-01-31T12:00:00Z`'),
        ("datetime", 5, "`5` is not a date and time like `2026-01-31T12:00:00Z`"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_row(dtype: str, value: Any, reason: str) -> None:
    adapter = DataframeInput(columns={"c": {"dtype": dtype, "nullable": False}})
    advice = " Put it in quotes." if reason == "`1` is not text" else ""
    assert refusal(adapter, [{"c": value}]) == (422, f"The column `c` must be `{dtype}`: {reason}.{advice}")
    good = {"str": "x", "bool": True, "datetime": "2026-01-31"}.get(dtype, 1)
    assert refusal(adapter, [{"c": good}, {"c": value}]) == (
        422,
        f"The column `c` must be `{dtype}`: {reason} in row 1 (the first is 0).{advice}",
    )


@pytest.mark.parametrize(
    ("dtype", "value", "advice"),
    [
        ("float64", "80", "Send `80`, without quotes."),
        ("float32", "-0.5", "Send `-0.5`, without quotes."),
        ("int8", "80", "Send `80`, without quotes."),
        ("float64", "a lot", ""),
        ("float64", "1e999", ""),
        ("float64", "9" * 100, ""),
        ("bool", "yes", "Send `true` or `false`, without quotes."),
        ("bool", 1, ""),
        ("str", True, "Put it in quotes."),
        ("str", [1], ""),
    ],
)
def test_a_value_with_quotes_too_many_or_too_few_is_told_what_to_send(dtype: str, value: Any, advice: str) -> None:
    good = {"str": "x", "bool": True}.get(dtype, 1)
    status, text = refusal(DataframeInput(columns={"c": dtype}), [{"c": good}, {"c": value}])
    assert (status, text.partition(" in row 1 (the first is 0).")[2].strip()) == (422, advice)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31 12:00:00"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31 10:00:00"),
        ("2026-01-31T12:00:00", "2026-01-31 12:00:00"),
        ("2026-01-31", "2026-01-31 00:00:00"),
    ],
)
def test_times_are_in_utc(text: str, expected: str) -> None:
    adapter = DataframeInput(columns={"t": "datetime"})
    assert frame_of(adapter, [{"t": text}])["t"].tolist() == [pd.Timestamp(expected)]
    assert frame_of(adapter, f"t\n{text}\n")["t"].tolist() == [pd.Timestamp(expected)]


def test_everything_that_does_not_fit_is_said_at_once() -> None:
    adapter = DataframeInput(columns={"a": "int64", "b": "str", "c": "bool"}, extra_columns="forbid")
    status, text = refusal(adapter, [{"a": "x", "c": 1, "d": 1, "e": 2}])
    assert status == 422
    assert text == (
        "Missing columns: `b`. Unknown columns: `d`, `e`. "
        'The column `a` must be `int64`: `"x"` is not a whole number. '
        "The column `c` must be `bool`: `1` is not true or false."
    )


@pytest.mark.parametrize(
    ("extra", "names"), [("ignore", ["a", "b"]), ("pass", ["a", "b", "z", "c"])], ids=["ignored", "passed"]
)
def test_further_columns_are_left_out_or_follow_the_declared_ones(extra: Any, names: list[str]) -> None:
    adapter = DataframeInput(columns={"a": "int64", "b": "str"}, extra_columns=extra)
    assert list(frame_of(adapter, [{"z": 1, "b": "x", "c": None, "a": 5.0}]).columns) == names


def test_row_labels_are_no_part_of_a_signature() -> None:
    adapter = DataframeInput(columns=["a"])
    form = decode(adapter, {"columns": ["a"], "index": ["x", "y"], "data": [[1], [2]]})
    assert form.labels is None
    assert adapter.merge([form, form]).index.tolist() == [0, 1, 2, 3]


# -- what is recorded of examples --------------------------------------------------------------------------------------


def test_values_are_brought_to_recorded_dtypes_where_nothing_is_lost() -> None:
    adapter = DataframeInput(prefer_dtypes={"a": "float64", "b": "int64", "s": "str"})
    forms = [
        decode(adapter, [{"a": 5, "b": 1.0, "s": None}]),
        decode(adapter, [{"a": 5.5, "b": 2, "s": "x"}]),
        decode(adapter, [{"a": None, "b": 3, "s": "y"}]),
    ]
    assert len({adapter.group_of(form) for form in forms}) == 1
    assert dtypes_of(adapter.merge(forms)) == ["float64", "int64", str(pd.Series(["x"]).dtype)]


def test_what_would_be_lost_stays_as_it_is_and_batches_apart() -> None:
    adapter = DataframeInput(prefer_dtypes={"b": "int64", "s": "str"})
    whole, half = decode(adapter, [{"b": 1, "s": "x"}]), decode(adapter, [{"b": 1.5, "s": 7}])
    assert adapter.group_of(whole) != adapter.group_of(half)
    assert dtypes_of(adapter.merge([half])) == ["float64", "int64"]


# -- what is told of it ------------------------------------------------------------------------------------------------


def test_the_schema_of_a_row() -> None:
    signature = Signature.of({"a": "int8", "b": "float64", "c": {"dtype": "str", "nullable": False}}, "forbid")
    assert signature.row_schema() == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "minimum": -128, "maximum": 127},
            "b": {"type": ["number", "null"], "format": "double"},
            "c": {"type": "string"},
        },
        "required": ["a", "b", "c"],
        "additionalProperties": False,
    }
    assert signature.csv_header() == "a,b,c\n"


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_has_a_schema_and_builds_a_column(dtype: str) -> None:
    values = {"bool": True, "str": "x", "datetime": "2026-01-31T00:00:00Z"}
    for nullable in (False, True):
        adapter = DataframeInput(columns={"c": {"dtype": dtype, "nullable": nullable}})
        frame = frame_of(adapter, [{"c": values.get(dtype, 1)}], *([[{"c": None}]] if nullable else []))
        assert len(frame) == 1 + nullable
        assert adapter.request_content()["application/json"]["schema"]


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3), lambda x: st.lists(x, max_size=3)))
def test_no_value_gets_more_than_a_refusal(value: Any) -> None:
    for dtype in DTYPES:
        adapter = DataframeInput(columns={"c": dtype})
        with suppress(BadInputError):
            body = json.dumps([{"c": value}], allow_nan=True).encode()
            adapter.merge([adapter.decode(Payload(body, "application/json"))])


CATEGORY: Any = pd.Categorical(["red"])


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (Columns((0, 1), ("int64", "int64"), [[1], [2]], 1), "its columns have no names"),
        (
            Columns(("a",), (CATEGORY.dtype,), [CATEGORY], 1),
            "its column `a` is `category`, which cannot be declared",
        ),
    ],
    ids=["no names", "a dtype that cannot be declared"],
)
def test_a_sample_that_does_not_serve(sample: Columns, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        signature_of(sample)
