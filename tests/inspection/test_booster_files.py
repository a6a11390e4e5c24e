"""What the files of boosters say of their columns, and which of them have lost their last bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.inspection.boosters import read_catboost, read_lightgbm
from kappa.inspection.report import Model
from kappa.inspection.streams import head_of
from tests.build.checks.test_model_checks import problems
from tests.inspection import samples

LINE = b'\npandas_categorical:[["Oslo", "Rome"]]\n'
ESTIMATOR = b'\nkappa_estimator:{"class": "LGBMRegressor"}\n'


def catboost(folder: Path, data: bytes) -> Model:
    path = folder / "model.cbm"
    path.write_bytes(data)
    model = read_catboost(path, head_of(path))
    assert model is not None
    return model


def lightgbm(folder: Path, data: bytes) -> Model:
    path = folder / "model.txt"
    path.write_bytes(data)
    model = read_lightgbm(path, head_of(path))
    assert model is not None
    return model


def test_the_columns_of_a_binary_of_catboost_are_told(tmp_path: Path) -> None:
    model = catboost(tmp_path, samples.catboost_of("age", "größe", categories=("town",)))
    assert (model.feature_names, model.feature_count, model.problem) == (("age", "größe", "town"), 3, "")


def test_columns_that_catboost_numbered_have_no_names(tmp_path: Path) -> None:
    model = catboost(tmp_path, samples.catboost_of("", "", ""))
    assert (model.feature_names, model.feature_count) == ((), 3)


def test_columns_of_a_kind_that_is_not_known_leave_the_others_untold(tmp_path: Path) -> None:
    body = samples.flatbuffer({1: {5: [{2: 1, 4: "age"}]}})  # the column 0 is elsewhere
    model = catboost(tmp_path, b"CBM1" + len(body).to_bytes(4, "little") + body)
    assert (model.feature_names, model.feature_count, model.problem) == ((), None, "")


def test_columns_of_catboost_are_held_against_those_of_tables(tmp_path: Path) -> None:
    (tmp_path / "model.cbm").write_bytes(samples.catboost_of("rooms", "area"))
    (problem,) = problems(tmp_path, kind="catboost", path="model.cbm", columns='area = "float64", room = "float64"')
    message = "`model.cbm` was fitted with `rooms`, which `columns` of `price` has not."
    assert problem == ("KF334", 11, message, "`room` is perhaps `rooms`.")
    assert problems(tmp_path, kind="catboost", path="model.cbm", columns='area = "float64", rooms = "float64"') == []


@given(st.binary(max_size=400))
def test_whatever_stands_in_a_binary_of_catboost_is_read_within_it(body: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model = catboost(Path(folder), b"CBM1" + len(body).to_bytes(4, "little") + body)
    assert (model.kind, model.problem) == ("catboost", "")


@given(st.data())
def test_a_binary_of_catboost_with_other_offsets_is_read_within_it(data: st.DataObject) -> None:
    import tempfile

    whole = bytearray(samples.catboost_of("age", "income", categories=("town",)))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        assert catboost(Path(folder), bytes(whole)).kind == "catboost"


@pytest.mark.parametrize("end", [b"", samples.LIGHTGBM_TAIL, samples.LIGHTGBM_TAIL + LINE, LINE])
def test_a_text_of_lightgbm_is_whole_with_what_its_packages_write_at_its_end(end: bytes, tmp_path: Path) -> None:
    assert lightgbm(tmp_path, samples.LIGHTGBM + end).problem == ""


@pytest.mark.parametrize("estimator", [b"", ESTIMATOR], ids=["booster", "estimator"])
def test_a_text_of_lightgbm_that_lacks_its_last_bytes_is_not_whole(estimator: bytes, tmp_path: Path) -> None:
    whole = samples.LIGHTGBM + samples.LIGHTGBM_TAIL + estimator + LINE
    assert lightgbm(tmp_path, whole).problem == ""
    ends_as_the_library_writes_it = {len(samples.LIGHTGBM + samples.LIGHTGBM_TAIL) + blank for blank in (0, 1)}
    for missing in range(1, len(estimator + LINE) + 30):
        size = len(whole) - missing
        is_truncated = lightgbm(tmp_path, whole[:size]).is_truncated
        assert is_truncated == (size not in ends_as_the_library_writes_it), whole[:size][-40:]


def test_a_text_of_lightgbm_that_lacks_its_last_bytes_is_an_error_of_validate(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_bytes((samples.LIGHTGBM + samples.LIGHTGBM_TAIL + LINE)[:-3])
    (problem,) = problems(tmp_path, kind="lightgbm", path="model.txt")
    assert problem[:3] == ("KF333", 8, "`model.txt` is not a whole model: it ends too soon.")
