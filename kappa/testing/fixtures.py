"""Fixtures for pytest, there wherever Kappa is installed: ``def test_it(kappa_client): …`` asks the project itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kappa import testing

if TYPE_CHECKING:
    from kappa.bento import BentoService
    from kappa.testing.in_process import Client

__all__ = ["kappa_client", "kappa_target"]


@pytest.fixture(scope="session")
def kappa_target(pytestconfig: pytest.Config) -> str | Path | BentoService:
    """What `kappa_client` asks: the kappafile at pytest's root; override it with a path, a tag or an instance."""
    return pytestconfig.rootpath


@pytest.fixture(scope="session")
def kappa_client(kappa_target: str | Path | BentoService) -> Iterator[Client]:
    """Ask a service in this process, loaded once for all tests: `kappa.testing.client`."""
    with testing.client(kappa_target) as asking:
        yield asking
