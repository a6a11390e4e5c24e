"""The error of a failed run, without the memory that its traceback holds.

A function may raise the same exception object again and again: the result of a failed future, an instance that a module
keeps, the cached failure of a lazy import. Each raise lengthens the object's traceback, whose frames hold the request.
So a run is remembered here and never an exception, whose frames are dropped once it is delivered.
"""

from __future__ import annotations

from contextlib import suppress

from kappa.errors import InferenceFailedError

__all__ = ["BatchFailedError", "forget_frames"]


class BatchFailedError(InferenceFailedError):
    """A run of several requests failed, and its parts are not run again; all of its requests get this one object."""

    def __init__(self, error: Exception, requests: int) -> None:
        super().__init__()
        self.error = error
        """The function's exception."""
        self.requests = requests
        self.logged_for = ""
        """The id of the request under which it was logged in full."""

    def __str__(self) -> str:
        return f"A batch of {self.requests} requests failed."


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of ``error`` and of every exception that it came from or holds."""
    pending, seen = [error], set[int]()
    while pending:
        if id(current := pending.pop()) in seen:
            continue
        seen.add(id(current))
        BaseException.with_traceback(current, None)  # an exception of the user's may refuse to be assigned to
        pending += [other for other in (current.__cause__, current.__context__) if other is not None]
        with suppress(Exception):  # of a group; nothing is known of what else is called so
            pending += [other for other in current.exceptions if isinstance(other, BaseException)]  # type: ignore[attr-defined]
