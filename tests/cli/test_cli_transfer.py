"""`kappa retrieve`, `export`, `import` and `diff`, on the store of this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from kappa.services.bundle import open_bundle
from kappa.spec.manifest import read_manifest
from tests.gamma.sealed import write_bundle

Kappa = Callable[..., Result]
Iris = Callable[..., Path]


@pytest.fixture
def iris(kappa_home: Path) -> Iris:
    """Return a function that puts a version of `Iris` into the store."""

    def put(version: str, files: dict[str, bytes] | None = None, **options: Any) -> Path:
        return write_bundle(kappa_home / "repository" / "Iris" / version, "Iris", version, files, **options)

    return put


# -- retrieve


def test_a_name_alone_is_the_newest_and_the_folder_becomes_the_bundle(
    kappa: Kappa, iris: Iris, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iris("1")
    stored = iris("2", created="2026-02-01T00:00:00Z")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    result = kappa("retrieve", "Iris", "--target_dir=~/bentoml_bundle/")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'bentoml_bundle'}\n")
    copy = open_bundle(tmp_path / "bentoml_bundle")
    copy.verify()
    assert copy.digest == read_manifest(stored).bundle_digest


def test_without_a_directory_it_is_the_name_here(
    kappa: Kappa, iris: Iris, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iris("1")
    monkeypatch.chdir(tmp_path)
    assert kappa("retrieve", "Iris:1").stdout == f"{tmp_path / 'Iris'}\n"
    again = kappa("retrieve", "Iris:1")
    assert again.exit_code == 5
    assert "exists and is not an empty folder; nothing was written" in again.stderr


def test_an_empty_folder_is_filled_and_any_other_is_left_alone(kappa: Kappa, iris: Iris, tmp_path: Path) -> None:
    iris("1")
    (tmp_path / "empty").mkdir()
    assert kappa("retrieve", "Iris", "--target_dir", tmp_path / "empty").exit_code == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    assert kappa("retrieve", "Iris", "--target_dir", tmp_path / "full").exit_code == 5
    (tmp_path / "file").write_text("mine")
    assert kappa("retrieve", "Iris", "--target_dir", tmp_path / "file").exit_code == 5
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full"]


def test_a_user_who_is_not_there_is_a_name_like_any_other(
    kappa: Kappa, iris: Iris, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iris("1")
    monkeypatch.chdir(tmp_path)
    assert kappa("retrieve", "Iris", "--target_dir", "~nobody-at-all/x").stdout == f"{tmp_path}/~nobody-at-all/x\n"
    assert kappa("import", "~nobody-at-all/x.kappa").exit_code == 2
    assert kappa("get", "~nobody-at-all/y").exit_code == 4


def test_a_damaged_bundle_is_not_handed_out(kappa: Kappa, iris: Iris, tmp_path: Path) -> None:
    (iris("1") / "requirements.txt").write_text("")
    result = kappa("retrieve", "Iris", "--target_dir", tmp_path / "out")
    assert result.exit_code == 4
    assert "`requirements.txt` was changed" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_help_has_what_the_page_prints(kappa: Kappa) -> None:
    printed = kappa("retrieve", "--help").stdout
    for line in (
        "Usage: kappa retrieve [OPTIONS] BENTO",
        "  Retrieves BentoService artifacts into a target directory",
        "  --target_dir TEXT   Directory to put artifacts into. Defaults to pwd.",
        "  -q, --quiet         Hide all warnings and info logs",
        "  --verbose, --debug  Show debug logs when running the command",
    ):
        assert line in printed


# -- export and import


def test_a_bundle_travels_as_one_file_and_keeps_its_digest(
    kappa: Kappa, iris: Iris, kappa_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = read_manifest(iris("1.0", {"Iris/model.bin": b"m" * 10_000})).bundle_digest
    monkeypatch.chdir(tmp_path)
    assert kappa("export", "Iris:1.0").stdout == "Iris-1.0.kappa\n"
    assert kappa("delete", "Iris:1.0", "--yes").exit_code == 0
    result = kappa("import", "Iris-1.0.kappa")
    stored = kappa_home / "repository" / "Iris" / "1.0"
    assert (result.exit_code, result.stdout) == (0, f"{stored}\n")
    assert result.stderr == "`Iris:1.0` is in the store now.\n"
    open_bundle(stored).verify()
    assert read_manifest(stored).bundle_digest == digest
    again = json.loads(kappa("import", "Iris-1.0.kappa", "-o", "json").stdout)
    assert (again["tag"], again["bundle_digest"], again["was_there"]) == ("Iris:1.0", digest, True)


def test_an_import_never_replaces_a_version(kappa: Kappa, iris: Iris, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other", "Iris", "1.0", {"more": b"x"})
    assert kappa("export", other, "--output", tmp_path / "other.kappa").exit_code == 0
    before = read_manifest(iris("1.0")).bundle_digest
    result = kappa("import", tmp_path / "other.kappa")
    assert result.exit_code == 5
    assert "`Iris:1.0` is already in the store" in result.stderr
    assert json.loads(kappa("get", "Iris:1.0").stdout)["version"] == "1.0"
    assert kappa("verify", f"Iris@{before}").exit_code == 0


def test_an_archive_that_is_there_is_replaced_only_by_force(kappa: Kappa, iris: Iris, tmp_path: Path) -> None:
    iris("1")
    file = tmp_path / "x.kappa"
    file.write_text("mine")
    refused = kappa("export", "Iris", "--output", file)
    assert refused.exit_code == 5
    assert "Name another file, or replace this one with `--force`." in refused.stderr
    assert file.read_text() == "mine"
    assert kappa("export", "Iris", "--output", file, "--force").exit_code == 0
    assert kappa("import", file).exit_code == 0
    assert f"name the file, e.g. `{tmp_path / 'Iris-1.kappa'}`" in kappa("export", "Iris", "--output", tmp_path).stderr


@pytest.mark.parametrize(("name", "code"), [("nothing.kappa", 2), ("text.kappa", 4)])
def test_what_is_not_an_archive_is_refused(kappa: Kappa, tmp_path: Path, name: str, code: int) -> None:
    (tmp_path / "text.kappa").write_text("text")
    result = kappa("import", tmp_path / name)
    assert (result.exit_code, result.stdout) == (code, "")


# -- diff


def test_what_changed_is_shown_by_subject(kappa: Kappa, iris: Iris) -> None:
    iris("1", {"Iris/code.py": b"a = 1\nb = 2\n", "Iris/old.py": b"x = 1\n"}, doc="One.", labels={"stage": "test"})
    iris(
        "2",
        {
            "Iris/code.py": b"a = 1\nb = 3\n",
            "Iris/new.py": b"y = 1\n",
            "requirements.txt": b"apple==1.1 --hash=sha256:00\nplum==3.0 --hash=sha256:02\n",
            "setup.sh": b"true\n",
        },
        labels={"stage": "live"},
    )
    result = kappa("diff", "Iris:1", "Iris:2", "-o", "json")
    assert result.exit_code == 0, result.stderr
    tree = json.loads(result.stdout)
    changes = {
        name: [(change["kind"], change["subject"], change["before"], change["after"]) for change in tree[name]]
        for name in ("packages", "apis", "artifacts", "labels")
    }
    assert changes == {
        "packages": [
            ("changed", "apple", "1.0", "1.1"),
            ("removed", "pear", "2.0", None),
            ("added", "plum", None, "3.0"),
        ],
        "apis": [],
        "artifacts": [],
        "labels": [("changed", "stage", "test", "live")],
    }
    assert [change["subject"] for change in tree["files"]] == ["requirements.txt", "setup.sh"]
    assert list(tree["code"]) == ["Iris/code.py", "Iris/new.py", "Iris/old.py"]
    assert tree["code"]["Iris/code.py"] == (
        "--- Iris:1/Iris/code.py\n+++ Iris:2/Iris/code.py\n@@ -1,2 +1,2 @@\n a = 1\n-b = 2\n+b = 3\n"
    )
    shown = kappa("diff", "Iris:1", "Iris:2").stdout
    assert "PACKAGES\n   SUBJECT  BEFORE  AFTER\n~  apple    1.0     1.1\n-  pear     2.0     -\n" in shown
    assert "-b = 2\n+b = 3" in shown


def test_the_same_content_has_no_difference(kappa: Kappa, iris: Iris) -> None:
    iris("1")
    iris("2")
    result = kappa("diff", "Iris:1", "Iris:2")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "`Iris:1` and `Iris:2` are the same but for their versions.\n"
    assert kappa("diff", "Iris:1", "Iris").stderr == "`Iris:1` and `Iris:2` are the same but for their versions.\n"
    assert kappa("diff", "Iris", "Iris:2").stderr == "Both are `Iris:2`, and the same.\n"


def test_what_kappa_writes_differs_where_it_says_more_than_the_version(kappa: Kappa, iris: Iris) -> None:
    stamped = ("20240102030405_00000A", "20240102030406_00000B")
    for number, version in enumerate(stamped):
        iris(
            version,
            {
                "README.md": f"Version `{version}`, image iris:{version}.\n".encode(),
                "setup.py": f"version='20240102030405.1{number}'\nother='{version}'\n".encode(),
                "Dockerfile": f"LABEL {version} stage={number}\n".encode(),
                "Iris/__init__.py": f"__version__ = '{version}'\n".encode(),
                "Iris/code.py": f"made_for = '{version}'\n".encode(),
            },
        )
    tree = json.loads(kappa("diff", *(f"Iris:{version}" for version in stamped), "-o", "json").stdout)
    assert [change["subject"] for change in tree["files"]] == ["Dockerfile", "setup.py"]
    assert list(tree["code"]) == ["Iris/code.py"]


def test_labels_are_compared_as_they_are_now(kappa: Kappa, iris: Iris) -> None:
    iris("1", labels={"stage": "test"})
    iris("2", labels={"stage": "test"})
    assert kappa("label", "Iris:2", "stage=live").exit_code == 0
    assert "~  stage    test    live" in kappa("diff", "Iris:1", "Iris:2").stdout


def test_code_cannot_command_the_terminal(kappa: Kappa, iris: Iris) -> None:
    iris("1", {"Iris/code.py": b"a = 1\n"})
    iris("2", {"Iris/code.py": b"a = '\x1b[2J'\n"})
    assert "\x1b" not in kappa("diff", "Iris:1", "Iris:2").stdout
