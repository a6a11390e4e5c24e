"""What a build learns of requests, and freezes: the columns of samples, the dtypes of examples, the schemas of models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import kappa.testing
from kappa.adapters import JsonInput
from kappa.build.classes import read_class
from kappa.build.declarations import Declaration
from kappa.build.modules import CodeBase, search_path
from kappa.build.plan import plan_build
from kappa.build.project import read_project

HEAD = 'kappafile = 1\n\n[service]\nname = "Learning"\n'


def project(folder: Path, apis: str, **files: str) -> Path:
    (folder / "handlers.py").write_text("def score(rows):\n    return rows\n", encoding="utf-8")
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "kappafile.toml").write_text(f"{HEAD}\n{apis}", encoding="utf-8")
    return folder


def api(options: str, name: str = "score") -> str:
    return f'[apis.{name}]\nfunction = "handlers:score"\ninput = {{ type = "dataframe"{options} }}\n'


def input_of(folder: Path) -> Any:
    return read_project(folder).spec.apis[0].input


def test_the_columns_of_a_sample_are_declared_columns_once_the_project_is_read(tmp_path: Path) -> None:
    project(tmp_path, TYPED.replace("models_of_signatures:score", "handlers:score"), models_of_signatures_dot_py=MODELS)
    plan = plan_build(read_project(tmp_path), version=None, labels={}, environ={})
    assert [str(path) for path in plan.code] == ["handlers.py", "models_of_signatures.py"]


def test_a_project_served_without_building_knows_its_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path, TYPED, models_of_signatures_dot_py=MODELS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with kappa.testing.client(tmp_path) as client:
        document = json.loads(client.get("/docs.json").content)
        assert sorted(document["components"]["schemas"]) == ["Error", "Item", "Order"]
        assert client.post("/score", json={"items": [{"name": "a"}]}).json == 1
        assert client.post("/score", json={"items": [{}]}).json["error"] == "`items[0].name`: Field required."
    sys.modules.pop("models_of_signatures")


def test_a_class_that_an_adapter_names_is_read_from_the_source(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import kappa\nfrom kappa.adapters import JsonInput\nfrom orders import Order\n\n"
        "class Shop(kappa.BentoService):\n    @kappa.api(input=JsonInput(schema=Order))\n"
        "    def buy(self, order):\n        return 1\n"
    )
    (tmp_path / "orders.py").write_text("class Order:\n    pass\n")
    code = CodeBase(search_path(tmp_path))
    module = code.resolve("shop")
    assert module is not None
    told = read_class(code, module, "Shop")
    assert isinstance(told, Declaration)
    assert told.spec.apis[0].input == JsonInput(schema="orders:Order")
