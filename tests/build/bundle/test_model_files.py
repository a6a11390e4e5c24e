"""A model's file that `kappa validate` accepts is loaded, from the project and from the bundle, whatever its format.

Its content tells the format, not its name: each of these files is called `model.bin`.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import pickle
import sys
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import plan_build
from kappa.build.project import Project, check_kappafile, read_project
from kappa.services.bundle import open_bundle
from kappa.services.service import LoadedService, load_service
from kappa.services.source import ServiceSource
from kappa.types import Payload

KAPPAFILE = """\
kappafile = 1
[service]
name = "Service"
[artifacts.model]
type = "{kind}"
path = "model.bin"
[apis.predict]
function = "handlers:predict"
input = "json"
"""
ROWS = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
VALUE = {"weights": np.arange(3.0), "words": ["ä", 5, None]}

Write = Callable[[Any, Path], object]
SeedLock = Callable[..., object]


@pytest.fixture(autouse=True)
def path_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])


def project_of(root: Path, kind: str) -> Path:
    (root / "kappafile.toml").write_text(KAPPAFILE.format(kind=kind), encoding="utf-8")
    (root / "handlers.py").write_text("def predict(value, model):\n    return value\n", encoding="utf-8")
    return root


def loaded_everywhere(root: Path, seed_lock: SeedLock) -> list[Any]:
    """Validate, load the project, build it, load the bundle; return both models."""
    project, in_project = validated(root)
    plan = plan_build(project, version=None, labels={}, environ=os.environ)
    seed_lock(plan)
    build_bundle(plan, root / "bundle", environ=os.environ)
    return [
        in_project,
        model_of(partial(load_service, ServiceSource.of_bundle(open_bundle(root / "bundle")), environ={})),
    ]


def loaded_as_kept(root: Path) -> list[Any]:
    """Do the same with the model alone, which a bundle keeps as its type does."""
    project, in_project = validated(root)
    (plugin,) = project.spec.artifacts
    (root / "kept").mkdir()
    plugin.adopt(root / "model.bin", root / "kept")
    return [in_project, plugin.load(root / "kept")]


def validated(root: Path) -> tuple[Project, Any]:
    """Validate and load a project; return it with its model."""
    assert [str(problem) for problem in check_kappafile(root / "kappafile.toml")[1] if problem.is_error] == []
    project = read_project(root)
    return project, model_of(
        partial(load_service, ServiceSource.of_project(project.spec, project.sources, root=root), environ={})
    )


def model_of(load: Callable[[], LoadedService]) -> Any:
    """Load a service and return its model; its code is forgotten, so that another of its name can be loaded."""
    service = load()
    service.close()
    sys.modules.pop("handlers", None)
    return service.artifacts["model"].value


def by_joblib(**options: Any) -> Write:
    return lambda value, path: joblib.dump(value, path, **options)


def by_pickle(protocol: int, pack: Callable[[bytes], bytes] = bytes) -> Write:
    return lambda value, path: path.write_bytes(pack(pickle.dumps(value, protocol)))


PICKLES: Mapping[str, Write] = {
    **{f"pickle {protocol}": by_pickle(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
    **{f"joblib {protocol}": by_joblib(protocol=protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
    **{f"joblib {name}": by_joblib(compress=(name, 3)) for name in ("zlib", "gzip", "bz2", "lzma", "xz")},
    **{f"pickle in {pack.__name__}": by_pickle(4, pack.compress) for pack in (zlib, gzip, bz2, lzma)},
    "old pickle in gzip": by_pickle(0, gzip.compress),
}


@pytest.mark.parametrize("write", PICKLES.values(), ids=PICKLES)
@pytest.mark.parametrize("kind", ["pickle", "sklearn"])
def test_every_file_of_pickle_and_joblib_is_loaded_as_either_type(tmp_path: Path, kind: str, write: Write) -> None:
    model = LinearRegression().fit(ROWS, [1.0, 2.0, 3.0])
    write(model, project_of(tmp_path, kind) / "model.bin")
    for loaded in loaded_as_kept(tmp_path):
        assert loaded.predict(ROWS).tolist() == model.predict(ROWS).tolist()


@pytest.mark.parametrize("name", ["pickle 4", "joblib 4", "joblib xz"])
def test_a_pickle_is_any_object(tmp_path: Path, seed_lock: SeedLock, name: str) -> None:
    PICKLES[name](VALUE, project_of(tmp_path, "pickle") / "model.bin")
    for loaded in loaded_everywhere(tmp_path, seed_lock):
        assert loaded["weights"].tolist() == [0, 1, 2]
        assert loaded["words"] == VALUE["words"]


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("json", b'{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ("json", b" \n[true]\n", [True]),
        ("text", "Zeile\r\nü".encode(), "Zeile\r\nü"),
    ],
)
def test_data_and_text_are_loaded(tmp_path: Path, seed_lock: SeedLock, kind: str, data: bytes, value: Any) -> None:
    (project_of(tmp_path, kind) / "model.bin").write_bytes(data)
    assert loaded_everywhere(tmp_path, seed_lock) == [value, value]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("json", b"\xef\xbb\xbf[1]"),
        ("json", b"[" * 100_000),
        ("pickle", gzip.compress(b"a,b\n1,2\n", mtime=0)),
        ("pickle", b"\x1f\x8bno gzip"),
        ("pickle", b"xylophone,violin\n1,2\n"),
        ("pickle", b"\x80abc"),
        ("sklearn", zlib.compress(b"")),
        ("xgboost", b'{"a": 1}'),
        ("xgboost", b"{L\0\0\0\0\0\0\0\x01ai\x01}"),
    ],
)
def test_what_could_not_be_loaded_is_refused_before_it_is_built(tmp_path: Path, kind: str, data: bytes) -> None:
    (project_of(tmp_path, kind) / "model.bin").write_bytes(data)
    assert [one.code for one in check_kappafile(tmp_path / "kappafile.toml")[1] if one.is_error] == ["KF309"]


# -- XGBoost, whose library tells its formats apart by the extension ---------------------------------------------------

AS_JSON = json.dumps({"learner": {"attributes": {}}, "version": [3, 2, 0]}, separators=(",", ":")).encode()
AS_UBJSON = b"{L\0\0\0\0\0\0\0\x07learner{}version[#L\0\0\0\0\0\0\0\x03i\x03i\x02i\0}"


class Booster:
    """Reads the format that a file's extension names, as XGBoost's does."""

    def load_model(self, path: str) -> None:
        self.data = Path(path).read_bytes()
        if (Path(path).suffix == ".json") is not (self.data[1:2] in b'" \n'):
            raise ValueError(f"{path} is not what its extension says")

    def attr(self, name: str) -> None:
        """Tell of no estimator."""


@pytest.mark.parametrize(
    "data", [AS_JSON, json.dumps(json.loads(AS_JSON), indent=1).encode(), AS_UBJSON], ids=["json", "indented", "ubjson"]
)
def test_a_file_of_xgboost_is_loaded_in_its_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    library = ModuleType("xgboost")
    library.Booster = Booster  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xgboost", library)
    (project_of(tmp_path, "xgboost") / "model.bin").write_bytes(data)
    assert [model.data for model in loaded_as_kept(tmp_path)] == [data, data]


@pytest.mark.xgboost
@pytest.mark.parametrize("name", ["model.json", "model.ubj"])
@pytest.mark.parametrize("is_estimator", [True, False], ids=["estimator", "booster"])
def test_what_xgboost_itself_saves_is_loaded(
    tmp_path: Path, seed_lock: SeedLock, name: str, is_estimator: bool
) -> None:
    import xgboost  # type: ignore[import-not-found, unused-ignore]

    model = xgboost.XGBRegressor(n_estimators=2).fit(ROWS, [1.0, 2.0, 3.0])
    saved = model if is_estimator else model.get_booster()
    saved.save_model(project_of(tmp_path, "xgboost") / name)
    (tmp_path / name).rename(tmp_path / "model.bin")
    for loaded in loaded_everywhere(tmp_path, seed_lock):
        rows = ROWS if is_estimator else xgboost.DMatrix(ROWS)
        assert loaded.predict(rows).tolist() == model.predict(ROWS).tolist()


SERVED = """\
kappafile = 1
[service]
name = "Service"
[artifacts.model]
type = "xgboost"
path = "model.json"
[apis.predict]
artifact = "model"
input = "dataframe"
"""
TABLE = pd.DataFrame(ROWS, columns=["a", "b"])


@pytest.mark.xgboost
@pytest.mark.parametrize("is_estimator", [True, False], ids=["estimator", "booster"])
@pytest.mark.parametrize("fitted", [TABLE, ROWS], ids=["with names", "without"])
def test_what_xgboost_saved_answers_tables_without_code(tmp_path: Path, is_estimator: bool, fitted: Any) -> None:
    import xgboost

    model = xgboost.XGBRegressor(n_estimators=2).fit(fitted, [1.0, 2.0, 3.0])
    (model if is_estimator else model.get_booster()).save_model(tmp_path / "model.json")
    (tmp_path / "kappafile.toml").write_text(SERVED, encoding="utf-8")
    project = read_project(tmp_path)
    service = load_service(ServiceSource.of_project(project.spec, project.sources, root=tmp_path), environ={})
    try:
        api = service.apis["predict"]
        (answer,) = api.run([api.decode(Payload(json.dumps(ROWS).encode()))])
        assert list(answer) == model.predict(fitted).tolist()
    finally:
        service.close()
