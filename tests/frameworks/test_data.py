"""Arrays, tables and files: what is no such thing, and what functions receive."""

from __future__ import annotations

import mmap
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kappa.actions.inspecting import inspect_model
from kappa.errors import ConfigurationError, MissingDependencyError
from kappa.frameworks.cloudpickle import CloudpickleArtifact
from kappa.frameworks.file import FileArtifact
from kappa.frameworks.frame import FrameArtifact
from kappa.frameworks.numpy import NumpyArtifact
from kappa.inspection.detection import inspect_path
from kappa.spec.contracts import ArtifactPlugin
from tests.frameworks.zero_code import problems


def adopted(artifact: ArtifactPlugin, path: Path, folder: Path) -> Any:
    """Return what a bundle loads of a file of the user's."""
    assert artifact.problem_of(path) is None
    folder.mkdir()
    artifact.adopt(path, folder)
    return artifact.load(folder)


def test_an_array_is_mapped_so_that_workers_share_it_and_cannot_be_changed(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.arange(6.0).reshape(2, 3))
    array = adopted(NumpyArtifact("m"), tmp_path / "vectors.npy", tmp_path / "bundle")
    assert (type(array), array.tolist()) == (np.ndarray, [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    bases = [array]
    while getattr(bases[-1], "base", None) is not None:
        bases.append(bases[-1].base)
    assert isinstance(bases[-1], mmap.mmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1


def test_an_array_of_a_project_may_be_written_anew_while_it_is_served(tmp_path: Path) -> None:
    """A file that is mapped and cut off ends a process that reads it."""
    np.save(tmp_path / "vectors.npy", np.arange(10_000.0))
    (tmp_path / "linked").mkdir()
    artifact = NumpyArtifact("m")
    artifact.adopt(tmp_path / "vectors.npy", tmp_path / "linked", link=True)
    array = artifact.load(tmp_path / "linked")
    (tmp_path / "vectors.npy").write_bytes(b"")
    assert (array.sum(), array.flags.writeable) == (49_995_000.0, False)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_several_arrays_come_by_their_names(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "layers.npz", weights=np.ones((2, 2)), bias=np.zeros(2))
    arrays = adopted(NumpyArtifact("m"), tmp_path / "layers.npz", tmp_path / "bundle")
    assert {name: array.tolist() for name, array in arrays.items()} == {"weights": [[1, 1], [1, 1]], "bias": [0, 0]}


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([{}]), "it holds Python objects, which are a pickle"),
        (np.array([(1, {})], dtype=[("a", "i4"), ("b", "O")]), "it holds Python objects, which are a pickle"),
        (
            np.array([((1, {}), 1)], dtype=[("a", [("c", "i4"), ("d", "O")]), ("b", "O")]),
            "it holds Python objects, which are a pickle",
        ),
        (np.array([(1, 2.0)], dtype=[("a", "i4"), ("O", "f8", (2, 2))]), None),
        (np.array("2026-01-01", dtype="datetime64[2D]"), None),
        (np.zeros((0, 3), "S5"), None),
        (np.asfortranarray(np.ones((3, 2), ">c16")), None),
    ],
    ids=["objects", "field", "nested", "structured", "time", "empty", "fortran"],
)
def test_an_array_of_objects_is_refused_before_it_is_loaded(tmp_path: Path, array: Any, reason: str | None) -> None:
    np.save(tmp_path / "array.npy", array)
    assert NumpyArtifact("m").problem_of(tmp_path / "array.npy") == reason
    assert problems(tmp_path, "numpy", "array.npy", options='[security]\npickle = "forbid"') == (
        [] if reason is None else ["KF309"]
    )
    if reason is not None:
        with pytest.raises(
            ConfigurationError, match="Python objects, which its type `numpy` does not keep: give it a `dtype`"
        ):
            NumpyArtifact("m").save(array, tmp_path)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_an_array_that_ends_too_soon_is_refused_in_every_version_of_the_format(
    tmp_path: Path, version: tuple[int, int]
) -> None:
    with (tmp_path / "array.npy").open("wb") as file:
        np.lib.format.write_array(file, np.array(["a", "bcd"]), version=version)
    artifact, whole = NumpyArtifact("m"), (tmp_path / "array.npy").read_bytes()
    assert artifact.problem_of(tmp_path / "array.npy") is None
    (tmp_path / "array.npy").write_bytes(whole[:-1])
    assert artifact.problem_of(tmp_path / "array.npy") == "it ends too soon"


@pytest.mark.parametrize(
    "header", [b"(" * 200, b"{'descr': '<f8', 'shape': (-1,)}", b"[]", b"{'shape': (True,)}", b"9" * 9000]
)
def test_a_header_of_nonsense_is_refused(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "array.npy").write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header)
    assert NumpyArtifact("m").problem_of(tmp_path / "array.npy") == "its header is not that of an array"


