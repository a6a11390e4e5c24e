"""Two versions of one service in one process: each keeps its own modules, late imports, and classes of its pickles."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import kappa
from kappa._files import sha256_of_file, walk_files
from kappa.errors import BundleError, BundleNotFoundError
from kappa.frameworks.pickle import PickleArtifact
from kappa.services.bundle import open_bundle
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.spec.manifest import BundleManifest, ResolvedEnv
from kappa.spec.service import ServiceSpec

MAIN = """\
import scoring_helper
import scoring_pkg.inner as inner
from scoring_pkg import deep
from scoring_helper import Scaler

def predict(value, scaler):
    import scoring_late
    from scoring_pkg.deep import word as late_word
    assert isinstance(scaler, Scaler), type(scaler)
    return [scaler.scale(value), scoring_helper.VERSION, inner.WORD, deep.word(), scoring_late.late(), late_word()]
"""
HELPER = """\
VERSION = {version}

class Scaler:
    def scale(self, value):
        return value * {version}
"""
FILES = {
    "scoring_main.py": MAIN,
    "scoring_helper.py": HELPER,
    "scoring_late.py": "from scoring_helper import VERSION\n\ndef late():\n    return f'late {{VERSION}}'\n",
    "scoring_pkg/__init__.py": "",
    "scoring_pkg/inner.py": "from . import deep\nWORD = 'inner {version} ' + deep.word()\n",
    "scoring_pkg/deep.py": "import scoring_helper\n\ndef word():\n    return f'deep {{scoring_helper.VERSION}}'\n",
}
WriteBundle = Callable[..., Path]


@pytest.fixture(autouse=True)
def process_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from kappa.services import loading

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(loading, "_folders", [])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("scoring_", "_kappa_bundle_")):
            del sys.modules[name]


@pytest.fixture
def write_bundle(tmp_path: Path) -> WriteBundle:
    """Return a function that writes one version of a bundle whose model is a pickle of a class of its own."""

    def write(
        version: int,
        files: Mapping[str, str] | None = None,
        *,
        target: str = "scoring_main:predict",
        service_class: str | None = None,
    ) -> Path:
        directory = tmp_path / f"v{version}"
        package = directory / "Scorer"
        for name, text in {"__init__.py": "", **FILES, **(files or {})}.items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            text = text.replace("{version}", str(version)).replace("{{", "{").replace("}}", "}")
            (package / name).write_text(text, encoding="utf-8")
        dump = "import pickle, sys, scoring_helper; pickle.dump(scoring_helper.Scaler(), open(sys.argv[1], 'wb'))"
        (package / "artifacts" / "scaler").mkdir(parents=True)
        model = package / "artifacts" / "scaler" / "object.pkl"
        subprocess.run([sys.executable, "-c", dump, str(model)], cwd=package, check=True)
        spec = {
            "name": "Scorer",
            "service_class": service_class,
            "artifacts": [PickleArtifact("scaler")],
            "apis": [{"name": "predict", "target": {"function": target}, "input": "json"}],
        }
        manifest = BundleManifest(
            kappa_version="0.1.0",
            version=str(version),
            created_at="2026-01-02T03:04:05Z",
            service=ServiceSpec.model_validate(spec),
            env=ResolvedEnv(python_version="3.11", docker_base_image="x", requirements=(), resolver="none"),
            content_digest="sha256:" + "0" * 64,
            files={path.as_posix(): sha256_of_file(directory / path) for path in walk_files(directory)},
        )
        for folder in (directory, package):
            (folder / "kappa.yml").write_text(manifest.sealed().to_yaml(), encoding="utf-8")
        return directory

    return write


def answer_of(version: int, value: int) -> list[Any]:
    deep = f"deep {version}"
    return [value * version, version, f"inner {version} {deep}", deep, f"late {version}", deep]


def test_two_versions_answer_with_their_own_code_and_models(write_bundle: WriteBundle) -> None:
    path = list(sys.path)
    one, two = kappa.load(write_bundle(1)), kappa.load(write_bundle(2))
    assert sys.path == path
    for _ in range(2):
        assert one.predict(10) == answer_of(1, 10)  # type: ignore[attr-defined]
        assert two.predict(10) == answer_of(2, 10)  # type: ignore[attr-defined]
    assert type(one.artifacts.scaler) is not type(two.artifacts.scaler)
    assert (one.version, two.version, two.name, two.tag) == ("1", "2", "Scorer", "Scorer:2")


def test_late_imports_are_right_whichever_version_answers_first(write_bundle: WriteBundle) -> None:
    one, two, three = (kappa.load(write_bundle(version)) for version in (1, 2, 3))
    assert three.predict(1) == answer_of(3, 1)  # type: ignore[attr-defined]
    assert two.predict(1) == answer_of(2, 1)  # type: ignore[attr-defined]
    assert one.predict(1) == answer_of(1, 1)  # type: ignore[attr-defined]
    assert sys.modules["scoring_late"].late() == "late 1"


def test_the_first_version_has_the_plain_names_and_the_second_its_own(write_bundle: WriteBundle) -> None:
    one, two = kappa.load(write_bundle(1)), kappa.load(write_bundle(2))
    assert type(one.artifacts.scaler).__module__ == "scoring_helper"
    module = type(two.artifacts.scaler).__module__
    assert module.startswith("_kappa_bundle_")
    assert module.endswith(".scoring_helper")
    assert sys.modules["scoring_helper"].VERSION == 1
    assert type(pickle.loads(pickle.dumps(two.artifacts.scaler))) is type(two.artifacts.scaler)


def test_modules_of_the_program_stay_its_own(write_bundle: WriteBundle, tmp_path: Path) -> None:
    (tmp_path / "scoring_helper.py").write_text("VERSION = 'the program'\n", encoding="utf-8")
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    own = importlib.import_module("scoring_helper")
    service = kappa.load(write_bundle(2))
    assert service.predict(3) == answer_of(2, 3)  # type: ignore[attr-defined]
    assert sys.modules["scoring_helper"] is own
    assert "scoring_main" not in sys.modules


def test_a_class_that_only_the_pickle_names_comes_from_its_own_bundle(write_bundle: WriteBundle) -> None:
    main = "def predict(value, scaler):\n    return scaler.scale(value)\n"
    services = [kappa.load(write_bundle(version, {"scoring_main.py": main})) for version in (1, 2)]
    assert [service.predict(10) for service in services] == [10, 20]  # type: ignore[attr-defined]
    spec = sys.modules[type(services[1].artifacts.scaler).__module__].__spec__
    assert spec is not None
    assert spec.name == type(services[1].artifacts.scaler).__module__


def test_loading_a_bundle_again_uses_the_same_modules(write_bundle: WriteBundle) -> None:
    first, other = write_bundle(1), write_bundle(2)
    services = [kappa.load(path) for path in (first, other, first, other)]
    kinds = [type(service.artifacts.scaler) for service in services]
    assert kinds[0] is kinds[2]
    assert kinds[1] is kinds[3]


def test_the_package_of_a_bundle_alone_can_be_loaded_beside_another_version(write_bundle: WriteBundle) -> None:
    one, two = kappa.load(write_bundle(1) / "Scorer"), kappa.load(write_bundle(2) / "Scorer")
    assert [one.predict(1), two.predict(1)] == [answer_of(1, 1), answer_of(2, 1)]  # type: ignore[attr-defined]


def test_a_server_process_takes_two_versions_too(write_bundle: WriteBundle) -> None:
    one, two = (
        load_service(ServiceSource.of_bundle(open_bundle(write_bundle(1))), environ={}),
        load_service(ServiceSource.of_bundle(open_bundle(write_bundle(2))), environ={}),
    )
    assert [service.apis["predict"].call(5) for service in (one, two)] == [answer_of(1, 5), answer_of(2, 5)]
    assert sum(entry.endswith("Scorer") for entry in sys.path) == 1


def test_classes_declared_twice_are_two_classes(write_bundle: WriteBundle) -> None:
    code = (
        "import kappa\nfrom kappa.adapters import JsonInput\nfrom scoring_helper import VERSION\n"
        "class Scorer(kappa.BentoService):\n"
        "    @kappa.api(input=JsonInput())\n"
        "    def predict(self, value):\n        return [value, VERSION, self.version]\n"
    )
    services = []
    for version in (1, 2):
        directory = write_bundle(
            version,
            {"scoring_class.py": code},
            target="scoring_class:Scorer.predict",
            service_class="scoring_class:Scorer",
        )
        services.append(kappa.load(directory))
    assert [service.predict(0) for service in services] == [[0, 1, "1"], [0, 2, "2"]]  # type: ignore[attr-defined]
    assert type(services[0]) is not type(services[1])
    assert [type(service).__name__ for service in services] == ["Scorer", "Scorer"]


def test_versions_answer_from_many_threads(write_bundle: WriteBundle) -> None:
    services = {version: kappa.load(write_bundle(version)) for version in (1, 2)}
    wrong: list[Any] = []

    def ask(version: int) -> None:
        found = [services[version].predict(value) for value in range(50)]  # type: ignore[attr-defined]
        wrong.extend(one for value, one in enumerate(found) if one != answer_of(version, value))

    threads = [threading.Thread(target=ask, args=(version,)) for version in (1, 2, 1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import surely_absent\n",
            "No module named 'surely_absent' (scoring_main.py:1). If `surely_absent` is your own",
        ),
        (
            "from kappa.surely_absent import X\n",
            f"No module named 'kappa.surely_absent' (scoring_main.py:1). This version of Kappa ({kappa.__version__})",
        ),
        ("import scoring_helper\nscoring_helper.absent\n", "has no attribute 'absent' (scoring_main.py:2)"),
        ("x = 1\n", "The module `scoring_main` has no `predict`."),
    ],
)
def test_what_fails_in_a_second_version_is_said_by_its_own_names(
    write_bundle: WriteBundle, code: str, message: str
) -> None:
    kappa.load(write_bundle(1))
    with pytest.raises(BundleError, match=message.replace("(", r"\(").replace(")", r"\)")):
        kappa.load(write_bundle(2, {"scoring_main.py": code}))
    assert sys.modules["scoring_helper"].VERSION == 1


def test_a_tag_that_the_store_does_not_have_is_said() -> None:
    with pytest.raises(BundleNotFoundError, match=r"There is no bundle `Scorer:latest`: the store .* is empty"):
        kappa.load("Scorer:latest")
