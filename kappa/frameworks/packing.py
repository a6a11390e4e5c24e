"""Check of objects that are packed: by the names of their classes, so that nothing is imported."""

from __future__ import annotations

from typing import Any

from kappa.errors import ConfigurationError
from kappa.spec.contracts import ArtifactPlugin
from kappa.wording import one_of

__all__ = ["check_packed", "is_instance_of"]


def is_instance_of(model: Any, *classes: str) -> bool:
    """Return whether an object is of one of ``classes``, each written as a package and a name: `xgboost.Booster`."""
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(model).__mro__}
    return not kinds.isdisjoint(classes)


def check_packed(artifact: ArtifactPlugin, model: Any, *classes: str) -> None:
    """Raise `ConfigurationError` for an object that is of none of the ``classes`` that a type keeps."""
    if not is_instance_of(model, *classes):
        listed = one_of(f"`{name}`" for name in classes)
        kind = f"{type(model).__module__}.{type(model).__qualname__}".removeprefix("builtins.")
        raise ConfigurationError(
            f"The artifact `{artifact.name}` was given a `{kind}`, and its type `{artifact.type}` keeps {listed}."
        )
