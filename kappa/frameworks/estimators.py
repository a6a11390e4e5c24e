"""How scikit-learn's estimators are called, whatever file they were kept in."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import copy
from functools import wraps
from pathlib import Path
from typing import Any

from kappa.inspection.detection import read_model

__all__ = ["categories_of", "estimator_caller", "input_for_estimator", "labels_by_row"]

_BY_VALUE = frozenset(
    {
        "sklearn.cluster",
        "sklearn.discriminant_analysis",
        "sklearn.ensemble",
        "sklearn.linear_model",
        "sklearn.naive_bayes",
        "sklearn.neighbors",
        "sklearn.neural_network",
        "sklearn.svm",
        "sklearn.tree",
    }
)
"""The packages whose estimators use a frame's numbers alone."""
_OF_TEXTS = "sklearn.feature_extraction.text:"
_BY_OUTPUT = frozenset({"predict_log_proba", "predict_proba"})
"""The methods that return a list with an array for each output, where a classifier has several."""


def estimator_caller(model: Any, method: str, called: Callable[..., Any], *, is_batch: bool) -> Callable[..., Any]:
    """Return ``called``, the ``method`` of a ``model``, with the conversions that an estimator needs around it.

    In a batch, a classifier of several outputs returns a row for each input.
    """
    if inspect.iscoroutinefunction(called):
        return called
    if _uses_values_alone(model):
        called = _on_values(model, method, called)
    return _by_row(called) if is_batch and method in _BY_OUTPUT else called


def labels_by_row(predict: Callable[..., Any]) -> Callable[..., Any]:
    """Have a `predict` return a label for each row where it returns a column of labels, as CatBoost's does."""

    @wraps(predict)
    def by_row(rows: Any) -> Any:
        labels = predict(rows)
        return labels[:, 0] if getattr(labels, "ndim", 1) == 2 else labels

    return by_row


def input_for_estimator(path: Path) -> str:
    """Return the type of the input adapter that suits an estimator: texts for one that begins with a vectorizer."""
    model = read_model(path)
    first = (model.steps[0].made_of if model.steps else model.made_of) if model is not None else ""
    return "string" if first.startswith(_OF_TEXTS) else "ndarray"


def categories_of(model: Any) -> dict[str, Any]:
    """Return one of the values that an encoder or a vectorizer in a fitted pipeline takes, by the columns it is for."""
    values: dict[str, Any] = {}
    for part, columns in _transformers_in(model, getattr(model, "feature_names_in_", ())):
        if hasattr(part, "categories_"):
            values.update((column, _first_of(kinds)) for column, kinds in zip(columns, part.categories_, strict=False))
        elif hasattr(part, "vocabulary_"):
            values.update(dict.fromkeys(columns, "some text"))
    return {column: value for column, value in values.items() if isinstance(column, str)}


def _transformers_in(model: Any, columns: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the parts of a pipeline, or of a transformer of columns, with the columns that each is for."""
    if hasattr(model, "steps"):
        for _, step in model.steps:
            yield from _transformers_in(step, columns)
    elif hasattr(model, "transformers_"):
        for _, part, names in model.transformers_:
            yield from _transformers_in(part, [names] if isinstance(names, str) else names)
    elif isinstance(columns, list | tuple) or hasattr(columns, "tolist"):
        yield model, columns


def _first_of(categories: Any) -> Any:
    values = categories.tolist()
    return next((value for value in values if value is not None and value == value), None)


def _uses_values_alone(model: Any) -> bool:
    """Return whether ``model`` is a plain estimator of scikit-learn, to which a frame is nothing but its numbers.

    PERF: making an array of a frame costs scikit-learn 280 to 550 of 410 to 670 µs a call, and nothing before it did.
    An ensemble of named estimators may hold one that goes by column, and so may what holds one that knows names.
    """
    family = ".".join(type(model).__module__.split(".")[:2])
    return (
        family in _BY_VALUE
        and hasattr(model, "n_features_in_")
        and not hasattr(model, "named_estimators_")
        and not any(hasattr(part, "feature_names_in_") for part in _parts_of(model))
    )


def _parts_of(model: Any) -> Iterator[Any]:
    for value in vars(model).values():
        yield from value if isinstance(value, list | tuple) else (value,)


def _on_values(model: Any, method: str, called: Callable[..., Any]) -> Callable[..., Any]:
    """Give a method the numbers of a frame as an array, where its columns are those of the model; else as it is.

    A model that was fitted with names refuses other columns, and warns of an array, which has none. So a copy that
    knows no names is given the numbers of a frame whose names are right.
    """
    if (names := getattr(model, "feature_names_in_", None)) is None:
        by_value, columns = called, None
    else:
        by_value, columns = getattr(_without_names(model), method), list(names)

    @wraps(called)
    def on_values(argument: Any, *more: Any) -> Any:
        if hasattr(argument, "columns") and hasattr(argument, "to_numpy"):
            values = argument.to_numpy()
            if values.dtype.kind in "fiu" and (columns is None or list(argument.columns) == columns):
                return by_value(values, *more)
        return called(argument, *more)

    return on_values


def _without_names(model: Any) -> Any:
    """Return a copy of a model, which shares all that it has learned, as if it had been fitted with an array."""
    nameless = copy(model)
    vars(nameless).pop("feature_names_in_", None)
    return nameless


def _by_row(called: Callable[..., Any]) -> Callable[..., Any]:
    """Have a method return the rows of several outputs in place of a list with an array for each output."""

    @wraps(called)
    def by_row(*arguments: Any) -> Any:
        outputs = called(*arguments)
        if type(outputs) is list and outputs and all(getattr(output, "ndim", 0) == 2 for output in outputs):
            return [list(row) for row in zip(*outputs, strict=True)]
        return outputs

    return by_row
