"""Tensors in and out, as TensorFlow's; the only place where TensorFlow is imported.

Requests are those of TensorFlow Serving's REST API in its row format: ``{"instances": [row, …]}``, where a row is a
value, nested lists, or an object of named inputs, and ``{"b64": text}`` stands for bytes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from kappa.adapters.arrays import ArrayInput, rows_of_json
from kappa.adapters.columns import shown
from kappa.adapters.json import encode_json
from kappa.adapters.json_values import array_of_tensor, json_rows
from kappa.adapters.wrappings import refuse_wrapped
from kappa.errors import BadInputError, InferenceFailedError, optional_import
from kappa.spec.contracts import OutputAdapter
from kappa.types import Answer, DecodingLimits, Payload

__all__ = ["NamedRows", "TfTensorInput", "TfTensorOutput"]


class NamedRows(NamedTuple):
    """Rows of several inputs: one array for each name, of the same number of rows."""

    names: tuple[str, ...]
    arrays: tuple[Any, ...]


class TfTensorInput(ArrayInput):
    """Rows of a tensor, as TensorFlow Serving takes them, or as `.npy`; functions receive a `tf.Tensor` with the rows
    of the whole batch, or a dict of tensors if the rows are objects."""

    supports_single = False

    type: Literal["tf_tensor"] = "tf_tensor"

    def requires(self) -> tuple[str, ...]:
        return ("numpy", "tensorflow")

    def decoder(self, load: Callable[[str], Any]) -> Callable[[Payload], Any]:
        _tensorflow()
        return super().decoder(load)

    def sample_body(self) -> Any:
        rows = super().sample_body()
        return None if rows is None else {"instances": rows}

    def rows_in(self, body: Any) -> Any:
        if isinstance(body, dict) and "inputs" in body:
            raise BadInputError("`inputs`, the column format, is not taken here; send `instances`, one for each row.")
        if isinstance(body, dict) and "instances" not in body:
            refuse_wrapped(body, '{"instances": […]}')
        rows = body.get("instances") if isinstance(body, dict) else body
        if not isinstance(rows, list):
            raise BadInputError(f"An object with `instances`, an array of rows, is needed, not {shown(body)}.")
        return rows

    def array_of(self, rows: list[Any], limits: DecodingLimits) -> Any:
        if rows and isinstance(rows[0], dict) and rows[0].keys() != {"b64"}:
            return _named(rows, limits)
        return super().array_of(rows, limits)

    def group_of(self, form: Any) -> Hashable:
        if isinstance(form, NamedRows):
            return form.names, tuple(super(TfTensorInput, self).group_of(array) for array in form.arrays)
        return super().group_of(form)

    def rows_of(self, form: Any) -> int:
        return len(form.arrays[0]) if isinstance(form, NamedRows) else len(form)

    def nbytes_of(self, form: Any) -> int:
        if isinstance(form, NamedRows):
            return sum(super(TfTensorInput, self).nbytes_of(array) for array in form.arrays)
        return super().nbytes_of(form)

    def merge(self, forms: Sequence[Any]) -> Any:
        tf = _tensorflow()
        if not isinstance(forms[0], NamedRows):
            return tf.constant(super().merge(forms))
        columns = zip(*(form.arrays for form in forms), strict=True)
        return {
            name: tf.constant(super(TfTensorInput, self).merge(arrays))
            for name, arrays in zip(forms[0].names, columns, strict=True)
        }

    def request_content(self) -> dict[str, Any]:
        content = super().request_content()
        instances = {"type": "object", "properties": {"instances": self.rows_schema()}, "required": ["instances"]}
        return {**content, "application/json": {"schema": instances}}


def _tensorflow() -> Any:
    with optional_import("tensorflow", needed_for="the input adapter `tf_tensor`"):
        import tensorflow as tf
    return tf


def _named(rows: list[Any], limits: DecodingLimits) -> NamedRows:
    names = tuple(rows[0])
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != rows[0].keys():
            raise BadInputError(f"Row {number} does not have the inputs of row 0: {', '.join(map(shown, names))}.")
    if not names:
        raise BadInputError("The rows have no inputs.")
    arrays = tuple(rows_of_json([row[name] for row in rows], limits) for name in names)
    if not all(array.size for array in arrays):
        raise BadInputError("The rows of an input are empty; at least one value is needed in each.")
    return NamedRows(names, arrays)


def _with_b64(value: Any) -> Any:
    """Return nested lists with their bytes as TensorFlow Serving writes them."""
    if isinstance(value, bytes):
        return {"b64": b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [_with_b64(item) for item in value]
    return {key: _with_b64(item) for key, item in value.items()} if isinstance(value, dict) else value


class TfTensorOutput(OutputAdapter):
    """A tensor, or what makes one, as nested JSON arrays; bytes that are no text as `{"b64": text}`."""

    type: Literal["tf_tensor"] = "tf_tensor"

    def prepare(self, value: Any, *, accepts: Iterable[str] = ()) -> Any:  # noqa: ARG002 - JSON whatever is accepted
        return json_rows(value)

    def encode(self, value: Any, *, accept: str = "") -> Answer:  # noqa: ARG002 - JSON whatever is accepted
        is_tensor = hasattr(value, "numpy") and hasattr(value, "shape")
        plain = array_of_tensor(value) if is_tensor else value
        try:
            return Answer(encode_json(plain))
        except InferenceFailedError:  # bytes that are no text, in all likelihood
            return Answer(encode_json(_with_b64(plain.tolist() if hasattr(plain, "tolist") else plain)))

    def response_content(self) -> dict[str, Any]:
        return {"application/json": {"schema": {}}}
