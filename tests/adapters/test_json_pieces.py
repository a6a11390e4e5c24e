"""Large JSON is read in pieces: the same values, errors and positions as of the whole, wherever it is cut."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kappa.adapters import json_pieces
from kappa.adapters.json import MOST_NESTED, parse_json
from kappa.adapters.json_pieces import NestedTooDeepError, parsed_in_pieces
from kappa.errors import BadInputError
from kappa.types import Payload

NAMES = st.sampled_from(["a", "b", "", 'q"', "\\", '\\"', "é", "c,", "[", "}", "]},"])
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | NAMES
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=30)
SPACES = st.sampled_from(["", " ", "\n  "])
SIZES = st.integers(1, 40)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Draw JSON in any writing: spaces, escapes, and names that stand in their object twice."""

    def written(value: Any) -> str:
        space = draw(SPACES)
        if isinstance(value, list):
            return f"[{space}{f',{space}'.join(map(written, value))}{space}]"
        if isinstance(value, dict):
            items = [*value.items()] + [(name, draw(LEAVES)) for name in list(value)[: draw(st.integers(0, 1))]]
            return f"{{{space}{','.join(f'{text(name)}{space}:{written(item)}' for name, item in items)}{space}}}"
        return text(value)

    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=draw(st.booleans()))

    return written(draw(VALUES)).encode()


def outcome(read: Any, *args: Any, **options: Any) -> Any:
    """Return what was read as JSON that keeps the order of names, or what is wrong."""
    try:
        return json.dumps(read(*args, **options))
    except orjson.JSONDecodeError as exc:
        return exc


@given(data=texts(), size=SIZES)
@example(data=b'{"a":[1,2,3],"b":2,"a":[4,{"":5,"c":[6,7,8]},9]}', size=1)
@example(data=b'{"a":[1,2,3,4],"a":1,"b":[5,6]}', size=2)
@example(data=b'[["\\\\\\"",["\\\\"],"]"],1,2]', size=3)
def test_pieces_hold_what_the_whole_holds(data: bytes, size: int) -> None:
    assert outcome(parsed_in_pieces, data, orjson.loads, most_nested=128, piece_bytes=size) == outcome(
        orjson.loads, data
    )


@given(data=texts(), size=SIZES, place=st.integers(0), put=st.binary(max_size=1) | st.sampled_from([b",", b"]", b"\\"]))
@example(data=b"[1,2,3", size=1, place=0, put=b"[")
@example(data=b"[,1,2,3]", size=1, place=0, put=b"[")
@example(data=b"{,1,2,3]", size=1, place=0, put=b"{")
@example(data=b"[1,,2]", size=1, place=0, put=b"[")
@example(data=b"[1,2,]", size=1, place=0, put=b"[")
@example(data=b"[1],[2],3", size=1, place=0, put=b"[")
@example(data=b'{"a",1,2:3,4}', size=1, place=0, put=b"{")
@example(data=b'["\xff",1,2,3,]', size=1, place=0, put=b"[")
def test_what_is_wrong_with_the_whole_is_wrong_with_the_pieces_and_there(
    data: bytes, size: int, place: int, put: bytes
) -> None:
    place %= len(data)
    data = data[:place] + put + data[place + 1 :]
    whole = outcome(orjson.loads, data)
    pieces = outcome(parsed_in_pieces, data, orjson.loads, most_nested=128, piece_bytes=size)
    if isinstance(whole, str):
        assert pieces == whole
    else:
        blank = len(data) - len(b"".join(data.split()))  # a fault may be put before the blanks in front of it
        assert abs(pieces.pos - whole.pos) <= 1 + blank


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_depth_counts_from_the_outermost_piece(size: int) -> None:
    deepest = b"[1," * MOST_NESTED + b"2" + b"]" * MOST_NESTED
    assert parsed_in_pieces(deepest, orjson.loads, most_nested=MOST_NESTED, piece_bytes=size) == orjson.loads(deepest)
    with pytest.raises(NestedTooDeepError):
        parsed_in_pieces(b"[1,%b]" % deepest, orjson.loads, most_nested=MOST_NESTED, piece_bytes=size)


LARGE = {
    "lists": b"[" + b"[]," * 300_000 + b"[]]",
    "objects in an object": b'{"rows":[' + b'{"a":{"b":[1,"]"]}},' * 60_000 + b'{"a":12345678901234567890123}]}',
    "names": b"{" + b",".join(b'"c%d":%d' % (number, number) for number in range(350_000)) + b"}",
}


@pytest.mark.parametrize("name", LARGE)
def test_no_step_of_a_large_body_is_long(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    longest = 0
    loads = orjson.loads

    def measured(data: bytes) -> Any:
        nonlocal longest
        longest = max(longest, len(data))
        return loads(data)

    monkeypatch.setattr(orjson, "loads", measured)
    assert parse_json(Payload(LARGE[name])) == json.loads(LARGE[name])
    assert 0 < longest <= 2 * json_pieces._PIECE_BYTES


MANY = b"[" + b"[]," * 299_999 + b"[]"


@pytest.mark.parametrize(
    ("end", "reason", "place"),
    [
        (b",NaN]", "`NaN` is not JSON: send `null`", 1),
        (b",", "unexpected end of data", 1),
        (b",[0,1,}]]", "unexpected character, expected a JSON value", 6),
        (b"],1", "unexpected content after document", 1),
    ],
)
def test_a_large_body_is_refused_with_the_place_of_its_fault(end: bytes, reason: str, place: int) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_json(Payload(MANY + end))
    assert f"{reason}: line 1 column {len(MANY) + place + 1} (char {len(MANY) + place})" in str(caught.value)


def test_a_large_body_that_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(BadInputError, match="nested too deep"):
        parse_json(Payload(MANY + b"," + b"[" * 200 + b"]" * 201))
