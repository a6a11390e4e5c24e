"""Input and output adapters, one per file; each name is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.adapters.dataframe import DataframeInput as DataframeInput
    from kappa.adapters.dataframe import DataframeOutput as DataframeOutput
    from kappa.adapters.default import DefaultOutput as DefaultOutput
    from kappa.adapters.json import JsonInput as JsonInput
    from kappa.adapters.json import JsonOutput as JsonOutput

_HOMES = {
    "DataframeInput": "kappa.adapters.dataframe",
    "DataframeOutput": "kappa.adapters.dataframe",
    "DefaultOutput": "kappa.adapters.default",
    "JsonInput": "kappa.adapters.json",
    "JsonOutput": "kappa.adapters.json",
}

__all__ = ["DataframeInput", "DataframeOutput", "DefaultOutput", "JsonInput", "JsonOutput"]


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module `kappa.adapters` has no attribute `{name}`")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
