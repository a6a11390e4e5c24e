"""The output adapter of an API that names none."""

from __future__ import annotations

from typing import Any, Literal

from kappa.adapters.json import encode_json, json_rows
from kappa.spec.contracts import OutputAdapter
from kappa.types import Answer

__all__ = ["DefaultOutput"]


class DefaultOutput(OutputAdapter):
    """Decided by each value: frames become records, series, arrays and tensors lists, everything else JSON."""

    type: Literal["default"] = "default"

    def prepare(self, value: Any) -> Any:
        return json_rows(value)

    def encode(self, value: Any, *, accept: str = "") -> Answer:  # noqa: ARG002 - JSON whatever is accepted
        return Answer(encode_json(value))

    def response_content(self) -> dict[str, Any]:
        return {"application/json": {"schema": {}}}
