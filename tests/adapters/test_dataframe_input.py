"""Requests become columns, and the columns of a batch one frame in which nobody sees a neighbour."""

from __future__ import annotations

import io
import json
from collections.abc import Hashable
from contextlib import suppress
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kappa.adapters import DataframeInput
from kappa.adapters.dataframe import Columns
from kappa.errors import BadInputError
from kappa.types import Payload

ORIENTS = ("records", "values", "split", "columns", "index")


def json_payload(body: Any) -> Payload:
    return Payload(body if isinstance(body, bytes) else json.dumps(body).encode(), "application/json")


def csv_payload(text: str) -> Payload:
    return Payload(text.encode(), "text/csv")


def frame_of(body: Any, adapter: DataframeInput | None = None) -> Any:
    """Return what a function sees of one request alone."""
    adapter = adapter or DataframeInput()
    return adapter.merge([adapter.decode(body if isinstance(body, Payload) else json_payload(body))])


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Compare values, dtypes, names and order; the type of an index of numbers does not matter."""
    pd.testing.assert_frame_equal(found, expected, check_index_type=False, check_column_type=False)
    for name in expected.columns:
        if expected[name].dtype == object:
            for one, other in zip(found[name], expected[name], strict=True):
                assert type(one) is type(other)


def values_of(frame: pd.DataFrame) -> dict[Hashable, list[Any]]:
    """Return the values by column, missing ones as ``None``."""
    return frame.astype(object).where(frame.notna(), None).to_dict("list")


def laid_out(rows: list[list[Any]], names: list[str], orient: str) -> Any:
    records = [dict(zip(names, row, strict=True)) for row in rows]
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return {
        "records": records,
        "values": rows,
        "split": {"columns": names, "data": rows, "index": list(range(len(rows)))},
        "columns": {name: {str(i): value for i, value in enumerate(column)} for name, column in columns.items()},
        "index": {str(i): record for i, record in enumerate(records)},
    }[orient]


floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
cells = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "small int or missing": st.none() | st.integers(-(2**53), 2**53),
    "any int": st.integers(-(2**70), 2**70),
    "int or missing": st.none() | st.integers(-(2**70), 2**70),
    "float": floats,
    "float or missing": st.none() | floats,
    "number": st.integers(-(2**60), 2**60) | floats,
    "bool": st.booleans(),
    "bool or missing": st.none() | st.booleans(),
    "text": texts,
    "text or missing": st.none() | texts,
    "missing": st.none(),
    "list": st.lists(st.integers() | floats, max_size=3),
    "pair": st.lists(st.integers(0, 9), min_size=2, max_size=2),
    "object": st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9), max_size=2),
    "mixed": st.none() | st.booleans() | st.integers() | floats | texts,
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[Any]]]:
    names = draw(st.lists(st.sampled_from(["a", "b", "ä", "0", "x y"]), min_size=1, max_size=3, unique=True))
    columns = [draw(st.sampled_from(sorted(cells))) for _ in names]
    row = st.tuples(*(cells[kind] for kind in columns)).map(list)
    return names, draw(st.lists(row, min_size=1, max_size=4))


@settings(max_examples=60)
@given(st.lists(st.tuples(tables(), st.sampled_from(ORIENTS)), min_size=1, max_size=6))
def test_a_request_in_a_batch_is_what_it_is_alone(
    requests: list[tuple[tuple[list[str], list[list[Any]]], str]],
) -> None:
    adapter = DataframeInput()
    groups: dict[Any, list[Columns]] = {}
    for (names, rows), orient in requests:
        form = adapter.decode(json_payload(laid_out(rows, names, orient)))
        groups.setdefault(adapter.group_of(form), []).append(form)
    for forms in groups.values():
        batch, start = adapter.merge(forms), 0
        for form in forms:
            part = batch.iloc[start : start + form.rows]
            assert_same(part.reset_index(drop=True) if form.labels is None else part, adapter.merge([form]))
            start += form.rows
        assert start == len(batch)


@given(tables(), st.sampled_from(ORIENTS))
def test_every_layout_gives_the_same_frame(table: tuple[list[str], list[list[Any]]], orient: str) -> None:
    names, rows = table
    expected = frame_of(laid_out(rows, names, "records"))
    if orient == "values":
        expected.columns = pd.RangeIndex(len(names))
    assert_same(frame_of(laid_out(rows, names, orient), DataframeInput(orient=orient)), expected)
    if orient != "index":  # which nothing tells from `columns` unless it is declared
        assert_same(frame_of(laid_out(rows, names, orient)), expected)


@pytest.mark.parametrize(
    "kind",
    ["int", "small int or missing", "float", "float or missing", "bool", "text", "missing", "list", "pair", "object"],
)
def test_a_column_has_the_dtype_that_pandas_gives_it(kind: str) -> None:
    @given(st.lists(cells[kind], min_size=1, max_size=5))
    def check(column: list[Any]) -> None:
        assert_same(frame_of([{"a": value} for value in column]), pd.DataFrame({"a": column}))

    check()


@given(st.lists(st.none() | st.integers(-(2**80), 2**80), min_size=1))
def test_no_digit_of_an_integer_is_lost(column: list[int | None]) -> None:
    found = frame_of([[value] for value in column])[0]
    assert [None if pd.isna(value) else int(value) for value in found] == column


def test_columns_in_another_order_are_another_group_and_never_scrambled() -> None:
    adapter = DataframeInput()
    one = adapter.decode(json_payload({"columns": ["a", "b"], "data": [[1, 2]]}))
    other = adapter.decode(json_payload({"columns": ["b", "a"], "data": [[2, 1]]}))
    assert adapter.group_of(one) != adapter.group_of(other)
    assert_same(adapter.merge([one]), adapter.merge([other])[["a", "b"]])


def test_text_that_looks_like_a_number_stays_text() -> None:
    assert frame_of([{"zip": "01"}, {"zip": "NA"}, {"zip": ""}])["zip"].tolist() == ["01", "NA", ""]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param([[5]], [[5.0]], id="integer and float"),
        pytest.param([[5]], [["5"]], id="integer and text"),
        pytest.param([[1]], [[True]], id="integer and bool"),
        pytest.param([["x"]], [[None]], id="text and missing"),
        pytest.param([[1]], [[2**63]], id="signed and unsigned"),
        pytest.param([[[1]]], [[1]], id="list and integer"),
        pytest.param([[1]], [{"0": 1}], id="without and with names"),
    ],
)
def test_requests_of_different_kinds_have_different_groups(one: Any, other: Any) -> None:
    adapter = DataframeInput()
    groups = {adapter.group_of(adapter.decode(json_payload(body))) for body in (one, other)}
    assert len(groups) == 2


@given(st.lists(st.tuples(st.integers(-9, 9), floats, st.sampled_from(["x", 'a "b"', "c,d", "ü\n"])), min_size=1))
def test_csv_gives_what_pandas_reads(rows: list[tuple[int, float, str]]) -> None:
    text = pd.DataFrame(rows, columns=["i", "f", "s p"]).to_csv(index=False)
    assert_same(frame_of(csv_payload(text)), pd.read_csv(io.StringIO(text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a,b\n1,x\n", {"a": [1], "b": ["x"]}, id="plain"),
        pytest.param("\ufeffa\r\n1\r\n", {"a": [1]}, id="byte order mark and CRLF"),
        pytest.param("\n\na\n\n1\n\n", {"a": [1]}, id="blank lines"),
        pytest.param("a,b\nNA,null\n", {"a": ["NA"], "b": ["null"]}, id="words are words"),
        pytest.param("a,b\n9007199254740993,1\n,2\n", {"a": [9007199254740993, None], "b": [1, 2]}, id="exact"),
        pytest.param(
            "a\n123456789012345678901234\n",
            {"a": [123456789012345678901234]},
            id="very long",
            marks=pytest.mark.skipif(pd.__version__ < "3", reason="pandas 2 leaves integers over 64 bits as text"),
        ),
        pytest.param("a\n1e300\n2\n", {"a": [1e300, 2.0]}, id="large float"),
        pytest.param("a,b\n1\n", {"a": [1], "b": [None]}, id="short line"),
        pytest.param(',a\n"x\ny",1\n', {"Unnamed: 0": ["x\ny"], "a": [1]}, id="unnamed and quoted"),
    ],
)
def test_csv_values(text: str, expected: dict[str, list[Any]]) -> None:
    assert frame_of(csv_payload(text)).to_dict("list") == expected


def test_csv_in_another_charset() -> None:
    payload = Payload("näme\nü\n".encode("latin-1"), "text/csv", charset="latin-1")
    assert frame_of(payload).to_dict("list") == {"näme": ["ü"]}


def test_csv_of_a_column_declared_as_text_keeps_leading_zeros() -> None:
    adapter = DataframeInput(columns={"zip": "str", "n": "int64"})
    assert values_of(frame_of(csv_payload("n,zip\n2,01\n3,\n"), adapter)) == {"zip": ["01", None], "n": [2, 3]}


@pytest.mark.parametrize(
    ("payload", "status", "message"),
    [
        (json_payload(b""), 400, "The body is empty; it must be JSON."),
        (json_payload(b"{"), 400, "The body is not valid JSON: "),
        (json_payload(b"[[NaN]]"), 400, "The body is not valid JSON: "),
        (json_payload(b"[[1e999]]"), 400, "The body is not valid JSON: "),
        (json_payload(b'[["\\ud800", 12345678901234567890]]'), 400, "The body is not valid JSON: "),
        (json_payload(b'[["\xff"]]'), 400, "The body is not valid `utf-8` text: "),
        (json_payload(b"[" * 100_000), 400, "The body is not valid JSON: "),
        (json_payload(b"[[" + b"9" * 5000 + b"]]"), 400, "The body is not valid JSON: "),
        (json_payload([]), 400, "The table is empty; at least one row and one column are needed."),
        (json_payload({}), 400, "The table is empty; at least one row and one column are needed."),
        (json_payload([[]]), 400, "The table is empty; at least one row and one column are needed."),
        (json_payload([{}]), 400, "The table is empty; at least one row and one column are needed."),
        (json_payload({"a": []}), 400, "The table is empty; at least one row and one column are needed."),
        (
            json_payload({"columns": ["a"], "data": []}),
            400,
            "The table is empty; at least one row and one column are needed.",
        ),
        (json_payload(5), 400, "A table is needed: an array of rows or an object of columns, not `5`."),
        (json_payload([1, 2]), 400, "Row 0 is not an array of values."),
        (json_payload([[1], [1, 2]]), 400, "Row 1 has 2 values and row 0 has 1."),
        (json_payload([[1], {"a": 1}]), 400, "Row 1 is not an array of values."),
        (json_payload([{"a": 1}, [1]]), 400, "Row 1 is not an object of values by column name."),
        (
            json_payload({"a": 1}),
            400,
            "The body is one object with `a`, and an array of rows is wanted: put the object in brackets, `[{…}]`.",
        ),
        (
            json_payload({"a": 1, "b": [1]}),
            400,
            "The column `a` is neither an array nor an object of values. A single row is sent as an array of",
        ),
        (json_payload({"a": [1], "b": [1, 2]}), 400, "The columns have different numbers of rows."),
        (
            json_payload({"a": {"0": 1}, "b": {"1": 1}}),
            400,
            "The column `b` has other row labels than the first column.",
        ),
        (json_payload({"columns": "ab", "data": [[1]]}), 400, "`columns` must be an array of names."),
        (json_payload({"columns": [True], "data": [[1]]}), 400, "`columns` must be an array of names."),
        (
            json_payload({"columns": ["a", "b"], "data": [[1]]}),
            400,
            "`data` must be an array of rows with 2 values each, one per column.",
        ),
        (json_payload({"columns": ["a", "a"], "data": [[1, 2]]}), 400, 'Two columns are called `"a"`.'),
        (csv_payload(""), 400, "The table is empty; at least one row and one column are needed."),
        (csv_payload("a,b\n"), 400, "The table is empty; at least one row and one column are needed."),
        (csv_payload("a,a\n1,2\n"), 400, 'Two columns are called `"a"`.'),
        (
            csv_payload("5.1,5.1\n1,2\n"),
            400,
            "The CSV has no header line: its first line holds only numbers. Put the columns' names there: ",
        ),
        (csv_payload("a\n1,2\n"), 400, "Some lines of the CSV have more fields than its header line has names."),
        (csv_payload('a\n"x\n'), 400, "The body is not valid CSV: "),
        (Payload(b"a\n\xff\n", "text/csv"), 400, "The body is not valid `utf-8` text: "),
        (
            Payload(b"[[1]]", "application/json", charset="nonsense"),
            415,
            "The charset `nonsense` is not taken here; send ",
        ),
        (Payload(b"[[1]]", "application/json", charset="a\0b"), 415, "The charset `a\0b` is not taken here; send "),
        (
            Payload(b"[[1]]", "application/json", charset="undefined"),
            415,
            "The charset `undefined` is not taken here; send ",
        ),
        (Payload(b"[[1]]", "image/png"), 415, "`image/png` is not taken here; send `application/json`, `text/csv`, `"),
    ],
)
def test_a_malformed_request_is_refused(payload: Payload, status: int, message: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        DataframeInput().decode(payload)
    assert (refusal.value.http_status, str(refusal.value)[: len(message)]) == (status, message)


@given(st.binary(max_size=60) | st.text(st.sampled_from('ab,"\n\r\0 1.5e-'), max_size=40).map(str.encode))
def test_whatever_is_sent_is_decoded_or_refused(data: bytes) -> None:
    adapter = DataframeInput()
    for media_type in ("text/csv", "application/json"):
        with suppress(BadInputError):
            form = adapter.decode(Payload(data, media_type))
            assert len(adapter.merge([form, form])) == 2 * form.rows


def test_rows_that_share_no_names_do_not_fill_the_memory() -> None:
    body = [{f"c{i}": i} for i in range(4000)]
    with pytest.raises(BadInputError, match="cells, and 10000000 are taken here at once") as refusal:
        DataframeInput().decode(json_payload(body))
    assert refusal.value.http_status == 413


def test_a_message_shows_only_the_beginning_of_a_long_value() -> None:
    with pytest.raises(BadInputError) as refusal:
        DataframeInput(columns={"a": "int64"}).decode(json_payload([["x" * 1000]]))
    assert str(refusal.value) == f'The column `a` must be `int64`: `"{"x" * 56}…` is not a whole number.'


@pytest.mark.parametrize(
    "body",
    [
        [{"b": 2, "a": 1, "more": 0}],
        {"columns": ["b", "a"], "data": [[2, 1]]},
        {"b": [2], "a": [1]},
        [[1, 2]],
    ],
    ids=["records", "split", "columns", "without names"],
)
def test_declared_columns_come_in_the_declared_order(body: Any) -> None:
    assert_same(frame_of(body, DataframeInput(columns=("a", "b"))), pd.DataFrame({"a": [1], "b": [2]}))


def test_what_a_function_does_to_the_columns_of_a_frame_is_its_own_affair() -> None:
    adapter = DataframeInput(columns=["a", "b"])
    first, second = frame_of([[1.5, 2.5]], adapter), frame_of([[3.5, 4.5]], adapter)
    first.columns.name = "mine"
    first["c"] = 1
    with suppress(ValueError):  # pandas 3 refuses it
        first.columns.values[0] = "x"
    third = frame_of([[5.5, 6.5]], adapter)
    for frame in (second, third):
        assert (frame.columns.tolist(), frame.columns.name) == (["a", "b"], None)
        assert frame["a"].tolist() + frame["b"].tolist() in ([3.5, 4.5], [5.5, 6.5])


def test_columns_named_by_numbers_are_found_by_name() -> None:
    body = {"columns": [1, 0], "data": [[10, 20]]}
    assert frame_of(body, DataframeInput(columns=("0", "1"))).to_dict("list") == {"0": [20], "1": [10]}


DECLARED = DataframeInput(columns={"i": "int64", "f": "float64", "b": "bool", "s": "str"})


def test_declared_dtypes_are_reached_without_loss() -> None:
    frame = frame_of(
        [{"i": 5.0, "f": 3, "b": True, "s": "x"}, {"i": -(2**63), "f": None, "b": False, "s": None}], DECLARED
    )
    assert values_of(frame) == {"i": [5, -(2**63)], "f": [3.0, None], "b": [True, False], "s": ["x", None]}
    assert [str(dtype) for dtype in frame.dtypes] == ["int64", "float64", "bool", str(pd.Series(["x"]).dtype)]


def test_a_declared_text_column_is_text_even_when_all_of_it_is_missing() -> None:
    adapter = DataframeInput(columns={"s": "str"})
    assert frame_of([[None]], adapter).dtypes.tolist() == frame_of([["x"]], adapter).dtypes.tolist()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "Missing columns: `i`, `f`, `b`, `s`. The request has `other`."),
        ([1, 2], "The rows have 2 values each; this API takes 4, one per column."),
        ([1.5, 1, True, "x"], "The column `i` must be `int64`: `1.5` is not a whole number."),
        ([None, 1, True, "x"], "The column `i` must be `int64`: `null` is not a whole number."),
        ([True, 1, True, "x"], "The column `i` must be `int64`: `true` is not a whole number."),
        ([2**63, 1, True, "x"], f"The column `i` must be `int64`: `{2**63}` does not fit 64 bits."),
        ([1, 2**53 + 1, True, "x"], f"The column `f` must be `float64`: `{2**53 + 1}` would lose digits."),
        (
            [1, "2", True, 5],
            (
                'The column `f` must be `float64`: `"2"` is not a number. Send `2`, without quotes. '
                "The column `s` must be `str`: `5` is not text. Put it in quotes."
            ),
        ),
    ],
)
def test_values_that_do_not_fit_the_declared_columns_are_refused(row: Any, message: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        DECLARED.decode(json_payload([row or {"other": 1}]))
    assert (refusal.value.http_status, str(refusal.value)) == (422, message)


@pytest.mark.parametrize(
    ("orient", "body", "message"),
    [
        ("records", {"a": [1]}, "The body is laid out as `columns`; this API takes `records`."),
        ("values", [{"a": 1}], "The body is laid out as `records`; this API takes `values`."),
        ("split", {"a": [1]}, "The body is laid out as `columns`; this API takes `split`."),
        ("columns", [[1]], "The body is laid out as `values`; this API takes `columns`."),
        ("index", {"a": 1}, "Row 0 is not an object of values by column name."),
    ],
)
def test_another_layout_than_the_declared_one_is_refused(orient: Any, body: Any, message: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        DataframeInput(orient=orient).decode(json_payload(body))
    assert str(refusal.value) == message


def test_lists_of_values_are_rows_too_where_records_are_declared() -> None:
    frame = frame_of([[5.1, 3], [4.9, 2]], DataframeInput(orient="records"))
    assert_same(frame, frame_of([[5.1, 3], [4.9, 2]], DataframeInput()))


def test_a_table_with_columns_called_columns_and_data_is_taken_where_columns_are_declared() -> None:
    body = {"columns": [1], "data": [2]}
    assert frame_of(body, DataframeInput(orient="columns")).to_dict("list") == body


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": "int"}, "`int` of the column `a` is not a known dtype; known are `int64`, `float64`, `bool`, `str`"),
        (["a", "a"], "a column is named twice"),
        ([], "at least one column is needed"),
        ({}, "at least one column is needed"),
    ],
)
def test_columns_that_cannot_be_declared(columns: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataframeInput(columns=columns)


def test_rows_are_counted_as_items() -> None:
    adapter = DataframeInput()
    assert adapter.rows_of(adapter.decode(json_payload([[1], [2], [3]]))) == 3
