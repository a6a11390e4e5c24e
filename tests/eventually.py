"""Waiting for what happens in another process, a thread, or a later turn of the event loop: never for a fixed time.

How long it may take is no part of a test: the limit only ends one whose feature is broken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["eventually", "eventually_in_loop"]

T = TypeVar("T")

WITHIN_S = 60.0


def eventually(look: Callable[[], T], *, every_s: float = 0.01, why: Callable[[], object] = lambda: "") -> T:
    """Call ``look`` until it returns something true, and return that; an `OSError` counts as nothing yet.

    ``why`` is shown if it never does; it may raise an `AssertionError` of its own at any look, to end the wait.
    """
    until = time.monotonic() + WITHIN_S
    while True:
        last: OSError | None = None
        try:
            if found := look():
                return found
        except OSError as exc:
            last = exc
        assert time.monotonic() < until, f"{why()} (after {WITHIN_S:g} s; {last!r})"
        time.sleep(every_s)


async def eventually_in_loop(look: Callable[[], T]) -> T:
    """Let the event loop turn until ``look`` returns something true, and return that."""
    until = time.monotonic() + WITHIN_S
    while not (found := look()):
        assert time.monotonic() < until, f"after {WITHIN_S:g} s: {found!r}"
        await asyncio.sleep(0)
    return found
