"""Folders that are a model: MLflow, Spark, Transformers, spaCy, and a package of Core ML."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from kappa.inspection.json_text import list_of, read_json, table_of
from kappa.inspection.report import Model, Step, Tensor
from kappa.inspection.streams import UnreadableError

__all__ = [
    "flavors_of_mlflow",
    "model_file_of_mlflow",
    "read_mlflow",
    "read_mlpackage",
    "read_spacy",
    "read_spark",
    "read_transformers",
]

_TEXT_BYTES = 1 << 20
_YAML_BYTES = 1 << 18
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "tf_model.h5", "flax_model.msgpack")
_MOST_LINES = 1_000
_MOST_NAMES = 10
_LOWEST = re.compile(r">=(\d+\.\d+\.\d+),<")
"""The range of versions that a pipeline of spaCy's asks for begins with the one that wrote it."""
_PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(\[[^\]]*\])?\s*===?\s*(?P<version>[\w.!+-]+)\s*(;.*)?")
"""A requirement of one version."""


def read_mlflow(folder: Path) -> Model | None:
    """Read the file `MLmodel` of a model that MLflow saved: its flavours, signature and requirements."""
    path = folder / "MLmodel"
    if not path.is_file():
        return None
    try:
        tree = _yaml(path)
        signature = table_of(tree.get("signature"))
        inputs = read_json(str(signature.get("inputs") or "[]").encode())
    except UnreadableError as exc:
        return Model(kind="mlflow", certainty="likely", problem=str(exc))
    flavors = table_of(tree.get("flavors"))
    fields = [*map(table_of, list_of(inputs))]
    columns = [column for column in fields if "name" in column and column.get("required") is not False]
    optional = [f"`{column['name']}`" for column in fields if "name" in column and column.get("required") is False]
    tensors = [table_of(tensor.get("tensor-spec")) for tensor in fields if "name" not in tensor]
    version, python = tree.get("mlflow_version"), table_of(flavors.get("python_function")).get("python_version")
    named = sorted(str(flavor) for flavor in flavors if flavor != "python_function")
    requirements = tuple(_requirements_of(folder / "requirements.txt"))
    return Model(
        kind="mlflow",
        artifact_type="mlflow",
        certainty="certain" if flavors else "likely",
        written_by=f"MLflow {version}" if isinstance(version, str) else "MLflow",
        feature_names=tuple(str(column["name"]) for column in columns),
        feature_types=tuple(str(column.get("type", "")) for column in columns),
        feature_count=(len(columns) or None) if not optional else None,
        inputs=tuple(_tensor(tensor) for tensor in tensors if tensor),
        versions={match["name"]: match["version"] for text in requirements if (match := _PIN.fullmatch(text))},
        requirements=requirements,
        problem="" if flavors else "its `MLmodel` names no flavour",
        remarks=tuple(
            [f"Its flavours are {', '.join(f'`{flavor}`' for flavor in named)}."] * bool(named)
            + [f"It was saved on Python {python}."] * isinstance(python, str)
            + [f"Its optional columns are {', '.join(optional[:_MOST_NAMES])}."] * bool(optional)
        ),
    )


def _tensor(spec: dict[str, Any]) -> Tensor:
    """Return the only input of a model whose signature is that of an array."""
    shape = [size if type(size) is int else -1 for size in list_of(spec.get("shape"))]
    return Tensor("array", str(spec.get("dtype", "")), tuple(shape))


