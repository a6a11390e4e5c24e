from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from kappa.server.batching.policy import Limits
from kappa.server.tuning.advice import advise, curve, saturation_of
from kappa.server.tuning.chart import Chart, draw
from kappa.server.tuning.load import poisson
from kappa.server.tuning.measure import Phase, line_through
from kappa.server.tuning.simulator import Model

SLOW = Model(base_s=0.05, slope_s=0.001, request_s=0.0001)


def phase(items: float, batch_s: float) -> Phase:
    return Phase(1, 100.0, items, batch_s, 0.0001)


def test_the_line_goes_through_what_was_measured() -> None:
    line = line_through([phase(n, 0.01 + 0.002 * n) for n in (1, 4, 16, 64)])
    assert line == pytest.approx((0.01, 0.002, 0.0), abs=1e-9)


def test_neither_end_of_the_line_is_below_zero() -> None:
    assert line_through([phase(1, 0.02), phase(8, 0.01)])[1] == 0.0
    assert line_through([phase(1, 0.001), phase(8, 0.02)])[0] == 0.0
    assert line_through([phase(5, 0.01), phase(5, 0.01)])[:2] == pytest.approx((0.01, 0.0))


def test_saturation_is_the_functions_limit_or_the_event_loops() -> None:
    assert saturation_of(SLOW, Limits(50)) == pytest.approx(500)
    assert saturation_of(Model(0.0001, 0.0, request_s=0.0005), Limits(50)) == pytest.approx(2000)
    assert saturation_of(Model(0.05, 0.001, items=10), Limits(50)) == pytest.approx(50)


def test_the_smallest_batch_that_does_almost_all_is_recommended() -> None:
    # 64 items: 561/s; 32: 390/s; what a bigger batch would add beyond 256 is little, but it would miss the target
    found = advise(SLOW, Limits(1000), target_s=0.3, most_items=1000)
    assert found.max_batch_size == 64
    assert found.is_target_reachable
    assert 0.5 * found.saturation < found.sustainable < found.saturation
    assert found.sustainable_bursty < found.sustainable
    assert advise(SLOW, Limits(1000), target_s=1000.0, most_items=100_000).max_batch_size == 1024


def test_a_target_that_two_calls_miss_is_called_unreachable() -> None:
    assert not advise(SLOW, Limits(1000), target_s=0.09, most_items=1000).is_target_reachable


def test_the_curve_rises_to_saturation_and_stays_there() -> None:
    points = curve(SLOW, Limits(64, max_latency_s=0.3), poisson, target_s=0.3)
    assert points[0].throughput == pytest.approx(points[0].offered, rel=0.02)
    assert points[-1].goodput == pytest.approx(64 / 0.114, rel=0.1)
    assert points[0].refused == 0.0
    assert points[-1].refused > 0.7


def test_a_chart_is_an_svg_document_with_its_words_escaped() -> None:
    chart = Chart("a < b", "x & y", "ms", {"one": [(1, 10), (2, 1000)], "none": []}, log_y=True)
    root = ET.fromstring(draw([chart, chart, chart]))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("a < b") == 3
    assert {"x & y", "ms", "one", "none", "10", "100", "1000"} <= set(texts)
    assert root.get("width") == "1120"
