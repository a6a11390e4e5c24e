"""Models of Transformers with their tokenizers or image processors: a local folder, called as a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from kappa.errors import BadInputError, ConfigurationError, optional_import
from kappa.frameworks.packing import check_packed, is_instance_of
from kappa.frameworks.torch_calls import Device, device_here, import_torch
from kappa.inspection.folders import read_transformers
from kappa.inspection.json_text import JSON_BYTES, read_json, table_of
from kappa.inspection.streams import UnreadableError, head_of
from kappa.inspection.tensors import safetensors_of
from kappa.spec.contracts import ArtifactPlugin, FrozenMapping, ModelNeeds
from kappa.spec.freezing import FrozenDict
from kappa.wording import one_of

__all__ = ["TransformersModelArtifact"]

_Task = Literal[
    "feature-extraction",
    "fill-mask",
    "text-classification",
    "text-generation",
    "token-classification",
    "zero-shot-classification",
    "image-classification",
    "image-feature-extraction",
    "object-detection",
]
_TASKS: tuple[str, ...] = get_args(_Task)
_OF_CLASS: Mapping[str, _Task] = {
    "ForCausalLM": "text-generation",
    "ForImageClassification": "image-classification",
    "ForMaskedLM": "fill-mask",
    "ForObjectDetection": "object-detection",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "LMHeadModel": "text-generation",
}
"""The task by the end of the model's class."""
_OF_PICTURES = frozenset({"image-classification", "image-feature-extraction", "object-detection"})
_SAFETENSORS, _PICKLED = "*.safetensors", "pytorch_model*.bin"
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.*", "*.model")


