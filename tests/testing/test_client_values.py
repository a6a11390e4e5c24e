"""Values go to every adapter and come back as values: one instance, asked in this process by the client."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import kappa
from kappa.adapters import (
    AnnotatedImageInput,
    DataframeInput,
    DataframeOutput,
    FileInput,
    FileOutput,
    ImageInput,
    ImageOutput,
    JsonInput,
    MultiFileInput,
    MultiImageInput,
    NdarrayInput,
    NdarrayOutput,
    SeriesOutput,
    StringInput,
)
from kappa.bento import BentoService
from kappa.errors import AnswerError, ConfigurationError, InferenceFailedError, UsageError
from kappa.frameworks.json import JSONArtifact
from kappa.testing import Client, client
from kappa.types import FileLike


@kappa.artifacts([JSONArtifact("factor")])
class Everything(BentoService):
    """Answers with what it was given."""

    seen: Any = None

    @kappa.api(input=DataframeInput(), output=DataframeOutput(), batch=True)
    def frame(self, frame: Any) -> Any:
        type(self).seen = frame
        return frame

    @kappa.api(input=DataframeInput(orient="split"), output=DataframeOutput(orient="index"), batch=True)
    def laid_out(self, frame: Any) -> Any:
        return frame

    @kappa.api(input=DataframeInput(), output=SeriesOutput(), batch=True)
    def series(self, frame: Any) -> Any:
        return frame.iloc[:, 0]

    @kappa.api(input=DataframeInput(columns={"a": "int64"}), batch=True)
    def declared(self, frame: Any) -> Any:
        return (frame["a"] * self.artifacts.factor).to_numpy()

    @kappa.api(input=NdarrayInput(), output=NdarrayOutput(), batch=True)
    def array(self, array: Any) -> Any:
        type(self).seen = array
        return array

    @kappa.api(input=DataframeInput(), batch=True)
    def outputs(self, frame: Any) -> Any:
        return {"first": frame.iloc[::-1].iloc[:, 0], "rows": frame.to_numpy()}

    @kappa.api(input=DataframeInput(), output=DataframeOutput(), batch=True)
    def columns(self, frame: Any) -> Any:
        return {"first": frame.iloc[:, 0], "half": frame.iloc[:, 0].to_numpy() / 2}

    @kappa.api(input=JsonInput())
    def value(self, value: Any) -> Any:
        return value

    @kappa.api(input=StringInput())
    def text(self, text: str) -> str:
        return text.upper()

    @kappa.api(input=FileInput(), output=FileOutput(media_type="application/octet-stream"))
    def file(self, file: FileLike) -> bytes:
        return f"{file.name}|{file.media_type}|".encode() + file.read()

    @kappa.api(input=ImageInput(), output=ImageOutput())
    def image(self, image: Any) -> Any:
        return 255 - image

    @kappa.api(input=MultiFileInput(input_names=("left", "right"), allow_none=True))
    def files(self, left: FileLike | None, right: FileLike | None) -> Any:
        return [file and [file.name, file.read().decode()] for file in (left, right)]

    @kappa.api(input=MultiImageInput(input_names=("before", "after")))
    def images(self, before: Any, after: Any) -> Any:
        return [before.shape, after.shape]

    @kappa.api(input=AnnotatedImageInput())
    def annotated(self, image: Any, annotations: Any) -> Any:
        return [image.shape, annotations]


FRAME = pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan], "c": ["x", None], "d": [True, False]})
DATED = pd.DataFrame({"at": pd.to_datetime(["2026-01-02", "2026-01-03"]), "n": np.array([1, 2], dtype="int32")})
PICTURE = np.zeros((2, 3, 3), dtype="uint8")


@pytest.fixture(scope="module")
def asking() -> Iterator[Client]:
    with client(Everything().pack("factor", 10)) as made:
        yield made


def test_a_frame_arrives_as_it_is_and_comes_back_as_one(asking: Client) -> None:
    answer = asking.frame(FRAME)
    pd.testing.assert_frame_equal(Everything.seen.astype(object), FRAME.astype(object))
    assert (answer.columns.tolist(), answer["a"].tolist(), answer["d"].tolist()) == (
        list("abcd"),
        [1, 2],
        [True, False],
    )


def test_dtypes_that_json_does_not_have_arrive_too(asking: Client) -> None:
    answer = asking.frame(DATED)
    assert [str(dtype) for dtype in Everything.seen.dtypes] == [str(dtype) for dtype in DATED.dtypes]
    pd.testing.assert_frame_equal(answer, DATED)


def test_columns_that_are_only_numbered_have_no_names(asking: Client) -> None:
    asking.frame(pd.DataFrame([[1.5, 2.5]]))
    assert Everything.seen.columns.tolist() == [0, 1]


def test_declared_layouts_are_kept_both_ways(asking: Client) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    pd.testing.assert_frame_equal(asking.laid_out(frame), frame)
    text = asking.call("laid_out", frame, returns="text")
    assert text == '{"0":{"a":1,"b":3},"1":{"a":2,"b":4}}'


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "text/csv", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"],
)
def test_a_frame_is_sent_as_what_is_asked_for(asking: Client, media_type: str) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    pd.testing.assert_frame_equal(asking.call("frame", frame, media_type=media_type), frame)


def test_a_server_without_arrow_is_asked_in_json(asking: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.ipc", None)
    monkeypatch.setattr("kappa.remote.wire.encode_arrow", lambda frame: b"whatever")
    monkeypatch.setattr("kappa.remote.wire.find_spec", lambda name: True)
    assert asking.call("frame", DATED, returns="json") == [
        {"at": "2026-01-02T00:00:00", "n": 1},
        {"at": "2026-01-03T00:00:00", "n": 2},
    ]


def test_a_series_goes_as_a_column_and_comes_back(asking: Client) -> None:
    answer = asking.series(pd.Series([3, 4], name="n"))
    pd.testing.assert_series_equal(answer, pd.Series([3, 4]), check_names=False)


def test_arrays_keep_every_bit(asking: Client) -> None:
    array = np.array([[0.1, np.nan], [np.inf, -0.0]], dtype="float32")
    answer = asking.array(array)
    assert (Everything.seen.dtype, answer.dtype, answer.tobytes()) == (array.dtype, array.dtype, array.tobytes())
    assert asking.call("array", [[1, 2]], returns="json") == [[1, 2]]
    assert asking.call("declared", FRAME, returns="ndarray").tolist() == [10, 20]


def test_outputs_by_name_come_back_under_their_names(asking: Client) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    assert asking.outputs(frame) == {"first": [1, 2], "rows": [[1, 3], [2, 4]]}
    pd.testing.assert_frame_equal(asking.columns(frame), pd.DataFrame({"first": [1, 2], "half": [0.5, 1.0]}))
    csv = asking.post("/columns", json=[{"a": 1}], headers={"Accept": "text/csv", "Content-Type": "application/json"})
    assert csv.text == "first,half\n1,0.5\n"


def test_json_text_and_tensors_that_are_values(asking: Client) -> None:
    assert asking.value({"a": [1, None, "x"]}) == {"a": [1, None, "x"]}
    assert asking.value(np.float64(1.5)) == 1.5
    assert asking.text("straße") == "STRASSE"
    assert asking.declared([{"a": 4}]) == [40]


def test_files_are_sent_whatever_they_are(asking: Client, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b\n")
    assert asking.file(path) == b"|text/csv|a,b\n"
    assert asking.file(b"\x00\xff") == b"|application/octet-stream|\x00\xff"
    assert asking.file(io.BytesIO(b"open")) == b"|application/octet-stream|open"
    with path.open("rb") as opened:
        assert asking.file(opened) == b"|text/csv|a,b\n"


def test_pictures_are_paths_arrays_or_images(asking: Client, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "black.png")
    white = np.full_like(PICTURE, 255)
    for given in (PICTURE, Image.fromarray(PICTURE), tmp_path / "black.png", (tmp_path / "black.png").read_bytes()):
        answer = np.asarray(Image.open(io.BytesIO(asking.image(given))))
        assert answer.tolist() == white.tolist()


def test_forms_are_mappings_of_files(asking: Client, tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("left")
    assert asking.files({"left": tmp_path / "l.txt", "right": b"right"}) == [["l.txt", "left"], ["file", "right"]]
    assert asking.files({"left": b"only", "right": None}) == [["file", "only"], None]
    assert asking.images({"before": PICTURE, "after": Image.new("RGB", (5, 4))}) == [[2, 3, 3], [4, 5, 3]]
    assert asking.annotated({"image": PICTURE, "annotations": {"boxes": [1, 2]}}) == [[2, 3, 3], {"boxes": [1, 2]}]


def test_refusals_are_errors_with_their_status(asking: Client) -> None:
    with pytest.raises(AnswerError, match="`a`") as error:
        asking.declared([{"b": 1}])
    assert error.value.http_status == 422
    assert asking.post("/declared", json=[{"b": 1}]).status_code == 422


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c: c.call("image", 5), UsageError, "A `int` is not a picture"),
        (lambda c: c.call("image", "digit0.png"), UsageError, r'for the file of this name give `Path\("digit0.png"\)`'),
        (lambda c: c.call("value", 1, returns="table"), UsageError, "`returns` is one of `json`, `dataframe`"),
        (lambda c: c.call("file", object()), UsageError, "`file` takes `application/octet-stream`, and a `object`"),
        (
            lambda c: c.call("value", 1, returns="dataframe"),
            InferenceFailedError,
            "The answer of `value` is no dataframe",
        ),
        (lambda c: c.call("value", object()), InferenceFailedError, "cannot be written as JSON"),
    ],
)
def test_what_cannot_be_sent_or_read_is_said(asking: Client, call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(asking)


def test_an_instance_that_is_not_packed_cannot_be_asked() -> None:
    with pytest.raises(ConfigurationError, match="`factor` has no model yet: pack it first"), client(Everything()):
        pass
