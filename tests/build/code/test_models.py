"""What models name: packages at the version they were made with, and the user's own modules."""

from __future__ import annotations

import importlib.metadata
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.project import Project
from kappa.errors import ConfigurationError, ManifestError
from kappa.frameworks.pickle import PickleArtifact
from kappa.spec.contracts import ModelNeeds
from kappa.spec.document import ArtifactSource

WriteProject = Callable[..., Project]

PICKLED = '\n[artifacts.model]\ntype = "pickle"\npath = "model.pkl"\n[security]\npickle = "allow"\n'


@pytest.fixture
def project(write_project: WriteProject, tmp_path: Path, fresh_modules: None) -> Callable[..., Project]:
    """Return a function that writes a project with a pickle of ``value``."""

    def write(value: Any = None, *, files: dict[str, str] | None = None) -> Project:
        (tmp_path / "project").mkdir(exist_ok=True)
        (tmp_path / "project" / "model.pkl").write_bytes(pickle.dumps(value, protocol=5))
        return write_project(more=PICKLED, files=files)

    return write


def plan_of(project: Project) -> BuildPlan:
    return plan_build(project, version=None, labels={}, environ=os.environ)


def reasons(plan: BuildPlan) -> dict[str, str]:
    return {one.text: one.why for one in plan.requirements if one.why != "Kappa at run time"}


def naming(monkeypatch: pytest.MonkeyPatch, *modules: str, **versions: str) -> None:
    """Let every pickle name these modules and versions."""
    needs = ModelNeeds(modules, {name.replace("_", "-"): version for name, version in versions.items()})
    monkeypatch.setattr(PickleArtifact, "needs_of_file", lambda self, path: needs)


def test_packages_that_a_model_names_are_required_and_it_is_said_why(
    project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    naming(monkeypatch, "sklearn.svm._classes", "numpy", "decimal", "kappa.types")
    versions = {name: importlib.metadata.version(name) for name in ("scikit-learn", "numpy")}
    assert reasons(plan_of(project())) == {
        f"numpy=={versions['numpy']}": "named in model.pkl (numpy)",
        f"scikit-learn=={versions['scikit-learn']}": "named in model.pkl (sklearn.svm._classes)",
    }


def test_the_version_that_a_model_was_made_with_wins_over_the_installed_one(
    project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    naming(monkeypatch, "sklearn.svm._classes", scikit_learn="1.2.3")
    plan = plan_of(project())
    installed = importlib.metadata.version("scikit-learn")
    assert reasons(plan) == {"scikit-learn==1.2.3": "named in model.pkl (sklearn.svm._classes)"}
    (warning,) = plan.warnings
    assert warning == (
        f"`model.pkl` was made with scikit-learn 1.2.3, which the bundle gets; {installed} is installed here, so what "
        "is tested here is not what will be served."
    )


def test_the_users_word_wins_over_a_models(
    project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, write_project: WriteProject
) -> None:
    naming(monkeypatch, "sklearn.svm._classes", scikit_learn="1.2.3")
    project()
    more = PICKLED + '\n[env]\npip_packages = ["Scikit_Learn>=1"]\n'
    assert reasons(plan_of(write_project(more=more))) == {"Scikit_Learn>=1": "`pip_packages`"}


def test_a_module_of_the_users_that_only_the_model_names_is_packed_with_what_it_imports(
    project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"features/__init__.py": "", "features/scaling.py": "import tables_of_mine\n", "tables_of_mine.py": ""}
    naming(monkeypatch, "features.scaling")
    plan = plan_of(project(files=files))
    assert {"features/__init__.py", "features/scaling.py", "tables_of_mine.py"} < {str(path) for path in plan.code}


def test_a_class_of_the_training_script_is_refused_with_the_way_out(
    project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    naming(monkeypatch, "__main__")
    with pytest.raises(ConfigurationError, match=r"`model\.pkl` needs a class or function of the script"):
        plan_of(project())


def test_a_module_that_nobody_knows_is_refused(
    project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    naming(monkeypatch, "nobody_has_this.models")
    with pytest.raises(ManifestError, match=r"kappafile\.toml:\d+:8: error\[KF314\]: `model\.pkl` needs a module"):
        project()


def test_a_package_that_is_not_installed_takes_the_version_of_the_committed_lock(
    project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    naming(monkeypatch, "sklearn.svm._classes")
    made = project()
    first = plan_of(made)
    header = (
        f"# kappa-lock: 1 inputs={'sha256:' + '0' * 64} body={'sha256:' + '0' * 64} python=3.11 platform=x resolver=y"
    )
    (made.root / "kappafile.lock").write_text(f"{header}\nscikit-learn==1.1.1 \\\n    --hash=sha256:00\n")
    assert plan_of(made).lock_inputs == first.lock_inputs
    found = importlib.metadata.version

    def version(name: str) -> str:
        if name == "scikit-learn":
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert reasons(plan_of(made)) == {"scikit-learn==1.1.1": "named in model.pkl (sklearn.svm._classes)"}


@pytest.mark.parametrize(("value", "package"), [(Decimal(1), None), (np.arange(3), "numpy")], ids=["own", "numpy"])
def test_a_model_packed_from_python_is_asked_too(
    project: Callable[..., Project], value: object, package: str | None
) -> None:
    written = project()
    sources = {**written.sources, "model": ArtifactSource(value=value)}
    needed = [f"{package}=={importlib.metadata.version(package)}"] if package else []
    found = reasons(plan_of(replace(written, sources=sources)))
    assert list(found) == needed
    assert all(why.startswith("named in the artifact `model` (") for why in found.values())


# -- a model of another version than is installed ----------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that installs a distribution of one module, with what it requires."""
    folder = tmp_path / "machine" / "site-packages"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder))

    def install(name: str, version: str, *requires: str) -> None:
        module, info = name.replace("-", "_"), folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        info.joinpath("METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {one}" for one in requires)]) + "\n")
        info.joinpath("RECORD").write_text(f"{module}.py,,\n")
        (folder / f"{module}.py").write_text("")

    return install


