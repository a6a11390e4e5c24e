"""Networks kept as protocol buffers or flat buffers: ONNX, TensorFlow SavedModel, Core ML and LiteRT."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kappa.inspection.protobuf import Message, open_message
from kappa.inspection.report import Model, Tensor
from kappa.inspection.streams import TruncatedError, UnreadableError

__all__ = ["SAVED_MODEL", "onnx_of", "read_coreml", "read_onnx", "read_saved_model", "read_tflite"]

SAVED_MODEL = "saved_model.pb"
_ONNX_DTYPES = {
    number: name
    for name, number in {
        "float32": 1,
        "uint8": 2,
        "int8": 3,
        "uint16": 4,
        "int16": 5,
        "int32": 6,
        "int64": 7,
        "string": 8,
        "bool": 9,
        "float16": 10,
        "float64": 11,
        "uint32": 12,
        "uint64": 13,
        "bfloat16": 16,
    }.items()
}
_TF_DTYPES = {
    number: name
    for name, number in {
        "float32": 1,
        "float64": 2,
        "int32": 3,
        "uint8": 4,
        "int16": 5,
        "int8": 6,
        "string": 7,
        "int64": 9,
        "bool": 10,
        "bfloat16": 14,
        "uint16": 17,
        "float16": 19,
        "uint32": 22,
        "uint64": 23,
    }.items()
}
_MOST_TENSORS = 1_000
_TFLITE = b"TFL3"


def read_onnx(path: Path, head: bytes) -> Model | None:
    """Read an ONNX model (`ModelProto` of onnx.proto): who wrote it, its inputs and outputs, its weights."""
    if path.suffix.lower() != ".onnx" and not (head.startswith(b"\x08") and b"onnx" in head[:64].lower()):
        return None
    return onnx_of(path)[0]


def onnx_of(path: Path) -> tuple[Model, tuple[str, ...]]:
    """Read a file as an ONNX model, whatever it is called; return the names of the files that hold its weights, too."""
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    weights: dict[str, None] = {}
    files: dict[str, None] = {}
    producer, operators, problem = "", list[str](), UnreadableError("it is empty" if not path.stat().st_size else "")
    try:
        with open_message(path) as model:
            for field in model:
                if field.number == 2 and field.is_bytes:
                    producer = field.body.text()
                elif field.number == 3 and field.is_bytes:
                    producer = f"{producer} {field.body.text()}"
                elif field.number == 8 and field.is_bytes:
                    operators.append(f"{field.body.text(1) or 'ai.onnx'} {field.body.number(2)}")
                elif field.number == 7 and field.is_bytes:
                    _read_graph(field.body, inputs, outputs, weights, files)
        if not str(problem) and not outputs:
            problem = UnreadableError("it has no graph with outputs")
    except UnreadableError as exc:
        problem = exc
    problem = _problem_of_files(files) or problem
    absent = [name for name in files if not str(problem) and not (path.parent / name).is_file()]
    if absent:
        problem = UnreadableError(f"its weights are in `{absent[0]}`, which is not beside it")
    description = Model(
        kind="onnx",
        certainty="likely" if str(problem) else "certain",
        written_by=f"`{producer}`" if producer else "",
        inputs=tuple(tensor for tensor in inputs if tensor.name not in weights),
        outputs=tuple(outputs),
        weights=len(weights),
        artifact_type="onnx",
        modules=("onnxruntime",),
        problem=str(problem),
        is_truncated=isinstance(problem, TruncatedError),
        remarks=(f"Its operators are those of {', '.join(operators)}.",) if operators else (),
    )
    return description, tuple(files)


def _read_graph(
    graph: Message, inputs: list[Tensor], outputs: list[Tensor], weights: dict[str, None], files: dict[str, None]
) -> None:
    for field in graph:
        if not field.is_bytes:
            continue
        if field.number in (11, 12) and len(inputs) + len(outputs) < _MOST_TENSORS:
            (inputs if field.number == 11 else outputs).append(_onnx_tensor(field.body))
        elif field.number == 5:
            weights[field.body.text(8)] = None
            if field.body.number(14) == 1:  # EXTERNAL
                pairs = ((pair.text(1), pair.text(2)) for pair in field.body.all(13))
                files.update({value: None for key, value in pairs if key == "location"})


def _problem_of_files(files: Iterable[str]) -> UnreadableError | None:
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            return UnreadableError(f"its weights are in `{name}`, which leaves its folder")
    return None


def _onnx_tensor(info: Message) -> Tensor:
    dtype, shape = "", list[int | str]()
    for tensor in info.all(2, 1):
        number = tensor.number(1)
        dtype = _ONNX_DTYPES.get(number, f"type {number}")
        for dimension in tensor.all(2, 1):
            shape.append(dimension.text(2) or dimension.number(1) or -1)
    for kind, name in ((4, "sequence"), (5, "map")):
        if any(True for _ in info.all(2, kind)):
            dtype = name
    return Tensor(info.text(1), dtype, tuple(shape))


def read_saved_model(folder: Path) -> Model | None:
    """Read a SavedModel of TensorFlow's (saved_model.proto): its version, and what the serving signature takes."""
    path = folder / SAVED_MODEL
    if not path.is_file():
        return None
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    version, problem = "", UnreadableError("")
    signatures: list[str] = []
    try:
        with open_message(path) as saved:
            for graph in saved.all(2):
                version = version or next((info.text(5) for info in graph.all(1)), "")
                for entry in graph.all(5):
                    signatures.append(entry.text(1))
                    if entry.text(1) == "serving_default":
                        for signature in entry.all(2):
                            inputs += [_tf_tensor(tensor) for tensor in signature.all(1)]
                            outputs += [_tf_tensor(tensor) for tensor in signature.all(2)]
        if not version:
            problem = UnreadableError(f"`{SAVED_MODEL}` in it has no graph")
    except UnreadableError as exc:
        problem = exc
    if not str(problem) and not (folder / "variables").is_dir():
        problem = TruncatedError("it has no folder `variables`")
    named = [name for name in signatures if not name.startswith("__")]
    return Model(
        kind="tensorflow",
        certainty="likely" if str(problem) else "certain",
        written_by="TensorFlow's `saved_model.save`",
        artifact_type="tensorflow",
        versions={"tensorflow": version} if version else {},
        inputs=tuple(inputs[:_MOST_TENSORS]),
        outputs=tuple(outputs[:_MOST_TENSORS]),
        modules=("tensorflow",),
        problem=str(problem),
        is_truncated=isinstance(problem, TruncatedError),
        remarks=(f"Its signatures are {', '.join(f'`{name}`' for name in named)}.",) if named else (),
    )


