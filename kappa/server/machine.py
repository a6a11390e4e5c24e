"""Settings of a server's process on its machine: threads, memory, small files."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import tempfile
from collections.abc import Callable, MutableMapping
from pathlib import Path

from kappa.errors import ConfigurationError

__all__ = [
    "SpareMemory",
    "release_memory",
    "resident_bytes",
    "set_thread_counts",
    "settle_memory",
    "share_lock",
    "writable_directory",
]

_THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)


def set_thread_counts(environ: MutableMapping[str, str], *, workers: int, cores: int) -> None:
    """Share the processors between the workers' numeric libraries, unless the user decided; before numpy is loaded."""
    for name in _THREAD_COUNTS:
        environ.setdefault(name, str(max(1, cores // workers)))


def settle_memory() -> None:
    """Freeze all live objects for the garbage collector, and make it run less often.

    Call it when a service is loaded: what is there then stays until the end. PERF: with pandas and scikit-learn loaded
    and 128 requests under way, collections cost 35 of 165 µs per request; after this, 5.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    if (set_option := _of_libc("mallopt")) is not None:
        set_option(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        set_option(_M_TRIM_THRESHOLD, 8 * _MAPPED_BYTES)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_MAPPED_BYTES = 8 << 20
"""Blocks of memory from this size on go back to the system when they are freed. glibc raises its own threshold up to
32 MB, and keeps what is smaller: some 200 MB after a few large pictures."""


def _of_libc(name: str) -> Callable[..., int] | None:
    """Return glibc's `mallopt`; ``None`` with another C library."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes; 0 on systems other than Linux."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


def release_memory() -> None:
    """Give freed memory that the allocators keep back to the system: glibc's, and Arrow's if it is loaded."""
    if (pyarrow := sys.modules.get("pyarrow")) is not None:
        pyarrow.default_memory_pool().release_unused()
    if (trim := _of_libc("malloc_trim")) is not None:
        trim(0)


class SpareMemory:
    """Freed memory that the allocators keep, some hundred MB after a few large bodies; given back now and then.

    To be looked at regularly. It is given back when the process is larger than it once was; less often while that gains
    little, because the memory is in use.
    """

    def __init__(
        self, *, resident: Callable[[], int] = resident_bytes, release: Callable[[], None] = release_memory
    ) -> None:
        self._resident = resident
        self._release = release
        self._least = resident()
        self._due_s = 0.0
        self._pause_s = _SHORTEST_PAUSE_S

    def is_due(self, now: float) -> bool:
        """Return whether to call `give_back`, which takes some milliseconds."""
        return now >= self._due_s and self._resident() > self._least + _MUCH_SPARE

    def give_back(self, now: float) -> None:
        before = self._resident()
        self._release()
        after = self._resident()
        self._least = min(self._least, after)
        has_gained = before - after > _MUCH_SPARE // 2
        self._pause_s = _SHORTEST_PAUSE_S if has_gained else min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._due_s = now + self._pause_s


_MUCH_SPARE = 64 << 20
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 4.0
"""PERF: it takes 1 to 20 ms with 1 GB in use. After large bodies up to 400 MB are kept, most of it by Arrow."""


def share_lock() -> None:
    """Set the switch interval of the GIL to 50 microseconds instead of five milliseconds.

    A worker has two busy threads: the event loop, and the one that runs the batches. PERF: with the usual time the iris
    API answers a quarter less at 16 and 128 connections, its p99 is twice to three times as high, and a function that
    returns after 11 ms is noticed after 15.

    It must be shorter than a function holds the GIL. A function that releases it often, as a forest does in every tree,
    wakes the waiting thread each time and takes it again before that thread runs, which then waits another interval
    (CPython's `take_gil`). PERF: beside a forest of 100 trees a sleep of 1 ms takes 14 ms (p99 135) with half a
    millisecond, 2 to 6 ms (p99 17) with 50 µs; under three times the load that the forest can take, a fifth more is
    answered in time. A shorter interval gains nothing, and functions that never release the GIL lose nothing.
    """
    sys.setswitchinterval(0.00005)


def writable_directory(*, in_memory: Path = Path("/dev/shm")) -> Path:  # noqa: S108 - files get names of their own
    """Return a folder for small files that live as long as the server, in memory where possible.

    Raises `ConfigurationError` when there is none, as in a container with a read-only root and no `/tmp`.
    """
    for candidate in (in_memory, _temporary_directory()):
        if candidate is not None and os.access(candidate, os.W_OK | os.X_OK):
            return candidate
    raise ConfigurationError(
        "The server needs a writable folder for a few small files, and neither `/dev/shm` nor `$TMPDIR` is one. "
        "Mount a `tmpfs` at `/tmp`."
    )


def _temporary_directory() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return None
