"""Line charts as SVG, small enough to read: a few series over one axis, with points, legend and grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, inf, log10
from xml.etree.ElementTree import Element, SubElement, tostring

__all__ = ["Chart", "draw"]

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 560, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 40, 48
_COLOURS = ("#1f6fb4", "#d1495b", "#2e933c", "#8f5bb5", "#d17a00", "#4a4a4a", "#0097a7", "#9e7b00")
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
_TEXT = {"font-family": "system-ui, sans-serif", "font-size": "12", "fill": "#333"}


@dataclass(frozen=True, slots=True)
class Chart:
    """Series by name over one horizontal axis; logarithmic axes leave out what is not positive."""

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Points]
    log_x: bool = False
    log_y: bool = False
    y_most: float = inf
    """Where the vertical axis is cut off."""


def draw(charts: Sequence[Chart], *, columns: int = 2) -> str:
    """Return one SVG document with the charts side by side, ``columns`` in a row."""
    rows = ceil(len(charts) / columns)
    columns = min(columns, len(charts))
    width, height = _WIDTH * columns, _HEIGHT * rows
    svg = Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", width=str(width))
    SubElement(svg, "rect", width=str(width), height=str(height), fill="#fff")
    for number, chart in enumerate(charts):
        x, y = _WIDTH * (number % columns), _HEIGHT * (number // columns)
        _draw_one(SubElement(svg, "g", transform=f"translate({x} {y})"), chart)
    return tostring(svg, encoding="unicode") + "\n"


class _Axis:
    """Maps values to places between ``start`` and ``end``."""

    def __init__(self, values: Sequence[float], *, is_log: bool, most: float, start: float, end: float) -> None:
        self._is_log = is_log
        self._start, self._end = start, end
        usable = [min(value, most) for value in values if not is_log or value > 0] or [1.0]
        if is_log:
            low, high = floor(log10(min(usable))), ceil(log10(max(usable)) + 1e-9)
            self._low, self._high = float(low), float(high)
            self.ticks = [10.0**power for power in range(low, high + 1)]
        else:
            step = _step(max(usable))
            self._low, self._high = 0.0, step * ceil(max(usable) / step)
            self.ticks = [step * n for n in range(round(self._high / step) + 1)]
        self._most = most

    def position(self, value: float) -> float:
        value = min(value, self._most)
        at = log10(value) if self._is_log else value
        share = (at - self._low) / ((self._high - self._low) or 1)
        return round(self._start + min(max(share, 0), 1.02) * (self._end - self._start), 1)


def _step(most: float) -> float:
    """Return a round distance of ticks: 1, 2 or 5 times a power of ten, about five to the axis."""
    rough = max(most, 1e-9) / 5
    power = 10.0 ** floor(log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


def _draw_one(group: Element, chart: Chart) -> None:
    points = [point for line in chart.series.values() for point in line]
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    x_axis = _Axis([x for x, _ in points], is_log=chart.log_x, most=inf, start=_LEFT, end=right)
    y_axis = _Axis([y for _, y in points], is_log=chart.log_y, most=chart.y_most, start=bottom, end=_TOP)
    _text(group, chart.title, _LEFT, 20, weight="bold")
    for tick in x_axis.ticks:
        at = x_axis.position(tick)
        _line(group, at, _TOP, at, bottom)
        _text(group, f"{tick:g}", at, bottom + 16, anchor="middle")
    for tick in y_axis.ticks:
        at = y_axis.position(tick)
        _line(group, _LEFT, at, right, at)
        _text(group, f"{tick:g}", _LEFT - 6, at + 4, anchor="end")
    _text(group, chart.x_label, (_LEFT + right) / 2, _HEIGHT - 12, anchor="middle")
    label = _text(group, chart.y_label, 0, 0, anchor="middle")
    label.set("transform", f"translate(14 {(_TOP + bottom) / 2}) rotate(-90)")
    for number, (name, line) in enumerate(chart.series.items()):
        colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)]
        shown = [(x, y) for x, y in line if (x > 0 or not chart.log_x) and (y > 0 or not chart.log_y)]
        places = [(x_axis.position(x), y_axis.position(y)) for x, y in shown]
        path = " ".join(f"{x},{y}" for x, y in places)
        drawn = SubElement(group, "polyline", points=path, fill="none", stroke=colour)
        drawn.set("stroke-width", "1.8")
        drawn.set("stroke-dasharray", dash)
        for x, y in places:
            SubElement(group, "circle", cx=str(x), cy=str(y), r="2.4", fill=colour)
        _line(group, _LEFT + 10, _TOP + 12 + 16 * number, _LEFT + 30, _TOP + 12 + 16 * number, colour, width=2)
        _text(group, name, _LEFT + 36, _TOP + 16 + 16 * number)


def _line(group: Element, x1: float, y1: float, x2: float, y2: float, colour: str = "#ddd", width: float = 1) -> None:
    line = SubElement(group, "line", x1=str(x1), y1=str(y1), x2=str(x2), y2=str(y2), stroke=colour)
    line.set("stroke-width", str(width))


def _text(group: Element, text: str, x: float, y: float, *, anchor: str = "start", weight: str = "normal") -> Element:
    element = SubElement(group, "text", {**_TEXT, "x": str(x), "y": str(y), "text-anchor": anchor})
    element.set("font-weight", weight)
    element.text = text
    return element
