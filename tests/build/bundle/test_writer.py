"""The tree of a bundle while it is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pytest

from kappa._files import sha256_of_bytes
from kappa.build.bundle.plan import PlannedArtifact
from kappa.build.bundle.writer import BundleTree
from kappa.errors import BuildError, ConfigurationError
from kappa.spec.contracts import ArtifactPlugin
from kappa.spec.document import ArtifactSource


class FolderArtifact(ArtifactPlugin):
    filename = "model"
    type: Literal["test.folder"] = "test.folder"

    def save(self, model: Callable[[Path], None], directory: Path) -> None:
        model(directory)


def packing(model: Any) -> PlannedArtifact:
    return PlannedArtifact(FolderArtifact("model"), ArtifactSource(value=model))


def test_digests_are_those_of_the_files(tmp_path: Path) -> None:
    tree = BundleTree(tmp_path)
    tree.write(PurePosixPath("a/b.txt"), "é")
    tree.write(PurePosixPath("a/c.txt"), b"\x00")
    assert tree.digests() == {"a/b.txt": sha256_of_bytes("é".encode()), "a/c.txt": sha256_of_bytes(b"\x00")}


def test_no_file_is_hashed_twice(tmp_path: Path) -> None:
    tree = BundleTree(tmp_path)
    tree.write(PurePosixPath("model.bin"), "1")
    first = tree.digests()
    (tmp_path / "model.bin").chmod(0)  # root could still read it, so its content goes as well
    (tmp_path / "model.bin").write_text("2")
    tree.write(PurePosixPath("later.txt"), "3")
    assert tree.digests() == {**first, "later.txt": sha256_of_bytes(b"3")}


def test_no_file_is_written_twice(tmp_path: Path) -> None:
    tree = BundleTree(tmp_path)
    tree.write(PurePosixPath("a.txt"), "1")
    with pytest.raises(FileExistsError):
        tree.write(PurePosixPath("a.txt"), "2")


def test_copies_keep_their_content_and_their_right_to_run(tmp_path: Path) -> None:
    source = tmp_path / "tool"
    source.write_bytes(b"#!/bin/sh\n")
    source.chmod(0o740)
    tree = BundleTree(tmp_path / "bundle")
    tree.copy({PurePosixPath("bin/tool"): source})
    assert (tree.root / "bin" / "tool").read_bytes() == b"#!/bin/sh\n"
    assert (tree.root / "bin" / "tool").stat().st_mode & 0o777 == 0o755


def test_artifact_fills_its_folder_and_its_size_is_told(tmp_path: Path) -> None:
    def save(directory: Path) -> None:
        (directory / "deep").mkdir()
        (directory / "deep" / "weights.bin").write_bytes(b"12345")
        (directory / "config.json").write_bytes(b"{}")
        (directory / "config.json").chmod(0o700)

    tree = BundleTree(tmp_path)
    assert tree.pack(packing(save), PurePosixPath("M/artifacts/model")) == 7
    assert set(tree.digests()) == {"M/artifacts/model/config.json", "M/artifacts/model/deep/weights.bin"}
    assert (tmp_path / "M/artifacts/model/config.json").stat().st_mode & 0o777 == 0o644


def test_what_no_digest_covers_is_not_packed(tmp_path: Path) -> None:
    def save(directory: Path) -> None:
        (directory / "__pycache__").mkdir()
        (directory / "__pycache__" / "x.pyc").write_bytes(b"12345")
        (directory / "y.pyc").write_bytes(b"12345")
        (directory / "model").write_bytes(b"1")

    tree = BundleTree(tmp_path)
    assert tree.pack(packing(save), PurePosixPath("M/artifacts/model")) == 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["model"]


@pytest.mark.skipif(sys.platform == "win32", reason="links and named pipes are those of POSIX")
@pytest.mark.parametrize(
    ("make", "word"),
    [
        (os.mkfifo, "a named pipe"),
        (lambda path: path.symlink_to("config.json"), "a link"),
        (lambda path: path.symlink_to("/"), "a link"),
        (lambda path: path.symlink_to("nowhere"), "a link"),
    ],
    ids=["pipe", "link", "link to a folder", "link to nothing"],
)
def test_artifact_that_writes_what_no_bundle_holds_is_an_error(
    tmp_path: Path, make: Callable[[Path], object], word: str
) -> None:
    def save(directory: Path) -> None:
        (directory / "config.json").write_bytes(b"{}")
        make(directory / "weights")

    with pytest.raises(BuildError, match=f"^The artifact `model` wrote `weights`, which is {word}.$"):
        BundleTree(tmp_path).pack(packing(save), PurePosixPath("M/artifacts/model"))


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are those of POSIX")
def test_special_file_is_never_copied(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BuildError, match=r"pipe` cannot be packed: it is a named pipe\."):
        BundleTree(tmp_path / "bundle").copy({PurePosixPath("pipe"): tmp_path / "pipe"})


def test_artifact_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"The artifact `model` wrote no file: its type `test\.folder` is at fault"):
        BundleTree(tmp_path).pack(packing(lambda directory: None), PurePosixPath("M/artifacts/model"))


def test_failure_of_a_model_names_artifact_and_cause_and_kappas_own_pass_through(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        raise ZeroDivisionError("no")

    def refuse(directory: Path) -> None:
        raise ConfigurationError("Not so.")

    with pytest.raises(BuildError, match=r"artifact `model` cannot be kept as `test\.folder`: ZeroDivisionError: no"):
        BundleTree(tmp_path).pack(packing(fail), PurePosixPath("one"))
    with pytest.raises(ConfigurationError, match="Not so"):
        BundleTree(tmp_path).pack(packing(refuse), PurePosixPath("two"))


def test_settled_tree_has_one_time_and_plain_folders(tmp_path: Path) -> None:
    tree = BundleTree(tmp_path / "bundle")
    tree.write(PurePosixPath("a/b/c.txt"), "1")
    (tree.root / "a").chmod(0o700)
    tree.settle(datetime(2026, 1, 1, tzinfo=timezone.utc))
    times = {path.stat().st_mtime for path in (tree.root, *tree.root.rglob("*"))}
    assert times == {datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()}
    assert (tree.root / "a").stat().st_mode & 0o777 == 0o755
