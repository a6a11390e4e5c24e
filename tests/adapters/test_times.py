"""One reader of times on every Python; what it takes, and what it refuses, to the digit."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.adapters import DataframeInput
from kappa.adapters.arrow import arrow_payload
from kappa.adapters.times import length_of_time, point_in_time, points_in_time, utc_of, zone_of
from kappa.errors import BadInputError
from kappa.types import DecodingLimits, Payload

EXACT = {
    "2020-01-02": "2020-01-02T00:00:00",
    "20200102": "2020-01-02T00:00:00",
    "2020-01-02T03": "2020-01-02T03:00:00",
    "2020-01-02 03:04": "2020-01-02T03:04:00",
    "2020-01-02t03:04:05z": "2020-01-02T03:04:05",
    "20200102T030405": "2020-01-02T03:04:05",
    "20200102T030405Z": "2020-01-02T03:04:05",
    "2020-01-02T03:04:05.1": "2020-01-02T03:04:05.100000",
    "2020-01-02T03:04:05,12": "2020-01-02T03:04:05.120000",
    "2020-01-02T03:04:05.1234567890": None,
    "2020-01-02T03:04:05.123456000": "2020-01-02T03:04:05.123456",
    "2020-01-02T03:04:05.123456000Z": "2020-01-02T03:04:05.123456",
    "2020-01-02T03:04:05.123456+02:00": "2020-01-02T01:04:05.123456",
    "2020-01-02T03:04:05+0200": "2020-01-02T01:04:05",
    "2020-01-02T03:04:05-02": "2020-01-02T05:04:05",
    "2020-01-02T03:04:05.5+05:30": "2020-01-01T21:34:05.500000",
    "2020-01-02T24:00:00": "2020-01-03T00:00:00",
    "0001-01-01T00:00:00": "0001-01-01T00:00:00",
    "9999-12-31T23:59:59.999999": "9999-12-31T23:59:59.999999",
    "2020-02-29": "2020-02-29T00:00:00",
    "2020-01-02T03:04:05.123456789": None,
    "2020-01-02T03:04:05.123456789Z": None,
    "2020-01-02T030405.1234567": None,
    "2020-01-02T03:04:05.0000001+00:00": None,
}


@pytest.mark.parametrize(("text", "exact"), EXACT.items())
def test_a_time_is_read_to_the_digit_or_refused(text: str, exact: str | None) -> None:
    if exact is None:
        with pytest.raises(ValueError, match="has digits below a microsecond"):
            point_in_time(text)
    else:
        assert point_in_time(text).isoformat() == exact


@pytest.mark.parametrize(
    "text",
    [
        "", "soon", "5", "2020", "2020-01", "2020-13-01", "2021-02-29", "2020-W01-1", "2020-001", "2020-1-2",
        "2020-01-02T", "2020-01-02T25:00", "2020-01-02T24:00:01", "2020-01-02T03:60", "2020-01-02T03:04:60",
        "2020-01-02T03:04:05.", "2020-01-02T03:04:05+25:00", "2020-01-02T03:04:05+02:60", "2020-01-02x03:04:05",
        "2020-01-02T03:04:05 Z", " 2020-01-02", "2020-01-02\n", "٢٠٢٠-٠١-٠٢", "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00", "9999-12-31T24:00:00", "-2020-01-02", "2020-01-02T03:04:05++02",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date and time like"):
        point_in_time(text)


@given(st.datetimes(timezones=st.none() | st.just(timezone.utc) | st.just(timezone(timedelta(hours=-5)))))
def test_what_python_writes_is_read_back(value: datetime) -> None:
    try:
        expected = utc_of(value)
    except ValueError:
        return
    assert point_in_time(value.isoformat()) == expected
    assert point_in_time(value.isoformat(" ")) == expected


@pytest.mark.parametrize("text", [text for text, exact in EXACT.items() if exact is not None])
def test_many_times_are_read_as_one_is(text: str) -> None:
    found = points_in_time([text, None, text])
    if found is not None:
        assert found.tolist() == [point_in_time(text), None, point_in_time(text)]
    adapter = DataframeInput(columns={"t": "datetime"})
    body = f'[{",".join([f"""{{"t":"{text}"}}""", """{"t":null}"""] * 200)}]'
    frame = adapter.merge([adapter.decode(Payload(body.encode(), "application/json"))])
    assert frame["t"].tolist() == [pd.Timestamp(point_in_time(text)), pd.NaT] * 200
    assert str(frame["t"].dtype) == "datetime64[us]"
    table = pa.table({"t": [text, None] * 200})
    frame = adapter.merge([adapter.decode(arrow_payload(table, DecodingLimits()))])
    assert frame["t"].tolist() == [pd.Timestamp(point_in_time(text)), pd.NaT] * 200


COMMON = ["2020-01-02", "2020-01-02 03:04", "2020-01-02T03:04:05Z", "2020-01-02T03:04:05.123456+02:00", "20200102"]


@pytest.mark.parametrize("text", COMMON)
def test_the_common_forms_are_read_many_at_a_time(text: str) -> None:
    assert points_in_time([text]) is not None


CLOCK = r"[T ][0-2][0-9](:?[0-6][0-9](:?[0-6][0-9]([.,][0-9]{1,9})?)?)?(Z|[+-][0-2][0-9](:?[0-6][0-9])?)?"
near_times = st.from_regex(re.compile(rf"[0-9]{{4}}-?[01][0-9]-?[0-3][0-9]({CLOCK})?"), fullmatch=True)


@given(st.lists(near_times, min_size=1, max_size=3))
def test_many_times_are_never_read_otherwise_than_one(texts: list[str]) -> None:
    if (found := points_in_time(texts)) is not None:
        assert found.tolist() == [point_in_time(text) for text in texts]


@pytest.mark.parametrize(
    "text", ["2020-02-30", "soon", "2020-01-02T03:04:05.123456789Z", "0000-01-01", "2020-01-02T24:00"]
)
def test_one_that_is_no_time_is_found_among_many(text: str) -> None:
    assert points_in_time(["2020-01-02", None, text]) is None


def test_more_times_than_can_be_read_one_by_one_are_refused() -> None:
    adapter = DataframeInput(columns={"t": "datetime"})
    body = "t\n2020-01-02T03\n" + "2020-01-02t03:04:05+0200\n" * 200_001
    with pytest.raises(BadInputError, match="has 200002 times that have to be read one by one") as refusal:
        adapter.decode(Payload(body.encode(), "text/csv"))
    assert refusal.value.http_status == 413


def test_dates_and_times_of_pandas_are_times_too() -> None:
    assert utc_of(date(2020, 1, 2)) == point_in_time("2020-01-02")
    assert utc_of(pd.Timestamp("2020-01-02T01:00", tz="Europe/Berlin")) == point_in_time("2020-01-02")
    with pytest.raises(ValueError, match="has digits below a microsecond"):
        utc_of(pd.Timestamp("2020-01-02T00:00:00.123456789"))


LENGTHS = {
    "P1DT2H3M4.5S": timedelta(days=1, hours=2, minutes=3, seconds=4.5),
    "P-1DT23H59M59S": timedelta(seconds=-1),
    "-PT1.5S": timedelta(seconds=-1.5),
    "PT-1.5S": timedelta(seconds=-1.5),
    "P2W": timedelta(weeks=2),
    "PT0.000001000S": timedelta(microseconds=1),
}


@pytest.mark.parametrize(("text", "length"), LENGTHS.items())
def test_a_length_of_time_is_read(text: str, length: timedelta) -> None:
    assert length_of_time(text) == length


@given(st.timedeltas())
def test_what_pandas_writes_of_a_length_is_read_back(value: timedelta) -> None:
    if abs(value) < timedelta(days=100_000):
        assert length_of_time(pd.Timedelta(value).isoformat()) == value


@pytest.mark.parametrize("text", ["", "P", "PT", "1D", "P1Y", "P1", "PT1S1M", f"P{'9' * 30}D", "P1DT", "PT.5S"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a length of time like"):
        length_of_time(text)


def test_a_length_below_a_microsecond_is_refused() -> None:
    with pytest.raises(ValueError, match="has digits below a microsecond"):
        length_of_time("PT0.000000001S")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "+1",
        "+99:00",
        "Europe/Nowhere",
        "../../etc/passwd",
        "dateutil//etc/localtime",
        "/etc/localtime",
        "tzlocal()",
        "a\0b",
    ],
)
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="its time zone is not known here"):
        zone_of(name)


BODIES: dict[str, tuple[Any, str]] = {
    "JSON": (lambda text: f'[{{"t":"2020-01-01"}},{{"t":"{text}"}}]', "application/json"),
    "CSV": (lambda text: f"t\n2020-01-01\n{text}\n", "text/csv"),
}


@pytest.mark.parametrize("form", BODIES)
def test_every_form_refuses_what_is_below_a_microsecond_by_column_and_row(form: str) -> None:
    body, media_type = BODIES[form]
    adapter = DataframeInput(columns={"t": "datetime"})
    payload = Payload(body("2020-01-02T03:04:05.123456789Z").encode(), media_type)
    with pytest.raises(BadInputError) as refusal:
        adapter.decode(payload)
    assert refusal.value.http_status == 422
    assert re.fullmatch(
        r'The column `t` must be `datetime`: `"2020-01-02T03:04:05.123456789Z"` has digits below a microsecond '
        r"in row 1 \(the first is 0\)\.",
        str(refusal.value),
    )
    column = adapter.merge([adapter.decode(Payload(body("2020-01-02T03:04:05.123456000Z").encode(), media_type))])["t"]
    assert column.tolist()[1] == pd.Timestamp("2020-01-02T03:04:05.123456")
