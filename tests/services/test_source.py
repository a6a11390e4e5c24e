"""Services from wherever they come: a project, a snapshot, a bundle, an instance."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from kappa._files import sha256_of_file, walk_files
from kappa.build.class_project import read_class_project
from kappa.services.bundle import open_bundle
from kappa.services.service import load_service
from kappa.services.snapshot import write_snapshot
from kappa.services.source import ServiceSource
from kappa.spec.manifest import BundleManifest, ResolvedEnv
from kappa.spec.service import ServiceSpec
from kappa.types import Payload

MODULES = {
    "greeting_declared": """
import os
import kappa
from kappa.adapters import JsonInput

SEEN = os.environ.get("GREETING")


@kappa.env(variables={"GREETING": "hello"})
@kappa.setup("greeting_setup:connect")
class Greeter(kappa.BentoService):
    @kappa.api(input=JsonInput())
    def greet(self, value, seen):
        return [SEEN, seen]
""",
    "greeting_setup": """
import os

SEEN = os.environ.get("GREETING")


def connect():
    return {"seen": SEEN}
""",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder of a service whose modules read the environment when they are imported."""
    monkeypatch.setenv("GREETING", "")  # so that it is put back
    monkeypatch.delenv("GREETING")
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "root"
    write(folder)
    yield folder
    for name in MODULES:
        sys.modules.pop(name, None)


def write(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


def declared(root: Path) -> ServiceSpec:
    return read_class_project("greeting_declared:Greeter", root).spec


def of_project(root: Path) -> ServiceSource:
    return ServiceSource.of_project(declared(root), {}, root=root)


def of_snapshot(root: Path) -> ServiceSource:
    folder = root.with_name("snapshot")
    folder.mkdir()
    write_snapshot(declared(root), {}, root=root, folder=folder)
    return ServiceSource.of_snapshot(folder)


def of_bundle(root: Path) -> ServiceSource:
    directory = root.with_name("bundle")
    write(directory / "Greeter")
    (directory / "Greeter" / "__init__.py").touch()
    manifest = BundleManifest(
        kappa_version="0.1.0",
        version="1.0",
        created_at="2026-01-02T03:04:05Z",
        service=declared(root),
        env=ResolvedEnv(python_version="3.11", docker_base_image="x", requirements=(), resolver="none"),
        content_digest="sha256:" + "0" * 64,
        files={path.as_posix(): sha256_of_file(directory / path) for path in walk_files(directory)},
    )
    for folder in (directory, directory / "Greeter"):
        (folder / "kappa.yml").write_text(manifest.sealed().to_yaml(), encoding="utf-8")
    return ServiceSource.of_bundle(open_bundle(directory))


def of_instance(root: Path) -> ServiceSource:
    sys.path.insert(0, str(root))
    return ServiceSource.of_instance(importlib.import_module("greeting_declared").Greeter())


SOURCES: Mapping[str, tuple[Callable[[Path], ServiceSource], str, str | None]] = {
    "project": (of_project, "development", "hello"),
    "snapshot": (of_snapshot, "development", "hello"),
    "bundle": (of_bundle, "1.0", "hello"),
    "instance": (of_instance, "development", None),  # whose class was there before
}


@pytest.mark.parametrize("kind", SOURCES)
def test_variables_are_set_before_any_code_is_imported(root: Path, kind: str) -> None:
    source_of, version, seen = SOURCES[kind]
    source = source_of(root)
    assert [name for name in MODULES if name in sys.modules] == (["greeting_declared"] if kind == "instance" else [])
    service = load_service(source)
    assert json.loads(service.apis["greet"].answer_payload(Payload(b"0")).body) == [seen, "hello"]
    assert (service.version, service.manifest) == (version, source.manifest)
