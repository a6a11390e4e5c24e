"""What every test stands on: a home of its own, and engines that are named when they are missing.

Tests never see the developer's home, store or settings: `HOME` and `KAPPA_HOME` point into a temporary folder before
any test module is imported, and each test gets a store of its own. pip keeps its download cache and index settings,
which hold nothing of Kappa.

A test that needs an engine is marked with the engine's name (``@pytest.mark.docker``). Where the engine is absent the
test skips with the reason; with ``KAPPA_TEST_REQUIRE=docker,browser`` the absence of those two is a failure.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import settings

from kappa.build.packages.wheel import describe_kappa, write_zip
from tests.gamma.bare_bundles import write_bundle

pytest_plugins = ("pytester",)

# A shared machine may pause any test for a second. The same tests see the same examples, but where faults are sought.
settings.register_profile("kappa", deadline=None, derandomize=True)
settings.register_profile("seeking", deadline=None)
settings.load_profile("seeking" if "FUZZ_EXAMPLES" in os.environ else "kappa")

KEPT_VARIABLES = frozenset({"KAPPA_TEST_REQUIRE"})


def absence_of_docker() -> str | None:
    if (command := shutil.which("docker")) is None:
        return "`docker` is not installed"
    answer = subprocess.run([command, "info"], capture_output=True, text=True, timeout=30, check=False)
    return None if answer.returncode == 0 else f"`{command} info` fails: {answer.stderr.strip()[-200:]}"


def absence_of_podman() -> str | None:
    if (command := shutil.which("podman")) is None:
        return "`podman` is not installed"
    answer = subprocess.run([command, "info"], capture_output=True, text=True, timeout=30, check=False)
    return None if answer.returncode == 0 else f"`podman info` fails: {answer.stderr.strip()[-200:]}"


def absence_of_browser() -> str | None:
    known = ("chromium", "chromium-browser", "google-chrome")
    if not any(map(shutil.which, known)):
        return f"none of {', '.join(known)} is installed"
    if shutil.which("chromedriver") is None:
        return "`chromedriver` is not installed"
    return None if importlib.util.find_spec("selenium") else "`selenium` is not installed"


def absence_of_node() -> str | None:
    return None if shutil.which("node") and shutil.which("npx") else "`node` and `npx` are not installed"


def absence_of_postgres() -> str | None:
    debian = Path("/usr/lib/postgresql")  # which puts only what clients need on the PATH
    return None if shutil.which("initdb") or any(debian.glob("*/bin/initdb")) else "`initdb` is not installed"


def absence_of_s3() -> str | None:
    return None if importlib.util.find_spec("moto") else "`moto` is not installed"


def absence_of_package(name: str) -> str | None:
    return None if importlib.util.find_spec(name) else f"`{name}` is not installed"


def absence_of_onnx() -> str | None:
    return absence_of_package("onnxruntime") or absence_of_package("onnx")


def absence_of_java_package(name: str) -> str | None:
    return absence_of_package(name) if shutil.which("java") else "`java` is not installed"


def absence_of_skl2onnx() -> str | None:
    return absence_of_package("skl2onnx") or absence_of_package("onnxmltools") or absence_of_package("onnxruntime")


def absence_of_onnxscript() -> str | None:
    return absence_of_package("onnxscript") or absence_of_package("onnx") or absence_of_package("onnxruntime")


ENGINES: dict[str, Callable[[], str | None]] = {
    "docker": absence_of_docker,
    "podman": absence_of_podman,
    "browser": absence_of_browser,
    "node": absence_of_node,
    "postgres": absence_of_postgres,
    "s3": absence_of_s3,
    "spacy": partial(absence_of_package, "spacy"),
    "keras": partial(absence_of_package, "keras"),
    "spark": partial(absence_of_java_package, "pyspark"),
    "tensorflow": partial(absence_of_package, "tensorflow"),
    "onnx": absence_of_onnx,
    "onnxscript": absence_of_onnxscript,
    "cloudpickle": partial(absence_of_package, "cloudpickle"),
    "polars": partial(absence_of_package, "polars"),
    "skl2onnx": absence_of_skl2onnx,
    "skops": partial(absence_of_package, "skops"),
    "statsmodels": partial(absence_of_package, "statsmodels"),
    "torch": partial(absence_of_package, "torch"),
    "transformers": partial(absence_of_package, "transformers"),
    "catboost": partial(absence_of_package, "catboost"),
    "lightgbm": partial(absence_of_package, "lightgbm"),
    "lightning": partial(absence_of_package, "pytorch_lightning"),
    "fastai": partial(absence_of_package, "fastai"),
    "jax": partial(absence_of_package, "jax"),
    "paddle": partial(absence_of_package, "paddle"),
    "prophet": partial(absence_of_package, "prophet"),
    "h2o": partial(absence_of_java_package, "h2o"),
    "mlflow": partial(absence_of_package, "mlflow"),
    "xgboost": partial(absence_of_package, "xgboost"),
}
"""Engine markers, each with the function that says why the engine cannot be used here."""


def pytest_configure(config: pytest.Config) -> None:
    for name in ENGINES:
        config.addinivalue_line("markers", f"{name}: needs this engine; skips with the reason where it is absent")
    required = {name for name in os.environ.get("KAPPA_TEST_REQUIRE", "").split(",") if name}
    if unknown := sorted(required - set(ENGINES)):
        raise pytest.UsageError(f"KAPPA_TEST_REQUIRE names {unknown}; known engines are {sorted(ENGINES)}.")
    config.stash[_REQUIRED] = required
    config.stash[_ABSENCES] = {}
    _leave_home(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what runs in its background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # or no child could be interrupted


_REQUIRED = pytest.StashKey[set[str]]()
_ABSENCES = pytest.StashKey[dict[str, str | None]]()


def _leave_home(config: pytest.Config) -> None:
    """Point everything that Kappa or a library might write to into a folder that goes when the run ends."""
    home = Path.home()
    environment = os.environ.copy()
    folder = Path(tempfile.mkdtemp(prefix="kappa-tests-"))
    for name in [name for name in os.environ if name.startswith("KAPPA_") and name not in KEPT_VARIABLES]:
        del os.environ[name]
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        os.environ.pop(name, None)
    os.environ.update(HOME=str(folder), USERPROFILE=str(folder), KAPPA_HOME=str(folder / "kappa"))
    os.environ.setdefault("PIP_CACHE_DIR", str(home / ".cache" / "pip"))
    os.environ.setdefault("PIP_NO_COMPILE", "no")  # pip's word for yes: most of what is installed is never imported
    if (pip_conf := home / ".config" / "pip" / "pip.conf").is_file():
        os.environ.setdefault("PIP_CONFIG_FILE", str(pip_conf))

    def restore() -> None:
        os.environ.clear()
        os.environ.update(environment)
        shutil.rmtree(folder, ignore_errors=True)

    config.add_cleanup(restore)


def pytest_collection_finish() -> None:
    """Take the tests and their modules out of the garbage collector's sight: it would look at all of them each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Write what was measured of a worker: pytest-xdist kills it if it has not ended 10 seconds after its tests."""
    if (measuring := Coverage.current()) is not None and "PYTEST_XDIST_WORKER" in os.environ:
        measuring.stop()
        measuring.save()


