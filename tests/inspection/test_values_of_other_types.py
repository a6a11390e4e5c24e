"""Descriptions with a value of another type than their writer's, at each place in turn: never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kappa.inspection.detection import inspect_path
from tests.inspection import samples

CATBOOST: dict[str, Any] = {
    "features_info": {"float_features": [{"feature_id": "age", "flat_feature_index": 0}]},
    "model_info": {"class_params": {"class_names": ["no", "yes"], "classes_count": 2}},
}
MLFLOW = {
    "flavors": {
        "python_function": {"python_version": "3.11.7", "model_path": "model.pkl"},
        "sklearn": {"pickled_model": "model.pkl"},
    },
    "mlflow_version": "3.17.2",
    "signature": {"inputs": '[{"name": "age", "type": "double"}]'},
}
TRANSFORMERS = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "transformers_version": "5.1.0",
    "id2label": {"0": "a"},
    "auto_map": {"AutoModel": "own.Own"},
}
SPACY = {"pipeline": ["ner"], "spacy_version": ">=3.8", "name": "x"}
SPARK = {
    "class": "org.apache.spark.ml.PipelineModel",
    "uid": "Pipeline_0",
    "sparkVersion": "4.1.0",
    "paramMap": {"stageUids": ["Pipeline_0"], "inputCol": "age", "inputCols": ["age"], "outputCols": ["x"]},
    "defaultParamMap": {"outputCol": "y"},
}
SAFETENSORS = {"__metadata__": {"format": "pt"}, "weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
KERAS = {
    "module": "keras",
    "class_name": "Sequential",
    "registered_name": "own>Own",
    "config": {
        "layers": [
            {"module": "keras", "class_name": "InputLayer", "config": {"name": "row", "batch_shape": [None, 3]}},
        ]
    },
}
SKOPS = {
    **samples.skops_node(
        "StandardScaler",
        samples.skops_node(
            "dict",
            {
                "_sklearn_version": samples.skops_node("str", '"1.9.1"'),
                "n_features_in_": samples.skops_node("int", "2"),
                "feature_names_in_": {
                    **samples.skops_node("ndarray", [samples.skops_node("str", '"age"')], loader="NdArrayNode"),
                    "type": "object",
                    "file": "age.npy",
                },
                "steps": samples.skops_node(
                    "list",
                    [samples.skops_node("tuple", [samples.skops_node("str", '"a"')] * 2, loader="TupleNode")],
                    loader="ListNode",
                ),
            },
            loader="DictNode",
        ),
        module="sklearn.preprocessing._data",
        loader="ObjectNode",
    ),
    "_skops_version": "0.16.0",
}
OTHERS: tuple[Any, ...] = (None, True, -1, 1e300, "5", "[5]", [], [5], {}, {"x": 5}, [[["x"]]], {"name": ["x"]})


def others_of(tree: Any) -> Iterator[Any]:
    """Yield copies of a tree, each with one value, or the whole, of another type."""
    yield from OTHERS
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        for other in others_of(value):
            yield {**tree, key: other} if isinstance(tree, dict) else [*tree[:key], other, *tree[key + 1 :]]


def file_called(name: str, written: Callable[[Any], bytes]) -> Callable[[Path, Any], Path]:
    def write(folder: Path, tree: Any) -> Path:
        (folder / name).write_bytes(written(tree))
        return folder / name

    return write


def folder_with(name: str, *others: str) -> Callable[[Path, Any], Path]:
    def write(folder: Path, tree: Any) -> Path:
        (folder / name).write_text(json.dumps(tree))
        for other in others:
            (folder / other).write_bytes(b"\x80\x02}.")
        return folder

    return write


def as_json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def as_keras(tree: Any) -> bytes:
    metadata = as_json({"keras_version": tree})
    return samples.zipped({"metadata.json": metadata, "config.json": as_json(tree), "model.weights.h5": b""})


def as_spark(folder: Path, tree: Any) -> Path:
    """Write a pipeline whose stage has the same metadata."""
    for inside in (folder, folder / "stages" / "0_Pipeline_0"):
        (inside / "metadata").mkdir(parents=True, exist_ok=True)
        (inside / "metadata" / "part-00000").write_bytes(as_json(tree))
    return folder


@pytest.mark.parametrize(
    ("tree", "write"),
    [
        pytest.param(samples.XGBOOST, file_called("m.json", as_json), id="xgboost"),
        pytest.param(CATBOOST, file_called("m.json", as_json), id="catboost"),
        pytest.param(
            CATBOOST["model_info"]["class_params"],
            file_called("m.cbm", lambda tree: samples.catboost().replace(samples.CLASSES_OF_CATBOOST, as_json(tree))),
            id="catboost cbm",
        ),
        pytest.param(SAFETENSORS, file_called("m.safetensors", samples.safetensors), id="safetensors"),
        pytest.param(KERAS, file_called("m.keras", as_keras), id="keras"),
        pytest.param(
            SKOPS, file_called("m.skops", lambda tree: samples.zipped({"schema.json": as_json(tree)})), id="skops"
        ),
        pytest.param(MLFLOW, folder_with("MLmodel", "model.pkl"), id="mlflow"),
        pytest.param(TRANSFORMERS, folder_with("config.json", "model.safetensors"), id="transformers"),
        pytest.param(SPARK, as_spark, id="pyspark"),
        pytest.param(SPACY, folder_with("meta.json", "config.cfg"), id="spacy"),
    ],
)
def test_a_value_of_another_type_is_passed_over_or_a_problem(
    tree: Any, write: Callable[[Path, Any], Path], tmp_path: Path
) -> None:
    model = inspect_path(write(tmp_path, tree))
    assert model is not None
    assert (model.kind != "", model.problem) == (True, "")
    for other in others_of(tree):
        model = inspect_path(write(tmp_path, other))
        assert model is None or json.dumps(model.to_tree())
