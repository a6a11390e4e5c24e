"""CSV in: short tables are read without pandas, and exactly as pandas reads them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.adapters import csv as reading
from kappa.adapters.columns import Columns, frame_of
from kappa.adapters.csv import columns_of_csv, csv_lines
from kappa.errors import BadInputError
from kappa.types import Payload

FIELDS = [
    *("", "0", "1", "-1", "007", "1.5", "-0.25", "1e3", "1.5e-3", ".5", "5.", "+1", " 1", "1 ", "1_000", "0x10", "1,5"),
    *(
        "true",
        "True",
        "FALSE",
        "TrUe",
        "yes",
        "NA",
        "nan",
        "NaN",
        "null",
        "inf",
        "-inf",
        "Infinity",
        "x",
        "X y",
        "ü",
        "_",
    ),
    *("9007199254740993", "123456789012345678", "1234567890123456789", "99999999999999999999", "1e400", "12e5", "٣"),
    *("two\nlines", 'a "quote"', "2026-01-31", "a1", "1a", "#", "_", "0.1000000000000000055511151231257827", "3.0"),
]


def read(text: str, *, is_short: bool, texts: frozenset[str], monkeypatch: pytest.MonkeyPatch) -> Columns | str:
    monkeypatch.setattr(reading, "_SHORT", len(text) if is_short else -1)
    try:
        return columns_of_csv(Payload(text.encode(), "text/csv"), texts=texts)
    except BadInputError as exc:
        return str(exc)


@settings(max_examples=150)
@given(
    st.lists(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3), min_size=1, max_size=3)
    | st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4).map(lambda fields: [[field] for field in fields]),
    st.sampled_from([frozenset(), frozenset({"a"})]),
)
def test_a_short_table_is_read_as_pandas_reads_it(rows: list[list[str]], texts: frozenset[str]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        text = csv_lines([["a", "b", "c"][: max(map(len, rows))], *rows])
        short = read(text, is_short=True, texts=texts, monkeypatch=monkeypatch)
        long = read(text, is_short=False, texts=texts, monkeypatch=monkeypatch)
    if isinstance(short, str) or isinstance(long, str):
        assert short == long
        return
    assert (short.names, short.kinds, short.rows) == (long.names, long.kinds, long.rows)
    pd.testing.assert_frame_equal(frame_of([short]), frame_of([long]), check_exact=True)


@pytest.mark.parametrize(
    "text",
    [
        "a\n1,2\n",
        'a\n"x\n',
        "a,b\n1\n",
        "a\n\n\n1\n",
        'a\n""\n',
        "a,b\n,\n",
        'a\n"x"y\n',
        "a\r\n1\r\n",
        "a\n1.5\n9007199254740993\n",
    ],
)
def test_unusual_lines_are_read_or_refused_alike(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = [
        read(text, is_short=is_short, texts=frozenset(), monkeypatch=monkeypatch) for is_short in (True, False)
    ]
    if isinstance(found[0], str):
        assert found[0] == found[1]
    else:
        pd.testing.assert_frame_equal(frame_of([found[0]]), frame_of([found[1]]))


def test_a_row_costs_no_look_at_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_table", None)
    decoded = columns_of_csv(Payload(b"i,f,b,s,m\n1,2.5,true,x y,\n-2,3,False,z,\n", "text/csv"))
    assert decoded.kinds == ("int64", "float64", "bool", "str", "object")
    assert [list(values) for values in decoded.values] == [
        [1, -2],
        [2.5, 3.0],
        [True, False],
        ["x y", "z"],
        [None, None],
    ]


def test_rows_are_written_as_they_are_read() -> None:
    assert csv_lines([["a", "b"], [1, None], [float("nan"), True], ["x,y", 'q"']]) == 'a,b\n1,\n,true\n"x,y","q"""\n'


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, ""),
        (pd.NA, ""),
        (pd.NaT, ""),
        (np.float64("nan"), ""),
        (np.float32("nan"), ""),
        (np.float32(0.1), "0.1"),
        (float("inf"), "inf"),
        (True, "true"),
        (np.bool_(False), "false"),
        (Decimal("1.50"), "1.50"),
        ("", '""'),
    ],
    ids=repr,
)
def test_a_value_is_one_field(value: Any, field: str) -> None:
    assert csv_lines([[value]]) == (f"{field}\n" if field else '""\n')
