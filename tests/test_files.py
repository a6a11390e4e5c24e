"""Nobody ever sees half a file, whatever fails; digests tell a whole one."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kappa._files import (
    digest_of_lines,
    in_use,
    is_ignored,
    sha256_of_file,
    staged_directory,
    walk_files,
    write_atomically,
)
from kappa.errors import DestinationExistsError


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, function: str) -> Iterator[None]:
    """Let a call of the system fail as it does on a full disk."""

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(OSError, match="No space left"):
            yield


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with failing(monkeypatch, function):
        write_atomically(path, b"new")
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"file": b"old"}


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_new_file_has_the_users_permissions_and_a_replaced_one_its_own(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "deep" / "new", b"1")
    (tmp_path / "secret").touch(mode=0o600)
    write_atomically(tmp_path / "secret", b"2")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {"plain": modes["plain"], "new": modes["plain"], "secret": 0o600}


def test_a_staged_directory_takes_its_place_whole(tmp_path: Path) -> None:
    destination = tmp_path / "deep" / "result"
    with staged_directory(destination) as staging:
        (staging / "file").write_text("1", encoding="utf-8")
        assert not destination.exists()
    assert [path.name for path in (tmp_path / "deep").rglob("*")] == ["result", "file"]


def test_a_staged_directory_removes_what_a_killed_process_left_and_nothing_that_is_in_use(tmp_path: Path) -> None:
    for name in ("left", "held", "young"):
        (tmp_path / f".result.staging-{name}").mkdir()
    for name in ("left", "held"):
        os.utime(tmp_path / f".result.staging-{name}", (0, 0))
    with in_use(tmp_path / ".result.staging-held"), staged_directory(tmp_path / "result"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".result.staging-held",
        ".result.staging-young",
        "result",
    ]


def test_a_staged_directory_replaces_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    with staged_directory(tmp_path / "result") as staging:
        (staging / "file").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["result", "file"]


def test_a_failed_block_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with staged_directory(tmp_path / "result") as staging:
            (staging / "file").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with failing(monkeypatch, "replace"), staged_directory(tmp_path / "result") as staging:
        (staging / "file").touch()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_destination_that_appeared_meanwhile_is_not_touched(tmp_path: Path, kind: str) -> None:
    destination = tmp_path / "result"

    def fill() -> None:
        with staged_directory(destination) as staging:
            (staging / "file").touch()
            if kind == "folder":
                destination.mkdir()
            (destination / "other" if kind == "folder" else destination).write_text("other", encoding="utf-8")

    with pytest.raises(DestinationExistsError) as error:
        fill()
    assert (
        str(error.value) == f"`{destination}` exists and is not an empty folder; nothing was written. Name another "
        "folder, or remove this one."
    )
    assert [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file()] == ["other"]


@pytest.mark.parametrize("is_failing", [False, True])
def test_what_is_replaced_stays_until_the_new_one_is_whole(tmp_path: Path, is_failing: bool) -> None:
    destination = tmp_path / "result"
    destination.mkdir()
    (destination / "old").touch()
    with suppress(RuntimeError), staged_directory(destination, is_replaced=True) as staging:
        (staging / "new").touch()
        assert [path.name for path in destination.iterdir()] == ["old"]
        if is_failing:
            raise RuntimeError
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert left == ["result", "result/old" if is_failing else "result/new"]


def test_files_are_walked_in_one_order_without_what_others_add(tmp_path: Path) -> None:
    kept = ["b", "a/z", "a-b", "Name/build/x.py", "a/.hidden", "Name/dist/y", "a/X.egg-info/y", "X.dist-info/z"]
    left_out = [
        "build/x",
        "a/__pycache__/m.pyc",
        "X.egg-info/PKG-INFO",
        ".DS_Store",
        "a/.git/config",
        "dist/w",
    ]
    for name in [*kept, *left_out]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [path.as_posix() for path in walk_files(tmp_path)] == sorted(kept)
    assert [path.as_posix() for path in walk_files(tmp_path / "Name", inside="Name/")] == ["build/x.py", "dist/y"]
    assert [name for name in [*kept, *left_out] if is_ignored(Path(name))] == left_out


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="`sha256sum` is not installed")
def test_the_digest_is_that_of_the_lines_that_sha256sum_prints(tmp_path: Path) -> None:
    for name in ("b", "a ü"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    lines = subprocess.run(["sha256sum", "a ü", "b"], cwd=tmp_path, check=True, capture_output=True).stdout
    digests = {name: sha256_of_file(tmp_path / name) for name in ("b", "a ü")}
    assert digest_of_lines(digests, then=b"end") == f"sha256:{hashlib.sha256(lines + b'end').hexdigest()}"
