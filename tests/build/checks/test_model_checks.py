"""What `kappa validate` holds against a model's file before anything is served: nothing of it is loaded."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from kappa.build.project import check_kappafile
from tests.inspection import samples

ROWS = pd.DataFrame({"rooms": [1.0, 2.0, 3.0], "area": [4.0, 6.0, 9.0]})
NAMED = LinearRegression().fit(ROWS, [1, 2, 3])
COUNTED = LinearRegression().fit(ROWS.to_numpy(), [1, 2, 3])


def problems(
    folder: Path,
    *,
    kind: str = "sklearn",
    path: str = "model",
    adapter: str = 'type = "dataframe"',
    columns: str = "",
    example: str = "",
    api: str = "",
) -> list[tuple[Any, ...]]:
    options = f", columns = {{ {columns} }}" if columns else ""
    (folder / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nname = "Service"\n[security]\npickle = "allow"\n'
        f'[artifacts.model]\ntype = "{kind}"\npath = "{path}"\n'
        f'[apis.price]\nartifact = "model"\ninput = {{ {adapter}{options} }}\n{api}'
        + (f'[[examples]]\nname = "one"\napi = "price"\n{example}\n' if example else ""),
        encoding="utf-8",
    )
    found = check_kappafile(folder / "kappafile.toml")[1]
    return [(one.code, one.span.line, one.message, one.help) for one in found if one.is_error]


def test_columns_that_fit_the_model_are_right(tmp_path: Path) -> None:
    joblib.dump(NAMED, tmp_path / "model")
    assert problems(tmp_path, columns='area = "float64", rooms = "float64", other = "str"') == []
    joblib.dump(COUNTED, tmp_path / "model")
    assert problems(tmp_path, columns='a = "float64", b = "float64"') == []


def test_columns_that_lack_one_of_the_models_are_an_error_where_they_stand(tmp_path: Path) -> None:
    joblib.dump(NAMED, tmp_path / "model")
    (found,) = problems(tmp_path, columns='area = "float64", room = "float64"')
    message = "`model` was fitted with `rooms`, which `columns` of `price` has not."
    assert found == ("KF334", 11, message, "`room` is perhaps `rooms`.")


def test_more_or_fewer_columns_than_the_model_has_are_an_error(tmp_path: Path) -> None:
    joblib.dump(COUNTED, tmp_path / "model")
    for columns, count in (('a = "float64"', 1), ('a = "float64", b = "float64", c = "float64"', 3)):
        (found,) = problems(tmp_path, columns=columns)
        message = f"`model` was fitted with 2 columns, and `columns` of `price` has {count}."
        assert found[:3] == ("KF334", 11, message)


def test_columns_of_xgboost_are_known_too(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(samples.ubjson(samples.XGBOOST))
    (found,) = problems(tmp_path, kind="xgboost", columns='age = "float64"')
    assert found[2] == "`model` was fitted with `income`, which `columns` of `price` has not."


@pytest.mark.parametrize(
    ("example", "is_right"),
    [
        ("input = [{ rooms = 1.0, area = 2.0 }]", True),
        ("input = [[1.0, 2.0]]", True),
        ("input = [{ rooms = 1.0, area = 2.0, other = 3.0 }]", True),
        ("input = [{ rooms = 1.0, size = 2.0 }]", False),
        ("input = [[1.0]]", False),
        ('input_file = "row.csv"', False),
    ],
)
def test_an_example_that_lacks_a_column_of_the_model_is_an_error(example: str, is_right: bool, tmp_path: Path) -> None:
    joblib.dump(NAMED, tmp_path / "model")
    (tmp_path / "row.csv").write_text("rooms,size\n1,2\n")
    found = problems(tmp_path, example=example)
    assert [(code, line) for code, line, *_ in found] == ([] if is_right else [("KF335", 15)])
    assert [help_ for *_, help_ in found] == ([] if is_right else ["Its model was fitted with `rooms` and `area`."])


@pytest.mark.parametrize("kind", ["sklearn", "pickle", "cloudpickle"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_pickle_that_ends_too_soon_is_an_error(kind: str, share: float, tmp_path: Path) -> None:
    joblib.dump(NAMED, tmp_path / "model")
    data = (tmp_path / "model").read_bytes()
    (tmp_path / "model").write_bytes(data[: int(len(data) * share)])
    (found,) = problems(tmp_path, kind=kind)
    assert found[:3] == ("KF333", 8, "`model` is not a whole model: it ends too soon.")


@pytest.mark.parametrize("data", [samples.ubjson(samples.XGBOOST), json.dumps(samples.XGBOOST).encode()])
def test_a_file_of_xgboost_that_ends_too_soon_is_an_error(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(data[:-20])
    assert [code for code, *_ in problems(tmp_path, kind="xgboost")] == ["KF333"]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("lightgbm", samples.LIGHTGBM.partition(b"end of trees")[0]),
        ("catboost", samples.catboost()[:-4]),
        ("skops", samples.skops()[:-30]),
        ("onnx", samples.onnx()[:-4]),
    ],
)
def test_a_file_of_a_format_that_ends_too_soon_is_told_to_be_copied_again(
    kind: str, data: bytes, tmp_path: Path
) -> None:
    (tmp_path / f"model.{kind}").write_bytes(data)
    (found,) = problems(tmp_path, kind=kind, path=f"model.{kind}")
    message = f"`model.{kind}` is not a whole model: it ends too soon."
    assert found == ("KF333", 8, message, "Copy it again, or save the model again.")


def test_a_file_of_another_format_is_not_read_as_one_of_onnx(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(samples.ubjson(samples.XGBOOST))
    (found,) = problems(tmp_path, kind="onnx")
    assert found[2] == "`model` is not a model of type `onnx`: it does not begin as the files of ONNX do."


def test_a_class_of_the_script_in_skops_format_is_named(tmp_path: Path) -> None:
    node = samples.skops_node("Mine", None, module="__main__", loader="ObjectNode")
    (tmp_path / "model").write_bytes(samples.skops(extra={"mine": node}))
    (found,) = problems(tmp_path, kind="skops")
    assert (found[0], found[2].partition(" of the script")[0]) == ("KF341", "`model` needs `Mine`")


@pytest.mark.parametrize(("shape", "is_right"), [("[2]", True), ("[-1]", True), ("[3]", False), ("[2, 2]", False)])
def test_rows_of_another_length_than_the_model_has_columns_are_an_error(
    shape: str, is_right: bool, tmp_path: Path
) -> None:
    joblib.dump(COUNTED, tmp_path / "model")
    found = problems(tmp_path, adapter=f'type = "ndarray", shape = {shape}')
    message = f"`model` was fitted with 2 columns, and `shape` of `price` is {shape}."
    assert found == ([] if is_right else [("KF334", 11, message, "Write `shape = [2]`.")])


@pytest.mark.parametrize("kind", ["pickle", "sklearn"])
def test_what_is_whole_is_right_whatever_is_in_it(kind: str, tmp_path: Path) -> None:
    whole = {"a": np.array([{"b": 1}], dtype=object), "c": np.zeros((3, 4), order="F"), "d": np.array(["x"])}
    structured = np.zeros(3, dtype=[("a", "i4"), ("b", "f8", (2,)), ("c", "O")])
    for value in (
        whole,
        structured,
        np.arange(5).astype("M8[s]"),
        [np.float64(1), np.ma.array([1], mask=[True])],
        ROWS,
    ):
        joblib.dump(value, tmp_path / "model")
        assert problems(tmp_path, kind=kind) == []
        (tmp_path / "model").write_bytes(pickle.dumps(value))
        assert problems(tmp_path, kind=kind) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (samples.LIGHTGBM, 'This file looks like one that LightGBM\'s `save_model` wrote: write `type = "lightgbm"`.'),
        (samples.torch(samples.STATE_DICT), 'This file looks like one that PyTorch wrote: write `type = "pytorch"`.'),
        (
            samples.ubjson(samples.XGBOOST),
            'This file looks like one that XGBoost\'s `save_model` wrote: write `type = "xgboost"`.',
        ),
    ],
)
def test_a_model_of_another_kind_is_told_by_its_kind(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(data)
    (found,) = problems(tmp_path)
    assert found[0] == "KF309"
    assert found[3].startswith(words)


@pytest.mark.parametrize(
    ("shape", "is_right"),
    [("[2]", True), ("[-1]", True), ("[3]", False), ("[2, 2]", False), ("[]", False)],
)
@pytest.mark.parametrize(
    ("kind", "data"),
    [("onnx", samples.onnx_of_shape("n", 2)), ("pytorch", samples.torch_export(None, 2))],
    ids=["onnx", "pytorch"],
)
def test_rows_of_another_shape_than_a_network_takes_are_an_error(
    kind: str, data: bytes, shape: str, is_right: bool, tmp_path: Path
) -> None:
    (tmp_path / f"model.{kind}").write_bytes(data)
    found = problems(tmp_path, kind=kind, path=f"model.{kind}", adapter=f'type = "ndarray", shape = {shape}')
    message = f"`model.{kind}` takes rows of the shape [2], and `shape` of `price` is {shape}."
    assert found == ([] if is_right else [("KF334", 11, message, "Write `shape = [2]`.")])


def test_what_only_another_method_takes_is_not_held_against_rows(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(samples.onnx_of_shape("n", 2))
    assert (
        problems(
            tmp_path, kind="onnx", path="model.onnx", adapter='type = "ndarray", shape = [3]', api='method = "run"\n'
        )
        == []
    )


def test_numbers_are_the_rows_of_a_network_that_takes_a_column(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(samples.onnx_of_shape("n", 1))
    assert problems(tmp_path, kind="onnx", path="model.onnx", adapter='type = "ndarray", shape = []') == []


def test_columns_of_a_network_with_an_input_for_each_are_held_against_tables_and_examples(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(samples.onnx_of_columns("area", "rooms"))
    (found,) = problems(tmp_path, kind="onnx", path="model.onnx", columns='area = "float64", room = "float64"')
    message = "`model.onnx` takes `rooms`, which `columns` of `price` has not."
    assert found == ("KF334", 11, message, "`room` is perhaps `rooms`.")
    (found,) = problems(tmp_path, kind="onnx", path="model.onnx", example="input = [{ area = 1.0, size = 2.0 }]")
    assert (found[0], found[1], found[3]) == ("KF335", 15, "Its model takes `area` and `rooms`.")


def test_the_number_of_columns_is_held_against_the_rows_of_a_network(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(samples.keras())
    (found,) = problems(tmp_path, kind="keras", columns='a = "float64"')
    assert found[:3] == ("KF334", 11, "`model` takes 3 columns, and `columns` of `price` has 1.")


@pytest.mark.parametrize(("rows", "is_advised"), [("n", True), (4, False)])
def test_only_a_network_that_takes_any_number_of_rows_is_advised_to_be_batched(
    rows: int | str, is_advised: bool, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(samples.onnx_of_shape(rows, 2))
    assert problems(tmp_path, kind="onnx", path="model.onnx", adapter='type = "ndarray"', api="batch = false\n") == []
    found = check_kappafile(tmp_path / "kappafile.toml")[1]
    assert [problem.code for problem in found] == (["KF325"] if is_advised else [])


def test_weights_of_pytorch_are_not_told_to_be_of_the_type_that_they_have(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(samples.safetensors())
    (found,) = problems(tmp_path, kind="pytorch", path="model.safetensors")
    assert (found[0], found[3]) == ("KF309", "")


def test_weights_of_keras_lead_to_the_model(tmp_path: Path) -> None:
    (tmp_path / "model.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    (found,) = problems(tmp_path, kind="keras", path="model.weights.h5")
    assert found[2] == "`model.weights.h5` is not a model of type `keras`: it holds weights alone."
    assert 'Save the model itself, `model.save("model.keras")`' in found[3]
