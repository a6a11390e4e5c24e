"""What a body of a table unfolds to is bounded before it unfolds, in every form."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.adapters import DataframeInput
from kappa.adapters.arrow import ARROW_FILE, ARROW_STREAM, PARQUET
from kappa.adapters.columns import nbytes_of
from kappa.errors import BadInputError
from kappa.types import DecodingLimits, Payload

SMALL = DecodingLimits(max_bytes=4_000_000, max_cells=100_000, max_columns=100)
MANY = 60_000
LONG = "a" * 100_000


def parquet(column: Any, **options: Any) -> Payload:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"c": column}), buffer, **options)
    return Payload(buffer.getvalue(), PARQUET)


def arrow(column: Any, media_type: str = ARROW_STREAM, *, rows: int | None = None, compression: str = "") -> Payload:
    table = pa.table({"c": column})
    buffer = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression or None)
    make = pa.ipc.new_stream if media_type == ARROW_STREAM else pa.ipc.new_file
    with make(buffer, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return Payload(buffer.getvalue(), media_type)


def runs(count: int, value: Any) -> Any:
    return pa.RunEndEncodedArray.from_arrays(pa.array([count], pa.int32()), value)


def shared(values: Any, count: int) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, "int32")), values)


def spans(kind: Any, count: int, size: int) -> Any:
    items = pa.array(np.zeros(size, "int8"))
    return kind.from_arrays(pa.array([0] * count), pa.array([size] * count), items)


def one_list(items: Any) -> Any:
    return pa.ListArray.from_arrays(pa.array([0, len(items)], pa.int32()), items)


HUGE = 2_000_000_000
BYTES = "The table unfolds to more than 4000000 bytes, which is what is taken here at once. Send fewer rows at a time."
TOO_MUCH: dict[str, tuple[Callable[[], Payload], str]] = {
    "missing values": (lambda: arrow(pa.nulls(10**8)), "The table has 100000000 cells, and 100000 are taken here"),
    "runs": (lambda: arrow(runs(100_000_000, pa.array([1]))), "The table has 100000000 cells"),
    "runs of a text": (lambda: arrow(runs(1000, pa.array([LONG]))), BYTES),
    "a list of missing values": (lambda: arrow(one_list(pa.nulls(HUGE))), BYTES),
    "a list of runs": (lambda: arrow(one_list(runs(HUGE, pa.array([1])))), BYTES),
    "a wide list of missing values": (lambda: arrow(pa.FixedSizeListArray.from_arrays(pa.nulls(HUGE), HUGE)), BYTES),
    "lists of lists of nothing": (lambda: arrow(one_list(one_list(pa.nulls(HUGE)))), BYTES),
    "lists that overlap": (lambda: arrow(spans(pa.ListViewArray, 1000, 10_000)), BYTES),
    "a text that many rows share": (lambda: arrow(shared(pa.array([LONG]), 1000)), BYTES),
    "a list that many rows share": (lambda: arrow(shared(pa.array([[1] * 1000]), 10_000)), BYTES),
    "a text that many rows of lists share": (lambda: arrow(one_list(shared(pa.array([LONG]), 1000))), BYTES),
    "dictionaries in a file": (lambda: arrow(shared(pa.array([LONG]), 1000), ARROW_FILE), BYTES),
    **{
        f"{compression} in a {name}": (partial(arrow, np.zeros(999_990), media_type, compression=compression), BYTES)
        for compression in ("lz4", "zstd")
        for name, media_type in (("stream", ARROW_STREAM), ("file", ARROW_FILE))
    },
    "a packed dictionary": (lambda: arrow(shared(pa.array(["a" * 5_000_000]), 1), compression="zstd"), BYTES),
    "many batches": (lambda: arrow(np.zeros(10_001), rows=1), "The table comes in more than 10000 parts"),
    "a dictionary that every batch looks at": (lambda: arrow(shared(pa.array(["é" * 50_000]), 1000), rows=1), BYTES),
    "Parquet: rows": (lambda: parquet(np.zeros(200_000)), "The table has 200000 cells"),
    "Parquet: a text that many rows share": (lambda: parquet([LONG] * 1000), BYTES),
    "Parquet: bytes that many rows share": (lambda: parquet([LONG.encode()] * 1000), BYTES),
    "Parquet: long values of one size": (lambda: parquet(pa.array([b"a" * 1000] * 10_000, pa.binary(1000))), BYTES),
    "Parquet: a text in lists": (lambda: parquet([[LONG] * 1000]), BYTES),
    "Parquet: a list of one row": (lambda: parquet([np.zeros(200_000)]), "The table has 200000 values"),
    "Parquet: packed texts": (lambda: parquet(["a" * 5_000_000], use_dictionary=False, compression="zstd"), BYTES),
    "Parquet: texts by their difference": (
        lambda: parquet([LONG + str(i) for i in range(1000)], use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY"),
        BYTES,
    ),
    "Parquet: texts in lists by their difference": (
        lambda: parquet(
            [[LONG + str(i) for i in range(1000)]], use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY"
        ),
        BYTES,
    ),
    "Parquet: many pages": (
        lambda: parquet(np.zeros(60_000), row_group_size=1, use_dictionary=False, write_statistics=False),
        "The file has more than 50000 pages",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("write", "reason"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_unfolds_to_too_much_is_refused(write: Callable[[], Payload], reason: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        DataframeInput().decode(write()._replace(limits=SMALL))
    assert refusal.value.http_status == 413
    assert str(refusal.value).startswith(reason)
    assert str(refusal.value).endswith(".")


ENOUGH = {
    "a dictionary": (shared(pa.array(["abc"]), 10_000), ["abc"] * 10_000),
    "texts that rows share": (["a" * 100] * 10_000, ["a" * 100] * 10_000),
    "a list": ([[1, None]] * 1000, [[1, None]] * 1000),
}


@pytest.mark.parametrize("write", [arrow, parquet])
@pytest.mark.parametrize(("column", "values"), ENOUGH.values(), ids=ENOUGH)
def test_what_is_not_too_much_is_read(write: Any, column: Any, values: list[Any]) -> None:
    adapter = DataframeInput()
    form = adapter.decode(write(column)._replace(limits=SMALL))
    assert adapter.merge([form])["c"].tolist() == values


def test_texts_that_would_fill_the_memory_read_one_by_one_are_read_once() -> None:
    """A reader that made each text anew might need 5 KB for each of 1,000 rows, by all that can be told before."""
    texts = ["abcde"] * 995 + ["x" * 5000]
    adapter = DataframeInput()
    for nested in (False, True):
        payload = parquet([texts] if nested else texts)
        found = adapter.merge([adapter.decode(payload._replace(limits=replace(SMALL, max_bytes=200_000)))])["c"]
        assert found.tolist() == ([texts] if nested else texts)
        assert str(found.dtype) == ("object" if nested else str(pd.Series(["x"]).dtype))


def test_texts_that_differ_a_little_are_read_some_at_a_time() -> None:
    texts = [f"{'a' * 100}{i}" for i in range(3000)]
    payload = parquet(texts, use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY")
    adapter = DataframeInput()
    assert adapter.merge([adapter.decode(payload._replace(limits=SMALL))])["c"].tolist() == texts


def test_texts_that_unfold_to_too_much_are_not_unfolded_first() -> None:
    write, _ = TOO_MUCH["Parquet: texts by their difference"]
    payload = write()
    before, watched = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(watched)
    try:
        with pytest.raises(BadInputError):
            DataframeInput().decode(payload._replace(limits=replace(SMALL, max_bytes=20_000_000)))
        assert watched.max_memory() < 30_000_000
    finally:
        pa.set_memory_pool(before)


@pytest.mark.parametrize("media_type", [ARROW_STREAM, ARROW_FILE])
def test_a_packed_buffer_that_lies_about_its_length_is_refused(media_type: str) -> None:
    payload = arrow(np.zeros(4000), media_type, compression="zstd")
    honest = struct.pack("<q", 32_000)
    assert payload.data.count(honest) == 1
    for length in (1 << 40, 1 << 62, -2, 31_999, 32_001):
        lied = payload.data.replace(honest, struct.pack("<q", length))
        with pytest.raises(BadInputError) as refusal:
            DataframeInput().decode(Payload(lied, media_type))
        assert refusal.value.http_status == (413 if length > 1 << 39 else 400)


def test_a_page_that_lies_about_its_length_is_refused() -> None:
    """The metadata say nothing of it: the page's own header does."""
    payload = parquet(["a" * 100_000], use_dictionary=False, compression="zstd")
    place = payload.data.index(b"\x15\x00\x15") + 3  # a data page's type, then its length as a varint
    lied = payload.data[:place] + bytes([254, 255, 127]) + payload.data[place + 3 :]  # a million bytes
    with pytest.raises(BadInputError):
        DataframeInput().decode(Payload(lied, PARQUET))
    with pytest.raises(BadInputError) as refusal:
        DataframeInput().decode(Payload(lied, PARQUET, limits=replace(SMALL, max_bytes=500_000)))
    assert refusal.value.http_status == 413


