"""Processors and memory, read from folders that look like those of a system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kappa.server.process.allowance import Allowance, WorkerCount, read_allowance, workers_for

MIB = 2**20


def machine(folder: Path, files: dict[str, str]) -> Allowance:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="ascii")
    return read_allowance(cgroup=folder / "cgroup", proc=folder / "proc")


@pytest.mark.parametrize(
    ("files", "cores", "reason"),
    [
        pytest.param({}, 8, "8 processors here", id="no-control-group"),
        pytest.param({"cgroup/cpu.max": "max 100000\n"}, 8, "8 processors here", id="v2-unlimited"),
        pytest.param(
            {"cgroup/cpu.max": "100000 100000\n"}, 1, "its control group allows 1 of 8 processors", id="v2-one"
        ),
        pytest.param(
            {"cgroup/cpu.max": "20000 100000\n"}, 1, "its control group allows 0.2 of 8 processors", id="v2-a-fifth"
        ),
        pytest.param(
            {"cgroup/cpu.max": "250000 100000\n"}, 2, "its control group allows 2.5 of 8 processors", id="v2-a-part"
        ),
        pytest.param({"cgroup/cpu.max": "9900000 100000\n"}, 8, "8 processors here", id="v2-more-than-there-are"),
        pytest.param(
            {
                "proc/self/cgroup": "0::/user.slice/kappa.service\n",
                "cgroup/user.slice/cpu.max": "300000 100000\n",
                "cgroup/user.slice/kappa.service/cpu.max": "400000 100000\n",
            },
            3,
            "its control group allows 3 of 8 processors",
            id="v2-a-group-above-allows-less",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/docker/0123\n", "cgroup/cpu.max": "200000 100000\n"},
            2,
            "its control group allows 2 of 8 processors",
            id="v2-the-hosts-path-is-not-here",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/pod\n1:name=systemd:/x\n",
                "cgroup/cpu/pod/cpu.cfs_quota_us": "200000\n",
                "cgroup/cpu/pod/cpu.cfs_period_us": "100000\n",
            },
            2,
            "its control group allows 2 of 8 processors",
            id="v1-two",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "3:cpu:/\n",
                "cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
            "8 processors here",
            id="v1-unlimited",
        ),
        pytest.param({"cgroup/cpu.max": "what\n"}, 8, "8 processors here", id="unreadable"),
    ],
)
def test_processors_are_what_affinity_and_control_groups_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int, reason: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    found = machine(tmp_path, files)
    assert (found.cores, found.cores_reason) == (cores, reason)


@pytest.mark.parametrize(
    ("files", "mib"),
    [
        pytest.param({}, None, id="nothing-is-told"),
        pytest.param({"proc/meminfo": "MemTotal: 8388608 kB\nMemAvailable: 2097152 kB\n"}, 2048, id="no-limit"),
        pytest.param(
            {
                "proc/meminfo": "MemAvailable: 2097152 kB\n",
                "cgroup/memory.max": f"{1024 * MIB}\n",
                "cgroup/memory.current": f"{300 * MIB}\n",
                "cgroup/memory.stat": f"anon 5\ninactive_file {100 * MIB}\n",
            },
            824,
            id="v2-cache-can-be-given-up",
        ),
        pytest.param({"cgroup/memory.max": "max\n", "proc/meminfo": "MemAvailable: 1024 kB\n"}, 1, id="v2-unlimited"),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/pod\n",
                "cgroup/memory/pod/memory.limit_in_bytes": f"{512 * MIB}\n",
                "cgroup/memory/pod/memory.usage_in_bytes": f"{112 * MIB}\n",
                "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "cgroup/memory/memory.usage_in_bytes": "5\n",
            },
            400,
            id="v1",
        ),
    ],
)
def test_memory_is_what_limits_and_machine_leave(tmp_path: Path, files: dict[str, str], mib: int | None) -> None:
    assert machine(tmp_path, files).memory_bytes == (None if mib is None else mib * MIB)


def test_workers_are_as_many_as_processors_and_memory_allow() -> None:
    eight = Allowance(8, "8 processors here", None)
    assert workers_for(eight, model_bytes=10**12) == WorkerCount(8, "8 processors here")
    small = Allowance(8, "8 processors here", 2000 * MIB)
    assert workers_for(small, model_bytes=200 * MIB) == WorkerCount(
        3, "2000 MiB of memory are left, and each needs about 460"
    )
    tiny = Allowance(8, "8 processors here", 100 * MIB)
    assert workers_for(tiny, model_bytes=0).count == 1


def test_this_machine_can_be_read() -> None:
    found = read_allowance()
    assert found.cores >= 1
    assert found.memory_bytes is None or found.memory_bytes > 0
