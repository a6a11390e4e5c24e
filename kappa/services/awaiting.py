"""Where the coroutines of a service's own code run: on one event loop, as long as the service lives.

A server's code runs on the server's loop. Anywhere else there is one loop for all services, in a thread of its own: a
loop per call would break what functions keep between calls, like connections.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from kappa.errors import InferenceFailedError

if TYPE_CHECKING:
    import asyncio

__all__ = ["awaited", "is_awaitable", "loop_in_use", "use_loop"]

_loop: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("kappa_loop", default=None)


def use_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Have the coroutines of services that are loaded from here on, in this context, run on ``loop``."""
    _loop.set(loop)


def loop_in_use() -> asyncio.AbstractEventLoop | None:
    """Return the loop that `use_loop` has set; ``None`` stands for that of `awaited` itself."""
    return _loop.get()


def is_awaitable(value: Any) -> bool:
    """Return whether ``value`` can be awaited. PERF: a tenth of what `inspect.isawaitable` takes."""
    return hasattr(type(value), "__await__")


def awaited(awaitable: Awaitable[Any], loop: asyncio.AbstractEventLoop | None) -> Any:
    """Return the result of ``awaitable``, which runs on ``loop`` while this thread waits."""
    import asyncio  # PERF: 25 ms that most commands need not spend

    if loop is not None and loop is asyncio._get_running_loop():  # noqa: SLF001 - the one that does not raise
        close = getattr(awaitable, "close", lambda: None)
        close()
        raise InferenceFailedError(
            f"The function returned a `{type(awaitable).__name__}` on the event loop, which cannot wait for it: "
            "write the function as `async def`."
        )
    return asyncio.run_coroutine_threadsafe(_outcome(awaitable), loop or _own_loop()).result()


async def _outcome(awaitable: Awaitable[Any]) -> Any:
    try:
        return await awaitable
    except (SystemExit, KeyboardInterrupt) as exc:  # either would end the loop
        message = f"The function raised `{type(exc).__name__}`, which ends a program or a loop."
        raise InferenceFailedError(message) from exc


_beginning = threading.Lock()


def _own_loop() -> asyncio.AbstractEventLoop:
    with _beginning:
        return _new_loop()


@cache
def _new_loop() -> asyncio.AbstractEventLoop:
    import asyncio

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="kappa-async", daemon=True).start()
    return loop
