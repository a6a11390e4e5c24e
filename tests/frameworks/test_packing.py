"""Which objects may be packed as models of a type, told by the names of their classes."""

from __future__ import annotations

from typing import Any

import pytest

from kappa.errors import ConfigurationError
from kappa.frameworks.json import JSONArtifact
from kappa.frameworks.packing import check_packed, is_instance_of


def of_package(package: str, name: str, *bases: type) -> Any:
    """Return an instance of a class that says it is of a package."""
    return type(name, bases, {"__module__": package})()


def test_an_object_is_of_the_classes_that_its_own_derives_from() -> None:
    base = of_package("trees.core", "Booster")
    own = of_package("handlers", "Own", type(base))
    assert is_instance_of(base, "forest.Booster", "trees.Booster")
    assert is_instance_of(own, "trees.Booster")
    assert not is_instance_of(base, "trees.Other", "core.Booster", "Booster")


def test_an_object_of_no_class_that_a_type_keeps_is_refused_by_name() -> None:
    artifact = JSONArtifact("model")
    check_packed(artifact, of_package("trees.core", "Booster"), "trees.Booster", "trees.Model")
    with pytest.raises(ConfigurationError) as raised:
        check_packed(artifact, [1], "trees.Booster", "trees.Model")
    assert str(raised.value) == (
        "The artifact `model` was given a `list`, and its type `json` keeps `trees.Booster` or `trees.Model`."
    )
