from __future__ import annotations

from math import ceil, log2
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.errors import BadInputError
from kappa.server.batching.isolation import Isolation, Suspects, Verdicts


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
def test_everybody_is_judged_rightly_and_no_part_is_run_twice(case: tuple[int, set[int]]) -> None:
    size, poison = case
    passed, guilty, unjudged, runs = search(size, poison)
    assert (guilty, unjudged) == (poison, set())
    assert passed == set(range(size)) - poison
    assert len(runs) < 2 * size
    assert len({tuple(part) for part in runs}) == len(runs)


@pytest.mark.parametrize("size", [2, 3, 16, 100, 1000])
def test_one_bad_request_costs_nobody_else_an_answer(size: int) -> None:
    for bad in {0, 1, size // 2, size - 1}:
        passed, guilty, unjudged, runs = search(size, {bad})
        assert (guilty, unjudged) == ({bad}, set())
        assert passed == set(range(size)) - {bad}
        assert len(runs) <= 2 * ceil(log2(size)) + 1


def test_a_half_known_to_be_bad_is_split_without_a_whole_run() -> None:
    *_, runs = search(8, {7})
    assert runs == [[0, 1, 2, 3], [4, 5], [6], [7]]


def test_a_failure_that_does_not_repeat_blames_nobody() -> None:
    assert search(8, set())[:3] == (set(range(8)), set(), set())


def test_who_is_no_longer_wanted_is_not_run() -> None:
    isolation = Isolation([1, 2, 3, 4])
    parts = []
    while (part := isolation.next_part(lambda member: member in {2, 3})) is not None:
        parts.append(part)
        isolation.passed()
    assert sorted(member for part in parts for member in part) == [2, 3]


def test_a_probe_goes_alone_before_the_rest() -> None:
    isolation = Isolation.probing([1, 2, 3])
    assert isolation.next_part() == [1]
    isolation.passed()
    assert isolation.next_part() == [2, 3]


def test_who_gives_up_finds_those_that_nobody_judged() -> None:
    isolation = Isolation([1, 2, 3, 4])
    assert isolation.next_part() == [1, 2]
    isolation.passed()
    assert sorted(isolation.unjudged()) == [3, 4]
    assert isolation.next_part() is None


BROKEN, BAD = ValueError("the database is away"), BadInputError("too old")


@pytest.mark.parametrize(
    ("seen", "is_broken"),
    [
        pytest.param([(0, BROKEN), (5, BROKEN), (10, BROKEN)], True, id="nothing-passed-for-ten-seconds"),
        pytest.param([(0, BROKEN), (5, KeyError()), (10, OSError())], True, id="whatever-it-raises"),
        pytest.param([(0, BROKEN)] * 1000, False, id="many-at-once"),
        pytest.param([(0, BROKEN), (9, BROKEN), (9.9, BROKEN)], False, id="too-soon"),
        pytest.param([(0, BROKEN), (60, BROKEN)], False, id="too-few"),
        pytest.param([(0, BROKEN), (5, None), (6, BROKEN), (10, BROKEN), (15, BROKEN)], False, id="one-passed"),
        pytest.param([(0, BAD), (5, BAD), (10, BAD), (90, BAD)], False, id="refusals"),
        pytest.param([(0, BROKEN), (5, BAD), (10, BROKEN), (11, BROKEN)], False, id="a-refusal-is-no-failure"),
        pytest.param([(0, BROKEN), (5, BROKEN), (10, BROKEN), (11, None)], False, id="it-recovers"),
        pytest.param([(0, BROKEN), (5, BROKEN), (10, BROKEN), (11, BAD)], False, id="it-refuses-again"),
    ],
)
def test_only_what_fails_for_ten_seconds_while_nothing_passes_is_broken(seen: Any, is_broken: bool) -> None:
    verdicts = Verdicts()
    for now, error in seen:
        verdicts.failed_alone(error, now) if error else verdicts.passed()
    assert verdicts.is_broken is is_broken


# The suspects of one API


def everybody(_member: object) -> bool:
    return True


def taken(suspects: Suspects[int]) -> list[int]:
    return suspects.take(everybody) if suspects.advance(everybody) else []


def test_one_part_runs_at_a_time_and_healthy_batches_go_between() -> None:
    suspects: Suspects[int] = Suspects()
    suspects.add(Isolation([1, 2, 3, 4], ValueError()))
    suspects.healthy_released()
    assert suspects.has_turn(waiting_requests=5)
    assert taken(suspects) == [1, 2]
    assert not suspects.is_ready
    suspects.passed(is_suspect=True)
    suspects.ended(waiting_requests=5)
    assert suspects.is_ready
    assert not suspects.has_turn(waiting_requests=5)
    assert suspects.has_turn(waiting_requests=0)
    suspects.healthy_released()
    assert suspects.has_turn(waiting_requests=5)
    assert taken(suspects) == [3]


def test_with_two_searches_parts_run_in_a_row() -> None:
    suspects: Suspects[int] = Suspects()
    suspects.add(Isolation([1, 2], ValueError()))
    suspects.add(Isolation([3, 4], ValueError()))
    assert taken(suspects) == [1]
    suspects.ended(waiting_requests=5)
    assert suspects.has_turn(waiting_requests=5)


def test_a_healthy_run_says_nothing_of_the_part_that_runs_beside_it() -> None:
    suspects: Suspects[int] = Suspects()
    suspects.add(Isolation([1, 2, 3, 4], ValueError()))
    assert taken(suspects) == [1, 2]
    suspects.passed(is_suspect=False)
    suspects.failed()
    suspects.ended(waiting_requests=0)
    assert [taken(suspects), taken(suspects), taken(suspects)] == [[1], [2], [3, 4]]


def test_while_a_part_is_renewed_nothing_of_the_search_runs() -> None:
    suspects: Suspects[int] = Suspects()
    suspects.add(Isolation([1, 2], ValueError()))
    assert suspects.advance(everybody)
    suspects.is_renewing = True
    assert not suspects.is_ready
    suspects.is_renewing = False
    assert suspects.take(lambda member: member != 1) == []
    assert suspects.is_ready


def test_a_search_that_is_given_up_leaves_those_that_nobody_judged() -> None:
    suspects: Suspects[int] = Suspects()
    suspects.add(Isolation([1, 2, 3, 4], BROKEN))
    assert suspects.advance(everybody)
    search, unjudged = suspects.abandon()
    assert (search.error, search.requests, sorted(unjudged)) == (BROKEN, 4, [1, 2, 3, 4])
    assert not suspects.searches
    assert not suspects.part
