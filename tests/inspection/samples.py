"""Small files of every format, put together by hand: what no framework is needed for."""

from __future__ import annotations

import json
import struct
import zipfile
from io import BytesIO
from typing import Any


def zipped(entries: dict[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, value: int | str | bytes) -> bytes:
    """Return a field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def onnx_value(name: str, dtype: int, *lengths: int | str) -> bytes:
    dimensions = b"".join(field(1, field(2, one) if isinstance(one, str) else field(1, one)) for one in lengths)
    return field(1, name) + field(2, field(1, field(1, dtype) + field(2, dimensions)))


def onnx_of_shape(*lengths: int | str) -> bytes:
    """Return a model that takes and returns one tensor of numbers."""
    graph = field(11, onnx_value("rows", 1, *lengths)) + field(12, onnx_value("out", 1, *lengths))
    return field(1, 9) + field(7, graph)


def onnx_of_columns(*names: str) -> bytes:
    """Return a model that has an input for each column."""
    inputs = b"".join(field(11, onnx_value(name, 1, "n", 1)) for name in names)
    return field(1, 9) + field(7, inputs + field(12, onnx_value("out", 1, "n", 1)))


def onnx(*, weights_in: str = "") -> bytes:
    external = field(13, field(1, "location") + field(2, weights_in)) + field(14, 1) if weights_in else b""
    graph = field(2, "graph") + field(5, field(8, "W") + external)
    graph += field(11, onnx_value("X", 1, "rows", 3)) + field(11, onnx_value("W", 1, 3))
    graph += field(12, onnx_value("label", 7, "rows"))
    return (
        field(1, 8) + field(2, "pytorch") + field(3, "2.13.0") + field(8, field(1, "") + field(2, 17)) + field(7, graph)
    )


def saved_model() -> bytes:
    def tensor(name: str, dtype: int) -> bytes:
        shape = field(2, field(1, (1 << 64) - 1)) + field(2, field(1, 3))
        return field(1, name) + field(2, field(1, f"{name}:0") + field(2, dtype) + field(3, shape))

    signature = field(1, tensor("row", 1)) + field(2, tensor("score", 1))
    graph = field(1, field(5, "2.18.0")) + field(5, field(1, "serving_default") + field(2, signature))
    return field(1, 1) + field(2, graph)


def ubjson(value: Any) -> bytes:
    """Return a value as XGBoost writes it."""
    if isinstance(value, dict):
        return b"{" + b"".join(_ubj_text(key) + ubjson(one) for key, one in value.items()) + b"}"
    if isinstance(value, list):
        return b"[#L" + struct.pack(">q", len(value)) + b"".join(map(ubjson, value))
    return b"S" + _ubj_text(value) if isinstance(value, str) else b"l" + struct.pack(">i", value)


def _ubj_text(text: str) -> bytes:
    return b"L" + struct.pack(">q", len(text)) + text.encode()


XGBOOST = {
    "learner": {
        "attributes": {"scikit_learn": '{"_estimator_type": "classifier"}'},
        "feature_names": ["age", "income"],
        "feature_types": ["float", "int"],
        "gradient_booster": {"model": {"trees": [{"id": 0}]}},
        "learner_model_param": {"num_class": "3", "num_feature": "2"},
    },
    "version": [2, 1, 3],
}
LIGHTGBM = (
    b"tree\nversion=v4\nnum_class=3\nmax_feature_idx=1\nobjective=multiclass num_class:3\nfeature_names=age income\n\n"
    b"Tree=0\nleaf_value=1\n\nend of trees\n"
)


def safetensors(header: dict[str, Any] | None = None, *, data: bytes = bytes(8)) -> bytes:
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    text = json.dumps(header if header is not None else {"__metadata__": {"format": "pt"}, "weight": tensor}).encode()
    return struct.pack("<Q", len(text)) + text + data


def gguf_text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(*pairs: bytes, tensors: int = 2) -> bytes:
    """Return a file of tensors of two numbers each, whose header has words about the model and further ``pairs``."""
    words = {"general.architecture": "llama", "general.name": "Tiny"}
    named = [gguf_text(key) + struct.pack("<I", 8) + gguf_text(value) for key, value in words.items()]
    every = b"".join([*pairs, *named])
    places = [gguf_text(f"weight {number}") + struct.pack("<IQIQ", 1, 2, 0, 32 * number) for number in range(tensors)]
    header = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(named) + len(pairs)) + every + b"".join(places)
    return header + bytes(-len(header) % 32) + bytes(max(32 * tensors - 24, 0))


def gguf_list(key: str, *texts: str) -> bytes:
    """Return a pair whose value is a list of texts."""
    return gguf_text(key) + struct.pack("<IIQ", 9, 8, len(texts)) + b"".join(map(gguf_text, texts))


CLASSES_OF_CATBOOST = b'{"classes_count":2,"class_names":["no","yes"]}'


def catboost() -> bytes:
    body = b"...." + CLASSES_OF_CATBOOST + b"....CatBoost release 1.2.10. commit"
    return b"CBM1" + struct.pack("<I", len(body)) + body


def flatbuffer(fields: dict[int, Any]) -> bytes:
    """Write tables as FlatBuffers has them: a field is a number of 32 bits, a text, a table or a list of tables."""
    body, at = _flat_table(fields, 4)
    return struct.pack("<I", at) + body


def _flat_table(fields: dict[int, Any], start: int) -> tuple[bytes, int]:
    """Return a table that begins at a place with the offsets of its fields, and where it is itself."""
    count = max(fields, default=-1) + 1
    offsets = [4 + 4 * number if number in fields else 0 for number in range(count)]
    head = struct.pack(f"<{2 + count}H", 4 + 2 * count, 4 + 4 * count, *offsets)
    at = start + len(head)
    slots, rest = struct.pack("<i", len(head)), b""
    end = at + 4 + 4 * count
    for number in range(count):
        value = fields.get(number, 0)
        if isinstance(value, int):
            slots += struct.pack("<i", value)
            continue
        part, target = _flat_part(value, end + len(rest))
        slots += struct.pack("<I", target - (at + 4 + 4 * number))
        rest += part
    return head + slots + rest, at


def _flat_part(value: Any, start: int) -> tuple[bytes, int]:
    if isinstance(value, dict):
        return _flat_table(value, start)
    if isinstance(value, str):
        return struct.pack("<I", len(value.encode())) + value.encode() + b"\0", start
    slots, rest = struct.pack("<I", len(value)), b""
    for number, table in enumerate(value):
        part, target = _flat_table(table, start + 4 + 4 * len(value) + len(rest))
        slots += struct.pack("<I", target - (start + 4 + 4 * number))
        rest += part
    return slots + rest, start


def catboost_of(*names: str, categories: tuple[str, ...] = ()) -> bytes:
    """Return a model of columns of numbers, and of categories behind them."""
    numbers = [{1: index, 2: index, 4: name} for index, name in enumerate(names)]
    texts = [{0: index, 1: len(names) + index, 2: name} for index, name in enumerate(categories)]
    body = flatbuffer({0: "FlabuffersModel_v1", 1: {0: 1, 4: texts, 5: numbers}})
    return b"CBM1" + struct.pack("<I", len(body)) + body


LIGHTGBM_TAIL = b"\nfeature_importances:\nage=2\n\nparameters:\n[boosting: gbdt]\n\nend of parameters\n"


def keras(*, layer: dict[str, Any] | None = None) -> bytes:
    layers: list[dict[str, Any]] = [
        {"module": "keras.layers", "class_name": "InputLayer", "config": {"name": "row", "batch_shape": [None, 3]}},
        layer or {"module": "keras.layers", "class_name": "Dense", "config": {"name": "dense"}},
    ]
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": layers}}
    entries = {"metadata.json": {"keras_version": "3.15.1"}, "config.json": config}
    return zipped(
        {**{name: json.dumps(tree).encode() for name, tree in entries.items()}, "model.weights.h5": b"\x89HDF"}
    )


def skops_node(name: str, content: Any, *, module: str = "builtins", loader: str = "JsonNode") -> dict[str, Any]:
    return {"__class__": name, "__module__": module, "__loader__": loader, "content": content}


def skops(*, extra: dict[str, Any] | None = None) -> bytes:
    names = skops_node("ndarray", [skops_node("str", '"age"')], module="numpy", loader="NdArrayNode")
    attributes = {"feature_names_in_": names, "_sklearn_version": skops_node("str", '"1.9.1"'), **(extra or {})}
    state = skops_node("dict", attributes, loader="DictNode")
    root = skops_node("StandardScaler", state, module="sklearn.preprocessing._data", loader="ObjectNode")
    return zipped({"schema.json": json.dumps({**root, "_skops_version": "0.16.0"}).encode()})


def mojo() -> bytes:
    ini = (
        "[info]\nalgorithm = gbm\nh2o_version = 3.46.0.7\nn_features = 2\nn_columns = 3\n\n"
        "[columns]\nage\nincome\nchurn\n\n[domains]\n2: 2 d000.txt\n"
    )
    return zipped({"model.ini": ini.encode(), "domains/d000.txt": b"no\nyes\n"}, method=zipfile.ZIP_DEFLATED)


def torch_export(*sizes: int | None) -> bytes:
    """Return an exported program with weights and one input, of which some lengths may differ."""
    lengths = [{"as_expr": {"expr_str": "s0"}} if size is None else {"as_int": size} for size in sizes]
    specs = [
        {"parameter": {"arg": {"name": "p_weight"}, "parameter_name": "weight"}},
        {"user_input": {"arg": {"as_tensor": {"name": "rows"}}}},
    ]
    tensors = {"p_weight": {"dtype": 7, "sizes": []}, "rows": {"dtype": 7, "sizes": lengths}}
    module = {"signature": {"input_specs": specs}, "graph": {"tensor_values": tensors}}
    tree = json.dumps({"torch_version": "2.13.0+cpu", "graph_module": module}).encode()
    return zipped({"m/models/model.json": tree, "m/archive_version": b"0"})


def torch(pickled: bytes, *, folder: str = "archive") -> bytes:
    return zipped({f"{folder}/data.pkl": pickled, f"{folder}/version": b"3\n", f"{folder}/data/0": bytes(8)})


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI2\ntQI0\n(I2\nt(I1\nt\x89N"
    b"tR"
)
STATE_DICT = b"\x80\x02ccollections\nOrderedDict\n)R(S'weight'\n" + TENSOR + b"S'bias'\n" + TENSOR + b"u."
MLMODEL = """\
mlflow_version: 3.17.2
flavors:
  python_function: {loader_module: mlflow.sklearn, python_version: 3.11.7}
  sklearn: {pickled_model: model.pkl}
signature:
  inputs: '[{"type": "double", "name": "age", "required": true}]'
"""