def _tf_tensor(entry: Message) -> Tensor:
    """Read an entry of a signature: a name, and a `TensorInfo`."""
    dtype, shape = "", list[int | str]()
    for info in entry.all(2):
        number = info.number(2)
        dtype = _TF_DTYPES.get(number, f"type {number}")
        for dimension in info.all(3, 2):
            size = dimension.number(1)
            shape.append(-1 if size >= 1 << 63 else size)
    return Tensor(entry.text(1), dtype, tuple(shape))


def read_coreml(path: Path, head: bytes) -> Model | None:
    """Read the description in a Core ML model (Model.proto)."""
    if path.suffix.lower() != ".mlmodel" or not head.startswith(b"\x08"):
        return None
    problem = UnreadableError("")
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    try:
        with open_message(path) as model:
            for description in model.all(2):
                inputs += [Tensor(feature.text(1)) for feature in description.all(1)]
                outputs += [Tensor(feature.text(1)) for feature in description.all(10)]
    except UnreadableError as exc:
        problem = exc
    return Model(
        kind="coreml",
        certainty="likely",
        inputs=tuple(inputs[:_MOST_TENSORS]),
        outputs=tuple(outputs[:_MOST_TENSORS]),
        modules=("coremltools",),
        problem=str(problem),
        is_truncated=isinstance(problem, TruncatedError),
    )


def read_tflite(path: Path, head: bytes) -> Model | None:  # noqa: ARG001 - one of the readers
    """Know a model of LiteRT by the mark of its flat buffer."""
    if head[4:8] != _TFLITE:
        return None
    remark = (
        "Its signature is all that is read here: `pip install ai-edge-litert`, and its interpreter, tell its tensors."
    )
    return Model(kind="tflite", certainty="likely", remarks=(remark,))
