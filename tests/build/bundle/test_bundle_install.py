"""Bundles as distributions: installed into empty environments, from a folder, an sdist and a wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

import pytest

from kappa._version import __version__
from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.packages.lock import Lock
from kappa.build.packages.wheel import kappa_wheel
from kappa.build.project import Project, read_project
from kappa.frameworks.json import JSONArtifact
from kappa.services.bundle import open_bundle
from kappa.tag import from_pep440

WriteProject = Callable[..., Project]
SeedLock = Callable[..., Lock]
IRIS = Path(__file__).parents[3] / "examples" / "iris"
WHEEL = kappa_wheel().name


def run(*command: str | Path, cwd: Path | str = "/", **environ: str) -> str:
    """Run a command far from the checkout and return what it printed; fails with that if it fails."""
    bare = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**bare, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def files_of(root: Path) -> dict[str, tuple[bytes, float]]:
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime) for path in paths}


# -- which Kappa the package finds -------------------------------------------------------------------------------------

FOUND = """
import sys
before = [*sys.path]
import Greeter
added = [path for path in sys.path if path not in before]
print(Greeter.__version__, len(added), added[:1] == sys.path[:1], added[:1] == sys.path[-1:], "kappa" in sys.modules)
"""


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        pytest.param(None, "1 False True False", id="none"),
        pytest.param(f'__version__ = "{__version__}.post1"', "0 False False True", id="same line"),
        pytest.param('__version__ = "9.1"', "1 True False False", id="other line"),
        pytest.param("answer = 42", "1 True False False", id="unrelated project"),
    ],
)
def test_package_brings_its_own_kappa_only_where_it_must(
    plan: BuildPlan, tmp_path: Path, installed: str | None, expected: str
) -> None:
    build_bundle(plan, tmp_path / "bundle", environ={**os.environ, "SOURCE_DATE_EPOCH": "0"})
    site = tmp_path / "site"
    if installed is not None:
        (site / "kappa").mkdir(parents=True)
        (site / "kappa" / "__init__.py").write_text(installed)
    path = os.pathsep.join([str(tmp_path / "bundle"), str(site)])
    printed = run(sys.executable, "-S", "-B", "-c", FOUND, PYTHONPATH=path)
    version = open_bundle(tmp_path / "bundle").manifest.version
    assert printed.split() == [version, *expected.split()]


# -- the steps of an image ---------------------------------------------------------------------------------------------


@pytest.mark.engine
def test_steps_of_an_image_install_exactly_the_lock_and_the_carried_kappa(
    write_project: WriteProject, index_environ: dict[str, str], tmp_path: Path
) -> None:
    project = write_project(more='\n[env]\npip_packages = ["pear"]\n')
    plan = plan_build(project, version=None, labels={}, environ=index_environ)
    build_bundle(plan, tmp_path / "bundle", environ=index_environ)
    settings = {key: value for key, value in index_environ.items() if key.startswith("PIP_")}
    settings["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script, venv = tmp_path / "bundle" / "kappa-init.sh", tmp_path / "opt" / "kappa"
    steps = ["install_system_packages", "custom_setup", "ensure_python", "install_pip_packages", "install_kappa"]
    run("bash", script, *steps, KAPPA_VENV=str(venv), **settings)
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python3")]
    listed = run(*pip, "list", "--format=freeze", **settings)
    pins = [line.split(" ")[0] for line in (tmp_path / "bundle" / "requirements.txt").read_text().splitlines()]
    expected = {pin for pin in pins if "==" in pin} | {f"kappa-ml=={__version__}"}
    assert {line.lower().replace("_", "-").replace(".yaml", "-yaml") for line in listed.split()} == expected
    run(*pip, "check", **settings)
    assert (venv / "bin" / "kappa").is_file()
    open_bundle(tmp_path / "bundle").verify()


@pytest.mark.engine
def test_package_with_other_bytes_than_the_lock_says_is_not_installed(
    write_project: WriteProject, index_environ: dict[str, str], tmp_path: Path
) -> None:
    plan = plan_build(write_project(), version=None, labels={}, environ=index_environ)
    build_bundle(plan, tmp_path / "bundle", environ=index_environ)
    lock = tmp_path / "bundle" / "requirements.txt"
    lock.write_text(re.sub("--hash=sha256:[0-9a-f]+", f"--hash=sha256:{'0' * 64}", lock.read_text(), count=1))
    venv = tmp_path / "venv"
    settings = {key: value for key, value in index_environ.items() if key.startswith("PIP_")}
    settings["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with pytest.raises(AssertionError, match="DO NOT MATCH THE HASHES"):
        run(
            "bash",
            lock.with_name("kappa-init.sh"),
            "ensure_python",
            "install_pip_packages",
            KAPPA_VENV=str(venv),
            **settings,
        )


# -- with the real index -----------------------------------------------------------------------------------------------


@pytest.mark.index
@pytest.mark.engine
def test_moved_iris_bundle_installs_into_an_empty_environment_and_answers(tmp_path: Path) -> None:
    shutil.copytree(IRIS, tmp_path / "iris", ignore=shutil.ignore_patterns("*.joblib", "__pycache__"))
    run(sys.executable, "train.py", cwd=tmp_path / "iris")
    plan = plan_build(read_project(tmp_path / "iris"), version=None, labels={}, environ=os.environ)
    manifest = build_bundle(plan, tmp_path / "built", environ=os.environ).manifest
    moved = (tmp_path / "built").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "iris")
    before = files_of(moved)

    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python, command = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "IrisClassifier"
    run(python, "-m", "pip", "install", "--disable-pip-version-check", moved)
    assert run(python, "-m", "pip", "check").strip().endswith("No broken requirements found.")
    assert files_of(moved) == before, "installing wrote into the bundle"

    question = (
        "import IrisClassifier, kappa, pandas; service = IrisClassifier.load(); "
        "frame = pandas.DataFrame([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], "
        "columns=['sepal_length', 'sepal_width', 'petal_length', 'petal_width']); "
        "print(IrisClassifier.__version__, service.predict(frame).tolist(), kappa.__file__)"
    )
    version, answer, origin = run(python, "-c", question).strip().replace(", ", ",").split(" ")
    assert (version, answer) == (manifest.version, "[0,2]")
    assert f"IrisClassifier/_kappa/{WHEEL}/kappa" in origin
    assert run(command, "run", "predict", "--input", "[[6.3, 3.3, 6.0, 2.5]]") == "[2]\n"

    (package,) = (tmp_path / "venv").glob("lib/python3*/site-packages/IrisClassifier")
    open_bundle(package).verify()
    (described,) = package.parent.glob("irisclassifier-*.dist-info")
    assert from_pep440(described.name.partition("-")[2].removesuffix(".dist-info")) == manifest.version
    assert [
        path
        for path in described.iterdir()
        if path.name in {"METADATA", "RECORD"} and str(tmp_path) in path.read_text()
    ] == []


def adopt_as_a_tree(self: JSONArtifact, path: Path, directory: Path, *, link: bool = False) -> None:
    """Keep a model as many frameworks do, in folders of its own."""
    shutil.copyfile(path, directory / self.filename)
    (directory / "variables" / "shard").mkdir(parents=True)
    (directory / "variables" / "shard" / "0.bin").write_bytes(bytes(range(256)))


UPLOADED = "import sys\nprint('twine', *sys.argv[1:])\n"


@pytest.mark.index
@pytest.mark.engine
def test_sdist_and_wheel_hold_the_bundle_and_twine_gets_them(
    write_project: WriteProject, seed_lock: SeedLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JSONArtifact, "adopt", adopt_as_a_tree)
    static = {
        "static/index.html": "<h1>",
        "static/js/deep/app.js": "go()",
        "static/.well-known/x": "y",
        "static/none": "",
    }
    file = write_project(files=static).root / "kappafile.toml"
    file.write_text(file.read_text().replace("[artifacts.words]", 'web_static_content = "static"\n\n[artifacts.words]'))
    plan = plan_build(read_project(file), version=None, labels={}, environ=os.environ)
    seed_lock(plan)
    manifest = build_bundle(plan, tmp_path / "bundle", environ=os.environ).manifest
    before = files_of(tmp_path / "bundle")
    package = {name.removeprefix("Greeter/") for name in before}
    assert {name.replace("static/", "web_static_content/") for name in static} <= package
    assert {"artifacts/words/content.json", "artifacts/words/variables/shard/0.bin"} <= package
    run(sys.executable, "-m", "build", "--outdir", tmp_path / "dist", tmp_path / "bundle")
    assert files_of(tmp_path / "bundle") == before, "building wrote into the bundle"

    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert members == {*before, "PKG-INFO"}

    (wheel,) = (tmp_path / "dist").glob("*.whl")  # made from the sdist
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    packed = {name: data for name, (data, _) in before.items() if name.startswith("Greeter/")}
    assert {name: data for name, data in contents.items() if ".dist-info/" not in name} == packed
    (metadata,) = [data.decode() for name, data in contents.items() if name.endswith(".dist-info/METADATA")]
    described = Parser().parsestr(metadata)
    assert (described["Name"], from_pep440(described["Version"])) == ("Greeter", manifest.version)
    assert [data for data in contents.values() if str(tmp_path).encode() in data] == []

    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--disable-pip-version-check", "--upgrade", "setuptools")
    (tmp_path / "site" / "twine").mkdir(parents=True)
    (tmp_path / "site" / "twine" / "__main__.py").write_text(UPLOADED)
    site = str(tmp_path / "site")
    printed = run(python, "setup.py", "sdist", "upload", "-r", "mine", cwd=tmp_path / "bundle", PYTHONPATH=site)
    assert printed.splitlines()[-1].lower() == f"twine upload --repository mine dist/{sdist.name}"
    open_bundle(tmp_path / "bundle").verify()
