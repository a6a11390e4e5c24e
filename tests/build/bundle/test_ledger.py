"""The ledger of builds: complete, small, and needed by nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from kappa.build.bundle import ledger
from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.ledger import read_builds, recording
from kappa.build.bundle.plan import BuildPlan
from kappa.errors import BuildError
from kappa.log import Kind, listening


def at() -> datetime:
    return datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def test_a_build_is_noted_with_its_inputs_its_lock_and_its_times(plan: BuildPlan, tmp_path: Path) -> None:
    with recording(tmp_path, clock=at) as record:
        with record.step("plan"):
            record.planned(plan)
        build = build_bundle(plan, tmp_path / "bundle", environ=os.environ, stopwatch=record.stopwatch)
        record.built(build, tmp_path / "bundle")
    (noted,) = read_builds(tmp_path)
    seconds = noted.pop("seconds")
    assert list(seconds) == ["plan", "lock", "write"]
    assert noted.pop("total_seconds") == pytest.approx(sum(seconds.values()), abs=0.002)
    assert noted == {
        "started_at": "2026-01-02T03:04:05Z",
        "status": "built",
        "kappa_version": build.manifest.kappa_version,
        "python": noted["python"],
        "name": "Greeter",
        "project": str(plan.project.root),
        "kappafile": "kappafile.toml",
        "lock": {
            "inputs": plan.lock_inputs.digest,
            "resolver": "pip-compile 7.6",
            "platform": plan.lock_inputs.platform,
            "origin": "cached",
            "body": build.lock.body_digest,
        },
        "version": build.manifest.version,
        "path": str(tmp_path / "bundle"),
        "content_digest": build.manifest.content_digest,
        "bundle_digest": build.manifest.bundle_digest,
    }


def test_a_failed_build_is_noted_without_what_its_message_says(tmp_path: Path) -> None:
    def fail() -> None:
        with recording(tmp_path, clock=at):
            raise BuildError("the password is hunter2")

    with pytest.raises(BuildError):
        fail()
    (noted,) = read_builds(tmp_path)
    assert (noted["status"], noted["error"]) == ("failed", "BuildError")
    assert "hunter2" not in (tmp_path / "builds.json").read_text()


def note(home: Path, *names: str) -> None:
    for name in names:
        with recording(home, clock=at) as record:
            record.document["name"] = name


def test_builds_are_read_newest_first_and_by_name(tmp_path: Path) -> None:
    note(tmp_path, "A", "B", "A", "C")
    assert [build["name"] for build in read_builds(tmp_path)] == ["C", "A", "B", "A"]
    assert [build["name"] for build in read_builds(tmp_path, limit=2)] == ["C", "A"]
    assert len(read_builds(tmp_path, name="A")) == 2


def test_without_a_ledger_there_are_no_builds_and_no_file_is_made(tmp_path: Path) -> None:
    assert read_builds(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_only_so_many_builds_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_MOST_BUILDS", 3)
    note(tmp_path, *"ABCDE")
    assert [build["name"] for build in read_builds(tmp_path)] == ["E", "D", "C"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"_default": 3}', b'{"_default": {"x": {}}}', b'{"_default": {"1": 2}}', b"\xff\xfe"],
    ids=repr,
)
def test_a_file_that_is_no_ledger_is_moved_aside_and_builds_go_on(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "builds.json").write_bytes(content)
    said: list[tuple[str, Kind]] = []
    with listening(lambda message, kind: said.append((message, kind))):
        assert read_builds(tmp_path) == []
        assert [message.partition("; ")[2] for message, _ in said] == ["the next build begins a new one."]
        said.clear()
        note(tmp_path, "A")
    assert [build["name"] for build in read_builds(tmp_path)] == ["A"]
    assert (tmp_path / "builds.json.broken").read_bytes() == content
    assert [kind for _, kind in said] == ["warning"]


def test_a_ledger_is_read_where_nothing_can_be_locked(tmp_path: Path) -> None:
    note(tmp_path, "A")
    (tmp_path / ".builds.json.lock").unlink()
    (tmp_path / ".builds.json.lock").mkdir()
    assert [build["name"] for build in read_builds(tmp_path)] == ["A"]


def test_a_ledger_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    said: list[tuple[str, Kind]] = []
    with listening(lambda message, kind: said.append((message, kind))):
        note(tmp_path / "home", "A")
    assert [(message.partition(":")[0], kind) for message, kind in said] == [
        (f"The build could not be noted in `{tmp_path / 'home' / 'builds.json'}`", "warning")
    ]


def _note_many(home: Path, start: Callable[[], object], number: int) -> None:
    start()
    note(home, *(f"{number}-{count}" for count in range(10)))


def test_several_processes_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(4)
    processes = [context.Process(target=_note_many, args=(tmp_path, gate.wait, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert {build["name"] for build in read_builds(tmp_path)} == {f"{n}-{c}" for n in range(4) for c in range(10)}
    json.loads((tmp_path / "builds.json").read_text())
