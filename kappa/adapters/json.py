"""JSON in and out (RFC 8259): one request is one item, even when it is an array."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Annotated, Any, Literal

import orjson
from pydantic import BeforeValidator, Field, PydanticUserError, TypeAdapter, ValidationError

from kappa.adapters.charsets import decode_text
from kappa.adapters.json_pieces import NestedTooDeepError, parsed_in_pieces
from kappa.adapters.json_values import json_rows, may_hold_dates_of_numpys, plain, rebuilt
from kappa.adapters.media_types import JSON, understood
from kappa.errors import BadInputError, BundleError, InferenceFailedError
from kappa.spec.contracts import InputAdapter, OutputAdapter, module_of
from kappa.spec.service import Reference
from kappa.types import Answer, DecodingLimits, Payload

__all__ = [
    "MOST_NESTED",
    "SHORT_BODY",
    "JsonInput",
    "JsonOutput",
    "encode_json",
    "parse_json",
    "parse_json_lines",
    "parsed_json",
    "read_json",
    "refusal_of",
    "unfolded_size",
    "utf8_of",
]

_LONG_INTEGER = re.compile(rb"(?<![\d.])(?:\d{20,}|(?<=-)\d{19,})(?![\d.eE])")
"""Over 64 bits orjson reads floats, the standard library integers."""
_NINETEEN_DIGITS = b"0" * 19
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_MARK = b"\xef\xbb\xbf"
_PIECE = 16_384
"""How many members of a list are written in one call of orjson's."""

MOST_NESTED = 128
"""How deep arrays and objects of a request may be nested: less than any later step takes."""
SHORT_BODY = 2 * MOST_NESTED
"""Up to how many bytes a body is nested no deeper than that, since each level takes two, and holds little memory."""

# -- reading -----------------------------------------------------------------------------------------------------------


def read_json(payload: Payload) -> Any:
    """Parse a body of media type JSON or unknown; raises `BadInputError` with 415 for any other."""
    if payload.media_type != JSON:
        understood(payload, (JSON,))
    return parse_json(payload)


def parse_json(payload: Payload) -> Any:
    """Parse a body; raises `BadInputError` with the position of the fault."""
    data = payload.data
    if len(data) <= SHORT_BODY and payload.charset == "utf-8" and payload.limits.max_bytes >= _MOST_OF_SHORT:
        # PERF: a short body is neither nested too deep nor unfolds to much, and needs one look for long integers
        try:
            value = orjson.loads(data)
        except ValueError:
            return parsed_json(utf8_of(payload))  # which says what is wrong
        if _NINETEEN_DIGITS not in data.translate(_DIGITS_TO_ZERO):
            return value
    return parsed_json(utf8_of(payload))


def parsed_json(data: bytes) -> Any:
    """Parse UTF-8; raises `BadInputError` with the position of the fault."""
    try:
        return _parsed(data)
    except ValueError as exc:
        if not data.strip():
            raise BadInputError("The body is empty; it must be JSON.") from None
        decode_text(Payload(data))  # which says which byte is no UTF-8, and what it may be
        raise BadInputError(f"The body is not valid JSON: {_reason(exc)}.") from None


def parse_json_lines(payload: Payload) -> list[Any]:
    """Parse one value per line; blank lines are passed over. Raises `BadInputError` with the line of the fault."""
    data = utf8_of(payload)
    if (lines := data.count(b"\n")) * _LINE_BYTES > payload.limits.max_bytes:
        raise BadInputError(f"The body has {lines} lines, more than are taken here at once.", http_status=413)
    number, values = 0, []
    try:
        for number, line in enumerate(data.split(b"\n"), start=1):  # noqa: B007 - the refusal says it
            if line.strip():
                values.append(_parsed(line))
    except ValueError as exc:
        decode_text(Payload(data))
        raise BadInputError(f"Line {number} of the body is not valid JSON: {_reason(exc)}.") from None
    return values


_LINE_BYTES = 80


