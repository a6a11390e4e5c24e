"""Processes that a service's code forks, as `multiprocessing` does on Linux, drop the server's sockets and handlers.

A forked process has every descriptor and every signal handler of the one it comes from, and may live longer. With a
listening socket, it keeps the port and receives connections that it never accepts. With a client's, the end of the
connection never reaches the client. With the event loop's handlers, a signal does not end it, but is reported to the
loop of its parent (https://bugs.python.org/issue43064): `Process.terminate` and `Pool` stop the server instead.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

__all__ = ["forks_leave"]

_DESCRIPTORS = Path("/dev/fd")
_served: list[Collection[int]] = []
"""The ports of the servers that run in this process."""
_forking = threading.local()
"""The signals that a thread blocked before it forks."""


@contextmanager
def forks_leave(ports: Collection[int]) -> Iterator[None]:
    """Make processes that are forked meanwhile close all sockets at these ports, with default signal handlers."""
    if hasattr(os, "register_at_fork"):
        _register()
    _served.append(ports)
    try:
        yield
    finally:
        _served.remove(ports)


@cache
def _register() -> None:
    os.register_at_fork(before=_hold_signals, after_in_parent=_take_signals, after_in_child=_leave)


def _hold_signals() -> None:
    """Block signals to the new process until it has its own handlers."""
    if _served:
        _forking.blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _take_signals() -> None:
    if (blocked := _forking.__dict__.pop("blocked", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _leave() -> None:
    if _served:
        _forget_handlers()
        _close_sockets({port for ports in _served for port in ports})
        _served.clear()
    _take_signals()


def _forget_handlers() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)


def _close_sockets(ports: Collection[int]) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in [int(entry.name) for entry in _DESCRIPTORS.iterdir()]:
        if _local_port(descriptor) in ports:
            os.dup2(nothing, descriptor, inheritable=False)  # objects that know its number will close that once more
    os.close(nothing)


def _local_port(descriptor: int) -> int | None:
    """Return the port of an Internet socket, ``None`` for any other descriptor."""
    with suppress(OSError):
        probe = socket.socket(fileno=descriptor)
        try:
            if probe.family in (socket.AF_INET, socket.AF_INET6):
                return int(probe.getsockname()[1])
        finally:
            probe.detach()
    return None