# -- columns -----------------------------------------------------------------------------------------------------------

NAMES = [f"c{i}" for i in range(101)]
WIDE: dict[str, Any] = {
    "records": [dict.fromkeys(NAMES, 1)],
    "records that share no name": [{name: 1} for name in NAMES],
    "values": [[1] * 101],
    "split": {"columns": NAMES, "data": [[1] * 101]},
    "columns": {name: [1] for name in NAMES},
    "columns of objects": {name: {"x": 1} for name in NAMES},
    "index": {"x": dict.fromkeys(NAMES, 1)},
    "table": {"schema": {"fields": [{"name": name} for name in NAMES]}, "data": [dict.fromkeys(NAMES, 1)]},
}


def as_json(body: Any, limits: DecodingLimits = SMALL) -> Payload:
    return Payload(json.dumps(body).encode(), "application/json", limits=limits)


@pytest.mark.parametrize("layout", WIDE)
def test_more_columns_than_are_taken_are_refused_in_every_layout(layout: str) -> None:
    adapter = DataframeInput(orient="index" if layout == "index" else None)
    with pytest.raises(BadInputError, match="The table has 101 columns, and 100 are taken here") as refusal:
        adapter.decode(as_json(WIDE[layout]))
    assert refusal.value.http_status == 413


@pytest.mark.parametrize("layout", WIDE)
def test_as_many_columns_as_are_declared_are_taken(layout: str) -> None:
    adapter = DataframeInput(columns=[*NAMES], orient="index" if layout == "index" else None)
    frame = adapter.merge([adapter.decode(as_json(WIDE[layout]))])
    assert list(frame.columns) == NAMES
    with pytest.raises(BadInputError, match="and 101 are taken here"):
        adapter.decode(as_json({"x": dict.fromkeys([*NAMES, "more"], 1)} if layout == "index" else [[1] * 102]))


