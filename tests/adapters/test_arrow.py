"""Tables in Parquet and Arrow: they keep their dtypes, and nobody else's."""

from __future__ import annotations

import io
import struct
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.adapters import DataframeInput, DataframeOutput
from kappa.adapters.arrow import ARROW_FILE, ARROW_STREAM, PARQUET, frame_of_arrow, parquet_batches
from kappa.errors import BadInputError, InferenceFailedError, MissingDependencyError
from kappa.types import Payload

TIMES = [pd.Timestamp("2026-01-02 03:04:05.678"), pd.NaT]
COLUMNS: dict[str, list[Any]] = {
    "int64": [1, -(2**62)],
    "int32": [1, -5],
    "uint8": [0, 255],
    "float64": [0.5, float("nan")],
    "float32": [0.1, float("inf")],
    "bool": [True, False],
    "str": ["x", None],
    "Int64": [2**60 + 1, None],
    "boolean": [True, None],
    "datetime64[ms]": TIMES,
    "datetime64[ns]": TIMES,
    "datetime64[us, Europe/Berlin]": TIMES,
    "category": ["red", "green"],
    "object": [[1, 2], None],
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    names = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True))
    rows = draw(st.integers(1, 4))
    columns = {}
    for name in names:
        dtype = draw(st.sampled_from(sorted(COLUMNS)))
        values = draw(st.lists(st.sampled_from(COLUMNS[dtype]), min_size=rows, max_size=rows))
        columns[name] = pd.Series(values, dtype=dtype)
    frame = pd.DataFrame(columns)
    if draw(st.booleans()):
        frame.index = pd.Index(draw(st.lists(st.sampled_from("xyz"), min_size=rows, max_size=rows)))
    return frame


def payload_of(frame: pd.DataFrame, media_type: str = PARQUET) -> Payload:
    buffer = io.BytesIO()
    if media_type == PARQUET:
        frame.to_parquet(buffer)
    else:
        table = pa.Table.from_pandas(frame)
        make = pa.ipc.new_stream if media_type == ARROW_STREAM else pa.ipc.new_file
        with make(buffer, table.schema) as writer:
            writer.write_table(table)
    return Payload(buffer.getvalue(), media_type)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_index_type=False)


@given(frames(), st.sampled_from([PARQUET, ARROW_STREAM, ARROW_FILE]))
def test_a_function_sees_the_table_that_was_sent(frame: pd.DataFrame, media_type: str) -> None:
    adapter = DataframeInput()
    payload = payload_of(frame, media_type)
    expected = pd.read_parquet(io.BytesIO(payload.data)) if media_type == PARQUET else frame
    found = adapter.merge([adapter.decode(payload)])
    for name in found.columns:
        if found[name].dtype == object:
            items = [list(item) if isinstance(item, np.ndarray) else item for item in expected[name]]
            expected[name] = pd.Series(items, index=expected.index, dtype=object)
    assert_same(found, expected)


@settings(max_examples=60)
@given(st.lists(frames(), min_size=2, max_size=5))
def test_a_table_in_a_batch_is_what_it_is_alone(sent: list[pd.DataFrame]) -> None:
    adapter = DataframeInput()
    groups: dict[Any, list[Any]] = {}
    for frame in [*sent, *sent]:
        form = adapter.decode(payload_of(frame))
        groups.setdefault(adapter.group_of(form), []).append(form)
    for forms in groups.values():
        batch, start = adapter.merge(forms), 0
        for form in forms:
            part = batch.iloc[start : start + form.rows]
            alone = adapter.merge([form])
            assert_same(part.reset_index(drop=True) if form.labels is None else part, alone)
            start += form.rows


def test_json_and_arrow_of_the_same_dtypes_share_a_batch() -> None:
    adapter = DataframeInput()
    frame = pd.DataFrame({"i": [1, 2], "f": [0.5, 1.5], "s": ["x", "y"]})
    forms = [
        adapter.decode(payload_of(frame)),
        adapter.decode(Payload(frame.to_json(orient="records").encode(), "application/json")),
        adapter.decode(payload_of(frame, ARROW_STREAM)),
    ]
    assert len({adapter.group_of(form) for form in forms}) == 1
    assert_same(adapter.merge(forms), pd.concat([frame, frame, frame], ignore_index=True))


def test_tables_are_brought_to_the_declared_columns() -> None:
    adapter = DataframeInput(columns={"f": "float64", "n": {"dtype": "int64", "nullable": True}, "t": "datetime"})
    frame = pd.DataFrame(
        {
            "t": pd.Series(TIMES, dtype="datetime64[us, Europe/Berlin]"),
            "n": pd.Series([1, None], dtype="Int64"),
            "f": pd.Series([1, 2], dtype="int8"),
        }
    )
    found = adapter.merge([adapter.decode(payload_of(frame))])
    expected = pd.DataFrame(
        {
            "f": [1.0, 2.0],
            "n": pd.Series([1, None], dtype="Int64"),
            "t": pd.Series([pd.Timestamp("2026-01-02 02:04:05.678"), pd.NaT], dtype="datetime64[us]"),
        }
    )
    assert_same(found, expected)


