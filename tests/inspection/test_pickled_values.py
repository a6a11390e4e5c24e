"""Functions and classes that cloudpickle writes as they are: what they use is found without running them."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kappa.build.project import read_project
from kappa.errors import ManifestError
from kappa.inspection.pickles import needs_of_object, needs_of_pickle

cloudpickle = pytest.importorskip("cloudpickle", reason="no package here needs it any more")

TRAINING = """
import feats_of_test, feats_of_test.deep, json
from feats_of_test import scale
class Model:
    def predict(self, value):
        import late_of_test, yaml
        return feats_of_test.scale(value), feats_of_test.deep, json
def function(value):
    return feats_of_test.deep.scale(value)
made = lambda value: function(feats_of_test.scale(value))
"""


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Run a training script as `__main__` would be: what it defines can only be kept as it is."""
    package = tmp_path / "code" / "feats_of_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("def scale(value): return 2 * value\n")
    (package / "deep.py").write_text("from feats_of_test import scale\n")
    monkeypatch.syspath_prepend(str(package.parent))
    script = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", script)
    exec(TRAINING, vars(script))
    yield vars(script)
    for name in ("feats_of_test", "feats_of_test.deep"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["Model", "function", "made"])
def test_modules_that_values_use_are_named(name: str, protocol: int, training: dict[str, Any], tmp_path: Path) -> None:
    value = training[name]() if name == "Model" else training[name]
    (tmp_path / "model.pkl").write_bytes(cloudpickle.dumps(value, protocol=protocol))
    needs = needs_of_pickle(tmp_path / "model.pkl")
    assert "feats_of_test" in needs.modules
    assert ("late_of_test" in needs.later) is (name == "Model")
    assert {"late_of_test", "yaml"}.isdisjoint(needs.modules)


def test_values_inside_of_values_are_read_too(training: dict[str, Any], tmp_path: Path) -> None:
    """`joblib.wrap_non_picklable_objects` keeps a text that cloudpickle wrote."""
    inner = cloudpickle.dumps(training["made"])

    class Wrapped:
        def __reduce__(self) -> Any:
            return cloudpickle.loads, (inner,)

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Wrapped()))
    assert "feats_of_test" in needs_of_pickle(tmp_path / "model.pkl").modules
    assert "feats_of_test" in needs_of_object(Wrapped()).modules


def test_reading_runs_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return cloudpickle.loads, (pickle.dumps(Bomb()),)

    class Bomb:
        def __reduce__(self) -> Any:
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    (tmp_path / "model.pkl").write_bytes(pickle.dumps([Trap(), Bomb()]))
    assert "builtins" in needs_of_pickle(tmp_path / "model.pkl").modules
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("cut", [10, 50, 100, 200, 400])
def test_a_file_that_ends_too_soon_is_read_as_far_as_it_goes(
    cut: int, training: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "model.pkl").write_bytes(cloudpickle.dumps(training["Model"]())[:cut])
    assert needs_of_pickle(tmp_path / "model.pkl") is not None


KAPPAFILE = """
kappafile = 1
[service]
name = "Service"
[artifacts.model]
type = "pickle"
path = "model.pkl"
[apis.predict]
artifact = "model"
method = "predict"
input = "json"
"""


def test_own_code_that_a_value_uses_is_needed_by_the_bundle(training: dict[str, Any], tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (root / "kappafile.toml").write_text(KAPPAFILE)
    (root / "model.pkl").write_bytes(cloudpickle.dumps(training["Model"]()))
    read_project(root)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path / "code")]
    with pytest.raises(ManifestError, match=r"error\[KF314\]: `model\.pkl` needs a module.*`feats_of_test`"):
        read_project(root)


def test_a_file_that_dill_wrote_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kappafile.toml").write_text(KAPPAFILE)
    named = b"\x8c\x0adill._dill\x94\x8c\x0c_create_type\x94\x93\x94"
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04" + named + b".")
    with pytest.raises(ManifestError, match=r"error\[KF341\]: `model\.pkl` was written by `dill`"):
        read_project(tmp_path)
