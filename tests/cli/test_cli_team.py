"""The commands with a Gamma server configured: everything goes there, and comes from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import kappa.gamma.choosing as choosing
from kappa.actions.targets import find_bundle, tags_in_store, verified_bundle
from kappa.errors import GammaError
from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.log import listening
from kappa.services.bundle import open_bundle
from kappa.spec.manifest import read_manifest
from tests.gamma.breaking import BreakingRegistry
from tests.gamma.sealed import write_bundle

Kappa = Callable[..., Result]
Move = Callable[[str], Path]


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BreakingRegistry]:
    """Configure a registry as the team's server; it may be away."""
    service = GammaService(open_storage((tmp_path / "team").as_uri()), sqlite_url(tmp_path / "team.db"))
    registry = BreakingRegistry(service)
    monkeypatch.setattr(choosing, "connect", lambda url, settings, token: registry)
    monkeypatch.setenv("KAPPA_GAMMA_SERVICE__URL", "gamma.test:50051")
    yield registry
    service.close()


@pytest.fixture
def move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Move:
    """Return a function that goes to another machine: it has a home of its own, which is returned."""

    def to(name: str) -> Path:
        home = tmp_path / name / "kappa"
        monkeypatch.setenv("KAPPA_HOME", str(home))
        return home

    return to


def put_local(home: Path, version: str, **options: Any) -> Path:
    return write_bundle(home / "repository" / "Iris" / version, "Iris", version, {"Iris/m": b"m" * 9000}, **options)


def done(result: Result) -> str:
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_one_pushes_and_another_uses(kappa: Kappa, team: BreakingRegistry, move: Move, tmp_path: Path) -> None:
    alice = move("alice")
    stored = put_local(alice, "1", labels={"stage": "test"})
    result = kappa("push", "Iris:1")
    assert (done(result), result.stderr) == ("Iris:1\n", "`Iris:1` is there now.\n")
    assert kappa("push", "Iris:1").stderr == "`Iris:1` was there already.\n"

    bob = move("bob")
    assert [line.split()[0] for line in done(kappa("list")).splitlines()] == ["MODEL_VERSION", "Iris:1"]
    record = json.loads(done(kappa("get", "Iris:1")))
    assert (record["version"], record["uri"]["type"]) == ("1", "GAMMA")
    assert not (bob / "cache").exists()
    location = Path(done(kappa("get", "Iris:latest", "--print-location", "--quiet")).strip())
    assert location.parent == bob / "cache"
    assert open_bundle(location).digest == read_manifest(stored).bundle_digest
    assert "version: '1'" in done(kappa("info", "Iris"))
    assert done(kappa("retrieve", "Iris", "--target_dir", tmp_path / "out")) == f"{tmp_path / 'out'}\n"
    open_bundle(tmp_path / "out").verify()
    assert done(kappa("list", "--local")).splitlines()[1:] == []


def test_a_pulled_bundle_is_there_without_the_server(kappa: Kappa, team: BreakingRegistry, move: Move) -> None:
    put_local(move("alice"), "1")
    done(kappa("push", "Iris:1"))
    bob = move("bob")
    assert done(kappa("pull", "Iris")) == f"{bob / 'repository' / 'Iris' / '1'}\n"
    assert json.loads(done(kappa("pull", "Iris:1", "-o", "json")))[0]["was_there"] is True
    team.is_away = True
    assert done(kappa("get", "Iris:1", "--print-location", "--local")) == f"{bob / 'repository' / 'Iris' / '1'}\n"


def test_labels_aliases_and_deletion_go_to_the_server(kappa: Kappa, team: BreakingRegistry, move: Move) -> None:
    alice = move("alice")
    put_local(alice, "1")
    put_local(alice, "2", created="2026-02-01T00:00:00Z")
    done(kappa("push", "Iris:1", "Iris:2"))
    done(kappa("label", "Iris:1", "stage=live"))
    done(kappa("alias", "Iris:1", "production"))
    done(kappa("alias", "Iris:2", "production"))
    move("bob")
    assert kappa("rollback", "Iris", "production").stderr == "`Iris:production` names 1 again; it named 2.\n"
    assert [line.split()[0] for line in done(kappa("list", "--labels", "stage=live")).splitlines()[1:]] == ["Iris:1"]
    assert json.loads(done(kappa("get", "Iris:production")))["version"] == "1"
    assert done(kappa("prune", "Iris", "--older-than", "1d", "--yes")) == ""  # an alias names one, `latest` the other
    assert done(kappa("delete", "Iris:2", "--yes")) == "Iris:2\n"
    assert kappa("get", "Iris:2").exit_code == 4
    move("alice")
    assert done(kappa("get", "Iris:2", "--print-location", "--local"))  # her own store is her own


