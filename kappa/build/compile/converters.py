"""Converters of single estimators to ONNX, beside those of skl2onnx: where it has none, or one that answers otherwise.

Imported in the process that converts alone: it imports skl2onnx, which is slow.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from numbers import Real
from types import SimpleNamespace
from typing import Any, NamedTuple

from kappa.errors import optional_import

__all__ = ["ConversionError", "options_of", "parts_of", "register_converters"]

_WORD = "[\\p{L}\\p{N}_]"
_PATTERNS = {
    r"(?u)\b\w\w+\b": f"{_WORD}{{2,}}",
    r"(?u)\b\w+\b": f"{_WORD}+",
    r"\b\w\w+\b": f"{_WORD}{{2,}}",
    r"\b\w+\b": f"{_WORD}+",
    r"\w+": f"{_WORD}+",
}
"""Patterns of tokens as Python's `re` writes them, and as RE2 does, whose `\\w` is ASCII."""
_LOCALE = "C.UTF-8"
"""A locale that every Debian has; ONNX Runtime's own default, `en_US.UTF-8`, is in no slim image."""
_LIGHTGBM_ZERO = 1.0000000180025095e-35
"""LightGBM takes smaller numbers for 0 (`kZeroThreshold`, a float32)."""
_LIGHTGBM_INFINITY = 1e300
"""What LightGBM writes in place of an infinite threshold."""
_EXTRA = "kappa-ml[compile]"


class ConversionError(Exception):
    """A part of a model that cannot be converted, and why; ``step`` names it."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(reason)
        self.step = step


def parts_of(model: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield an estimator, and all those that it is made of, with their names: `columns.text`."""
    yield name, model
    named = [*(getattr(model, "steps", None) or ())]
    named += [entry[:2] for entry in getattr(model, "transformers_", None) or ()]
    named += [*(getattr(model, "transformer_list", None) or ())]
    for inner, part in named:
        if hasattr(part, "get_params"):
            yield from parts_of(part, f"{name}.{inner}" if name else str(inner))


def options_of(model: Any, *, is_scored: bool = False) -> dict[int, dict[str, Any]]:
    """Return the options of skl2onnx for each estimator; raises `ConversionError`.

    A model that ``is_scored`` has raw scores in place of probabilities.
    """
    options: dict[int, dict[str, Any]] = {}
    for name, part in parts_of(model):
        kinds = {kind.__name__ for kind in type(part).__mro__}
        if kinds & {"CountVectorizer", "TfidfVectorizer"}:
            options[id(part)] = _text_options(name, part)
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    if hasattr(last, "classes_"):
        is_mapped = type(last).__name__ != "LinearSVC"  # which returns no mapping, and has no such option
        options.setdefault(id(last), {}).update({"zipmap": False} if is_mapped else {"raw_scores": is_scored})
    if is_scored:
        options.setdefault(id(last), {})["raw_scores"] = True
    return options


def _text_options(name: str, vectorizer: Any) -> dict[str, Any]:
    if vectorizer.analyzer != "word" or vectorizer.tokenizer or vectorizer.preprocessor or vectorizer.strip_accents:
        raise ConversionError(
            name, "text is converted with `analyzer='word'`, and without a `tokenizer`, `preprocessor`, `strip_accents`"
        )
    if vectorizer.stop_words and tuple(vectorizer.ngram_range) != (1, 1):
        raise ConversionError(
            name, "`stop_words` are left out before words are joined (`ngram_range`), and not in ONNX"
        )
    pattern = vectorizer.token_pattern
    if pattern not in _PATTERNS and re.search(r"\\[bwdsWDSB]|\(\?", pattern):
        raise ConversionError(name, f"the `token_pattern` `{pattern}` means something else in RE2, which ONNX uses")
    return {"tokenexp": _PATTERNS.get(pattern, pattern), "locale": _LOCALE}


