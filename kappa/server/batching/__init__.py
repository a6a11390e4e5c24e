"""Adaptive batching: requests that wait at the same time share one call of the function.

`dispatcher` decides and is pure: no event loop, no thread, no clock. The asyncio front `batcher` drives it, and so does
the simulator of `kappa tune`: the same arrivals by the same clock give the same batches. Its parts are `queue`,
`policy` (what leaves together), `regrouping`, `placement`, `admission`, `isolation`, `estimator` and `slots`; every
tuning constant is in `constants`. `execution` runs what was decided.

Words:

=============== =================================================================================================
request         What waits for an answer; it counts as a number of *items* (rows of frames, else 1).
group           What may be merged into one call: requests of equal columns and dtypes.
batch           The requests of one group that leave the queue together.
run             One call of the function: for a batch, or for a part of a failed one.
turn            The moment at the end of a turn of the event loop at which it is decided what runs next.
T(n)            How long a run of `n` items takes: `slope · n + base`; the *tail* is the p95 of what it takes beyond.
target          `max_latency_ms`: who would be answered later is refused, unless the API is idle.
margin          What is kept free before the target, learned from how late answers are.
probe           A request that is admitted though it will be late, once a second, so that a wrong estimate heals.
regrouping      After a batch: the wait until its clients have asked again. The *cohort* is all who lately were there
                at once.
placement       Where a run is made: in a *thread* of the API, on the event *loop*, in the thread while the loop is
                *paused*, or as a *task* (`async def`).
unread input    What came while the loop was paused, until it has read it.
slot            The right to use a processor, where several APIs of a worker share them.
suspects        The requests of a failed batch, until each is judged: it passes in a *part*, or fails alone.
=============== =================================================================================================

One API with one run at a time, from event to event::

                     put                        turn: a batch leaves
          ┌──────┐ ───────> ┌─────────┐ ──────────────────────────────> ┌─────────┐
          │ idle │          │ waiting │ <────────────────────────────── │ running │
          └──────┘ <─────── └─────────┘   finished; answers delivered   └─────────┘
                    nobody   │   ^    ^                                   │     ^
                             │   │    │ all are back, or time is up       │     │ a part runs
                  no slot is │   │    │         ┌────────────┐   finished │     │
                        free │   │    └──────── │ regrouping │ <──────────┤     v
                             v   │ slot_is_free └────────────┘            │ ┌──────────┐
                          ┌──────────┐                             failed └>│ suspects │
                          │ claiming │                                      └──────────┘
                          └──────────┘            healthy batches and parts of the suspects take turns

With unread input the wait after a batch is at least as long as it takes to read it. `close` and `be_stuck` end all
waits; what waits is run, or refused.
"""

__all__: list[str] = []
