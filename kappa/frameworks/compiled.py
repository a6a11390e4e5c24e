"""Models that a build has compiled to ONNX: how they are declared, kept in a bundle, and called."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from kappa.errors import optional_import
from kappa.frameworks.compiled_network import CompiledNetwork, NetworkFacts
from kappa.frameworks.estimators import labels_by_row
from kappa.spec.compiling import CompileOptions
from kappa.spec.contracts import ArtifactPlugin, Spec
from kappa.wording import listed

__all__ = [
    "METHODS",
    "CompilableArtifact",
    "CompiledArtifact",
    "CompiledColumn",
    "CompiledFacts",
    "CompiledMethod",
    "CompiledModel",
]

METHODS = ("predict", "predict_proba", "decision_function", "transform")
"""The methods of a model that are compiled, as far as it has them."""
_FACTS = "compiled.json"
_GRAPH = "model.onnx"


class CompiledColumn(Spec):
    """A column of what a model takes."""

    name: str
    is_text: bool = False
    takes_missing: bool = False
    """Whether the model takes a missing value there; else it raises `ValueError`, as before."""
    takes_infinity: bool = False
    takes_large: bool = True
    """Whether the model takes numbers that float32 does not hold."""
    is_used: bool = True
    """Whether the graph has an input for it."""


class CompiledMethod(Spec):
    """A method, and how an output of the graph becomes what it returns."""

    output: str
    """The name of the output."""
    dtype: str
    """NumPy's name of the type of what it returns."""
    is_flat: bool
    """Whether it returns one value for each row, and not a row of values: the last one where the output has more."""


class CompiledFacts(Spec):
    """What a compiled model is beside its graph."""

    layout: Literal["matrix", "columns", "texts"]
    """Whether the graph takes one matrix, each column by itself, or one list of texts."""
    width: Literal["float64", "float32"]
    """The type of its numbers."""
    columns: tuple[CompiledColumn, ...]
    has_names: bool
    """Whether the model was fitted with the names of its columns."""
    checks_names: bool = True
    """Whether a frame must have them; else its columns are taken by their places."""
    methods: dict[str, CompiledMethod]
    absent: dict[str, str] = Field(default_factory=dict)
    """The model's other methods of `METHODS`, each with the reason why it was not compiled."""
    classes: tuple[Any, ...] | None = None
    classes_dtype: str = ""
    source: str
    """The class of the model that it was made from."""


