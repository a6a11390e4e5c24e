from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import repeat
from math import inf
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.server.batching.admission import Admission, Candidate, Delays, Refusal, remaining_seconds
from kappa.server.batching.estimator import Estimate, Estimator
from kappa.server.batching.policy import Batch, Limits, compose
from kappa.server.batching.queue import WaitingQueue, WaitingRequest

KNOWN = Estimate(slope_s=0.001, base_s=0.01, tail_s=0.0, runs=100, largest=1000)


def about(value: float, **options: Any) -> Any:
    return pytest.approx(value, **options)


def queue_of(*requests: WaitingRequest, max_batch_size: int = 100) -> WaitingQueue[WaitingRequest]:
    queue: WaitingQueue[WaitingRequest] = WaitingQueue(max_batch_size=max_batch_size)
    for request in requests:
        queue.add(request)
    return queue


def waiting(items: int = 1, *, group: object = None, deadline: float = inf) -> WaitingRequest:
    return WaitingRequest(0.0, group, items, 10, deadline)


def take(queue: WaitingQueue[WaitingRequest], *, limit: int = 100, estimate: Estimate = KNOWN, now: float = 0.0) -> Any:
    return compose(queue, estimate=estimate, limits=Limits(limit), now=now)


# Composition


def test_the_oldest_group_goes_in_order_of_age_and_the_other_stays() -> None:
    a, b, c = waiting(group="a"), waiting(group="b"), waiting(group="a")
    queue = queue_of(a, b, c)
    assert take(queue) == Batch([a, c], 2, [], None)
    assert list(queue) == [b]


def test_a_batch_stops_at_the_limit_and_nobody_overtakes_in_a_group() -> None:
    first, large, small = waiting(3), waiting(3), waiting(1)
    assert take(queue_of(first, large, small), limit=5) == Batch([first], 3, [], "full")


def test_a_batch_that_is_exactly_full_says_so() -> None:
    first, second = waiting(3), waiting(2)
    assert take(queue_of(first, second), limit=5) == Batch([first, second], 5, [], "full")


def test_a_request_larger_than_the_limit_runs_alone_and_whole() -> None:
    small, large, last = waiting(1), waiting(50), waiting(1)
    queue = queue_of(small, large, last)
    assert [take(queue, limit=5).members for _ in range(3)] == [[small], [large], [last]]


def test_slow_start_doubles_the_largest_size_seen() -> None:
    queue = queue_of(*(waiting() for _ in range(30)))
    sizes = []
    largest = 0
    while queue.requests:
        batch = take(queue, estimate=Estimate(largest=largest))
        sizes.append(batch.items)
        largest = max(largest, batch.items)
    assert sizes == [1, 2, 4, 8, 15]


def test_expired_requests_are_set_apart_wherever_they_stand() -> None:
    gone, alive, gone_too = waiting(deadline=1.0, group="x"), waiting(), waiting(deadline=0.5)
    queue = queue_of(gone, alive, gone_too)
    assert take(queue, now=1.0) == Batch([alive], 1, [gone, gone_too], None)
    assert queue.requests == 0


def test_a_queue_of_expired_requests_gives_an_empty_batch() -> None:
    gone = waiting(deadline=1.0)
    assert take(queue_of(gone), now=2.0) == Batch([], 0, [gone], None)


def test_a_batch_grows_no_further_than_its_earliest_deadline_allows() -> None:
    requests = [waiting(deadline=0.0155)] + [waiting() for _ in range(20)]
    batch = take(queue_of(*requests))
    assert (batch.items, batch.bound_by) == (5, "target")  # T(5) = 15 ms, T(6) = 16 ms


def test_a_request_that_is_late_anyway_holds_nobody_up() -> None:
    requests = [waiting(deadline=0.005)] + [waiting() for _ in range(20)]
    assert take(queue_of(*requests)).items == 21


def test_the_tail_is_kept_free_before_a_deadline() -> None:
    requests = [waiting(deadline=0.0155)] + [waiting() for _ in range(20)]
    assert take(queue_of(*requests), estimate=KNOWN._replace(tail_s=0.002)).items == 3


