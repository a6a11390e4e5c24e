"""Modules and versions that pickles name, found without loading them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import pickletools
import sys
import zlib
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kappa.frameworks.sklearn import SklearnModelArtifact
from kappa.inspection.pickles import needs_of_object, needs_of_pickle
from kappa.spec.contracts import ModelNeeds


@pytest.fixture(scope="module")
def pipeline() -> Any:
    values = np.random.default_rng(0).random((40, 3))
    return make_pipeline(StandardScaler(), RandomForestClassifier(3)).fit(values, values[:, 0] > 0.5)


SKLEARN = {"sklearn.pipeline", "sklearn.preprocessing._data", "sklearn.ensemble._forest", "sklearn.tree._tree"}


class OfTheScript:
    """Stands for a class of a training script."""


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_protocol_is_read(pipeline: Any, tmp_path: Path, protocol: int) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(pipeline, protocol=protocol))
    needs = needs_of_pickle(tmp_path / "model.pkl")
    assert set(needs.modules) > SKLEARN
    assert needs.versions == {"scikit-learn": sklearn.__version__}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_what_is_taken_from_the_script_is_known_by_name(
    tmp_path: Path, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OfTheScript, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "OfTheScript", OfTheScript, raising=False)
    (tmp_path / "x").write_bytes(pickle.dumps(OfTheScript(), protocol=protocol))
    needs = needs_of_pickle(tmp_path / "x")
    assert ("__main__" in needs.modules, needs.of_main) == (True, ("OfTheScript",))


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)], ids=str)
def test_what_joblib_writes_is_read_whatever_compresses_it(pipeline: Any, tmp_path: Path, compress: Any) -> None:
    joblib.dump(pipeline, tmp_path / "model.joblib", compress=compress)
    needs = SklearnModelArtifact("model").needs_of_file(tmp_path / "model.joblib")
    assert set(needs.modules) > SKLEARN
    assert needs.versions == {"scikit-learn": sklearn.__version__}


def test_an_object_at_hand_names_the_same_as_its_file(pipeline: Any, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(pipeline, protocol=5))
    in_file, at_hand = needs_of_pickle(tmp_path / "model.pkl"), needs_of_object(pipeline)
    assert set(at_hand.modules) > SKLEARN
    assert {name for name in in_file.modules if "sklearn" in name} == {n for n in at_hand.modules if "sklearn" in n}
    assert at_hand.versions == in_file.versions


def test_what_cannot_be_pickled_names_nothing() -> None:
    assert needs_of_object(lambda: None) == ModelNeeds()


def test_nothing_of_a_pickle_runs(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",)

    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(Trap()))
    assert needs_of_pickle(tmp_path / "trap.pkl").modules == ("builtins",)
    assert not (tmp_path / "sprung").exists()


NAMED = {"decimal": Decimal(1), "fractions": Fraction(1, 2), "collections": OrderedDict(), "pathlib": Path("x")}


@given(
    chosen=st.lists(st.sampled_from(sorted(NAMED)), max_size=4),
    noise=st.lists(st.one_of(st.binary(max_size=300), st.text(max_size=30), st.integers())),
    protocol=st.sampled_from([0, 1, 2, 3, 4, 5]),
    optimised=st.booleans(),
)
def test_names_are_found_among_anything_and_nothing_is_made_up(
    tmp_path_factory: pytest.TempPathFactory, chosen: list[str], noise: list[Any], protocol: int, optimised: bool
) -> None:
    data = pickle.dumps([*noise, *(NAMED[name] for name in chosen), *noise], protocol=protocol)
    path = tmp_path_factory.mktemp("pickles") / "x.pkl"
    path.write_bytes(pickletools.optimize(data) if optimised else data)
    found = set(needs_of_pickle(path).modules) - {"_codecs", "builtins", "__builtin__"}
    expected = {name for name in chosen if name != "pathlib"}
    assert {name for name in found if not name.startswith("pathlib")} == expected
    assert any(name.startswith("pathlib") for name in found) == ("pathlib" in chosen)


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_a_name_across_the_seam_of_two_parts_is_found(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    for shift in (0, 20, 40):
        data = pickle.dumps([b"x" * ((1 << 22) - 60 + shift), Decimal(1)], protocol=5)
        (tmp_path / "x.pkl").write_bytes(pack(data))
        assert "decimal" in needs_of_pickle(tmp_path / "x.pkl").modules


@pytest.mark.parametrize("data", [b"", b"\x80", b"xylophone", b"plain text"], ids=repr)
def test_what_is_no_pickle_names_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert needs_of_pickle(tmp_path / "x") == ModelNeeds()


@pytest.mark.parametrize(
    ("head", "modules"),
    [(b"\x78\x9c", ("joblib",)), (b"\x1f\x8b", ("joblib",)), (b"\x04\x22\x4d\x18", ("joblib", "lz4"))],
    ids=["zlib", "gzip", "lz4"],
)
def test_a_packed_file_names_what_unpacks_it(tmp_path: Path, head: bytes, modules: tuple[str, ...]) -> None:
    (tmp_path / "x").write_bytes(head + b"garbage")
    assert needs_of_pickle(tmp_path / "x") == ModelNeeds(modules)


def test_a_file_that_is_not_there_names_nothing(tmp_path: Path) -> None:
    assert needs_of_pickle(tmp_path / "x") == ModelNeeds()
