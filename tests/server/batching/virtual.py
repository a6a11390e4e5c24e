"""Virtual time: an event loop and a driver of dispatchers whose clock jumps to whatever is due next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any

from kappa.server.batching.dispatcher import Dispatcher, Renew
from kappa.server.batching.outcomes import ExpiredError, RefusedError
from kappa.server.batching.regrouping import Regroup
from kappa.server.batching.runs import Request, Run


class Selector(selectors.SelectSelector):
    """Looks at no socket; moves the time on when there is nothing else to do."""

    loop: VirtualLoop

    def select(self, timeout: Any = None) -> Any:
        self.loop.idle_turns += 1
        if timeout != 0:
            self.loop.move_on()
        elif self.loop.idle_turns > 16:  # somebody only asks for one turn after the other
            self.loop.move_on(self.loop.until())
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which nothing takes time but waiting.

    ``until`` says how long somebody asks for one turn after the other, as a batcher does instead of setting a timer.
    """

    def __init__(self) -> None:
        selector = Selector()
        selector.loop = self
        super().__init__(selector)
        self.until: Callable[[], float] = lambda: inf
        self.idle_turns = 0
        self._now = 0.0
        self._due: list[float] = []

    def time(self) -> Any:
        return self._now

    def call_at(self, when: float, *args: Any, **options: Any) -> Any:  # type: ignore[override] # takes all that it does
        heappush(self._due, when)
        return super().call_at(when, *args, **options)

    def move_on(self, until: float = inf) -> None:
        while self._due and self._due[0] <= self._now:
            heappop(self._due)
        self._now = max(self._now, min(until, self._due[0] if self._due else inf))
        assert self._now < inf, "everybody waits for ever"
        self.idle_turns = 0


class Clock:
    """Calls back at the times asked for; while the event loop is blocked, at the end of that."""

    def __init__(self) -> None:
        self.now = 0.0
        self.blocked_until = 0.0
        self._events: list[tuple[float, int, Callable[[], Any]]] = []
        self._numbers = count()

    def at(self, when: float, call: Callable[[], Any]) -> None:
        heappush(self._events, (when, next(self._numbers), call))

    def soon(self, call: Callable[[], Any]) -> None:
        self.at(self.now, call)

    def run(self, *, most_events: int = 100_000) -> None:
        for _ in range(most_events):
            if not self._events:
                return
            when, _, call = heappop(self._events)
            self.now = max(self.now, when, self.blocked_until)
            call()
        raise AssertionError("it never ends")


class Outcome:
    """How one request ended."""

    def __init__(self) -> None:
        self.ends: list[Any] = []
        self.has_left = False

    def done(self) -> bool:
        return self.has_left or bool(self.ends)

    def set_result(self, result: Any) -> None:
        self.ends.append(result)

    def set_exception(self, error: Exception) -> None:
        self.ends.append(error)


class Driver:
    """Drives one dispatcher as the server does, with a function that takes ``seconds_of`` a number of items."""

    def __init__(
        self, clock: Clock, function: Callable[[Sequence[Any]], Any], seconds_of: Callable[[int], float], **options: Any
    ) -> None:
        self.clock = clock
        self.runs: list[Run[Any, Any]] = []
        self.running = 0
        self._function = function
        self._seconds_of = seconds_of
        self.dispatcher: Dispatcher[Any, Any] = Dispatcher(wake=lambda: clock.soon(self.turn), renews=True, **options)

    def put(self, item: Any, *, deadline: float = inf, group: Any = None, items: int = 1) -> tuple[Any, Outcome]:
        request: Request[Any, Any] = Request(self.clock.now, group, items, 1, deadline)
        request.item, request.outcome = item, (outcome := Outcome())
        try:
            self.dispatcher.put(request, self.clock.now)
        except (RefusedError, ExpiredError) as exc:
            outcome.set_exception(exc)
        else:
            if self.dispatcher.room:
                self.clock.soon(self.turn)
        return request, outcome

    def turn(self) -> None:
        while self.dispatcher.room:
            decision = self.dispatcher.turn(self.clock.now)
            if isinstance(decision, Renew):
                self.clock.at(self.clock.now + 0.001, partial(self._renewed, [member.item for member in decision.part]))
            elif isinstance(decision, Run):
                self._start(decision)
                if decision.placement != "thread":
                    return
            else:
                if isinstance(decision, Regroup) and decision.until < inf:
                    self.clock.at(decision.until, self.turn)
                return

    def _renewed(self, items: list[Any]) -> None:
        self.dispatcher.renewed(items)
        self.turn()

    def _start(self, run: Run[Any, Any]) -> None:
        now = self.clock.now
        self.runs.append(run)
        self.running += 1
        run.started, run.finished = now, now + self._seconds_of(run.items)
        try:
            run.results = self._function([member.item for member in run.members])
        except Exception as exc:  # noqa: BLE001 - a function may raise anything
            run.error = exc
        self.clock.at(run.finished, partial(self._finished, run))
        if run.placement == "loop":
            self.clock.blocked_until = run.finished
        elif run.placement == "paused":
            self.clock.blocked_until = min(run.finished, now + run.pause_s)
            self.dispatcher.loop_paused(now)
            self.clock.at(run.finished, partial(self.clock.soon, self.dispatcher.input_read))

    def _finished(self, run: Run[Any, Any]) -> None:
        self.running -= 1
        if run.is_overdue:
            return
        is_answered_first = self.dispatcher.finished(run, self.clock.now)
        if not is_answered_first:
            self.turn()
        if run.error is None:
            for member, result in zip(run.members, run.results, strict=True):
                if not member.outcome.done():
                    member.outcome.set_result(result)
        if (arrived := self.dispatcher.to_learn_from(run)) is not None:
            self.clock.soon(lambda: self.dispatcher.answered(arrived, self.clock.now))
        if run.regroup is not None:
            self.clock.soon(partial(self._answers_written, run))
        elif is_answered_first:
            self.clock.soon(self.turn)

    def _answers_written(self, run: Run[Any, Any]) -> None:
        assert run.regroup is not None
        if self.dispatcher.answers_written(run.regroup, self.clock.now):
            self.turn()
