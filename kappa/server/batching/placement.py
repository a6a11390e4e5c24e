"""Where the next batch runs: from what was learned of the function, and nothing else."""

from __future__ import annotations

from collections import deque
from math import inf
from statistics import fmean

from kappa.server.batching.estimator import Estimate

__all__ = ["Placement"]

_STILL_S = 0.05
_COMPARED_RUNS = 20
_CLEAR_RUNS = 5
_CLEAR = 1.5
_BETWEEN_PROBES = 4
_STALLED = 3.0
_FIRST_PROBE_S = 1.0
_LAST_PROBE_S = 16.0
_WORTH_CHANGING = 1.05


class Placement:
    """Decides where the next batch runs: in the API's thread, or on the event loop.

    The loop saves the hand-over to a thread (42–65 µs), and is only for a function that is known (50 runs), fast (p99
    of the next batch under 1 ms) and steady (none of the last 200 passed 5 ms); one slow run there sends it back to its
    thread for 10 s.

    In the thread, a function that computes in Python takes turns with the loop for Python's lock, at a switch interval
    for each time that either lets go of it; when the loop is busy, both come to a crawl. The loop may then *give way*:
    it stands still for as long as the run is expected to take. Whether that is worth it is tried out while requests
    wait, by the time from the beginning of a run to that of the next: what the loop does not do during the one it has
    to do between the two. Twenty runs are done the other way, or five if it is clear by then; a second later again, and
    while that changes nothing, after twice as long each time, up to 16 seconds. Only functions that compute are treated
    so. (Measured with a random forest of 100 trees at its saturation and at twice that: 1.3 to 1.9 times as much is
    answered in time; at three times 0.9 and 1.3.)
    """

    __slots__ = (
        "_banned_until",
        "_is_computing",
        "_last",
        "_next_probe",
        "_other",
        "_probe_after_s",
        "_steady_runs",
        "_usual",
        "_usual_runs",
        "gives_way",
    )

    def __init__(self) -> None:
        self._banned_until = -inf
        self._steady_runs = 200  # nothing slow was seen yet
        self._is_computing = False
        self.gives_way = False
        """Whether the event loop usually stands still while a batch runs in the thread."""
        self._last: tuple[float, float, bool] | None = None
        """Of the last run: how long it took and was expected to, and whether it was given way."""
        self._usual: deque[float] = deque(maxlen=_COMPARED_RUNS)
        self._other: list[float] = []
        self._usual_runs = 0
        self._next_probe = -inf
        self._probe_after_s = _FIRST_PROBE_S

    def observe(
        self,
        seconds: float,
        *,
        expected_s: float,
        cpu_s: float,
        pause_s: float | None,
        was_on_loop: bool,
        was_given_way: bool,
        now: float,
    ) -> None:
        """Take note of one run that took ``seconds``, of which its thread computed for ``cpu_s``.

        It began ``pause_s`` after the end of the last one, if somebody waited all that time.
        """
        last, self._last = self._last, None
        if last is not None and pause_s is not None:
            took_s, last_expected_s, was_last_given_way = last
            self._compare((took_s + pause_s) / last_expected_s, was_given_way=was_last_given_way, now=now)
        if seconds > 0.001 and expected_s > 0 and not was_on_loop:
            self._is_computing = self._is_computing or cpu_s > 0.9 * seconds
            self._last = seconds, expected_s, was_given_way
            self._usual_runs = self._usual_runs + 1 if was_given_way is self.gives_way else 0
        if seconds <= 0.005:
            self._steady_runs += 1
            return
        self._steady_runs = 0
        if was_on_loop:
            self._banned_until = now + 10.0

    def _compare(self, stretch: float, *, was_given_way: bool, now: float) -> None:
        """Learn from a run that was followed by the next after ``stretch`` times as long as runs are expected to take.

        What takes more than three times as long was stalled by something else, and counts no more than that.
        """
        stretch = min(stretch, _STALLED)
        if was_given_way is self.gives_way:
            self._usual.append(stretch)
            return
        self._other.append(stretch)
        usual, other = fmean(self._usual or self._other), fmean(self._other)
        is_clear = not 1 / _CLEAR < usual / other < _CLEAR
        if len(self._other) < (_CLEAR_RUNS if is_clear else _COMPARED_RUNS):
            return
        if usual > _WORTH_CHANGING * other:
            self.gives_way, self._probe_after_s = not self.gives_way, _FIRST_PROBE_S
            self._usual.clear()
            self._usual.extend(self._other)
        else:
            self._probe_after_s = min(2 * self._probe_after_s, _LAST_PROBE_S)
        self._other.clear()
        self._next_probe = now + self._probe_after_s

    def is_loop_fit(self, items: int, *, estimate: Estimate, now: float) -> bool:
        """Return whether a batch of ``items`` is sure enough to be gone before anybody notices."""
        return (
            estimate.runs >= 50
            and estimate.seconds(items) + estimate.far_tail_s < 0.001
            and self._steady_runs >= 200
            and now >= self._banned_until
        )

    def patience_s(self, items: int, *, estimate: Estimate, now: float) -> float:
        """Return for how long the event loop is to stand still for a batch in the thread; 0: not at all."""
        is_probed = len(self._usual) >= _CLEAR_RUNS and now >= self._next_probe
        if self.gives_way and self._usual_runs < _BETWEEN_PROBES:
            is_probed = False  # several long runs in a row would make all behind them late
        if not self._is_computing or self.gives_way is is_probed:
            return 0.0
        return min(estimate.seconds(items) + estimate.tail_s, _STILL_S)
