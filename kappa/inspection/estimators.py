"""Steps, columns and classes of an estimator, read from its attributes by scikit-learn's conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kappa.inspection.arrays import bytes_of, values_of
from kappa.inspection.boosters import xgboost_of_bytes
from kappa.inspection.opcodes import Name, Object
from kappa.inspection.pickles import class_of
from kappa.inspection.report import Step

__all__ = ["EstimatorFacts", "facts_of"]

_DEPTH = 6
_MOST_STEPS = 100


@dataclass(frozen=True, slots=True)
class EstimatorFacts:
    """The facts about a fitted estimator."""

    steps: tuple[Step, ...] = ()
    feature_names: tuple[str, ...] = ()
    feature_count: int | None = None
    classes: tuple[Any, ...] = ()


def facts_of(model: Any) -> EstimatorFacts:
    """Read an estimator, or a pipeline of several."""
    return EstimatorFacts(tuple(_steps_of(model)), *_features_of(model), _classes_of(model))


def _attributes_of(value: Any) -> Mapping[str, Any]:
    return value.attributes if isinstance(value, Object) else {}


def _parts_of(value: Any, key: str) -> list[Sequence[Any]]:
    """Return the named parts of a pipeline or a column transformer: tuples that begin with a name and an estimator."""
    parts = _attributes_of(value).get(key)
    parts = parts[:_MOST_STEPS] if isinstance(parts, list) else []
    return [part for part in parts if isinstance(part, tuple) and len(part) > 1 and isinstance(part[0], str)]


def _steps_of(model: Any, depth: int = 0) -> list[Step]:
    """Return the steps of a pipeline, those of pipelines inside of it by dotted names."""
    steps: list[Step] = []
    if depth == _DEPTH:
        return steps
    keys = ("steps", "transformers_", "transformers", "transformer_list", "estimators")
    parts = next((parts for key in keys if (parts := _parts_of(model, key))), [])
    for name, value, *_ in parts:
        if isinstance(value, str):
            steps.append(Step(name, value))
        elif isinstance(value, Object):
            made_of = class_of(value) or (str(value.made_by) if isinstance(value.made_by, Name) else "?")
            steps.append(Step(name, made_of))
            steps += [Step(f"{name}.{step.name}", step.made_of) for step in _steps_of(value, depth + 1)]
    if not parts and isinstance(best := _attributes_of(model).get("best_estimator_"), Object):
        return [Step("best_estimator_", class_of(best)), *_steps_of(best, depth + 1)]
    return steps[:_MOST_STEPS]


def _features_of(model: Any, depth: int = 0) -> tuple[tuple[str, ...], int | None]:
    """Return the columns that a model was fitted with, and how many there are."""
    attributes = _attributes_of(model)
    names = tuple(name for name in values_of(attributes.get("feature_names_in_")) if isinstance(name, str))
    count = next(
        (value for key in ("n_features_in_", "_n_features") if type(value := attributes.get(key)) is int), None
    )
    inner = [part[1] for part in _parts_of(model, "steps")[:1]] or [attributes.get("best_estimator_")]
    if not names and count is None and isinstance(inner[0], Object) and depth < _DEPTH:
        return _features_of(inner[0], depth + 1)
    booster = _attributes_of(attributes.get("_Booster"))
    if not names and (facts := xgboost_of_bytes(bytes_of(booster.get("handle")))):
        return facts["feature_names"], facts["feature_count"]
    return names, len(names) if count is None and names else count


def _classes_of(model: Any, depth: int = 0) -> tuple[Any, ...]:
    attributes = _attributes_of(model)
    classes = values_of(attributes.get("classes_", attributes.get("_classes")))
    inner = [part[1] for part in _parts_of(model, "steps")[-1:]] or [attributes.get("best_estimator_")]
    if not classes and isinstance(inner[0], Object) and depth < _DEPTH:
        return _classes_of(inner[0], depth + 1)
    return tuple(label for label in classes if isinstance(label, str | int | float | bool))
