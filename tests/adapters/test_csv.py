"""CSV in: short tables are read without pandas, and exactly as pandas reads them."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.adapters import DataframeInput, DataframeOutput
from kappa.adapters import csv as reading
from kappa.adapters.columns import Columns, frame_of
from kappa.adapters.csv import columns_of_csv, csv_lines
from kappa.build.code.sampled_columns import columns_of_sample
from kappa.errors import BadInputError
from kappa.types import DecodingLimits, Payload

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


# -- headers that are numbers ------------------------------------------------------------------------------------------

NUMBERS = {
    "years": ["2019", "2020"],
    "lags": ["-2", "-1", "0"],
    "quantiles": ["0.5", "0.05", "0.95"],
    "words": ["nan", "inf", "-inf"],
    "places": ["0", "1", "2"],
    "places in another order": ["2", "0", "1"],
    "one": ["7"],
    "one place": ["0"],
    "long": ["1" * 400, "1e400"],
}


def rows_under(header: list[str]) -> str:
    return csv_lines([header, [1.5] * len(header), [2.5] * len(header)])


@pytest.mark.parametrize("names", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("is_short", [True, False], ids=["short", "long"])
def test_names_that_are_numbers_are_read_where_they_are_declared(
    names: list[str], is_short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_short:
        monkeypatch.setattr(reading, "_SHORT", -1)
    adapter = DataframeInput(columns=dict.fromkeys(names, "float64"))
    for header in (names, names[::-1]):
        values = {name: float(place) for place, name in enumerate(header)}
        form = adapter.decode(Payload(csv_lines([header, values.values()]).encode(), "text/csv"))
        assert (form.names, [list(column) for column in form.values]) == (
            tuple(names),
            [[values[name]] for name in names],
        )


@pytest.mark.parametrize("extra", ["ignore", "pass", "forbid"])
def test_further_columns_that_are_numbers_are_as_others(extra: Any) -> None:
    adapter = DataframeInput(columns={"1": "float64", "0": "float64"}, extra_columns=extra)
    payload = Payload(rows_under(["0", "1", "2"]).encode(), "text/csv")
    if extra == "forbid":
        with pytest.raises(BadInputError, match="Unknown columns: `2`"):
            adapter.decode(payload)
    else:
        assert adapter.decode(payload).names == (("1", "0", "2") if extra == "pass" else ("1", "0"))


@pytest.mark.parametrize("count", [1, 2, 30])
def test_columns_that_are_only_numbered_have_no_names(count: int) -> None:
    text = pd.DataFrame([[1.5] * count] * 2).to_csv(index=False)
    form = DataframeInput().decode(Payload(text.encode(), "text/csv"))
    assert (form.names, form.rows) == (tuple(range(count)), 2)
    declared = DataframeInput(columns={f"c{place}": "float64" for place in range(count)})
    assert declared.decode(Payload(text.encode(), "text/csv")).names == tuple(f"c{place}" for place in range(count))


@pytest.mark.parametrize("names", [NUMBERS["years"], NUMBERS["quantiles"], ["5.1", "3.5"], ["1", "2"], ["0", "2"]])
def test_a_line_of_numbers_that_nobody_declared_is_no_header(names: list[str]) -> None:
    said = "The CSV has no header line: its first line holds only numbers. Put the columns' names there: "
    for adapter, advice in (
        (DataframeInput(), "if they are numbers, the API must declare them in `columns`."),
        (DataframeInput(columns=["a", "b"]), "`a`, `b`."),
        (DataframeInput(columns=[*names, "c"]), f"{', '.join(f'`{name}`' for name in [*names, 'c'])}."),
    ):
        with pytest.raises(BadInputError) as refused:
            adapter.decode(Payload(rows_under(names).encode(), "text/csv"))
        assert str(refused.value) == said + advice


@pytest.mark.parametrize("names", NUMBERS.values(), ids=NUMBERS)
def test_a_sample_whose_names_are_numbers_declares_them(names: list[str], tmp_path: Path) -> None:
    file = tmp_path / "sample.csv"
    file.write_text(rows_under(names), encoding="utf-8")
    adapter = DataframeInput(columns_from="sample.csv")
    columns = columns_of_sample(adapter, file)
    assert columns == {name: {"dtype": "float64", "nullable": False} for name in names}
    declared = adapter.with_options(columns=columns, columns_from=None)
    assert declared.decode(Payload(file.read_bytes(), "text/csv")).names == tuple(names)


@pytest.mark.parametrize("names", [[0, 1, 2], [2019, 2020], ["2019", "a"], [0.5, 0.95]])
def test_a_table_that_is_answered_as_csv_is_read_by_who_declares_it(names: list[Any]) -> None:
    answer = DataframeOutput().encode(pd.DataFrame([[1.5] * len(names)], columns=names), accept="text/csv")
    adapter = DataframeInput(columns={str(name): "float64" for name in names})
    assert adapter.decode(Payload(answer.body, "text/csv")).names == tuple(map(str, names))


# -- bounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a,b1,23,4", "TrueBern,12,4TrueBern", "a,b", "1,2", "a"])
def test_one_line_without_rows_is_told_to_who_sends_it_with_curl(text: str) -> None:
    with pytest.raises(BadInputError) as refused:
        columns_of_csv(Payload(text.encode(), "text/csv"))
    assert str(refused.value) == (
        "The CSV is one line without rows. If it was sent with curl, use `--data-binary`, which keeps the ends of "
        "lines."
    )


FEW = DecodingLimits(max_columns=5, max_cells=100)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b,c,d,e,f\n1,2,3,4,5,6\n", "The table has 6 columns; 5 are taken here."),
        ("," * 1_000_000, "The table has 50000 columns; 5 are taken here."),
        ("a\n" + "1\n" * 100, "The table has 102 lines of 1 values; 100 are taken here at once."),
        ("a,b,c,d,e\r" + "1\r" * 20, "The table has 22 lines of 5 values; 100 are taken here at once."),
        ("a\n" + "\n" * 100, "The table has 102 lines of 1 values; 100 are taken here at once."),
    ],
    ids=["columns", "commas", "lines", "short lines", "blank lines"],
)
def test_a_table_is_bounded_before_it_is_read(text: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_table", None)
    monkeypatch.setattr(reading, "_short_table", None)
    with pytest.raises(BadInputError) as refused:
        columns_of_csv(Payload(text.encode(), "text/csv", limits=FEW))
    assert (refused.value.http_status, str(refused.value)) == (413, reason)


def test_as_many_columns_as_are_declared_are_taken() -> None:
    names = [f"c{place}" for place in range(20)]
    payload = Payload(rows_under(names).encode(), "text/csv", limits=DecodingLimits(max_columns=5))
    assert DataframeInput(columns=names).decode(payload).names == tuple(names)
    with pytest.raises(BadInputError, match="The table has 20 columns; 5 are taken here"):
        DataframeInput().decode(payload)
    with pytest.raises(BadInputError, match="The table has 20 columns; 10 are taken here"):
        DataframeInput(columns=names[:10]).decode(payload)


@pytest.mark.parametrize("other", ["1", "", "1.5", "9007199254740993", "inf"])
@pytest.mark.parametrize("field", ["9" * 309, "-" + "9" * 400, "1e400", "-1.5E+999", "1" * 4000], ids=lambda it: it[:9])
def test_a_number_that_fits_no_double_is_refused(field: str, other: str) -> None:
    text = csv_lines([["a", "b"], [other, "x"], [field, "x"]])
    with pytest.raises(BadInputError) as refused:
        columns_of_csv(Payload(text.encode(), "text/csv"))
    expected = r"The body is not valid CSV: the number `-?[\d.eE+]+…` does not fit a double\."
    assert re.fullmatch(expected, str(refused.value))


@pytest.mark.parametrize("declared", ["int64", "float64", "str", "bool", "datetime"])
@pytest.mark.parametrize("field", ["9" * 400, "9" * 5000, "1e400", "-" + "9" * 5000])
def test_a_long_number_is_no_error_of_the_servers(field: str, declared: str) -> None:
    adapter = DataframeInput(columns={"a": declared})
    payload = Payload(f"a\n{field}\n".encode(), "text/csv")
    if declared == "str":
        assert list(adapter.decode(payload).values[0]) == [field]
        return
    with pytest.raises(BadInputError) as refused:
        adapter.decode(payload)
    assert len(str(refused.value)) < 200


def test_words_for_the_infinities_are_numbers_as_in_pandas() -> None:
    form = columns_of_csv(Payload(b"a\ninf\n-Infinity\n1.5\n", "text/csv"))
    assert list(form.values[0]) == [float("inf"), float("-inf"), 1.5]


def test_exact_columns_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read_csv = pd.read_csv
    counts = []

    def counted(*args: Any, **options: Any) -> Any:
        counts.append(1)
        return read_csv(*args, **options)

    monkeypatch.setattr(pd, "read_csv", counted)
    names = [f"c{place}" for place in range(20)]
    form = reading._table(csv_lines([names, [2**53 + 1] * 20, [None] * 20]), tuple(names), ())
    assert [list(column) for column in form.values] == [[2**53 + 1, None]] * 20
    assert len(counts) == 2
