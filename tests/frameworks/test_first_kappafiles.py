"""`kappa init` on what the frameworks themselves write: the example of the kappafile holds the model's own answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from kappa.actions.asking import ask_first
from kappa.actions.starting import plan_start
from kappa.cli.main import cli
from kappa.rendering.templates import render
from tests.frameworks import torch_models

FLATS = pd.DataFrame({"area": [50.0, 60.0, 90.0, 120.0], "rooms": [2, 2, 4, 5]})
PRICES = [100.0, 120.0, 180.0, 240.0]


def skops(*, has_names: bool) -> str:
    import skops.io
    from sklearn.linear_model import LinearRegression

    skops.io.dump(LinearRegression().fit(FLATS if has_names else FLATS.to_numpy(), PRICES), "model.skops")
    return "model.skops"


def xgboost(*, has_names: bool) -> str:
    from xgboost import XGBRegressor

    XGBRegressor(n_estimators=2).fit(FLATS if has_names else FLATS.to_numpy(), PRICES).save_model("model.ubj")
    return "model.ubj"


def lightgbm(*, has_names: bool) -> str:
    from lightgbm import LGBMRegressor

    model = LGBMRegressor(n_estimators=2, verbose=-1, min_child_samples=1)
    model.fit(FLATS if has_names else FLATS.to_numpy(), PRICES).booster_.save_model("model.txt")
    return "model.txt"


def catboost(*, has_names: bool) -> str:
    from catboost import CatBoostRegressor

    model = CatBoostRegressor(iterations=2, verbose=0, allow_writing_files=False)
    model.fit(FLATS if has_names else FLATS.to_numpy(), PRICES).save_model("model.cbm")
    return "model.cbm"


def onnx(*, has_names: bool) -> str:
    from onnx import TensorProto, helper, save

    names, shape = (["area", "rooms"], ["n", 1]) if has_names else (["rows"], ["n", 2])
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
    output = helper.make_tensor_value_info("sum", TensorProto.FLOAT, shape)
    node = helper.make_node("Sum", names, ["sum"])
    graph = helper.make_graph([node], "sums", inputs, [output])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "model.onnx")
    return "model.onnx"


WRITERS = [
    pytest.param(writer, marks=getattr(pytest.mark, writer.__name__), id=writer.__name__)
    for writer in (skops, xgboost, lightgbm, catboost, onnx)
]


@pytest.mark.parametrize("has_names", [True, False], ids=["names", "no names"])
@pytest.mark.parametrize("write", WRITERS)
def test_the_model_answers_the_first_request(
    write: Callable[..., str], has_names: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    start = plan_start(Path(write(has_names=has_names)), tmp_path)
    order: dict[str, Any] = {"file": str(start.kappafile), "api": "predict", "request": start.context.request}
    outcome = ask_first({**order, "text": render(start.context)})
    assert "problem" not in outcome, outcome["problem"]
    rows = outcome["request"]["input"]
    assert [len(row) for row in rows] == [2]
    assert isinstance(rows[0], dict) == has_names
    assert [*(outcome["columns"] or start.context.columns)] == (["area", "rooms"] if has_names else [])


@pytest.mark.catboost
def test_categories_are_texts_in_the_first_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from catboost import CatBoostRegressor

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    model = CatBoostRegressor(iterations=2, verbose=0, allow_writing_files=False, cat_features=["city"])
    model.fit(FLATS.assign(city=["Ulm", "Bonn", "Ulm", "Bonn"]), PRICES).save_model("model.cbm")
    assert CliRunner().invoke(cli, ["init", "model.cbm", "--yes"]).exit_code == 0
    result = CliRunner().invoke(cli, ["test", "--format", "json"])
    assert (result.exit_code, [replay["problems"] for replay in json.loads(result.stdout)]) == (0, [[]])


@pytest.mark.torch
@pytest.mark.parametrize("words", [(), ("--yaml",)], ids=["toml", "yaml"])
def test_weights_are_asked_in_the_module_that_a_function_makes(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    code = "import torch\n\n\ndef make():\n    return torch.nn.Linear(3, 2, bias=False)\n"
    module = f"nets_of_init_{len(words)}"
    (tmp_path / f"{module}.py").write_text(code)
    torch_models.write(tmp_path, "weights.safetensors")
    result = CliRunner().invoke(cli, ["init", "weights.safetensors", "--factory", f"{module}:make", "--yes", *words])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(cli, ["test", "--format", "json"])
    assert [(replay["got"], replay["problems"]) for replay in json.loads(result.stdout)] == [([[3.0, 3.0]], [])]
