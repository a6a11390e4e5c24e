"""A model that is loaded with other versions than it was saved with is told of with both."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import joblib
import pytest
import sklearn.base
from sklearn.linear_model import LinearRegression

from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.model_files import versions_at_save
from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.packages.lock import Lock
from kappa.build.project import read_project
from kappa.errors import BundleError
from kappa.frameworks.numpy import NumpyArtifact
from kappa.frameworks.sklearn import SklearnModelArtifact
from kappa.frameworks.skops import SkopsModelArtifact
from kappa.services.bundle import open_bundle
from kappa.services.service import load_service
from kappa.services.source import ServiceSource, load_kept
from kappa.spec.document import ArtifactSource

CLICK, HERE = metadata.version("click"), metadata.version("scikit-learn")
KAPPAFILE = """\
kappafile = 1
[service]
name = "Service"
[artifacts.model]
type = "sklearn"
path = "model.joblib"
[apis.predict]
artifact = "model"
input = "dataframe"
"""
DRIFT = f"The artifact `model` was saved with scikit-learn 1.0.2 ({HERE} here), so it may answer otherwise than it did."


def written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a project whose model says that an older scikit-learn saved it."""
    model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    with monkeypatch.context() as patch:
        patch.setattr(sklearn.base, "__version__", "1.0.2")
        joblib.dump(model, folder / "model.joblib")
    (folder / "kappafile.toml").write_text(KAPPAFILE, encoding="utf-8")
    return model


def loaded(source: ServiceSource, caplog: pytest.LogCaptureFixture) -> list[str]:
    with caplog.at_level(logging.WARNING, logger="kappa.service"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's own
        load_service(source, environ={}).close()
    return caplog.messages


def test_a_project_tells_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, monkeypatch)
    project = read_project(tmp_path)
    source = ServiceSource.of_project(project.spec, project.sources, root=tmp_path)
    assert loaded(source, caplog) == [DRIFT]


@pytest.mark.parametrize("pinned", ["1.0.2", HERE])
def test_a_bundle_keeps_the_versions_and_tells_of_it_once(
    pinned: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seed_lock: Callable[..., Lock],
) -> None:
    written(tmp_path, monkeypatch)
    plan = plan_build(read_project(tmp_path), version=None, labels={}, environ=os.environ)
    seed_lock(plan, f"scikit-learn=={pinned} \\\n    --hash=sha256:00\n")
    manifest = build_bundle(plan, tmp_path / "bundle", environ=dict(os.environ)).manifest
    assert manifest.artifacts[0].versions == {"scikit-learn": "1.0.2"}
    assert loaded(ServiceSource.of_bundle(open_bundle(tmp_path / "bundle")), caplog) == [DRIFT]


def test_a_model_that_is_packed_is_saved_with_the_versions_here(plan: BuildPlan, tmp_path: Path) -> None:
    assert [artifact.versions for artifact in plan.artifacts] == [{}]
    source = ArtifactSource(value=LinearRegression().fit([[1.0]], [1.0]))
    assert versions_at_save(SkopsModelArtifact("model"), source)["scikit-learn"] == HERE
    assert versions_at_save(NumpyArtifact("model"), ArtifactSource(value=[1])) == {"numpy": metadata.version("numpy")}
    assert versions_at_save(NumpyArtifact("model"), ArtifactSource(path=tmp_path)) == {}


@pytest.mark.parametrize(
    ("versions", "end"),
    [
        ({"click": "1.0"}, f"with click 1.0 ({CLICK} here): install what it was saved with, or save it again."),
        ({"click": CLICK}, f"with click {CLICK} ({CLICK} here): `kappa inspect` tells what is in it."),
        ({"absent": "1.0"}, "with absent 1.0: `kappa inspect` tells what is in it."),
    ],
)
def test_a_model_that_cannot_be_loaded_names_its_file_and_both_versions(
    versions: dict[str, str], end: str, tmp_path: Path
) -> None:
    (tmp_path / "model.joblib").write_bytes(b"")
    with pytest.raises(BundleError) as error:
        load_kept(SklearnModelArtifact("model"), tmp_path, versions=versions)
    assert str(error.value).startswith(f"The artifact `model` (sklearn) cannot be loaded from `{tmp_path}`: ")
    assert str(error.value).endswith(f" It was saved {end}")