def pytest_runtest_setup(item: pytest.Item) -> None:
    absences = item.config.stash[_ABSENCES]
    for name in [mark.name for mark in item.iter_markers() if mark.name in ENGINES]:
        if name not in absences:
            absences[name] = ENGINES[name]()
        if (reason := absences[name]) is None:
            continue
        if name in item.config.stash[_REQUIRED]:
            pytest.fail(f"KAPPA_TEST_REQUIRE names `{name}`, but {reason}.", pytrace=False)
        pytest.skip(f"{name}: {reason}")


@pytest.fixture(autouse=True)
def kappa_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a store of its own and return it; it does not exist yet."""
    home = tmp_path_factory.mktemp("home") / "kappa"
    monkeypatch.setenv("KAPPA_HOME", str(home))
    return home


@pytest.fixture
def stage_bundle() -> Callable[..., Path]:
    """Return a function that writes a bundle of nothing but its manifest and a lock of two packages."""
    return write_bundle


def tiny_wheel(folder: Path, name: str, version: str, requires: Sequence[str] = ()) -> None:
    """Write a wheel that holds one empty module."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    described = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    described += [f"Requires-Dist: {requirement}" for requirement in requires]
    entries = {
        f"{name.replace('-', '_')}.py": b"",
        f"{info}/METADATA": ("\n".join(described) + "\n").encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*entries, f"{info}/RECORD"))
    data = write_zip({**entries, f"{info}/RECORD": record.encode()})
    (folder / f"{stem}-py3-none-any.whl").write_bytes(data)


@pytest.fixture(scope="session")
def tiny_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of wheels: those that Kappa needs at run time, `apple` (1.0, 2.0), and `pear` that needs it."""
    folder = tmp_path_factory.mktemp("index")
    for requirement in describe_kappa().runtime:
        name, _, version = requirement.partition(";")[0].partition(">=")
        tiny_wheel(folder, name.partition("<")[0].strip(), version.strip())
    tiny_wheel(folder, "apple", "1.0")
    tiny_wheel(folder, "apple", "2.0")
    tiny_wheel(folder, "pear", "1.0", requires=["apple<2"])
    return folder
