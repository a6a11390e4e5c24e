"""The kappafile as a document: its syntax, where each value stands, its problems and their words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.build.manifest.toml_syntax import parse_toml as parse_toml
    from kappa.build.manifest.yaml_syntax import parse_yaml as parse_yaml

_HOMES = {
    "parse_toml": "kappa.build.manifest.toml_syntax",
    "parse_yaml": "kappa.build.manifest.yaml_syntax",
}

__all__ = [
    "parse_toml",
    "parse_yaml",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
