"""What networks are given: arrays by name, of their types and shapes, whatever an input adapter made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from kappa.errors import BadInputError, BundleError
from kappa.frameworks.named_inputs import NamedInputs
from kappa.inspection.report import Tensor, column_names

ROWS = Tensor("rows", "float32", (-1, 2))
AGE, CITY = Tensor("age", "int64", ("n", 1)), Tensor("city", "object", (-1,))


def arrays(inputs: list[Tensor], argument: Any) -> dict[str, tuple[str, list[Any]]]:
    made = NamedInputs(inputs, artifact="model", is_batch=True)(argument)
    return {name: (str(array.dtype), array.tolist()) for name, array in made.items()}


@pytest.mark.parametrize(
    "argument",
    [[[1, 2]], np.array([[1.0, 2.0]]), pd.DataFrame({"a": [1], "b": [2.0]}), {"rows": [[1, 2]]}, [{"rows": [1, 2]}]],
    ids=["list", "array", "frame", "mapping", "a mapping for each row"],
)
def test_whatever_there_is_is_the_only_input(argument: Any) -> None:
    assert arrays([ROWS], argument) == {"rows": ("float32", [[1.0, 2.0]])}


@pytest.mark.parametrize(
    "argument",
    [pd.DataFrame({"city": ["Ulm"], "age": [1]}), [{"age": 1, "city": "Ulm"}], {"age": [1], "city": ["Ulm"]}],
    ids=["frame", "records", "mapping"],
)
def test_several_inputs_are_taken_by_name(argument: Any) -> None:
    assert arrays([AGE, CITY], argument) == {"age": ("int64", [[1]]), "city": ("object", ["Ulm"])}


@pytest.mark.parametrize(
    ("inputs", "argument", "message"),
    [
        ([ROWS], [[1, 2, 3]], r"The input `rows` has the shape \[-1, 2\] and not \[1, 3\]\."),
        ([ROWS], [1, 2], r"has the shape \[-1, 2\] and not \[2\]\."),
        ([ROWS], [["x", 2]], "The input `rows` cannot be made an array of `float32`"),
        ([ROWS], {"row": [[1, 2]]}, "The model takes the inputs `rows`, not `row`."),
        ([AGE, CITY], [[1, 2]], "The model takes several inputs, `age`, `city`: send them by name."),
        ([AGE, CITY], [{"age": 1, "city": "Ulm"}, {"age": 2}], "Each item needs the same names, `age`, `city`."),
    ],
    ids=["size", "rank", "type", "name", "no names", "a name of some rows"],
)
def test_what_does_not_fit_is_the_clients_error(inputs: list[Tensor], argument: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        arrays(inputs, argument)


def test_a_row_of_numbers_is_a_column_and_nothing_is_known_of_an_empty_shape() -> None:
    assert arrays([AGE], [1, 2]) == {"age": ("int64", [[1], [2]])}
    assert arrays([Tensor("any", "float64")], [[[1]]]) == {"any": ("float64", [[[1.0]]])}


def test_a_network_of_a_fixed_length_is_not_batched() -> None:
    fixed = Tensor("rows", "float32", (4, 2))
    with pytest.raises(BundleError, match=r"takes exactly 4 at a time: write `batch = false`"):
        NamedInputs([fixed], artifact="model", is_batch=True)
    assert NamedInputs([fixed], artifact="model", is_batch=False)(np.ones((4, 2)))["rows"].shape == (4, 2)


def test_inputs_are_columns_where_each_has_one_value_for_a_row() -> None:
    assert column_names([AGE, CITY]) == ("age", "city")
    assert [column_names(inputs) for inputs in ([AGE], [AGE, ROWS], [AGE, Tensor("any")])] == [(), (), ()]
