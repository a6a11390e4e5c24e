from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kappa.errors import ConfigurationError
from kappa.server.machine import (
    SpareMemory,
    release_memory,
    resident_bytes,
    set_thread_counts,
    settle_memory,
    share_lock,
    writable_directory,
)


def test_thread_counts_share_the_cores_and_leave_the_users_choice_alone() -> None:
    environ = {"MKL_NUM_THREADS": "7"}
    set_thread_counts(environ, workers=3, cores=8)
    assert (environ["OMP_NUM_THREADS"], environ["OPENBLAS_NUM_THREADS"], environ["MKL_NUM_THREADS"]) == ("2", "2", "7")
    crowded: dict[str, str] = {}
    set_thread_counts(crowded, workers=4, cores=2)
    assert set(crowded.values()) == {"1"}


def test_what_is_alive_is_settled_and_new_garbage_is_still_found() -> None:
    thresholds = gc.get_threshold()
    try:
        settle_memory()
        assert gc.get_freeze_count() > 1000
        cycle: list[object] = []
        cycle.append(cycle)
        del cycle
        assert gc.collect() >= 1
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


LARGE_BLOCKS = """
from kappa.server.machine import resident_bytes, settle_memory
if {settles}:
    settle_memory()
before = resident_bytes()
for _ in range(3):
    blocks = [(bytearray(16 << 20), bytearray(100_000)) for _ in range(10)]
    kept = [small for _, small in blocks]
    del blocks
print(resident_bytes() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_large_blocks_are_given_back_when_they_are_freed() -> None:
    def held(*, settles: bool) -> int:
        code = LARGE_BLOCKS.format(settles=settles)
        return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    assert held(settles=True) < 16 << 20
    assert held(settles=False) > 100 << 20, "the allocator gives them back by itself: there is nothing to settle"


def test_threads_ask_for_the_lock_soon() -> None:
    before = sys.getswitchinterval()
    try:
        share_lock()
        assert sys.getswitchinterval() == pytest.approx(0.00005)
    finally:
        sys.setswitchinterval(before)


def test_small_files_go_to_memory_else_to_the_temporary_folder_else_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert writable_directory(in_memory=tmp_path) == tmp_path
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert writable_directory(in_memory=tmp_path / "absent") == tmp_path
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: [str(tmp_path / "absent")])
    with pytest.raises(ConfigurationError, match="Mount a `tmpfs` at `/tmp`"):
        writable_directory(in_memory=tmp_path / "absent")


MIB = 1 << 20


class Process:
    """A process of some size, of which some is spare."""

    def __init__(self, resident_mib: int) -> None:
        self.resident_mib = resident_mib
        self.spare_mib = 0
        self.releases = 0

    def release(self) -> None:
        self.releases += 1
        self.resident_mib -= self.spare_mib
        self.spare_mib = 0

    def memory(self) -> SpareMemory:
        return SpareMemory(resident=lambda: self.resident_mib * MIB, release=self.release)

    def grow(self, mib: int, *, spare: bool) -> None:
        self.resident_mib += mib
        self.spare_mib += mib * spare


def test_memory_is_given_back_when_the_process_has_grown_by_what_it_does_not_use() -> None:
    process = Process(200)
    memory = process.memory()
    assert not memory.is_due(0)
    process.grow(60, spare=True)
    assert not memory.is_due(0)
    process.grow(300, spare=True)
    assert memory.is_due(0)
    memory.give_back(0)
    assert (process.resident_mib, process.releases) == (200, 1)
    process.grow(300, spare=True)
    assert memory.is_due(1), "what gained much is done again soon"


def test_memory_in_use_is_asked_for_ever_less_often_and_given_back_in_the_end() -> None:
    process = Process(200)
    memory = process.memory()
    process.grow(500, spare=False)
    tries = []
    for second in range(20):
        if memory.is_due(second):
            memory.give_back(second)
            tries.append(second)
    assert tries == [0, 2, 6, 10, 14, 18]
    process.spare_mib = 500
    assert next(second for second in range(20, 30) if memory.is_due(second)) == 22
    memory.give_back(22)
    assert process.resident_mib == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much is resident")
def test_freed_memory_of_a_thread_is_given_back() -> None:
    kept: list[object] = []

    def use() -> None:
        values = [bytes(1000) for _ in range(200_000)]
        kept.append(values[-1])  # which keeps the end of what was taken

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    before = resident_bytes()
    release_memory()
    assert resident_bytes() < before - 100 * MIB
