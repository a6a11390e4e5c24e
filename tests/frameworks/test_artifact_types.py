"""Each artifact type: what it saves it loads, and it says why a file cannot be its own."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import joblib
import pytest
from pydantic import ValidationError
from sklearn.linear_model import LinearRegression

from kappa.errors import BundleError, MissingDependencyError
from kappa.frameworks.json import JSONArtifact
from kappa.frameworks.pickle import PickleArtifact
from kappa.frameworks.sklearn import SklearnModelArtifact
from kappa.frameworks.text import TextFileArtifact
from kappa.frameworks.xgboost import XgboostModelArtifact
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds


@pytest.mark.parametrize("link", [False, True])
def test_a_file_that_the_user_made_is_adopted(tmp_path: Path, link: bool) -> None:
    source, directory = tmp_path / "my-model.json", tmp_path / "artifact"
    source.write_text("[1]", encoding="utf-8")
    directory.mkdir()
    artifact = JSONArtifact("m")
    artifact.adopt(source, directory, link=link)
    assert (artifact.load(directory), (directory / artifact.filename).is_symlink()) == ([1], link)


def test_where_links_are_not_allowed_a_file_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("a privilege is needed")

    monkeypatch.setattr(os, "symlink", refuse)
    source, directory = tmp_path / "words.txt", tmp_path / "artifact"
    source.write_text("a", encoding="utf-8")
    directory.mkdir()
    TextFileArtifact("m").adopt(source, directory, link=True)
    assert (directory / "content.txt").read_text(encoding="utf-8") == "a"


@pytest.mark.parametrize(
    ("artifact", "data", "reason"),
    [
        (JSONArtifact("m"), b"{", "it is not JSON: Expecting property name"),
        (JSONArtifact("m"), b"\xff", "it is not JSON: 'utf-8' codec can't decode"),
        (TextFileArtifact("m"), b"\xff", "it is not `utf-8` text: 'utf-8' codec can't decode"),
        (TextFileArtifact("m", encoding="nonsense"), b"a", "it is not `nonsense` text: unknown encoding: nonsense"),
        (PickleArtifact("m"), b"", "it is empty"),
        (PickleArtifact("m"), b"a,b\n1,2\n", "it does not begin as a pickle or a joblib file does"),
        (SklearnModelArtifact("m"), b"<html>", "it does not begin as a pickle or a joblib file does"),
    ],
)
def test_a_file_of_another_kind_is_told(tmp_path: Path, artifact: ArtifactPlugin, data: bytes, reason: str) -> None:
    (tmp_path / "model").write_bytes(data)
    assert (artifact.problem_of(tmp_path / "model") or "")[: len(reason)] == reason
    assert artifact.problem_of(tmp_path) == "it is a folder"


@pytest.mark.parametrize("compress", [0, "zlib", "gzip", "bz2", "lzma", "xz"])
def test_every_compression_of_joblib_may_be_a_model(tmp_path: Path, compress: Any) -> None:
    joblib.dump({"a": 1}, tmp_path / "model", compress=compress)
    assert SklearnModelArtifact("m").sniff(tmp_path / "model") is None


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_of_pickle_may_be_a_model(tmp_path: Path, protocol: int) -> None:
    for number, model in enumerate([{"a": 1}, [1.5], "text", LinearRegression(), 5, None]):
        path = tmp_path / str(number)
        path.write_bytes(pickle.dumps(model, protocol=protocol))
        assert PickleArtifact("m").sniff(path) is None


@pytest.mark.parametrize(
    "text",
    [
        "hello.",
        "N",
        "1,2,3\n",
        '{"a": 1}',
        "[1, 2].",
        "import x\nimport y.\n",
        "class A:\n    pass\n.",
        "(a, b).",
        "Iris,1.",
        "Title\n" * 2000,
        "# Title.",
        "I5\n.I5\n.",
    ],
)
def test_text_that_begins_like_an_opcode_is_no_pickle(tmp_path: Path, text: str) -> None:
    (tmp_path / "model").write_text(text)
    said = PickleArtifact("m").sniff(tmp_path / "model")
    assert said == "it does not begin as a pickle or a joblib file does"


@pytest.mark.parametrize(
    ("artifact", "data", "message"),
    [
        (JSONArtifact("m"), b"{", "The artifact `m` is not JSON: "),
        (TextFileArtifact("m"), b"\xff", "The artifact `m` is not `utf-8` text: "),
    ],
)
def test_a_damaged_file_is_a_bundle_error(tmp_path: Path, artifact: ArtifactPlugin, data: bytes, message: str) -> None:
    (tmp_path / artifact.filename).write_bytes(data)
    with pytest.raises(BundleError, match=message):
        artifact.load(tmp_path)


def test_without_scikit_learn_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `sklearn` needs `scikit-learn`"):
        SklearnModelArtifact("m").load(tmp_path)


@pytest.mark.parametrize("name", ["", "a b", "../up", "_a", "items", "get", "task", "tasks", "keys", "values"])
def test_a_name_that_functions_could_not_use_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"is not a name|cannot name an artifact"):
        JSONArtifact(name)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"learner":{},"version":[2,1,3]}', id="json"),
        pytest.param(
            b"{L\0\0\0\0\0\0\0\x07learner{}L\0\0\0\0\0\0\0\x07version[#L\0\0\0\0\0\0\0\x03i\x02i\x01i\x03}", id="ubjson"
        ),
    ],
)
def test_an_xgboost_file_tells_the_version_that_wrote_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model").write_bytes(content)
    artifact = XgboostModelArtifact("m")
    assert artifact.needs_of_file(tmp_path / "model") == ModelNeeds(("xgboost",), {"xgboost": "2.1.3"})
    assert artifact.sniff(tmp_path / "model") is None
    (tmp_path / "model").write_bytes(b"{}")
    assert artifact.needs_of_file(tmp_path / "model") == ModelNeeds(("xgboost",))
    (tmp_path / "model").write_bytes(b"binf")
    assert artifact.sniff(tmp_path / "model") == "it does not begin as XGBoost's formats do, which `save_model` writes"


def test_an_xgboost_model_without_the_library_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `xgboost` needs `xgboost`"):
        XgboostModelArtifact("m").load(tmp_path)
