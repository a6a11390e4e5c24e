"""What servers tell each other, and `kappa reload`, through their folders."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kappa.server.process import running as running_module
from kappa.server.process.running import Announcement, ServerFolder, read_announcement, running_servers


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(running_module, "writable_directory", lambda: tmp_path)
    return tmp_path


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_server_that_runs_is_found_and_one_that_is_dead_is_not(place: Path) -> None:
    folder, other = ServerFolder(), ServerFolder()
    folder.announce(Announcement(os.getpid(), 5000, ("Iris:1",)))
    other.announce(Announcement(dead_process(), 5001, ("Wine:1",)))
    (place / "kappa-server-broken").mkdir()
    (place / "kappa-server-broken" / "announcement.json").write_text("[", encoding="utf-8")
    assert running_servers(places=[place]) == [(folder.path, Announcement(os.getpid(), 5000, ("Iris:1",)))]
    assert read_announcement(folder.path).services == ("Iris:1",)


def test_what_a_killed_server_left_is_removed_by_the_next_one(place: Path) -> None:
    killed = ServerFolder()
    killed.announce(Announcement(dead_process(), 5001, ()))
    begun = ServerFolder()  # and has not announced itself yet
    following = ServerFolder()
    assert (killed.path.exists(), begun.path.exists(), following.path.exists()) == (False, True, True)


def test_a_folder_is_removed_by_the_process_that_made_it_and_by_no_worker(place: Path) -> None:
    folder = ServerFolder()
    folder._owner = -1
    folder.remove()
    assert folder.path.exists()
    folder._owner = os.getpid()
    folder.remove()
    assert not folder.path.exists()


def test_what_is_wanted_comes_with_whether_it_has_passed(place: Path, stage_bundle: Callable[..., Path]) -> None:
    directory = stage_bundle(place / "iris", "Iris", "1")
    folder = ServerFolder()
    for has_passed in (False, True):
        folder.want([directory], have_passed=has_passed)
        (served,) = folder.wanted()
        assert (served.directory, served.has_passed) == (directory, has_passed)
