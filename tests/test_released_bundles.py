"""Every bundle that was ever released opens, verifies, loads, answers and is served by this version.

`python -m tests.released_bundles` writes those of a version once; nothing rewrites them, `UPDATE_GOLDEN` neither.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kappa
import kappa.testing
from kappa.errors import BundleError
from kappa.services.bundle import open_bundle
from tests import released_bundles
from tests.released_bundles import BUNDLES

RELEASED = {
    "0.1.0/Greeter": "sha256:4f51d66b3e68a868197573431a23e3d4e601b2f73e9692735afc652b1ee4c0ef",
    "0.1.0/Scorer": "sha256:a58e262c6b63bddcfc07bfb4b44a8f8ecf5e8512a92580464ceda69300e1700b",
}
"""The digest of each; a line of a released version never changes and never goes."""

GREETER = [name for name in RELEASED if name.endswith("/Greeter")]
SCORER = [name for name in RELEASED if name.endswith("/Scorer")]


@pytest.fixture
def bundle(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a copy of a bundle: what runs there writes bytecode. Its modules are forgotten after the test."""
    copy = tmp_path / "bundle"
    shutil.copytree(BUNDLES / request.param, copy)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield copy
    for name in [name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


def test_every_released_bundle_is_listed() -> None:
    assert {path.relative_to(BUNDLES).as_posix() for path in BUNDLES.glob("*/*")} == set(RELEASED)


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_bundle_is_as_it_was_and_verifies(name: str) -> None:
    opened = open_bundle(BUNDLES / name)
    opened.verify()
    assert opened.manifest.bundle_digest == RELEASED[name]


@pytest.mark.parametrize("bundle", RELEASED, indirect=True)
def test_another_byte_in_a_file_of_a_released_bundle_is_noticed(bundle: Path) -> None:
    (content,) = bundle.rglob("content.json")
    content.write_bytes(content.read_bytes() + b" ")
    with pytest.raises(BundleError, match=r"content\.json"):
        open_bundle(bundle).verify()


@pytest.mark.parametrize("bundle", GREETER, indirect=True)
def test_a_released_service_of_functions_answers_and_is_served(bundle: Path) -> None:
    person = {"language": "de", "name": "Ada"}
    service: Any = kappa.load(bundle)
    assert service.greet([person]) == ["Guten Tag, Ada"]
    assert (service.name, service.artifacts["words"].metadata) == ("Greeter", {"languages": 2})
    with kappa.testing.client(bundle) as client:
        assert [client.post("/greet", json=person).json for _ in range(2)] == ["Guten Tag, Ada"] * 2
        assert client.post("/read", body=b"1234").json == 4
        assert client.post("/greet", body=b"{").status_code == 400


@pytest.mark.parametrize("bundle", SCORER, indirect=True)
def test_a_released_service_of_a_class_answers_and_is_served(bundle: Path) -> None:
    rows = [{"a": 1.0, "b": 2.0}, {"a": 0.0, "b": 1.0}]
    service: Any = kappa.load(bundle)
    assert service.weight("b") == 3.0
    with kappa.testing.client(bundle) as client:
        assert client.post("/score", json=rows).json == [8.0, 3.0]
        assert client.post("/score", json=[{"a": "x", "b": 1}]).status_code == 422
        assert client.post("/weight", json="a").json == 2.0


def test_what_is_released_is_not_written_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(released_bundles, "BUNDLES", tmp_path)
    (tmp_path / kappa.__version__).mkdir()
    assert released_bundles.main() == 1
    assert list((tmp_path / kappa.__version__).iterdir()) == []
