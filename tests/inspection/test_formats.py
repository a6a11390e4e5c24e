"""What is told of each format, by small files that were put together by hand."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from kappa.inspection.detection import inspect_path
from kappa.inspection.report import Model, Step, Tensor
from kappa.inspection.verdicts import Verdict
from tests.inspection import samples

NAMES, COUNT, CLASSES = "feature_names", "feature_count", "classes"
INPUT = Tensor("X", "float32", ("rows", 3))


def inspected(path: Path, data: bytes | None = None) -> Model:
    if data is not None:
        path.write_bytes(data)
    model = inspect_path(path)
    assert model is not None
    return model


@pytest.mark.parametrize(
    ("name", "data", "kind", "facts"),
    [
        pytest.param(
            "m.ubj",
            samples.ubjson(samples.XGBOOST),
            "xgboost",
            {NAMES: ("age", "income"), COUNT: 2, CLASSES: (0, 1, 2), "versions": {"xgboost": "2.1.3"}},
            id="xgboost ubj",
        ),
        pytest.param(
            "m.json",
            json.dumps(samples.XGBOOST).encode(),
            "xgboost",
            {
                NAMES: ("age", "income"),
                "feature_types": ("float", "int"),
                "made_of": "xgboost.sklearn:XGBClassifier",
                "artifact_type": "xgboost",
            },
            id="xgboost json",
        ),
        pytest.param("m.bin", b"binf" + bytes(99), "xgboost", {"modules": ("xgboost",)}, id="xgboost binary"),
        pytest.param(
            "m.txt", samples.LIGHTGBM, "lightgbm", {NAMES: ("age", "income"), CLASSES: (0, 1, 2)}, id="lightgbm"
        ),
        pytest.param(
            "m.cbm",
            samples.catboost(),
            "catboost",
            {CLASSES: ("no", "yes"), "versions": {"catboost": "1.2.10"}},
            id="catboost",
        ),
        pytest.param(
            "m.onnx",
            samples.onnx(),
            "onnx",
            {
                "inputs": (INPUT,),
                "outputs": (Tensor("label", "int64", ("rows",)),),
                "weights": 1,
                "written_by": "`pytorch 2.13.0`",
            },
            id="onnx",
        ),
        pytest.param("m.safetensors", samples.safetensors(), "safetensors", {"weights": 1}, id="safetensors"),
        pytest.param(
            "m.gguf",
            samples.gguf(),
            "gguf",
            {"weights": 2, "remarks": ("`general.architecture` is `llama`.", "`general.name` is `Tiny`.")},
            id="gguf",
        ),
        pytest.param("m.gguf", samples.gguf(tensors=0), "gguf", {"weights": 0, "problem": ""}, id="gguf of no tensors"),
        pytest.param(
            "m.keras",
            samples.keras(),
            "keras",
            {
                "made_of": "keras:Sequential",
                "versions": {"keras": "3.15.1"},
                "steps": (Step("row", "keras.layers:InputLayer"), Step("dense", "keras.layers:Dense")),
                "inputs": (Tensor("row", "", (-1, 3)),),
            },
            id="keras",
        ),
        pytest.param("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "keras", {"certainty": "likely"}, id="hdf5"),
        pytest.param(
            "m.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "keras-weights", {"artifact_type": ""}, id="keras weights"
        ),
        pytest.param(
            "m.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(9) + b"model_config", "keras", {}, id="keras named weights"
        ),
        pytest.param(
            "m.pt2",
            samples.torch_export(None, 3),
            "torch-export",
            {"inputs": (Tensor("rows", "float32", (-1, 3)),), "versions": {"torch": "2.13.0"}},
            id="torch export",
        ),
        pytest.param(
            "m.skops",
            samples.skops(),
            "skops",
            {
                NAMES: ("age",),
                "made_of": "sklearn.preprocessing._data:StandardScaler",
                "versions": {"scikit-learn": "1.9.1", "skops": "0.16.0"},
                "verdict": Verdict("safe"),
            },
            id="skops",
        ),
        pytest.param(
            "m.zip",
            samples.mojo(),
            "h2o",
            {NAMES: ("age", "income"), CLASSES: ("no", "yes"), "versions": {"h2o": "3.46.0.7"}},
            id="mojo",
        ),
        pytest.param(
            "m.pt",
            samples.torch(samples.STATE_DICT),
            "pytorch",
            {"weights": 2, "verdict": Verdict("safe")},
            id="torch",
        ),
        pytest.param("m.parquet", b"PAR1....\4\0\0\0PAR1", "parquet", {"certainty": "certain"}, id="parquet"),
        pytest.param("m.tflite", bytes(4) + b"TFL3" + bytes(9), "tflite", {"certainty": "likely"}, id="tflite"),
    ],
)
def test_a_file_is_told(name: str, data: bytes, kind: str, facts: dict[str, Any], tmp_path: Path) -> None:
    model = inspected(tmp_path / name, data)
    assert (model.kind, model.problem) == (kind, "")
    assert {key: getattr(model, key) for key in facts} == facts


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.ubj", samples.ubjson(samples.XGBOOST)),
        ("m.json", json.dumps(samples.XGBOOST).encode()),
        ("m.txt", samples.LIGHTGBM),
        ("m.cbm", samples.catboost()),
        ("m.onnx", samples.onnx()),
        ("m.safetensors", samples.safetensors()),
        ("m.gguf", samples.gguf()),
        ("m.keras", samples.keras()),
        ("m.skops", samples.skops()),
        ("m.pt", samples.torch(samples.STATE_DICT)),
        ("m.parquet", b"PAR1....\4\0\0\0PAR1"),
    ],
)
def test_the_kind_of_a_file_that_ends_too_soon_is_told(name: str, data: bytes, tmp_path: Path) -> None:
    model = inspected(tmp_path / name, data[: len(data) * 8 // 10])
    assert model.kind == inspected(tmp_path / f"whole.{name}", data).kind
    assert (model.is_truncated, model.certainty) == (True, "likely")


def test_weights_of_onnx_that_lie_elsewhere_must_be_beside_it(tmp_path: Path) -> None:
    whole = inspected(tmp_path / "m.onnx", samples.onnx(weights_in="m.bin"))
    assert whole.problem == "its weights are in `m.bin`, which is not beside it"
    (tmp_path / "m.bin").touch()
    assert inspected(tmp_path / "m.onnx").problem == ""
    outside = inspected(tmp_path / "o.onnx", samples.onnx(weights_in="../m.bin"))
    assert outside.problem == "its weights are in `../m.bin`, which leaves its folder"


@pytest.mark.parametrize("name", ["../sprung", "/tmp/sprung", "..\\sprung", "C:\\sprung"])
def test_an_entry_that_would_leave_its_folder_is_a_problem(name: str, tmp_path: Path) -> None:
    data = samples.zipped({"archive/data.pkl": b"\x80\x02).", "archive/version": b"3\n", name: b""})
    problem = f"its entry `{name}` would leave the folder that it is unpacked into"
    assert inspected(tmp_path / "m.pt", data).problem == problem


def test_a_tensor_that_lies_behind_the_end_of_its_file_is_missing(tmp_path: Path) -> None:
    assert not inspected(tmp_path / "m.safetensors", samples.safetensors()).is_truncated
    assert inspected(tmp_path / "m.safetensors", samples.safetensors(data=bytes(7))).is_truncated


def test_words_of_gguf_behind_a_list_of_texts_are_read_and_so_is_the_length_of_blocks(tmp_path: Path) -> None:
    words = samples.gguf_list("tokenizer.ggml.tokens", *map(str, range(1000)))
    model = inspected(tmp_path / "m.gguf", samples.gguf(words))
    assert (model.problem, model.remarks[1]) == ("", "`general.name` is `Tiny`.")
    quantized = samples.gguf(tensors=1).replace(struct.pack("<QIQ", 2, 0, 0), struct.pack("<QIQ", 64, 2, 0))
    assert inspected(tmp_path / "q.gguf", quantized).is_truncated  # it needs two blocks of 18 bytes, and has 8
    assert inspected(tmp_path / "q.gguf", quantized + bytes(28)).problem == ""
    assert inspected(tmp_path / "old.gguf", b"GGUF" + struct.pack("<IQQ", 1, 0, 0)).problem == (
        "its version 1 of the format is not read"
    )


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_what_unpacks_to_many_times_its_size_is_read_no_further(
    pack: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(pickle.dumps(bytes(1 << 20)))
    assert inspected(tmp_path / "m.pkl", packed).problem == ""
    monkeypatch.setattr("kappa.inspection.streams._FREE_BYTES", 1 << 17)
    (tmp_path / "bomb.pkl").write_bytes(packed)
    model = inspected(tmp_path / "bomb.pkl")
    assert "and is read no further" in model.problem
    assert model.verdict is not None
    assert model.verdict.state != "safe"


def test_code_in_a_layer_of_keras_is_never_safe(tmp_path: Path) -> None:
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "code"}}
    model = inspected(tmp_path / "m.keras", samples.keras(layer=layer))
    assert model.verdict == Verdict("unknown", reasons=("holds code of a layer `Lambda`",))


def test_layers_of_ones_own_are_modules_that_it_needs(tmp_path: Path) -> None:
    layer = {"module": "layers_of_mine", "class_name": "Norm", "config": {"name": "norm"}}
    assert inspected(tmp_path / "m.keras", samples.keras(layer=layer)).modules == ("keras", "layers_of_mine")


def test_what_skops_names_and_no_list_has_is_unknown(tmp_path: Path) -> None:
    extra = {"hook": samples.skops_node("system", None, module="os", loader="FunctionNode")}
    verdict = inspected(tmp_path / "m.skops", samples.skops(extra=extra)).verdict
    assert verdict == Verdict("dangerous", dangerous=("os:system",))


def test_a_module_of_torch_is_judged_by_what_it_is_made_of(tmp_path: Path) -> None:
    known = b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81."
    own = b"\x80\x02cnets_of_mine\nNet\n)\x81."
    model = inspected(tmp_path / "m.pt", samples.torch(known))
    assert (model.made_of, model.verdict) == ("torch.nn.modules.linear:Linear", Verdict("safe"))
    model = inspected(tmp_path / "o.pt", samples.torch(own))
    assert model.verdict == Verdict("unknown", unknown=("nets_of_mine:Net",))
    assert "nets_of_mine" in model.modules


def test_what_is_compiled_by_torch_is_told_apart(tmp_path: Path) -> None:
    entries = {"m/data.pkl": b"\x80\x02).", "m/constants.pkl": b"\x80\x02).", "m/version": b"3\n"}
    assert inspected(tmp_path / "m.pt", samples.zipped(entries)).kind == "torchscript"
    entries = {"m/models/model.json": b"{}", "m/archive_version": b"0"}
    assert inspected(tmp_path / "m.pt2", samples.zipped(entries)).written_by == "`torch.export.save`"


def test_a_saved_model_of_tensorflow_is_told_by_its_signature(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(samples.saved_model())
    model = inspected(tmp_path)
    assert (model.kind, model.versions, model.problem) == ("tensorflow", {"tensorflow": "2.18.0"}, "")
    assert model.inputs == (Tensor("row", "float32", (-1, 3)),)
    assert model.outputs == (Tensor("score", "float32", (-1, 3)),)
    (tmp_path / "variables").rmdir()
    assert inspected(tmp_path).is_truncated


def test_a_folder_of_mlflow_is_told_with_the_model_in_it(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(samples.MLMODEL)
    (tmp_path / "model.pkl").write_bytes(b"\x80\x02csklearn.svm._classes\nSVC\n)\x81.")
    (tmp_path / "requirements.txt").write_text("mlflow==3.17.2\n# why\nscikit-learn==1.9.1\n")
    model = inspected(tmp_path)
    assert (model.kind, model.made_of) == ("mlflow", "sklearn.svm._classes:SVC")
    assert (model.feature_names, model.feature_types) == (("age",), ("double",))
    assert model.requirements == ("mlflow==3.17.2", "scikit-learn==1.9.1")
    assert model.verdict == Verdict("safe")


@pytest.mark.parametrize(
    ("inputs", "facts"),
    [
        (
            [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}],
            {"inputs": (Tensor("array", "float32", (-1, 2)),), NAMES: (), COUNT: None},
        ),
        (
            [{"type": "double", "name": "age"}, {"type": "double", "name": "rooms", "required": False}],
            {NAMES: ("age",), COUNT: None, "remarks": ("Its optional columns are `rooms`.",)},
        ),
        ([], {NAMES: ("a", "b"), COUNT: 2}),
    ],
    ids=["array", "optional column", "no signature"],
)
def test_what_a_model_of_mlflow_takes_is_told(inputs: list[Any], facts: dict[str, Any], tmp_path: Path) -> None:
    flavors = {"python_function": {}, "sklearn": {"pickled_model": "model.pkl"}}
    tree = {"flavors": flavors, "signature": {"inputs": json.dumps(inputs)}}
    (tmp_path / "MLmodel").write_text(json.dumps(tree))
    model = LinearRegression().fit(pd.DataFrame({"a": [1.0], "b": [2.0]}), [1.0])
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    found = inspected(tmp_path)
    told = {**{key: getattr(found, key) for key in facts}}
    told["remarks"] = tuple(remark for remark in found.remarks if "flavours" not in remark)
    assert told == {"remarks": (), **facts}


def test_a_model_that_mlflow_says_is_elsewhere_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "model.pkl").write_bytes(pickle.dumps([]))
    (folder / "MLmodel").write_text(samples.MLMODEL.replace("model.pkl", "../model.pkl"))
    assert inspected(folder).verdict is None


def test_folders_of_transformers_and_spacy_are_told(tmp_path: Path) -> None:
    bert, spacy = tmp_path / "bert", tmp_path / "spacy"
    bert.mkdir()
    spacy.mkdir()
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "transformers_version": "5.1.0",
        "id2label": {"0": "a"},
    }
    (bert / "config.json").write_text(json.dumps(config))
    (bert / "model.safetensors").write_bytes(samples.safetensors())
    model = inspected(bert)
    assert (model.kind, model.made_of, model.classes) == ("transformers", "transformers:BertModel", ("a",))
    assert model.versions == {"transformers": "5.1.0"}
    (spacy / "config.cfg").touch()
    (spacy / "meta.json").write_text(json.dumps({"pipeline": ["ner"], "spacy_version": ">=3.8", "name": "x"}))
    model = inspected(spacy)
    assert (model.kind, model.steps, model.requirements) == ("spacy", (Step("ner", ""),), ("spacy>=3.8",))


def test_a_large_file_of_xgboost_is_read_at_its_two_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kappa.inspection.boosters.JSON_BYTES", 1000)
    monkeypatch.setattr("kappa.inspection.boosters._WINDOW_BYTES", 400)
    tree = {**samples.XGBOOST, "learner": {**samples.XGBOOST["learner"], "gradient_booster": ["x" * 100] * 50}}  # type: ignore[dict-item]
    model = inspected(tmp_path / "m.json", json.dumps(tree).encode())
    assert (model.feature_names, model.feature_count, model.versions) == (("age", "income"), 2, {"xgboost": "2.1.3"})


def test_a_folder_without_a_model_is_none(tmp_path: Path) -> None:
    assert inspect_path(tmp_path) is None
