"""Files of XGBoost, LightGBM and CatBoost in their own formats."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from kappa.inspection.flatbuffers import root_table
from kappa.inspection.json_text import JSON_BYTES, first_value_of, list_of, read_json, table_of
from kappa.inspection.report import Certainty, Model
from kappa.inspection.streams import Stream, TruncatedError, UnreadableError, stream_of
from kappa.inspection.ubjson import read_ubjson

__all__ = ["XGBOOST_ESTIMATORS", "named_columns", "read_catboost", "read_lightgbm", "read_xgboost", "xgboost_of_bytes"]

_LEARNER = b"learner"
_UBJSON_BEGINNING = b"{L\0\0\0\0\0\0\0\x07learner"
_TREES = ("trees", "tree_info", "iteration_indptr", "cats")
XGBOOST_ESTIMATORS = {"classifier": "XGBClassifier", "regressor": "XGBRegressor", "ranker": "XGBRanker"}
"""The class of an estimator, by the kind that its booster names."""
_WINDOW_BYTES = 1 << 20
_OLD_XGBOOST = b"binf"
_HEADER_BYTES = 1 << 22
_CBM = b"CBM1"
_CORE_AT = 8
"""Where the table of a `.cbm` begins: behind its mark and its size (catboost/libs/model/flatbuffers/model.fbs)."""
_TREES_OF_CBM = 1
_FEATURES_OF_CBM = {4: (1, 2), 5: (2, 4), 12: (1, 2)}
"""The vectors of its trees that hold the features of categories, of numbers and of texts, each with the fields
`FlatIndex` and `FeatureId` of a feature."""
_RELEASE = re.compile(rb"CatBoost release (\d+(?:\.\d+)+)")


def read_xgboost(path: Path, head: bytes) -> Model | None:
    """Read what XGBoost's `save_model` wrote: UBJSON, JSON, or the binary of versions before 2, told by its mark."""
    writer = "XGBoost's `save_model`"
    if head.startswith(_OLD_XGBOOST):
        remark = (
            "It is in the binary format that XGBoost 3 no longer reads: load it with the version that wrote it, and "
            "save it as `model.ubj`."
        )
        return Model(kind="xgboost", certainty="likely", written_by=writer, modules=("xgboost",), remarks=(remark,))
    is_binary = head.startswith(_UBJSON_BEGINNING)
    if not is_binary and not re.match(rb'\{\s*"(learner|version)"', head):
        return None
    if not is_binary and _LEARNER not in head[:64]:
        return None
    tree: Mapping[str, Any] = {}
    problem, is_truncated = "", False
    try:
        with path.open("rb") as file:
            stream = Stream(file, path.stat().st_size)
            tree = read_ubjson(stream, left_out=_TREES) if is_binary else _json_parts(stream)
    except UnreadableError as exc:
        problem, is_truncated = str(exc), isinstance(exc, TruncatedError)
        if not is_binary:
            tree = _parts_of_text(head.decode("utf-8", "replace"), "")
    certainty: Certainty = "likely" if problem else "certain"
    facts = _xgboost_facts(tree)
    return Model(
        kind="xgboost",
        certainty=certainty,
        written_by=writer,
        artifact_type="xgboost",
        problem=problem,
        is_truncated=is_truncated,
        **facts,
    )


def _xgboost_facts(tree: Any) -> dict[str, Any]:
    """Return what the table of a booster says, by the names of a `Model`."""
    learner = table_of(table_of(tree).get("learner"))
    numbers, attributes = table_of(learner.get("learner_model_param")), table_of(learner.get("attributes"))
    version = table_of(tree).get("version")
    kind = first_value_of(str(attributes.get("scikit_learn", "")), "_estimator_type")
    count = _integer(numbers.get("num_feature"))
    class_count = _integer(numbers.get("num_class")) or 0
    estimator = XGBOOST_ESTIMATORS.get(kind) if isinstance(kind, str) else None
    is_binary = kind == "classifier" and not class_count
    is_version = isinstance(version, list) and len(version) == 3
    return {
        "made_of": f"xgboost.sklearn:{estimator}" if estimator else "xgboost.core:Booster",
        "versions": {"xgboost": ".".join(map(str, version))} if isinstance(version, list) and is_version else {},
        "feature_names": _texts(learner.get("feature_names")),
        "feature_types": _texts(learner.get("feature_types")),
        "feature_count": count,
        "classes": tuple(range(2 if is_binary else class_count)),
        "modules": ("sklearn", "xgboost") if "scikit_learn" in attributes else ("xgboost",),
    }


def _json_parts(stream: Stream) -> Any:
    """Return the table of a booster in JSON, of a large one without its trees."""
    size_bytes = stream.rest_bytes or 0
    if size_bytes <= JSON_BYTES:
        return read_json(stream.read(size_bytes))
    head = stream.read(_WINDOW_BYTES).decode("utf-8", "replace")
    stream.skip(size_bytes - 2 * _WINDOW_BYTES)
    tail = stream.read(_WINDOW_BYTES).decode("utf-8", "replace")
    if not tail.rstrip().endswith("}"):
        raise TruncatedError
    return _parts_of_text(head, tail)


def _parts_of_text(head: str, tail: str) -> dict[str, Any]:
    learner = {key: first_value_of(head, key) for key in ("attributes", "feature_names", "feature_types")}
    learner["learner_model_param"] = first_value_of(tail, "learner_model_param")
    at = tail.rfind('"version"')
    return {"learner": learner, "version": first_value_of(tail[at:], "version") if at >= 0 else None}


def named_columns(names: tuple[str, ...], *, prefix: str = "") -> tuple[str, ...]:
    """Return the names of a model's columns; none if its library numbered them, because the model saw an array."""
    return () if names == tuple(f"{prefix}{number}" for number in range(len(names))) else names


