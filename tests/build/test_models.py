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

from kappa.build.plan import BuildPlan, plan_build
from kappa.build.project import Project
from kappa.errors import ConfigurationError
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
    with pytest.raises(ConfigurationError, match=r"`model\.pkl` names a class or function of `__main__`"):
        plan_of(project())


def test_a_module_that_nobody_knows_is_a_warning(
    project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    naming(monkeypatch, "nobody_has_this.models")
    (warning,) = plan_of(project()).warnings
    assert warning == (
        "`model.pkl` names the module `nobody_has_this.models`, which is neither installed nor known: name its package "
        "in `pip_packages`."
    )


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
