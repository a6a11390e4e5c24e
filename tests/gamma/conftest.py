"""A registry of bundles that hold nothing but a manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kappa.gamma.database import sqlite_url
from kappa.gamma.service import GammaService
from kappa.gamma.storage import DirectoryStorage
from kappa.spec.manifest import read_manifest

Stage = Callable[..., Path]
Put = Callable[..., Path]


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path / "repository")


@pytest.fixture
def open_service(storage: DirectoryStorage, tmp_path: Path) -> Callable[[], GammaService]:
    """Return a function that opens the registry anew, as another process would."""
    return lambda: GammaService(storage, sqlite_url(tmp_path / "storage.db"))


@pytest.fixture
def service(open_service: Callable[[], GammaService]) -> GammaService:
    return open_service()


@pytest.fixture
def put(service: GammaService, stage_bundle: Stage) -> Put:
    """Return a function that puts a bundle into the registry: name, version, and the options of `stage_bundle`."""

    def put_bundle(name: str, version: str, **options: object) -> Path:
        with service.staging() as staging:
            staged = stage_bundle(staging / "bundle", name, version, **options)
            return service.put(staged, read_manifest(staged))

    return put_bundle
