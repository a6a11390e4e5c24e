"""`kappa copy`: between namespaces, and between registries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import kappa.gamma.choosing as choosing
from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.spec.manifest import read_manifest
from tests.gamma.breaking import BreakingRegistry
from tests.gamma.sealed import write_bundle

Kappa = Callable[..., Result]
TEST, LIVE = "test.example:50051", "https://live.example"


@pytest.fixture
def registries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, BreakingRegistry]]:
    """Return two registries by their addresses; none is configured."""
    services = {
        url: GammaService(open_storage((tmp_path / name).as_uri()), sqlite_url(tmp_path / f"{name}.db"))
        for name, url in (("test", TEST), ("live", LIVE))
    }
    breaking = {url: BreakingRegistry(service) for url, service in services.items()}
    monkeypatch.setattr(choosing, "connect", lambda url, settings, token: breaking[url])
    yield breaking
    for service in services.values():
        service.close()


@pytest.fixture
def stored(kappa_home: Path) -> str:
    """Put a bundle into the store of this machine and return its digest."""
    return read_manifest(put_local(kappa_home)).bundle_digest


def put_local(home: Path, version: str = "1", *, folder: str = "Iris", **options: Any) -> Path:
    return write_bundle(home / "repository" / folder / version, "Iris", version, {"Iris/m": b"m" * 9000}, **options)


def done(result: Result) -> str:
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_copy_in_another_namespace_has_the_same_digest(kappa: Kappa, kappa_home: Path, stored: str) -> None:
    result = kappa("copy", "Iris", "growth/")
    assert (done(result), result.stderr) == ("growth/Iris:1\n", "`growth/Iris:1` is there now.\n")
    assert read_manifest(kappa_home / "repository" / "@growth" / "Iris" / "1").bundle_digest == stored
    again = json.loads(done(kappa("copy", "Iris:1", "growth/Iris:1", "-o", "json")))
    assert (again["tag"], again["bundle_digest"], again["was_there"]) == ("growth/Iris:1", stored, True)
    assert done(kappa("verify", "growth/Iris:1"))


def test_a_copy_on_one_server_is_made_once(
    kappa: Kappa, registries: dict[str, BreakingRegistry], stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAPPA_GAMMA_SERVICE__URL", TEST)
    done(kappa("push", "Iris:1"))
    done(kappa("alias", "Iris:1", "staging"))
    assert json.loads(done(kappa("copy", "Iris:staging", "growth/", "-o", "json")))["bundle_digest"] == stored
    registries[TEST].bytes_written = 0
    assert kappa("copy", "Iris:staging", "growth/").stderr == "`growth/Iris:1` was there already.\n"
    assert registries[TEST].bytes_written == 0
    assert json.loads(done(kappa("get", "growth/Iris:1")))["version"] == "1"


def test_a_bundle_goes_from_one_registry_to_another(
    kappa: Kappa, registries: dict[str, BreakingRegistry], stored: str
) -> None:
    assert done(kappa("copy", "Iris:1", "default/", "--to", TEST)) == "Iris:1\n"
    live = json.loads(done(kappa("copy", "Iris:1", "team/", "--from", TEST, "--to", LIVE, "-o", "json")))
    assert (live["tag"], live["bundle_digest"], live["was_there"]) == ("team/Iris:1", stored, False)
    registries[LIVE].bytes_written = registries[TEST].bytes_read = 0
    again = kappa("copy", "Iris:1", "team/", "--from", TEST, "--to", LIVE)
    assert (done(again), again.stderr) == ("team/Iris:1\n", "`team/Iris:1` was there already.\n")
    assert (registries[LIVE].bytes_written, registries[TEST].bytes_read) == (0, 0)
    back = json.loads(done(kappa("copy", "team/Iris:1", "copied/", "--from", LIVE, "-o", "json")))
    assert Path(back["path"]).parts[-3:] == ("@copied", "Iris", "1")


def test_an_older_copy_does_not_become_the_latest(kappa: Kappa, kappa_home: Path, stored: str) -> None:
    put_local(kappa_home, "2", folder="@growth/Iris", created="2026-02-01T00:00:00Z")
    assert "`growth/Iris:latest` stays another version" in kappa("copy", "Iris:1", "growth/").stderr


def test_other_bytes_of_the_tag_are_refused(
    kappa: Kappa, registries: dict[str, BreakingRegistry], kappa_home: Path, stored: str
) -> None:
    put_local(kappa_home, folder="@growth/Iris", doc="Another.")
    here = kappa("copy", "Iris:1", "growth/")
    assert (here.exit_code, here.stdout) == (5, "")
    assert "`growth/Iris:1` is already in the store, and this bundle is not identical to it" in here.stderr
    done(kappa("copy", "growth/Iris:1", "default/", "--to", TEST))
    there = kappa("copy", "Iris:1", "default/", "--to", TEST)
    assert (there.exit_code, there.stdout, there.stderr.count("sha256:")) == (5, "", 2)
    assert read_manifest(kappa_home / "repository" / "@growth" / "Iris" / "1").bundle_digest != stored


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["Iris:1", "default/"], 2, "`Iris:1` would be copied onto itself: name another namespace, or another regis"),
        (["Iris:1", "growth/Iris:2"], 2, "`Iris:1` cannot become `growth/Iris:2`: its name and its version are under"),
        (["Iris:1", "growth/Wine"], 2, "Write `growth/Iris:1`, or `growth/` for the namespace."),
        (["Iris:1", "Growth/"], 2, "`Growth` is not a namespace"),
        (["Iris:1", "./growth"], 2, "`./growth` is a path, where the name of a bundle is wanted"),
        (["Iris:9", "growth/"], 4, "There is no bundle `Iris:9`"),
        (["Iris:1"], 2, "a namespace with a `/`, e.g. `growth/`."),
    ],
)
def test_what_cannot_be_copied(kappa: Kappa, stored: str, arguments: list[str], exit_code: int, message: str) -> None:
    result = kappa("copy", *arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert message in result.stderr


def test_a_registry_that_is_away_ends_it(kappa: Kappa, registries: dict[str, BreakingRegistry], stored: str) -> None:
    registries[LIVE].is_away = True
    result = kappa("copy", "Iris:1", "default/", "--to", LIVE)
    assert (result.exit_code, result.stdout) == (7, "")
    assert "does not answer" in result.stderr
