"""What happens at the doors: each exchange is counted, timed and logged, and a failure gets its words, in one place."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from kappa.errors import KappaError
from kappa.gamma.wire.failures import InternalError, name_of

__all__ = ["METRICS_TYPE", "ClientGoneError", "Door", "Exchange", "Exchanges", "request_id_of"]

Door = Literal["grpc", "http"]

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_logger = logging.getLogger("kappa.gamma")
_access = {"grpc": logging.getLogger("kappa.gamma.grpc"), "http": logging.getLogger("kappa.gamma.web")}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class ClientGoneError(Exception):
    """The client went away before it was answered."""


@dataclass(slots=True)
class Exchange:
    """One request and its answer."""

    door: Door
    operation: str
    request_id: str
    peer: str = ""
    bytes_in: int = 0
    """Of a blob that the client sent."""
    bytes_out: int = 0
    """Of a blob that it was sent."""
    outcome: str = field(default="ok", init=False)
    """``ok``, the class of a failure, ``failed`` for an unexpected one, ``gone`` for a client that went away."""


def request_id_of(text: str | None) -> str:
    """Return the id that a client gave to its request, or a new one."""
    return text if text is not None and _REQUEST_ID.fullmatch(text) else uuid4().hex


class Exchanges:
    """Counts and logs what happens at the doors; safe for threads."""

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._collected = CollectorRegistry()
        self._requests = Counter(
            "kappa_gamma_requests",
            "Requests by door, operation and outcome: `ok`, the class of a failure, `failed` or `gone`.",
            ["door", "operation", "outcome"],
            registry=self._collected,
        )
        self._seconds = Histogram(
            "kappa_gamma_request_seconds",
            "How long requests took; of transfers, until the last byte.",
            ["door", "operation"],
            buckets=_SECONDS,
            registry=self._collected,
        )
        self._running = Gauge(
            "kappa_gamma_requests_running", "Requests that run now.", ["door"], registry=self._collected
        )
        self._bytes = Counter(
            "kappa_gamma_blob_bytes", "Bytes of blobs that moved.", ["direction"], registry=self._collected
        )
        self._blobs = Counter(
            "kappa_gamma_blob_transfers", "Transfers of blobs that ended well.", ["direction"], registry=self._collected
        )

    def metrics(self) -> bytes:
        """Return every number in the Prometheus text format."""
        return generate_latest(self._collected)

    @contextmanager
    def exchange(self, door: Door, operation: str, *, request_id: str, peer: str = "") -> Iterator[Exchange]:
        """Observe a request while it is answered.

        A failure of Kappa's own passes; any other one is logged in full and becomes a `GammaError` that names the id
        of the request.
        """
        exchange = Exchange(door, operation, request_id, peer)
        started = self._clock()
        self._running.labels(door).inc()
        try:
            yield exchange
        except KappaError as exc:
            exchange.outcome = name_of(exc)
            raise
        except (ClientGoneError, GeneratorExit):
            exchange.outcome = "gone"
            raise
        except Exception as exc:
            exchange.outcome = "failed"
            _logger.exception("%s failed (request %s).", operation, request_id, extra={"request_id": request_id})
            raise InternalError(request_id) from exc
        finally:
            self._running.labels(door).dec()
            self._record(exchange, self._clock() - started)

    def _record(self, exchange: Exchange, seconds: float) -> None:
        self._requests.labels(exchange.door, exchange.operation, exchange.outcome).inc()
        self._seconds.labels(exchange.door, exchange.operation).observe(seconds)
        for direction, count, operation in (
            ("in", exchange.bytes_in, "WriteBlob"),
            ("out", exchange.bytes_out, "ReadBlob"),
        ):
            self._bytes.labels(direction).inc(count)
            if exchange.operation == operation and exchange.outcome == "ok":
                self._blobs.labels(direction).inc()
        _access[exchange.door].info(
            "%s %s %s %.1f ms",
            exchange.peer or "-",
            exchange.operation,
            exchange.outcome,
            seconds * 1000,
            extra={
                "door": exchange.door,
                "operation": exchange.operation,
                "outcome": exchange.outcome,
                "duration_ms": round(seconds * 1000, 1),
                "bytes_in": exchange.bytes_in,
                "bytes_out": exchange.bytes_out,
                "request_id": exchange.request_id,
                "peer": exchange.peer,
            },
        )
