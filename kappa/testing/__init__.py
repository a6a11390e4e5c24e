"""For the tests of services: ask one over HTTP without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kappa.testing.in_process import Client as Client
    from kappa.testing.in_process import client as client

__all__ = ["Client", "client"]


def __getattr__(name: str) -> Any:
    """Import the application when it is asked for: pytest reads the fixtures beside it wherever Kappa is installed."""
    if name not in __all__:
        raise AttributeError(f"module `kappa.testing` has no attribute `{name}`")
    from kappa.testing import in_process

    return getattr(in_process, name)
