"""Models at hand: packed in this process or loaded from a bundle, with what is known about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kappa.errors import ConfigurationError
from kappa.spec.freezing import FrozenDict, freeze

__all__ = ["Artifact", "Artifacts", "Model", "frozen_metadata"]

Model = Any  # whatever the user's framework calls a model


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model at hand: its native object and what is known about it."""

    value: Model
    metadata: Mapping[str, Any] = field(default_factory=FrozenDict)
    """Deeply immutable; numbers keep their type."""


class Artifacts(Mapping[str, Artifact]):
    """The models of one service: ``artifacts.model`` is the native object, ``artifacts["model"]`` the `Artifact`."""

    _values: dict[str, Artifact]

    def __init__(self, values: Mapping[str, Artifact] | None = None) -> None:
        self.__dict__["_values"] = dict(values or {})

    def __getitem__(self, name: str) -> Artifact:
        return self._values[name]

    def __getattr__(self, name: str) -> Model:
        try:
            return self.__dict__["_values"][name].value
        except KeyError:
            values = self.__dict__.get("_values", {})
            names = f"Packed are {', '.join(f'`{packed}`' for packed in values)}." if values else "None is packed yet."
            raise AttributeError(
                f'There is no artifact `{name}` here. {names} `service.pack("{name}", …)` gives one its model.'
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f'artifacts are not assigned to: `service.pack("{name}", …)` gives one its model')

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._values]

    def __repr__(self) -> str:
        return f"<artifacts: {', '.join(self._values) or 'none'}>"


def frozen_metadata(artifact: str, metadata: Mapping[str, Any] | None) -> Any:
    """Return an artifact's metadata deeply immutable; raises `ConfigurationError` for what JSON cannot hold."""
    try:
        return freeze(metadata or {})
    except ValueError as exc:
        raise ConfigurationError(f"The metadata of `{artifact}`: {exc}.") from None