def register_converters() -> None:
    """Tell skl2onnx of the converters here, and of those of onnxmltools for the libraries that are imported."""
    with optional_import(_EXTRA, needed_for='`compile = "onnx"`'):
        import skl2onnx
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes as classifier,
    )
    from skl2onnx.common.shape_calculator import (
        calculate_linear_regressor_output_shapes as regressor,
    )

    options: dict[str, Any] = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    scored = {**options, "raw_scores": [True, False]}
    if (sklearn := sys.modules.get("sklearn.ensemble")) is not None:
        from sklearn import tree

        update = skl2onnx.update_registered_converter
        update(sklearn.HistGradientBoostingClassifier, "KappaHist", classifier, _boosted_classifier, options=scored)
        update(sklearn.HistGradientBoostingRegressor, "KappaHistRegressor", regressor, _boosted_regressor)
        for kind in (sklearn.RandomForestClassifier, sklearn.ExtraTreesClassifier, tree.DecisionTreeClassifier):
            update(kind, f"Kappa{kind.__name__}", classifier, _forest_classifier, options=options)
        for kind in (sklearn.RandomForestRegressor, sklearn.ExtraTreesRegressor, tree.DecisionTreeRegressor):
            update(kind, f"Kappa{kind.__name__}", regressor, _forest_regressor)
    if (encoding := sys.modules.get("sklearn.preprocessing")) is not None:
        from skl2onnx.operator_converters.one_hot_encoder import convert_sklearn_one_hot_encoder
        from skl2onnx.shape_calculators.one_hot_encoder import (
            calculate_sklearn_one_hot_encoder_output_shapes as encoded,
        )

        convert = partial(_one_hot, convert_sklearn_one_hot_encoder)
        skl2onnx.update_registered_converter(encoding.OneHotEncoder, "KappaOneHotEncoder", encoded, convert)
    if (imputing := sys.modules.get("sklearn.impute")) is not None:
        from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer
        from skl2onnx.shape_calculators.imputer import calculate_sklearn_imputer_output_shapes as imputed

        convert = partial(_imputer, convert_sklearn_imputer)
        skl2onnx.update_registered_converter(imputing.SimpleImputer, "KappaSimpleImputer", imputed, convert)
    if (xgboost := sys.modules.get("xgboost")) is not None:
        with optional_import(_EXTRA, needed_for='`compile = "onnx"` of an XGBoost model'):
            from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
        update, convert = skl2onnx.update_registered_converter, partial(_xgboost, convert_xgboost)
        update(xgboost.XGBClassifier, "XGBoostXGBClassifier", classifier, convert, options=options)
        update(xgboost.XGBRegressor, "XGBoostXGBRegressor", regressor, convert)
    if (lightgbm := sys.modules.get("lightgbm")) is not None:
        update = skl2onnx.update_registered_converter
        update(lightgbm.LGBMClassifier, "KappaLightGBMClassifier", classifier, _lightgbm_classifier, options=options)
        update(lightgbm.LGBMRegressor, "KappaLightGBMRegressor", regressor, _lightgbm_regressor)


# -- categories --------------------------------------------------------------------------------------------------------


