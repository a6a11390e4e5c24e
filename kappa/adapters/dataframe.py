"""Tables in and out, as pandas frames.

A request is decoded to `Columns` and merged with those of its group; `kappa.adapters.columns` says how they keep apart.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from kappa.adapters.arrow import (
    ARROW_FILE,
    ARROW_STREAM,
    PARQUET,
    TABLE_MEDIA_TYPES,
    columns_of_arrow,
    encode_arrow,
    encode_parquet,
)
from kappa.adapters.columns import (
    Columns,
    Orient,
    Table,
    frame_of,
    import_pandas,
    nbytes_of,
    shown,
)
from kappa.adapters.csv import columns_of_csv, csv_lines, csv_of_tabs
from kappa.adapters.json import (
    encode_json,
    parse_json,
    parse_json_lines,
)
from kappa.adapters.json_values import records_of, rows_of_frame, values_of
from kappa.adapters.layouts import columns_of_json, sample_table
from kappa.adapters.media_types import CSV, JSON, LINES, TABS, understood
from kappa.adapters.multipart import FORM
from kappa.adapters.negotiation import preferred
from kappa.adapters.signature import (
    DTYPES,
    Column,
    ExtraColumns,
    Signature,
    columns_option,
    declared_columns,
    loosely_converted,
)
from kappa.adapters.wrappings import refuse_wrapped
from kappa.errors import BadInputError, InferenceFailedError, MisplacedError, MissingDependencyError
from kappa.spec.contracts import FrozenMapping, InputAdapter, OutputAdapter
from kappa.spec.project_paths import ProjectFile
from kappa.spec.service import requires_key
from kappa.types import Answer, Payload

__all__ = ["Columns", "DataframeInput", "DataframeOutput", "encode_frame", "frame_content"]

_DTYPE = {
    "anyOf": [
        {"enum": list(DTYPES)},
        {
            "type": "object",
            "properties": {"dtype": {"enum": list(DTYPES)}, "nullable": {"type": "boolean"}},
            "required": ["dtype"],
            "additionalProperties": False,
        },
    ]
}
_Names = Annotated[tuple[str, ...], Field(json_schema_extra={"minItems": 1, "uniqueItems": True})]
_Dtypes = Annotated[FrozenMapping, Field(json_schema_extra={"minProperties": 1, "additionalProperties": _DTYPE})]


_TAKES = (JSON, CSV, LINES, TABS, *TABLE_MEDIA_TYPES)
_JSON_STARTS = (b"[", b"{", b'"', b" ", b"\n")
_ONE_LINE = (
    "The body is neither JSON nor several lines of CSV. If a file was sent with curl, use `--data-binary @FILE`, which "
    "keeps the ends of lines."
)


class DataframeInput(InputAdapter):
    """Rows of a table, as JSON, CSV, Parquet or Arrow; functions receive one `pandas.DataFrame` with the rows of the
    whole batch."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["extra_columns"], "properties": {"extra_columns": {"enum": ["pass", "forbid"]}}},
            "then": {"anyOf": [requires_key("columns"), requires_key("columns_from")]},
            "allOf": [
                {"if": requires_key("columns_from"), "then": {"properties": {"columns": {"type": ["object", "null"]}}}}
            ],
        }
    )
    supports_single = False
    copies = True

    type: Literal["dataframe"] = "dataframe"
    orient: Orient | None = None
    """How JSON bodies are laid out, in pandas' words; detected in each body if not given."""
    columns: _Names | _Dtypes | None = None
    """The columns that the function sees, in this order: names, or names with dtypes (`int64`, `float64`, `bool`,
    `str`, `datetime`, …), as in `{ age = "int64", income = { dtype = "float64", nullable = false } }`. Requests are
    reordered to them, missing columns are refused with 422, and values are converted without loss or refused."""
    columns_from: ProjectFile | None = None
    """A file with some rows as a client would send them; its names, order, dtypes and where values are missing become
    `columns` when the service is built. Text that is a date or a time in every row, as CSV and JSON have it, is
    `datetime`. `columns` beside it gives single columns other dtypes, as in `{ sold_on = "str" }`."""
    extra_columns: ExtraColumns = "ignore"
    """What happens to a request's columns beyond `columns`: `ignore` leaves them out, `pass` puts them after the
    others, `forbid` refuses the request with 422."""

    prefer_dtypes: _Dtypes | None = None
    """Dtypes by column, to which a request's columns are brought where no value changes; others stay as they are, and
    batch apart. Without `columns`, a build records those of the API's examples."""

    @model_validator(mode="before")
    @classmethod
    def _dtype_means_columns(cls, options: Any) -> Any:
        """Take `dtype`, a mapping or a list beside a list of names, as `columns` with dtypes."""
        if not isinstance(options, Mapping) or options.get("dtype") is None:
            return options
        rest = {key: value for key, value in options.items() if key != "dtype"}
        dtype, names = options["dtype"], options.get("columns")
        if not isinstance(dtype, Mapping):
            if names is None or isinstance(names, Mapping) or len(names) != len(dtype):
                raise ValueError("a list in `dtype` needs a list of as many names in `columns`")
            dtype = dict(zip(names, dtype, strict=True))
        if names is not None and set(names) != set(dtype):
            raise ValueError("`columns` and `dtype` name different columns")
        return {**rest, "columns": {name: dtype[name] for name in (names if names is not None else dtype)}}

    @property
    def config(self) -> dict[str, Any]:
        """All options; `orient` is one that every client may use, where bodies tell theirs."""
        declared = declared_columns(self.columns) if isinstance(self.columns, Mapping) else {}
        dtypes = {name: column.dtype for name, column in declared.items()} or None
        return {**super().config, "orient": self.orient or "records", "typ": "frame", "dtypes": dtypes}

    @field_validator("columns", "prefer_dtypes")
    @classmethod
    def _known_dtypes(cls, columns: Any) -> Any:
        return None if columns is None else columns_option(columns)

    @model_validator(mode="after")
    def _one_source(self) -> DataframeInput:
        if self.columns_from is not None and not isinstance(self.columns, Mapping | None):
            message = (
                "`columns` beside `columns_from` gives single columns other dtypes than the sample's: write "
                '`columns = { NAME = "DTYPE" }`, or leave out one of the two'
            )
            raise MisplacedError(message, ("columns",))
        if self.extra_columns != "ignore" and self.columns is None and self.columns_from is None:
            message = "`extra_columns` goes with `columns` or `columns_from`, beyond which a column is extra"
            raise MisplacedError(message, ("extra_columns",))
        return self

    @cached_property
    def signature(self) -> Signature | None:
        """The signature of requests; ``None`` if nothing is declared, or before a sample is read."""
        is_open = self.columns is None or self.columns_from is not None
        return None if is_open else Signature.of(self.columns, self.extra_columns)

    @cached_property
    def _only(self) -> frozenset[str] | None:
        """The columns that are looked at; ``None`` for all."""
        return (
            frozenset(self.signature.names) if self.signature is not None and self.extra_columns == "ignore" else None
        )

    @cached_property
    def _is_light(self) -> bool:
        """Whether `merge` makes no frames. PERF: pydantic looks a private attribute up in 2 µs, once for each batch."""
        return False

    @cached_property
    def _preferred(self) -> Mapping[str, Column] | None:
        return None if self.prefer_dtypes is None else declared_columns(self.prefer_dtypes)

    def requires(self) -> tuple[str, ...]:
        return ("pandas",)

    def decoder(self, load: Callable[[str], Any]) -> Callable[[Payload], Any]:  # noqa: ARG002 - it refers to no code
        import_pandas()
        return self.decode if self.signature or self.prefer_dtypes else self._decoded

    def decode(self, payload: Payload) -> Columns:
        decoded = self._decoded(payload)
        if self.signature is not None:
            decoded = self.signature.conform(decoded)
        return decoded if self._preferred is None else loosely_converted(decoded, self._preferred)

    def _decoded(self, payload: Payload) -> Columns:
        if payload.media_type != JSON:
            payload = understood(payload, _TAKES)
        if self.signature is not None and len(self.signature.columns) > payload.limits.max_columns:
            payload = payload._replace(limits=replace(payload.limits, max_columns=len(self.signature.columns)))
        media_type = payload.media_type
        if media_type == JSON:
            return self._of_json(payload)
        if media_type in (CSV, TABS):
            signature = self.signature
            return columns_of_csv(
                payload if media_type == CSV else csv_of_tabs(payload),
                texts=signature.texts if signature is not None else (),
                declared=signature.names if signature is not None else None,
                is_sample=self.columns_from is not None,
            )
        if media_type == LINES:
            return columns_of_json(parse_json_lines(payload), None, payload.limits)
        if media_type in TABLE_MEDIA_TYPES:
            try:
                return columns_of_arrow(payload, only=self._only)
            except MissingDependencyError as exc:
                raise BadInputError(str(exc), http_status=415) from None
        if payload.data[:1] not in _JSON_STARTS and b"," in payload.data:
            raise BadInputError(_ONE_LINE)
        return self._of_json(payload)

    def _of_json(self, payload: Payload) -> Columns:
        body = parse_json(payload)
        if isinstance(body, dict):
            names = self.signature.names if self.signature is not None else ()
            refuse_wrapped(body, "[{…}]", columns=names, is_table=True)
        return columns_of_json(body, self.orient, payload.limits)

    def for_features(self, names: tuple[str, ...]) -> DataframeInput:
        is_open = self.columns is None and self.columns_from is None
        return self.with_options(columns=names) if names and is_open else self

    def without_frames(self) -> DataframeInput:
        light = self.model_copy()
        vars(light)["_is_light"] = True
        return light

    def group_of(self, form: Columns) -> Hashable:
        return form[:2] if form.labels is None else (form.names, form.kinds, form.labels)

    def rows_of(self, form: Columns) -> int:
        return form.rows

    def nbytes_of(self, form: Columns) -> int:
        return nbytes_of(form)

    def merge(self, forms: Sequence[Columns]) -> Any:
        return Table(forms) if self._is_light and Table.holds(forms) else frame_of(forms)

    def sample_body(self) -> Any:
        return sample_table(self.columns or ["column"], self.orient or "records")

    def request_content(self) -> dict[str, Any]:
        signature = self.signature
        row = signature.row_schema() if signature is not None else {"type": "object", "minProperties": 1}
        array = signature.array_schema() if signature is not None else {"type": "array", "minItems": 1}
        by_name = {"type": "object", "minProperties": 1}
        layouts: dict[str, Any] = {
            "records": {"type": "array", "minItems": 1, "items": row},
            "values": {"type": "array", "minItems": 1, "items": array},
            "split": {"type": "object", "required": ["columns", "data"]},
            "columns": by_name,
            "index": {**by_name, "additionalProperties": row},
            "table": {"type": "object", "required": ["schema", "data"]},
        }
        any_layout = {"anyOf": [layouts["records"], layouts["values"], by_name]}
        csv: dict[str, Any] = {"schema": {"type": "string"}}
        if signature is not None:
            csv["schema"]["description"] = (
                f"A header line with the columns `{signature.csv_header().strip()}`, then rows."
            )
        return {
            "application/json": {"schema": layouts[self.orient] if self.orient else any_layout},
            "text/csv": csv,
            PARQUET: {"schema": {}},
            ARROW_STREAM: {"schema": {}},
            ARROW_FILE: {"schema": {}},
            FORM: {"schema": {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"]}},
        }


class DataframeOutput(OutputAdapter):
    """A frame, or what makes one (a series, an array, a list of records), as JSON in the chosen layout; as CSV, Arrow
    or Parquet for clients that accept that rather."""

    type: Literal["dataframe"] = "dataframe"
    orient: Orient = "records"
    """How the JSON is laid out, in pandas' words."""

    def requires(self) -> tuple[str, ...]:
        return ("pandas",)

    def prepare(self, value: Any, *, accepts: Iterable[str] = ()) -> Any:
        import pandas as pd

        is_rows = self.orient == "records" and isinstance(value, pd.DataFrame) and value.columns.is_unique
        return records_of(value) if is_rows and not any(_form_of(accept) != _JSON for accept in accepts) else value

    def encode(self, value: Any, *, accept: str = "") -> Answer:
        if self.orient == "records" and _are_records(value) and _form_of(accept) == _JSON:
            return Answer(encode_json(value))
        return encode_frame(_frame(value), orient=self.orient, accept=accept)

    def response_content(self) -> dict[str, Any]:
        return frame_content(self.orient)


_JSON = "application/json"
_FORMS = (_JSON, "text/csv", ARROW_STREAM, PARQUET)


def _form_of(accept: str) -> str:
    return preferred(accept, _FORMS)


def frame_content(orient: Orient) -> dict[str, Any]:
    """Return the OpenAPI 3.1 content of an answer that is a table."""
    is_list = orient in ("records", "values")
    return {
        _JSON: {"schema": {"type": "array" if is_list else "object"}},
        "text/csv": {"schema": {"type": "string"}},
        ARROW_STREAM: {"schema": {}},
        PARQUET: {"schema": {}},
    }


def encode_frame(frame: Any, *, orient: Orient, accept: str) -> Answer:
    """Write a frame in the form that the client accepts; what pyarrow would be needed for is JSON without it."""
    form = _form_of(accept)
    if form == "text/csv":
        names = _texts(frame.columns, "columns")
        return Answer(csv_lines([names, *rows_of_frame(frame)]).encode(), "text/csv; charset=utf-8")
    if form != _JSON:
        _texts(frame.columns, "columns")
        return Answer((encode_arrow if form == ARROW_STREAM else encode_parquet)(frame), form)
    return Answer(_encoded(frame, orient))


def _encoded(frame: Any, orient: Orient) -> bytes:
    if orient == "values":
        return encode_json(list(rows_of_frame(frame)))
    names = _texts(frame.columns, "columns")
    if orient == "records":
        return encode_json(records_of(frame))
    if orient == "split":
        rows = list(rows_of_frame(frame))
        return encode_json({"columns": names, "index": values_of(frame.index), "data": rows})
    if orient == "table":
        return encode_json(_table_schema(frame))
    labels = _texts(frame.index, "rows")
    if orient == "index":
        return encode_json(dict(zip(labels, records_of(frame), strict=True)))
    columns = (values_of(frame.iloc[:, i]) for i in range(len(names)))
    return encode_json(
        {name: dict(zip(labels, column, strict=True)) for name, column in zip(names, columns, strict=True)}
    )


def _table_schema(frame: Any) -> Mapping[str, Any]:
    """Return a frame as a Table Schema and its rows, the row labels among them."""
    import pandas as pd

    if frame.index.nlevels > 1:
        names = [f"level_{i}" if name is None else name for i, name in enumerate(frame.index.names)]
    else:
        names = ["index" if frame.index.name is None else frame.index.name]
    named = frame.rename_axis(index=names)
    if set(names) & set(frame.columns):
        raise InferenceFailedError(f"A column of the table is called as its row labels are, {shown(names[0])}.")
    rows = named.reset_index()
    for i, dtype in enumerate(rows.dtypes):
        if dtype.kind == "m":
            lengths = rows.iloc[:, i]
            texts = [None if pd.isna(length) else length.isoformat() for length in lengths]
            rows = rows.assign(**{str(rows.columns[i]): pd.Series(texts, dtype=object)})
    return {"schema": pd.io.json.build_table_schema(frame, version=False), "data": records_of(rows)}


def _are_records(value: Any) -> bool:
    """Return whether a value is a list of rows that have the same names: a table as JSON has it."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return False
    names = value[0].keys()
    return all(isinstance(row, dict) and row.keys() == names for row in value) and all(type(n) is str for n in names)


def _frame(value: Any) -> Any:
    import pandas as pd

    if isinstance(value, pd.Series):
        return value.to_frame()
    if isinstance(value, pd.DataFrame):
        return value
    try:
        return pd.DataFrame(_columns_of(value) if isinstance(value, Mapping) else value)
    except (TypeError, ValueError) as exc:
        raise InferenceFailedError(f"A `{type(value).__name__}` does not make a table: {exc}.") from exc


def _columns_of(outputs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return outputs by name as columns: rows of arrays have an array in each cell, and single values are one row."""
    import numpy as np

    if not any(hasattr(output, "__len__") and not isinstance(output, str | bytes) for output in outputs.values()):
        return {name: [output] for name, output in outputs.items()}
    is_matrix = {name for name, output in outputs.items() if isinstance(output, np.ndarray) and output.ndim > 1}
    return {name: list(output) if name in is_matrix else output for name, output in outputs.items()}


def _texts(index: Any, labels: str) -> list[str]:
    texts = [str(label) for label in index]
    if len(set(texts)) < len(texts):
        raise InferenceFailedError(f"Two {labels} of the table are called {shown(max(texts, key=texts.count))}.")
    return texts