class TransformersModelArtifact(ArtifactPlugin):
    """A model of Transformers' with its tokenizer or image processor, as `save_pretrained` writes them into one folder;
    functions receive a pipeline."""

    filename: ClassVar[str] = "model"
    takes: ClassVar[Literal["file", "folder", "file or folder"]] = "folder"
    written_by: ClassVar[str] = "Transformers' `save_pretrained`"
    row_methods: ClassVar[frozenset[str]] = frozenset({"predict"})
    needed_modules: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    type: Literal["transformers"] = "transformers"
    task: _Task | None = None
    """The task of the pipeline; that of the model's class if not given."""
    arguments: FrozenMapping = Field(default_factory=FrozenDict)
    """Further arguments of each call, e.g. `{ top_k = 3, truncation = true }`."""
    device: Device = "auto"
    """The device of the weights and of calls, in PyTorch's words; `auto` is the GPU if there is one, else the CPU."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """How many threads one operation uses, for all models of a process; the worker's share of the processors if not
    given."""

    def requires(self) -> tuple[str, ...]:
        return ("torch", "transformers")

    def save(self, model: Any, directory: Path) -> None:
        """Write a pipeline, or the ``model`` and the ``tokenizer`` or ``image_processor`` of a mapping."""
        parts = dict(model) if isinstance(model, Mapping) else {}
        if not is_instance_of(parts.get("model"), "transformers.PreTrainedModel"):
            check_packed(self, model, "transformers.Pipeline")
            parts = {"pipeline": model}
            self._check_task(model)
        for part in parts.values():
            part.save_pretrained(directory / self.filename)

    def _check_task(self, pipeline: Any) -> None:
        task = self.task or _task_of([type(pipeline.model).__name__])
        if task != pipeline.task:
            raise ConfigurationError(
                f"The artifact `{self.name}` was given a pipeline of the task `{pipeline.task}`, and would be loaded "
                f"as one of `{task}`: name the `task`."
            )

    def load(self, directory: Path) -> Any:
        """Read the model back as a pipeline; nothing is asked of a hub, and no code of the folder is run."""
        torch = import_torch(self.type)
        transformers = _transformers()
        device = device_here(torch, self.device, artifact=self.name)
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        folder = directory / self.filename
        transformers.utils.logging.disable_progress_bar()
        return transformers.pipeline(
            self.task or _task_of(_architectures_in(folder)),
            model=str(folder),
            device=device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": any(folder.glob(_SAFETENSORS))},
        )

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        if method != "predict":
            return super().caller(model, method, is_batch=is_batch)
        return _PipelineCall(model, dict(self.arguments), is_batch=is_batch)

    def input_for(self, path: Path) -> str:
        return "image" if (self.task or _task_of(_architectures_in(path))) in _OF_PICTURES else "string"

    def sniff(self, path: Path) -> str | None:
        model = read_transformers(path)
        if model is None:
            return "it has no `config.json` of a model"
        if model.problem or (problem := _problem_of_weights(path)):
            return model.problem or problem
        task = self.task or _task_of(_architectures_in(path))
        if task is None:
            return f"its class tells no task that is served: name its `task`, {one_of(f'`{name}`' for name in _TASKS)}"
        if task in _OF_PICTURES:
            is_whole, kind = any(path.glob("*processor_config.json")), "image processor"
        else:
            is_whole, kind = any(any(path.glob(name)) for name in _TOKENIZERS), "tokenizer"
        return None if is_whole else f"it has no {kind}: save that into the same folder with its `save_pretrained`"

    def needs_of_file(self, path: Path) -> ModelNeeds:
        model = read_transformers(path)
        versions = model.versions if model is not None else {}
        modules = ("PIL", *self.needed_modules) if self.input_for(path) == "image" else self.needed_modules
        is_pickle = not any(path.glob(_SAFETENSORS)) and any(path.glob(_PICKLED))
        return ModelNeeds(modules, versions, is_pickle=is_pickle)


def _transformers() -> Any:
    with optional_import("transformers", needed_for="the artifact type `transformers`"):
        import transformers
    return transformers


def _architectures_in(folder: Path) -> Sequence[str]:
    model = read_transformers(folder)
    return (model.made_of.partition(":")[2],) if model is not None else ()


def _task_of(classes: Sequence[str]) -> _Task | None:
    return next((task for name in classes for end, task in _OF_CLASS.items() if name.endswith(end)), None)


def _problem_of_weights(folder: Path) -> str:
    """Return why the weights in a folder cannot be read: a part of a sentence; empty if they may be."""
    files = sorted(folder.glob(_SAFETENSORS))
    if not files and not any(folder.glob(_PICKLED)):
        return "its weights are not those of PyTorch"
    for path in files:
        model = safetensors_of(path, head_of(path))
        if model is None or model.problem:
            return f"`{path.name}` in it is not whole"
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return ""
    try:
        with index.open("rb") as file:
            parts = table_of(table_of(read_json(file.read(JSON_BYTES + 1))).get("weight_map")).values()
    except UnreadableError:
        return f"`{index.name}` in it is not whole"
    absent = next((part for part in parts if not isinstance(part, str) or not (folder / part).is_file()), None)
    return f"it lacks `{absent}`, which `{index.name}` names" if absent is not None else ""


class _PipelineCall:
    """Calls a pipeline with texts or pictures; in a batch, all go through the model in one call.

    Pipelines open paths and URLs in place of pictures. So only arrays are taken for those.
    """

    def __init__(self, pipeline: Any, arguments: Mapping[str, Any], *, is_batch: bool) -> None:
        self._pipeline, self._arguments, self._is_batch = pipeline, arguments, is_batch
        self._convert = _picture_of if pipeline.task in _OF_PICTURES else _text_of
        tokenizer = getattr(pipeline, "tokenizer", None)
        self._is_padding = tokenizer is None or tokenizer.pad_token_id is not None

    def __call__(self, argument: Any) -> Any:
        if not self._is_batch:
            return self._pipeline(self._convert(argument), **self._arguments)
        items = [self._convert(item) for item in argument]
        return self._pipeline(items, batch_size=len(items) if self._is_padding else 1, **self._arguments)


def _text_of(item: Any) -> Any:
    is_pair = isinstance(item, Mapping) and item.keys() == {"text", "text_pair"}
    if isinstance(item, str) or (is_pair and all(isinstance(text, str) for text in item.values())):
        return item
    raise BadInputError('A text is needed, or a pair `{"text": "…", "text_pair": "…"}`.')


def _picture_of(item: Any) -> Any:
    with optional_import("pillow", needed_for="pictures of the artifact type `transformers`"):
        from PIL import Image
    if not hasattr(item, "dtype"):
        raise BadInputError("A picture is needed.")
    return Image.fromarray(item).convert("RGB")
