"""What a build learns of requests and freezes: the columns of samples, dtypes of examples, the schemas of models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import kappa.testing
from kappa.adapters import DataframeInput, JsonInput
from kappa.build.bundle.plan import plan_build
from kappa.build.class_project import read_class_project
from kappa.build.code.classes import read_class
from kappa.build.code.declarations import Declaration
from kappa.build.code.modules import CodeBase, search_path
from kappa.build.code.sampled_columns import with_schemas, with_signatures
from kappa.build.project import check_kappafile, read_project
from kappa.errors import ConfigurationError
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec
from kappa.types import Payload

HEAD = 'kappafile = 1\n\n[service]\nname = "Learning"\n'


def project(folder: Path, apis: str, files: dict[str, str] | None = None) -> Path:
    (folder / "handlers.py").write_text("def score(rows):\n    return rows\n", encoding="utf-8")
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "kappafile.toml").write_text(f"{HEAD}\n{apis}", encoding="utf-8")
    return folder


def api(options: str) -> str:
    return f'[apis.score]\nfunction = "handlers:score"\ninput = {{ type = "dataframe"{options} }}\n'


def input_of(folder: Path) -> Any:
    return read_project(folder).spec.apis[0].input


def test_the_columns_of_a_sample_are_declared_columns_once_the_project_is_read(tmp_path: Path) -> None:
    text = "age,city,income,day\n1,x,2.5,2026-01-31\n2,,,2026-02-01\n"
    options = ', columns_from = "samples/rows.csv", extra_columns = "forbid"'
    project(tmp_path, api(options), {"samples/rows.csv": text})
    expected = {"age": "int64", "city": "str", "income": "float64", "day": {"dtype": "datetime", "nullable": False}}
    assert input_of(tmp_path) == DataframeInput(columns=expected, extra_columns="forbid")


def test_parquet_tells_dtypes_that_text_cannot(tmp_path: Path) -> None:
    project(tmp_path, api(', columns_from = "rows.parquet"'))
    frame = pd.DataFrame({"t": pd.to_datetime(["2026-01-31"]), "n": pd.array([1], dtype="Int32"), "f": [1.5]})
    frame.astype({"f": "float32"}).to_parquet(tmp_path / "rows.parquet")
    assert input_of(tmp_path).columns == {
        "t": {"dtype": "datetime", "nullable": False},
        "n": "int32",
        "f": {"dtype": "float32", "nullable": False},
    }


TEXTS = {
    "dates": (["2026-01-31", "2026-02-28"], "datetime"),
    "times": (["2026-01-31T12:00:00Z", "2026-01-31 12:00+02:00"], "datetime"),
    "missing": (["2026-01-31", ""], {"dtype": "datetime", "nullable": True}),
    "no day": (["2026-01-31", "2026-02-30"], "str"),
    "other words": (["2026-01-31", "soon"], "str"),
    "German": (["31.01.2026", "28.02.2026"], "str"),
    "numbers": (["20260131", "20260228"], "int64"),
    "too exact": (["2026-01-31T12:00:00.1234567Z", "2026-01-31"], "str"),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("rows", [1, 1000])
def test_text_that_is_a_time_in_every_row_is_one(name: str, rows: int, tmp_path: Path) -> None:
    values, dtype = TEXTS[name]
    expected = dtype if isinstance(dtype, dict) else {"dtype": dtype, "nullable": False} if dtype != "int64" else dtype
    expected = "datetime" if expected == {"dtype": "datetime", "nullable": True} else expected
    text = "day,n\n" + "".join(f"{value},1\n" for value in values) * rows
    project(tmp_path, api(', columns_from = "rows.csv"'), {"rows.csv": text})
    assert input_of(tmp_path).columns == {"day": expected, "n": "int64"}
    if dtype != "int64":
        body = json.dumps([{"day": value or None, "n": 1} for value in values] * rows)
        project(tmp_path, api(', columns_from = "rows.json"'), {"rows.json": body})
        assert input_of(tmp_path).columns == {"day": expected, "n": "int64"}


def test_text_of_a_format_with_times_stays_text(tmp_path: Path) -> None:
    project(tmp_path, api(', columns_from = "rows.parquet"'))
    pd.DataFrame({"day": ["2026-01-31"]}).to_parquet(tmp_path / "rows.parquet")
    assert input_of(tmp_path).columns == {"day": {"dtype": "str", "nullable": False}}


def test_columns_beside_a_sample_have_the_dtypes_that_are_declared(tmp_path: Path) -> None:
    options = ', columns_from = "rows.csv", columns = { code = "str", n = { dtype = "int64", nullable = true } }'
    project(tmp_path, api(options), {"rows.csv": "n,code,day\n1,1234,2026-01-31\n"})
    adapter = input_of(tmp_path)
    assert list(adapter.columns.items()) == [
        ("n", {"dtype": "int64", "nullable": True}),
        ("code", "str"),
        ("day", {"dtype": "datetime", "nullable": False}),
    ]
    decoded = adapter.decode(Payload(b"n,code,day\n,0123,2026-01-31\n", "text/csv"))
    assert (decoded.names, list(decoded.values[1])) == (("n", "code", "day"), ["0123"])


def test_a_declared_column_that_the_sample_has_not_is_shown_where_it_stands(tmp_path: Path) -> None:
    options = ', columns_from = "rows.csv", columns = { days = "str" }'
    project(tmp_path, api(options), {"rows.csv": "day,n\n2026-01-31,1\n"})
    (problem,) = check_kappafile(tmp_path / "kappafile.toml")[1]
    message = "`rows.csv` cannot be the sample of a table: it has no column `days`: did you mean `day`?"
    assert (problem.code, problem.message, problem.path) == ("KF322", message, "/apis/score/input/columns/days")


@pytest.mark.parametrize(
    ("columns", "place", "text"),
    [
        ('{ n = "int64", day = "date" }', "/apis/score/input/columns/day", '"date"'),
        ('{ n = "int64", day = { dtype = "date" } }', "/apis/score/input/columns/day/dtype", '"date"'),
        ('{ n = { dtype = "int64", nulable = true } }', "/apis/score/input/columns/n/nulable", "true"),
        ("{ n = { nullable = true } }", "/apis/score/input/columns/n", "{ nullable = true }"),
    ],
)
def test_a_wrong_dtype_is_shown_at_its_own_place(columns: str, place: str, text: str, tmp_path: Path) -> None:
    file = project(tmp_path, api(f", columns = {columns}")) / "kappafile.toml"
    (problem,) = check_kappafile(file)[1]
    assert (problem.code, problem.path) == ("KF204", place)
    assert (
        file.read_text().splitlines()[problem.span.line - 1][problem.span.column - 1 : problem.span.end_column - 1]
        == text
    )


def test_a_sample_is_read_with_the_project_and_not_again_by_a_plan(tmp_path: Path) -> None:
    project(tmp_path, api(', columns_from = "rows.json"'), {"rows.json": '[{"a": 1}]'})
    found = read_project(tmp_path)
    (tmp_path / "rows.json").unlink()
    plan = plan_build(found, version=None, labels={}, environ={"SOURCE_DATE_EPOCH": "0"})
    assert plan.spec.apis[0].input == DataframeInput(columns={"a": "int64"})


def test_a_class_names_its_sample_beside_its_module(tmp_path: Path) -> None:
    (tmp_path / "inner" / "samples").mkdir(parents=True)
    (tmp_path / "inner" / "__init__.py").touch()
    (tmp_path / "inner" / "service.py").write_text(
        "import kappa\nfrom kappa.adapters import DataframeInput\n\n\nclass Learning(kappa.BentoService):\n"
        '    @kappa.api(input=DataframeInput(columns_from="samples/rows.json"), batch=True)\n'
        "    def score(self, rows):\n        return rows\n"
    )
    (tmp_path / "inner" / "samples" / "rows.json").write_text('[{"a": 1.5}]')
    found = read_class_project("inner.service:Learning", tmp_path)
    assert found.spec.apis[0].input == DataframeInput(columns={"a": {"dtype": "float64", "nullable": False}})


def test_a_sample_that_is_gone_is_named(tmp_path: Path) -> None:
    target, adapter = FunctionTarget(function="handlers:score"), DataframeInput(columns_from="gone.csv")
    spec = ServiceSpec(name="Learning", apis=(ApiSpec(name="score", target=target, input=adapter, batch=True),))
    with pytest.raises(ConfigurationError) as refused:
        with_signatures(spec, tmp_path)
    assert str(refused.value).startswith("The API `score`: `columns_from` names `gone.csv`, and it does not hold rows")


# -- examples ----------------------------------------------------------------------------------------------------------


def example(value: str, name: str = "one") -> str:
    return f'[[examples]]\nname = "{name}"\napi = "score"\n{value}\n'


def two_examples(one: str, other: str) -> str:
    return example(f"input = {one}") + example(f"input = {other}", "two")


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        (example('input = [{ a = 1, b = 0.5, c = "x" }]'), {"a": "int64", "b": "float64", "c": "str"}),
        (example("input = [[1, 2.5]]"), {"0": "int64", "1": "float64"}),
        (two_examples("[{ a = 1 }]", "[{ a = 1.5, d = true }]"), {"a": "float64", "d": "bool"}),
        (two_examples('[{ a = "x" }]', "[{ a = 1 }]"), None),
        (example('input_file = "rows.csv"'), {"a": "int64"}),
        (example("input = 5"), None),
        ("", None),
    ],
    ids=["named", "not named", "whole and other numbers", "that disagree", "a file", "no table", "none"],
)
def test_values_should_be_what_examples_show(tmp_path: Path, examples: str, expected: Any) -> None:
    project(tmp_path, api("") + examples, {"rows.csv": "a\n1\n"})
    assert input_of(tmp_path) == DataframeInput(prefer_dtypes=expected)


def test_declared_columns_need_no_examples(tmp_path: Path) -> None:
    project(tmp_path, api(', columns = { a = "float64" }') + example("input = [{ a = 1 }]"))
    assert input_of(tmp_path) == DataframeInput(columns={"a": "float64"})


# -- schemas -----------------------------------------------------------------------------------------------------------

MODULE = "models_of_test_signatures"
MODELS = """\
from pydantic import BaseModel