def test_inspection_tells_what_arrays_and_tables_are(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros((2, 3), "f4"))
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "frame.parquet")
    models = [inspect_path(tmp_path / name) for name in ("one.npy", "two.npz", "frame.parquet")]
    assert [(model.kind, model.certainty, model.problem) for model in models if model is not None] == [
        ("numpy", "certain", ""),
        ("numpy", "certain", ""),
        ("parquet", "certain", ""),
    ]
    assert [model.remarks[0] for model in models[:2] if model is not None] == [
        "It is an array of `<f4`, 2 x 3.",
        "It holds the arrays `a`, `b`.",
    ]
    assert [inspect_model(tmp_path / name).advice for name in ("one.npy", "frame.parquet")] == [
        'Write `type = "numpy"` for it; a function receives it by the artifact\'s name.',
        'Write `type = "frame"` for what `to_parquet` or `write_parquet` wrote.',
    ]


def test_a_table_without_its_end_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "frame.parquet")
    whole = (tmp_path / "frame.parquet").read_bytes()
    artifact = FrameArtifact("m")
    assert artifact.problem_of(tmp_path / "frame.parquet") is None
    for data in (whole[:-1], whole[:4] + whole[-8:], b"PAR1"):
        (tmp_path / "frame.parquet").write_bytes(data)
        assert artifact.problem_of(tmp_path / "frame.parquet") == "it ends too soon"


@pytest.mark.polars
def test_a_table_of_pandas_becomes_one_of_polars_by_option(tmp_path: Path) -> None:
    import polars as pl

    pd.DataFrame({"a": [1, 2]}).to_parquet(tmp_path / "frame.parquet")
    artifact = FrameArtifact("m", library="polars")
    frame = adopted(artifact, tmp_path / "frame.parquet", tmp_path / "bundle")
    assert (type(frame), frame["a"].to_list()) == (pl.DataFrame, [1, 2])
    assert (artifact.requires(), FrameArtifact("m").requires()) == (("polars",), ("pandas", "pyarrow"))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("words.bin", "content.bin"),
        ("MODEL.V2.tar.gz", "content.tar.gz"),
        ("noext", "content"),
        (".hidden", "content"),
        ("strange. ü", "content"),
        ("en.0.1.onnx", "content.1.onnx"),
    ],
)
def test_a_file_keeps_its_extension_and_comes_as_a_path(tmp_path: Path, name: str, kept: str) -> None:
    (tmp_path / name).write_bytes(b"1")
    path = adopted(FileArtifact("m"), tmp_path / name, tmp_path / "bundle")
    assert (path, path.read_bytes()) == (tmp_path / "bundle" / kept, b"1")


def test_a_folder_comes_as_a_path(tmp_path: Path) -> None:
    (tmp_path / "model.d").mkdir()
    (tmp_path / "model.d" / "weights").write_bytes(b"1")
    path = adopted(FileArtifact("m"), tmp_path / "model.d", tmp_path / "bundle")
    assert (path.name, (path / "weights").read_bytes()) == ("content", b"1")


def test_a_linked_file_outlives_its_link(tmp_path: Path) -> None:
    """That of a project is linked into a folder, which is gone once it is loaded."""
    (tmp_path / "words.bin").write_bytes(b"1")
    (tmp_path / "linked").mkdir()
    artifact = FileArtifact("m")
    artifact.adopt(tmp_path / "words.bin", tmp_path / "linked", link=True)
    assert artifact.load(tmp_path / "linked") == tmp_path / "words.bin"


@pytest.mark.cloudpickle
def test_cloudpickle_keeps_a_function_that_pickle_cannot_and_names_what_it_needs(tmp_path: Path) -> None:
    artifact = CloudpickleArtifact("m")
    artifact.save(lambda rows: np.asarray(rows) * 2, tmp_path)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(lambda: 1)
    file = tmp_path / artifact.filename
    assert artifact.problem_of(file) is None
    for needs in (artifact.needs_of_file(file), artifact.needs_of_model(lambda rows: np.asarray(rows))):
        assert {module.partition(".")[0] for module in needs.modules} >= {"cloudpickle", "numpy"}
    assert artifact.load(tmp_path)([1, 2]).tolist() == [2, 4]
    assert problems(tmp_path, "cloudpickle", artifact.filename, options='[security]\npickle = "forbid"') == ["KF315"]


@pytest.mark.parametrize(
    ("artifact", "module", "requirement"),
    [
        (NumpyArtifact("m"), "numpy", "numpy"),
        (FrameArtifact("m"), "pyarrow", "pyarrow"),
        (FrameArtifact("m", library="polars"), "polars", "polars"),
        (CloudpickleArtifact("m"), "cloudpickle", "cloudpickle"),
    ],
)
def test_without_the_library_its_name_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, artifact: ArtifactPlugin, module: str, requirement: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    message = f"The artifact type `{artifact.type}` needs `{requirement}`"
    with pytest.raises(MissingDependencyError, match=message):
        artifact.load(tmp_path)
