"""Charts as SVG: where points stand, what axes tell, what is cut off or left out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest

from kappa.server.tuning.chart import Chart, Points, draw

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*charts: Chart, **options: Any) -> Element:
    return fromstring(draw(charts, **options))


def chart(series: dict[str, Points], **options: Any) -> Chart:
    return Chart("A title", "seconds", "requests", series, **options)


def texts(svg: Element) -> list[str]:
    return [element.text or "" for element in svg.iter(f"{SVG}text")]


def points(svg: Element) -> list[list[tuple[float, float]]]:
    lines = [line.attrib["points"].split() for line in svg.iter(f"{SVG}polyline")]
    return [[(float(x), float(y)) for x, y in (point.split(",") for point in line)] for line in lines]


def test_a_chart_names_what_it_shows() -> None:
    told = texts(drawn(chart({"even": [(0, 0), (10, 40)], "bursty": [(5, 20)]})))
    assert {"A title", "seconds", "requests", "even", "bursty"} <= set(told)


def test_larger_values_stand_further_to_the_right_and_higher_in_proportion() -> None:
    ((zero, half, most),) = points(drawn(chart({"a": [(0, 0), (5, 20), (10, 40)]})))
    assert (half[0] - zero[0], zero[1] - half[1]) == pytest.approx((most[0] - half[0], half[1] - most[1]), abs=0.2)
    assert half[0] > zero[0]
    assert half[1] < zero[1]


@pytest.mark.parametrize(
    ("most", "ticks"),
    [(10, ["0", "2", "4", "6", "8", "10"]), (3, ["0", "1", "2", "3"]), (0.7, ["0", "0.2", "0.4", "0.6", "0.8"])],
)
def test_an_axis_has_round_ticks_from_nought_past_the_largest_value(most: float, ticks: list[str]) -> None:
    told = texts(drawn(chart({"a": [(most, 0.0)]})))
    assert told[1 : len(ticks) + 1] == ticks


def test_a_logarithmic_axis_has_powers_of_ten_at_equal_distances_and_leaves_out_what_is_not_positive() -> None:
    svg = drawn(chart({"a": [(0, 1), (1, 1), (10, 1), (100, 1)]}, log_x=True))
    (line,) = points(svg)
    first, second = (b[0] - a[0] for a, b in pairwise(line))
    assert first == pytest.approx(second, abs=0.2)
    assert texts(svg)[1:4] == ["1", "10", "100"]


def test_values_over_the_most_stand_where_the_axis_is_cut_off() -> None:
    ((_, usual, far),) = points(drawn(chart({"a": [(0, 0), (1, 100), (2, 10_000)]}, y_most=100)))
    assert usual[1] == far[1]


def test_charts_stand_side_by_side_and_then_below_each_other() -> None:
    svg = drawn(*[chart({"a": [(1, 1)]})] * 3, columns=2)
    places = [group.attrib["transform"] for group in svg.iter(f"{SVG}g")]
    assert places == ["translate(0 0)", "translate(560 0)", "translate(0 340)"]
    assert svg.attrib["viewBox"] == "0 0 1120 680"


def test_no_two_of_many_series_look_alike() -> None:
    svg = drawn(chart({f"series {number}": [(1, number)] for number in range(20)}))
    looks = [(line.attrib["stroke"], line.attrib["stroke-dasharray"]) for line in svg.iter(f"{SVG}polyline")]
    assert len(set(looks)) == 20