request_lists = st.lists(
    st.builds(
        waiting,
        st.integers(1, 12),
        group=st.sampled_from("abc"),
        deadline=st.one_of(st.just(inf), st.floats(0, 0.1)),
    ),
    max_size=40,
)
estimates = st.builds(
    Estimate,
    st.floats(0, 0.01),
    st.floats(0, 0.02),
    st.floats(0, 0.01),
    st.just(0.0),
    st.integers(0, 5),
    st.integers(0, 9),
)


@settings(max_examples=200)
@given(request_lists, estimates, st.integers(1, 10), st.floats(0, 0.05))
def test_every_request_leaves_once_in_one_group_in_order_within_the_limits(
    requests: list[WaitingRequest], estimate: Estimate, limit: int, now: float
) -> None:
    queue = queue_of(*requests)
    left: list[WaitingRequest] = []
    while queue.requests:
        oldest_alive = next((r for r in queue if r.deadline > now), None)
        batch = compose(queue, estimate=estimate, limits=Limits(limit), now=now)
        assert all(r.deadline <= now for r in batch.expired)
        assert batch.members or batch.expired, "it always makes progress"
        if batch.members:
            assert batch.members[0] is oldest_alive, "the oldest is never passed over"
            assert len({r.group for r in batch.members}) == 1
            assert batch.items == sum(r.items for r in batch.members)
            assert batch.items <= min(limit, max(2 * estimate.largest, 1)) or len(batch.members) == 1
            places = [requests.index(r) for r in batch.members]
            assert places == sorted(places)
        left += batch.members + batch.expired
    assert sorted(map(id, left)) == sorted(map(id, requests))


# Admission


def ask(
    admission: Admission,
    queue: WaitingQueue[WaitingRequest],
    *,
    items: int = 1,
    size_bytes: int = 0,
    deadline: float = inf,
    busy_s: float = 0.0,
    estimate: Estimate = KNOWN,
    now: float = 0.0,
    group: object = None,
) -> Refusal | None:
    return admission.refusal(
        queue, Candidate(now, group, items, size_bytes, deadline, now), busy_s=busy_s, estimate=estimate
    )


def spent(limits: Limits) -> Admission:
    """Return an admission whose probe of this second is spent."""
    admission = Admission(limits)
    assert ask(admission, queue_of(), busy_s=1e6, deadline=0.0) is None
    return admission


def test_the_queue_is_bounded_in_items_and_says_when_there_will_be_room() -> None:
    admission = Admission(Limits(10, max_queue_items=20))
    queue = queue_of(waiting(15), max_batch_size=10)
    assert ask(admission, queue, items=5) is None
    assert ask(admission, queue, items=6, busy_s=0.5) == Refusal("queue_items", 0.5)
    assert ask(admission, queue, items=16, busy_s=0.5) == Refusal("queue_items", about(0.52))
    assert ask(admission, queue, items=6, estimate=Estimate()) == Refusal("queue_items", 1.0)


def test_the_queue_is_bounded_in_bytes() -> None:
    admission = Admission(Limits(10, max_queue_bytes=100))
    assert ask(admission, queue_of(waiting()), size_bytes=90) is None
    refusal = ask(admission, queue_of(waiting()), size_bytes=91)
    assert refusal == Refusal("queue_bytes", 0.0)


def test_one_request_may_wait_whatever_its_size() -> None:
    admission = Admission(Limits(10, max_queue_items=20, max_queue_bytes=100))
    assert ask(admission, queue_of(), items=5000, size_bytes=5000, busy_s=3.0) is None


def test_without_a_target_or_a_deadline_only_the_bounds_refuse() -> None:
    queue = queue_of(*(waiting(100) for _ in range(50)))
    assert ask(spent(Limits(100)), queue, items=1, busy_s=1e6) is None


def test_a_request_predicted_past_the_target_is_refused_until_it_would_fit() -> None:
    admission = spent(Limits(100, max_latency_s=0.1))
    queue = queue_of(waiting(60))
    assert ask(admission, queue, items=10) is None  # 10 + 70 ms
    assert ask(admission, queue, items=10, busy_s=0.05) == Refusal("target", about(0.04))


