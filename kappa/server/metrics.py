"""Every number that the server counts, in one place, in the Prometheus text format.

What happens for each request or batch is added to plain Python lists, on the event loop, without a lock; these reach
the exported values when the metrics are read and twice a second (PERF: 0.4 µs for an observation, against 2 to 5 for a
histogram's own). Labels are the names of services and APIs, statuses and fixed words: a client cannot add to them.

With several workers each writes its values to files in one directory, and any worker adds them up, so the answer is the
same from every worker and a dead worker's counts stay. Metrics that a user's code registers are shown too.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from kappa.server.batching.admission import RefusalReason
from kappa.server.batching.dispatcher import BatcherState
from kappa.server.batching.observer import DropReason
from kappa.server.batching.outcomes import RefusedError
from kappa.server.batching.placement import Placement
from kappa.server.batching.policy import ReleaseReason
from kappa.server.failures import CLIENT_GONE, OUTCOMES
from kappa.server.requests import ApiRequest

__all__ = ["CONTENT_TYPE", "ApiMetrics", "Metrics", "forget_worker", "share_between_workers"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


def share_between_workers(directory: Path) -> None:
    """Keep the values of this process in files below ``directory``; call it after the fork, before any metric exists.

    The library looks at the variable when it is first imported, which may have been before the fork.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def forget_worker(directory: Path, pid: int) -> None:
    """Remove a dead worker's gauges; its counters stay."""
    mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]


class _Histogram(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: Sequence[int], total: float) -> None:
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(total)


class _Observations:
    """The observations of one labelled histogram since the last flush."""

    __slots__ = ("_bounds", "_counts", "_histogram", "_total")

    def __init__(self, histogram: _Histogram, bounds: Sequence[float], labels: Sequence[str]) -> None:
        self._histogram: _Histogram = histogram.labels(*labels)
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def add_all(self, values: Sequence[float]) -> None:
        counts, bounds = self._counts, self._bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._total += sum(values)

    def flush(self) -> None:
        if any(self._counts):
            self._histogram.add(self._counts, self._total)
            self._counts = [0] * len(self._counts)
            self._total = 0.0


class _ByStatus(dict[int, _Observations]):
    """The observations of a histogram since the last flush, by HTTP status; labels are made on first use."""

    def __init__(self, histogram: _Histogram, labels: Sequence[str]) -> None:
        super().__init__()
        self._histogram = histogram
        self._labels = labels

    def __missing__(self, http_status: int) -> _Observations:
        self[http_status] = observations = _Observations(self._histogram, _SECONDS, (*self._labels, str(http_status)))
        return observations


