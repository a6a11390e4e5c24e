"""What the master process makes of workers that end."""

from __future__ import annotations

import signal
import sys
from types import SimpleNamespace

import pytest

if sys.platform == "win32":
    pytest.skip("gunicorn does not run on Windows", allow_module_level=True)

from kappa.server.process import arbiter
from kappa.server.process.arbiter import KappaArbiter, Retries
from kappa.server.process.report import Report


def test_pauses_between_failures_grow_and_begin_anew_after_a_worker_was_ready() -> None:
    now = 100.0
    retries = Retries(lambda: now)
    assert not retries.is_pausing
    assert [retries.failed(2) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert retries.is_pausing
    now += 30
    assert not retries.is_pausing
    assert [retries.failed(3), retries.failed(3), retries.failed(4)] == [1, 2, 1]


def test_a_worker_may_stand_still_while_it_loads_and_is_replaced_afterwards(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def worker(last_seen: float) -> SimpleNamespace:
        return SimpleNamespace(tmp=SimpleNamespace(last_update=lambda: last_seen), aborted=False)

    monkeypatch.setattr(arbiter, "monotonic", lambda: 1000.0)
    kills: list[tuple[int, int]] = []
    master = object.__new__(KappaArbiter)
    master._report, master.timeout = Report(), 60
    master.WORKERS = {1: worker(0.0), 2: worker(0.0), 3: worker(950.0)}
    master._report.ready = {2: None, 3: None}
    monkeypatch.setattr(master, "kill_worker", lambda pid, number: kills.append((pid, number)))
    master.murder_workers()
    master.murder_workers()
    master._report.close()
    assert kills == [(2, signal.SIGABRT), (2, signal.SIGKILL)]
    (said,) = caplog.messages
    assert said.startswith("Process 2 stood still for 60 seconds (`--timeout`) and is replaced: something keeps")
