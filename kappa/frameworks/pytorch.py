"""PyTorch's modules: as TorchScript, as exported programs, whole, or as weights for a module that a function makes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from kappa.errors import BundleError, optional_import
from kappa.frameworks.compiled import CompilableArtifact
from kappa.frameworks.packing import check_packed, is_instance_of
from kappa.frameworks.torch_calls import Device, TensorCall, device_here, import_torch, looks_up
from kappa.inspection.archives import ZIP_SIGNATURE
from kappa.inspection.pickles import needs_of_object
from kappa.inspection.report import Model
from kappa.inspection.streams import head_of
from kappa.inspection.tensors import safetensors_of
from kappa.inspection.torch_files import read_torch
from kappa.spec.contracts import ModelNeeds
from kappa.spec.service import Reference

__all__ = ["PytorchModelArtifact", "without_deprecations"]

_EXPORTED, _WEIGHTS = "model.pt2", "model.safetensors"


class PytorchModelArtifact(CompilableArtifact):
    """A module of PyTorch's: TorchScript, an exported program, a whole module, or weights and the function that makes
    their module; functions receive the module."""

    filename: ClassVar[str] = "model.pt"
    extensions: ClassVar[frozenset[str]] = frozenset({".pt", ".pt2", ".pth", ".safetensors"})
    written_by: ClassVar[str] = "PyTorch"
    row_methods: ClassVar[frozenset[str]] = frozenset({"forward", "predict"})
    needed_modules: ClassVar[tuple[str, ...]] = ("torch",)
    compiled_methods: ClassVar[tuple[str, ...]] = ("forward", "predict")
    compiled_attributes: ClassVar[tuple[str, ...]] = ("session",)

    type: Literal["pytorch"] = "pytorch"
    factory: Reference | None = None
    """The function of the service's own code, as `module:make`, that returns the module for a file of weights alone: a
    state dict, as safetensors or by `torch.save`."""
    device: Device = "auto"
    """The device of the weights and of calls, in PyTorch's words; `auto` is the GPU if there is one, else the CPU."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """How many threads one operation uses, for all models of a process; the worker's share of the processors if not
    given."""

    _make: Callable[[], Any] | None = PrivateAttr(default=None)

    def requires(self) -> tuple[str, ...]:
        return ("numpy", "torch")

    def references(self) -> tuple[str, ...]:
        return (self.factory,) if self.factory is not None else ()

    def resolved(self, load: Callable[[str], Any]) -> PytorchModelArtifact:
        if self.factory is None:
            return self
        resolved = self.model_copy()
        resolved._make = load(self.factory)
        return resolved

    def save(self, model: Any, directory: Path) -> None:
        """Write an exported program or TorchScript as such; of another module the weights, if there is a factory, and
        else all of it, as a pickle."""
        check_packed(self, model, "torch.Module", "torch.ExportedProgram")
        torch = import_torch(self.type)
        with without_deprecations():
            if is_instance_of(model, "torch.ExportedProgram"):
                torch.export.save(model, directory / _EXPORTED)
            elif is_instance_of(model, "torch.ScriptModule"):
                torch.jit.save(model, str(directory / self.filename))
            elif self.factory is not None:
                _safetensors().save_model(model, str(directory / _WEIGHTS))
            else:
                torch.save(model, directory / self.filename)

    def load(self, directory: Path) -> Any:
        """Read the module back onto its device; raises `BundleError` for a device that is not there."""
        torch = import_torch(self.type)
        device = device_here(torch, self.device, artifact=self.name)
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        paths = (directory / name for name in (_WEIGHTS, _EXPORTED, self.filename))
        path = next(path for path in paths if path.exists())
        model = _read(path)
        kind = model.kind if model is not None else ""
        with without_deprecations():
            if kind == "torch-export":
                return _exported(torch.export.load(path), device)
            if kind == "torchscript":
                return torch.jit.load(str(path), map_location=device).eval()
            module = self._filled(path, torch) if self.factory is not None else _whole(path, torch, device)
        if not isinstance(module, torch.nn.Module):
            maker = f"`{self.factory}` returned" if self.factory is not None else "holds"
            raise BundleError(f"The artifact `{self.name}` {maker} a `{type(module).__name__}`, which is not a module.")
        return module.to(device).eval()

    def _filled(self, path: Path, torch: Any) -> Any:
        """Return the factory's module with the weights of a file, in its memory where their types are the same."""
        if self._make is None:
            raise BundleError(f"The artifact `{self.name}` is loaded with its service: `{self.factory}` is code of it.")
        module = self._make()
        if not isinstance(module, torch.nn.Module):
            return module
        weights = _weights_in(path, torch)
        initial = module.state_dict()
        _tie(weights, initial)
        is_alike = initial.keys() == weights.keys() and all(
            tensor.dtype == weights[name].dtype for name, tensor in initial.items()
        )
        module.load_state_dict(weights, assign=is_alike)
        return module

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        """Return the module's own method, called with tensors; `forward` and, unless it has one, `predict` are its
        call."""
        torch = import_torch(self.type)
        if is_instance_of(model, "torch.ExportedProgram"):
            model = model.module()
        is_call = method == "forward" or (method == "predict" and not callable(getattr(model, "predict", None)))
        called = model if is_call else super().caller(model, method, is_batch=is_batch)
        return TensorCall(model, called, torch=torch, artifact=self.name, is_batch=is_batch)

    def filename_of(self, path: Path) -> str:
        model = _read(path)
        kind = model.kind if model is not None else ""
        return {"safetensors": _WEIGHTS, "torch-export": _EXPORTED}.get(kind, self.filename)

    def first_row(self, model: Any) -> Mapping[str, Any] | Sequence[Any] | None:
        """Return a row as wide as the first layer, where that is a matrix, or an index where it looks these up."""
        for layer in model.modules():
            weights = next((weights for weights in layer.parameters(recurse=False) if weights.dim() > 1), None)
            if weights is not None:
                row = [0] if looks_up(layer) else [1.5] * weights.shape[1]
                return row if weights.dim() == 2 else None
        return None

    def input_for(self, path: Path) -> str:  # noqa: ARG002 - all of them take tensors
        return "ndarray"

    def claims(self, path: Path) -> bool:
        model = _read(path) if path.is_file() else None
        return model is not None and not model.problem

    def sniff(self, path: Path) -> str | None:
        model = _read(path)
        if model is None:
            return "it has none of PyTorch's formats, and is not safetensors"
        if model.problem:
            return model.problem
        if model.kind == "pytorch" and model.weights == 0:
            return "it is a table of more than weights: save `model.state_dict()` alone"
        if not _holds_weights(model):
            return None if self.factory is None else "it holds a whole model, and `factory` goes with weights alone"
        if model.verdict is not None and model.verdict.dangerous:
            return f"it names `{model.verdict.dangerous[0]}`, which weights never do"
        if self.factory is None:
            return 'it holds weights alone: name the function that makes their module, `factory = "nets:make"`'
        return None

    def needs_of_file(self, path: Path) -> ModelNeeds:
        model = _read(path)
        if model is None:
            return ModelNeeds(self.needed_modules)
        if _holds_weights(model):
            return ModelNeeds(("safetensors", "torch") if model.kind == "safetensors" else self.needed_modules)
        is_pickle = model.kind != "torchscript"
        return ModelNeeds(model.modules, model.versions, model.later, model.of_main, model.made_of, is_pickle)

    def needs_of_model(self, model: Any) -> ModelNeeds:
        if is_instance_of(model, "torch.ExportedProgram"):
            return ModelNeeds(self.needed_modules, is_pickle=True)
        if is_instance_of(model, "torch.ScriptModule"):
            return ModelNeeds(self.needed_modules)
        if self.factory is not None:
            return ModelNeeds(("safetensors", "torch"))
        return needs_of_object(model)._replace(is_pickle=True)