class Metrics:
    """The metrics of one process."""

    def __init__(self, *, shared_directory: Path | None = None) -> None:
        self._shared_directory = shared_directory
        self._registry = CollectorRegistry()
        self._apis: dict[tuple[str, str], ApiMetrics] = {}
        api = ("service", "api")
        self.request_seconds = self._histogram(
            "kappa_request_duration_seconds",
            "From the request's arrival to its answer, by HTTP status; 499 when the client had gone.",
            (*api, "status"),
            _SECONDS,
        )
        self.queue_seconds = self._histogram(
            "kappa_queue_duration_seconds", "How long requests waited for their batch.", api, _SECONDS
        )
        self.service_seconds = self._histogram(
            "kappa_service_duration_seconds",
            "How long the function took for a batch.",
            (*api, "outcome"),
            _SECONDS,
        )
        self.batch_requests = self._histogram("kappa_batch_requests", "Requests in a batch.", api, _COUNTS)
        self.batch_items = self._histogram(
            "kappa_batch_items", "Items in a batch: rows of frames, else requests.", api, _COUNTS
        )
        self.loop_lag_seconds = self._histogram(
            "kappa_loop_lag_seconds", "How long finished work waited for the event loop.", api, _SECONDS
        )
        self.released = self._counter("kappa_batches", "Batches, by why they were released.", (*api, "reason"))
        self.runs = self._counter(
            "kappa_batch_runs",
            "Calls of the function, by where they ran: `thread`, `loop` (the event loop), `paused` (a thread, with the "
            "event loop paused meanwhile), `task` (`async def`).",
            (*api, "placement"),
        )
        self.loop_paused_seconds = self._counter(
            "kappa_loop_paused_seconds", "How long the event loop was paused for batches.", api
        )
        self.refused = self._counter("kappa_refused_requests", "Requests refused with 503.", (*api, "reason"))
        self.dropped = self._counter(
            "kappa_dropped_requests", "Requests that left the queue unanswered.", (*api, "reason")
        )
        self.unreachable = self._counter(
            "kappa_target_unreachable", "How often one item alone came to take longer than `max_latency_ms`.", api
        )
        self.queued_requests = self._gauge("kappa_queue_requests", "Requests that wait now.", api)
        self.queued_items = self._gauge("kappa_queue_items", "Items that wait now.", api)
        self.queued_groups = self._gauge("kappa_queue_groups", "Groups of requests that wait now.", api)
        self.saturation = self._gauge(
            "kappa_saturation_ratio",
            "Work that was offered over what all workers can do; from 1 on the queue cannot empty. Scale by it.",
            api,
        )
        self.estimated = self._gauge(
            "kappa_estimated_batch_seconds",
            "What was learned of a batch: `base` of the call, `item` for each item, `tail` that slow ones add.",
            (*api, "part"),
            mode="livemax",
        )
        self.loop_cpu_seconds = self._counter(
            "kappa_loop_cpu_seconds",
            "Processor time of the event loops: HTTP, queues and all that is not a function.",
            (),
        )
        self.ready = self._gauge("kappa_ready_workers", "Workers that can answer, by version.", ("service", "version"))

    def _histogram(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> _Histogram:
        return _Histogram(name, text, labels, buckets=bounds, registry=self._registry)

    def _counter(self, name: str, text: str, labels: Sequence[str]) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(
        self, name: str, text: str, labels: Sequence[str], *, mode: Literal["livesum", "livemax"] = "livesum"
    ) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry, multiprocess_mode=mode)

    def of_api(self, service: str, api: str) -> ApiMetrics:
        """Return the metrics of one API, which are flushed with all others."""
        if (service, api) not in self._apis:
            self._apis[service, api] = ApiMetrics(self, service, api)
        return self._apis[service, api]

    def flush(self) -> None:
        """Add all observations to the exported values; call it on the event loop."""
        for metrics in self._apis.values():
            metrics.flush()

    def exposition(self) -> bytes:
        """Return the exported values of all workers as text; may be called in a thread, after `flush`."""
        if self._shared_directory is None:
            return generate_latest(self._registry) + generate_latest(REGISTRY)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self._shared_directory))  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class ApiMetrics:
    """The metrics of one API: an observer of its requests and of its batches."""

    def __init__(self, metrics: Metrics, service: str, api: str) -> None:
        self._metrics = metrics
        self._labels = (service, api)
        self._queue = _Observations(metrics.queue_seconds, _SECONDS, self._labels)
        self._service = {
            failed: _Observations(metrics.service_seconds, _SECONDS, (*self._labels, "failed" if failed else "ok"))
            for failed in (False, True)
        }
        self._requests = _Observations(metrics.batch_requests, _COUNTS, self._labels)
        self._items = _Observations(metrics.batch_items, _COUNTS, self._labels)
        self._lag = _Observations(metrics.loop_lag_seconds, _SECONDS, self._labels)
        self._answers = _ByStatus(metrics.request_seconds, self._labels)
        self._counts: Tally[tuple[Counter, str]] = Tally()
        self._paused_s = 0.0

    def began(self, request: ApiRequest) -> None:
        """Nothing is counted before a request ends."""

    def refused(self, reason: RefusalReason, seconds: float) -> None:
        self._counts[self._metrics.refused, reason] += 1
        self._answers[OUTCOMES[RefusedError].http_status].add(seconds)

    def answered(self, request: ApiRequest, http_status: int, seconds: float) -> None:  # noqa: ARG002
        self._answers[http_status].add(seconds)

    def gone(self, request: ApiRequest, seconds: float) -> None:  # noqa: ARG002
        self._answers[CLIENT_GONE.http_status].add(seconds)

    def batch_released(
        self, reason: ReleaseReason, *, requests: int, items: int, queue_seconds: Sequence[float]
    ) -> None:
        self._counts[self._metrics.released, reason] += 1
        self._requests.add(requests)
        self._items.add(items)
        self._queue.add_all(queue_seconds)

    def batch_finished(
        self,
        *,
        requests: int,  # noqa: ARG002
        items: int,  # noqa: ARG002
        service_seconds: float,
        failed: bool,
        placement: Placement,
    ) -> None:
        self._service[failed].add(service_seconds)
        self._counts[self._metrics.runs, placement] += 1

    def loop_paused(self, seconds: float) -> None:
        self._paused_s += seconds

    def request_dropped(self, reason: DropReason) -> None:
        self._counts[self._metrics.dropped, reason] += 1

    def loop_lagged(self, seconds: float) -> None:
        self._lag.add(seconds)

    def target_unreachable(self, *, single_seconds: float, target_seconds: float) -> None:  # noqa: ARG002
        self._counts[self._metrics.unreachable, ""] += 1

    def state_seen(self, state: BatcherState, *, saturation_ratio: float) -> None:
        self._metrics.saturation.labels(*self._labels).set(saturation_ratio)
        estimate = state.estimate
        for part, seconds in (("base", estimate.base_s), ("item", estimate.slope_s), ("tail", estimate.tail_s)):
            self._metrics.estimated.labels(*self._labels, part).set(seconds)
        self._metrics.queued_requests.labels(*self._labels).set(state.queue_requests)
        self._metrics.queued_items.labels(*self._labels).set(state.queue_items)
        self._metrics.queued_groups.labels(*self._labels).set(state.queue_groups)

    def flush(self) -> None:
        for observations in self._all_observations():
            observations.flush()
        for (counter, reason), count in self._counts.items():
            child: Any = counter.labels(*self._labels, reason) if reason else counter.labels(*self._labels)
            child.inc(count)
        self._counts.clear()
        self._metrics.loop_paused_seconds.labels(*self._labels).inc(self._paused_s)
        self._paused_s = 0.0

    def _all_observations(self) -> Iterator[_Observations]:
        yield from (self._queue, self._requests, self._items, self._lag)
        yield from self._service.values()
        yield from self._answers.values()
