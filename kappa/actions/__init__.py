"""What users ask for, each a plain function that joins the sides: building, storing, serving, making images, testing.

Commands, notebooks and tests call these as ``actions.build_project(…)``; nothing here prints or reads arguments. The
module of an action, and with it the sides that it joins, is imported when the action is first used: a bundle runs where
the packages of the build side are not installed, and help is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.actions.building import save_service as save_service
    from kappa.actions.dev_server import start_dev_server as start_dev_server
    from kappa.actions.images import containerize as containerize

_HOMES = {
    "containerize": "kappa.actions.images",
    "save_service": "kappa.actions.building",
    "start_dev_server": "kappa.actions.dev_server",
}

__all__ = ["containerize", "save_service", "start_dev_server"]


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module `kappa.actions` has no attribute `{name}`")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
