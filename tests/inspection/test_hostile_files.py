"""Hostile and broken files: nothing of them is run or imported, and none that could do harm is called safe."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kappa.inspection import opcodes, streams
from kappa.inspection.detection import inspect_path
from kappa.inspection.opcodes import PickleReader
from kappa.inspection.streams import UnreadableError, stream_of
from tests.inspection.hostile import Hostile, hostile_files

ROOT = Path(__file__).parents[2]


HARMLESS = (
    "a buffer of somebody's",
    "a float of many digits",
    "a frame that lies",
    "a key that is a list",
    "a list that holds itself",
    "a long of many digits",
    "after the end",
    "an int of many digits",
    "an object that holds itself",
    "an odd number of items",
    "doubled tuples",
    "lists in a string of themselves",
    "lists of lists",
)
"""What names nothing but what such models are made of, and takes no more memory than its file."""


@cache
def all_files() -> list[Hostile]:
    return [*hostile_files()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if sys.platform != "linux":
        pytest.skip("its memory is bounded, and measured, as Linux does")
    folder = tmp_path_factory.mktemp("hostile")
    command = [sys.executable, "-m", "tests.inspection.hostile_run", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_there_are_two_hundred_of_them_and_no_two_are_the_same() -> None:
    files = all_files()
    assert len(files) >= 200
    assert len({name for name, _ in files}) == len(files)


@pytest.mark.engine
def test_nothing_is_run_or_imported_or_written(run: dict[str, Any]) -> None:
    assert {one["name"]: one["events"] for one in run["results"] if one["events"]} == {}
    assert run["files"] == ["kappafile.toml", "model"]


@pytest.mark.engine
def test_every_one_ends_in_a_report(run: dict[str, Any]) -> None:
    wrong = [one for one in run["results"] if not {*one["codes"]} <= {0, 3} or "defect of Kappa" in one["checked"]]
    assert wrong == []


@pytest.mark.engine
def test_none_is_called_safe(run: dict[str, Any]) -> None:
    safe = [
        one["name"].partition(" ")[2].removesuffix(".pkl")
        for one in run["results"]
        if one["report"]["verdict"] and one["report"]["verdict"]["state"] == "safe" and not one["report"]["problem"]
    ]
    assert {*safe} - {*HARMLESS} == set()
    assert {*HARMLESS} - {*safe} == set()


@pytest.mark.engine
def test_what_runs_commands_is_called_dangerous_and_refused(run: dict[str, Any]) -> None:
    titles = (
        "os.system",
        "subprocess.Popen",
        "builtins.exec",
        "nested",
        "getattr",
        "partial",
        "command",
        "system.skops",
    )
    for one in run["results"]:
        if any(title in one["name"] for title in titles):
            assert (one["report"]["verdict"]["state"], one["codes"][0]) == ("dangerous", 3), one["name"]
            assert "dangerous: do not load it" in one["text"]


@pytest.mark.engine
def test_what_ends_too_soon_is_refused(run: dict[str, Any]) -> None:
    cut = [one for one in run["results"] if " of ten of " in one["name"]]
    told = [one for one in cut if one["codes"][0] == 3]
    assert len(cut) == 126
    typed = [one for one in cut if one["name"].endswith((".joblib", ".ubj", ".json"))]
    assert {one["name"]: one["codes"][2] for one in typed if one["codes"][2] != 3} == {}
    assert [one["name"] for one in cut if one not in told] == []


@pytest.mark.engine
def test_no_text_steers_the_terminal(run: dict[str, Any]) -> None:
    assert [one["name"] for one in run["results"] if "\x1b" in one["text"] + one["checked"]] == []


def test_each_is_told_in_this_process_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opcodes, "_MOST_STEPS", 20_000)
    monkeypatch.setattr(streams, "_FREE_BYTES", 1 << 20)
    for name, content in all_files():
        path = tmp_path / name.replace("/", "_")
        path.write_bytes(content)
        model = inspect_path(path)
        assert model is not None, name
        assert model.certainty != "certain" or not model.problem or "entry" in model.problem or path.suffix == ".keras"
        path.unlink()


@pytest.mark.parametrize("data", [b"\x80\x02" + b"N0" * 9_999 + b"N.", b"\x80\x04N" + b"\x94" * 9_999 + b"."])
def test_opcodes_are_counted(data: bytes) -> None:
    reader = PickleReader(most_steps=5_000)
    with pytest.raises(UnreadableError, match="it has more opcodes than are read"):
        reader.read(stream_of(data))
    assert reader.steps_left == 0


def test_the_opcodes_of_pickles_inside_count_too() -> None:
    inner = b"\x80\x02" + b"N0" * 400 + b"N."
    reader = PickleReader(most_steps=5_000)
    with pytest.raises(UnreadableError, match="it has more opcodes than are read"):
        reader.read(stream_of(b"\x80\x03" + (b"B" + len(inner).to_bytes(4, "little") + inner) * 9 + b"."))
