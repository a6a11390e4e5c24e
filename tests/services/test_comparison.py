from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.services.comparison import differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("expected", "got", "tolerance", "found"),
    [
        pytest.param([1, 2.0], [1.0, 2], 0.0, [], id="numbers-by-value"),
        pytest.param([0.12], [0.1200001], 1e-6, [], id="within-tolerance"),
        pytest.param(0.12, 0.13, 0.0, ["the answer: expected 0.12, got 0.13"], id="exact"),
        pytest.param(
            {"p": [0.1, 0.5]},
            {"p": [0.1, 0.75]},
            0.01,
            ["`p[1]`: expected 0.5, got 0.75, 0.25 apart where 0.01 is allowed"],
            id="beyond-tolerance",
        ),
        pytest.param(
            [21.0],
            [21.003],
            0.0,
            ["`[0]`: expected 21.0, got 21.003, 0.003 apart: `tolerance` in the example says how much is allowed"],
            id="near-without-tolerance",
        ),
        pytest.param(1, True, 1.0, ["the answer: expected 1, got true"], id="true-is-not-one"),
        pytest.param("1", 1, 0.0, ['the answer: expected "1", got 1'], id="text-is-no-number"),
        pytest.param([], {}, 0.0, ["the answer: expected [], got {}"], id="other-kind"),
        pytest.param([1, 2, 3], [1], 0.0, ["the answer has 1 elements; expected 3"], id="length"),
        pytest.param(
            {"a": 1, "b": {"c": None}},
            {"b": {"c": 0}, "d": 2},
            0.0,
            ["`a` is missing; expected 1", "`b.c`: expected null, got 0", "`d` is not expected; got 2"],
            id="keys",
        ),
        pytest.param((1, (2,)), [1, [2]], 0.0, [], id="frozen-arrays"),
    ],
)
def test_differences_name_the_place_and_both_values(
    expected: Any, got: Any, tolerance: float, found: list[str]
) -> None:
    assert list(differences(expected, got, tolerance=tolerance)) == found


@given(JSON)
def test_a_value_never_differs_from_itself(value: Any) -> None:
    assert list(differences(value, value)) == []


@given(JSON, JSON)
def test_whether_two_values_differ_does_not_depend_on_their_order(left: Any, right: Any) -> None:
    assert bool(list(differences(left, right))) == bool(list(differences(right, left)))


@given(st.integers(0, 1000))
def test_long_values_are_cut_in_messages(size: int) -> None:
    (message,) = differences("x" * size, 5)
    assert len(message) < 120
