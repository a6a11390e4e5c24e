"""When a worker that asked to be replaced leaves."""

from __future__ import annotations

from kappa.server.process.succession import Succession


def test_a_worn_worker_leaves_when_as_many_others_are_ready_as_there_should_be() -> None:
    succession = Succession(2, clock=lambda: 100.0)
    assert succession.look(set(), {1, 2}) is None
    assert not succession.is_awaited
    assert succession.look({2}, {1, 2}) is None
    assert succession.is_awaited
    assert succession.look({2}, {1, 2}) is None
    assert succession.look({2}, {1, 2, 3}) == 2
    assert not succession.is_awaited


def test_one_that_ends_by_itself_needs_no_successor_any_more() -> None:
    succession = Succession(1, clock=lambda: 100.0)
    assert succession.look({1}, {1}) is None
    assert succession.look({1}, set()) is None
    assert not succession.is_awaited


def test_another_workers_replacement_is_not_taken_for_the_successor() -> None:
    succession = Succession(2, clock=lambda: 100.0)
    succession.look({1}, {1, 2})
    assert succession.look({1}, {1, 3}) is None
    assert succession.look({1}, {1, 3, 4}) == 1


def test_workers_are_replaced_one_at_a_time_and_one_a_minute() -> None:
    now = [100.0]
    succession = Succession(2, clock=lambda: now[0])
    succession.look({1, 2}, {1, 2})
    assert succession.look({1, 2}, {1, 2, 3}) == 1
    now[0] = 159.0
    assert succession.look({2, 3}, {2, 3}) is None
    assert not succession.is_awaited
    now[0] = 160.0
    succession.look({2, 3}, {2, 3})
    assert succession.look({2, 3}, {2, 3, 4}) == 2
