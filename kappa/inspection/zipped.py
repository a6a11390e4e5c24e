"""Archives with a description in them: Keras 3, skops, and the MOJO of H2O."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from kappa.inspection.archives import ZIP_SIGNATURE, Archive, open_archive
from kappa.inspection.estimators import facts_of
from kappa.inspection.json_text import JSON_BYTES, list_of, read_json, table_of
from kappa.inspection.opcodes import Name, Object
from kappa.inspection.pickles import class_of
from kappa.inspection.report import Model, Step, Tensor
from kappa.inspection.streams import TruncatedError, UnreadableError
from kappa.inspection.verdicts import Verdict, verdict_on

__all__ = ["read_zipped"]

_KINDS = {".keras": "keras", ".skops": "skops", ".mojo": "h2o"}
_MOST_DEPTH = 60
_MOST_STEPS = 100
_NPY_BYTES = 1 << 20
_NPY = re.compile(rb"\{'descr': '([<>|=]?)([a-zA-Z]\d+)', 'fortran_order': \w+, 'shape': \((\d+),\)")


def read_zipped(path: Path, head: bytes) -> Model | None:
    """Read an archive whose entries say which of these formats it has; ``None`` for other ones."""
    if not head.startswith(ZIP_SIGNATURE):
        return None
    named = _KINDS.get(path.suffix.lower(), "")
    try:
        archive = open_archive(path)
        kind = next((kind for kind, entry in _MARKS.items() if entry in archive.entries), "")
        if not kind:
            problem = f"it has no `{_MARKS[named]}`" if named else ""
            return Model(kind=named, certainty="likely", problem=problem) if named else None
        named = kind
        model = _READERS[kind](archive)
        return replace(model, problem=archive.strangeness or model.problem)
    except UnreadableError as exc:
        problem, is_truncated = str(exc), isinstance(exc, TruncatedError)
        return Model(kind=named, certainty="likely", problem=problem, is_truncated=is_truncated) if named else None


# -- Keras -----------------------------------------------------------------------------------------------------------


def _keras(archive: Archive) -> Model:
    facts = table_of(read_json(archive.read("metadata.json", most=JSON_BYTES)))
    config = table_of(read_json(archive.read("config.json", most=JSON_BYTES)))
    version = facts.get("keras_version")
    layers = [table_of(layer) for layer in list_of(table_of(config.get("config")).get("layers"))]
    classes = [*map(_keras_class, [config, *layers])]
    modules = {str(layer["module"]) for layer in (config, *layers) if layer.get("module")}
    packages = tuple(sorted(module for module in modules if module.partition(".")[0] not in ("keras", "builtins")))
    lambdas = any(name.endswith(":Lambda") for name in classes)
    reasons = ("holds code of a layer `Lambda`",) if lambdas else ()
    inputs = [layer for layer in layers if layer.get("class_name") == "InputLayer"]
    return Model(
        kind="keras",
        written_by="Keras' `save`",
        artifact_type="keras",
        made_of=classes[0],
        steps=tuple(
            Step(str(table_of(layer.get("config")).get("name", "")), name)
            for layer, name in zip(layers[:_MOST_STEPS], classes[1:], strict=False)
        ),
        versions={"keras": version} if isinstance(version, str) else {},
        inputs=tuple(_keras_input(table_of(layer.get("config"))) for layer in inputs),
        modules=("keras", *packages),
        verdict=Verdict("unknown", reasons=reasons) if lambdas else None,
        problem="" if "model.weights.h5" in archive.entries else "it has no weights",
    )


def _keras_class(layer: dict[str, Any]) -> str:
    registered, module = layer.get("registered_name"), layer.get("module")
    if not isinstance(module, str) and isinstance(registered, str):
        return f"{registered.replace('>', ':', 1)}"
    return f"{module if isinstance(module, str) else ''}:{layer.get('class_name', '')}"


def _keras_input(config: dict[str, Any]) -> Tensor:
    shape = tuple(
        -1 if size is None else size for size in list_of(config.get("batch_shape")) if size is None or type(size) is int
    )
    return Tensor(str(config.get("name", "")), str(config.get("dtype", "")), shape)


# -- skops -----------------------------------------------------------------------------------------------------------


def _skops(archive: Archive) -> Model:
    schema = table_of(read_json(archive.read("schema.json", most=JSON_BYTES)))
    names = dict.fromkeys(_names_in(schema))
    root = _stand_in(schema, archive)
    facts = facts_of(root)
    attributes = root.attributes if isinstance(root, Object) else {}
    sklearn, skops = attributes.get("_sklearn_version"), schema.get("_skops_version")
    versions = {"scikit-learn": sklearn, "skops": skops}
    kept = {key: value for key, value in versions.items() if isinstance(value, str)}
    return Model(
        kind="skops",
        written_by="`skops.io.dump`",
        artifact_type="skops",
        made_of=class_of(root),
        steps=facts.steps,
        versions=kept,
        feature_names=facts.feature_names,
        feature_count=facts.feature_count,
        classes=facts.classes,
        modules=tuple(sorted({"skops", *(name.module for name in names)})),
        of_main=tuple(name.name for name in names if name.module == "__main__"),
        verdict=verdict_on(tuple(names), (), "skops"),
    )


def _names_in(node: Any) -> Iterator[Name]:
    """Yield every class and function that a schema names, however deep: without recursion, whose depth is bounded."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            name, module = item.get("__class__"), item.get("__module__")
            if isinstance(name, str) and isinstance(module, str):
                yield Name(module, name)
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _stand_in(node: Any, archive: Archive, depth: int = 0) -> Any:
    """Return what a node of a schema stands for, as the opcodes of a pickle would."""
    if not isinstance(node, dict) or depth == _MOST_DEPTH:
        return None
    loader, content = node.get("__loader__"), node.get("content")
    if loader == "JsonNode":
        with suppress(UnreadableError):
            return read_json(str(content).encode())
    elif loader == "DictNode":
        return {key: _stand_in(value, archive, depth + 1) for key, value in table_of(content).items()}
    elif loader in ("ListNode", "TupleNode", "SetNode"):
        values = [_stand_in(value, archive, depth + 1) for value in list_of(content)]
        return tuple(values) if loader == "TupleNode" else values
    elif loader == "NdArrayNode":
        if node.get("type") == "numpy":
            return _npy(archive, str(node.get("file")))
        return [_stand_in(value, archive, depth + 1) for value in list_of(content)]
    elif isinstance(node.get("__class__"), str) and isinstance(node.get("__module__"), str):
        name = Name(node["__module__"], node["__class__"])
        return Object(name, is_instance=True, state=_stand_in(content, archive, depth + 1))
    return None