def test_a_request_predicted_past_its_clients_deadline_is_refused() -> None:
    admission = spent(Limits(100))
    assert ask(admission, queue_of(waiting(60)), deadline=0.5, now=0.42) is None
    assert ask(admission, queue_of(waiting(60)), deadline=0.5, now=0.45) == Refusal("deadline", about(0.021))


def test_groups_behind_do_not_count_and_groups_ahead_do() -> None:
    admission = spent(Limits(100, max_latency_s=0.1))
    queue = queue_of(waiting(20, group="a"))
    queue.add(WaitingRequest(1.0, "b", 80))
    assert ask(admission, queue, group="a") is None
    assert ask(admission, queue, group="b") == Refusal("target", about(0.031))


def test_a_cold_estimator_refuses_nobody() -> None:
    queue = queue_of(*(waiting() for _ in range(5000)))
    assert ask(spent(Limits(100, max_latency_s=0.001)), queue, estimate=Estimate(), busy_s=100.0) is None


def test_while_refusing_one_probe_a_second_is_let_in() -> None:
    admission = Admission(Limits(100, max_latency_s=0.1))
    let_in = [n / 10 for n in range(35) if ask(admission, queue_of(), busy_s=5.0, now=n / 10) is None]
    assert let_in == [0.0, 1.0, 2.0, 3.0]


def test_nobody_is_refused_for_a_probe_that_will_be_late_anyway() -> None:
    admission = spent(Limits(50, max_latency_s=0.1))
    for is_probe in (False, True):
        early = WaitingRequest(-0.09)
        early.is_probe = is_probe
        queue = queue_of(early, max_batch_size=50)
        assert (ask(admission, queue) is None) == is_probe
        queue.add(WaitingRequest(-0.09))
        assert ask(admission, queue) is not None


def test_what_is_let_in_late_is_known_for_a_probe() -> None:
    admission = Admission(Limits(100, max_latency_s=0.1))
    seen = []
    for busy_s in (5.0, 5.0, 0.0):
        ask(admission, queue_of(), busy_s=busy_s)
        seen.append(admission.has_spent_probe)
    assert seen == [True, False, False]


def test_a_refusal_stands_until_it_would_fit_a_probe_is_due_or_something_changes() -> None:
    admission = spent(Limits(100, max_latency_s=0.1))
    assert admission.standing(0.0) is None
    soon, late = Refusal("target", 0.2), Refusal("target", 5.0)
    admission.stands(soon, 0.5)
    assert (admission.standing(0.69), admission.standing(0.71)) == (soon, None)
    admission.stands(late, 0.5)
    assert (admission.standing(0.99), admission.standing(1.0)) == (late, None)
    admission.stands(Refusal("queue_items", 5.0), 0.5)
    assert admission.standing(5.0) is not None
    admission.changed()
    assert admission.standing(0.6) is None


def test_what_batches_waited_for_counts_for_each_of_them() -> None:
    delays = Delays()
    for number in range(100):
        delays.between(0.01)
        delays.asked_for_slot(number, is_taken=False)
        delays.asked_for_slot(number + 0.005, is_taken=True)
    assert delays.added_to(KNOWN) == KNOWN._replace(base_s=about(KNOWN.base_s + 0.015, rel=1e-3))


def test_a_look_spends_no_probe() -> None:
    admission = Admission(Limits(100, max_latency_s=0.1))
    candidate = Candidate(0.0, None, 1, 0, inf, 0.0)
    for _ in range(3):
        assert admission.refusal(queue_of(), candidate, busy_s=5.0, estimate=KNOWN, is_probe_spent=False) is None


def test_a_target_below_one_item_refuses_nobody_and_is_told_once() -> None:
    admission = spent(Limits(100, max_latency_s=0.1))
    slow = KNOWN._replace(base_s=0.15)
    assert [admission.observe(e) for e in (KNOWN, slow, slow, KNOWN, slow)] == [False, True, False, False, True]
    assert ask(admission, queue_of(waiting(50)), busy_s=5.0, estimate=slow) is None


