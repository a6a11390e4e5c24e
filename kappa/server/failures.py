"""The answers to requests without a result: one table for the doors of every protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from kappa.errors import BadInputError, InferenceFailedError
from kappa.server.batching.admission import RefusalReason
from kappa.server.batching.outcomes import ExpiredError, OverdueError, RefusedError
from kappa.server.decoding import DecodingOverdueError

__all__ = [
    "CLIENT_GONE",
    "FAILED",
    "OUTCOMES",
    "ClientGoneError",
    "Failure",
    "NotReadyError",
    "Outcome",
    "outcome_of",
    "refused",
    "too_large",
]


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete, so no answer can be sent."""

    def __init__(self) -> None:
        super().__init__("The request is not complete.")


class NotReadyError(InferenceFailedError):
    """The service cannot answer yet."""

    def __init__(self) -> None:
        super().__init__("The service is still loading; try again.")


class Outcome(NamedTuple):
    """An error's name in each protocol."""

    http_status: int
    grpc_code: str
    """The name of a status code (https://grpc.io/docs/guides/status-codes)."""
    reason: str
    """The same as a word for logs and traces."""


FAILED = Outcome(500, "INTERNAL", "failed")
CLIENT_GONE = Outcome(499, "CANCELLED", "client_gone")
OUTCOMES: Mapping[type[Exception], Outcome] = MappingProxyType(
    {
        BadInputError: Outcome(400, "INVALID_ARGUMENT", "bad_input"),
        ClientGoneError: CLIENT_GONE,
        DecodingOverdueError: Outcome(504, "DEADLINE_EXCEEDED", "decoding_overdue"),
        ExpiredError: Outcome(504, "DEADLINE_EXCEEDED", "expired"),
        NotReadyError: Outcome(503, "UNAVAILABLE", "loading"),
        OverdueError: Outcome(504, "DEADLINE_EXCEEDED", "overdue"),
        RefusedError: Outcome(503, "UNAVAILABLE", "refused"),
        Exception: FAILED,
    }
)
"""By class of error; that of the nearest base counts. A `BadInputError` has an HTTP status of its own."""


def outcome_of(error: Exception) -> Outcome:
    """Return the row of an error; a user's own `BadInputError` without a status of 4xx is a failure."""
    outcome = next(OUTCOMES[kind] for kind in type(error).__mro__ if kind in OUTCOMES)
    if not isinstance(error, BadInputError):
        return outcome
    try:
        http_status = error.http_status
    except Exception:  # noqa: BLE001 - nothing is known of a user's own
        return FAILED
    is_refusal = isinstance(http_status, int) and 400 <= http_status < 500
    return outcome._replace(http_status=http_status) if is_refusal else FAILED


class Failure(NamedTuple):
    """The answer to a client without a result."""

    outcome: Outcome
    message: str
    retry_after_s: int | None = None
    """Whole seconds to wait before a retry."""


@lru_cache(maxsize=1024)
def _refused(reason: RefusalReason, seconds: int) -> Failure:
    message = f"The service cannot take this request now ({reason}); try again in {seconds} s."
    return Failure(OUTCOMES[RefusedError], message, seconds)


def refused(reason: RefusalReason, retry_after_s: float) -> Failure:
    """Return the failure for a refused request; prepared, because there may be many."""
    return _refused(reason, max(1, math.ceil(retry_after_s)))


def too_large(max_bytes: int) -> BadInputError:
    """Return the refusal of a body over ``max_bytes``."""
    return BadInputError(f"The body is larger than the {max_bytes} bytes that are taken here.", http_status=413)
