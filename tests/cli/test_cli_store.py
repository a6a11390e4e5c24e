"""`kappa list` and `get` with selectors, `kappa delete`, `kappa verify`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kappa.cli.main import cli
from kappa.spec.manifest import read_manifest

Kappa = Callable[..., Result]


@pytest.fixture
def stored(kappa_home: Path, stage_bundle: Callable[..., Path]) -> Path:
    """Put three versions of `Iris` and one of `Wine` into the store; return its folder."""
    for month, (name, version, labels) in enumerate(
        [
            ("Iris", "1", {"stage": "live", "team": "growth"}),
            ("Iris", "2", {"stage": "test", "team": "growth"}),
            ("Iris", "3", {"team": "core"}),
            ("Wine", "1", {"team": "core"}),
        ],
        start=1,
    ):
        place = kappa_home / "repository" / name / version
        stage_bundle(place, name, version, created=f"2026-0{month}-01T00:00:00Z", digest=f"0{month}", labels=labels)
    return kappa_home / "repository"


def listed(result: Result) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return [line.split()[0] for line in result.stdout.splitlines()[1:]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["list"], ["Wine:1", "Iris:3", "Iris:2", "Iris:1"], id="all"),
        pytest.param(["list", "--labels", "team=growth, stage In (test, live)"], ["Iris:2", "Iris:1"], id="selector"),
        pytest.param(["list", "--labels", "stage DoesNotExist", "--limit", "1"], ["Wine:1"], id="limit"),
        pytest.param(["list", "--offset", "3"], ["Iris:1"], id="offset"),
        pytest.param(["list", "--order-by", "name", "--ascending-order", "--limit", "1"], ["Iris:3"], id="by name"),
        pytest.param(["get", "Iris", "--labels", "stage"], ["Iris:2", "Iris:1"], id="of one service"),
        pytest.param(["get", "Iris", "--ascending-order"], ["Iris:1", "Iris:2", "Iris:3"], id="oldest first"),
    ],
)
def test_bundles_are_chosen_and_ordered(kappa: Kappa, stored: Path, arguments: list[str], expected: list[str]) -> None:
    assert listed(kappa(*arguments)) == expected


@pytest.mark.parametrize("selector", ["stage=live", "stage In test"])
def test_a_selector_says_nothing_where_a_version_is_named(kappa: Kappa, stored: Path, selector: str) -> None:
    result = kappa("get", "Iris:3", "--labels", selector)
    assert (result.exit_code, json.loads(result.stdout)["version"]) == (0, "3")


def test_a_selector_that_cannot_be_read_is_shown(kappa: Kappa, stored: Path) -> None:
    result = kappa("list", "--labels", "stage In test")
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        "The label selector `stage In test` cannot be read at column 1: `stage In test` is not a requirement."
        in result.stderr
    )


def test_bundles_of_all_namespaces_are_listed_together(
    kappa: Kappa, stored: Path, stage_bundle: Callable[..., Path]
) -> None:
    stage_bundle(stored / "@team-b" / "Iris" / "9", "Iris", "9", created="2026-02-15T00:00:00Z", digest="09")
    assert listed(kappa("list", "--all-namespaces")) == ["Wine:1", "Iris:3", "team-b/Iris:9", "Iris:2", "Iris:1"]
    assert listed(kappa("list", "-A", "--labels", "stage", "--limit", "1")) == ["Iris:2"]
    assert listed(kappa("list", "--namespace", "team-b")) == ["team-b/Iris:9"]
    result = kappa("list", "-A", "--namespace", "team-b")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "`--all-namespaces` and `--namespace team-b` contradict each other: give one." in result.stderr
    remark = kappa("list", "--namespace", "team-c").stderr
    assert "The namespace `team-c` of the store" in remark
    assert "`kappa list --all-namespaces` shows the others." in remark


def test_labels_that_nothing_has_are_a_remark(kappa: Kappa, stored: Path) -> None:
    assert kappa("list", "--labels", "a=b").stderr == "No bundle has these labels.\n"
    assert kappa("get", "Iris", "--labels", "a=b").stderr == "No version of `Iris` has these labels.\n"


def test_an_offset_after_the_last_bundle_does_not_make_the_store_empty(kappa: Kappa, stored: Path) -> None:
    assert kappa("list", "--offset", "4").stderr == "`--offset 4` skips every bundle.\n"
    remark = kappa("list", "--offset", "4", "--labels", "team").stderr
    assert remark == "`--offset 4` skips every bundle with these labels.\n"
    assert kappa("get", "Iris", "--offset", "3").stderr == "`--offset 3` skips every version of `Iris`.\n"
    result = kappa("get", "Iris", "--offset", "3", "--requires", "apple")
    assert result.stderr == "`--offset 3` skips every version of `Iris` that locks `apple`.\n"
    assert kappa("get", "Iris", "--requires", "apple>9").stderr == "No version of `Iris` locks `apple>9`.\n"


# -- deleting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--yes"]], ids=["bare", "yes"])
def test_nothing_given_deletes_nothing(kappa: Kappa, stored: Path, arguments: list[str]) -> None:
    result = kappa("delete", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: Nothing is named: give a bundle, or `--labels` or `--all`. The store ")
    assert len(listed(kappa("list"))) == 4


@pytest.mark.parametrize(
    ("arguments", "deleted"),
    [
        pytest.param(["Iris:2"], ["Iris:2"], id="a version"),
        pytest.param(["Iris:latest"], ["Iris:3"], id="the newest"),
        pytest.param(["Iris@sha256:" + "02" * 32], ["Iris:2"], id="a digest"),
        pytest.param(["Iris:1", "Wine:1", "Iris:1"], ["Iris:1", "Wine:1"], id="several"),
        pytest.param(["Iris", "--all"], ["Iris:3", "Iris:2", "Iris:1"], id="all of a name"),
        pytest.param(["Iris", "--labels", "team=core"], ["Iris:3"], id="some of a name"),
        pytest.param(["--labels", "team=core"], ["Wine:1", "Iris:3"], id="by labels"),
        pytest.param(["--all"], ["Wine:1", "Iris:3", "Iris:2", "Iris:1"], id="everything"),
    ],
)
def test_exactly_what_is_named_is_deleted(kappa: Kappa, stored: Path, arguments: list[str], deleted: list[str]) -> None:
    before = listed(kappa("list"))
    result = kappa("delete", *arguments, "--yes")
    assert (result.exit_code, result.stdout.split()) == (0, deleted)
    left = [tag for tag in before if tag not in deleted]
    assert listed(kappa("list")) == left
    assert sorted(f"{path.parent.name}:{path.name}" for path in stored.glob("*/*")) == sorted(left)


def test_a_name_alone_is_not_every_version_of_it(kappa: Kappa, stored: Path) -> None:
    result = kappa("delete", "Iris", "--yes")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: `Iris` names every version of a service: say `Iris --all` for all of them, `Iris:latest` for the "
        "newest, or name a version.\n"
    )
    assert len(listed(kappa("list"))) == 4


def test_a_target_that_is_not_there_deletes_nothing_at_all(kappa: Kappa, stored: Path) -> None:
    result = kappa("delete", "Iris:1", "Iris:9", "--yes")
    assert result.exit_code == 4
    assert "There is no bundle `Iris:9`" in result.stderr
    assert len(listed(kappa("list"))) == 4


def test_labels_of_nothing_delete_nothing(kappa: Kappa, stored: Path) -> None:
    result = kappa("delete", "--labels", "a=b", "--yes")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "There is no such bundle; nothing was deleted.\n"


def test_without_a_terminal_a_question_is_a_no(kappa: Kappa, stored: Path) -> None:
    result = kappa("delete", "Iris:1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "This is not a terminal, so nothing was deleted. Pass `--yes`" in result.stderr
    assert len(listed(kappa("list"))) == 4


@pytest.mark.parametrize(("answer", "left"), [("y\n", 3), ("n\n", 4), ("", 4)], ids=["yes", "no", "end"])
def test_on_a_terminal_it_asks_once_for_all(
    kappa: Kappa, stored: Path, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    monkeypatch.setattr("kappa.cli.commands.delete.is_terminal", lambda: True)
    result = CliRunner().invoke(cli, ["delete", "Iris:1"], input=answer, prog_name="kappa")
    assert result.exit_code == (0 if left == 3 else 130)
    assert "Delete this bundle? [y/N]:" in result.stderr
    assert len(listed(kappa("list"))) == left


def test_deleted_tags_as_json(kappa: Kappa, stored: Path) -> None:
    assert json.loads(kappa("delete", "Iris:1", "-y", "-o", "json").stdout) == ["Iris:1"]


# -- verifying ---------------------------------------------------------------------------------------------------------


def test_a_bundle_as_it_was_built(kappa: Kappa, bundle: Path) -> None:
    manifest = read_manifest(bundle)
    said = f"`Scaler:1.0` is as it was built: {len(manifest.files)} files, {manifest.bundle_digest}.\n"
    for target in ("Scaler:latest", str(bundle), f"Scaler@{manifest.bundle_digest}"):
        result = kappa("verify", target)
        assert (result.exit_code, result.stdout, result.stderr) == (0, said, "")
    assert kappa("verify", "--all").stdout == said


def test_every_changed_file_is_named_and_the_others_are_still_verified(
    kappa: Kappa, bundle: Path, make_bundle: Callable[..., Path]
) -> None:
    make_bundle(bundle.with_name("2.0"), version="2.0")
    (bundle / "Scaler" / "artifacts" / "factor" / "content.json").write_text("11")
    result = kappa("verify", "--all")
    assert result.exit_code == 4
    assert result.stderr == (
        f"error: The bundle in `{bundle}` is not as it was built: `Scaler/artifacts/factor/content.json` was changed.\n"
    )
    assert result.stdout.startswith("`Scaler:2.0` is as it was built")
    (first, second) = json.loads(kappa("verify", "--all", "--format", "json").stdout)
    assert (first["bundle"], first["ok"], second["bundle"], second["ok"]) == ("Scaler:1.0", False, "Scaler:2.0", True)


def test_nothing_to_verify_is_a_usage_error(kappa: Kappa) -> None:
    result = kappa("verify")
    message = (
        "error: Nothing is named: give a bundle, or `--all`. The store is empty: run `kappa build` in the folder of "
        "the kappafile, then `kappa verify` with the tag that it prints.\n"
    )
    assert (result.exit_code, result.stderr) == (2, message)


def test_a_project_cannot_be_verified(kappa: Kappa, project: Path) -> None:
    result = kappa("verify", ".")
    assert result.exit_code == 2
    assert (
        "`.` is not a bundle but a project: build it first with `kappa build .`, then name `Scaler:latest`."
        in result.stderr
    )


def test_a_forgotten_tag_is_free_for_a_server_of_this_store(kappa: Kappa, stored: Path) -> None:
    assert kappa("delete", "Iris:1", "--yes").stdout == "Iris:1\n"
    result = kappa("delete", "Iris:1", "--forget")
    assert (result.exit_code, "nothing was deleted. Pass `--yes`" in result.stderr) == (2, True)
    assert kappa("delete", "Iris:1", "--forget", "--yes").stdout == "Iris:1\n"
    result = kappa("delete", "Iris:1", "--forget", "--yes")
    assert result.exit_code == 4
    assert "Nothing is reserved for `Iris:1`: no such bundle was deleted." in result.stderr


def test_deleting_and_forgetting_is_one_step(kappa: Kappa, stored: Path) -> None:
    assert kappa("delete", "Iris", "--labels", "team=growth", "--forget", "--yes").stdout == "Iris:2\nIris:1\n"
    assert kappa("delete", "Iris:3", "Iris:2", "--forget", "--yes").exit_code == 4  # that is free already
    assert listed(kappa("list")) == ["Wine:1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["Iris:1", "--db-url", "sqlite:///x.db"], "`--db-url` goes with `--forget`", id="without forget"),
        pytest.param(["Iris", "--forget", "--db-url", "sqlite:///x.db"], "`Iris` names no version", id="a name"),
        pytest.param(
            ["Iris:1", "--forget", "--db-url", "sqlite:///x.db", "--yes"], "There is no database", id="absent"
        ),
        pytest.param(["--all", "--forget", "--db-url", "sqlite:///x.db"], "one by one", id="a query"),
    ],
)
def test_a_database_of_a_server_is_named_with_exact_tags(
    kappa: Kappa, stored: Path, arguments: list[str], message: str
) -> None:
    result = kappa("delete", *arguments)
    assert (result.exit_code != 0, result.stdout) == (True, "")
    assert message in result.stderr
    assert listed(kappa("list")) == ["Wine:1", "Iris:3", "Iris:2", "Iris:1"]


# -- pruning -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--yes"], ["Iris", "--labels", "team=core", "--yes"]], ids=" ".join)
def test_without_a_rule_nothing_is_pruned(kappa: Kappa, stored: Path, arguments: list[str]) -> None:
    result = kappa("prune", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: Nothing was deleted: say how many versions to keep")
    assert len(listed(kappa("list"))) == 4


def test_a_dry_run_says_what_would_go_and_why(kappa: Kappa, stored: Path) -> None:
    kappa("alias", "Iris:1", "production")
    result = kappa("prune", "Iris", "--keep", "1", "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "`Iris:1` stays: `production` means it.\n")
    assert listed(result) == ["Iris:2"]
    assert result.stdout.splitlines()[1].endswith("  not among the newest 1")
    tree = json.loads(kappa("prune", "--keep", "1", "--older-than", "1d", "--dry-run", "-o", "json").stdout)
    (deleted,), (kept,) = tree["deleted"], tree["kept"]
    assert (deleted["tag"], kept["tag"], tree["is_dry_run"]) == ("Iris:2", "Iris:1", True)
    assert deleted["reason"] == "not among the newest 1 and built more than 1 day ago"
    assert len(listed(kappa("list"))) == 4


def test_what_is_pruned_is_printed(kappa: Kappa, stored: Path) -> None:
    refused = kappa("prune", "--keep", "2")
    assert refused.exit_code == 2
    assert "This is not a terminal, so nothing was deleted. Pass `--yes`" in refused.stderr
    result = kappa("prune", "--keep", "2", "--yes")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Iris:1\n", "")
    again = kappa("prune", "--keep", "2", "--yes")
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "There is nothing to delete.\n")
    tree = json.loads(kappa("prune", "Iris", "--keep", "1", "--yes", "-o", "json").stdout)
    assert ([deleted["tag"] for deleted in tree["deleted"]], tree["is_dry_run"]) == (["Iris:2"], False)
    assert listed(kappa("list")) == ["Wine:1", "Iris:3"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["Iris:1", "--keep", "1"], 2, "`Iris:1` is more than the name of a service: `kappa delete Iris:1` deletes"),
        (["Absent", "--keep", "1"], 4, "There is no bundle `Absent:latest`"),
        (["--older-than", "long"], 2, "`--older-than long`: write a time like `30m`, `24h` or `7d`."),
        (["--keep", "0"], 2, "0"),
        (["--keep", "1", "--dry-run", "--yes"], 2, "`--dry-run` and `--yes` contradict each other: give one."),
    ],
)
def test_what_cannot_be_pruned(kappa: Kappa, stored: Path, arguments: list[str], exit_code: int, message: str) -> None:
    result = kappa("prune", *arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert message in result.stderr
    assert len(listed(kappa("list"))) == 4
