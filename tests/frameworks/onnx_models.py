"""Small models of ONNX, made with the package `onnx`."""

from __future__ import annotations

from typing import Any

__all__ = ["linear_model", "sum_model"]


def linear_model(first: str | int = "n") -> Any:
    """Return a model that makes two scores, and the label of the greater one, of each row of three numbers."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.array([[1, 0], [0, 1], [1, 1]], dtype="float32"), "weights")
    nodes = [
        helper.make_node("MatMul", ["rows", "weights"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [first, 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [first, 2])
    label = helper.make_tensor_value_info("label", TensorProto.INT64, [first])
    return _model(helper.make_graph(nodes, "linear", [rows], [scores, label], [weights]))


def sum_model() -> Any:
    """Return a model with two inputs, each a column."""
    from onnx import TensorProto, helper

    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in ("age", "income")]
    output = helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["n", 1])
    return _model(helper.make_graph([helper.make_node("Add", ["age", "income"], ["sum"])], "sum", inputs, [output]))


def _model(graph: Any) -> Any:
    from onnx import helper

    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