def _read(path: Path) -> Model | None:
    head = head_of(path)
    return read_torch(path, head) or safetensors_of(path, head)


def _holds_weights(model: Model) -> bool:
    return model.kind == "safetensors" or (model.kind == "pytorch" and bool(model.weights))


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Leave out what PyTorch says of formats that it still reads: whoever serves a file has not chosen its format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _is_mapped(path: Path) -> bool:
    """Return whether a file's weights may be mapped, so that processes share them: not one that its owner may write to
    while it is, which ends the process."""
    return not path.is_symlink()


def _whole(path: Path, torch: Any, device: Any) -> Any:
    is_mapped = _is_mapped(path) and head_of(path).startswith(ZIP_SIGNATURE)
    # the manifest's `security.pickle` has decided
    return torch.load(path, map_location=device, mmap=is_mapped, weights_only=False)


def _weights_in(path: Path, torch: Any) -> MutableMapping[str, Any]:
    """Read weights, without running any code of a file."""
    is_mapped = _is_mapped(path)
    if path.name == _WEIGHTS:
        library = _safetensors()
        return dict(library.load_file(path) if is_mapped else library.load(path.read_bytes()))
    is_mapped = is_mapped and head_of(path).startswith(ZIP_SIGNATURE)
    return dict(torch.load(path, map_location="cpu", mmap=is_mapped, weights_only=True))


def _tie(weights: MutableMapping[str, Any], initial: Mapping[str, Any]) -> None:
    """Give weights that a module has under several names all of these, of which safetensors keeps one."""
    names: dict[Any, list[str]] = {}
    for name, tensor in initial.items():
        names.setdefault((tensor.data_ptr(), tensor.shape), []).append(name)
    for tied in names.values():
        for kept in [name for name in tied if name in weights][:1]:
            for name in tied:
                weights.setdefault(name, weights[kept])


def _exported(program: Any, device: Any) -> Any:
    """Return the module of an exported program, on a device."""
    if any(tensor.device != device for tensor in program.state_dict.values()):
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    return program.module()


def _safetensors() -> Any:
    with optional_import("safetensors", needed_for="weights of the artifact type `pytorch`"):
        import safetensors.torch
    return safetensors.torch