def utf8_of(payload: Payload) -> bytes:
    """Return the JSON of a payload as UTF-8 without a byte order mark.

    Raises a `BadInputError` of 413 for one whose values would take more memory than its limits give.
    """
    is_utf8 = payload.charset in ("utf-8", "utf8", "us-ascii")
    data = payload.data.removeprefix(_MARK) if is_utf8 else decode_text(payload).encode()
    if len(data) * _MOST_UNFOLDING > payload.limits.max_bytes:  # PERF: small bodies need no check
        _limit_values(unfolded_size(data), payload.limits)
    return data


def _limit_values(size: int, limits: DecodingLimits) -> None:
    if size > limits.max_bytes:
        message = (
            f"The values of the body take about {size} bytes of memory; {limits.max_bytes} are taken here at once."
        )
        raise BadInputError(message, http_status=413)


_MOST_UNFOLDING = 50
"""The most bytes of memory that a byte of JSON takes, measured with nested arrays and objects of nothing: 40, and 49
while it is parsed."""
_MOST_OF_SHORT = SHORT_BODY * _MOST_UNFOLDING


def unfolded_size(data: bytes) -> int:
    """Return about how many bytes of memory the values of JSON take, from what stands in it.

    The weights were measured with CPython 3.11 and hold within a factor of three: 24 bytes of memory for each of JSON
    are `[[],[],…]`, 39 are objects nested in each other, 14 are records of two numbers, 2 are long numbers.
    """
    return 40 * data.count(b",") + 72 * data.count(b"[") + 190 * data.count(b"{") + 16 * data.count(b":")


def _parsed(data: bytes) -> Any:
    if len(data) <= _MANY_BYTES or unfolded_size(data) <= _MUCH or not _has_numpy():
        return _parsed_at_once(data)
    try:
        return parsed_in_pieces(data, _parsed_flat, most_nested=MOST_NESTED)
    except NestedTooDeepError:
        raise ValueError(_NESTED) from None


_MUCH = 1 << 24
"""From here on, parsing may hold the GIL for longer than the allowed 50 ms."""


def _has_numpy() -> bool:
    return find_spec("numpy") is not None


def _parsed_at_once(data: bytes) -> Any:
    value = _shallow(data) if _may_be_deep(data) else orjson.loads(data)
    return _exact(value, data)


def _parsed_flat(data: bytes) -> Any:
    return _exact(orjson.loads(data), data)


def _exact(value: Any, data: bytes) -> Any:
    """Return what was parsed, or the same with all digits of long integers."""
    # PERF: the pattern alone would take longer than parsing, the search for many digits a tenth of it.
    is_long = _NINETEEN_DIGITS in data.translate(_DIGITS_TO_ZERO) and _LONG_INTEGER.search(data)
    return json.loads(data) if is_long else value


def _may_be_deep(data: bytes) -> bool:
    """Return whether brackets may be nested too deep; short bodies and those with few brackets are not scanned."""
    return len(data) > SHORT_BODY and (len(data) > _MANY_BYTES or data.count(b"[") + data.count(b"{") > MOST_NESTED)


_MANY_BYTES = 1 << 16  # PERF: from here on to count costs more than to parse within further arrays


def _shallow(data: bytes) -> Any:
    """Parse what is nested no deeper than `MOST_NESTED`: orjson takes 1024, of which some are used up here."""
    try:
        value = orjson.loads(_OPENED + data + _CLOSED)
        for _ in range(len(_OPENED)):
            (value,) = value
    except ValueError:
        orjson.loads(data)  # which says what is wrong, and where, if it is not the depth alone
        raise ValueError(_NESTED) from None
    return value


_OPENED, _CLOSED = b"[" * (1024 - MOST_NESTED), b"]" * (1024 - MOST_NESTED)
_NESTED = f"it is nested too deep; arrays and objects may be nested {MOST_NESTED} deep here"
_WORD = re.compile(r"[+-]?\w+(?:\.\d*)?(?:[eE][+-]?\d+)?")
_WORDS = {"True": "true", "False": "false"} | dict.fromkeys(
    (sign + word for sign in ("", "-", "+") for word in ("NaN", "nan", "Infinity", "inf", "None", "NA", "undefined")),
    "null",
)