def _one_hot(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Write an encoder of categories; skl2onnx truncates numbers to whole ones, and takes 3.5 for the category 3."""
    import numpy as np

    model = operator.raw_operator
    numbers = [value for values in model.categories_ for value in values if isinstance(value, (Real, np.bool_))]
    inputs = []
    for source in operator.inputs:
        name, tensor = source.full_name, _tensor_of(source)
        if numbers and tensor is not None:
            unknown = scope.get_unique_variable_name("unknown")
            container.add_initializer(unknown, tensor, [1], [float(min(numbers)) - 1.0])
            is_whole = _add(scope, container, "Equal", [name, _add(scope, container, "Floor", [name])])
            name = _add(scope, container, "Where", [is_whole, name, unknown])
        inputs.append(SimpleNamespace(full_name=name, type=source.type))
    names = operator.output_full_names
    convert(scope, SimpleNamespace(raw_operator=model, inputs=inputs, output_full_names=names), container)


def _tensor_of(variable: Any) -> int | None:
    """Return ONNX' number of the type of a variable of floats; ``None`` for one of another type."""
    is_float = type(variable.type).__name__ in ("DoubleTensorType", "FloatTensorType")
    return _number_of(variable) if is_float else None


# -- missing values ----------------------------------------------------------------------------------------------------


def _imputer(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Write an imputer of numbers for every width of floats: ONNX' own operator takes no float64."""
    import numpy as np
    from onnx import TensorProto

    model, (source, *more) = operator.raw_operator, operator.inputs
    if type(source.type).__name__ == "StringTensorType" and not isinstance(model.missing_values, str):
        raise NotImplementedError("missing text has no conversion")
    is_double = type(source.type).__name__ == "DoubleTensorType"
    is_plain = not more and not getattr(model, "add_indicator", False)
    if not (
        is_double
        and is_plain
        and not np.isnan(model.statistics_).any()
        and isinstance(model.missing_values, float)
        and np.isnan(model.missing_values)
    ):
        convert(scope, operator, container)
        return
    values = [float(value) for value in model.statistics_]
    statistics = scope.get_unique_variable_name("statistics")
    container.add_initializer(statistics, TensorProto.DOUBLE, [1, len(values)], values)
    missing = _add(scope, container, "IsNaN", [source.full_name])
    _add(scope, container, "Where", [missing, statistics, source.full_name], operator.outputs[0].full_name)


# -- trees -------------------------------------------------------------------------------------------------------------
#
# As scikit-learn has them: thresholds and sums are float64, and forests compare numbers rounded to float32. A class is
# chosen by the sums, so that equal votes have the outcome that they had.


def _forest_classifier(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    _check_outputs(model)
    weights = [_shares(tree.value[:, 0, :]) for tree in _trees_of(model)]
    votes = _write_trees(scope, operator, container, [*map(_nodes_of, _trees_of(model))], weights, rounds=True)
    _divide(scope, container, votes, len(weights), operator.outputs[1])
    _write_labels(scope, container, model.classes_, votes, operator.outputs[0].full_name)


def _forest_regressor(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    _check_outputs(model)
    weights = [tree.value[:, 0, :1] for tree in _trees_of(model)]
    sums = _write_trees(scope, operator, container, [*map(_nodes_of, _trees_of(model))], weights, rounds=True)
    _divide(scope, container, sums, len(weights), operator.outputs[0])


def _boosted_classifier(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    label, probabilities = (output.full_name for output in operator.outputs)
    scores = _boosted_scores(scope, operator, container)
    if container.get_options(model, {"raw_scores": False})["raw_scores"]:
        _add(scope, container, "Identity", [scores], probabilities)
    elif len(model.classes_) == 2:
        _two_classes(scope, operator, container, scores, probabilities)
    else:
        _add(scope, container, "Softmax", [scores], probabilities, axis=1)
    _write_labels(scope, container, model.classes_, probabilities, label)


def _boosted_regressor(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    link = type(model._loss.link).__name__  # noqa: SLF001 - scikit-learn has no public way to its trees
    if link not in ("IdentityLink", "LogLink"):
        raise NotImplementedError(f"the loss `{model.loss}` has no conversion")
    scores = _boosted_scores(scope, operator, container)
    _add(scope, container, "Identity" if link == "IdentityLink" else "Exp", [scores], operator.outputs[0].full_name)


def _boosted_scores(scope: Any, operator: Any, container: Any) -> str:
    import numpy as np

    model = operator.raw_operator
    if getattr(model, "is_categorical_", None) is not None:
        raise NotImplementedError("its splits by category have no conversion")
    baseline = np.ravel(model._baseline_prediction)  # noqa: SLF001
    trees = [(at, tree.nodes) for iteration in model._predictors for at, tree in enumerate(iteration)]  # noqa: SLF001
    nodes = [
        _Nodes(
            tree["is_leaf"].astype(bool),
            tree["feature_idx"],
            tree["num_threshold"],
            tree["left"],
            tree["right"],
            tree["missing_go_to_left"],
        )
        for _, tree in trees
    ]
    weights = [np.zeros((len(tree), len(baseline))) for _, tree in trees]
    for (at, tree), weight in zip(trees, weights, strict=True):
        weight[:, at] = tree["value"]
    return _write_trees(scope, operator, container, nodes, weights, base=baseline)


def _xgboost(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Write a model of XGBoost's; onnxmltools reads the names of columns as their numbers."""
    model = operator.raw_operator
    if model.booster not in (None, "gbtree"):
        raise NotImplementedError(f"a booster `{model.booster}` has no conversion")
    booster = model.get_booster()
    names, types = booster.feature_names, booster.feature_types
    if "c" in (types or ()):
        raise NotImplementedError("its splits by category have no conversion")
    try:
        booster.feature_names = None
        convert(scope, operator, container)
    finally:
        booster.feature_names, booster.feature_types = names, types


def _lightgbm_classifier(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    dump, objective, parameters = _lightgbm_dump(model)
    label, probabilities = (output.full_name for output in operator.outputs)
    scores = _lightgbm_scores(scope, operator, container, dump)
    if objective == "binary":
        factor = _number(scope, operator, container, float(parameters.get("sigmoid", 1.0)))
        _two_classes(scope, operator, container, _add(scope, container, "Mul", [scores, factor]), probabilities)
    elif objective == "multiclass":
        _add(scope, container, "Softmax", [scores], probabilities, axis=1)
    else:
        raise NotImplementedError(f"its objective `{objective}` has no conversion")
    _write_labels(scope, container, model.classes_, probabilities, label)


def _lightgbm_regressor(scope: Any, operator: Any, container: Any) -> None:
    dump, objective, parameters = _lightgbm_dump(operator.raw_operator)
    if objective in ("poisson", "gamma", "tweedie"):
        inverse = "Exp"
    elif objective in ("regression", "regression_l1", "huber", "fair", "quantile", "mape") and "sqrt" not in parameters:
        inverse = "Identity"
    else:
        raise NotImplementedError(f"its objective `{objective}` has no conversion")
    scores = _lightgbm_scores(scope, operator, container, dump)
    _add(scope, container, inverse, [scores], operator.outputs[0].full_name)


def _lightgbm_dump(model: Any) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Return the trees of a LightGBM estimator, its objective, and the parameters of that."""
    dump = model.booster_.dump_model()
    if dump.get("average_output"):
        raise NotImplementedError("a random forest of LightGBM's has no conversion")
    objective, *words = str(dump.get("objective", "")).split()
    return dump, objective, {word.partition(":")[0]: word.partition(":")[2] for word in words}


def _lightgbm_scores(scope: Any, operator: Any, container: Any, dump: dict[str, Any]) -> str:
    import numpy as np

    targets = dump["num_tree_per_iteration"]
    trees, weights = [], []
    for number, tree in enumerate(dump["tree_info"]):
        rows: list[tuple[bool, int, float, int, int, int]] = []
        values: list[float] = []
        _flatten(tree["tree_structure"], rows, values)
        trees.append(_Nodes(*(np.array(column) for column in zip(*rows, strict=True))))
        weights.append(np.zeros((len(rows), targets)))
        weights[-1][:, number % targets] = values
    return _write_trees(scope, operator, container, trees, weights, zero_within=_LIGHTGBM_ZERO)


def _flatten(node: dict[str, Any], rows: list[tuple[bool, int, float, int, int, int]], values: list[float]) -> int:
    """Append a node of LightGBM's and all below it; return its index."""
    index = len(rows)
    values.append(float(node.get("leaf_value", 0.0)))
    if "split_index" not in node:
        rows.append((True, 0, 0.0, 0, 0, 0))
        return index
    if node["decision_type"] != "<=":
        raise NotImplementedError("its splits by category have no conversion")
    if node["missing_type"] == "Zero":
        raise NotImplementedError("`zero_as_missing` has no conversion")
    threshold = float(node["threshold"])
    threshold = math.copysign(math.inf, threshold) if abs(threshold) >= _LIGHTGBM_INFINITY else threshold
    left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0  # it takes NaN for 0 then
    rows.append((False, node["split_feature"], threshold, 0, 0, int(left)))
    branches = [_flatten(node[side], rows, values) for side in ("left_child", "right_child")]
    rows[index] = (*rows[index][:3], *branches, int(left))  # type: ignore[assignment]
    return index


def _two_classes(scope: Any, operator: Any, container: Any, scores: str, probabilities: str) -> None:
    """Write the probabilities of two classes from the score of the second one."""
    positive = _add(scope, container, "Sigmoid", [scores])
    negative = _add(scope, container, "Sub", [_number(scope, operator, container, 1.0), positive])
    _add(scope, container, "Concat", [negative, positive], probabilities, axis=1)


class _Nodes(NamedTuple):
    """The nodes of one tree, each an array."""

    is_leaf: Any
    feature: Any
    threshold: Any
    left: Any
    right: Any
    missing_goes_left: Any


def _nodes_of(tree: Any) -> _Nodes:
    missing = getattr(tree, "missing_go_to_left", None)
    missing = tree.children_left * 0 if missing is None else missing
    leaves = tree.children_left == -1
    return _Nodes(leaves, tree.feature, tree.threshold, tree.children_left, tree.children_right, missing)


def _trees_of(model: Any) -> list[Any]:
    return [member.tree_ for member in getattr(model, "estimators_", [model])]


def _check_outputs(model: Any) -> None:
    if model.n_outputs_ > 1:
        raise NotImplementedError("a model with several outputs has no conversion")


def _shares(values: Any) -> Any:
    """Return the shares of the classes in each node, which scikit-learn kept as counts before 1.3."""
    import numpy as np

    totals = values.sum(axis=1, keepdims=True)
    return values if np.allclose(totals, 1.0) else values / totals


def _write_trees(
    scope: Any,
    operator: Any,
    container: Any,
    trees: Sequence[_Nodes],
    weights: Sequence[Any],
    *,
    base: Any = None,
    rounds: bool = False,
    zero_within: float | None = None,
) -> str:
    """Write trees; return the name of their sums, a column for each target.

    With ``rounds``, numbers are rounded to float32 before they are compared; those ``zero_within`` of 0 are 0.
    """
    from onnx import TensorProto
    from onnx.helper import make_tensor

    targets = weights[0].shape[1]
    nodes: dict[str, list[Any]] = {name: [] for name in _NODES}
    leaves: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, (tree, weight) in enumerate(zip(trees, weights, strict=True)):
        inner = ~tree.is_leaf
        nodes["treeids"] += [number] * len(tree.is_leaf)
        nodes["nodeids"] += range(len(tree.is_leaf))
        nodes["featureids"] += (tree.feature * inner).tolist()
        nodes["values"] += [
            value if split else 0.0 for value, split in zip(tree.threshold.tolist(), inner, strict=True)
        ]
        nodes["modes"] += ["BRANCH_LEQ" if split else "LEAF" for split in inner]
        nodes["truenodeids"] += (tree.left * inner).tolist()
        nodes["falsenodeids"] += (tree.right * inner).tolist()
        nodes["missing_value_tracks_true"] += [
            int(left and split) for left, split in zip(tree.missing_goes_left, inner, strict=True)
        ]
        for node in tree.is_leaf.nonzero()[0].tolist():
            for target in weight[node].nonzero()[0].tolist() or [0]:
                leaves["treeids"].append(number)
                leaves["nodeids"].append(node)
                leaves["ids"].append(target)
                leaves["weights"].append(float(weight[node, target]))
    doubles = {
        "nodes_values_as_tensor": nodes.pop("values"),
        "target_weights_as_tensor": leaves.pop("weights"),
        "base_values_as_tensor": [0.0] * targets if base is None else [float(value) for value in base],
    }
    source = operator.inputs[0].full_name
    if rounds:
        source = _add(scope, container, "Cast", [source], to=TensorProto.FLOAT)
    source = _add(scope, container, "Cast", [source], to=TensorProto.DOUBLE)
    if zero_within is not None:
        names = [scope.get_unique_variable_name(name) for name in ("zero", "bound")]
        for name, value in zip(names, (0.0, zero_within), strict=True):
            container.add_initializer(name, TensorProto.DOUBLE, [1], [value])
        is_zero = _add(scope, container, "LessOrEqual", [_add(scope, container, "Abs", [source]), names[1]])
        source = _add(scope, container, "Where", [is_zero, names[0], source])
    tables: dict[str, Any] = {f"nodes_{name}": values for name, values in nodes.items()}
    tables |= {f"target_{name}": values for name, values in leaves.items()}
    tables |= {name: make_tensor(name, TensorProto.DOUBLE, [len(values)], values) for name, values in doubles.items()}
    sums = _add(
        scope,
        container,
        "TreeEnsembleRegressor",
        [source],
        n_targets=targets,
        post_transform="NONE",
        aggregate_function="SUM",
        op_domain="ai.onnx.ml",
        op_version=3,
        **tables,
    )
    return _add(scope, container, "Cast", [sums], to=_width_of(operator))


_NODES = [
    "treeids",
    "nodeids",
    "featureids",
    "values",
    "modes",
    "truenodeids",
    "falsenodeids",
    "missing_value_tracks_true",
]


def _write_labels(scope: Any, container: Any, classes: Any, scores: str, label: str) -> None:
    """Write the choice of the class with the highest score, the first one of equals."""
    from onnx import TensorProto

    name = scope.get_unique_variable_name("classes")
    if classes.dtype.kind in "biu":
        container.add_initializer(name, TensorProto.INT64, [len(classes)], [int(value) for value in classes])
    elif all(isinstance(value, str) for value in classes):
        container.add_initializer(name, TensorProto.STRING, [len(classes)], [value.encode() for value in classes])
    else:
        raise NotImplementedError("its classes are neither whole numbers nor texts")
    index = _add(scope, container, "ArgMax", [scores], axis=1, keepdims=0)
    _add(scope, container, "Gather", [name, index], label, axis=0)


def _divide(scope: Any, container: Any, sums: str, count: int, output: Any) -> None:
    from onnx import TensorProto

    double = _add(scope, container, "Cast", [sums], to=TensorProto.DOUBLE)
    name = scope.get_unique_variable_name("count")
    container.add_initializer(name, TensorProto.DOUBLE, [1], [float(count)])
    mean = _add(scope, container, "Div", [double, name])
    _add(scope, container, "Cast", [mean], output.full_name, to=_number_of(output))


def _width_of(operator: Any) -> int:
    """Return ONNX' number of the type that an operator's input has: sums have it, too."""
    return _number_of(operator.inputs[0])


def _number_of(variable: Any) -> int:
    from onnx import TensorProto

    return int(TensorProto.DOUBLE if type(variable.type).__name__ == "DoubleTensorType" else TensorProto.FLOAT)


def _number(scope: Any, operator: Any, container: Any, value: float) -> str:
    name = scope.get_unique_variable_name("number")
    container.add_initializer(name, _width_of(operator), [1], [value])
    return str(name)


def _add(scope: Any, container: Any, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
    """Write a node; return the name of its output."""
    output = output or scope.get_unique_variable_name(kind.lower())
    container.add_node(kind, inputs, output, name=scope.get_unique_operator_name(kind), **attributes)
    return output