print("hello from the module")


class Item(BaseModel):
    name: str


class Order(BaseModel):
    items: list[Item]


def score(order):
    return len(order.items)
"""


def typed(function: str = f"{MODULE}:score") -> str:
    return f'[apis.score]\nfunction = "{function}"\ninput = {{ type = "json", schema = "{MODULE}:Order" }}\n'


def test_the_schema_of_a_model_is_read_in_a_process_of_its_own(tmp_path: Path) -> None:
    project(tmp_path, typed(), {f"{MODULE}.py": MODELS})
    spec = with_schemas(read_project(tmp_path).spec, tmp_path)
    assert MODULE not in sys.modules
    schema = spec.apis[0].input.request_schema
    assert schema is not None
    assert (schema["$ref"], sorted(schema["$defs"])) == ("#/$defs/Order", ["Item", "Order"])
    assert with_schemas(spec, tmp_path) == spec


def test_a_model_that_cannot_be_imported_is_an_error(tmp_path: Path) -> None:
    project(tmp_path, typed(), {f"{MODULE}.py": f"__import__('surely_' + 'not_installed')\n{MODELS}"})
    with pytest.raises(ConfigurationError, match="No module named 'surely_not_installed'"):
        with_schemas(read_project(tmp_path).spec, tmp_path)


def test_the_module_of_a_model_is_packed(tmp_path: Path) -> None:
    project(tmp_path, typed("handlers:score"), {f"{MODULE}.py": MODELS})
    plan = plan_build(read_project(tmp_path), version=None, labels={}, environ={})
    assert [str(path) for path in plan.code] == ["handlers.py", f"{MODULE}.py"]


def test_a_project_served_without_building_knows_its_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path, typed(), {f"{MODULE}.py": MODELS})
    monkeypatch.setattr(sys, "path", list(sys.path))
    with kappa.testing.client(tmp_path) as client:
        document = json.loads(client.get("/docs.json").content)
        assert sorted(document["components"]["schemas"]) == ["Error", "Item", "Order"]
        assert client.post("/score", json={"items": [{"name": "a"}]}).json == 1
        assert client.post("/score", json={"items": [{}]}).json["error"] == "`items[0].name`: Field required."
    sys.modules.pop(MODULE)


def test_a_class_that_an_adapter_names_is_read_from_the_source(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import kappa\nfrom kappa.adapters import JsonInput\nfrom orders import Order\n\n\n"
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
