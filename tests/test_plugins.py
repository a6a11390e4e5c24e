"""Plugins are found by name: Kappa's own first, then those of installed distributions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kappa.adapters import JsonInput
from kappa.errors import MissingDependencyError, PluginNotFoundError
from kappa.plugins import ARTIFACTS, INPUT_ADAPTERS, OUTPUT_ADAPTERS, PluginRegistry
from kappa.spec.service import ApiSpec


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PluginRegistry:
    """Install a distribution with good and bad plugins and return a registry that has not loaded any."""
    (tmp_path / "acme_plugins.py").write_text(
        "from typing import Literal\n"
        "from kappa.adapters import JsonInput\n"
        "class Parquet(JsonInput):\n    type: Literal['acme.parquet'] = 'acme.parquet'\n"
        "NOTHING = 5\n",
        encoding="utf-8",
    )
    (tmp_path / "acme_broken.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "acme_needy.py").write_text("import surely_not_installed\n", encoding="utf-8")
    metadata = tmp_path / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(
        "[kappa.input_adapters]\n"
        "acme.parquet = acme_plugins:Parquet\n"
        "acme.nothing = acme_plugins:NOTHING\n"
        "acme.gone = acme_plugins:Gone\n"
        "acme.broken = acme_broken:Broken\n"
        "acme.needy = acme_needy:Needy\n"
        "json = acme_plugins:Parquet\n"
        "parquet = acme_plugins:Parquet\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_plugins", raising=False)
    return PluginRegistry(INPUT_ADAPTERS.kind, group=INPUT_ADAPTERS.group, builtins=INPUT_ADAPTERS.builtins)


@pytest.mark.parametrize("registry", [INPUT_ADAPTERS, OUTPUT_ADAPTERS, ARTIFACTS], ids=lambda registry: registry.kind)
def test_every_built_in_name_leads_to_the_class_of_that_type(registry: PluginRegistry) -> None:
    assert list(registry.builtins) == sorted(registry.builtins)
    assert {name: registry.load(name).model_fields["type"].default for name in registry.builtins} == {
        name: name for name in registry.builtins
    }


def test_a_plugin_of_another_distribution_is_found_by_its_dotted_name(acme: PluginRegistry) -> None:
    assert acme.load("acme.parquet").__name__ == "Parquet"
    assert acme.names() == [
        *sorted(INPUT_ADAPTERS.builtins),
        *("acme.broken", "acme.gone", "acme.needy", "acme.nothing", "acme.parquet"),
    ]


def test_nobody_stands_in_for_a_name_of_kappas(acme: PluginRegistry) -> None:
    assert acme.load("json") is JsonInput
    with pytest.raises(
        PluginNotFoundError, match=r"There is no input adapter `parquet`. Did you mean `acme.parquet`\?"
    ):
        acme.load("parquet")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("jsonn", PluginNotFoundError, "There is no input adapter `jsonn`. Did you mean `json`?"),
        ("acme.broken", PluginNotFoundError, "The input adapter `acme.broken` cannot be loaded: ZeroDivisionError: "),
        ("acme.gone", PluginNotFoundError, "The input adapter `acme.gone` cannot be loaded: AttributeError: "),
        (
            "acme.needy",
            MissingDependencyError,
            "The input adapter `acme.needy` needs `surely_not_installed`, which is ",
        ),
    ],
)
def test_a_plugin_that_cannot_be_had(acme: PluginRegistry, name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        acme.load(name)
    assert str(raised.value)[: len(message)] == message


def test_an_unlike_name_is_answered_with_all_that_are_known() -> None:
    with pytest.raises(PluginNotFoundError) as raised:
        OUTPUT_ADAPTERS.load("zzz")
    known = "`dataframe`, `default`, `file`, `image`, `json`, `ndarray`, `series`, `tf_tensor`"
    assert str(raised.value) == f"There is no output adapter `zzz`. Known are {known}."


def test_a_plugin_that_is_no_adapter_is_refused_where_it_is_used(acme: PluginRegistry) -> None:
    with pytest.raises(ValueError, match=r"`acme\.nothing` is not an input adapter: it must be a `InputAdapter`"):
        ApiSpec.model_validate({"name": "a", "target": {"function": "m:f"}, "input": "acme.nothing"})