def test_answers_that_come_late_all_the_same_move_the_door_forward_and_others_back() -> None:
    admission = spent(Limits(100, max_latency_s=0.1))

    def knock() -> Refusal | None:
        return ask(admission, queue_of(waiting(60)), items=10, busy_s=0.009)  # 9 + 10 + 70 ms

    def narrowed(times: int, latency_s: float) -> float:
        for _ in range(times):
            refusal = knock()
            admission.answered(latency_s, arrived=0.0)
        assert refusal is not None
        return refusal.retry_after_s

    assert knock() is None
    for _ in range(4):
        admission.answered(0.098, arrived=0.0)  # less than the way to the client is left
    for _ in range(100):
        assert knock() == Refusal("target", about(0.007))
    for _ in range(100):
        admission.answered(0.09, arrived=0.0)  # only the first of them after somebody was refused
    assert narrowed(100, 0.09) == about(0.007 - 100 * 0.00001, abs=1e-5)
    assert narrowed(99, 0.06) == about(0.006 - 99 * 0.00001, abs=2e-5)
    assert narrowed(2, 0.09) == about(0.0050, abs=2e-5)
    assert narrowed(99, 0.06) == about(0.0050 - 99 * 0.00001, abs=2e-5)
    assert narrowed(3, 0.06) == about(0.0040 - 2 * 0.0002, abs=2e-5)
    for _ in range(40):
        knock()
        admission.answered(0.06, arrived=0.0)
    assert knock() is None


def test_who_was_let_in_by_a_guess_or_past_any_target_says_nothing_of_the_predictions() -> None:
    admission = spent(Limits(100, max_latency_s=0.1))

    def knock() -> Refusal | None:
        return ask(admission, queue_of(waiting(60)), items=10, busy_s=0.009)  # 9 + 10 + 70 ms

    ask(admission, queue_of(waiting(60)), estimate=KNOWN._replace(runs=15), now=0.2)
    for _ in range(20):
        admission.answered(5.0, arrived=0.1)
    assert knock() is None
    admission.observe(KNOWN._replace(base_s=0.15))
    for _ in range(20):
        admission.answered(5.0, arrived=0.3)
    admission.observe(KNOWN)
    assert knock() is None
    for _ in range(4):
        admission.answered(5.0, arrived=0.3)
    assert knock() is not None


def test_a_wide_tail_takes_at_most_half_of_the_slack() -> None:
    admission = spent(Limits(100, max_latency_s=0.1))
    noisy = KNOWN._replace(tail_s=10.0)
    assert ask(admission, queue_of(), busy_s=0.038, estimate=noisy) is None
    assert ask(admission, queue_of(), busy_s=0.048, estimate=noisy) is not None


@settings(max_examples=200)
@given(
    request_lists,
    estimates.filter(lambda e: e.runs > 0),
    st.floats(0.001, 0.3),
    st.floats(0, 0.2),
    st.sampled_from("abcd"),
    st.integers(1, 12),
)
def test_the_quick_bound_never_admits_what_the_full_judgement_refuses(
    requests: list[WaitingRequest], estimate: Estimate, target: float, busy_s: float, group: str, items: int
) -> None:
    queue = queue_of(*requests, max_batch_size=10)
    admission = spent(Limits(10, max_latency_s=target))
    if ask(admission, queue, busy_s=busy_s, estimate=estimate, group=group, items=items) is None:
        ahead = queue.ahead(group, items)
        takes = busy_s + estimate.slope_s * ahead.items + estimate.base_s * ahead.batches
        assert takes <= target + 1e-9


def test_a_running_batch_has_left_what_it_has_not_used_and_a_stall_counts_double() -> None:
    known = KNOWN._replace(tail_s=0.005)
    assert remaining_seconds(10, elapsed=0.005, estimate=known) == about(0.015)
    assert remaining_seconds(10, elapsed=0.022, estimate=known) == 0.0
    assert remaining_seconds(10, elapsed=1.025, estimate=known) == about(1.0)


# Simulated: the policy alone, against a clock that only this test moves


class Outcome(NamedTuple):
    refused: list[float]
    """When each refused request came."""
    answered: list[tuple[float, float]]
    """When each other one was answered, and how long after it came."""


