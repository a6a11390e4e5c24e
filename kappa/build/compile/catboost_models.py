"""CatBoost's models as estimators that are compiled, by the library's own export to ONNX."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kappa.build.compile.converters import ConversionError
from kappa.errors import exception_text
from kappa.frameworks.packing import is_instance_of

__all__ = ["CatBoostEstimator"]

_SOURCE_LINE = re.compile(r"^.*\.(?:cpp|h):\d+: ")
"""Where in its own code the library raised an error."""


class CatBoostEstimator:
    """A model of CatBoost's with the attributes of a scikit-learn estimator, as far as it has them.

    Raises `ConversionError` for a model that has no ONNX.
    """

    def __init__(self, model: Any) -> None:
        import numpy as np

        self.model = model
        self.source = type(model).__name__
        self.feature_names_ = model.feature_names_
        self.n_features_in_ = len(model.feature_names_)
        self.predict = model.predict
        classes = np.asarray(() if model.classes_ is None else model.classes_)
        for kind, indices in (
            ("categories", model.get_cat_feature_indices()),
            ("text", model.get_text_feature_indices()),
            ("embeddings", model.get_embedding_feature_indices()),
        ):
            if indices:
                name = model.feature_names_[indices[0]]
                raise ConversionError("", f"its column `{name}` holds {kind}, which CatBoost exports to no ONNX")
        if len(classes) and not is_instance_of(model, "catboost.CatBoostClassifier"):
            raise ConversionError(
                "",
                f"a `{self.source}` of classes returns raw scores, and its ONNX labels: save a `CatBoostClassifier`",
            )
        if not len(classes) and np.ndim(model.predict(np.zeros((1, self.n_features_in_)))) > 1:
            raise ConversionError("", "a model with several outputs has no conversion")
        if len(classes):
            self.classes_, self.predict, self.predict_proba = classes, self._labels, model.predict_proba

    def _labels(self, rows: Any) -> Any:
        """Return the labels of rows, as wide as the widest of the classes, whichever there are."""
        labels = self.model.predict(rows)
        return labels.astype(self.classes_.dtype) if labels.dtype.kind == "U" else labels

    @property
    def thresholds(self) -> Mapping[int, Sequence[float]]:
        """The thresholds of its trees by column."""
        borders: Mapping[int, Sequence[float]] = self.model.get_borders()
        return borders

    def to_onnx(self) -> Any:
        """Return the model as CatBoost exports it, with arrays in place of mappings of probabilities."""
        import onnx

        with tempfile.TemporaryDirectory(prefix="kappa-") as folder:
            path = Path(folder) / "model.onnx"
            try:
                self.model.save_model(str(path), format="onnx", export_parameters={"onnx_graph_name": "model"})
            except Exception as exc:  # the library raises one class for all that it does not export
                reason = _SOURCE_LINE.sub("", exception_text(exc)).rstrip(".")
                raise ConversionError("", f"CatBoost does not export it: {reason}") from exc
            graph = onnx.load(path)
        _unzip(graph)
        return graph


def _unzip(graph: Any) -> None:
    """Let a graph return probabilities as they are, and not a mapping for each row."""
    from onnx import TensorProto, helper

    sources = {node.output[0]: node for node in graph.graph.node if node.op_type == "ZipMap"}
    for output in graph.graph.output:
        if (node := sources.get(output.name)) is not None:
            output.CopyFrom(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, [None, None]))
            graph.graph.node.remove(node)
