"""Bodies in the formats of other servers, as sent by clients that were written for them.

BentoML, MLflow, TensorFlow Serving, Seldon, KServe (v1 and the Open Inference Protocol), TorchServe, SageMaker, Azure
ML, Hugging Face and Ray put rows, tensors or text into an object. None of these is taken; the refusal says what to
send.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from kappa.errors import BadInputError

__all__ = ["key_in_json", "refuse_wrapped"]

_WRAPPINGS = frozenset(
    {
        "Inputs",
        "X",
        "array",
        "binData",
        "data",
        "dataframe",
        "dataframe_records",
        "dataframe_split",
        "features",
        "input",
        "input_arr",
        "input_array",
        "input_data",
        "input_df",
        "input_series",
        "inputs",
        "instances",
        "jsonData",
        "ndarray",
        "payload",
        "records",
        "rows",
        "strData",
    }
)
_COMPANIONS = frozenset(
    {
        "GlobalParameters",
        "context",
        "id",
        "meta",
        "method",
        "model_name",
        "model_version",
        "names",
        "options",
        "outputs",
        "parameters",
        "params",
        "signature_name",
    }
)
_TENSORS = frozenset({"datatype", "shape"})
_TEXTS = frozenset(
    {"binData", "data", "input", "inputs", "instances", "prompt", "sentence", "strData", "text", "texts"}
)
_FIRST_KEY = re.compile(rb'\s*\[?\s*\{\s*"([\w .-]{1,60})"\s*:', re.ASCII)


def refuse_wrapped(
    body: Mapping[str, Any], rows: str, *, columns: Collection[str] = (), is_table: bool = False
) -> None:
    """Refuse an object that is no table itself but holds the rows of one; ``rows`` is how rows are written here.

    A name in ``columns`` is that of a column. Where objects are tables (``is_table``) and no columns are declared, so
    is one whose values are no rows.
    """
    wrappings = [name for name in body if name in _WRAPPINGS and name not in columns]
    if len(wrappings) != 1 or not all(_goes_with(wrappings[0], name, body[name]) for name in body):
        return
    (name,) = wrappings
    content = body[name]
    if isinstance(content, list) and content and isinstance(content[0], dict) and content[0].keys() >= _TENSORS:
        raise BadInputError(f"The request has `{name}`, which holds tensors; send their rows themselves: `{rows}`.")
    if isinstance(content, dict):
        if name == "data" and is_table and not _holds_rows(content):
            return
        if is_table and ("columns" in content or not content.keys() & {*_WRAPPINGS, "tensor"}):
            raise BadInputError(f"The request has `{name}`; send what is in it by itself.")
    elif (
        is_table and not columns and not (isinstance(content, list) and content and isinstance(content[0], list | dict))
    ):
        return
    raise BadInputError(f"The request has `{name}`; send the rows themselves: `{rows}`.")


def _goes_with(wrapping: str, name: str, value: Any) -> bool:
    return name == wrapping or (name in _COMPANIONS and (name in ("names", "outputs") or not isinstance(value, list)))


def _holds_rows(content: Mapping[str, Any]) -> bool:
    parts = [part for item in content.values() for part in (item.values() if isinstance(item, dict) else (item,))]
    return any(isinstance(part, list) for part in parts)


def key_in_json(data: bytes) -> str:
    """Return the first key of an object, or of the first one in an array; ``""`` if there is none that can be shown."""
    key = _FIRST_KEY.match(data[:256])
    return key[1].decode() if key else ""
