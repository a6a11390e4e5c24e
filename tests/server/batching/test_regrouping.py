"""How long the next batch waits for the clients of the last one."""

from __future__ import annotations

from math import inf

import pytest

from kappa.server.batching.estimator import Estimate
from kappa.server.batching.regrouping import Regroup, Returns, regroup_after

KNOWN = Estimate(slope_s=0.001, base_s=0.01, tail_s=0.0, runs=100, largest=1000)


def expected(
    items: int, estimate: Estimate = KNOWN, *, waiting: int = 0, return_s: float = inf, cohort: float = 0.0
) -> Regroup | None:
    return regroup_after(
        items, estimate, 5.0, waiting_items=waiting, cohort=cohort, return_s=return_s, max_batch_size=100
    )


def test_a_lone_item_is_not_waited_after_and_others_briefly():
    assert expected(1) is None
    assert expected(1, waiting=3) is None
    assert expected(16, Estimate()) is None
    assert expected(16) == Regroup(items=8, until=5.001)
    assert expected(5, KNOWN._replace(base_s=0.001)) == Regroup(items=3, until=5.0002)


def test_all_are_waited_for_where_their_way_back_is_short_beside_a_call():
    quick = KNOWN._replace(base_s=0.0005)
    assert expected(16, quick, return_s=0.0001) == Regroup(items=16, until=5.002, extension_s=0.0004)
    assert expected(16, quick, waiting=3, return_s=0.0001) == Regroup(items=19, until=5.002, extension_s=0.0004)
    assert expected(1, quick, waiting=1, return_s=0.0001) == Regroup(items=2, until=5.002, extension_s=0.0004)
    assert expected(16, quick, waiting=99, return_s=0.0001) == Regroup(items=100, until=5.002, extension_s=0.0004)
    assert expected(16, quick, waiting=100, return_s=0.0001) is None, "those fill a batch"
    assert expected(64, quick, return_s=0.0001) == Regroup(items=32, until=5.0001)


def test_a_cohort_that_has_come_apart_is_waited_for_as_a_whole():
    quick = KNOWN._replace(base_s=0.0005)
    assert expected(9, quick, return_s=0.0001, cohort=15.6) == Regroup(items=16, until=5.002, extension_s=0.0004)
    assert expected(9, quick, waiting=9, return_s=0.0001, cohort=15.6) == Regroup(18, until=5.002, extension_s=0.0004)
    assert expected(9, cohort=15.6) == Regroup(items=5, until=5.001)  # nobody comes back


def test_the_most_that_were_there_at_once_are_remembered_for_a_while():
    returns = Returns()
    seen = []
    for items in (16, 9, 9, 9):
        returns.seen_together(items)
        seen.append(round(returns.cohort, 2))
    assert seen == [16, 15.3, 14.67, 14.1]


def test_a_wait_in_vain_says_how_many_there_are_until_that_is_tested_again():
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


def test_waiting_is_over_when_enough_are_back_or_time_is_up_and_everyone_who_comes_extends_it():
    regroup = Regroup(items=3, until=1.0)
    assert [regroup.is_over(0.5, n) for n in (0, 2, 3)] == [False, False, True]
    assert regroup.is_over(1.0, 0)
    assert regroup.extended(0.9) == regroup
    assert Regroup(3, 1.0, 0.2).extended(0.9) == Regroup(3, 1.1, 0.2)
    assert Regroup(3, 1.0, 0.2).extended(0.5) == Regroup(3, 1.0, 0.2)


def test_clients_that_do_not_return_together_are_waited_for_once_in_a_while_only():
    returns = Returns()
    assert returns.expected_return_s() == 0.0001
    for _ in range(20):
        returns.waited(expected_items=8, returned_items=1, seconds=0.01)
    waited = [returns.expected_return_s() < inf for _ in range(32)]
    assert waited.count(True) == 2
    for _ in range(20):
        returns.waited(expected_items=8, returned_items=8, seconds=0.004)
    assert returns.expected_return_s() == pytest.approx(0.0005, rel=0.2)
