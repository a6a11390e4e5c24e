"""The registry in this process: the contract over directories, beside SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from kappa.gamma.local_store import LocalStore
from kappa.gamma.service.gamma_service import GammaService
from kappa.spec.manifest import read_manifest
from kappa.spec.store import BundleRecord
from kappa.tag import BundleReference, Tag
from tests.gamma.registry_contract import *  # noqa: F403 - the tests
from tests.gamma.registry_contract import LOCK, Push, lock_of

Stage = Callable[..., Path]


@pytest.fixture
def registry(store: LocalStore) -> GammaService:
    return store.registry


@pytest.fixture
def push(store: LocalStore, stage_bundle: Stage) -> Push:
    def push_bundle(
        tag: str,
        *,
        created: str = "2026-01-01T00:00:00Z",
        content: str = "a",
        labels: Mapping[str, str] | None = None,
        packages: Sequence[tuple[str, str]] = LOCK,
    ) -> BundleRecord:
        name = Tag.parse(tag)
        digest = hashlib.sha256(f"{name.name} {content}".encode()).hexdigest()
        with store.staging() as staging:
            staged = stage_bundle(
                staging / "bundle", name.name, name.version, created=created, digest=digest, labels=labels
            )
            (staged / "requirements.txt").write_text(lock_of(packages), encoding="utf-8")
            store.put(staged, read_manifest(staged), namespace=name.namespace)
        return store.resolve(BundleReference(name.name, name.version, namespace=name.namespace))

    return push_bundle