def _reason(exc: ValueError) -> str:
    """Return the advice for JSON with words of other languages, e.g. `NaN` or `None`."""
    if not isinstance(exc, orjson.JSONDecodeError):
        return str(exc)
    if "depth limit" in exc.msg:
        return _NESTED
    start = exc.pos - 1 if exc.pos and exc.doc[exc.pos - 1] in "+-" else exc.pos
    word = _WORD.match(exc.doc, start)
    where = f"line {exc.lineno} column {exc.colno} (char {exc.pos})"
    if word is not None and word[0] in _WORDS:
        return f"`{word[0]}` is not JSON: send `{_WORDS[word[0]]}`: {where}"
    if word is not None and "infinity" in exc.msg:
        number = word[0] if len(word[0]) <= _LONGEST_WORD else f"{word[0][:_LONGEST_WORD]}…"
        return f"the number `{number}` does not fit a double: {where}"
    return str(exc)


_LONGEST_WORD = 40

# -- writing -----------------------------------------------------------------------------------------------------------


def encode_json(value: Any) -> bytes:
    """Encode what functions return: JSON values, numpy scalars and arrays, pandas objects, dates, UTF-8 bytes.

    NaN and the infinities become ``null``, because JSON has no such numbers. A `DataFrame` becomes a list of records, a
    `Series` a list. A `float32` has the shortest digits that read back as the same one, a `Decimal` its own; durations
    are ISO 8601's. Raises `InferenceFailedError` for what has no JSON form.

    PERF: one call of orjson's keeps the GIL until its end, 60 ms for two million numbers, so a long list is written
    piece by piece.
    """
    if type(value) is list and len(value) > _PIECE:
        pieces = (encode_json(value[start : start + _PIECE])[1:-1] for start in range(0, len(value), _PIECE))
        return b"[%b]" % b",".join(pieces)
    if type(value) is dict and any(type(item) is list and len(item) > _PIECE for item in value.values()):
        value = {key: orjson.Fragment(encode_json(item)) if type(item) is list else item for key, item in value.items()}
    if type(value).__module__ != "numpy":
        is_short = type(value) in (list, dict) and len(value) <= _FEW
        try:
            return orjson.dumps(value, default=_plain_of_few if is_short else _plain_of_none, option=orjson.OPT_UTC_Z)
        except TypeError as exc:
            if not isinstance(exc.__cause__, _NumpysError):
                return _encode_carefully(value)
    if may_hold_dates_of_numpys(value):
        return _encode_carefully(value)
    try:
        return orjson.dumps(value, default=plain, option=orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return _encode_carefully(value)


_FEW = 16


class _NumpysError(TypeError):
    """A value holds one of numpy's, which orjson writes itself, but some dates wrongly, and others end the process."""


def _plain_of_none(value: Any) -> Any:
    if type(value).__module__ == "numpy":
        raise _NumpysError
    return plain(value)


def _plain_of_few(value: Any) -> Any:
    """Return a number of numpy's as Python's. PERF: 0.2 µs, where all are looked at before they are written 3 µs."""
    kind = type(value)
    return value.item() if kind.__name__ in _NUMBERS and kind.__module__ == "numpy" else _plain_of_none(value)


_NUMBERS = frozenset(
    {"float64", "bool", "bool_", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
)
"""The types of numpy's whose values as Python's have the same JSON."""


def _encode_carefully(value: Any) -> bytes:
    """Encode also keys that are not text, integers over 64 bits, and numpy's dates in doubt."""
    try:
        return orjson.dumps(rebuilt(value), default=plain, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError, RecursionError) as exc:
        reason = exc.__cause__ or exc
        message = f"A value of type `{type(value).__name__}` cannot be written as JSON: {reason}."
        raise InferenceFailedError(message) from exc


def _reference(value: Any) -> Any:
    """Take a class of the user's by its reference."""
    return f"{module_of(value)}:{value.__qualname__}" if isinstance(value, type) else value


class JsonInput(InputAdapter):
    """Any JSON value; functions receive it parsed, batch functions a list of them."""

    type: Literal["json"] = "json"
    schema_: Annotated[Reference | None, BeforeValidator(_reference)] = Field(default=None, alias="schema")
    """A pydantic model, or any other type that pydantic validates, of the service's own code, as `module:Model`.
    Functions receive instances of it, and what does not fit is refused with 422 that says where."""

    def references(self) -> tuple[str, ...]:
        return (self.schema_,) if self.schema_ is not None else ()

    def described(self, load: Callable[[str], Any]) -> JsonInput:
        if self.schema_ is None or self.request_schema is not None:
            return self
        try:
            schema = _type_adapter(self.schema_, load).json_schema()
        except PydanticUserError as exc:
            raise BundleError(f"`{self.schema_}` has no JSON Schema: {exc.message}.") from None
        return self.with_options(request_schema=_named(schema))

    def decoder(self, load: Callable[[str], Any]) -> Callable[[Payload], Any]:
        if self.schema_ is None:
            return self.decode
        validated = _type_adapter(self.schema_, load).validate_json

        def decode(payload: Payload) -> Any:
            if payload.media_type != JSON:
                understood(payload, (JSON,))
            data = utf8_of(payload)
            parsed_json(data)  # pydantic's own parser takes NaN, makes infinities of long numbers, and has other limits
            try:
                return validated(data)
            except ValidationError as exc:
                raise refusal_of(exc) from None

        return decode

    def decode(self, payload: Payload) -> Any:
        return read_json(payload)

    def nbytes_from(self, payload: Payload) -> int:
        return unfolded_size(payload.data)

    def sample_body(self) -> Any:
        return {"key": 1}

    def request_content(self) -> dict[str, Any]:
        return {"application/json": {"schema": {}}}


def _named(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a model's schema with the model itself among its definitions, so that clients have a name for it."""
    definitions, title = schema.get("$defs", {}), schema.get("title", "")
    if "$ref" in schema or not title.isidentifier() or title in definitions:
        return schema
    inlined = {key: part for key, part in schema.items() if key != "$defs"}
    return {"$ref": f"#/$defs/{title}", "$defs": {**definitions, title: inlined}}


def _type_adapter(reference: str, load: Callable[[str], Any]) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(load(reference))
    except PydanticUserError as exc:
        raise BundleError(f"`{reference}` is nothing that pydantic validates: {exc.message}.") from None


def refusal_of(exc: ValidationError) -> BadInputError:
    """Return the refusal of a body that a model of the user's does not accept: all that is wrong, and where."""
    errors = exc.errors(include_url=False, include_context=False)
    if errors[0]["type"] == "json_invalid":
        return BadInputError(f"The body is not valid JSON: {errors[0]['msg'].removeprefix('Invalid JSON: ')}.")
    problems = [f"{_location(error['loc'])}: {error['msg'].removeprefix('Value error, ')}" for error in errors]
    more = f"; and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
    return BadInputError(f"{'; '.join(problems[:_MOST_PROBLEMS])}{more}.", http_status=422)


_MOST_PROBLEMS = 20


def _location(parts: tuple[int | str, ...]) -> str:
    """Return where in a body something is, as in `` `items[0].price` ``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return f"`{text.removeprefix('.')}`" if text else "The body"


class JsonOutput(OutputAdapter):
    """The value as JSON; NaN and the infinities as ``null``."""

    type: Literal["json"] = "json"

    def prepare(self, value: Any, *, accepts: Iterable[str] = ()) -> Any:  # noqa: ARG002 - JSON whatever is accepted
        return json_rows(value)

    def encode(self, value: Any, *, accept: str = "") -> Answer:  # noqa: ARG002 - JSON whatever is accepted
        return Answer(encode_json(value))

    def response_content(self) -> dict[str, Any]:
        return {"application/json": {"schema": {}}}
