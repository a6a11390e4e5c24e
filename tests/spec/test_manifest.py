"""`kappa.yml` gives back what was written into it, value by value and in order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.errors import BundleError
from kappa.frameworks.json import JSONArtifact
from kappa.frameworks.text import TextFileArtifact
from kappa.spec.document import Kappafile
from kappa.spec.manifest import (
    BundleManifest,
    ResolvedArtifact,
    ResolvedEnv,
    bundle_digest,
    content_digest,
    read_manifest,
    read_tree,
)
from kappa.spec.service import ServiceSpec

TRAPS = [
    "yes",
    "null",
    "~",
    "1e3",
    "0x1f",
    "012",
    "1:30",
    "2024-01-02",
    "- a",
    "a: b",
    "# c",
    "'",
    '"',
    " a ",
    "a\n b\n",
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [*TRAPS, "\r", "\ufeff", "\x85", "\u2028", "\t", "\0", "a\n\n\nb", "x" * 300, "lorem ipsum " * 20]
)
dtypes = st.sampled_from(["int64", "float64", "bool", "str"])
columns = (
    st.none()
    | st.lists(texts, min_size=1, max_size=3, unique=True)
    | st.dictionaries(texts, dtypes, min_size=1, max_size=3)
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)
words = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).map(lambda word: f"{word}_")


@st.composite
def manifests(draw: st.DrawFn) -> BundleManifest:
    variables = st.dictionaries(words, st.sampled_from(["", "yes", "1", "a b", "ü"]), max_size=3)
    labels = st.dictionaries(words.map(lambda word: f"{word}x"), st.sampled_from(["1", "yes", "a-b"]), max_size=3)
    rows = {
        "name": "rows",
        "target": {"artifact": "one"},
        "input": {"type": "dataframe", "columns": draw(columns)},
        "batch": True,
    }
    items = {
        "name": "items",
        "target": {"function": "m:f"},
        "input": {"type": "json", "http_input_example": draw(values)},
        "output": {"type": "dataframe", "orient": "split"},
        "max_latency_ms": draw(st.none() | st.floats(0.001, 1e6)),
        "doc": draw(texts),
    }
    given = draw(values.filter(lambda value: value is not None))
    service = ServiceSpec.model_validate(
        {
            "name": "Demo",
            "doc": draw(texts),
            "env": {"setup_sh": draw(st.none() | texts), "variables": draw(variables)},
            "artifacts": [JSONArtifact("one"), TextFileArtifact("two", encoding="latin-1")],
            "apis": [rows, items],
            "examples": [{"name": "e", "api": "items", "input": given, "expect": draw(values)}],
            "labels": draw(labels),
        }
    )
    metadata = draw(st.dictionaries(texts, values, max_size=3))
    return BundleManifest(
        kappa_version="0.1.0",
        version="1.0",
        created_at="2026-01-02T03:04:05Z",
        service=service,
        env=ResolvedEnv(python_version="3.10", docker_base_image="x", requirements=("a>=1",), resolver="none"),
        artifacts=(ResolvedArtifact(name="one", metadata=metadata, size_bytes=1),),
        labels=service.labels,
        content_digest="sha256:0",
        files={"a b": "0123", "ü": "1e10"},
    ).sealed()


@settings(max_examples=40)
@given(manifests())
def test_a_manifest_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, manifest: BundleManifest) -> None:
    directory = tmp_path_factory.mktemp("bundle")
    (directory / "kappa.yml").write_bytes(manifest.to_yaml().encode())
    again = read_manifest(directory)
    assert again == manifest
    assert again.to_yaml() == manifest.to_yaml()
    assert bundle_digest(read_tree(directory)) == manifest.bundle_digest
    assert ServiceSpec.model_validate_json(manifest.service.model_dump_json(by_alias=True)) == manifest.service


ROWS = {
    "name": "p",
    "target": {"function": "m:f"},
    "input": {"type": "dataframe", "columns": {"a": "str", "b": "str"}},
    "batch": True,
}
SPEC: dict[str, Any] = {"name": "Demo", "apis": [ROWS]}


def test_the_content_digest_sees_the_order_of_columns_and_not_the_labels() -> None:
    spec = ServiceSpec.model_validate(SPEC)
    api = {**ROWS, "input": {"type": "dataframe", "columns": {"b": "str", "a": "str"}}}
    reordered = ServiceSpec.model_validate({**SPEC, "apis": [api]})
    labelled = ServiceSpec.model_validate({**SPEC, "labels": {"team": "growth"}})
    assert content_digest({}, spec) == content_digest({}, labelled)
    assert len({content_digest({}, spec), content_digest({}, reordered), content_digest({"a": "1"}, spec)}) == 3


@given(st.text(st.sampled_from("schema_version: 1\n-[]{}&*!|>'\"%@`#,?~\t0é"), max_size=60))
def test_no_text_makes_the_reader_stumble(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    directory = tmp_path_factory.mktemp("bundle")
    (directory / "kappa.yml").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError):
        read_manifest(directory)


def test_a_kappafile_gives_the_spec_and_its_own_defaults() -> None:
    document = {
        "kappafile": 1,
        "service": {"name": "Demo"},
        "artifacts": {"model": {"type": "json", "path": "m.json", "metadata": {"auc": 0.5}}},
        "apis": {
            "rows": {"artifact": "model", "input": "dataframe"},
            "items": {"artifact": "model", "method": "score", "input": "json", "max_batch_size": 7},
        },
    }
    kappafile = Kappafile.model_validate(document)
    assert kappafile.artifacts["model"].metadata == {"auc": 0.5}
    assert kappafile.to_spec() == ServiceSpec.model_validate(
        {
            "name": "Demo",
            "artifacts": [{"type": "json", "name": "model"}],
            "apis": [
                {"name": "rows", "target": {"artifact": "model"}, "input": "dataframe", "batch": True},
                {
                    "name": "items",
                    "target": {"artifact": "model", "method": "score"},
                    "input": "json",
                    "max_batch_size": 7,
                },
            ],
        }
    )
