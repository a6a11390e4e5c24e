"""The placement of the next batch, learned from the function's runs."""

from __future__ import annotations

from collections import deque
from math import inf
from statistics import fmean
from typing import Literal, NamedTuple

from kappa.server.batching.constants import (
    CLEAR_RUNS,
    CLEAR_TIMES,
    COMPARED_RUNS,
    COMPUTING_SHARE,
    FIRST_LOOP_BAN_S,
    FIRST_TRIAL_S,
    LAST_LOOP_BAN_S,
    LAST_TRIAL_S,
    LOOP_BATCH_S,
    LOOP_RUNS,
    PAUSE_S,
    RUNS_BETWEEN_TRIALS,
    SLOW_RUN_S,
    SOON_BANS,
    STALLED_TIMES,
    STEADY_RUNS,
    WORTH_CHANGING_TIMES,
)
from kappa.server.batching.estimator import Estimate

__all__ = ["Placement", "Placer"]

Placement = Literal["thread", "loop", "paused", "task"]
"""Where a batch runs: in a thread of its API (``thread``), on the event loop (``loop``), in the thread while the event
loop is paused (``paused``), or, if it is `async def`, in a task on the event loop (``task``)."""


class _LastRun(NamedTuple):
    seconds: float
    expected_s: float
    was_paused: bool