class CompiledModel:
    """Answers as the model did that it was made from, by the methods that were compiled."""

    def __init__(self, session: Any, facts: CompiledFacts) -> None:
        import numpy as np

        self.session = session
        self.n_features_in_ = len(facts.columns)
        self._facts, self._np, self._run = facts, np, session.run
        self._dtype = np.dtype(facts.width)
        self._names = [column.name for column in facts.columns]
        self._largest = np.float64(np.finfo("float32").max)
        takes_large = all(column.takes_large for column in facts.columns)
        self._bound = float(np.finfo("float64").max if takes_large else self._largest**2)
        if facts.has_names:
            self.feature_names_in_ = np.array(self._names, dtype=object)
        if facts.classes is not None:
            self.classes_ = np.array(facts.classes, dtype=facts.classes_dtype)
        feed = {"matrix": self._matrix, "columns": self._by_column, "texts": self._texts}[facts.layout]
        for name, method in facts.methods.items():
            setattr(self, name, _caller(self._run, feed, method))

    def __getattr__(self, name: str) -> Any:
        facts = self.__dict__.get("_facts")
        if facts is None or name.startswith("__"):
            raise AttributeError(name)
        offered = [*facts.methods, "n_features_in_", "session"]
        offered += ["classes_"] if facts.classes is not None else []
        offered += ["feature_names_in_"] if facts.has_names else []
        if name in facts.absent:
            raise AttributeError(f"a compiled `{facts.source}` has no `{name}`: {facts.absent[name]}")
        raise AttributeError(
            f"a compiled `{facts.source}` has no `{name}`; it has {listed(offered)}. Without `compile`, a bundle holds "
            "the model itself"
        )

    def __repr__(self) -> str:
        return f"<{self._facts.source}, compiled to ONNX>"

    @property
    def has_label_column(self) -> bool:
        """Whether `predict` returns labels as a column."""
        method = self._facts.methods.get("predict")
        return self._facts.classes is not None and method is not None and not method.is_flat

    def _matrix(self, argument: Any) -> dict[str, Any]:
        facts = self._facts
        if hasattr(argument, "columns"):
            if facts.has_names and facts.checks_names and list(argument.columns) != self._names:
                raise ValueError(_other_columns(self._names, argument.columns))
            argument = argument.to_numpy()
        array = self._numbers(argument)
        if array.ndim != 2 or array.shape[1] != len(self._names):
            raise ValueError(f"the model takes rows of {len(self._names)} columns, not an array of shape {array.shape}")
        if not self._is_usual(array):
            for index, column in enumerate(facts.columns):
                self._check(array[:, index], column)
        return {"columns": array}

    def _by_column(self, argument: Any) -> dict[str, Any]:
        facts = self._facts
        if not hasattr(argument, "columns"):
            raise ValueError("the model was fitted with a frame, and finds its columns by their names")
        if missing := [
            column.name for column in facts.columns if column.is_used and column.name not in argument.columns
        ]:
            raise ValueError(f"columns are missing: {listed(missing)}")
        feed = {}
        for index, column in enumerate(facts.columns):
            if not column.is_used:
                continue
            values = argument[column.name].to_numpy()
            if column.is_text:
                feed[f"column_{index}"] = self._text(values, column).reshape(-1, 1)
            else:
                numbers = self._numbers(values)
                if not self._is_usual(numbers):
                    self._check(numbers, column)
                feed[f"column_{index}"] = numbers.reshape(-1, 1)
        return feed

    def _texts(self, argument: Any) -> dict[str, Any]:
        if isinstance(argument, str) or not hasattr(argument, "__len__"):
            raise ValueError(f"the model takes a list of texts, not a `{type(argument).__name__}`")
        return {"texts": self._text(self._np.asarray(argument, dtype=object), self._facts.columns[0]).reshape(-1, 1)}

    def _text(self, values: Any, column: CompiledColumn) -> Any:
        texts = self._np.empty(len(values), dtype=object)
        for index, value in enumerate(values):
            if isinstance(value, str):
                texts[index] = value
            elif _is_missing(value) and column.takes_missing:
                texts[index] = ""
            else:
                raise ValueError(f"`{column.name}` holds {value!r}, where the model takes text")
        return texts

    def _numbers(self, values: Any) -> Any:
        if self._facts.width == "float64":
            return self._converted(values)
        with self._np.errstate(over="ignore"):  # numbers beyond float32 become infinite, as in the library's own arrays
            return self._converted(values)

    def _converted(self, values: Any) -> Any:
        np, dtype = self._np, self._dtype
        try:
            return np.ascontiguousarray(values, dtype=dtype)
        except TypeError:  # pandas' own missing value is none of NumPy's
            values = np.array(values, dtype=object)
            values[np.vectorize(_is_missing, otypes=[bool])(values)] = None
            return np.ascontiguousarray(values, dtype=dtype)

    def _is_usual(self, numbers: Any) -> bool:
        """Return whether no number needs a closer look: none is missing or infinite, and none is large."""
        return float(self._np.vdot(numbers, numbers)) <= self._bound  # PERF: one pass

    def _check(self, numbers: Any, column: CompiledColumn) -> None:
        np = self._np
        if not column.takes_missing and np.isnan(numbers).any():
            raise ValueError(f"`{column.name}` holds a missing value, which the model does not take")
        if not column.takes_infinity and np.isinf(numbers).any():
            raise ValueError(f"`{column.name}` holds an infinite value, which the model does not take")
        if not column.takes_large and (np.abs(numbers[np.isfinite(numbers)]) > self._largest).any():
            raise ValueError(f"`{column.name}` holds a number beyond float32, which the model does not take")


