from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

from kappa.errors import ConfigurationError
from kappa.server.machine import set_thread_counts, settle_memory, share_lock, writable_directory


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
