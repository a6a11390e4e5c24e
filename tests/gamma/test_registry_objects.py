"""The registry in this process: the contract over an object store, filled by uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from tests.gamma.registry_contract import *  # noqa: F403 - the tests
from tests.gamma.registry_contract import Push, pushing_to


@pytest.fixture
def registry(database_url: str, tmp_path: Path) -> Iterator[GammaService]:
    storage = open_storage("memory://", environ={"KAPPA_HOME": str(tmp_path / "home")})
    service = GammaService(storage, database_url)
    yield service
    service.close()


@pytest.fixture
def push(registry: GammaService) -> Push:
    return pushing_to(registry)
