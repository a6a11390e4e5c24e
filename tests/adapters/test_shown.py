"""Values as messages show them: short, and no dearer than what is shown."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.adapters import DataframeInput, NdarrayInput
from kappa.adapters.columns import shown
from kappa.errors import BadInputError
from kappa.types import Payload

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@given(values)
def test_a_short_value_is_its_json_and_a_long_one_its_beginning(value: Any) -> None:
    text = shown(value)[1:-1]
    if text.endswith("…"):
        assert len(text) == 58
    else:
        assert json.loads(text) == value
        assert len(text) <= 60


def nested(depth: int) -> Any:
    value: Any = 1
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (nested(5000), '`[{"a":[{"a":[{"a":[{"a":[{"a":[{"a":[{"a":[{"a":[{"a":[{"…`'),
        (["a" * 10_000_000], f'`["{"a" * 55}…`'),
        ([0] * 10_000_000, f"`[{'0,' * 28}…`"),
        ({"a" * 10_000_000: 1}, f'`{{"{"a" * 55}…`'),
        (1j, "`1j`"),
        (np.complex128(1 + 2j), "`(1+2j)`"),
        (float("nan"), "`null`"),
        (b"ab", '`"ab"`'),
        (b"\xff", r"`b'\xff'`"),
    ],
    ids=["deep", "long text", "long array", "long key", "complex", "numpy's complex", "NaN", "text", "bytes"],
)
def test_what_cannot_be_written_whole_is_shown(value: Any, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("adapter", "body"),
    [
        (NdarrayInput(), '{"a":' * 120 + "1" + "}" * 120),
        (NdarrayInput(), "[" + '{"a":' * 120 + "1" + "}" * 121),
        (NdarrayInput(dtype="float64"), "[" + '{"b64":' * 120 + "1" + "}" * 120 + "]"),
        (DataframeInput(), '"' + "x" * 100_000 + '"'),
        (DataframeInput(columns={"a": "int64"}), '[{"a":' + "[" * 120 + "]" * 120 + "}]"),
        (DataframeInput(), '{"a":{"' + "1" * 5000 + '":1}}'),
    ],
    ids=["object", "row", "bytes", "text", "cell", "label"],
)
def test_a_refusal_is_short_whatever_was_sent(adapter: Any, body: str) -> None:
    with pytest.raises(BadInputError) as refused:
        adapter.decode(Payload(body.encode(), "application/json"))
    assert 400 <= refused.value.http_status < 500
    assert len(str(refused.value)) < 300