@pytest.mark.parametrize("media_type", [ARROW_STREAM, ARROW_FILE, PARQUET])
def test_more_columns_than_are_taken_are_refused_in_arrow(media_type: str) -> None:
    table = pa.table({name: [1] for name in NAMES})
    buffer = io.BytesIO()
    if media_type == PARQUET:
        pyarrow.parquet.write_table(table, buffer)
    else:
        with (pa.ipc.new_stream if media_type == ARROW_STREAM else pa.ipc.new_file)(buffer, table.schema) as writer:
            writer.write_table(table)
    payload = Payload(buffer.getvalue(), media_type, limits=SMALL)
    with pytest.raises(BadInputError, match="The table has 101 columns, and 100 are taken here") as refusal:
        DataframeInput().decode(payload)
    assert refusal.value.http_status == 413
    assert len(DataframeInput(columns=NAMES).decode(payload).names) == 101


@pytest.mark.parametrize(
    "body",
    [
        [[1] * 50] * 2001,
        [dict.fromkeys(NAMES[:50], 1)] * 2001,
        {"columns": NAMES[:50], "data": [[1] * 50] * 2001},
        {name: [1] * 2001 for name in NAMES[:50]},
    ],
    ids=["values", "records", "split", "columns"],
)
def test_more_cells_than_are_taken_are_refused(body: Any) -> None:
    with pytest.raises(BadInputError, match="The table has 100050 cells, and 100000 are taken here at once") as refusal:
        DataframeInput().decode(as_json(body, replace(SMALL, max_bytes=1 << 30)))
    assert refusal.value.http_status == 413


