"""The registry in this process: the contract over an object store, filled by uploads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.spec.store import BundleRecord
from kappa.tag import Tag
from tests.gamma import sealed
from tests.gamma.registry_contract import *  # noqa: F403 - the tests
from tests.gamma.registry_contract import LOCK, Push


@pytest.fixture
def registry(database_url: str, tmp_path: Path) -> Iterator[GammaService]:
    storage = open_storage("memory://", environ={"KAPPA_HOME": str(tmp_path / "home")})
    service = GammaService(storage, database_url)
    yield service
    service.close()


@pytest.fixture
def push(registry: GammaService) -> Push:
    def push_bundle(
        tag: str,
        *,
        created: str = "2026-01-01T00:00:00Z",
        content: str = "a",
        labels: Mapping[str, str] | None = None,
        packages: Sequence[tuple[str, str]] = LOCK,
    ) -> BundleRecord:
        name = Tag.parse(tag)
        lines = (f"{package} @ {pin}\n" if "/" in pin else f"{package}=={pin}\n" for package, pin in packages)
        bundle = sealed.seal(
            name.version,
            {"content.txt": content.encode()},
            name=name.name,
            created=created,
            labels=labels,
            lock="".join(lines).encode(),
        )
        return sealed.push(registry, bundle, namespace=name.namespace).record

    return push_bundle
