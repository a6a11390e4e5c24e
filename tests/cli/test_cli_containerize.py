"""`kappa containerize` and `kappa generate`, up to where an engine begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import Result

from kappa.spec.manifest import BundleManifest, read_manifest

Kappa = Callable[..., Result]
MakeBundle = Callable[..., Path]


@pytest.fixture
def bundle(make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a bundle, where there is no engine at all."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    return make_bundle(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--tag", "Iris:1"], 2, "`Iris:1` cannot name an image, which has no capital letters: write `iris:1`."),
        (["--build-arg", "=1"], 2, "`--build-arg =1` is not one: write `KEY=VALUE`"),
        (["--build-arg", "UNSET_HERE"], 2, "`--build-arg UNSET_HERE` takes the value of a variable that is not set."),
        (["--secret", "id=a,env=UNSET_HERE"], 2, "The secret `a` names the variable `UNSET_HERE`, which is not set."),
        (["--platform", "windows/amd64"], 2, "`--platform windows/amd64` is not one: write `linux/amd64` or"),
        (["--builder", "magic"], 2, "'magic' is not one of 'auto', 'docker', 'podman', 'sdk'"),
        ([], 6, "There is no engine to build images with. `docker` is not installed. `podman` is not installed. "),
        (["--builder", "podman"], 6, "There is no engine to build images with. `podman` is not installed."),
    ],
)
def test_what_cannot_be_built_is_told_with_its_exit_code(
    kappa: Kappa, bundle: Path, words: list[str], code: int, said: str
) -> None:
    done = kappa("containerize", bundle, *words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr


def test_project_is_built_first(kappa: Kappa, project: Path, bundle: Path) -> None:
    done = kappa("containerize", ".")
    assert done.exit_code == 2
    assert (
        "`.` is not a bundle but a project: build it first with `kappa build .`, then name `Scaler:latest`."
        in done.stderr
    )


def test_bundle_that_was_changed_makes_no_image(kappa: Kappa, bundle: Path) -> None:
    (bundle / "Scaler" / "artifacts" / "factor" / "content.json").write_text("11")
    done = kappa("containerize", bundle)
    assert (done.exit_code, done.stdout) == (4, "")
    assert "is not as it was built" in done.stderr


def rewrite(bundle: Path, **env: object) -> None:
    manifest = read_manifest(bundle)
    changed = manifest.model_copy(update={"env": manifest.env.model_copy(update=env)}).sealed()
    for folder in (bundle, bundle / "Scaler"):
        (folder / "kappa.yml").write_text(BundleManifest.model_validate(changed).to_yaml())


@pytest.mark.parametrize(
    ("env", "words", "said"),
    [
        pytest.param(
            {"unlocked": True},
            [],
            "The packages of `Scaler:1.0` have no hashes, so an image of it promises nothing",
            id="unlocked",
        ),
        pytest.param(
            {"platforms": ("linux_x86_64",)},
            ["--platform", "linux/arm64"],
            "The packages of `Scaler:1.0` are pinned for linux_x86_64, not for `linux/arm64`: name it in `platforms`",
            id="another platform",
        ),
        pytest.param(
            {"platforms": ("darwin_arm64",)},
            [],
            "The packages of `Scaler:1.0` are pinned for darwin_arm64, and an image runs Linux: name `linux/amd64` in",
            id="no Linux",
        ),
    ],
)
def test_lock_that_does_not_fit_an_image_is_told_before_anything_is_built(
    kappa: Kappa, bundle: Path, env: Mapping[str, object], words: list[str], said: str
) -> None:
    rewrite(bundle, **env)
    done = kappa("containerize", bundle, *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_test_of_a_bundle_without_examples_or_for_two_platforms_is_refused(kappa: Kappa, bundle: Path) -> None:
    two = kappa("containerize", bundle, "--test", "--platform", "linux/amd64,linux/arm64")
    assert (two.exit_code, "`--test` runs one image: name one platform." in two.stderr) == (2, True)
    manifest = read_manifest(bundle)
    bare = manifest.model_copy(update={"service": manifest.service.model_copy(update={"examples": ()})}).sealed()
    for folder in (bundle, bundle / "Scaler"):
        (folder / "kappa.yml").write_text(bare.to_yaml())
    none = kappa("containerize", bundle, "--test")
    assert (none.exit_code, "has no `[[examples]]`, so there is nothing to test." in none.stderr) == (3, True)


def test_packages_without_hashes_are_taken_where_that_is_allowed(kappa: Kappa, bundle: Path) -> None:
    rewrite(bundle, unlocked=True)
    assert "There is no engine" in kappa("containerize", bundle, "--allow-unlocked").stderr


# -- generate ----------------------------------------------------------------------------------------------------------


def test_compose_file_of_a_bundle_runs_its_image(kappa: Kappa, bundle: Path) -> None:
    done = kappa("generate", "compose", bundle)
    assert done.exit_code == 0, done.stderr
    assert "    image: ${IMAGE:-scaler:1.0}\n" in done.stdout


def test_workflow_of_a_project_names_its_kappafile_from_the_top_of_the_repository(
    kappa: Kappa, project: Path, tmp_path: Path
) -> None:
    (tmp_path / ".git").mkdir()
    file = project / ".github" / "workflows" / "service.yml"
    done = kappa("generate", "github-action", "--output", file)
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    assert "kappa validate --format github project/kappafile.toml\n" in file.read_text()
    again = kappa("generate", "github-action", "--output", file)
    assert again.exit_code == 2
    assert f"`{file}` is there already; `--force` replaces it." in again.stderr
    assert kappa("generate", "github-action", "--output", file, "--force").exit_code == 0


def test_workflow_of_a_bundle_is_refused(kappa: Kappa, bundle: Path) -> None:
    done = kappa("generate", "github-action", bundle)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is a bundle, and a workflow builds one: name the project." in done.stderr
