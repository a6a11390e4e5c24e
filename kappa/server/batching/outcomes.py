"""How a request ends: with a result, or with one of these errors."""

from __future__ import annotations

from typing import Protocol, TypeVar

from kappa.errors import InferenceFailedError
from kappa.server.batching.admission import RefusalReason

__all__ = ["ExpiredError", "Outcome", "OverdueError", "RefusedError"]

R_contra = TypeVar("R_contra", contravariant=True)


class RefusedError(InferenceFailedError):
    """The request was not run, or never judged; HTTP 503 with ``Retry-After: ceil(retry_after_s)``, at least 1."""

    def __init__(self, reason: RefusalReason, *, retry_after_s: float) -> None:
        super().__init__()
        self.reason: RefusalReason = reason
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"The request was refused (`{self.reason}`); try again in {self.retry_after_s:.3f} s."


class ExpiredError(InferenceFailedError):
    """The client's deadline passed before the request was run; HTTP 504."""

    def __init__(self) -> None:
        super().__init__("The request's deadline passed before it was run.")


class OverdueError(InferenceFailedError):
    """The function took longer than it may; HTTP 504."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"The function did not return within {timeout_s:g} seconds.")


class Outcome(Protocol[R_contra]):
    """Where a request's result or error goes: an `asyncio.Future`, or a stand-in with these three methods."""

    def done(self) -> bool:
        """Return whether it has ended, or its client has left."""

    def set_result(self, result: R_contra, /) -> None:
        """Take the result."""

    def set_exception(self, error: Exception, /) -> None:
        """Take the error that prevented a result."""
