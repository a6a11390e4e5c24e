"""Rows that are drawn to find where a compiled model differs: at its thresholds, and of its categories.

The same model always draws the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any

from kappa.build.compile.catboost_models import CatBoostEstimator
from kappa.build.compile.converters import parts_of
from kappa.build.compile.inputs import Inputs, Table, column_transformers, first_step

__all__ = ["draw", "thresholds_of"]

_MIXED = 200
"""How many rows have each value from another row, or from the model's own values."""
_AT_THRESHOLDS = 1000
"""How many rows have one value at a threshold, or beside it."""
_NEIGHBOURS = 5
"""How many numbers that a column's steps have learned are drawn with a step beside them."""
_UNSEEN = "a value that was never seen"
_ODD_WORDS = ("Ünïcode", "don't", "x", "42", "naïve-café", "A")


def draw(model: Any, inputs: Inputs, base: Sequence[Table]) -> list[dict[str, Any]]:
    """Return rows as mappings, ``base`` holds rows of examples and samples, of which the drawn ones are made."""
    import numpy as np

    random = np.random.default_rng(18)
    thresholds = thresholds_of(model, inputs)
    pools = _pools(model, inputs, base, thresholds, random)
    whole = [{name: table[name][at] for name in table} for table in base for at in range(len(table[inputs.names[0]]))]

    def mixed() -> dict[str, Any]:
        return {name: pool[random.integers(len(pool))] for name, pool in pools.items()}

    rows = [mixed() for _ in range(_MIXED)]
    near = [(name, value) for name, values in thresholds.items() for value in values]
    chosen = (
        near
        if len(near) * 5 <= _AT_THRESHOLDS
        else [near[at] for at in random.permutation(len(near))[: _AT_THRESHOLDS // 5]]
    )
    for name, value in chosen:
        for beside in _beside(value):
            row = whole[random.integers(len(whole))] if whole else mixed()
            rows.append({**row, name: beside})
    rows += [{**mixed(), column.name: _UNSEEN} for column in inputs.columns if column.is_text]
    for column in inputs.columns:
        numbers = [] if column.is_text else [float(value) for value in _learned(model, inputs).get(column.name, ())]
        close = [number + step for number in [*numbers[:_NEIGHBOURS], *numbers[-1:]] for step in (0.5, 1.0)]
        rows += [{**mixed(), column.name: number} for number in close]
    return rows


def _beside(value: float) -> list[float]:
    """Return a threshold, and the next numbers of float32 and of float64 below and above it."""
    import numpy as np

    with np.errstate(over="ignore"):
        steps = [
            kind(np.nextafter(kind(value), kind(end))) for kind in (np.float32, np.float64) for end in (-np.inf, np.inf)
        ]
    return [value, *map(float, steps)]


def _pools(
    model: Any, inputs: Inputs, base: Sequence[Table], thresholds: dict[str, list[float]], random: Any
) -> dict[str, list[Any]]:
    """Return values for each column: those of the rows, the model's own, and a few where nothing else is there."""
    pools: dict[str, list[Any]] = {}
    words = _words_of(model, random)
    learned = _learned(model, inputs)
    for column in inputs.columns:
        values = [value for table in base for value in list(table[column.name])[:1000]]
        if column.is_text:
            pool = [value for value in values if isinstance(value, str)]
            pool += learned.get(column.name, ())
            pool += words if inputs.layout == "texts" or column.name not in learned else []
            pools[column.name] = pool or [_UNSEEN]
        else:
            numbers = [float(value) for value in values if value == value]  # no missing ones
            numbers += [float(value) for value in learned.get(column.name, ())]
            close = thresholds.get(column.name, [])
            numbers += [float(value) for value in close[:: max(1, len(close) // 200)]]
            if len(numbers) < 20:
                middle, width = (numbers[0], abs(numbers[0]) or 1.0) if numbers else (0.0, 1.0)
                numbers += (middle + width * random.normal(size=50)).tolist()
            pools[column.name] = numbers
    return pools


def _words_of(model: Any, random: Any) -> list[str]:
    """Return texts of the words that a model knows, and of such as are easily taken apart otherwise."""
    words: list[str] = []
    for _, part in parts_of(model):
        if hasattr(part, "vocabulary_"):
            words += [str(word) for word in sorted(part.vocabulary_)[:2000]]
    if not words:
        return []
    texts = []
    for _ in range(60):
        drawn = [words[random.integers(len(words))] for _ in range(random.integers(1, 9))]
        odd = _ODD_WORDS[random.integers(len(_ODD_WORDS))]
        texts.append(f"{' '.join(drawn).capitalize()}, {odd}! {drawn[0].upper()}")
    return texts


def _learned(model: Any, inputs: Inputs) -> dict[str, list[Any]]:
    """Return the categories that encoders have learned, and the means and fillings of numbers, by column."""
    import numpy as np

    learned: dict[str, list[Any]] = {}
    _, first = first_step(model)
    if not hasattr(first, "transformers_"):
        parts = [(first, [*range(len(inputs.columns))])]
    else:
        parts = [(part, indices) for _, part, indices in column_transformers(first)]
    for part, indices in parts:
        for _, step in parts_of(part):
            for name in ("categories_", "statistics_", "mean_", "center_"):
                values = getattr(step, name, None)
                if values is None or len(values) != len(indices):
                    continue
                for index, value in zip(indices, values, strict=True):
                    if index < len(inputs.columns):
                        kind = str if inputs.columns[index].is_text else (Real, np.bool_)
                        listed = list(value) if name == "categories_" else [value]
                        learned.setdefault(inputs.names[index], []).extend(
                            x for x in listed if isinstance(x, kind) and x == x
                        )  # without missing ones
    return learned


# -- thresholds --------------------------------------------------------------------------------------------------------


def thresholds_of(model: Any, inputs: Inputs) -> dict[str, list[float]]:
    """Return the thresholds of a model's trees by column, brought back through scalers and imputers before them."""
    steps = [part for _, part in getattr(model, "steps", [("", model)])]
    by_feature: dict[int, list[float]] = {}
    for index, value in _thresholds(steps[-1]):
        by_feature.setdefault(index, []).append(value)
    for step in reversed(steps[:-1]):
        by_feature = _before(step, by_feature)
    names = inputs.names
    return {names[index]: sorted({*values}) for index, values in sorted(by_feature.items()) if index < len(names)}


def _thresholds(model: Any) -> Iterator[tuple[int, float]]:
    import numpy as np

    if isinstance(model, CatBoostEstimator):
        yield from ((index, value) for index, values in model.thresholds.items() for value in values)
    members = np.ravel(np.asarray(getattr(model, "estimators_", ()), dtype=object))
    trees = [member.tree_ for member in members if hasattr(member, "tree_")]
    trees += [model.tree_] if hasattr(model, "tree_") else []
    for tree in trees:
        for index, value in zip(tree.feature.tolist(), tree.threshold.tolist(), strict=True):
            if index >= 0:
                yield index, value
    for iteration in getattr(model, "_predictors", ()):
        for tree in iteration:
            for node in tree.nodes:
                if not node["is_leaf"] and np.isfinite(node["num_threshold"]):
                    yield int(node["feature_idx"]), float(node["num_threshold"])
    booster = getattr(model, "get_booster", None)
    if booster is not None:
        is_of_trees = model.booster in (None, "gbtree", "dart")
        frame = booster().trees_to_dataframe() if is_of_trees else {"Feature": (), "Split": ()}
        names = booster().feature_names
        for name, value in zip(frame["Feature"], frame["Split"], strict=True):
            if name != "Leaf" and value == value:  # a split by category has none
                yield (names.index(name) if names else int(name[1:])), float(value)
    if hasattr(model, "booster_"):
        frame, names = model.booster_.trees_to_dataframe(), model.booster_.feature_name()
        for name, value in zip(frame["split_feature"], frame["threshold"], strict=True):
            if isinstance(name, str) and isinstance(value, float):
                yield names.index(name), value


def _before(step: Any, by_feature: dict[int, list[float]]) -> dict[int, list[float]]:
    """Return thresholds as they are before a step; those that it makes of something else are left out."""
    if hasattr(step, "steps"):
        for _, part in reversed(step.steps):
            by_feature = _before(part, by_feature)
        return by_feature
    if step == "passthrough" or (hasattr(step, "statistics_") and not getattr(step, "add_indicator", False)):
        return by_feature
    if hasattr(step, "transformers_"):
        before: dict[int, list[float]] = {}
        for name, part, indices in column_transformers(step):
            span = step.output_indices_[name]
            inner = {
                index - span.start: values for index, values in by_feature.items() if span.start <= index < span.stop
            }
            for at, values in _before(part, inner).items():
                if span.stop - span.start == len(indices):
                    before.setdefault(indices[at], []).extend(values)
        return before
    scale = getattr(step, "scale_", None)
    if scale is None or type(step).__module__ != "sklearn.preprocessing._data":
        return {}
    shift = next((getattr(step, name) for name in ("mean_", "center_") if getattr(step, name, None) is not None), None)
    if type(step).__name__ == "MinMaxScaler":
        return {i: [(value - step.min_[i]) / scale[i] for value in values] for i, values in by_feature.items()}
    return {
        i: [value * scale[i] + (0.0 if shift is None else shift[i]) for value in values]
        for i, values in by_feature.items()
    }
