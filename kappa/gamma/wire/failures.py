"""Failures that cross a door: the class of `kappa.errors` by its name, with its message, and a status of each protocol.

A client raises the same class with the same message as the service did. A class that it does not know, as of a newer
server, becomes a `GammaError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kappa import errors
from kappa.errors import (
    AccessDeniedError,
    BundleError,
    BundleNotFoundError,
    DestinationExistsError,
    GammaError,
    GammaUnreachableError,
    KappaError,
    UnauthenticatedError,
    UsageError,
)

__all__ = [
    "LONGEST_MESSAGE",
    "InternalError",
    "Status",
    "TooManyFailuresError",
    "error_of",
    "name_of",
    "refusal_headers",
    "status_of",
]

GrpcStatus = Literal[
    "ABORTED",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
]

LONGEST_MESSAGE = 8000
"""The most characters of a message that crosses a door; gRPC sends it among headers, whose size is bounded."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a failure is called by each protocol."""

    grpc: GrpcStatus
    http: int


class InternalError(GammaError):
    """The server's own code failed; clients see a `GammaError`."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"The Gamma server failed; its log has the reason under the id `{request_id}`.")


class TooManyFailuresError(UnauthenticatedError):
    """Too many wrong tokens came from one address; clients see an `UnauthenticatedError`."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


_STATUSES: tuple[tuple[type[KappaError], Status], ...] = (
    (BundleNotFoundError, Status("NOT_FOUND", 404)),
    (DestinationExistsError, Status("ALREADY_EXISTS", 409)),
    (UsageError, Status("INVALID_ARGUMENT", 400)),
    (BundleError, Status("INVALID_ARGUMENT", 422)),
    (GammaUnreachableError, Status("UNAVAILABLE", 503)),
    (TooManyFailuresError, Status("RESOURCE_EXHAUSTED", 429)),
    (UnauthenticatedError, Status("UNAUTHENTICATED", 401)),
    (AccessDeniedError, Status("PERMISSION_DENIED", 403)),
    (InternalError, Status("INTERNAL", 500)),
    (GammaError, Status("FAILED_PRECONDITION", 409)),
    (KappaError, Status("FAILED_PRECONDITION", 409)),
)
"""The first class that fits decides."""


def status_of(error: KappaError) -> Status:
    """Return the status of a failure in each protocol."""
    return next(status for cls, status in _STATUSES if isinstance(error, cls))


def refusal_headers(error: KappaError) -> dict[str, str]:
    """Return the headers of HTTP that go with a failure: how to be let in (RFC 9110, section 11.6.1), and when."""
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, UnauthenticatedError) else {}
    return {**headers, "Retry-After": str(error.retry_after_s)} if isinstance(error, TooManyFailuresError) else headers


def name_of(error: KappaError) -> str:
    """Return the class of a failure as `kappa.errors` has it: of a private class, that of its parent."""
    return next(cls.__name__ for cls in type(error).__mro__ if cls.__name__ in errors.__all__)


def error_of(name: str, message: str) -> KappaError:
    """Return the failure of that class of `kappa.errors`.

    Only classes that are made of a message alone cross a door as they are.
    """
    cls = getattr(errors, name, None) if name in errors.__all__ else None
    if isinstance(cls, type) and issubclass(cls, KappaError) and cls.__init__ is KappaError.__init__:
        return cls(message)
    return GammaError(message)
