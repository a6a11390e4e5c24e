from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kappa.server.batching.queue import Ahead, WaitingQueue, WaitingRequest


class QueueAgainstAList(RuleBasedStateMachine):
    """The queue does what a plain list does, with any mixture of arrivals, departures and groups."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: WaitingQueue[WaitingRequest] = WaitingQueue(max_batch_size=4)
        self.model: list[WaitingRequest] = []
        self.time = 0.0

    @rule(group=st.integers(0, 3), items=st.integers(1, 9), size=st.integers(0, 100))
    def add(self, group: int, items: int, size: int) -> None:
        self.time += 1
        request = WaitingRequest(self.time, group, items, size)
        self.queue.add(request)
        self.model.append(request)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        request = self.model.pop(data.draw(st.integers(0, len(self.model) - 1)))
        self.queue.remove(request)

    @rule(count=st.integers(0, 200))
    def a_crowd_comes_and_goes(self, count: int) -> None:
        crowd = [WaitingRequest(self.time, "crowd") for _ in range(count)]
        for request in crowd:
            self.queue.add(request)
        for request in crowd:
            self.queue.remove(request)

    @invariant()
    def agrees(self) -> None:
        queue, model = self.queue, self.model
        assert list(queue) == model
        assert queue.oldest() is (model[0] if model else None)
        assert (queue.requests, queue.items, queue.size_bytes) == (
            len(model),
            sum(r.items for r in model),
            sum(r.size_bytes for r in model),
        )
        assert queue.groups == len({r.group for r in model})
        for group in range(4):
            assert queue.head(group) is next((r for r in model if r.group == group), None)
        assert len(queue._line) <= 2 * len(model) + 64, "those that left are not kept for ever"


TestQueueAgainstAList = QueueAgainstAList.TestCase
TestQueueAgainstAList.settings = settings(max_examples=40, stateful_step_count=30)


def queue_of(*requests: tuple[str, int]) -> WaitingQueue[WaitingRequest]:
    queue: WaitingQueue[WaitingRequest] = WaitingQueue(max_batch_size=10)
    for arrived, (group, items) in enumerate(requests):
        queue.add(WaitingRequest(float(arrived), group, items))
    return queue


def test_ahead_of_a_request_are_older_groups_and_its_own() -> None:
    queue = queue_of(("a", 3), ("b", 4), ("a", 2), ("c", 12))
    assert queue.ahead("a", 1) == Ahead(items=6, batches=1, since=0.0)
    assert queue.ahead("b", 1) == Ahead(items=5 + 5, batches=2, since=1.0)
    assert queue.ahead("c", 1) == Ahead(items=13 + 5 + 4, batches=4, since=3.0)
    assert queue.ahead("new", 1) == Ahead(items=1 + 5 + 4 + 12, batches=5)


def test_a_group_that_fills_more_than_a_batch_counts_as_behind_all_others() -> None:
    assert queue_of(("a", 9), ("b", 4)).ahead("a", 2) == Ahead(items=11 + 4, batches=3, since=0.0)


def test_in_one_group_all_of_it_is_ahead_in_full_batches() -> None:
    assert queue_of(("a", 9), ("a", 9), ("a", 9)).ahead("a", 4) == Ahead(items=31, batches=4, since=2.0)


def test_a_newcomer_joins_the_last_batch_of_its_group_or_opens_another() -> None:
    queue = queue_of(*(("a", 1) for _ in range(25)))
    assert queue.ahead("a", 1) == Ahead(items=26, batches=3, since=20.0)
    queue = queue_of(*(("a", 1) for _ in range(20)))
    assert queue.ahead("a", 1) == Ahead(items=21, batches=3, room=9)
    assert queue.ahead("b", 1) == Ahead(items=21, batches=3)


def test_of_very_many_groups_no_walk_is_made() -> None:
    queue = queue_of(*((f"g{n}", 1) for n in range(50)))
    assert queue.ahead("g0", 1) == Ahead(items=51, batches=50, since=0.0)
