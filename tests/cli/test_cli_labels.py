"""`kappa label` and `kappa alias`; aliases and namespaces wherever a bundle is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Kappa = Callable[..., Result]


@pytest.fixture(autouse=True)
def stored(kappa_home: Path, stage_bundle: Callable[..., Path]) -> None:
    """Put two versions of `Iris` into the store, and one of `Wine` into the namespace `team`."""
    repository = kappa_home / "repository"
    stage_bundle(repository / "Iris" / "1", "Iris", "1", created="2026-01-01T00:00:00Z", digest="01", labels={"a": "b"})
    stage_bundle(repository / "Iris" / "2", "Iris", "2", created="2026-02-01T00:00:00Z", digest="02")
    stage_bundle(repository / "@team" / "Wine" / "1", "Wine", "1", digest="03")


def done(result: Result) -> str:
    assert result.exit_code == 0, result.stderr
    return result.stdout


# -- labels


def test_labels_are_set_and_removed_and_shown_everywhere(kappa: Kappa) -> None:
    assert done(kappa("label", "Iris:1", "stage=live", "a-")) == "stage=live\n"
    assert done(kappa("label", "Iris:1")) == "stage=live\n"
    assert json.loads(done(kappa("label", "Iris:1", "-o", "json"))) == {"stage": "live"}
    assert json.loads(done(kappa("get", "Iris:1")))["bentoServiceMetadata"]["labels"] == {"stage": "live"}
    assert done(kappa("list", "--labels", "stage=live")).splitlines()[1].startswith("Iris:1 ")
    assert "stage=live" in done(kappa("list", "-o", "wide"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["stage"], "write `stage=<value>` to set it, `stage-` to remove it"),
        (["stage=a b"], "cannot be the value of a label"),
        (["=a"], "cannot be the key of a label"),
        (["-"], "No such option"),
        (["a=1", "a-"], "The label `a` is given twice."),
    ],
)
def test_a_change_that_cannot_be_meant_changes_nothing(kappa: Kappa, changes: list[str], message: str) -> None:
    result = kappa("label", "Iris:1", "x=y", *changes)
    assert result.exit_code == 2
    if message != "No such option":
        assert message in result.stderr
    assert done(kappa("label", "Iris:1")) == "a=b\n"


def test_a_bundle_that_is_not_there_has_no_labels(kappa: Kappa) -> None:
    result = kappa("label", "Iris:9", "a=b")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "There is no bundle `Iris:9`" in result.stderr


# -- aliases


def test_an_alias_names_a_version_wherever_a_bundle_is_wanted(kappa: Kappa, kappa_home: Path) -> None:
    result = kappa("alias", "Iris:1", "production")
    assert (done(result), result.stderr) == ("", "`Iris:production` names 1.\n")
    path = str(kappa_home / "repository" / "Iris" / "1")
    assert done(kappa("get", "Iris:production", "--print-location")) == f"{path}\n"
    assert json.loads(done(kappa("get", "Iris:production")))["version"] == "1"
    assert json.loads(done(kappa("get", "Iris:production")))["aliases"] == ["production"]
    assert "version: '1'" in done(kappa("info", "Iris:production"))
    moved = kappa("alias", "Iris:latest", "production", "--expect", "1")
    assert moved.stderr == "`Iris:production` names 2, and no longer 1.\n"
    assert json.loads(done(kappa("get", "Iris:production")))["version"] == "2"
    assert kappa("alias", "Iris:2", "production").stderr == "`Iris:production` names 2.\n"
    assert kappa("alias", "team/Wine:1", "production").stderr == "`team/Wine:production` names 1.\n"


def test_aliases_are_listed_with_their_history(kappa: Kappa) -> None:
    assert "has no alias" in kappa("alias", "Iris").stderr
    kappa("alias", "Iris:1", "production")
    kappa("alias", "Iris:2", "production")
    kappa("alias", "Iris:1", "staging")
    listed = json.loads(done(kappa("alias", "Iris", "-o", "json")))
    assert [(alias["alias"], alias["version"]) for alias in listed] == [("production", "2"), ("staging", "1")]
    assert done(kappa("alias", "Iris")).split()[:5] == ["ALIAS", "VERSION", "CHANGED_AT", "production", "2"]
    assert [alias["alias"] for alias in json.loads(done(kappa("alias", "Iris:1", "-o", "json")))] == ["staging"]
    history = json.loads(done(kappa("alias", "Iris:production", "--history", "-o", "json")))
    assert [(change["version"], change["previous"]) for change in history] == [("2", "1"), ("1", None)]
    gone = kappa("alias", "Iris:production", "--delete")
    assert gone.stderr == "`Iris:production` is gone, and no longer 2.\n"
    assert kappa("get", "Iris:production").exit_code == 4
    assert kappa("alias", "Iris:production", "--delete").exit_code == 4
    assert kappa("alias", "Iris:nothing", "--history").stderr == "`Iris:nothing` never was an alias.\n"


@pytest.mark.parametrize("words", [["label", "./iris", "a=b"], ["alias", "~/iris", "live"], ["delete", "/iris"]])
def test_a_path_has_neither_labels_nor_aliases(kappa: Kappa, words: list[str]) -> None:
    result = kappa(*words)
    assert result.exit_code == 2
    assert f"`{words[1]}` is a path, where the name of a bundle is wanted" in result.stderr


def test_an_alias_moves_only_from_what_is_expected(kappa: Kappa) -> None:
    kappa("alias", "Iris:1", "production")
    refused = kappa("alias", "Iris:2", "production", "--expect", "2")
    assert refused.exit_code == 7
    assert json.loads(done(kappa("get", "Iris:production")))["version"] == "1"
    assert kappa("alias", "Iris:2", "production", "--expect", "").exit_code == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Iris:1", "a", "--history"], "Give only one of an alias to set, `--history` and `--delete`."),
        (["Iris", "--expect", "1"], "`--expect` goes with an alias to set, or with `--delete`."),
        (["Iris", "--history"], "`Iris` names no alias: write `Iris:<alias>`."),
        (["Iris", "--delete"], "`Iris` names no alias: write `Iris:<alias>`."),
        (["Iris:1", "2"], "`2`"),
        (["Iris:1", "latest"], "`latest`"),
        (["Iris:1", "a b"], "`a b`"),
    ],
)
def test_what_cannot_be_an_alias_is_a_usage_error(kappa: Kappa, arguments: list[str], message: str) -> None:
    result = kappa("alias", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr


def test_a_bundle_that_an_alias_names_is_deleted_only_by_force(kappa: Kappa, kappa_home: Path) -> None:
    kappa("alias", "Iris:1", "production")
    refused = kappa("delete", "Iris", "--all", "--yes")
    assert refused.exit_code == 7
    assert "production" in refused.stderr
    assert (kappa_home / "repository" / "Iris" / "2").is_dir()
    assert done(kappa("delete", "Iris", "--all", "--yes", "--force")).split() == ["Iris:2", "Iris:1"]


# -- rollback


def test_a_rollback_says_what_moves(kappa: Kappa) -> None:
    kappa("alias", "Iris:1", "production")
    kappa("alias", "Iris:2", "production")
    would = kappa("rollback", "Iris", "production", "--dry-run")
    assert (done(would), would.stderr) == ("", "`Iris:production` would name 1 again, not 2; nothing was changed.\n")
    planned = json.loads(done(kappa("rollback", "Iris", "production", "--dry-run", "-o", "json")))
    fields = {"namespace": "default", "name": "Iris", "alias": "production", "version": "1", "previous": "2"}
    assert planned == {**fields, "changed_at": None}
    moved = json.loads(done(kappa("rollback", "Iris", "production", "-o", "json")))
    (change, *_) = json.loads(done(kappa("alias", "Iris:production", "--history", "-o", "json")))
    assert moved == {**fields, "changed_at": change["changed_at"]}
    assert kappa("rollback", "Iris", "production").stderr == "`Iris:production` names 2 again; it named 1.\n"
    kappa("alias", "Iris:production", "--delete")
    assert kappa("rollback", "Iris", "production").stderr == "`Iris:production` names 2 again; it was deleted.\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["Iris:1", "production"], 2, "`Iris:1` is more than the name of a service: write `Iris` and its alias."),
        (["./iris", "production"], 2, "`./iris` is a path, where the name of a bundle is wanted"),
        (["Iris", "nothing"], 4, "`Iris:nothing` never was an alias. `kappa alias Iris` lists those there are."),
        (["Iris"], 2, "an alias of that service: `kappa alias NAME` lists them."),
    ],
)
def test_what_cannot_be_rolled_back(kappa: Kappa, arguments: list[str], exit_code: int, message: str) -> None:
    result = kappa("rollback", *arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert message in result.stderr


# -- namespaces


def test_a_name_in_another_namespace_is_a_reference(kappa: Kappa, kappa_home: Path) -> None:
    path = str(kappa_home / "repository" / "@team" / "Wine" / "1")
    for arguments in (["team/Wine"], ["team/Wine:1"], ["gamma:team/Wine:1"], ["Wine", "--namespace", "team"]):
        assert done(kappa("get", *arguments, "--print-location")) == f"{path}\n"
    assert done(kappa("list", "--namespace", "team")).splitlines()[1].startswith("team/Wine:1 ")
    assert [line.split()[0] for line in done(kappa("list")).splitlines()] == ["MODEL_VERSION", "Iris:2", "Iris:1"]
    assert done(kappa("get", "team/Wine")).splitlines()[1].startswith("team/Wine:1 ")


def test_a_path_that_exists_wins_unless_the_reference_is_said(
    kappa: Kappa, stage_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = stage_bundle(tmp_path / "team" / "Wine", "Wine", "9")
    monkeypatch.chdir(tmp_path)
    assert done(kappa("get", "team/Wine", "--print-location")) == f"{here}\n"
    assert json.loads(done(kappa("get", "team/Wine")))["version"] == "9"
    assert "@team" in done(kappa("get", "gamma:team/Wine", "--print-location"))
    assert "There is nothing at `./team/Iris:1`." in kappa("get", "./team/Iris:1").stderr


@pytest.mark.parametrize("text", ["team/Nothing", "no/such/path", "dist/iris:2"])
def test_what_is_neither_a_path_nor_a_reference_says_so(kappa: Kappa, text: str) -> None:
    result = kappa("info", text)
    assert result.exit_code == 4
    assert f"There is nothing at `{text}`." in result.stderr


def test_a_namespace_is_configured_like_any_setting(kappa: Kappa) -> None:
    kappa("config", "set", "gamma_service.namespace=team")
    assert [line.split()[0] for line in done(kappa("list")).splitlines()] == ["MODEL_VERSION", "team/Wine:1"]
    assert json.loads(done(kappa("get", "default/Iris:1")))["name"] == "Iris"
    assert kappa("get", "Wine", "--namespace", "Bad Name").exit_code == 2


# -- the packages of locks


def test_bundles_are_listed_by_what_they_lock(kappa: Kappa) -> None:
    assert len(done(kappa("list", "--requires", "apple<2")).splitlines()) == 3
    none = kappa("list", "--requires", "apple>=2")
    assert none.stderr == "No bundle locks `apple>=2`.\n"
    assert kappa("list", "--requires", "apple<<2").exit_code == 2


# -- how lists are printed


def test_records_are_printed_as_json_and_yaml(kappa: Kappa) -> None:
    (first, second) = json.loads(done(kappa("list", "-o", "json")))
    assert (first["version"], second["version"]) == ("2", "1")
    assert done(kappa("get", "Iris", "-o", "yaml")).startswith("- name: Iris\n  version: '2'\n")
    assert done(kappa("get", "Iris:1", "-o", "yaml")).startswith("name: Iris\nversion: '1'\n")
    assert done(kappa("get", "Iris", "-o", "table")).splitlines()[0].split()[:2] == ["MODEL_VERSION", "CREATED_AT"]
    assert done(kappa("list")).splitlines()[0].split()[:2] == ["MODEL_VERSION", "AGE"]
