"""The output adapter of an API that names none."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Literal

from kappa.adapters.dataframe import DataframeOutput
from kappa.adapters.file import encode_file
from kappa.adapters.image import encode_image
from kappa.adapters.json import encode_json
from kappa.adapters.json_values import json_rows
from kappa.spec.contracts import OutputAdapter
from kappa.types import Answer, FileLike

__all__ = ["DefaultOutput"]

_AS_TABLE = DataframeOutput()


class DefaultOutput(OutputAdapter):
    """Decided by each value: frames become records, or CSV or Arrow where the client accepts that rather; series,
    arrays and tensors become lists; files and Pillow's images are answered as such; everything else is JSON."""

    type: Literal["default"] = "default"

    def prepare(self, value: Any, *, accepts: Iterable[str] = ()) -> Any:
        return _AS_TABLE.prepare(value, accepts=accepts) if _is_frame(value) else json_rows(value)

    def encode(self, value: Any, *, accept: str = "") -> Answer:
        if type(value) is list:  # PERF: as the parts of most results are
            return Answer(encode_json(value))
        if _is_frame(value):
            return _AS_TABLE.encode(value, accept=accept)
        if isinstance(value, FileLike):
            return encode_file(value)
        if _is_image(value):
            return encode_image(value, accept=accept)
        return Answer(encode_json(value))

    def response_content(self) -> dict[str, Any]:
        return {"application/json": {"schema": {}}}


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _is_image(value: Any) -> bool:
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)