def _is_missing(value: Any) -> bool:
    """Return whether a value is ``None``, NaN, or pandas' `NaT` or `NA`, which does not say whether it is itself."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _caller(run: Callable[..., Any], feed: Callable[[Any], Any], method: CompiledMethod) -> Callable[[Any], Any]:
    outputs, dtype, is_flat = [method.output], method.dtype, method.is_flat

    def call(X: Any) -> Any:  # noqa: N803 - as scikit-learn's methods call it
        (values,) = run(outputs, feed(X))
        if is_flat != (values.ndim == 1):
            values = values[:, -1] if is_flat else values.reshape(-1, 1)
        return values.astype(dtype, copy=False)

    return call


def _other_columns(names: Sequence[str], others: Any) -> str:
    missing = [name for name in names if name not in others]
    if missing:
        return f"columns are missing: {listed(missing)}"
    more = [str(name) for name in others if name not in names]
    return f"the model was not fitted with {listed(more)}" if more else "the columns are in another order"


class CompiledArtifact(ArtifactPlugin):
    """A compiled model inside of a bundle, in place of an artifact of the type that was declared."""

    filename: ClassVar[str] = _GRAPH
    files: ClassVar[tuple[str, ...]] = (_GRAPH, _FACTS)
    takes_frames_alone: ClassVar[bool] = False
    row_methods: ClassVar[frozenset[str]] = frozenset({*METHODS, "forward"})
    needed_modules: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    type: str = ""
    """The type that was declared."""
    declared_by: str = ""
    """The name of that type's class."""

    @classmethod
    def own_reference(cls) -> str | None:
        return None

    @property
    def class_name(self) -> str:
        return self.declared_by

    def requires(self) -> tuple[str, ...]:
        return ("numpy", "onnxruntime")

    def load(self, directory: Path) -> CompiledModel | CompiledNetwork:
        with optional_import("onnxruntime", needed_for="a model that is compiled to ONNX"):
            import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        tree = json.loads((directory / _FACTS).read_bytes())
        session = onnxruntime.InferenceSession(directory / _GRAPH, options, providers=["CPUExecutionProvider"])
        if tree["layout"] == "network":
            return CompiledNetwork(session, NetworkFacts.model_validate(tree), artifact=self.name)
        return CompiledModel(session, CompiledFacts.model_validate(tree))

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        """Return the model's method; labels that are a column, as CatBoost's are, become one label for a row."""
        called = super().caller(model, method, is_batch=is_batch)
        if isinstance(model, CompiledNetwork):
            return model.caller(is_batch=is_batch)
        has_column = method == "predict" and isinstance(model, CompiledModel) and model.has_label_column
        return labels_by_row(called) if has_column else called

    @staticmethod
    def write(directory: Path, graph: bytes, facts: CompiledFacts | NetworkFacts) -> None:
        """Write a compiled model where `load` reads it."""
        (directory / _GRAPH).write_bytes(graph)
        (directory / _FACTS).write_text(f"{facts.model_dump_json(indent=2)}\n", encoding="utf-8")


class CompilableArtifact(ArtifactPlugin):
    """A model that a build may compile to ONNX."""

    compiled_methods: ClassVar[tuple[str, ...]] = METHODS
    """The methods that a compiled model may have."""
    compiled_attributes: ClassVar[tuple[str, ...]] = ("classes_", "n_features_in_", "feature_names_in_", "session")
    """What else it may have."""

    compile: Literal["onnx"] | CompileOptions | None = None
    """`"onnx"`: the build converts the model to ONNX and proves that it answers as before; the bundle then holds no
    pickle, and ONNX Runtime in place of the training framework. A table sets `samples`, `rtol` and `atol`, too."""

    @property
    def compiling(self) -> CompileOptions | None:
        return CompileOptions(to=self.compile) if isinstance(self.compile, str) else self.compile

    @property
    def kept(self) -> ArtifactPlugin:
        if self.compile is None:
            return self
        return CompiledArtifact(name=self.name, type=self.type, declared_by=type(self).__name__)

    @model_serializer(mode="wrap")
    def _without_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave `compile` out where it says nothing: what is declared without it reads as ever."""
        tree: dict[str, Any] = self._serialized(handler)
        if self.compile is None:
            tree.pop("compile", None)
        return tree