def flavors_of_mlflow(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the flavours in the file `MLmodel` of a folder by their names; none of one that cannot be read."""
    try:
        flavors = table_of(_yaml(folder / "MLmodel").get("flavors"))
    except (UnreadableError, OSError):
        return {}
    return {str(name): table_of(flavor) for name, flavor in flavors.items()}


def model_file_of_mlflow(folder: Path) -> Path | None:
    """Return the file with the model itself, where `MLmodel` names one that lies in the folder."""
    for flavor in flavors_of_mlflow(folder).values():
        for key in ("pickled_model", "model_path", "data", "model_data"):
            name = flavor.get(key)
            path = folder / name if isinstance(name, str) else folder
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                return path
    return None


def read_spark(folder: Path) -> Model | None:
    """Read the metadata of a model or a pipeline of Spark ML's, and of each stage in it."""
    metadata = _spark_metadata(folder)
    if metadata is None:
        return None
    uids = [uid for uid in list_of(table_of(metadata.get("paramMap")).get("stageUids")) if isinstance(uid, str)]
    folders = {path.name.partition("_")[2]: path for path in islice((folder / "stages").glob("*_*"), _MOST_LINES)}
    stages = [_spark_metadata(folders[uid]) if uid in folders else None for uid in uids]
    absent = next((uid for uid, stage in zip(uids, stages, strict=True) if stage is None), None)
    kinds = [_spark_class(stage or {}) for stage in stages]
    made_of, version = _spark_class(metadata), metadata.get("sparkVersion")
    columns = _spark_columns([stage for stage in stages if stage is not None])
    return Model(
        kind="pyspark",
        written_by="Spark ML's `save`",
        artifact_type="pyspark" if made_of.endswith(":PipelineModel") else "",
        made_of=made_of,
        steps=tuple(Step(uid, kind) for uid, kind in zip(uids, kinds, strict=True)),
        versions={"pyspark": version} if isinstance(version, str) else {},
        feature_names=columns,
        feature_count=len(columns) or None,
        modules=("pyspark", *(kind.partition(":")[0] for kind in kinds if kind and not kind.startswith(_OF_SPARK))),
        problem=f"the stage `{absent}` of it is not in it" if absent is not None else "",
    )


_OF_SPARK = ("org.apache.spark.", "pyspark.")


def _spark_metadata(folder: Path) -> dict[str, Any] | None:
    """Return what Spark wrote of a model or a stage; ``None`` of a folder that is neither."""
    for path in islice((folder / "metadata").glob("part-*"), 1):
        with suppress(UnreadableError, OSError):
            tree = table_of(read_json(_text_of(path, _TEXT_BYTES).encode()))
            if isinstance(tree.get("class"), str) and "uid" in tree:
                return tree
    return None


def _spark_class(metadata: dict[str, Any]) -> str:
    module, _, name = str(metadata.get("class", "")).rpartition(".")
    return f"{module}:{name}" if name else ""


def _spark_columns(stages: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the columns that a pipeline takes: those that its stages name and none before them makes.

    Stages that take columns without naming them, as a formula does, leave nothing to tell.
    """
    made: set[str] = set()
    taken: dict[str, None] = {}
    for stage in stages:
        options = {**table_of(stage.get("defaultParamMap")), **table_of(stage.get("paramMap"))}
        names = [options[key] for key in ("inputCol", "featuresCol") if isinstance(options.get(key), str)]
        names += [name for name in list_of(options.get("inputCols")) if isinstance(name, str)]
        if not names:
            return ()
        taken.update(dict.fromkeys(name for name in names if name not in made))
        outputs = [name for key, name in options.items() if key.endswith("Col") and key not in _TAKEN]
        made.update(name for name in (*outputs, *list_of(options.get("outputCols"))) if isinstance(name, str))
    return tuple(taken)


_TAKEN = frozenset({"censorCol", "featuresCol", "inputCol", "itemCol", "labelCol", "userCol", "weightCol"})
"""The options of a stage that name columns which it takes; others that end in `Col` name those that it makes."""


def read_transformers(folder: Path) -> Model | None:
    """Read the `config.json` of a model of Transformers'."""
    path = folder / "config.json"
    if not path.is_file():
        return None
    config = _json(path)
    if config is not None and not {"model_type", "architectures"} & config.keys():
        return None
    has_weights = any(True for pattern in _WEIGHTS for _ in folder.glob(pattern))
    if config is None:
        return Model(kind="transformers", certainty="unknown", problem="its `config.json` is not JSON")
    classes = [architecture for architecture in list_of(config.get("architectures")) if isinstance(architecture, str)]
    version, labels = config.get("transformers_version"), table_of(config.get("id2label"))
    return Model(
        kind="transformers",
        artifact_type="transformers",
        certainty="certain" if has_weights else "likely",
        written_by="Transformers' `save_pretrained`",
        made_of=f"transformers:{classes[0]}" if classes else "",
        versions={"transformers": version} if isinstance(version, str) else {},
        classes=tuple(str(label) for label in labels.values()),
        modules=("transformers",),
        problem="" if has_weights else "it has no file of weights",
        remarks=("It brings code of its own (`auto_map`), which loading it runs if it is trusted.",)
        * ("auto_map" in config),
    )


def read_spacy(folder: Path) -> Model | None:
    """Read the `meta.json` of a pipeline of spaCy's."""
    if not (folder / "meta.json").is_file() or not (folder / "config.cfg").is_file():
        return None
    meta = _json(folder / "meta.json")
    if meta is None:
        return Model(kind="spacy", certainty="likely", problem="its `meta.json` is not JSON")
    asked = meta.get("spacy_version")
    lowest = _LOWEST.match(asked) if isinstance(asked, str) else None
    return Model(
        kind="spacy",
        written_by="spaCy's `to_disk`",
        artifact_type="spacy",
        versions={"spacy": lowest[1]} if lowest is not None else {},
        steps=tuple(Step(step, "") for step in list_of(meta.get("pipeline")) if isinstance(step, str)),
        requirements=(f"spacy{asked}",) if isinstance(asked, str) and asked[:1] in "<>=~!" else (),
        modules=("spacy",),
        remarks=tuple(f"It is called `{meta[key]}`." for key in ("name",) if isinstance(meta.get(key), str)),
    )


def read_mlpackage(folder: Path) -> Model | None:
    """Know a package of Core ML by its manifest."""
    if folder.suffix.lower() != ".mlpackage" or not (folder / "Manifest.json").is_file():
        return None
    return Model(kind="coreml", certainty="likely", modules=("coremltools",))


def _text_of(path: Path, most: int) -> str:
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise UnreadableError(f"its `{path.name}` is longer than is read")
    return data.decode("utf-8", "replace")


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return table_of(read_json(_text_of(path, _TEXT_BYTES).encode()))
    except UnreadableError:
        return None


def _yaml(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML

    text = _text_of(path, _YAML_BYTES)
    try:
        return table_of(YAML(typ="safe", pure=True).load(text))
    except Exception:  # noqa: BLE001 - whatever is in the file; ruamel raises errors of many kinds
        raise UnreadableError(f"its `{path.name}` is not YAML") from None


def _requirements_of(path: Path) -> list[str]:
    if not path.is_file():
        return []
    try:
        lines = _text_of(path, _TEXT_BYTES).splitlines()[:_MOST_LINES]
    except UnreadableError:
        return []
    return [text for line in lines if (text := line.partition("#")[0].strip()) and not text.startswith("-")]
