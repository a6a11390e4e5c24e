"""Where the next batch runs: from what was learned of the function, and nothing else."""

from __future__ import annotations

from math import inf

from kappa.server.batching.estimator import Estimate

__all__ = ["Placement"]

_STILL_S = 0.05
_HELD_UP_BELOW = 0.8
_FIRST_PROBE_S = 1.0
_LAST_PROBE_S = 32.0


class Placement:
    """Decides where the next batch runs: in the API's thread, or on the event loop.

    The loop saves the hand-over to a thread (42–65 µs), and is only for a function that is known (50 runs), fast (p99
    of the next batch under 1 ms) and steady (none of the last 200 passed 5 ms); one slow run there sends it back to its
    thread for 10 s.

    In the thread, a function that computes in Python takes turns with the loop for Python's lock, at a switch interval
    for each time that either lets go of it; when the loop is busy, both come to a crawl (measured: a random forest of
    100 trees takes twice as long, and at half its saturation two of three requests miss a target of 100 ms). Such a
    function is known by its thread: alone it computes all the time that it takes, and now it does not. The loop then
    gives way: it stands still for as long as the run is expected to take. A second later it does not, to see whether
    that is still better; while it is, it looks again after twice as long each time, up to 32 seconds: that one run
    makes all behind it late.
    """

    __slots__ = ("_banned_until", "_computed_share", "_is_computing", "_next_probe", "_probe_after_s", "_steady_runs")

    def __init__(self) -> None:
        self._banned_until = -inf
        self._steady_runs = 200  # nothing slow was seen yet
        self._is_computing = False
        self._computed_share = 1.0
        self._next_probe = -inf
        self._probe_after_s = _FIRST_PROBE_S

    def observe(self, seconds: float, *, cpu_s: float, was_on_loop: bool, was_given_way: bool, now: float) -> None:
        """Take note of one run that took ``seconds``, of which its thread computed for ``cpu_s``."""
        if seconds > 0.001 and not (was_on_loop or was_given_way):
            share = cpu_s / seconds
            self._is_computing = self._is_computing or share > 0.9
            self._computed_share += 0.2 * (share - self._computed_share)
            if share > _HELD_UP_BELOW:
                self._next_probe, self._probe_after_s = -inf, _FIRST_PROBE_S
        if seconds <= 0.005:
            self._steady_runs += 1
            return
        self._steady_runs = 0
        if was_on_loop:
            self._banned_until = now + 10.0

    def is_loop_fit(self, items: int, *, estimate: Estimate, now: float) -> bool:
        """Return whether a batch of ``items`` is sure enough to be gone before anybody notices."""
        return (
            estimate.runs >= 50
            and estimate.seconds(items) + estimate.far_tail_s < 0.001
            and self._steady_runs >= 200
            and now >= self._banned_until
        )

    @property
    def is_held_up(self) -> bool:
        """Whether the function and the event loop fight for Python's lock."""
        return self._is_computing and self._computed_share <= _HELD_UP_BELOW

    def patience_s(self, items: int, *, estimate: Estimate, now: float) -> float:
        """Return for how long the event loop is to stand still for a batch in the thread; 0: not at all."""
        if not self.is_held_up:
            return 0.0
        if now >= self._next_probe:
            self._next_probe = now + self._probe_after_s
            self._probe_after_s = min(2 * self._probe_after_s, _LAST_PROBE_S)
            return 0.0
        return min(estimate.seconds(items) + estimate.tail_s, _STILL_S)