@pytest.mark.parametrize(
    "arguments",
    [["get", "Iris:1"], ["get", "Iris"], ["label", "Iris:1", "a=b"], ["alias", "Iris:1", "live"], ["delete", "Iris:1"]],
    ids=" ".join,
)
def test_what_this_machine_alone_has_is_said_to_be_here(
    kappa: Kappa, team: BreakingRegistry, move: Move, arguments: list[str]
) -> None:
    put_local(move("alice"), "1")
    result = kappa(*arguments)
    assert result.exit_code == 4
    assert "The store of this machine has it: `--local` uses that, and `kappa push Iris:" in result.stderr


@pytest.mark.parametrize("command", ["push", "pull"])
def test_what_moves_between_two_stores_needs_both(
    kappa: Kappa, team: BreakingRegistry, move: Move, command: str
) -> None:
    put_local(move("alice"), "1")
    result = kappa(command, "Iris:1", "--local")
    assert result.exit_code == 2
    assert "This needs a Gamma server, and `--local`" in result.stderr


def test_a_tag_is_freed_on_the_host_of_the_server_alone(
    kappa: Kappa, team: BreakingRegistry, move: Move, tmp_path: Path
) -> None:
    put_local(move("alice"), "1")
    done(kappa("push", "Iris:1"))
    done(kappa("delete", "Iris:1", "--yes"))
    put_local(move("bob"), "1", doc="other bytes")
    result = kappa("push", "Iris:1")
    assert (result.exit_code != 0, "its tag stays reserved for it" in result.stderr) == (True, True)
    result = kappa("delete", "Iris:1", "--forget", "--yes")
    assert (result.exit_code, "The Gamma server `gamma.test:50051` frees no tag for its clients." in result.stderr) == (
        2,
        True,
    )
    assert done(kappa("delete", "Iris:1", "--forget", "--yes", "--db-url", sqlite_url(tmp_path / "team.db"))) == (
        "Iris:1\n"
    )
    done(kappa("push", "Iris:1"))


def test_an_empty_server_does_not_say_where_it_keeps_bundles(
    kappa: Kappa, team: BreakingRegistry, move: Move, tmp_path: Path
) -> None:
    move("alice")
    result = kappa("get", "Iris:1")
    assert "There is no bundle `Iris:1`: the store is empty." in result.stderr
    assert str(tmp_path) not in result.stderr


def test_an_older_bundle_does_not_become_the_latest_and_the_push_says_so(
    kappa: Kappa, team: BreakingRegistry, move: Move
) -> None:
    alice = move("alice")
    put_local(alice, "2", created="2026-02-01T00:00:00Z")
    put_local(alice, "1", created="2026-01-01T00:00:00Z")
    done(kappa("push", "Iris:2"))
    assert "`Iris:latest` stays another version, which was built later." in kappa("push", "Iris:1").stderr


def test_a_bundle_of_this_machine_alone_needs_local(kappa: Kappa, team: BreakingRegistry, move: Move) -> None:
    put_local(move("alice"), "1")
    result = kappa("info", "Iris:1")
    assert result.exit_code == 4
    assert "The store of this machine has it: `--local` uses that, and `kappa push Iris:1` sends it" in result.stderr
    assert done(kappa("info", "Iris:1", "--local"))


def test_other_bytes_of_a_tag_are_refused(kappa: Kappa, team: BreakingRegistry, move: Move) -> None:
    put_local(move("alice"), "1")
    done(kappa("push", "Iris:1"))
    put_local(move("bob"), "1", doc="Another.")
    result = kappa("push", "Iris:1")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.count("sha256:") == 2


def test_a_whole_store_moves_to_the_server(kappa: Kappa, team: BreakingRegistry, move: Move) -> None:
    alice = move("alice")
    put_local(alice, "2", created="2026-02-01T00:00:00Z")
    put_local(alice, "1", created="2026-01-01T00:00:00Z")
    write_bundle(alice / "repository" / "@growth" / "Wine" / "1", "Wine", "1", {"Wine/m": b"w"})
    result = kappa("push", "--all")
    assert sorted(done(result).split()) == ["Iris:1", "Iris:2", "growth/Wine:1"]
    assert result.stdout.index("Iris:1") < result.stdout.index("Iris:2")  # the oldest first
    assert result.stderr.splitlines()[-1] == "3 bundles: 3 are there now, 0 were there already, 0 failed."
    assert json.loads(done(kappa("get", "growth/Wine:1")))["version"] == "1"
    team.bytes_written = 0
    again = kappa("push", "--all", "--namespace", "default")
    assert done(again).split() == ["Iris:1", "Iris:2"]
    assert again.stderr.splitlines()[-1] == "2 bundles: 0 are there now, 2 were there already, 0 failed."
    assert team.bytes_written == 0
    assert [moved["was_there"] for moved in json.loads(done(kappa("push", "--all", "-o", "json")))] == [True] * 3


