"""Specifications are frozen all the way down, and plugins are found by what users write."""

from __future__ import annotations

import copy
import datetime as dt
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from kappa.adapters import DataframeInput, JsonInput, JsonOutput
from kappa.frameworks.json import JSONArtifact
from kappa.plugins import ARTIFACTS, INPUT_ADAPTERS, OUTPUT_ADAPTERS
from kappa.spec.contracts import Plugin, Spec, field_docs, freeze, thaw
from kappa.spec.freezing import FrozenDict
from kappa.spec.service import ApiSpec, ArtifactMethod, EnvSpec, FunctionTarget, ServiceSpec

trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(trees)
def test_thawing_undoes_freezing(tree: Any) -> None:
    frozen = freeze(tree)
    assert (thaw(frozen), freeze(frozen)) == (tree, frozen)


def test_what_is_frozen_is_a_copy_that_nobody_can_change() -> None:
    tree = {"a": [{"b": 1}]}
    frozen = freeze(tree)
    tree["a"][0]["b"] = 2
    assert frozen == {"a": ({"b": 1},)}
    changes: tuple[Callable[[], object], ...] = (
        lambda: frozen.update(a=1),
        lambda: frozen["a"].append(1),
        lambda: frozen["a"][0].clear(),
    )
    for change in changes:
        with pytest.raises(AttributeError):
            change()


@given(trees)
def test_what_is_frozen_can_be_pickled_copied_and_hashed(tree: Any) -> None:
    frozen = freeze({"tree": tree})
    for again in (pickle.loads(pickle.dumps(frozen)), copy.deepcopy(frozen), copy.copy(frozen)):
        assert (again, type(again), repr(again)) == (frozen, type(frozen), repr(frozen))
    assert hash(frozen) == hash(freeze({"tree": tree}))


def test_a_frozen_mapping_reads_like_a_dict_and_has_no_attributes_to_set() -> None:
    frozen = freeze({"rows": 3, "auc": 3.0, "is_final": True, "steps": [{"x": None}]})
    assert repr(frozen) == "{'rows': 3, 'auc': 3.0, 'is_final': True, 'steps': ({'x': None},)}"
    assert [type(value) for value in frozen.values()] == [int, float, bool, tuple]
    changes: tuple[Callable[[], object], ...] = (
        lambda: setattr(frozen, "_items", {}),
        lambda: delattr(frozen, "_items"),
    )
    for change in changes:
        with pytest.raises(AttributeError, match="a frozen mapping cannot be changed"):
            change()
    changes = (
        lambda: frozen.__setitem__("rows", 4),
        lambda: frozen._items.update(rows=4),
    )
    for change in changes:
        with pytest.raises(AttributeError):
            change()


def test_specifications_can_be_pickled_and_their_defaults_are_frozen_too() -> None:
    api = ApiSpec(name="a", target=FunctionTarget(function="m:f"), input=JsonInput(http_input_example={"x": [1]}))
    spec = ServiceSpec(name="S", apis=(api,), env=EnvSpec(variables={"A": "1"}))
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert copy.deepcopy(spec) == spec
    assert type(ServiceSpec(name="S", apis=(api,)).labels) is type(EnvSpec().variables) is FrozenDict


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": np.float32(0.5), "b": np.array([1, 2]), "c": np.bool_(True)}, {"a": 0.5, "b": [1, 2], "c": True}),
        (
            {"at": dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc), "on": dt.date(2026, 1, 2)},
            {"at": "2026-01-02T00:00:00+00:00", "on": "2026-01-02"},
        ),
        ({0: "setosa"}, {"0": "setosa"}),
    ],
)
def test_what_python_knows_and_json_does_not_is_frozen_as_json(value: Any, expected: Any) -> None:
    assert json.loads(json.dumps(thaw(freeze(value)))) == expected


def test_what_no_manifest_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="a `set` cannot be kept: use text, numbers, true, false, lists and tables"):
        freeze({"a": [{1, 2}]})
    with pytest.raises(ValueError, match="`inf` cannot be kept: neither JSON nor a kappafile has such a number"):
        freeze({"loss": float("inf")})


REQUIRED: dict[str, dict[str, Any]] = {"artifact type": {"name": "m"}, "multi_file": {"input_names": ["a"]}}


