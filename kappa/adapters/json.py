"""JSON in and out (RFC 8259): one request is one item, even when it is an array."""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any, Literal

import orjson

from kappa.errors import BadInputError, InferenceFailedError
from kappa.spec.contracts import InputAdapter, OutputAdapter, freeze
from kappa.types import Answer, Payload

__all__ = ["JSON_MEDIA_TYPES", "JsonInput", "JsonOutput", "encode_json", "parse_json"]

JSON_MEDIA_TYPES = frozenset({"", "application/json", "text/json", "application/x-www-form-urlencoded", "text/plain"})
"""What is read as JSON: the media type itself, none at all, and what curl and browsers send when not told."""

_LONG_INTEGER = re.compile(rb"\d{20}")  # orjson reads integers over 64 bits as floats, the standard library exactly
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z


def parse_json(payload: Payload) -> Any:
    """Parse a body; raises `BadInputError` with the position of the fault."""
    data = payload.data
    if payload.charset not in ("utf-8", "utf8", "us-ascii"):
        try:
            data = data.decode(payload.charset).encode()
        except (LookupError, UnicodeDecodeError) as exc:
            raise BadInputError(f"The body is not valid `{payload.charset}` text: {exc}.") from None
    if not data.strip():
        raise BadInputError("The body is empty; it must be JSON.")
    try:
        if _LONG_INTEGER.search(data):
            return json.loads(data, parse_constant=_refuse_constant)
        return orjson.loads(data)
    except (ValueError, RecursionError) as exc:
        raise BadInputError(f"The body is not valid JSON: {exc}.") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"`{name}` is not JSON")


def encode_json(value: Any) -> bytes:
    """Encode what functions return: JSON values, numpy scalars and arrays, pandas objects, dates, bytes.

    NaN and the infinities become ``null``, because JSON has no others words for them. A `DataFrame` becomes a list of
    records, a `Series` a list. Raises `InferenceFailedError` for what has no JSON form.
    """
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InferenceFailedError(
            f"A value of type `{type(value).__name__}` cannot be written as JSON: {exc}."
        ) from exc


def _plain(value: Any) -> Any:
    """Turn what orjson does not know into what it does."""
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if isinstance(value, pandas.DataFrame):
            names = [str(name) for name in value.columns]
            return [dict(zip(names, row, strict=True)) for row in value.itertuples(index=False, name=None)]
        if isinstance(value, pandas.Series | pandas.Index):
            return value.tolist()
        if value is pandas.NA or value is pandas.NaT:
            return None
        if isinstance(value, pandas.Timestamp):
            return value.isoformat()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            return value.tolist()
        if isinstance(value, numpy.generic):
            return value.item()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, complex):
        raise TypeError("JSON has no complex numbers")
    if isinstance(value, int):
        return float(value) if math.fabs(value) >= 2**64 else int(value)
    if hasattr(value, "numpy"):  # TensorFlow and PyTorch tensors
        return value.numpy()
    if hasattr(value, "model_dump"):  # pydantic models
        return value.model_dump(mode="json")
    raise TypeError(f"`{type(value).__name__}` is not JSON serializable")


class JsonInput(InputAdapter):
    """Any JSON value; functions receive it parsed, batch functions a list of them."""

    type: Literal["json"] = "json"
    example: Any = None
    """A request body shown in the OpenAPI document."""

    def model_post_init(self, _context: Any, /) -> None:
        object.__setattr__(self, "example", freeze(self.example))

    def decode(self, payload: Payload) -> Any:
        if payload.media_type not in JSON_MEDIA_TYPES and not payload.media_type.endswith("+json"):
            raise BadInputError(f"`{payload.media_type}` is not taken here; send `application/json`.", http_status=415)
        return parse_json(payload)

    def request_content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"schema": {}}
        if self.example is not None:
            content["example"] = self.example
        return {"application/json": content}


class JsonOutput(OutputAdapter):
    """The value as JSON; NaN and the infinities as ``null``."""

    type: Literal["json"] = "json"

    def encode(self, value: Any, *, accept: str = "") -> Answer:  # noqa: ARG002 - JSON whatever is accepted
        return Answer(encode_json(value))

    def response_content(self) -> dict[str, Any]:
        return {"application/json": {"schema": {}}}
