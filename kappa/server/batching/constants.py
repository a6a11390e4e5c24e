"""The tuning constants of batching, all of them: value, unit, meaning, and what set it.

`make bench-ablation` shows what each mechanism is worth; *measured* says what an experiment showed when the value was
chosen. A constant without a source is a round number to which nothing is sensitive.
"""

from __future__ import annotations

__all__: list[str] = []

SMOOTHING = 0.1
"""Share: how much of a moving average the newest value makes, so it follows the last ten."""

# Estimate of T(n)

HALF_LIFE_RUNS = 200
"""Runs: after how many a run counts half; also how many residuals are kept for quantiles."""
EARLY_RUNS = 16
"""Runs: fitted by the median of slopes, which one outlier cannot move, before residuals exist to weigh them by; also
from how many on a prediction is more than a guess."""
HUBER_SPREADS = 3.0
"""Spreads of the recent residuals: from where on a run's weight falls (Huber, 1964)."""
LEAST_SPREAD = 1e-9
"""Relative variance: sizes below it are one size, which says nothing about the slope."""

# Regrouping: the wait for clients to return

HALF_RETURN_SHARE = 0.2
"""Calls: how long half of the clients are waited for (measured: 4 to 16 clients keep their rate)."""
HALF_RETURN_WAIT_S = 0.001
"""Seconds: the longest wait for half of the clients."""
RETURN_CALLS = 4
"""Calls: all clients are waited for where their way back takes less, and the first of them for as long (measured: 1.2
times the rate at 16 connections, 0.9 times at 64, whose way back takes ten calls)."""
FIRST_RETURN_WAIT_S = 0.002
"""Seconds: the longest wait for the first client to return."""
RETURN_WAIT_WAYS = 4
"""Ways back: how long a wait for all lasts at least from each return on."""
FIRST_RETURN_S = 0.0001
"""Seconds: the way back of one client, until it is learned."""
RETURN_TRIAL_RUNS = 16
"""Runs: how often clients that have not returned together are waited for all the same, as a trial."""
COHORT_DECAY = 0.1
"""Share: how quickly the most that were there at once are forgotten."""
COHORT_CAP_RUNS = 32
"""Runs: how long a wait that did not bring all of it caps the cohort."""

# Admission: the margin kept free before the latency target

LATE = 0.97
"""Share of the target: answers after it are late; the rest is for the way from the client and back, which is not seen
here."""
LATE_BATCHES = 0.005
"""Share of batches that may be late: how much smaller a step back is than a step forward (Robbins & Monro, 1951)."""
MARGIN_STEP = 0.02
"""Share of the target: by how much one late batch widens the margin."""
FIRST_MARGIN = 0.1
"""Share of the target: the margin before anything is learned."""
LEAST_MARGIN = 0.05
"""Share of the target: the narrowest margin."""
MOST_MARGIN = 0.4
"""Share of the target: the widest margin."""
EARLY = 0.7
"""Share of the target: answers before it are early."""
EARLY_BATCHES = 100
"""Batches: after so many early ones in a row the margin narrows faster; fast and slow times of a machine last for
dozens."""
EARLY_SPEED_UP = 20
"""Times: how much faster it then narrows."""
PROBE_EVERY_S = 1.0
"""Seconds: how often a request is admitted that is predicted to be late, so a wrong estimate heals."""

GROUPS_COMPARED = 16
"""Groups: with more of them waiting, all that waits counts as ahead of a request (PERF: without a walk over them)."""
MARKED_REQUESTS = 64
"""Requests: how many that have left a line may hold, beside as many as wait in it."""

# Placer: thread, event loop, or thread while the loop is paused

LOOP_RUNS = 50
"""Runs: how many are needed before a function may run on the event loop."""
LOOP_BATCH_S = 0.001
"""Seconds: the p99 of a batch that may run on the loop; also the shortest run from which pausing is learned."""
SLOW_RUN_S = 0.005
"""Seconds: a run beyond it is slow."""
STEADY_RUNS = 200
"""Runs: how many in a row must not have been slow before a batch runs on the loop."""
FIRST_LOOP_BAN_S = 0.25
"""Seconds: how long a slow run on the loop sends the function back to its thread, if it is the only one in a while: the
machine was busy, then (measured beside two busy processes: 10 s for each left a short function in its thread for good,
where a request of one client took 960 µs in place of 400)."""
LAST_LOOP_BAN_S = 10.0
"""Seconds: how long at most; doubled each time that the function is slow again soon."""
SOON_BANS = 4
"""Bans: a slow run within so many after the last is soon."""
PAUSE_S = 0.05
"""Seconds: the longest pause of the event loop for one batch."""
COMPUTING_SHARE = 0.9
"""Share of a run's time: a function whose thread computes for longer competes for the GIL, and is worth pausing for."""
COMPARED_RUNS = 20
"""Runs: how many of each way are compared before the usual way changes."""
CLEAR_RUNS = 5
"""Runs: how many are enough where the difference is clear."""
CLEAR_TIMES = 1.5
"""Times: from which difference on it is clear."""
WORTH_CHANGING_TIMES = 1.05
"""Times: from which difference on the usual way changes."""
STALLED_TIMES = 3.0
"""Times the expected duration: what takes longer was stalled by something else, and counts no more than this."""
RUNS_BETWEEN_TRIALS = 4
"""Runs: between two trials without the pause; several long runs in a row would delay all behind them."""
FIRST_TRIAL_S = 1.0
"""Seconds: after which the other way is tried again; doubled while that changes nothing."""
LAST_TRIAL_S = 16.0
"""Seconds: the longest time between two trials."""

# Execution

HANDOVER_WAIT_S = 0.001
"""Seconds: how long the loop, while answers wait to be written, releases the GIL until the thread has taken a batch
(measured at 256 connections: 3 % more requests)."""

# Slots

SLOT_PATIENCE_S = 1.0
"""Seconds: when a request without a latency target is due, where several APIs share a processor."""

# Failures

SEARCHES_AT_ONCE = 2
"""Searches: from how many failed batches on their parts no longer take turns with healthy batches."""
BROKEN_FAILURES = 3
"""Failures of requests run alone: how many a broken function has at least."""
BROKEN_AFTER_S = 10.0
"""Seconds without any success: after which a function counts as broken."""

# Saturation

SATURATION_MEMORY_S = 5.0
"""Seconds: the time constant of the saturation ratio."""

# Driving

LOOK_EVERY_S = 0.25
"""Seconds: the interval at which a batcher records the lag of the event loop, and looks for runs that take too long."""