@pytest.mark.parametrize(
    ("made_with", "expected"),
    [
        pytest.param(
            "1.9",
            ["acme-arrays==2.4", "acme-forest==1.9", "acme-frames==3.1", "acme-web==5.0"],
            id="the installed one",
        ),
        pytest.param(
            "1.9+cpu", ["acme-arrays==2.4", "acme-forest==1.9", "acme-frames==3.1", "acme-web==5.0"], id="local"
        ),
        pytest.param("1.3", ["acme-arrays", "acme-forest==1.3", "acme-frames", "acme-web==5.0"], id="an older one"),
        pytest.param("2.0", ["acme-arrays", "acme-forest==2.0", "acme-frames", "acme-web==5.0"], id="a newer one"),
    ],
)
def test_beside_a_model_of_another_version_nothing_is_pinned_to_what_is_installed(
    write_project: WriteProject,
    site: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    made_with: str,
    expected: list[str],
) -> None:
    site("acme-forest", "1.9", "acme-arrays<3", "acme-threads; extra == 'fast'")
    site("acme-arrays", "2.4")
    site("acme-frames", "3.1", "acme-arrays>=2")  # needs what the model needs
    site("acme-web", "5.0")
    naming(monkeypatch, "acme_forest", "acme_arrays", acme_forest=made_with)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "model.pkl").write_bytes(pickle.dumps(None))
    files = {"handlers.py": "import acme_frames, acme_web, acme_arrays\n\n\ndef greet(person, words):\n    ...\n"}
    project = write_project(more=PICKLED + "[env]\ninfer_pip_packages = true\n", files=files)
    assert list(reasons(plan_of(project))) == expected


def test_a_model_of_what_is_not_installed_keeps_its_version_and_binds_its_companions(
    project: Callable[..., Project], site: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    site("acme-arrays", "2.4")
    naming(monkeypatch, "acme_arrays", acme_forest="1.3")
    assert reasons(plan_of(project())) == {"acme-arrays": "named in model.pkl (acme_arrays)"}


def test_what_is_not_installed_and_has_no_version_is_warned_of(
    write_project: WriteProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_project()
    artifact = type(written.spec.artifacts[0])
    monkeypatch.setattr(artifact, "requires", lambda self: ("acme-nowhere", "acme-bounded>=2"))
    plan = plan_of(written)
    assert list(reasons(plan)) == ["acme-bounded>=2", "acme-nowhere"]
    assert plan.warnings == (
        (
            "`acme-nowhere` (the artifact `words` (json)) is not installed here, and nothing tells its version: the "
            "newest one is taken. Name the version you want in `pip_packages`."
        ),
    )


LINUX_AND_MAC = ("linux/amd64", "macos/arm64")


@pytest.mark.parametrize(
    ("marker", "needed"),
    [
        pytest.param("", None, id="no marker"),
        pytest.param("python_version >= '3.8'", None, id="true everywhere"),
        pytest.param("python_full_version >= '3.11.4'", None, id="true for some releases"),
        pytest.param("python_version < '3.9'", "acme-forest==1.9", id="false everywhere"),
        pytest.param("extra == 'gpu'", "acme-forest==1.9", id="of an extra"),
        pytest.param("sys_platform == 'win32'", "acme-forest==1.9", id="another system"),
        pytest.param(
            "sys_platform == 'linux'",
            "acme-forest==1.9; sys_platform == 'darwin' and platform_machine == 'arm64'",
            id="one system of two",
        ),
    ],
)
@pytest.mark.parametrize("source", ["pip_packages", "pyproject"])
def test_a_requirement_stands_for_what_a_model_needs_only_where_its_marker_is_true(
    write_project: WriteProject,
    site: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    marker: str,
    needed: str | None,
) -> None:
    site("acme-forest", "1.9")
    line = f"acme-forest==1.3{f'; {marker}' if marker else ''}"
    listed = f'pip_packages = ["{line}"]' if source == "pip_packages" else 'pyproject = "pyproject.toml"'
    more = f'\n[env]\npython = "3.11"\n{listed}\n[bundle]\nresolver = "uv"\nplatforms = {[*LINUX_AND_MAC]}\n'
    files = {"pyproject.toml": f'[project]\ndependencies = ["{line}"]\n'}
    written = write_project(more=more, files=files)
    monkeypatch.setattr(type(written.spec.artifacts[0]), "requires", lambda self: ("acme-forest",))
    found = reasons(plan_of(written))
    assert [text for text, why in found.items() if why.startswith("the artifact")] == ([needed] if needed else [])
    assert line in found