@pytest.mark.parametrize(
    ("kind", "type_"),
    [(registry.kind, name) for registry in (INPUT_ADAPTERS, OUTPUT_ADAPTERS, ARTIFACTS) for name in registry.builtins],
)
def test_every_plugin_is_its_own_frozen_configuration(kind: str, type_: str) -> None:
    registry = next(registry for registry in (INPUT_ADAPTERS, OUTPUT_ADAPTERS, ARTIFACTS) if registry.kind == kind)
    plugin: Plugin = registry.load(type_)(**(required := REQUIRED.get(kind, REQUIRED.get(type_, {}))))
    assert type(plugin).model_validate_json(plugin.model_dump_json()) == plugin
    assert type(plugin).model_validate(plugin.model_dump(mode="json")) == plugin
    with pytest.raises(ValidationError, match="frozen"):
        setattr(plugin, "type", "other")  # noqa: B010 - to a type checker it is read-only
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(plugin)(**required, surely_not_an_option=1)


@pytest.mark.parametrize(
    "plugin",
    [
        DataframeInput(orient="split", columns=("b", "a")),
        DataframeInput(columns={"b": "int64", "a": "str"}),
        JsonInput(http_input_example={"b": [1, {"c": None}], "a": 1.5}),
    ],
    ids=["names", "dtypes", "example"],
)
def test_options_come_back_from_json_in_their_order(plugin: Plugin) -> None:
    again = type(plugin).model_validate_json(plugin.model_dump_json())
    assert (again, again.model_dump_json()) == (plugin, plugin.model_dump_json())


def test_options_are_those_that_differ_from_the_defaults() -> None:
    assert DataframeInput().options == {}
    assert DataframeInput(columns={"a": "int64"}).options == {"columns": {"a": "int64"}}


def api(**options: Any) -> ApiSpec:
    return ApiSpec(name="a", **{"target": FunctionTarget(function="m:f"), "input": JsonInput(), **options})


@pytest.mark.parametrize(
    "written", ["dataframe", {"type": "dataframe"}, DataframeInput()], ids=["name", "table", "object"]
)
def test_the_three_ways_to_write_an_adapter_are_one(written: Any) -> None:
    assert api(input=written, batch=True).input == DataframeInput()


@pytest.mark.parametrize(
    ("input_", "message"),
    [
        ("jsonn", "There is no input adapter `jsonn`. Did you mean `json`?"),
        (JsonInput, "an instance is needed: write `JsonInput()`"),
        (JsonOutput(), "Input should be a valid dictionary or instance of InputAdapter"),
        (JSONArtifact("m"), "Input should be a valid dictionary or instance of InputAdapter"),
        ({}, 'expected the name of an input adapter, or a table with `type = "…"`'),
        ({"type": 5}, 'expected the name of an input adapter, or a table with `type = "…"`'),
        (None, 'expected the name of an input adapter, or a table with `type = "…"`'),
        ({"type": "json", "orient": "split"}, "orient\n  Extra inputs are not permitted"),
    ],
)
def test_what_is_no_adapter(input_: Any, message: str) -> None:
    with pytest.raises(ValidationError) as error:
        api(input=input_)
    assert message in str(error.value)


def test_an_adapter_of_rows_needs_batches() -> None:
    with pytest.raises(ValidationError, match="the input `dataframe` always brings rows: set `batch = true`"):
        api(input="dataframe")


def test_a_target_is_a_function_or_a_models_method() -> None:
    assert api(target={"artifact": "m"}).target == ArtifactMethod(artifact="m", method="predict")
    assert api(target={"function": "m:C.f"}).target == FunctionTarget(function="m:C.f")


def test_fields_are_documented_by_the_docstring_under_them_inherited_ones_included() -> None:
    class Parent(Spec):
        kept: int = 1
        """Stays."""
        replaced: int = 1
        """Goes."""

    class Child(Parent):
        replaced: int = 2
        class_: str = Field(default="", alias="class")
        """Written otherwise."""
        silent: int = 0

    assert field_docs(Child) == {"kept": "Stays.", "class": "Written otherwise."}
    assert Child.model_json_schema()["properties"]["class"]["description"] == "Written otherwise."
