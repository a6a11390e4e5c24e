"""One column out: a value per row."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Literal

from kappa.adapters.csv import csv_lines
from kappa.adapters.json import encode_json
from kappa.adapters.json_values import json_rows, values_of
from kappa.adapters.negotiation import preferred
from kappa.errors import InferenceFailedError
from kappa.spec.contracts import OutputAdapter
from kappa.types import Answer

__all__ = ["SeriesOutput"]

_JSON, _CSV = "application/json", "text/csv"


class SeriesOutput(OutputAdapter):
    """A series, or what makes one (an array, a list, a frame of one column), as a JSON array or, with
    `orient = "index"`, an object of values by row label; as CSV for clients that accept that rather."""

    type: Literal["series"] = "series"
    orient: Literal["records", "index", "split"] = "records"
    """How the JSON is laid out, in pandas' words: an array of values, an object by label, or both apart."""

    def requires(self) -> tuple[str, ...]:
        return ("pandas",)

    def prepare(self, value: Any, *, accepts: Iterable[str] = ()) -> Any:
        is_plain = self.orient == "records" and not any(preferred(accept, (_JSON, _CSV)) == _CSV for accept in accepts)
        return json_rows(value) if is_plain and not _is_frame(value) else value

    def encode(self, value: Any, *, accept: str = "") -> Answer:
        form = preferred(accept, (_JSON, _CSV))
        if form == _JSON and self.orient == "records" and isinstance(value, list):
            return Answer(encode_json(value))
        series = _series(value)
        if form == _CSV:
            name = "value" if series.name is None else str(series.name)
            lines = [[name], *([item] for item in values_of(series))]
            return Answer(csv_lines(lines).encode(), "text/csv; charset=utf-8")
        if self.orient == "records":
            return Answer(encode_json(values_of(series)))
        if self.orient == "split":
            split = {"name": series.name, "index": values_of(series.index), "data": values_of(series)}
            return Answer(encode_json(split))
        if not series.index.is_unique:
            raise InferenceFailedError("Two rows of the series have the same label.")
        return Answer(
            encode_json({str(label): item for label, item in zip(series.index, values_of(series), strict=True)})
        )

    def response_content(self) -> dict[str, Any]:
        kind = "array" if self.orient == "records" else "object"
        return {_JSON: {"schema": {"type": kind}}, _CSV: {"schema": {"type": "string"}}}


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _series(value: Any) -> Any:
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        if len(value.columns) != 1:
            raise InferenceFailedError(f"A frame of {len(value.columns)} columns is not a series.")
        return value.iloc[:, 0]
    try:
        return pd.Series(value)
    except (TypeError, ValueError) as exc:
        raise InferenceFailedError(f"A `{type(value).__name__}` does not make a series: {exc}.") from exc
