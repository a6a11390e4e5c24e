"""Compiled models are kept up to a size; those go that no build has used for the longest time."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kappa.build.compile.cache import mark_used, remove_least_recent

HOUR_S = 3600.0
NOW_S = 1_000_000.0


def models(root: Path, **ages_h: float) -> None:
    """Write models of 100 bytes, by the hours since they were used."""
    for name, age_h in ages_h.items():
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(bytes(100))
        os.utime(folder, (NOW_S - age_h * HOUR_S,) * 2)


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_the_ones_used_least_recently_go(tmp_path: Path) -> None:
    models(tmp_path, new=2, old=9, older=10)
    assert remove_least_recent(tmp_path, most_bytes=250, now_s=NOW_S) == ["older"]
    assert names(tmp_path) == ["new", "old"]
    assert remove_least_recent(tmp_path, most_bytes=250, now_s=NOW_S) == []


def test_what_is_used_again_stays(tmp_path: Path) -> None:
    models(tmp_path, new=2, old=9)
    mark_used(tmp_path / "old")
    assert remove_least_recent(tmp_path, most_bytes=150) == ["new"]


def test_what_a_build_may_be_copying_stays_whatever_its_size(tmp_path: Path) -> None:
    models(tmp_path, a=0.1, b=0.9, c=1.1)
    assert remove_least_recent(tmp_path, most_bytes=0, now_s=NOW_S) == ["c"]


def test_a_model_that_is_being_made_is_none_yet(tmp_path: Path) -> None:
    models(tmp_path, **{".digest.staging-x": 99})
    assert remove_least_recent(tmp_path, most_bytes=0, now_s=NOW_S) == []
    assert remove_least_recent(tmp_path / "absent") == []


@given(st.lists(st.tuples(st.integers(2, 50), st.integers(0, 300)), max_size=8), st.integers(0, 1000))
def test_the_rest_fits_and_is_newer_than_what_went(uses: list[tuple[int, int]], most_bytes: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number, (age_h, size_bytes) in enumerate(uses):
            models(root, **{f"m{number}": age_h})
            (root / f"m{number}" / "model.onnx").write_bytes(bytes(size_bytes))
            os.utime(root / f"m{number}", (NOW_S - age_h * HOUR_S,) * 2)
        removed = remove_least_recent(root, most_bytes=most_bytes, now_s=NOW_S)
        ages = {f"m{number}": age_h for number, (age_h, _) in enumerate(uses)}
        assert sum(path.stat().st_size for path in root.glob("*/model.onnx")) <= most_bytes
        assert {*names(root), *removed} == ages.keys()
        assert max((ages[kept] for kept in names(root)), default=0) <= min((ages[gone] for gone in removed), default=99)
