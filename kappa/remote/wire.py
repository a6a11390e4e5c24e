"""Values of Python's as requests of a service, and its answers as values, as its OpenAPI document describes them."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from kappa.adapters.arrow import ARROW_STREAM, OF_AN_ANSWER, PARQUET, encode_arrow, encode_parquet, frame_of_arrow
from kappa.adapters.columns import Columns, Orient, frame_of, kind_of
from kappa.adapters.csv import columns_of_csv
from kappa.adapters.dataframe import encode_frame
from kappa.adapters.image import encode_image
from kappa.adapters.json import encode_json
from kappa.adapters.layouts import columns_of_json
from kappa.adapters.multipart import FORM, form_payload
from kappa.errors import BadInputError, InferenceFailedError, UsageError
from kappa.types import MEDIA_TYPES, Payload, extension_of

__all__ = ["RemoteApi", "Returns", "decode_answer", "encode_request", "plainer_request"]

Returns = Literal["json", "dataframe", "series", "ndarray", "text", "bytes"]

_JSON = "application/json"
_CSV = "text/csv"
_NPY = "application/x-npy"
_ANYTHING = "application/octet-stream"
_JSON_DTYPES = frozenset({"int64", "float64", "bool", "object", "str", "string"})
_BY_OUTPUT: Mapping[str, Returns] = {"dataframe": "dataframe", "series": "series", "ndarray": "ndarray"}


@dataclass(frozen=True, slots=True)
class RemoteApi:
    """One API of a running service, as its `docs.json` describes it."""

    name: str
    path: str
    takes: Mapping[str, Any]
    """The forms of a request, by media type, the preferred one first."""
    gives: tuple[str, ...]
    """The media types of answers."""
    input: Mapping[str, Any] = field(default_factory=dict)
    """The type of its input adapter, and its options."""
    output: Mapping[str, Any] = field(default_factory=dict)
    """The type of its output adapter, and its options."""

    @classmethod
    def all_of(cls, document: Mapping[str, Any]) -> dict[str, RemoteApi]:
        """Read the APIs of an OpenAPI document, by name."""
        apis = {}
        for path, methods in document.get("paths", {}).items():
            operation = methods.get("post", {})
            if "x-kappa" in operation:
                answer = operation["responses"]["200"].get("content", {})
                name, extension = operation["operationId"], operation["x-kappa"]
                takes = operation["requestBody"]["content"]
                apis[name] = cls(name, path, takes, tuple(answer), extension["input"], extension["output"])
        return apis

    def wanted(self, returns: Returns | None) -> Returns | None:
        """Return what answers become: what the caller wants, else what the output adapter makes."""
        if returns is not None and returns not in get_args(Returns):
            words = ", ".join(f"`{word}`" for word in get_args(Returns))
            raise UsageError(f"`returns` is one of {words}, not `{returns}`.")
        return returns or _BY_OUTPUT.get(self.output.get("type", ""))

    def accept(self, returns: Returns | None) -> str:
        """Return the `Accept` header for answers that are to become what ``returns`` says."""
        wanted = self.wanted(returns)
        if wanted == "dataframe" and ARROW_STREAM in self.gives and find_spec("pyarrow") is not None:
            return f"{ARROW_STREAM}, {_JSON};q=0.5, */*;q=0.1"
        if wanted == "ndarray" and _NPY in self.gives:
            return f"{_NPY}, {_JSON};q=0.5, */*;q=0.1"
        return f"{_JSON}, */*;q=0.5"


# -- requests ----------------------------------------------------------------------------------------------------------


def encode_request(value: Any, api: RemoteApi, *, media_type: str | None = None) -> tuple[bytes, str]:
    """Return the body of a request and its content type; raises `UsageError` for a value that the API cannot take."""
    if isinstance(value, Mapping) and FORM in api.takes and (_JSON not in api.takes or media_type == FORM):
        form = form_payload([(name, _part(part)) for name, part in value.items() if part is not None])
        return form.data, f'{FORM}; boundary="{form.boundary}"'
    if api.takes.keys() == {FORM}:
        raise UsageError(f"`{api.name}` takes a form: give a mapping of its parts, not a `{type(value).__name__}`.")
    if _is_file(value):
        file = _file(value)
        return file.data, media_type or file.media_type or _first_of(api)
    kind = media_type or _kind_of(value, api)
    if kind == _CSV and _is_pandas(value):
        return value.to_csv(index=False).encode(), kind
    if kind in (ARROW_STREAM, PARQUET) and _is_pandas(value):
        return (encode_arrow if kind == ARROW_STREAM else encode_parquet)(value), kind
    if kind == _NPY:
        return _npy(value), kind
    if kind.startswith("image/"):
        return _image(value, kind), kind
    if isinstance(value, str) and kind != _JSON:
        return value.encode(), f"{kind}; charset=utf-8"
    if kind != _JSON:
        raise UsageError(f"`{api.name}` takes `{kind}`, and a `{type(value).__name__}` cannot be sent as that.")
    if api.input.get("type") == "dataframe" and _is_pandas(value):
        frame = value if value.ndim > 1 else value.to_frame()
        return encode_frame(frame, orient=api.input.get("orient") or _orient_of(frame), accept=_JSON).body, _JSON
    if api.input.get("type") == "tf_tensor" and not isinstance(value, Mapping):
        return encode_json({"instances": value}), _JSON
    return encode_json(value), _JSON


def _orient_of(frame: Any) -> Literal["records", "values"]:
    """Return a layout in which columns that are only numbered have no names."""
    return "values" if [*frame.columns] == [*range(frame.shape[1])] else "records"


def plainer_request(value: Any, api: RemoteApi, content_type: str) -> tuple[bytes, str] | None:
    """Return a request for a server that does not know ``content_type`` after all, if there is another way."""
    if content_type != ARROW_STREAM or _JSON not in api.takes:
        return None
    return encode_request(value, api, media_type=_JSON)


def _kind_of(value: Any, api: RemoteApi) -> str:
    """Return the media type in which a value is sent."""
    numpy = sys.modules.get("numpy")
    if _NPY in api.takes and numpy is not None and isinstance(value, numpy.ndarray) and value.dtype.kind in "biuf":
        return _NPY  # every bit as it is
    if ARROW_STREAM in api.takes and _is_pandas(value) and _loses_in_json(value) and find_spec("pyarrow"):
        return ARROW_STREAM
    if _JSON in api.takes:
        return _JSON
    return _first_of(api)


def _first_of(api: RemoteApi) -> str:
    """Return the media type that an API prefers."""
    return next((kind for kind in api.takes if kind not in (FORM, "*/*")), _ANYTHING).replace("/*", "/png")


def _is_file(value: Any) -> bool:
    return isinstance(value, bytes | bytearray | memoryview | Path) or hasattr(value, "read")


def _file(value: Any) -> Payload:
    if isinstance(value, Path):
        return Payload(value.read_bytes(), MEDIA_TYPES.get(value.suffix.lower(), ""), name=value.name)
    if isinstance(value, bytes | bytearray | memoryview):
        return Payload(bytes(value))
    name = Path(str(getattr(value, "name", ""))).name
    data = value.read()
    return Payload(data.encode() if isinstance(data, str) else data, MEDIA_TYPES.get(extension_of(name), ""), name=name)


def _part(value: Any) -> Payload:
    """Return a field of a form: a file with a name, which is what tells it from text, or JSON."""
    if _is_file(value):
        part = _file(value)
        return part if part.name else Payload(part.data, part.media_type or _ANYTHING, name="file")
    if _is_picture(value):
        return Payload(_image(value, "image/png"), "image/png", name="image.png")
    return Payload(encode_json(value), _JSON)


def _is_pandas(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series)


def _loses_in_json(value: Any) -> bool:
    """Return whether a frame has columns whose dtypes would be others once they have been JSON."""
    return value.ndim > 1 and not {str(dtype) for dtype in value.dtypes} <= _JSON_DTYPES


def _is_picture(value: Any) -> bool:
    numpy, pillow = sys.modules.get("numpy"), sys.modules.get("PIL.Image")
    is_array = numpy is not None and isinstance(value, numpy.ndarray) and value.dtype == numpy.uint8 and value.ndim > 1
    return is_array or (pillow is not None and isinstance(value, pillow.Image))


def _npy(value: Any) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.asarray(value), allow_pickle=False)
    return buffer.getvalue()


def _image(value: Any, media_type: str) -> bytes:
    if isinstance(value, str):
        raise UsageError(f'A `str` is not a picture: for the file of this name give `Path("{value[:100]}")`.')
    if not _is_picture(value):
        raise UsageError(f"A `{type(value).__name__}` is not a picture: give a path, bytes, an array or a `PIL.Image`.")
    return encode_image(value, accept=media_type, first="png").body


# -- answers -----------------------------------------------------------------------------------------------------------


def decode_answer(body: bytes, content_type: str, api: RemoteApi, *, returns: Returns | None = None) -> Any:
    """Return an answer as a value, `None` for one without a body; raises `InferenceFailedError` for one that is not
    what was asked for."""
    kind = content_type.partition(";")[0].strip().lower()
    wanted = api.wanted(returns)
    if wanted == "bytes":
        return body
    try:
        if wanted == "text":
            return body.decode()
        if not body and kind == _JSON:  # of a 204
            return None
        return _as(_decoded(body, kind), wanted, orient=api.output.get("orient", "records"))
    except (ValueError, TypeError, KeyError) as exc:
        raise InferenceFailedError(f"The answer of `{api.name}` is no {wanted or kind}: {exc}.") from exc


def _decoded(body: bytes, kind: str) -> Any:
    if kind == _JSON or kind.endswith("+json"):
        return orjson.loads(body)
    if kind == _NPY:
        import numpy as np

        return np.load(io.BytesIO(body), allow_pickle=False)
    if kind == ARROW_STREAM:
        return frame_of_arrow(body)
    if kind == _CSV:
        return _csv_frame(body)
    return body.decode() if kind.startswith("text/") else body


def _csv_frame(body: bytes) -> Any:
    """Read CSV as the server does, which loses no digit; a header without rows is a frame too."""
    import pandas as pd

    try:
        return frame_of([columns_of_csv(Payload(body, _CSV, limits=OF_AN_ANSWER))])
    except BadInputError:
        return pd.read_csv(io.BytesIO(body))


def _as(value: Any, wanted: Returns | None, *, orient: str) -> Any:
    if wanted == "dataframe":
        return _frame(value, orient)
    if wanted == "series":
        return _series(value, orient)
    if wanted == "ndarray":
        import numpy as np

        return np.asarray(value)
    return value


def _series(value: Any, orient: str) -> Any:
    """Return a series from what JSON had, with every digit that it has there."""
    import pandas as pd

    index, name = None, None
    if orient == "split" and isinstance(value, dict) and {"index", "data"} <= value.keys():
        index, name, value = value["index"], value.get("name"), value["data"]
    elif isinstance(value, dict):
        index, value = list(value), list(value.values())
    if isinstance(value, pd.DataFrame) or not isinstance(value, list) or not value:
        return pd.Series(value.iloc[:, 0] if isinstance(value, pd.DataFrame) else value, index=index, name=name)
    frame = frame_of([Columns((name,), (kind_of(value),), [value], len(value))])
    column = frame.iloc[:, 0].rename(name)
    return column if index is None else column.set_axis(index)


def _frame(value: Any, orient: str) -> Any:
    """Return a frame from what JSON had, in the layout that the service declares, or that the value shows."""
    import pandas as pd

    if not isinstance(value, dict | list):
        return pd.DataFrame(value)
    is_by_row = orient == "index" and isinstance(value, dict)
    by_row: Orient | None = "index" if is_by_row else None
    try:
        frame = frame_of([columns_of_json(value, by_row, OF_AN_ANSWER)])
    except BadInputError:  # no rows, or what no layout of a table is
        if isinstance(value, dict) and {"columns", "data"} <= value.keys():
            return pd.DataFrame(value["data"], columns=value["columns"], index=value.get("index"))
        if isinstance(value, dict) and {"schema", "data"} <= value.keys():
            return pd.DataFrame(value["data"])
        if isinstance(value, dict) and is_by_row:
            return pd.DataFrame.from_dict(value, orient="index")
        return pd.DataFrame(value)
    keys = value["schema"].get("primaryKey") if isinstance(value, dict) and "schema" in value else None
    return frame.rename_axis(index=keys) if isinstance(keys, list) and keys != ["index"] else frame