class Placer:
    """Decides where the next batch of one API runs.

    *On the loop*, which saves the hand-over to a thread (42-65 µs): only a function that is known (50 runs), fast (p99
    of the next batch under 1 ms) and steady (none of the last 200 passed 5 ms). A slow run there sends it back to its
    thread for 0.25 s, and for twice as long each time that another follows soon, up to 10 s.

    *With the loop paused.* In the thread, a function that computes in Python competes with the loop for the GIL: each
    hand-over costs up to one switch interval (5 ms), so under load both slow down. The loop may then pause for as long
    as the run is expected to take. Whether that is worth it is tried while requests wait, by the time from the start of
    a run to the start of the next: what the loop does not do during one it has to do between the two. Twenty runs are
    done the other way, or five if it is clear by then; a second later again, and while that changes nothing, after
    twice as long each time, up to 16 seconds. Only functions that compute are treated so. (Measured with a random
    forest of 100 trees at its saturation and at twice that: 1.3 to 1.9 times as many answers in time; at three times
    0.9 and 1.3.)
    """

    __slots__ = (
        "_ban_s",
        "_banned_until",
        "_is_computing",
        "_last",
        "_may_pause",
        "_may_run_on_loop",
        "_next_trial",
        "_other",
        "_steady_runs",
        "_trial_after_s",
        "_usual",
        "_usual_runs",
        "usually_pauses",
    )

    def __init__(self, *, may_run_on_loop: bool = False, may_pause: bool = False) -> None:
        self._may_run_on_loop = may_run_on_loop
        self._may_pause = may_pause
        self._banned_until = -inf
        self._ban_s = FIRST_LOOP_BAN_S
        self._steady_runs = STEADY_RUNS  # nothing slow was seen yet
        self._is_computing = False
        self.usually_pauses = False
        """Whether the event loop usually pauses while a batch runs in the thread."""
        self._last: _LastRun | None = None
        self._usual: deque[float] = deque(maxlen=COMPARED_RUNS)
        self._other: list[float] = []
        self._usual_runs = 0
        self._next_trial = -inf
        self._trial_after_s = FIRST_TRIAL_S

    @property
    def placements(self) -> frozenset[Placement]:
        """Where batches may run."""
        allowed: dict[Placement, bool] = {"thread": True, "loop": self._may_run_on_loop, "paused": self._may_pause}
        return frozenset(placement for placement, is_allowed in allowed.items() if is_allowed)

    def choose(self, items: int, *, is_suspect: bool, estimate: Estimate, now: float) -> tuple[Placement, float]:
        """Return where a run of ``items`` that starts now is made, and how long the loop pauses for it at most.

        A part of a failed batch never runs on the loop.
        """
        if self._may_run_on_loop and not is_suspect and self.is_loop_fit(items, estimate=estimate, now=now):
            return "loop", 0.0
        if self._may_pause and (pause_s := self.pause_s(items, estimate=estimate, now=now)):
            return "paused", pause_s
        return "thread", 0.0

    def wants_cpu(self, items: int, *, estimate: Estimate) -> bool:
        """Return whether `observe` wants to know how long the thread of such a run computes (PERF: 2 µs to measure)."""
        return (
            self._may_pause and not self._is_computing and estimate.seconds(items) + estimate.far_tail_s > LOOP_BATCH_S
        )

    def blocks_loop(self, items: int, *, estimate: Estimate, now: float) -> bool:
        """Return whether the event loop will do nothing else while a batch of ``items`` runs."""
        return (self._may_run_on_loop and self.is_loop_fit(items, estimate=estimate, now=now)) or (
            self._may_pause and self.usually_pauses
        )

    def is_loop_fit(self, items: int, *, estimate: Estimate, now: float) -> bool:
        """Return whether a batch of ``items`` is certain enough to be over within a millisecond."""
        return (
            estimate.runs >= LOOP_RUNS
            and estimate.seconds(items) + estimate.far_tail_s < LOOP_BATCH_S
            and self._steady_runs >= STEADY_RUNS
            and now >= self._banned_until
        )

    def pause_s(self, items: int, *, estimate: Estimate, now: float) -> float:
        """Return how long the event loop pauses at most for a batch in the thread; 0: not at all."""
        is_trial = len(self._usual) >= CLEAR_RUNS and now >= self._next_trial
        if self.usually_pauses and self._usual_runs < RUNS_BETWEEN_TRIALS:
            is_trial = False
        if not self._is_computing or self.usually_pauses is is_trial:
            return 0.0
        return min(estimate.seconds(items) + estimate.tail_s, PAUSE_S)

    def observe(
        self, seconds: float, *, placement: Placement, expected_s: float, cpu_s: float, gap_s: float | None, now: float
    ) -> None:
        """Learn from a run that took ``seconds``, of which its thread computed for ``cpu_s``.

        It started ``gap_s`` after the end of the last one; None if no request waited all that time.
        """
        last, self._last = self._last, None
        if last is not None and gap_s is not None:
            self._compare((last.seconds + gap_s) / last.expected_s, was_paused=last.was_paused, now=now)
        if seconds > LOOP_BATCH_S and expected_s > 0 and placement != "loop":
            self._is_computing = self._is_computing or cpu_s > COMPUTING_SHARE * seconds
            was_paused = placement == "paused"
            self._last = _LastRun(seconds, expected_s, was_paused)
            self._usual_runs = self._usual_runs + 1 if was_paused is self.usually_pauses else 0
        if seconds <= SLOW_RUN_S:
            self._steady_runs += 1
            return
        self._steady_runs = 0
        if placement == "loop":
            is_soon = now < self._banned_until + SOON_BANS * self._ban_s
            self._ban_s = min(2 * self._ban_s, LAST_LOOP_BAN_S) if is_soon else FIRST_LOOP_BAN_S
            self._banned_until = now + self._ban_s

    def _compare(self, stretch: float, *, was_paused: bool, now: float) -> None:
        """Learn from a run that was followed by the next after ``stretch`` times its expected duration."""
        stretch = min(stretch, STALLED_TIMES)
        if was_paused is self.usually_pauses:
            self._usual.append(stretch)
            return
        self._other.append(stretch)
        usual, other = fmean(self._usual or self._other), fmean(self._other)
        is_clear = not 1 / CLEAR_TIMES < usual / other < CLEAR_TIMES
        if len(self._other) < (CLEAR_RUNS if is_clear else COMPARED_RUNS):
            return
        if usual > WORTH_CHANGING_TIMES * other:
            self.usually_pauses, self._trial_after_s = not self.usually_pauses, FIRST_TRIAL_S
            self._usual.clear()
            self._usual.extend(self._other)
        else:
            self._trial_after_s = min(2 * self._trial_after_s, LAST_TRIAL_S)
        self._other.clear()
        self._next_trial = now + self._trial_after_s