def simulate(
    *, gaps_s: Iterator[float], service_s: Callable[[int, int], float], target_s: float, until: float, limit: int = 100
) -> Outcome:
    """Offer requests ``gaps_s`` apart to one API whose run number `r` of `n` items takes ``service_s(r, n)``."""
    limits = Limits(limit, max_latency_s=target_s)
    admission, estimator = Admission(limits), Estimator()
    queue: WaitingQueue[WaitingRequest] = WaitingQueue(max_batch_size=limit)
    outcome = Outcome([], [])
    batch: Batch[WaitingRequest] | None = None
    started = finishes = now = 0.0
    runs = 0
    while now < until:
        now += next(gaps_s)
        start_at = finishes
        while True:
            if batch is not None and finishes <= now:
                outcome.answered.extend((finishes, finishes - member.arrived) for member in batch.members)
                estimator.observe(batch.items, finishes - started)
                admission.observe(estimator.estimate)
                if (oldest := next((m for m in batch.members if not m.is_probe), None)) is not None:
                    admission.answered(finishes - oldest.arrived, arrived=oldest.arrived)
                start_at, batch = finishes, None
            if batch is not None or not queue.requests:
                break
            batch = compose(queue, estimate=estimator.estimate, limits=limits, now=start_at)
            started, finishes = start_at, start_at + service_s(runs, batch.items)
            runs += 1
        left, estimate = 0.0, estimator.estimate
        arriving = WaitingRequest(now)
        if batch is not None:
            left = remaining_seconds(batch.items, elapsed=now - started, estimate=estimate)
            if ask(admission, queue, busy_s=left, estimate=estimate, now=now) is not None:
                outcome.refused.append(now)
                continue
            arriving.is_probe = admission.has_spent_probe
        queue.add(arriving)
        if batch is None:
            batch = compose(queue, estimate=estimate, limits=limits, now=now)
            started, finishes = now, now + service_s(runs, batch.items)
            runs += 1
    return outcome


@settings(max_examples=30)
@given(outlier_at=st.integers(0, 400), outlier_s=st.floats(0.05, 3.0), load=st.floats(0.1, 0.7))
def test_after_any_single_outlier_refusals_end_within_five_seconds_below_saturation(
    outlier_at: int, outlier_s: float, load: float
) -> None:
    # T(n) = 10 ms + 1 ms·n, target 100 ms: about 600 a second can be had in time
    def service_s(run: int, items: int) -> float:
        return outlier_s if run == outlier_at else 0.01 + 0.001 * items

    refused = simulate(gaps_s=repeat(1 / (600 * load)), service_s=service_s, target_s=0.1, until=20.0).refused
    if refused:
        assert refused[-1] - refused[0] < outlier_s + 5.0


def test_a_model_slower_than_its_target_answers_every_request_of_one_client() -> None:
    outcome = simulate(gaps_s=repeat(0.2), service_s=lambda run, items: 0.15, target_s=0.1, until=20.0)
    assert outcome.refused == []


def test_a_slow_first_call_locks_nobody_out() -> None:
    outcome = simulate(
        gaps_s=repeat(0.01), service_s=lambda run, items: 30.0 if run == 0 else 0.002, target_s=0.05, until=40.0
    )
    backlog_is_gone = 30.1  # 3000 requests had gathered behind it
    assert [now for now in outcome.refused if not 30.0 < now < backlog_is_gone] == []


@pytest.mark.parametrize("overload", [2, 4, 10])
@pytest.mark.parametrize("noise", [0.0, 0.2], ids=["steady", "noisy"])
def test_under_overload_what_is_accepted_is_in_time_and_the_api_does_all_it_can(overload: int, noise: float) -> None:
    rng = random.Random(overload)
    saturation = 64 / ((0.05 + 0.064) * (1 + noise / 2))
    outcome = simulate(
        gaps_s=iter(lambda: rng.expovariate(saturation * overload), None),
        service_s=lambda run, items: (0.05 + 0.001 * items) * (1 + noise * rng.random()),
        target_s=0.3,
        until=25.0,
        limit=64,
    )
    settled = sorted(latency for finished, latency in outcome.answered if finished > 5)
    assert settled[int(0.99 * len(settled))] <= 0.3
    assert sum(latency <= 0.3 for latency in settled) / 20 >= 0.95 * saturation