def read_lightgbm(path: Path, head: bytes) -> Model | None:
    """Read the text that LightGBM's `save_model` wrote."""
    if not head.startswith(b"tree\nversion="):
        return None
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES).partition(b"\n\n")[0]
        file.seek(max(0, path.stat().st_size - _WINDOW_BYTES))
        tail = file.read()
    is_whole = _is_whole_lightgbm(tail)
    pairs = (line.partition("=") for line in header.decode("utf-8", "replace").splitlines())
    facts = {key: value for key, is_pair, value in pairs if is_pair}
    last = _integer(facts.get("max_feature_idx"))
    class_count = _integer(facts.get("num_class")) or 0
    is_classifier = facts.get("objective", "").startswith(("binary", "multiclass"))
    return Model(
        kind="lightgbm",
        certainty="certain" if is_whole else "likely",
        written_by="LightGBM's `save_model`",
        artifact_type="lightgbm",
        made_of="lightgbm.basic:Booster",
        feature_names=named_columns(tuple(facts.get("feature_names", "").split()), prefix="Column_"),
        feature_count=last + 1 if last is not None else None,
        classes=tuple(range(max(2, class_count))) if is_classifier else (),
        modules=("lightgbm",),
        problem="" if is_whole else str(TruncatedError()),
        is_truncated=not is_whole,
    )


def _is_whole_lightgbm(tail: bytes) -> bool:
    """Return whether a text ends as LightGBM's does: with closed parameters, and with the line of JSON that its Python
    package writes behind them."""
    _, trees, rest = tail.partition(b"\nend of trees")
    if not trees or not rest.endswith(b"\n"):
        return False
    has_parameters = b"\nparameters:" in rest
    if has_parameters:
        _, end, rest = rest.partition(b"\nend of parameters\n")
        if not end:
            return False
    _, key, categories = rest.rpartition(b"pandas_categorical:")
    if not key:
        return not (has_parameters and rest.strip())
    try:
        json.loads(categories)
    except (ValueError, RecursionError):
        return False
    return True


def read_catboost(path: Path, head: bytes) -> Model | None:
    """Read CatBoost's own binary, of which the JSON in it is looked at, or the JSON that it exports."""
    is_binary = head.startswith(_CBM)
    if not is_binary and not (head.startswith(b"{") and b'"features_info"' in head):
        return None
    problem, is_truncated, tree, release = "", False, dict[str, Any](), ""
    columns: dict[int, str] = {}
    try:
        with path.open("rb") as file:
            data = file.read(JSON_BYTES + 1)
            if is_binary:
                size_bytes = struct.unpack_from("<I", head, 4)[0] if len(head) >= _CORE_AT else 0
                if len(head) < _CORE_AT or _CORE_AT + size_bytes > path.stat().st_size:
                    raise TruncatedError
                match = _RELEASE.search(data)
                release = match[1].decode() if match else ""
                tree = {"model_info": {"class_params": _class_parameters(data)}}
                columns = _columns_of_cbm(file, size_bytes)
            else:
                tree = table_of(read_json(data))
    except UnreadableError as exc:
        problem, is_truncated = str(exc), isinstance(exc, TruncatedError)
    for kind in table_of(tree.get("features_info")).values():
        for feature in map(table_of, list_of(kind)):
            number = _integer(feature.get("flat_feature_index"))
            columns[len(columns) if number is None else number] = str(feature.get("feature_id") or number)
    names = tuple(name for _, name in sorted(columns.items()))
    classes = table_of(table_of(tree.get("model_info")).get("class_params"))
    return Model(
        kind="catboost",
        certainty="likely" if problem else "certain",
        written_by="CatBoost's `save_model`",
        artifact_type="catboost",
        made_of="catboost.core:CatBoost",
        versions={"catboost": release} if release else {},
        feature_names=named_columns(names),
        feature_count=len(names) or None,
        classes=tuple(label for label in list_of(classes.get("class_names")) if isinstance(label, str | int | float)),
        modules=("catboost",),
        problem=problem,
        is_truncated=is_truncated,
    )


def _columns_of_cbm(file: BinaryIO, size_bytes: int) -> dict[int, str]:
    """Return the names of a model's columns by their numbers; none where its table is not read, or has kinds of
    features that are not known here."""
    columns: dict[int, str] = {}
    with suppress(UnreadableError):
        trees = root_table(file, start=_CORE_AT, size_bytes=size_bytes).table(_TREES_OF_CBM)
        if trees is None:
            return {}
        for kind, (flat_index, name) in _FEATURES_OF_CBM.items():
            for feature in trees.tables(kind):
                number = feature.integer(flat_index, -1)
                columns[number] = feature.text(name) or str(number)
        return columns if sorted(columns) == [*range(len(columns))] else {}
    return {}


def _class_parameters(data: bytes) -> Any:
    at = data.find(b'{"classes_count"')
    if at < 0:
        return {}
    text = data[at : at + _WINDOW_BYTES].decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        return json.JSONDecoder().raw_decode(text)[0]
    return {}


def xgboost_of_bytes(data: bytes) -> dict[str, Any]:
    """Return what a booster says that a pickle holds as UBJSON; nothing if it is something else."""
    if not data.startswith(b"{L"):
        return {}
    with suppress(UnreadableError):
        tree = read_ubjson(stream_of(data), left_out=_TREES)
        return _xgboost_facts(table_of(tree).get("Model", tree))
    return {}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text for text in list_of(value) if isinstance(text, str))


def _integer(value: Any) -> int | None:
    try:
        return int(value) if isinstance(value, str | int) and len(str(value)) < 12 else None
    except ValueError:
        return None
