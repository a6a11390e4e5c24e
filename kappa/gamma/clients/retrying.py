"""Repeating what a server did not answer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from kappa.errors import GammaUnreachableError

__all__ = ["CONNECT_S", "FINISH_S", "REACH_S", "resumed", "retrying"]

T = TypeVar("T")

CONNECT_S = 2.0
"""How long one attempt to connect may take."""
REACH_S = 3.0
"""How long a server may take to say what it is; with what a command needs to begin, an end within 5 s."""
FINISH_S = 600.0
"""How long a server may work on what it was sent: it hashes, copies and commits."""

_BUDGET_S = 2.5
"""How long a new attempt may begin: with one attempt to connect, a server that is away is known of within 5 s."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0


def retrying(
    ask: Callable[[], T],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> T:
    """Call ``ask`` again while the server does not answer: with pauses that double, each cut at random.

    ``ask`` must be safe to repeat. The pauses are "full jitter" of the AWS Architecture Blog, "Exponential Backoff And
    Jitter", 2015.
    """
    until = clock() + _BUDGET_S
    longest = _FIRST_PAUSE_S
    while True:
        try:
            return ask()
        except GammaUnreachableError:
            pause = longest * jitter()
            if clock() + pause >= until:
                raise
        sleep(pause)
        longest = min(2 * longest, _LONGEST_PAUSE_S)


def resumed(read: Callable[[int], Iterator[bytes]], *, offset: int) -> Iterator[bytes]:
    """Return what ``read`` yields from an offset on; where the connection breaks, it is read on from there.

    It begins at once, and raises what does not let it. Any byte that arrives begins the attempts anew.
    """

    def begin() -> tuple[Iterator[bytes], bytes | None]:
        chunks = read(offset)
        return chunks, next(chunks, None)

    def rest(chunks: Iterator[bytes], chunk: bytes | None) -> Iterator[bytes]:
        nonlocal offset
        while True:
            try:
                while chunk is not None:
                    yield chunk
                    offset += len(chunk)
                    chunk = next(chunks, None)
            except GammaUnreachableError:
                chunks, chunk = retrying(begin)
                continue
            return

    return rest(*retrying(begin))
