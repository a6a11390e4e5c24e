"""Bundles: opened, verified, damaged, loaded."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

import kappa
from kappa._files import sha256_of_file, walk_files
from kappa.errors import BundleError, BundleNotFoundError
from kappa.frameworks.json import JSONArtifact
from kappa.services.bundle import Bundle, open_bundle
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.spec.manifest import BundleManifest, ResolvedArtifact, ResolvedEnv
from kappa.spec.service import ServiceSpec
from kappa.types import Payload

CODE = "def predict(value, factor):\n    return value * factor\n"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a small bundle."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    directory = tmp_path / "bundle"
    for name, text in {
        "README.md": "# Demo",
        "requirements.txt": "",
        "Demo/__init__.py": "",
        "Demo/tiers_bundled.py": CODE,
        "Demo/build/__init__.py": "",
        "Demo/lookup/kappa.yml": "mine: 1",
        "Demo/artifacts/factor/content.json": "10",
    }.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    manifest = BundleManifest(
        kappa_version="0.1.0",
        version="1.0",
        created_at="2026-01-02T03:04:05Z",
        service=ServiceSpec.model_validate(
            {
                "name": "Demo",
                "artifacts": [JSONArtifact("factor")],
                "apis": [
                    {
                        "name": "predict",
                        "target": {"function": "tiers_bundled:predict"},
                        "input": {"type": "json", "http_input_example": {"b": 1, "a": None}},
                    }
                ],
            }
        ),
        env=ResolvedEnv(python_version="3.11", docker_base_image="x", requirements=(), resolver="none"),
        artifacts=(ResolvedArtifact(name="factor", metadata={"rows": 3, "auc": 0.5}, size_bytes=2),),
        content_digest="sha256:" + "0" * 64,
        files={path.as_posix(): sha256_of_file(directory / path) for path in walk_files(directory)},
    )
    for folder in (directory, directory / "Demo"):
        (folder / "kappa.yml").write_text(manifest.sealed().to_yaml(), encoding="utf-8")
    yield directory
    sys.modules.pop("tiers_bundled", None)


def test_a_bundle_as_built_is_verified(directory: Path) -> None:
    open_bundle(directory).verify()


def test_its_package_alone_is_verified_too(directory: Path) -> None:
    installed = open_bundle(directory / "Demo")
    installed.verify()
    assert (installed.is_installed, installed.package.folder) == (True, directory / "Demo")
    whole = open_bundle(directory)
    assert (whole.is_installed, whole.package.folder) == (False, directory / "Demo")


def test_what_pip_python_and_the_system_add_is_not_looked_at(directory: Path) -> None:
    for name in ("build/lib/x.py", "Demo.egg-info/PKG-INFO", "Demo/__pycache__/x.pyc", ".DS_Store"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()
    open_bundle(directory).verify()


def _edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        text = (directory / name).read_text(encoding="utf-8")
        assert old in text
        (directory / name).write_text(text.replace(old, new), encoding="utf-8")

    return damage


def _both(damage: Callable[[str], Callable[[Path], None]]) -> Callable[[Path], None]:
    def damage_both(directory: Path) -> None:
        damage("kappa.yml")(directory)
        damage("Demo/kappa.yml")(directory)

    return damage_both


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        pytest.param(lambda d: (d / "README.md").unlink(), "`README.md` is missing", id="missing"),
        pytest.param(lambda d: (d / "Demo/new.py").touch(), "`Demo/new.py` was added", id="added"),
        pytest.param(_edit("Demo/tiers_bundled.py", "*", "+"), "`Demo/tiers_bundled.py` was changed", id="changed"),
        pytest.param(_edit("Demo/build/__init__.py", "", "1"), "`Demo/build/__init__.py` was changed", id="build"),
        pytest.param(_edit("Demo/lookup/kappa.yml", "1", "2"), "`Demo/lookup/kappa.yml` was changed", id="user's yml"),
        pytest.param(_edit("Demo/kappa.yml", "auc: 0.5", "auc: 0.6"), "`kappa.yml` was changed", id="inner manifest"),
        pytest.param(_both(lambda n: _edit(n, "auc: 0.5", "auc: 0.6")), "`kappa.yml` was changed", id="manifests"),
        pytest.param(
            lambda d: shutil.rmtree(d / "Demo" / "artifacts"),
            "`Demo/artifacts/factor/content.json` is missing",
            id="folder",
        ),
        pytest.param(
            lambda d: [(d / f"new{i:02}").touch() for i in range(12)],
            "; ".join(f"`new{i:02}` was added" for i in range(10)) + "; and 2 more",
            id="many",
        ),
    ],
)
def test_damage_is_named(directory: Path, damage: Callable[[Path], object], problem: str) -> None:
    damage(directory)
    with pytest.raises(BundleError) as error:
        open_bundle(directory).verify()
    assert str(error.value) == f"The bundle in `{directory}` is not as it was built: {problem}."


def test_the_openapi_document_is_the_one_that_was_built(directory: Path) -> None:
    made = open_bundle(directory).openapi()
    assert made["info"]["version"] == open_bundle(directory).manifest.version
    (directory / "docs.json").write_text('{"built": 1}', encoding="utf-8")
    assert open_bundle(directory).openapi() == {"built": 1}
    (directory / "docs.json").write_text("{", encoding="utf-8")
    with pytest.raises(BundleError, match=r"docs.json` cannot be read: .* `kappa verify` compares the whole bundle"):
        open_bundle(directory).openapi()


def test_a_bundle_without_its_inner_manifest_cannot_be_verified(directory: Path) -> None:
    (directory / "Demo" / "kappa.yml").unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        open_bundle(directory).verify()


def test_a_later_kappa_with_further_fields_finds_the_same_digest(directory: Path) -> None:
    bundle = open_bundle(directory)

    class Later(BundleManifest):
        added_later: int = 5

    Bundle(directory, Later.model_validate(bundle.manifest.to_tree()), bundle.digest).verify()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "`{}` is not a bundle's manifest: it has no `schema_version`."),
        ("[1]", "`{}` is not a bundle's manifest: it has no `schema_version`."),
        ("schema_version: one", "`{}` is not a bundle's manifest: it has no `schema_version`."),
        (
            "schema_version: 2\nkappa_version: '3.0'",
            "`{}` has the schema version 2; this Kappa reads up to 1. Upgrade to Kappa 3.0 or newer.",
        ),
        ("schema_version: 1", "`{}` is not a valid manifest: `kappa_version`: Field required."),
        ("schema_version: 1\na: &x [*x]", "`{}` is not a bundle's manifest: it refers to parts of itself."),
        (
            "schema_version: 1\na: &a [1]\n"
            + "\n".join(f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
            "`{}` is not a bundle's manifest: it refers to parts of itself.",
        ),
        ("a: [", "`{}` cannot be read: "),
        ("[" * 10_000, "`{}` cannot be read: "),
        ("a: 2024-99-99", "`{}` cannot be read: "),
        ("a: !!python/object:os.system x", "`{}` cannot be read: "),
        ("a: \ud800", "`{}` cannot be read: "),
        ("#" * (2**20 + 1), "`{}` has 1048577 bytes; a manifest over 1048576 bytes is refused."),
    ],
)
def test_a_broken_manifest(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "kappa.yml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(BundleError) as error:
        open_bundle(tmp_path)
    expected = message.format(tmp_path / "kappa.yml")
    assert str(error.value)[: len(expected)] == expected


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="There is no bundle in"):
        open_bundle(tmp_path / "gone")
    with pytest.raises(BundleError) as error:
        open_bundle(tmp_path)
    assert str(error.value) == f"`{tmp_path}` is not a bundle: it has no `kappa.yml`."


@pytest.mark.parametrize("part", ["", "Demo"], ids=["whole", "installed"])
def test_a_bundle_is_loaded(directory: Path, part: str) -> None:
    service = load_service(ServiceSource.of_bundle(open_bundle(directory / part)), environ={})
    answer = service.apis["predict"].answer_payload(Payload(b"5"))
    assert (service.version, json.loads(answer.body)) == ("1.0", 50)
    assert service.artifacts["factor"].metadata == {"rows": 3, "auc": 0.5}
    assert service.examples_directory == (None if part else directory / "examples")


@pytest.mark.parametrize("pinned", ["1.0", None, "absent"])
def test_other_versions_than_it_was_built_with_are_told_when_it_is_loaded(
    pinned: str | None, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = metadata.version("click")
    lock = directory / "requirements.txt"
    lock.write_text(f"# kappa-input: model click.core -> click\nclick=={pinned or here} \\\n    --hash=sha256:00\n")
    if pinned == "absent":
        lock.write_text("click==1.0 \\\n    --hash=sha256:00\n")  # only something that the service needs needs it
    with caplog.at_level(logging.WARNING, logger="kappa.service"):
        load_service(ServiceSource.of_bundle(open_bundle(directory)), environ={})
    words = f"The bundle has other versions than run here, so it may answer otherwise: click {here} (1.0 there)."
    assert caplog.messages == ([words] if pinned == "1.0" else [])


def test_load_gives_an_object_with_a_method_per_api(directory: Path) -> None:
    service = kappa.load(str(directory))
    assert (service.predict(3), service.artifacts.factor) == (30, 10)  # type: ignore[attr-defined]


def test_a_bundle_without_its_model_cannot_be_loaded(directory: Path) -> None:
    shutil.rmtree(directory / "Demo" / "artifacts")
    with pytest.raises(BundleError, match=r"not as it was built: `Demo/artifacts/factor/content.json` is missing\."):
        load_service(ServiceSource.of_bundle(open_bundle(directory)), environ={})
