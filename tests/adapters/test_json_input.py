"""JSON requests: exact values, and a 4xx with the reason for what is not JSON."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.adapters import JsonInput
from kappa.adapters.json import MOST_NESTED, parse_json, parse_json_lines, unfolded_size
from kappa.errors import BadInputError
from kappa.types import DecodingLimits, Payload

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**90), 2**90) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


@given(values, st.sampled_from(["utf-8", "UTF-8", "utf-16", "utf-32-be"]), st.booleans())
def test_every_value_arrives_as_it_was_sent(value: Any, charset: str, is_ascii: bool) -> None:
    payload = Payload(json.dumps(value, ensure_ascii=is_ascii).encode(charset), "application/json", charset=charset)
    found = JsonInput().decode(payload)
    assert (found, json.dumps(found)) == (value, json.dumps(value))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, -(10**19) + 1, 10**19, -(10**30)])
def test_integers_beyond_64_bits_stay_integers(number: int) -> None:
    found = JsonInput().decode(Payload(str(number).encode()))
    assert (type(found), found) == (int, number)


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "application/json",
        "text/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/vnd.acme+json",
    ],
)
def test_what_curl_and_browsers_send_is_read_as_json(media_type: str) -> None:
    assert JsonInput().decode(Payload(b"[1]", media_type)) == [1]


@pytest.mark.parametrize(
    ("payload", "status", "message"),
    [
        (Payload(b""), 400, "The body is empty; it must be JSON."),
        (Payload(b" \n"), 400, "The body is empty; it must be JSON."),
        (Payload(b"{'a': 1}"), 400, "The body is not valid JSON: "),
        (Payload(b"[1,]"), 400, "The body is not valid JSON: trailing comma is not allowed: line 1 column 3 (char 2)."),
        (Payload(b"NaN"), 400, "The body is not valid JSON: "),
        (Payload(b"[-Infinity, 12345678901234567890123]"), 400, "The body is not valid JSON: "),
        (Payload(b'"\\ud800"'), 400, "The body is not valid JSON: "),
        (Payload('"\\ud800"'.encode("utf-16"), charset="utf-16"), 400, "The body is not valid JSON: "),
        (Payload(b"{}", charset="base64"), 415, "The charset `base64` is not taken here; send `utf-8`, "),
        (Payload(b"\xff{}", charset="us-ascii"), 400, "The body is not valid `utf-8` text: "),
        (Payload(b"{}", "application/xml"), 415, "`application/xml` is not taken here; send `application/json`."),
    ],
)
def test_a_malformed_request_is_refused(payload: Payload, status: int, message: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        JsonInput().decode(payload)
    assert (refusal.value.http_status, str(refusal.value)[: len(message)]) == (status, message)


@given(st.binary(max_size=30), st.sampled_from(["utf-8", "utf-7", "utf-16", "idna", "punycode", "cp037", "latin-1"]))
def test_whatever_is_sent_is_parsed_or_refused(data: bytes, charset: str) -> None:
    with suppress(BadInputError):
        JsonInput().decode(Payload(data, charset=charset))


def readings_of(text: str) -> dict[str, Any]:
    """Return what each way to read JSON makes of a value: itself, or its refusal."""
    typed = JsonInput(schema="m:any").decoder({"m:any": Any}.__getitem__)
    ways: dict[str, tuple[Any, str, Any]] = {
        "plain": (JsonInput().decode, text, lambda value: value),
        "typed": (typed, text, lambda value: value),
        "part": (parse_json, text, lambda value: value),
        "lines": (parse_json_lines, f"1\n{text}\n", lambda values: values[1]),
        "utf-16": (lambda _: parse_json(Payload(text.encode("utf-16"), charset="utf-16")), text, lambda value: value),
    }
    return {name: reading(*way) for name, way in ways.items()}


def reading(decode: Any, body: str, chosen: Any) -> Any:
    try:
        value = decode(Payload(body.encode(), "application/json"))
    except BadInputError as exc:
        return exc.http_status, str(exc).removeprefix("Line 2 of the body").removeprefix("The body")
    return chosen(value)


PADDED = " " * 70_000
"""So that a body is one of the large ones, which are read in another way."""


@pytest.mark.parametrize("padding", ["", PADDED], ids=["short", "long"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "`NaN` is not JSON: send `null`"),
        ("-NaN", "`-NaN` is not JSON: send `null`"),
        ("nan", "`nan` is not JSON: send `null`"),
        ("Infinity", "`Infinity` is not JSON: send `null`"),
        ("-Infinity", "`-Infinity` is not JSON: send `null`"),
        ("inf", "`inf` is not JSON: send `null`"),
        ("None", "`None` is not JSON: send `null`"),
        ("undefined", "`undefined` is not JSON: send `null`"),
        ("True", "`True` is not JSON: send `true`"),
        ("1e400", "the number `1e400` does not fit a double"),
        ("-1e400", "the number `-1e400` does not fit a double"),
        ("1.5E+309", "the number `1.5E+309` does not fit a double"),
        ("9" * 310, f"the number `{'9' * 40}…` does not fit a double"),
        ("-" + "9" * 5000, f"the number `-{'9' * 39}…` does not fit a double"),
        ("1" + "0" * 5000 + ".5", f"the number `1{'0' * 39}…` does not fit a double"),
    ],
    ids=lambda value: value[:12],
)
def test_what_json_has_no_word_for_is_refused_alike_on_every_path(text: str, reason: str, padding: str) -> None:
    for body in (text, f"[1, {text}]", f'{{"a": {text}}}'):
        for way, found in readings_of(body + padding).items():
            assert isinstance(found, tuple), f"{way} took it: {found!r}"
            assert (found[0], found[1][: len(reason) + 20]) == (400, f" is not valid JSON: {reason}"), way


@pytest.mark.parametrize("padding", ["", PADDED], ids=["short", "long"])
@pytest.mark.parametrize("inner", ["1", "1" * 23, "0." + "1" * 30, f'"{"1" * 23}"', '"]}"', '"[{"'])
@pytest.mark.parametrize("nest", ["[{}]", '{{"a":{}}}', '{{"[":{}}}', "[0,{}]", '[{},"]"]', '[{{"a":{}}}]'], ids=str)
def test_json_is_taken_to_one_depth_on_every_path(nest: str, inner: str, padding: str) -> None:
    step = 2 if nest == '[{{"a":{}}}]' else 1
    for depth in (MOST_NESTED, MOST_NESTED + step, 254, 300, 990, 1100):
        text = inner
        for _ in range(0, depth, step):
            text = nest.format(text)
        for way, found in readings_of(text + padding).items():
            if depth == MOST_NESTED:
                assert not isinstance(found, tuple), f"{way}: {found!r}"
            else:
                assert found == (400, f" is not valid JSON: {NESTED}."), way


NESTED = "it is nested too deep; arrays and objects may be nested 128 deep here"


@pytest.mark.parametrize(
    "text", ["1],[2", "1]],[[2", "1,2", "", "1]", "[1", "1]]]]]],[[[[[[2", "[" * 70_000, "]" * 70_000]
)
def test_a_large_body_is_json_by_itself(text: str) -> None:
    for body in (text + PADDED, PADDED + text):
        with pytest.raises(BadInputError):
            parse_json(Payload(body.encode()))


@pytest.mark.parametrize("count", [127, 128, 129, 5000])
def test_many_brackets_are_no_depth(count: int) -> None:
    value = [[{"a": [number]}, "[{"] for number in range(count)]
    assert parse_json(Payload(json.dumps(value).encode())) == value


@pytest.mark.parametrize(
    "number", ["0." + "0" * 19 + "1", "1234567890123456789012.5", "1234567890123456789012e5", "1e-400"]
)
def test_long_fractions_are_doubles(number: str) -> None:
    assert parse_json(Payload(f"[{number}]".encode())) == [float(number)]


UNITS = {
    "arrays": b"[]",
    "objects": b"{}",
    "array of one": b"[1]",
    "object of one": b'{"":0}',
    "nested objects": b'{"":' * 100 + b"0" + b"}" * 100,
    "nested arrays": b"[" * 100 + b"]" * 100,
    "integers": b"300",
    "texts": b'"ab"',
    "floats": b"1.5",
}


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_a_body_is_bounded_by_what_its_values_take(unit: bytes) -> None:
    data = b"[" + b",".join([unit] * (400_000 // len(unit))) + b"]"
    told = unfolded_size(data)
    payload = Payload(data, limits=DecodingLimits(max_bytes=told // 2))
    tracemalloc.start()
    with pytest.raises(BadInputError) as refused:
        parse_json(payload)
    refused_at = tracemalloc.get_traced_memory()[1]
    value = parse_json(Payload(data))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert refused.value.http_status == 413
    assert refused_at < 1 << 20
    assert taken / 3 < told < taken * 4, (told, taken, len(value))
    assert JsonInput().nbytes_from(payload) == told


def test_lines_are_bounded() -> None:
    with pytest.raises(BadInputError) as refused:
        parse_json_lines(Payload(b"\n" * 1000, limits=DecodingLimits(max_bytes=79_999)))
    assert refused.value.http_status == 413


def test_requests_are_items_and_a_batch_a_list_of_them() -> None:
    adapter = JsonInput()
    assert (adapter.rows_of([1, 2, 3]), adapter.merge([[1], {"a": 2}]), adapter.single([1])) == (
        None,
        [[1], {"a": 2}],
        [1],
    )


def test_an_example_cannot_be_changed_and_is_shown_as_it_was_written() -> None:
    adapter = JsonInput(http_input_example={"rows": [[1, 2]]})
    with pytest.raises(TypeError):
        adapter.http_input_example["rows"] = []
    assert adapter.documented_content() == {"application/json": {"schema": {}, "example": {"rows": [[1, 2]]}}}
    assert JsonInput.model_validate_json(adapter.model_dump_json()) == adapter


@pytest.mark.parametrize(
    "read",
    [parse_json, parse_json_lines, JsonInput().decode, JsonInput(schema="json:Any").decoder(lambda _: Any)],
    ids=["document", "lines", "json", "typed"],
)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"query": "sue\xf1o"}', "byte 0xf1 in position 14"),
        (b'{"query": "' + b"a" * 100_000 + b'\xf1"}', "byte 0xf1 in position 100011"),
        ('{"a": 1}'.encode("utf-16"), "say so with `charset=utf-16`."),
    ],
    ids=["latin-1", "long", "utf-16"],
)
def test_json_in_another_charset_is_told_so(read: Any, body: bytes, said: str) -> None:
    with pytest.raises(BadInputError, match="The body is not valid `utf-8` text") as refused:
        read(Payload(body, "application/json"))
    assert said in str(refused.value)
