"""ONNX models, answered by an `InferenceSession` of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kappa.errors import BundleError, optional_import
from kappa.frameworks.named_inputs import NamedInputs
from kappa.frameworks.packing import check_packed
from kappa.inspection.networks import onnx_of
from kappa.inspection.report import Tensor, column_names
from kappa.inspection.streams import head_of
from kappa.spec.contracts import ArtifactPlugin
from kappa.wording import listed

__all__ = ["OnnxModelArtifact"]

_FOLDER = "model"
_IR_VERSION = b"\x08"
"""The tag of the first field (onnx.proto: `ir_version`), as protobuf writes it."""
_DTYPES = {"bool": "bool", "double": "float64", "float": "float32", "float16": "float16", "string": "object"}
"""NumPy's names of the types of tensors, where they differ."""
_LEVELS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_ON_GPU = frozenset({"CUDAExecutionProvider", "NvTensorRTRTXExecutionProvider", "TensorrtExecutionProvider"})


class OnnxModelArtifact(ArtifactPlugin):
    """An ONNX model, or a folder with one and the files that hold its weights; functions receive a session."""

    filename: ClassVar[str] = "model.onnx"
    takes: ClassVar[Literal["file", "folder", "file or folder"]] = "file or folder"
    extensions: ClassVar[frozenset[str]] = frozenset({".onnx"})
    written_by: ClassVar[str] = "an exporter to ONNX"
    row_methods: ClassVar[frozenset[str]] = frozenset({"predict"})
    needed_modules: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    type: Literal["onnx"] = "onnx"
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    """ONNX Runtime's execution providers, the preferred one first."""
    threads: Annotated[int, Field(ge=1)] = 1
    """How many threads one operator uses; each worker has a session of its own."""
    inter_op_threads: Annotated[int, Field(ge=1)] = 1
    """How many operators that do not depend on each other run at once."""
    optimization: Literal["none", "basic", "extended", "all"] = "all"
    """How far ONNX Runtime rewrites the graph when it is loaded."""

    def requires(self) -> tuple[str, ...]:
        return ("onnxruntime-gpu" if _ON_GPU.intersection(self.providers) else "onnxruntime",)

    def save(self, model: Any, directory: Path) -> None:
        check_packed(self, model, "onnx.ModelProto")
        (directory / self.filename).write_bytes(model.SerializeToString())

    def load(self, directory: Path) -> Any:
        """Make a session; raises `BundleError` for a provider that is not there, where ONNX Runtime takes another."""
        with optional_import(*self.requires(), needed_for="the artifact type `onnx`"):
            import onnxruntime
        available = onnxruntime.get_available_providers()
        if missing := [name for name in self.providers if name not in available]:
            raise BundleError(
                f"The artifact `{self.name}` asks for `{missing[0]}`, which this ONNX Runtime does not have; it has "
                f"{listed(available)}."
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = self.inter_op_threads
        if self.inter_op_threads > 1:
            options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[self.optimization])
        folder = directory / _FOLDER
        path = _model_in(folder) if folder.is_dir() else directory / self.filename
        return onnxruntime.InferenceSession(path, options, providers=list(self.providers))

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        """Return the session's method; `predict` takes inputs by name and returns outputs by name.

        An array is the only input; the columns of a table, and a mapping, are inputs of their names.
        """
        if method != "predict":
            return super().caller(model, method, is_batch=is_batch)
        inputs = NamedInputs(_inputs_of(model), artifact=self.name, is_batch=is_batch)
        return _Predict(self.name, model.run, inputs, tuple(node.name for node in model.get_outputs()))

    def for_outputs(self, called: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
        return called.with_outputs(names) if isinstance(called, _Predict) else called

    def outputs_of_file(self, path: Path) -> tuple[str, ...]:
        model, _ = onnx_of(_model_in(path) if path.is_dir() else path)
        return tuple(tensor.name for tensor in model.outputs)

    def feature_names_of(self, model: Any) -> tuple[str, ...]:
        """Return the names of the inputs of a model that has one for each column."""
        return column_names(_inputs_of(model))

    def input_for(self, path: Path) -> str:  # noqa: ARG002 - all of them take arrays
        return "ndarray"

    def filename_of(self, path: Path) -> str:
        return _FOLDER if path.is_dir() else self.filename

    def sniff(self, path: Path) -> str | None:
        if path.is_dir():
            models = sorted(path.glob("*.onnx"))
            if len(models) != 1:
                return f"it holds {len(models)} files `*.onnx`, and must hold one"
            return onnx_of(models[0])[0].problem or None
        model, files = onnx_of(path)
        if model.problem and not head_of(path).startswith(_IR_VERSION):
            return "it does not begin as the files of ONNX do"
        if files and not model.problem:
            return f"its weights are in `{files[0]}` beside it: name the folder that holds both"
        return model.problem or None


def _model_in(folder: Path) -> Path:
    return next(folder.glob("*.onnx"))


@dataclass(frozen=True, slots=True)
class _Predict:
    """Calls a session with what an input adapter makes."""

    artifact: str
    run: Callable[..., Any]
    inputs: NamedInputs
    outputs: tuple[str, ...]

    def with_outputs(self, names: tuple[str, ...]) -> _Predict:
        """Return the same with the outputs of these names alone; raises `BundleError` for one that is not there."""
        if missing := [name for name in names if name not in self.outputs]:
            raise BundleError(
                f"The model of the artifact `{self.artifact}` has no output `{missing[0]}`; it has "
                f"{listed(self.outputs)}."
            )
        return replace(self, outputs=names)

    def __call__(self, argument: Any) -> dict[str, Any]:
        return dict(zip(self.outputs, self.run(self.outputs, self.inputs(argument)), strict=True))


def _inputs_of(session: Any) -> list[Tensor]:
    return [
        Tensor(node.name, _dtype_of(node.type), tuple(-1 if size is None else size for size in node.shape))
        for node in session.get_inputs()
    ]


def _dtype_of(kind: str) -> str:
    """Return NumPy's name of a type of ONNX Runtime's, which is written like `tensor(float)`."""
    word = kind.removeprefix("tensor(").removesuffix(")")
    return _DTYPES.get(word, word)