@given(st.binary(max_size=40), st.sampled_from([PARQUET, ARROW_STREAM, ARROW_FILE]))
def test_what_is_no_table_is_refused(data: bytes, media_type: str) -> None:
    with suppress(BadInputError):
        DataframeInput().decode(Payload(data, media_type))


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_table_is_refused_or_read(place: int, byte: int) -> None:
    data = bytearray(payload_of(pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})).data)
    data[place % len(data)] = byte
    with suppress(BadInputError):
        DataframeInput().decode(Payload(bytes(data), PARQUET))


LIARS = {
    "integers": pa.array([1] * 7, pa.uint8()),
    "texts": pa.array(["x"] * 7),
    "lists": pa.array([[1]] * 7),
    "structs": pa.array([{"a": 1}] * 7),
    "categories": pa.array(["x"] * 7).dictionary_encode(),
    "views": pa.array(["longer than twelve bytes"] * 7, pa.string_view()),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([3, 7], pa.int32()), pa.array([1, 2])),
    "decimals": pa.array([1] * 7, pa.decimal128(9)),
}


@pytest.mark.parametrize("media_type", [ARROW_STREAM, ARROW_FILE])
@pytest.mark.parametrize("column", LIARS.values(), ids=LIARS)
def test_no_memory_is_read_that_the_body_does_not_hold(column: Any, media_type: str) -> None:
    """A column of 7 rows whose metadata say 60,000 would be what happens to lie behind it."""
    buffer = io.BytesIO()
    table = pa.table({"a": column})
    make = pa.ipc.new_stream if media_type == ARROW_STREAM else pa.ipc.new_file
    with make(buffer, table.schema) as writer:
        writer.write_table(table)
    honest = buffer.getvalue()
    lied = honest.replace(struct.pack("<q", 7), struct.pack("<q", 60_000))
    assert lied != honest
    assert DataframeInput().decode(Payload(honest, media_type)).rows == 7
    with pytest.raises(BadInputError) as refusal:
        DataframeInput().decode(Payload(lied, media_type))
    assert refusal.value.http_status == 400
    if media_type == ARROW_STREAM:
        with pytest.raises(InferenceFailedError):
            frame_of_arrow(lied)


def test_a_page_of_parquet_that_its_checksum_does_not_fit_is_refused(tmp_path: Any) -> None:
    buffer = io.BytesIO()
    table = pa.table({"a": np.arange(100)})
    pyarrow.parquet.write_table(
        table, buffer, write_page_checksum=True, use_dictionary=False, compression="none", store_schema=False
    )
    data = bytearray(buffer.getvalue())
    place = data.index(np.arange(40, 50).tobytes())
    data[place] = 99
    with pytest.raises(BadInputError, match="CRC") as refusal:
        DataframeInput().decode(Payload(bytes(data), PARQUET))
    assert refusal.value.http_status == 400
    path = tmp_path / "rows.parquet"
    path.write_bytes(bytes(data))
    with path.open("rb") as file, pytest.raises(BadInputError, match="CRC"):
        list(parquet_batches(file, rows=10))


def test_a_small_file_that_unfolds_to_a_huge_table_is_refused() -> None:
    table = pa.table({f"c{i}": pa.array(np.zeros(2_000_000, dtype="int8")) for i in range(60)})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    assert len(buffer.getvalue()) < 1_000_000
    with pytest.raises(BadInputError, match="The table has 120000000 cells") as refusal:
        DataframeInput().decode(Payload(buffer.getvalue(), PARQUET))
    assert refusal.value.http_status == 413


def test_without_pyarrow_a_table_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = payload_of(pd.DataFrame({"a": [1]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.ipc", None)
    with pytest.raises(BadInputError, match="Run `pip install pyarrow`") as refusal:
        DataframeInput().decode(payload)
    assert refusal.value.http_status == 415
    with pytest.raises(MissingDependencyError):
        DataframeOutput().encode(pd.DataFrame({"a": [1]}), accept=PARQUET)


@pytest.mark.parametrize("media_type", [PARQUET, ARROW_STREAM, "text/csv"])
def test_a_client_gets_the_form_that_it_accepts(media_type: str) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    answer = DataframeOutput().encode(frame, accept=f"{media_type}, */*;q=0.1")
    assert answer.media_type.partition(";")[0] == media_type
    if media_type == "text/csv":
        assert answer.body == b"a,b\n1,x\n2,\n"
    else:
        read = pd.read_parquet if media_type == PARQUET else lambda file: pa.ipc.open_stream(file).read_pandas()
        assert_same(read(io.BytesIO(answer.body)), frame)


def test_what_arrow_cannot_hold_is_an_error() -> None:
    with pytest.raises(InferenceFailedError, match="The table cannot be written as Arrow"):
        DataframeOutput().encode(pd.DataFrame({"a": [1, "x", object()]}), accept=PARQUET)


def test_a_parquet_file_is_read_in_batches(tmp_path: Any) -> None:
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"a": range(10)}).to_parquet(path)
    with path.open("rb") as file:
        assert [batch["a"].to_pylist() for batch in parquet_batches(file, rows=4)] == [
            [0, 1, 2, 3],
            [4, 5, 6, 7],
            [8, 9],
        ]
