"""Locks from the real package index: equal pins, several systems, and no secret anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kappa.build.bundle.plan import plan_build
from kappa.build.packages.lock import Lock
from kappa.build.packages.locking import lock_packages
from kappa.build.project import read_project
from kappa.spec.platforms import PLATFORMS, running_platform, running_python

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.index


def run(*words: object, cwd: Path, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=dict(environ or os.environ),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    """Return a copy of the example with its model trained."""
    project = tmp_path / "iris"
    shutil.copytree(ROOT / "examples" / "iris", project, ignore=shutil.ignore_patterns("__pycache__", "*.joblib"))
    assert run(sys.executable, "train.py", cwd=project).returncode == 0
    return project


def test_pip_compile_and_uv_pin_the_example_alike(iris: Path) -> None:
    plan = plan_build(read_project(iris), version=None, labels={}, environ=os.environ)
    locks = {
        name: lock_packages(replace(plan.lock_inputs, resolver=name), committed=None, environ=os.environ)
        for name in ("pip-compile", "uv")
    }
    assert locks["pip-compile"].versions == locks["uv"].versions
    assert {"scikit-learn", "pandas", "falcon", "gunicorn"} < locks["uv"].versions.keys()
    hashes = {pin.name: set(pin.hashes) for pin in locks["uv"].pins}
    assert all(hashes[pin.name] & set(pin.hashes) for pin in locks["pip-compile"].pins)


SECRET = "hunter2-swordfish"


def test_passwords_and_extra_links_of_this_machine_leave_no_trace(iris: Path, tmp_path: Path, kappa_home: Path) -> None:
    """Build with a pip configuration that holds both: the lock is the same bytes, and the password is nowhere."""
    kappa = [sys.executable, "-m", "kappa"]
    plain = {**os.environ, "KAPPA_HOME": str(tmp_path / "plain")}
    assert run(*kappa, "lock", cwd=iris, environ=plain).returncode == 0
    first = (iris / "kappafile.lock").read_bytes()
    (iris / "kappafile.lock").unlink()
    (tmp_path / "links").mkdir()
    configured = run(sys.executable, "-m", "pip", "config", "list", "-v", cwd=iris)
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\n"
        f"extra-index-url = http://somebody:{SECRET}@127.0.0.1:9/simple\n"
        f"find-links = {tmp_path / 'links'}\ntrusted-host = 127.0.0.1\nretries = 0\n"
    )
    environ = {
        **os.environ,
        "PIP_CONFIG_FILE": str(settings),
        "PIP_EXTRA_INDEX_URL": f"http://x:{SECRET}@127.0.0.1:9/y",
    }
    for resolver in ("pip-compile", "uv"):
        done = run(*kappa, "build", "--verbose", "--resolver", resolver, cwd=iris, environ=environ)
        assert SECRET not in done.stdout + done.stderr, resolver
    done = run(*kappa, "lock", "--verbose", cwd=iris, environ=environ)
    assert done.returncode == 0, (done.stderr, configured.stdout)
    assert (iris / "kappafile.lock").read_bytes() == first
    assert SECRET not in done.stdout + done.stderr
    for folder in (iris, kappa_home):
        for path in folder.rglob("*"):
            if path.is_file():
                assert SECRET.encode() not in path.read_bytes(), path
                assert str(tmp_path / "links").encode() not in path.read_bytes() or path == settings, path


XGBOOST = """\
kappafile = 1

[service]
name = "Churn"

[bundle]
platforms = ["linux/amd64", "macos/arm64"]
resolver = "uv"

[artifacts.model]
type = "xgboost"
path = "model.json"

[apis.predict]
artifact = "model"
input = "dataframe"
"""
MODEL = '{"learner":{"attributes":{"scikit_learn":"{\\"_estimator_type\\": \\"classifier\\"}"}},"version":[3,2,0]}'
TRAIN = """
import sys
from pathlib import Path
import numpy, xgboost
from kappa.frameworks.xgboost import XgboostModelArtifact
X = numpy.arange(40.0).reshape(20, 2)
y = (X[:, 0] > 20).astype(int)
artifact = XgboostModelArtifact("model")
folder = Path(sys.argv[1])
for name, model in {
    "estimator": xgboost.XGBClassifier(n_estimators=3).fit(X, y),
    "booster": xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, y), num_boost_round=3),
}.items():
    (folder / name).mkdir()
    artifact.save(model, folder / name)
    assert artifact.needs_of_file(folder / name / artifact.filename).versions == {"xgboost": xgboost.__version__}
    assert artifact.sniff(folder / name / artifact.filename) is None
assert artifact.load(folder / "estimator").predict(X).tolist() == y.tolist()
assert isinstance(artifact.load(folder / "booster"), xgboost.Booster)
"""


@pytest.mark.skipif(running_platform() != "linux_x86_64", reason="installs the Linux half of the lock")
def test_an_xgboost_service_locked_for_two_systems_installs_with_its_hashes(tmp_path: Path) -> None:
    project = tmp_path / "churn"
    project.mkdir()
    (project / "kappafile.toml").write_text(XGBOOST + f'\n[env]\npython = "{running_python()}"\n')
    (project / "model.json").write_text(MODEL)
    # What this machine keeps beside the index may lack the files of other systems.
    environ = {
        name: value for name, value in os.environ.items() if name not in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")
    }
    environ["PIP_CONFIG_FILE"] = os.devnull
    done = run(sys.executable, "-m", "kappa", "lock", cwd=project, environ=environ)
    assert done.returncode == 0, done.stderr
    lock = Lock.parse((project / "kappafile.lock").read_text())
    assert lock is not None
    assert lock.platform == "darwin_arm64,linux_x86_64"
    linux = PLATFORMS["linux/amd64"].marker
    assert {pin.marker for pin in lock.pins if pin.name.startswith("nvidia")} == {linux}
    assert lock.versions["xgboost"] == "3.2.0"
    assert {pin.marker for pin in lock.pins if pin.name in ("xgboost", "scikit-learn", "pandas")} == {""}
    assert run(sys.executable, "-m", "venv", tmp_path / "env", cwd=tmp_path).returncode == 0
    python = tmp_path / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", project / "kappafile.lock"]
    done = run(*install, cwd=tmp_path, environ=environ)
    assert done.returncode == 0, done.stderr
    assert run(python, "-m", "pip", "check", cwd=tmp_path).returncode == 0
    done = run(python, "-c", TRAIN, tmp_path, cwd=tmp_path, environ={**environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
