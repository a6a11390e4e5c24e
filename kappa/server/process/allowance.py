"""The processors and memory that this process may use, and the number of workers that follows.

A container sees the whole machine's processors and memory; what it may use of them is in its control group (cgroup v2:
`cpu.max`, `memory.max`; v1: `cpu.cfs_quota_us`, `memory.limit_in_bytes`), where every level up to the root may set a
lower limit. Processors are bounded by affinity besides (`taskset`, `cpuset`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import floor
from pathlib import Path

__all__ = ["Allowance", "WorkerCount", "read_allowance", "workers_for"]

_MIB = 2**20
_EMPTY_WORKER_BYTES = 160 * _MIB
"""A worker with pandas and scikit-learn loaded and no model."""
_BYTES_PER_MODEL_BYTE = 1.5
"""A loaded model is larger than its file, and so is what it needs while it answers."""
_MOST_MEMORY = 0.9
_UNLIMITED = 2**60  # v1 says "no limit" as the largest number of pages


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many processors, for what reason, and how many bytes of memory are left."""

    cores: int
    cores_reason: str
    memory_bytes: int | None
    """``None`` where the system does not tell."""


@dataclass(frozen=True, slots=True)
class WorkerCount:
    count: int
    reason: str


def read_allowance(*, cgroup: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> Allowance:
    """Read what this process may use; what cannot be read bounds nothing."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores, reason = affinity, f"{_counted(affinity, 'processor')} here"
    quota = min(_quotas(cgroup, proc), default=affinity)
    if quota < affinity:
        cores = max(1, floor(quota))
        reason = f"its control group allows {quota:g} of {_counted(affinity, 'processor')}"
    memory = min([*_left_of_limits(cgroup, proc), *_available_memory(proc)], default=None)
    return Allowance(cores, reason, memory)


def workers_for(allowance: Allowance, *, model_bytes: int) -> WorkerCount:
    """Return how many workers the machine has room for, each with its own copy of models of ``model_bytes`` on disk."""
    each = _EMPTY_WORKER_BYTES + round(_BYTES_PER_MODEL_BYTE * model_bytes)
    if allowance.memory_bytes is not None:
        fitting = max(1, int(_MOST_MEMORY * allowance.memory_bytes) // each)
        if fitting < allowance.cores:
            free, needed = allowance.memory_bytes // _MIB, each // _MIB
            return WorkerCount(fitting, f"{free} MiB of memory are left, and each needs about {needed}")
    return WorkerCount(allowance.cores, allowance.cores_reason)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _groups(cgroup: Path, proc: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of those above it, for cgroup v2 and then for v1."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = ["0::/"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroup / controller if controllers else cgroup
        folder = root / path.lstrip("/")
        yield folder
        while (
            folder != root and root in folder.parents
        ):  # in a container the path may be the host's, and not exist here
            folder = folder.parent
            yield folder


def _quotas(cgroup: Path, proc: Path) -> Iterator[float]:
    for folder in _groups(cgroup, proc, "cpu"):
        with suppress(OSError, ValueError):
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
                period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
            if quota not in ("max", "-1"):
                yield int(quota) / int(period)


def _left_of_limits(cgroup: Path, proc: Path) -> Iterator[int]:
    for folder in _groups(cgroup, proc, "memory"):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            with suppress(OSError, ValueError):
                most = int((folder / limit).read_text(encoding="ascii"))
                if most < _UNLIMITED:
                    yield most - int((folder / used).read_text(encoding="ascii")) + _reclaimable(folder)


def _reclaimable(folder: Path) -> int:
    """Return the bytes of the group's page cache, which count as used and are freed on demand."""
    with suppress(OSError):
        for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0


def _available_memory(proc: Path) -> Iterator[int]:
    with suppress(OSError):
        for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield 1024 * int(line.split()[1])
