"""Gamma from Python: what the commands do, synchronously and for asyncio, on this machine and on a server."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kappa
import kappa.gamma.choosing as choosing
from kappa.errors import BundleNotFoundError, ConfigurationError, GammaError, UsageError
from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.programs import AsyncGammaClient, GammaClient
from kappa.gamma.remote_store import RemoteStore
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.services.bundle import open_bundle
from kappa.tag import Tag
from tests.gamma.sealed import write_bundle

CODE = b"def predict(value):\n    return value + 1\n"


@pytest.fixture(autouse=True)
def modules_of_bundles_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield
    for name in [name for name in sys.modules if name == "handlers" or name.startswith("_kappa_bundle_")]:
        del sys.modules[name]


@pytest.fixture(params=["local", "remote"])
def team(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GammaClient]:
    """Return a client of this machine's store, and of a registry elsewhere."""
    if request.param == "local":
        yield kappa.gamma.client()
        return
    service = GammaService(open_storage((tmp_path / "team").as_uri()), sqlite_url(tmp_path / "team.db"))
    monkeypatch.setattr(choosing, "connect", lambda url, settings, token: service)
    yield kappa.gamma.client("gamma.test:50051")
    service.close()


@pytest.fixture
def iris(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a version of `Iris` outside of any store."""

    def write(version: str, **options: Any) -> Path:
        files = {"Iris/handlers.py": CODE.replace(b"1", version.encode())}
        return write_bundle(tmp_path / f"iris-{version}", "Iris", version, files, **options)

    return write


def test_bundles_are_pushed_found_and_fetched(team: GammaClient, iris: Callable[..., Path], tmp_path: Path) -> None:
    team.push(iris("1", labels={"stage": "test"}))
    record = team.push(iris("2", created="2026-02-01T00:00:00Z"))
    assert record.tag == Tag("Iris", "2")
    assert team.push(tmp_path / "iris-2").bundle_digest == record.bundle_digest
    assert [found.tag.version for found in team.list_bundles()] == ["2", "1"]
    assert [found.tag.version for found in team.list_bundles("Iris", labels="stage=test")] == ["1"]
    assert [found.tag.version for found in team.list_bundles(ascending=True, limit=1)] == ["1"]
    assert len(team.list_bundles(requires="apple<2")) == 2
    assert team.get("Iris").tag.version == "2"
    assert team.get(f"Iris@{record.bundle_digest}").tag.version == "2"
    open_bundle(team.fetch("Iris:1")).verify()
    assert team.retrieve("Iris:1", tmp_path / "out") == tmp_path / "out"
    with pytest.raises(BundleNotFoundError):
        team.get("Iris:3")


def test_labels_aliases_and_deletion(team: GammaClient, iris: Callable[..., Path]) -> None:
    for version in ("1", "2"):
        team.push(iris(version))
    assert dict(team.set_labels("Iris:1", {"stage": "live"}).labels) == {"stage": "live"}
    assert dict(team.set_labels("Iris:1", {"stage": None}).labels) == {}
    with pytest.raises(UsageError, match="cannot be the value of a label"):
        team.set_labels("Iris:1", {"stage": "a b"})
    team.set_alias("Iris:1", "production")
    team.set_alias("Iris:2", "production", expect="1")
    with pytest.raises(GammaError):
        team.set_alias("Iris:1", "production", expect="1")
    assert [(alias.alias, alias.version) for alias in team.aliases("Iris")] == [("production", "2")]
    assert [change.version for change in team.alias_history("Iris:production")] == ["2", "1"]
    assert team.roll_back_alias("Iris", "production", dry_run=True).tag == Tag("Iris", "1")
    assert [team.roll_back_alias("Iris", "production").tag.version for _ in range(2)] == ["1", "2"]
    with pytest.raises(GammaError):
        team.delete("Iris:2")
    with pytest.raises(UsageError, match="names every version"):
        team.delete("Iris")
    team.delete_alias("Iris:production")
    assert team.delete("Iris:2", "Iris:1") == [Tag("Iris", "2"), Tag("Iris", "1")]
    assert team.list_bundles() == []


def test_old_versions_are_pruned(team: GammaClient, iris: Callable[..., Path]) -> None:
    for version in ("1", "2", "3"):
        team.push(iris(version, created=f"2026-0{version}-01T00:00:00Z"))
    team.set_alias("Iris:1", "production")
    planned = team.prune("Iris", keep=1)
    assert (planned.tags, len(team.list_bundles())) == ([Tag("Iris", "2")], 3)
    assert team.prune(older_than=timedelta(days=1), labels="stage=test", dry_run=False).tags == []
    with pytest.raises(UsageError, match="`Iris:1` is more than the name of a service"):
        team.prune("Iris:1", keep=1)
    pruned = team.prune(older_than=timedelta(days=1), dry_run=False)
    assert [(str(judged.record.tag), judged.reason) for judged in pruned.superfluous] == [
        ("Iris:2", "built more than 1 day ago")
    ]
    assert [record.tag.version for record in team.list_bundles()] == ["3", "1"]


def test_namespaces_are_listed_apart_and_together(team: GammaClient, iris: Callable[..., Path]) -> None:
    team.push(iris("1"))
    replace(team, namespace="team-b").push(iris("2", created="2026-02-01T00:00:00Z"))
    assert [str(record.tag) for record in team.list_bundles()] == ["Iris:1"]
    every = ["team-b/Iris:2", "Iris:1"]
    assert [str(record.tag) for record in team.list_bundles(all_namespaces=True)] == every
    assert [str(record.tag) for record in team.list_bundles("Iris", all_namespaces=True, limit=1)] == every[:1]


def test_the_tag_of_a_deleted_bundle_is_freed_for_this_machine_alone(
    team: GammaClient, iris: Callable[..., Path]
) -> None:
    team.push(iris("1"))
    team.delete("Iris:1")
    if isinstance(team.store, RemoteStore):
        with pytest.raises(UsageError, match=r"frees no tag for its clients.*--forget --db-url"):
            team.forget("Iris:1")
    else:
        assert team.forget("Iris:1", "Iris:2") == [Tag("Iris", "1")]
        assert team.forget("Iris:1") == []


def test_comparisons_and_archives(team: GammaClient, iris: Callable[..., Path], tmp_path: Path) -> None:
    for version in ("1", "2"):
        team.push(iris(version))
    difference = team.compare("Iris:1", "Iris:2")
    assert list(difference.code) == ["Iris/handlers.py"]
    digest = team.get("Iris:1").bundle_digest
    file = team.export("Iris:1", tmp_path / "iris.kappa")
    team.delete("Iris:1")
    assert team.import_archive(file).bundle_digest == digest
    garbage = team.collect_garbage(grace=timedelta(days=1))
    assert (garbage.blobs, garbage.is_removed) == (0, False)


def test_a_bundle_is_loaded_by_its_alias(team: GammaClient, iris: Callable[..., Path]) -> None:
    team.push(iris("1"))
    team.set_alias("Iris:1", "production")
    service: Any = team.load("Iris:production")
    assert service.predict(4) == 5


def test_load_takes_tags_and_folders(iris: Callable[..., Path], tmp_path: Path) -> None:
    local = kappa.gamma.client(local=True)
    local.push(iris("1"))
    local.set_alias("Iris:1", "production")
    for name in ("Iris", "Iris:1", "Iris:production", str(tmp_path / "iris-1"), tmp_path / "iris-1"):
        service: Any = kappa.load(name)
        assert service.predict(4) == 5
    with pytest.raises(BundleNotFoundError, match="There is no bundle `Iris:2`"):
        kappa.load("Iris:2")


def test_namespaces_are_those_of_the_client(team: GammaClient, iris: Callable[..., Path]) -> None:
    growth = GammaClient(team.store, "growth", team.environ)
    assert growth.push(iris("1")).tag == Tag("Iris", "1", "growth")
    assert (team.list_bundles(), len(growth.list_bundles())) == ([], 1)
    assert team.get("growth/Iris:1").tag == growth.get("Iris").tag


def test_the_same_for_asyncio(iris: Callable[..., Path]) -> None:
    team = kappa.gamma.async_client(local=True)

    async def use() -> list[str]:
        await asyncio.gather(*(team.push(iris(version)) for version in ("1", "2", "3")))
        return [record.tag.version for record in await team.list_bundles("Iris", ascending=True)]

    assert sorted(asyncio.run(use())) == ["1", "2", "3"]


def test_both_clients_have_the_same_methods() -> None:
    def methods(cls: type) -> dict[str, list[str]]:
        functions = inspect.getmembers(cls, inspect.isfunction)
        return {name: list(inspect.signature(f).parameters) for name, f in functions if not name.startswith("_")}

    assert methods(GammaClient) == methods(AsyncGammaClient)


def test_a_block_closes_the_connections_of_a_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    service = GammaService(open_storage((tmp_path / "team").as_uri()), sqlite_url(tmp_path / "team.db"))
    closed: list[str] = []
    monkeypatch.setattr(service, "close", lambda: closed.append("connections"))
    monkeypatch.setattr(choosing, "connect", lambda url, settings, token: service)
    with kappa.gamma.client("gamma.test:50051") as client:
        assert client.list_bundles() == []
        assert closed == []
    assert closed == ["connections"]

    async def ask() -> None:
        async with kappa.gamma.async_client("gamma.test:50051") as client:
            assert await client.list_bundles() == []

    asyncio.run(ask())
    assert closed == ["connections"] * 2


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"url": "nowhere"}, ConfigurationError),
        ({"url": "a:1", "local": True}, UsageError),
        ({"namespace": "Bad Name"}, ConfigurationError),
    ],
)
def test_arguments_that_do_not_fit(arguments: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        kappa.gamma.client(**arguments)