# -- what a form holds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "least", "most"),
    [
        ([[float(i)] for i in range(10_000)], 240_000, 640_000),
        ([[i + 1000] for i in range(10_000)], 280_000, 720_000),
        ([["x" * 100] for _ in range(10_000)], 1_400_000, 3_200_000),
        ([[None] for _ in range(10_000)], 80_000, 160_000),
        ([[[i + 1000.5] * 10] for i in range(2000)], 300_000, 1_600_000),
        ([[{"a": [i + 1000.5] * 10}] for i in range(2000)], 600_000, 2_200_000),
    ],
    ids=["floats", "integers", "texts", "missing", "lists", "objects"],
)
def test_a_form_tells_about_what_it_holds(body: Any, least: int, most: int) -> None:
    assert least < nbytes_of(DataframeInput().decode(as_json(body, DecodingLimits()))) < most


def test_a_form_of_arrays_tells_what_they_hold() -> None:
    adapter = DataframeInput()
    form = adapter.decode(arrow(np.zeros(50_000)))
    assert 400_000 <= adapter.nbytes_of(form) < 410_000
    form = adapter.decode(arrow(["x" * 100] * 20_000))
    assert 2_000_000 <= adapter.nbytes_of(form) < 2_400_000


# -- any JSON ----------------------------------------------------------------------------------------------------------

words = st.sampled_from(
    ["a", "b", "0", "1", "", "schema", "data", "fields", "name", "primaryKey", "columns", "index", "type", "tz", "enum",
     "integer", "datetime", "extDtype", "Int64", "constraints", "9" * 5000, "2020-01-01", "freq", "UTC", "duration"]
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.just(10**25) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
field = st.dictionaries(st.sampled_from(["name", "type", "tz", "extDtype", "constraints", "ordered"]), values)
schemas = st.fixed_dictionaries(
    {"schema": values | st.fixed_dictionaries({"fields": st.lists(field, max_size=3)}, optional={"primaryKey": values})}
).flatmap(
    lambda made: st.fixed_dictionaries({"data": values | st.lists(st.dictionaries(words, values))}).map(made.__or__)
)
splits = st.fixed_dictionaries({"columns": values, "data": values}, optional={"index": values})


def assert_is_table_or_refused(adapter: DataframeInput, payload: Payload) -> None:
    try:
        form = adapter.decode(payload)
    except BadInputError as exc:
        is_refusal = 400 <= exc.http_status < 500 and str(exc).endswith(".")
        assert is_refusal, exc  # noqa: PT017 - most are not refused
    else:
        hash(adapter.group_of(form))
        assert adapter.nbytes_of(form) >= 0
        assert len(adapter.merge([form])) == form.rows


@given(values | schemas | splits, st.sampled_from([None, "records", "values", "split", "columns", "index", "table"]))
def test_any_json_is_a_table_or_refused(body: Any, orient: Any) -> None:
    for adapter in (DataframeInput(orient=orient), DataframeInput(columns={"a": "int64", "b": "datetime"})):
        assert_is_table_or_refused(adapter, as_json(body))


@pytest.mark.parametrize("depth", [200, 500, 1000])
def test_a_deep_value_is_shown_as_one(depth: int) -> None:
    body = b'[{"a":' + b"[" * depth + b"1" + b"]" * depth + b"}]"
    with pytest.raises(BadInputError) as refusal:
        DataframeInput(columns={"a": "int64"}).decode(Payload(body, "application/json"))
    assert refusal.value.http_status in (400, 422)
