"""What `kappa validate` holds against the file of a network: how many rows it takes, and their shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from kappa.build.project import check_kappafile
from tests.build.checks.test_model_checks import problems
from tests.inspection import samples

ARRAYS = 'type = "ndarray", shape = [2]'


@pytest.mark.parametrize(("rows", "is_right"), [("n", True), (4, False), (1, False)])
@pytest.mark.parametrize("batch", ["", "batch = true\n"], ids=["by default", "declared"])
def test_an_api_of_a_network_that_takes_one_number_of_rows_is_not_batched(
    rows: int | str, is_right: bool, batch: str, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(samples.onnx_of_shape(rows, 2))
    reported = problems(tmp_path, kind="onnx", path="model.onnx", adapter=ARRAYS, api=batch)
    message = f"`model.onnx` takes exactly {rows} at a time, and `price` is batched: calls have any number of rows."
    help_ = "Write `batch = false`, or export the model with a first dimension that may vary."
    assert reported == ([] if is_right else [("KF337", 12 if batch else 9, message, help_)])


def test_without_batches_it_takes_its_rows(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(samples.onnx_of_shape(4, 2))
    assert problems(tmp_path, kind="onnx", path="model.onnx", adapter=ARRAYS, api="batch = false\n") == []


def test_a_table_is_always_batched(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(samples.onnx_of_shape(4, 2))
    (problem,) = problems(tmp_path, kind="onnx", path="model.onnx", columns='a = "float64", b = "float64"')
    assert problem[:2] == ("KF337", 9)
    assert problem[3] == "Export the model with a first dimension that may vary: `dataframe` is always batched."


def test_another_method_takes_what_it_takes(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(samples.onnx_of_shape(4, 2))
    api = 'method = "run"\nbatch = true\n'
    assert problems(tmp_path, kind="onnx", path="model.onnx", adapter='type = "ndarray"', api=api) == []


def test_an_exported_program_of_one_number_of_rows_is_one_too(tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(samples.torch_export(4, 2))
    (problem,) = problems(tmp_path, kind="pytorch", path="model.pt2", adapter=ARRAYS)
    assert problem[0] == "KF337"


@pytest.mark.parametrize(
    ("sizes", "shown"), [((3, 8, 8), "[3, 8, 8]"), ((), "[]")], ids=["pictures", "numbers by themselves"]
)
def test_rows_of_a_table_are_not_the_shape_of_a_network(sizes: tuple[int, ...], shown: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(samples.onnx_of_shape("n", *sizes))
    (problem,) = problems(tmp_path, kind="onnx", path="model.onnx", columns='a = "float64", b = "float64"')
    message = f"`model.onnx` takes rows of the shape {shown}, and `columns` of `price` makes rows of 2."
    assert problem == ("KF334", 11, message, f'Take arrays: `input = {{ type = "ndarray", shape = {shown} }}`.')


@pytest.mark.parametrize(("columns", "is_right"), [('a = "float64", b = "float64"', True), ('a = "float64"', False)])
def test_the_only_input_of_a_network_has_as_many_columns_as_a_table(
    columns: str, is_right: bool, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(samples.onnx_of_shape("n", 2))
    reported = problems(tmp_path, kind="onnx", path="model.onnx", columns=columns)
    message = "`model.onnx` takes 2 columns, and `columns` of `price` has 1."
    assert [problem[:3] for problem in reported] == ([] if is_right else [("KF334", 11, message)])
    assert check_kappafile(tmp_path / "kappafile.toml")[0] is not None or not is_right
