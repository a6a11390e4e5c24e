"""The quick reader of manifests gives what the usual one gives, whatever the text is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml.error import YAMLError

from kappa.spec import quick_manifest
from kappa.spec.manifest import BundleManifest, bundle_digest, load_yaml
from kappa.spec.quick_manifest import load_quickly
from tests.gamma.sealed import seal
from tests.spec.test_manifest import manifests

RELEASED = sorted((Path(__file__).parents[1] / "golden" / "bundles").rglob("kappa.yml"))
PLAIN = [
    "on",
    "yes",
    "y",
    "No",
    "off",
    "~",
    "0o17",
    "017",
    "0x1f",
    "0b1",
    "1_000",
    "1e3",
    "1.",
    ".5",
    ".inf",
    ".nan",
    "=",
]
PLAIN += ["1:30", "2026-01-02", "2026-01-02T03:04:05Z", "True", "NULL", "20260102030405_123456", "+1", "-0", "-1.5e+20"]
TEXT = seal(labels={"team": "growth"}).manifest.decode()


def outcome(load: Any, text: str) -> str:
    """Return what a reader makes of a text; the form of a value tells `1`, `1.0` and `True` apart."""
    try:
        return repr(load(text))
    except (ValueError, RecursionError, YAMLError) as exc:
        return type(exc).__name__


@pytest.fixture
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the quick reader have nobody to ask."""

    def refuse(text: str) -> Any:
        raise AssertionError(f"this text is read again:\n{text}")

    monkeypatch.setattr(quick_manifest, "load_yaml", refuse)


@settings(max_examples=40)
@given(manifests())
def test_a_manifest_of_kappa_is_read_as_by_the_usual_reader(manifest: BundleManifest) -> None:
    text = manifest.to_yaml()
    assert repr(load_quickly(text)) == repr(load_yaml(text)) == repr(manifest.to_tree())


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("path", RELEASED, ids=lambda path: f"{path.parts[-3]}-{path.parts[-2]}")
def test_a_released_manifest_is_read_quickly(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert repr(load_quickly(text)) == repr(load_yaml(text))


@pytest.mark.usefixtures("_alone")
def test_texts_that_other_versions_of_yaml_take_for_values_are_read_quickly() -> None:
    metadata = {
        "words": PLAIN,
        "mapping": {word: word for word in PLAIN},
        "numbers": [0, -1, 0.5, 1e20, 1e-7, True, None],
    }
    manifest = BundleManifest.model_validate(
        {
            **load_yaml(TEXT),
            "version": "20260102030405_123456",
            "artifacts": [{"name": "one", "metadata": metadata, "size_bytes": 1}],
        }
    ).sealed()
    text = manifest.to_yaml()
    assert repr(load_quickly(text)) == repr(load_yaml(text)) == repr(manifest.to_tree())


@pytest.mark.parametrize(
    "word", [*PLAIN, "!!str 1", "&a b", "'1'", '"\\u263a"', "[1, 2]", "{a: 1}", "|\n    a\n    b", ""]
)
def test_an_edited_manifest_is_read_as_by_the_usual_reader(word: str) -> None:
    text = TEXT.replace("team: growth", f"team: {word}")
    assert outcome(load_quickly, text) == outcome(load_yaml, text)


@pytest.mark.parametrize(
    "addition",
    [
        pytest.param("labels:\n  team: growth\n", id="twice"),
        pytest.param("more: &a [1]\nagain: *a\n", id="alias"),
        pytest.param("%YAML 1.1\n---\n", id="directive"),
        pytest.param("--- 1\n", id="two documents"),
        pytest.param("more: " + "[" * 900 + "]" * 900 + "\n", id="deep"),
        pytest.param("more: @\n", id="broken"),
        pytest.param("? [a, b]\n: c\n", id="a sequence as a key"),
    ],
)
def test_a_manifest_with_an_addition_is_read_as_by_the_usual_reader(addition: str) -> None:
    text = TEXT + addition
    assert outcome(load_quickly, text) == outcome(load_yaml, text)


def test_a_key_that_is_there_twice_is_an_error_although_the_digest_fits() -> None:
    text = TEXT.replace("labels:\n", "labels: {}\nlabels:\n", 1)
    assert outcome(load_quickly, text) == outcome(load_yaml, text) == "DuplicateKeyError"


@given(st.text(st.sampled_from("files: {}\nbundle_digest: 1\n-[]{}&*!|>'\"%@`#,?~\t0é"), max_size=60))
def test_any_text_is_read_as_by_the_usual_reader(text: str) -> None:
    assert outcome(load_quickly, text) == outcome(load_yaml, text)


def test_without_pyyaml_manifests_are_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert load_quickly(TEXT) == load_yaml(TEXT)
    assert bundle_digest(load_yaml(TEXT)) == load_yaml(TEXT)["bundle_digest"]
