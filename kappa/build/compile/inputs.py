"""What a fitted model takes: its columns, which of them are text, and rows in the form that it takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kappa.build.compile.converters import ConversionError

__all__ = ["Column", "Inputs", "Table", "column_transformers", "first_step", "inputs_of"]

Table = Mapping[str, Sequence[Any]]
"""Rows as columns of values, by the names of `Inputs`."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of what a model takes."""

    name: str
    is_text: bool = False
    is_used: bool = True
    """Whether any step of the model looks at it."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a model takes."""

    layout: Literal["matrix", "columns", "texts"]
    columns: tuple[Column, ...]
    has_names: bool
    checks_names: bool = True
    """Whether the model refuses a frame whose columns have other names; LightGBM's take them by their places."""

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def argument(self, table: Table) -> Any:
        """Return rows as the model's methods take them."""
        import numpy as np

        if self.layout == "texts":
            return list(table[self.names[0]])
        if not self.has_names:
            return np.array([table[name] for name in self.names], dtype="float64").T
        import pandas as pd

        kinds = {column.name: object if column.is_text else "float64" for column in self.columns}
        return pd.DataFrame({name: pd.Series(table[name], dtype=kind) for name, kind in kinds.items()})

    def table(self, argument: Any) -> Table | None:
        """Return what a model's method was given as a table; ``None`` for what is not one of its columns."""
        import numpy as np

        if self.layout == "texts":
            texts = [*argument]
            return {self.names[0]: texts} if all(isinstance(text, str) for text in texts) else None
        if hasattr(argument, "columns"):
            if self.has_names and self.checks_names:
                if self.missing_in(argument.columns):
                    return None
                argument = argument.reindex(columns=self.names)
            argument = argument.astype(object).to_numpy(na_value=None)
        try:
            array = np.asarray(argument, dtype=object)
        except ValueError:
            return None
        if array.ndim != 2 or array.shape[1] != len(self.columns):
            return None
        try:
            return {column.name: _values(array[:, index], column) for index, column in enumerate(self.columns)}
        except (TypeError, ValueError):
            return None

    def missing_in(self, names: Iterable[Any]) -> list[str]:
        """Return the columns that the model looks at and that are not among these names."""
        return [column.name for column in self.columns if column.is_used and column.name not in names]


def _values(values: Any, column: Column) -> Any:
    """Return the values of a column; nothing but gaps of one that no step looks at, which may hold anything."""
    if not column.is_used:
        return [float("nan")] * len(values)
    return values.tolist() if column.is_text else values.astype(float)


def inputs_of(model: Any, names: Sequence[str]) -> Inputs:
    """Return what a model takes that was fitted with columns of these names, or with none; raises `ConversionError`."""
    name, first = first_step(model)
    if hasattr(first, "build_analyzer"):
        return Inputs("texts", (Column("text", is_text=True),), has_names=False)
    count = getattr(model, "n_features_in_", None)
    if count is None:
        raise ConversionError("", "it does not say how many columns it was fitted with")
    if hasattr(first, "transformers_") and names:
        uses = _uses(first, len(names))
        columns = [Column(name, uses.get(index, False), index in uses) for index, name in enumerate(names)]
        return Inputs("columns", tuple(columns), has_names=True)
    if hasattr(first, "transformers_") and any(_uses(first, count).values()):
        raise ConversionError(
            name, "columns of text are converted where the model was fitted with a frame that names them"
        )
    if _takes_text(first):
        raise ConversionError(name, "columns of text are converted inside of a `ColumnTransformer` that names them")
    columns = [Column(names[index] if names else f"column {index}") for index in range(count)]
    return Inputs("matrix", tuple(columns), has_names=bool(names), checks_names=not hasattr(model, "booster_"))


def first_step(model: Any, name: str = "") -> tuple[str, Any]:
    """Return the part of a model that takes its input, with its name."""
    if getattr(model, "steps", None):
        step, part = model.steps[0]
        return first_step(part, f"{name}.{step}" if name else step)
    return name, model


def column_transformers(transformer: Any) -> Iterator[tuple[str, Any, list[int]]]:
    """Yield the parts of a `ColumnTransformer` with the columns that each takes."""
    indices = transformer._transformer_to_input_indices  # noqa: SLF001 - resolved names, slices, masks and callables
    for name, part, _ in transformer.transformers_:
        if part != "drop":
            yield name, part, [*indices.get(name, ())]


def _uses(transformer: Any, count: int) -> dict[int, bool]:
    """Return the columns that a `ColumnTransformer` looks at, each with whether it is text."""
    uses: dict[int, bool] = {}
    for _, part, indices in column_transformers(transformer):
        for at, index in enumerate(indices):
            if index < count:
                uses[index] = uses.get(index, False) or _takes_text(first_step(part)[1], at)
    return uses


def _takes_text(part: Any, at: int | None = None) -> bool:
    """Return whether a step takes text: in its column ``at``, or in any."""
    if hasattr(part, "build_analyzer"):
        return True
    learned = getattr(part, "categories_", None)
    if learned is not None:
        chosen = [learned[at]] if at is not None and at < len(learned) else learned
        return any(isinstance(value, str) for categories in chosen for value in categories)
    statistics = getattr(part, "statistics_", None)
    if statistics is None or getattr(getattr(statistics, "dtype", None), "kind", "") != "O":
        return False
    chosen = [statistics[at]] if at is not None and at < len(statistics) else statistics
    return any(isinstance(value, str) for value in chosen)