def test_one_bundle_that_cannot_be_sent_does_not_stop_the_others(
    kappa: Kappa, team: BreakingRegistry, move: Move
) -> None:
    put_local(move("alice"), "1")
    done(kappa("push", "Iris:1"))
    bob = move("bob")
    put_local(bob, "1", doc="Another.")
    put_local(bob, "2", created="2026-02-01T00:00:00Z")
    result = kappa("push", "--all")
    assert (result.exit_code, result.stdout) == (5, "Iris:2\n")
    assert result.stderr.startswith("error: `Iris:1`: ")
    assert result.stderr.splitlines()[-1] == "2 bundles: 1 is there now, 0 were there already, 1 failed."
    result = kappa("push", "--all", "-o", "json")
    first, second = json.loads(result.stdout)
    assert (result.exit_code, first["tag"], second["was_there"], second["problem"]) == (5, "Iris:1", True, None)
    assert first["problem"].count("sha256:") == 2


def test_a_server_that_goes_away_ends_it_and_the_next_call_goes_on(
    kappa: Kappa, team: BreakingRegistry, move: Move
) -> None:
    alice = move("alice")
    for version in ("1", "2"):
        put_local(alice, version, created=f"2026-0{version}-01T00:00:00Z")
    done(kappa("push", "Iris:1"))
    team.is_away = True
    result = kappa("push", "--all")
    assert (result.exit_code, result.stdout, result.stderr.count("does not answer")) == (7, "", 1)
    assert result.stderr.splitlines()[-1].endswith("Give the command again to go on.")
    team.is_away = False
    assert done(kappa("push", "--all")).split() == ["Iris:1", "Iris:2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing is named: give a bundle, or `--all`."),
        (["Iris:1", "--all"], "`--all` means every bundle of this machine: name none beside it."),
    ],
)
def test_what_cannot_be_pushed(kappa: Kappa, team: BreakingRegistry, arguments: list[str], message: str) -> None:
    result = kappa("push", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_namespaces_keep_teams_apart(kappa: Kappa, team: BreakingRegistry, move: Move) -> None:
    alice = move("alice")
    put_local(alice, "1")
    assert done(kappa("push", alice / "repository" / "Iris" / "1", "--namespace", "growth")) == "growth/Iris:1\n"
    assert kappa("get", "Iris:1").exit_code == 4
    assert json.loads(done(kappa("get", "growth/Iris:1")))["version"] == "1"
    assert done(kappa("list", "--namespace", "growth")).splitlines()[1].startswith("growth/Iris:1 ")


def test_an_archive_is_imported_into_the_server(
    kappa: Kappa, team: BreakingRegistry, move: Move, tmp_path: Path
) -> None:
    put_local(move("alice"), "1")
    done(kappa("export", "Iris:1", "--local", "--output", tmp_path / "iris.kappa"))
    done(kappa("import", tmp_path / "iris.kappa"))
    move("bob")
    assert json.loads(done(kappa("get", "Iris:1")))["version"] == "1"


def test_a_difference_is_seen_without_fetching_the_models(kappa: Kappa, team: BreakingRegistry, move: Move) -> None:
    alice = move("alice")
    write_bundle(alice / "repository" / "Iris" / "1", "Iris", "1", {"Iris/a.py": b"a = 1\n", "Iris/m": b"m" * 10**6})
    write_bundle(alice / "repository" / "Iris" / "2", "Iris", "2", {"Iris/a.py": b"a = 2\n", "Iris/m": b"n" * 10**6})
    done(kappa("push", "Iris:1", "Iris:2"))
    bob = move("bob")
    team.bytes_read = 0
    assert "-a = 1\n+a = 2" in done(kappa("diff", "Iris:1", "Iris:2"))
    assert team.bytes_read < 50_000
    assert not list((bob / "cache").glob("sha256-*"))


# -- away


def test_a_server_that_is_away_is_an_error_of_its_own(kappa: Kappa, team: BreakingRegistry, move: Move) -> None:
    put_local(move("alice"), "1")
    done(kappa("push", "Iris:1"))
    done(kappa("get", "Iris:1", "--print-location"))
    team.is_away = True
    for arguments in (["list"], ["get", "Iris"], ["get", "Iris:1"], ["info", "Iris"], ["push", "Iris:1"], ["gc"]):
        result = kappa(*arguments)
        assert (result.exit_code, result.stdout) == (7, ""), arguments
        assert "does not answer" in result.stderr
    cached = kappa("get", "Iris:1", "--print-location")
    assert done(cached)
    assert cached.stderr.startswith("warning: ")


def test_what_is_built_while_the_server_is_away_is_kept(
    kappa: Kappa, team: BreakingRegistry, lockable: Path, kappa_home: Path
) -> None:
    team.is_away = True
    result = kappa("build", "--no-try", "--version", "1.0")
    stored = kappa_home / "repository" / "Scaler" / "1.0"
    assert (result.exit_code, result.stdout) == (7, "")
    assert f"The bundle is kept in the store of this machine, in `{stored}`: `kappa push Scaler:1.0`" in result.stderr
    open_bundle(stored).verify()
    team.is_away = False
    assert done(kappa("push", "Scaler:1.0")) == "Scaler:1.0\n"


def test_that_may_be_a_warning(
    kappa: Kappa, team: BreakingRegistry, lockable: Path, kappa_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.is_away = True
    monkeypatch.setenv("KAPPA_GAMMA_SERVICE__ON_UNREACHABLE", "keep")
    result = kappa("build", "--no-try", "--version", "1.0")
    assert done(result) == f"{kappa_home / 'repository' / 'Scaler' / '1.0'}\n"
    assert "warning: " in result.stderr


def test_a_build_pushes_and_prints_where_its_copy_is(
    kappa: Kappa, team: BreakingRegistry, lockable: Path, kappa_home: Path
) -> None:
    path = Path(done(kappa("build", "--no-try", "--version", "1.0")).splitlines()[-1])
    assert path.parent == kappa_home / "cache"
    assert json.loads(done(kappa("get", "Scaler:1.0")))["version"] == "1.0"
    assert not (kappa_home / "repository").exists()
    assert done(kappa("run", "Scaler:1.0", "scale", "--input", "2")) == "21\n"
    local = Path(done(kappa("build", "--no-try", "--version", "1.0", "--local")).splitlines()[-1])
    assert local == kappa_home / "repository" / "Scaler" / "1.0"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the stderr of commands a terminal."""
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda stream: stream.name == "<stderr>")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.usefixtures("terminal", "lockable", "kappa_home")
def test_a_build_that_pushes_shows_how_far_it_is(kappa: Kappa, team: BreakingRegistry) -> None:
    result = kappa("build", "--no-try", "--version", "1.0")
    assert "MB" in result.stderr
    assert done(result).count("\n") == 1
    assert "MB" not in kappa("build", "--no-try", "--version", "1.1", "--quiet").stderr
    assert "MB" not in kappa("build", "--no-try", "--version", "1.2", "--local").stderr


def test_a_copy_that_was_damaged_is_fetched_again_before_it_is_served(
    kappa: Kappa, team: BreakingRegistry, move: Move
) -> None:
    put_local(move("alice"), "1")
    done(kappa("push", "Iris:1"))
    move("bob")
    target = find_bundle("Iris:1")
    (target.directory / "Iris" / "m").write_bytes(b"damaged")
    said: list[str] = []
    with listening(lambda message, _: said.append(message)):
        again = verified_bundle(target)
    assert again.directory == target.directory
    assert any("`Iris/m` was changed. It is fetched again." in message for message in said)
    team.is_away = True
    assert verified_bundle(again) is again
    (target.directory / "Iris" / "m").write_bytes(b"damaged")
    with pytest.raises(GammaError):
        verified_bundle(find_bundle("Iris:1"))


def test_a_missing_argument_names_the_server(kappa: Kappa, team: BreakingRegistry) -> None:
    assert "`kappa list` shows those of the Gamma server `gamma.test:50051`." in kappa("info").stderr


def test_shells_complete_the_tags_and_aliases_of_the_server(kappa: Kappa, team: BreakingRegistry, move: Move) -> None:
    put_local(move("alice"), "1")
    done(kappa("push", "Iris:1"))
    done(kappa("alias", "Iris:1", "production"))
    assert tags_in_store() == ["Iris:1", "Iris:production"]
    team.is_away = True
    assert tags_in_store() == []


def test_without_a_server_there_is_nowhere_to_push(kappa: Kappa, kappa_home: Path) -> None:
    put_local(kappa_home, "1")
    result = kappa("push", "Iris:1")
    assert result.exit_code == 2
    assert "`kappa config set gamma_service.url=HOST:PORT`" in result.stderr
