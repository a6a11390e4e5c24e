"""Files of PyTorch: what `torch.save`, `torch.jit.save` and `torch.export.save` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kappa.inspection.archives import ZIP_SIGNATURE, Archive, open_archive
from kappa.inspection.json_text import JSON_BYTES, list_of, read_json, table_of
from kappa.inspection.opcodes import PERSISTENT, Name, Object
from kappa.inspection.pickles import PickleContents, read_contents
from kappa.inspection.report import Model, Tensor
from kappa.inspection.streams import TruncatedError, UnreadableError
from kappa.inspection.verdicts import verdict_on

__all__ = ["read_torch"]

_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickle of the number that files before version 1.6 begin with."""
_DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    12: "bool",
    13: "bfloat16",
}
_PICKLE_BYTES = 1 << 26
_MOST_PICKLES = 4


def read_torch(path: Path, head: bytes) -> Model | None:
    """Read a file of PyTorch's; ``None`` for other archives."""
    if head.startswith(_LEGACY):
        return _legacy(path)
    if not head.startswith(ZIP_SIGNATURE):
        return None
    try:
        archive = open_archive(path)
    except UnreadableError as exc:
        is_torch = b"data.pkl" in head[:256] or b"PYTORCH" in head or b"\x00FBZZ" in head
        return Model(kind="pytorch", certainty="likely", **_problem(exc)) if is_torch else None
    if (program := archive.find("models/model.json")) and archive.find("archive_version"):
        model = _exported(archive, program)
    elif not (entry := archive.find("data.pkl")):
        return None
    elif archive.find("constants.pkl"):
        model = Model(kind="torchscript", artifact_type="pytorch", written_by="`torch.jit.save`", modules=("torch",))
    else:
        try:
            model = _model_of(read_contents(archive.read(entry, most=_PICKLE_BYTES)))
        except UnreadableError as exc:
            model = Model(kind="pytorch", certainty="likely", written_by="`torch.save`", **_problem(exc))
    return replace(model, problem=archive.strangeness or model.problem)


def _exported(archive: Archive, program: str) -> Model:
    """Read the version that wrote an exported program from its description, unless that is very long."""
    model = Model(kind="torch-export", artifact_type="pytorch", written_by="`torch.export.save`", modules=("torch",))
    if archive.entries[program].size_bytes > JSON_BYTES:
        return model
    try:
        tree = table_of(read_json(archive.read(program, most=JSON_BYTES)))
    except UnreadableError as exc:
        return replace(model, certainty="likely", **_problem(exc))
    version, module = tree.get("torch_version"), table_of(tree.get("graph_module"))
    specs = map(table_of, list_of(table_of(module.get("signature")).get("input_specs")))
    arguments = [table_of(table_of(spec["user_input"]).get("arg")) for spec in specs if "user_input" in spec]
    tensors = table_of(table_of(module.get("graph")).get("tensor_values"))
    names = [str(table_of(argument.get("as_tensor")).get("name", "")) for argument in arguments]
    return replace(
        model,
        versions={"torch": version.partition("+")[0]} if isinstance(version, str) else {},
        inputs=tuple(_input(name, table_of(tensors[name])) for name in names if name in tensors),
    )


def _input(name: str, tensor: dict[str, Any]) -> Tensor:
    """Return an input of an exported program, by its `TensorMeta` (torch/_export/serde/schema.py)."""
    sizes = (table_of(size).get("as_int") for size in list_of(tensor.get("sizes")))
    dtype = tensor.get("dtype")
    word = _DTYPES.get(dtype, "") if isinstance(dtype, int) else ""
    return Tensor(name, word, tuple(size if type(size) is int else -1 for size in sizes))


def _problem(exc: UnreadableError) -> dict[str, Any]:
    return {
        "artifact_type": "pytorch",
        "problem": str(exc),
        "is_truncated": isinstance(exc, TruncatedError),
        "modules": ("torch",),
    }


def _legacy(path: Path) -> Model:
    """Read the pickles that a file of an early version begins with: two numbers, the machine, and the model."""
    with path.open("rb") as file:
        data = file.read(_PICKLE_BYTES)
    contents = PickleContents()
    for _ in range(_MOST_PICKLES):
        contents = read_contents(data)
        if contents.problem or not contents.size_bytes:
            break
        data = data[contents.size_bytes :]
    return _model_of(contents)


def _model_of(contents: PickleContents) -> Model:
    oddities = [oddity for oddity in contents.oddities if oddity != PERSISTENT]  # how it names its storages
    root = contents.root
    entries: Mapping[str, Any] = {}
    if isinstance(root, Object):
        entries = root.entries
    elif isinstance(root, dict):
        entries = root
    weights = sum(1 for value in entries.values() if _is_tensor(value))
    return Model(
        kind="pytorch",
        artifact_type="pytorch",
        certainty="likely" if contents.problem else "certain",
        written_by="`torch.save`",
        made_of=contents.needs.made_of,
        weights=weights if entries else None,
        modules=tuple(dict.fromkeys(["torch", *contents.needs.modules])),
        of_main=contents.needs.of_main,
        later=contents.needs.later,
        verdict=verdict_on(contents.names, oddities, "torch", is_whole=not contents.problem),
        problem=contents.problem,
        is_truncated=contents.is_truncated,
    )


def _is_tensor(value: Any) -> bool:
    made_by = value.made_by if isinstance(value, Object) else None
    return isinstance(made_by, Name) and made_by.module == "torch._utils" and made_by.name.startswith("_rebuild")
