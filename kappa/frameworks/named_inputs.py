"""Arrays for the inputs of a network by their names, made of what an input adapter gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kappa.errors import BadInputError, BundleError
from kappa.inspection.report import Tensor
from kappa.wording import listed

__all__ = ["NamedInputs", "values_by_name"]


class NamedInputs:
    """Makes arrays of their types of arguments: an array is the only input; the columns of a table, and the values of a
    mapping, are inputs of their names.

    Raises `BundleError` for a network that takes a fixed number of rows where an API is batched.
    """

    def __init__(self, inputs: Sequence[Tensor], *, artifact: str, is_batch: bool) -> None:
        self._inputs = {tensor.name: tensor for tensor in inputs}
        lengths = [tensor.shape[0] for tensor in inputs if tensor.shape and _is_fixed(tensor.shape[0])]
        if is_batch and lengths:
            raise BundleError(
                f"The model of the artifact `{artifact}` takes exactly {lengths[0]} at a time: write `batch = false` "
                "for its API, or export it with a first dimension that may vary."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs, in their order."""
        return tuple(self._inputs)

    def __call__(self, argument: Any) -> dict[str, Any]:
        """Return an array for each input; raises `BadInputError` for other names, types and shapes."""
        values = self._by_name(argument)
        if values.keys() != self._inputs.keys():
            raise BadInputError(f"The model takes the inputs {listed(self._inputs)}, not {listed(values) or 'none'}.")
        return {name: self._array(self._inputs[name], value) for name, value in values.items()}

    def _by_name(self, argument: Any) -> dict[str, Any]:
        if isinstance(argument, Mapping):
            return dict(argument)
        if isinstance(argument, list) and argument and all(isinstance(row, Mapping) for row in argument):
            return values_by_name(argument)
        if len(self._inputs) == 1:
            return dict.fromkeys(self._inputs, argument.to_numpy() if hasattr(argument, "to_numpy") else argument)
        if hasattr(argument, "columns"):
            return {str(name): argument[name].to_numpy() for name in argument.columns}
        raise BadInputError(f"The model takes several inputs, {listed(self._inputs)}: send them by name.")

    def _array(self, tensor: Tensor, value: Any) -> Any:
        import numpy as np

        try:
            array = np.asarray(value)
            _check_numbers(array, np.dtype(tensor.dtype))
            array = array.astype(tensor.dtype, copy=False)
        except (TypeError, ValueError) as exc:
            message = f"The input `{tensor.name}` cannot be made an array of `{tensor.dtype}`: {exc}."
            raise BadInputError(message) from exc
        is_column = len(tensor.shape) == 2 and (tensor.shape[1] == 1 or len(self._inputs) > 1)
        array = array.reshape(-1, 1) if array.ndim == 1 and is_column else array
        if not _fits(array.shape, tensor.shape):
            shapes = " and not ".join(f"[{', '.join(map(str, shape))}]" for shape in (tensor.shape, array.shape))
            raise BadInputError(f"The input `{tensor.name}` has the shape {shapes}.")
        return array


def values_by_name(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of each name in the rows of a batch.

    Raises `BadInputError` for rows of different names: a value that one row lacks is not made up because another row,
    of whatever request, has it.
    """
    names = rows[0].keys()
    if any(row.keys() != names for row in rows):
        raise BadInputError(f"Each item needs the same names, {listed(map(str, names))}.")
    return {name: [row[name] for row in rows] for name in names}


def _check_numbers(array: Any, dtype: Any) -> None:
    """Raise `ValueError` for what NumPy would make other numbers of: text, and fractions where integers are taken."""
    if dtype.kind not in "biuf":
        return
    kind = array.dtype.kind
    if kind in "US" or (kind == "O" and any(isinstance(item, str) for item in array.flat)):
        raise ValueError("it holds text")
    if dtype.kind in "iu" and kind == "f" and not (array == array.round()).all():
        raise ValueError("it holds numbers that are not whole")


def _fits(shape: Sequence[int], declared: Sequence[int | str]) -> bool:
    """Return whether an array's shape is a declared one, of which nothing is known if it is empty."""
    if not declared:
        return True
    pairs = zip(shape, declared, strict=False)
    return len(shape) == len(declared) and all(size == fixed or not _is_fixed(fixed) for size, fixed in pairs)


def _is_fixed(size: int | str) -> bool:
    return isinstance(size, int) and size >= 0
