from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from kappa.errors import ConfigurationError
from kappa.server.machine import available_cores, set_thread_counts, settle_memory, writable_directory

AFFINITY = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        pytest.param({}, AFFINITY, id="no-control-group"),
        pytest.param({"cpu.max": "max 100000\n"}, AFFINITY, id="v2-unlimited"),
        pytest.param({"cpu.max": "100000 100000\n"}, 1, id="v2-one"),
        pytest.param({"cpu.max": "20000 100000\n"}, 1, id="v2-a-fifth"),
        pytest.param({"cpu.max": "9900000 100000\n"}, AFFINITY, id="v2-more-than-there-are"),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, AFFINITY, id="v1-unlimited"
        ),
        pytest.param({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1, id="v1-one"),
        pytest.param({"cpu.max": "what\n"}, AFFINITY, id="unreadable"),
    ],
)
def test_cores_are_what_affinity_and_control_group_leave(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert available_cores(cgroup=tmp_path) == cores


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