def _npy(archive: Archive, name: str) -> Any:
    """Return a small array of one dimension that an archive keeps in NumPy's own format."""
    if name not in archive.entries:
        return None
    with suppress(UnreadableError, struct.error):
        data = archive.read(name, most=_NPY_BYTES)
        start = 10 + struct.unpack_from("<H", data, 8)[0]
        if (match := _NPY.search(data[:start])) is not None:
            order, code, count = match.groups()
            dtype = Object(Name("numpy", "dtype"), (code.decode(),), state=(3, order.decode()))
            shape, body = (int(count),), data[start:]
            if code[:1] == b"U":
                dtype.state = (3, order.decode(), None, None, None, 4 * int(code[1:]))
            return Object(Name("numpy", "_frombuffer"), (body, dtype, shape))
    return None


# -- H2O -------------------------------------------------------------------------------------------------------------


def _mojo(archive: Archive) -> Model:
    text = archive.read("model.ini", most=JSON_BYTES).decode("utf-8", "replace")
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("[") and line.rstrip().endswith("]"):
            lines = sections.setdefault(line.strip()[1:-1], [])
        elif line.strip():
            lines.append(line.strip())
    pairs = (line.partition("=") for line in sections.get("info", []))
    info = {key.strip(): value.strip() for key, _, value in pairs}
    columns = sections.get("columns", [])
    features = columns[: int(info["n_features"])] if info.get("n_features", "").isdecimal() else columns
    return Model(
        kind="h2o",
        artifact_type="h2o",
        written_by="H2O's `download_mojo`",
        made_of="",
        versions={"h2o": info["h2o_version"]} if "h2o_version" in info else {},
        feature_names=tuple(features),
        feature_count=len(features) or None,
        classes=tuple(_mojo_classes(archive, sections.get("domains", []), len(columns) - 1)),
        modules=("h2o",),
        remarks=tuple(f"Its algorithm is {info[key]}." for key in ("algorithm",) if key in info),
    )


def _mojo_classes(archive: Archive, domains: Iterable[str], response: int) -> list[str]:
    """Return the values of the last column, which is what the model tells."""
    for line in domains:
        index, _, rest = line.partition(":")
        entry = f"domains/{rest.split()[-1]}" if rest.split() else ""
        if index.strip() == str(response) and entry in archive.entries:
            return archive.read(entry, most=_NPY_BYTES).decode("utf-8", "replace").splitlines()
    return []


_MARKS = {"keras": "config.json", "skops": "schema.json", "h2o": "model.ini"}
_READERS = {"keras": _keras, "skops": _skops, "h2o": _mojo}
