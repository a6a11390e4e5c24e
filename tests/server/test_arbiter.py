"""What the master process makes of workers that end."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("gunicorn does not run on Windows", allow_module_level=True)

from kappa.server.arbiter import Retries


def test_pauses_between_failures_grow_and_begin_anew_after_a_worker_was_ready() -> None:
    now = 100.0
    retries = Retries(lambda: now)
    assert not retries.is_pausing
    assert [retries.failed(2) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert retries.is_pausing
    now += 30
    assert not retries.is_pausing
    assert [retries.failed(3), retries.failed(3), retries.failed(4)] == [1, 2, 1]
