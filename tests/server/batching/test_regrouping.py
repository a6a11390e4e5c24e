"""How long the next batch waits for the clients of the last one."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from kappa.server.batching.estimator import Estimate
from kappa.server.batching.regrouping import Regroup, Regrouping, Returns, regroup_after

KNOWN = Estimate(slope_s=0.001, base_s=0.01, tail_s=0.0, runs=100, largest=1000)


def expected(
    items: int, estimate: Estimate = KNOWN, *, waiting: int = 0, return_s: float = inf, cohort: float = 0.0
) -> Regroup | None:
    return regroup_after(
        items, estimate, 5.0, waiting_items=waiting, cohort=cohort, return_s=return_s, max_batch_size=100
    )


def test_a_lone_item_is_not_waited_after_and_others_briefly() -> None:
    assert expected(1) is None
    assert expected(1, waiting=3) is None
    assert expected(16, Estimate()) is None
    assert expected(16) == Regroup(items=8, until=5.001)
    assert expected(5, KNOWN._replace(base_s=0.001)) == Regroup(items=3, until=5.0002)


def test_all_are_waited_for_where_their_way_back_is_short_beside_a_call() -> None:
    quick = KNOWN._replace(base_s=0.0005)
    assert expected(16, quick, return_s=0.0001) == Regroup(items=16, until=5.002, extension_s=0.0004)
    assert expected(16, quick, waiting=3, return_s=0.0001) == Regroup(items=19, until=5.002, extension_s=0.0004)
    assert expected(1, quick, waiting=1, return_s=0.0001) == Regroup(items=2, until=5.002, extension_s=0.0004)
    assert expected(16, quick, waiting=99, return_s=0.0001) == Regroup(items=100, until=5.002, extension_s=0.0004)
    assert expected(16, quick, waiting=100, return_s=0.0001) is None, "those fill a batch"
    assert expected(64, quick, return_s=0.0001) == Regroup(items=32, until=5.0001)


def test_a_cohort_that_has_come_apart_is_waited_for_as_a_whole() -> None:
    quick = KNOWN._replace(base_s=0.0005)
    assert expected(9, quick, return_s=0.0001, cohort=15.6) == Regroup(items=16, until=5.002, extension_s=0.0004)
    assert expected(9, quick, waiting=9, return_s=0.0001, cohort=15.6) == Regroup(18, until=5.002, extension_s=0.0004)
    assert expected(9, cohort=15.6) == Regroup(items=5, until=5.001)  # nobody comes back


def test_the_most_that_were_there_at_once_are_remembered_for_a_while() -> None:
    returns = Returns()
    seen = []
    for items in (16, 9, 9, 9):
        returns.seen_together(items)
        seen.append(round(returns.cohort, 2))
    assert seen == [16, 15.3, 14.67, 14.1]


def test_a_wait_in_vain_says_how_many_there_are_until_that_is_tested_again() -> None:
    returns = Returns()
    cohorts = []
    for _ in range(64):
        returns.expected_return_s()
        returns.seen_together(18)
        cohorts.append(returns.cohort)
        if returns.cohort > 16:
            returns.waited(expected_items=15, returned_items=13, waiting_items=3, seconds=0.002)
        else:
            returns.waited(expected_items=13, returned_items=13, waiting_items=3, seconds=0.001)
    assert cohorts == [18, *[16] * 31, 18, *[16] * 31]


def test_waiting_is_over_when_enough_are_back_or_time_is_up_and_everyone_who_comes_extends_it() -> None:
    regroup = Regroup(items=3, until=1.0)
    assert [regroup.is_over(0.5, n) for n in (0, 2, 3)] == [False, False, True]
    assert regroup.is_over(1.0, 0)
    assert regroup.extended(0.9) == regroup
    assert Regroup(3, 1.0, 0.2).extended(0.9) == Regroup(3, 1.1, 0.2)
    assert Regroup(3, 1.0, 0.2).extended(0.5) == Regroup(3, 1.0, 0.2)


def test_clients_that_do_not_return_together_are_waited_for_once_in_a_while_only() -> None:
    returns = Returns()
    assert returns.expected_return_s() == 0.0001
    for _ in range(20):
        returns.waited(expected_items=8, returned_items=1, seconds=0.01)
    waited = [returns.expected_return_s() < inf for _ in range(32)]
    assert waited.count(True) == 2
    for _ in range(20):
        returns.waited(expected_items=8, returned_items=8, seconds=0.004)
    assert returns.expected_return_s() == pytest.approx(0.0005, rel=0.2)


# The waits of one API


def begun(regrouping: Regrouping, items: int, *, now: float, waiting: int = 0, **facts: bool) -> Any:
    facts = {"has_blocked_loop": False, "has_unread_input": False, **facts}
    return regrouping.begin(items, waiting_items=waiting, estimate=KNOWN, now=now, **facts)


def until(regrouping: Regrouping, now: float, waiting: int) -> Any:
    wait = regrouping.wait(now, waiting)
    return None if wait is None else wait.until


def test_the_wait_begins_when_the_answers_are_written_and_ends_when_all_are_back() -> None:
    regrouping = Regrouping(100)
    wait = begun(regrouping, 4, now=1.0)
    assert until(regrouping, 1.5, 3) == inf, "the answers are still being written"
    assert regrouping.answers_written(wait, waiting_items=0, estimate=KNOWN, now=2.0)
    assert until(regrouping, 2.0, 0) == pytest.approx(2.002)
    assert until(regrouping, 2.0, 4) is None
    regrouping.end(2.001, 4)
    assert regrouping.release(2.0)
    assert not regrouping.release(2.0)


def test_each_return_extends_the_wait_until_it_has_ended() -> None:
    regrouping = Regrouping(100)
    wait = begun(regrouping, 4, now=0.0)
    regrouping.answers_written(wait, waiting_items=0, estimate=KNOWN, now=0.0)
    assert until(regrouping, 0.0015, 1) == pytest.approx(0.0025)
    assert until(regrouping, 0.0024, 1) == pytest.approx(0.0025)
    assert until(regrouping, 0.0026, 1) is None
    regrouping.end(0.0026, 1)
    assert until(regrouping, 0.0027, 2) is None, "it is over, though the batch still waits for its slot"


def test_a_wait_that_something_else_has_ended_does_not_begin() -> None:
    regrouping = Regrouping(100)
    first = begun(regrouping, 4, now=0.0)
    begun(regrouping, 4, now=1.0)
    assert not regrouping.answers_written(first, waiting_items=0, estimate=KNOWN, now=1.0)
    second = begun(regrouping, 4, now=2.0)
    regrouping.release(2.0)
    assert not regrouping.answers_written(second, waiting_items=0, estimate=KNOWN, now=2.0)


def test_after_a_blocked_loop_everybody_is_answered_and_read_before_the_next_batch() -> None:
    regrouping = Regrouping(100)
    assert begun(regrouping, 4, now=0.0, waiting=100) is None, "enough wait already"
    wait = begun(regrouping, 4, now=0.0, waiting=100, has_blocked_loop=True, has_unread_input=True)
    assert until(regrouping, 0.0, 100) == inf
    assert regrouping.answers_written(wait, waiting_items=100, estimate=KNOWN, now=0.001)
    assert until(regrouping, 0.001, 100) is None


def test_clients_that_never_return_are_soon_waited_for_as_usual() -> None:
    regrouping = Regrouping(100)
    ways = []
    for turn in range(40):
        now = float(turn)
        wait = begun(regrouping, 4, now=now)
        regrouping.answers_written(wait, waiting_items=0, estimate=KNOWN, now=now)
        ways.append(round(until(regrouping, now, 0) - now, 6))
        regrouping.end(now + 0.01, 0)
        regrouping.release(now)
    assert ways == [0.002] * 7 + [0.001] * 8 + [0.002] + [0.001] * 15 + [0.002] + [0.001] * 8


def test_those_who_waited_already_are_none_that_have_returned() -> None:
    regrouping, are_awaited = Regrouping(100), []
    for turn in range(12):
        wait = begun(regrouping, 4, now=float(turn), waiting=3)
        are_awaited.append(wait is not None)
        if wait is not None:
            regrouping.answers_written(wait, waiting_items=3, estimate=KNOWN, now=float(turn))
            regrouping.end(turn + 0.01, 3)
        regrouping.release(float(turn))
    assert are_awaited == [True] * 7 + [False] * 5
