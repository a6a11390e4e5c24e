"""Lines of numbers across versions, as points of SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from kappa.spec.store import BundleRecord

__all__ = ["HEIGHT", "WIDTH", "Chart", "metric_charts"]

WIDTH, HEIGHT = 240, 56
_MARGIN = 4
_MOST_CHARTS = 12


@dataclass(frozen=True, slots=True)
class Chart:
    """One metric of several versions, the oldest first."""

    title: str
    versions: Sequence[str]
    values: Sequence[float]

    @property
    def points(self) -> list[tuple[float, float]]:
        """Where the values stand in a picture of `WIDTH` and `HEIGHT`; the greatest one is at the top."""
        low, high = min(self.values), max(self.values)
        step = (WIDTH - 2 * _MARGIN) / max(len(self.values) - 1, 1)
        shares = [(value - low) / (high - low) if high > low else 0.5 for value in self.values]
        return [
            (round(_MARGIN + number * step, 1), round(HEIGHT - _MARGIN - share * (HEIGHT - 2 * _MARGIN), 1))
            for number, share in enumerate(shares)
        ]

    @property
    def line(self) -> str:
        """The points as the attribute `points` of a polyline."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


def metric_charts(newest_first: Sequence[BundleRecord]) -> list[Chart]:
    """Return the numbers in the metadata of artifacts that at least two versions have, as ``artifact.key``."""
    series: dict[str, list[tuple[str, float]]] = {}
    for record in reversed(newest_first):
        for title, value in _metrics(record).items():
            series.setdefault(title, []).append((record.tag.version, value))
    charts = [
        Chart(title, [version for version, _ in pairs], [value for _, value in pairs])
        for title, pairs in sorted(series.items())
        if len(pairs) > 1
    ]
    return charts[:_MOST_CHARTS]


def _metrics(record: BundleRecord) -> Mapping[str, float]:
    return {
        f"{artifact['name']}.{key}": float(value)
        for artifact in record.view.get("artifacts", ())
        for key, value in artifact.get("metadata", {}).items()
        if _is_number(value)
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and isfinite(value)
