from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kappa.actions.targets import BundleTarget, ProjectTarget, resolve_target
from kappa.errors import BundleNotFoundError, UsageError

Store = Callable[[Path, str, str], Path]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def store(stage_bundle: Callable[..., Path]) -> Callable[[Path, str, str], Path]:
    """Return a function that puts a bundle where the store of a home keeps it."""
    return lambda home, name, version: stage_bundle(home / "repository" / name / version, name, version)


@pytest.mark.parametrize("text", ["{root}/bundle", "{root}/bundle/kappa.yml", "./bundle", "bundle"])
def test_a_directory_with_a_manifest_is_a_bundle(here: Path, text: str) -> None:
    touch(here / "bundle" / "kappa.yml")
    target = resolve_target(text.format(root=here))
    assert isinstance(target, BundleTarget)
    assert target.directory.resolve() == here / "bundle"


@pytest.mark.parametrize("name", ["kappafile.toml", "kappafile.yaml", "pyproject.toml"])
def test_a_directory_with_a_kappafile_is_a_project(here: Path, name: str) -> None:
    touch(here / "Iris" / name)
    assert resolve_target("Iris") == ProjectTarget(Path("Iris"))
    assert resolve_target(f"Iris/{name}") == ProjectTarget(Path("Iris") / name)


def test_the_current_directory_is_a_project_whatever_it_holds(here: Path) -> None:
    assert resolve_target(".") == ProjectTarget(Path())


def test_the_home_directory_may_be_written_as_in_a_shell(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("USERPROFILE", str(here))
    touch(here / "bundle" / "kappa.yml")
    assert resolve_target("~/bundle") == BundleTarget(here / "bundle")


@pytest.mark.parametrize("text", ["Iris:1", "Iris", "Iris:latest"])
def test_other_words_are_references_to_the_store(here: Path, kappa_home: Path, store: Store, text: str) -> None:
    directory = store(kappa_home, "Iris", "1")
    assert resolve_target(text) == BundleTarget(directory)


def test_a_folder_that_is_no_project_does_not_hide_a_bundle_of_its_name(
    here: Path, kappa_home: Path, store: Store
) -> None:
    (here / "Iris").mkdir()
    directory = store(kappa_home, "Iris", "1")
    assert resolve_target("Iris") == BundleTarget(directory)


def test_the_store_is_that_of_the_environment_given(here: Path, tmp_path: Path, store: Store) -> None:
    directory = store(tmp_path / "elsewhere", "Iris", "1")
    assert resolve_target("Iris", environ={"KAPPA_HOME": str(tmp_path / "elsewhere")}) == BundleTarget(directory)


@pytest.mark.parametrize("text", ["./absent", "/absent/bundle", "~/absent", "absent/"])
def test_a_path_that_is_not_there_is_said(here: Path, text: str) -> None:
    with pytest.raises(BundleNotFoundError) as caught:
        resolve_target(text)
    assert str(caught.value) == f"There is nothing at `{text}`."


@pytest.mark.parametrize("text", ["a b", "Iris@md5:1", "Iris:", "-"])
def test_a_word_that_can_name_nothing_is_a_usage_error(here: Path, text: str) -> None:
    with pytest.raises(UsageError, match="is neither a path that exists nor the tag of a bundle"):
        resolve_target(text)
