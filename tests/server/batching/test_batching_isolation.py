from __future__ import annotations

from math import ceil, log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.server.batching.isolation import Isolation, Verdicts


def search(size: int, poison: set[int]) -> tuple[set[int], set[int], set[int], list[list[int]]]:
    """Return who passed, who failed alone, who was never judged, and the runs."""
    isolation = Isolation(range(size))
    passed: set[int] = set()
    guilty: set[int] = set()
    runs = []
    while (part := isolation.next_part()) is not None:
        runs.append(part)
        if poison.isdisjoint(part):
            isolation.passed()
            passed.update(part)
        else:
            isolation.failed()
            if len(part) == 1:
                guilty.update(part)
    return passed, guilty, set(isolation.unjudged()), runs


@settings(max_examples=200)
@given(st.integers(2, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=n))))
def test_everybody_is_judged_rightly_or_not_at_all_within_the_budget(case: tuple[int, set[int]]):
    size, poison = case
    passed, guilty, unjudged, runs = search(size, poison)
    assert guilty <= poison
    assert passed.isdisjoint(poison)
    assert passed | guilty | unjudged == set(range(size))
    assert len(passed) + len(guilty) + len(unjudged) == size
    assert len(runs) <= max(ceil(4 * log2(size)), 2)


@pytest.mark.parametrize("size", [2, 3, 16, 100, 1000])
def test_one_bad_request_costs_nobody_else_an_answer(size: int):
    for bad in {0, 1, size // 2, size - 1}:
        passed, guilty, unjudged, runs = search(size, {bad})
        assert (guilty, unjudged) == ({bad}, set())
        assert passed == set(range(size)) - {bad}
        assert len(runs) <= 2 * ceil(log2(size)) + 1


def test_a_half_known_to_be_bad_is_split_without_a_whole_run():
    *_, runs = search(8, {7})
    assert runs == [[0, 1, 2, 3], [4, 5], [6], [7]]


def test_a_failure_that_does_not_repeat_blames_nobody():
    assert search(8, set())[:3] == (set(range(8)), set(), set())


def test_who_is_no_longer_wanted_is_not_run():
    isolation = Isolation([1, 2, 3, 4])
    parts = []
    while (part := isolation.next_part(lambda member: member in {2, 3})) is not None:
        parts.append(part)
        isolation.passed()
    assert sorted(member for part in parts for member in part) == [2, 3]


def test_a_probe_goes_alone_before_the_rest():
    isolation = Isolation.probing([1, 2, 3])
    assert isolation.next_part() == [1]
    isolation.passed()
    assert isolation.next_part() == [2, 3]


def test_three_lone_failures_alike_without_a_success_between_break_a_function():
    verdicts = Verdicts()
    seen = []
    for error in (
        ValueError(),
        ValueError(),
        None,
        ValueError(),
        ValueError(),
        KeyError(),
        KeyError(),
        KeyError(),
        None,
    ):
        verdicts.failed_alone(error) if error else verdicts.passed()
        seen.append(verdicts.is_broken)
    assert seen == [False] * 7 + [True, False]
