"""The threads of a service: the same where it is served, tried out and tested.

Code is loaded, `__init__`, `setup` and `teardown` are called in one thread, the *service's own*, which lives as long as
the service. If exactly one API is synchronous, with one call at a time, its function is called there as well; else
each synchronous API has threads of its own. So what `setup` makes is used where it was made whenever that is possible.
Context variables that were set while loading (decimal contexts, numpy's error handling) hold in all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import Any, TypeVar

from kappa.errors import InferenceFailedError

__all__ = ["ServiceThread", "carried", "hint_of"]

T = TypeVar("T")


class ServiceThread:
    """A daemon thread that makes calls one after the other."""

    def __init__(self, name: str, context: Context | None = None) -> None:
        self.context = copy_context() if context is None else context
        """In which everything is called."""
        self._name = name
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._last: Future[Any] | None = None
        self._end: Future[Any] | None = None
        self._thread = Thread(target=self.context.run, args=(self._work,), name=name, daemon=True)
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether this is the current thread."""
        return current_thread() is self._thread

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Have ``call`` made; what it raises is in the future, an `Exception` in any case."""
        self._last = future = Future[T]()
        self._calls.put((call, future))
        return future

    def run(self, call: Callable[[], T]) -> T:
        """Wait for what ``call`` returns."""
        return self.submit(call).result()

    def end_with(self, call: Callable[[], T]) -> Future[T]:
        """Make a last call and let the thread go; the call is made in another one if this never comes back.

        A second call of this returns the outcome of the first one.
        """
        if self._end is not None:
            return self._end
        is_held_up = self._last is not None and not self._last.done()
        last = ServiceThread(self._name, self.context.copy()) if is_held_up else self
        self._end = future = last.submit(call)
        for thread in {self, last}:
            thread.end()
        return future

    def end(self) -> None:
        """Let the thread end after the calls that it was given."""
        self._calls.put(None)

    def _work(self) -> None:
        while (order := self._calls.get()) is not None:
            call, future = order
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as exc:  # noqa: BLE001 - user code may raise anything; it goes to who waits
                future.set_exception(carried(exc))
            del order, call, future  # the next wait must not keep them alive


def carried(exc: BaseException) -> Exception:
    """Return ``exc``, wrapped if a future cannot carry it or if it would end the process (`sys.exit()`)."""
    if isinstance(exc, Exception) and not isinstance(exc, StopIteration):
        return exc
    error = InferenceFailedError(f"The function raised `{type(exc).__name__}`, which ends a program or a loop.")
    error.__cause__ = exc
    return error


def hint_of(exc: Exception) -> str:
    """Return what to do about an exception that comes of using something in another thread; empty for any other."""
    if type(exc).__name__ != "ProgrammingError" or "in that same thread" not in str(exc):  # of `sqlite3`
        return ""
    return (
        " With several APIs, each has a thread of its own: connect once per thread (`threading.local`), or with "
        "`check_same_thread=False` and a lock."
    )
