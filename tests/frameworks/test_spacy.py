"""Pipelines of spaCy's: what is none, what they say without spaCy, and how they answer texts with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kappa.errors import BadInputError, MissingDependencyError
from kappa.frameworks.spacy import SpacyModelArtifact
from kappa.spec.contracts import ModelNeeds
from kappa.testing.artifacts import ArtifactSuite
from tests.frameworks.zero_code import answers, problems

META = {"lang": "en", "pipeline": ["ner"], "spacy_version": ">=3.8.18,<3.9.0"}
TEXT = "A train to Ulm."
ENTITY = {"text": "Ulm", "label": "CITY", "start": 11, "end": 14}


def cities() -> Any:
    """Return a pipeline that knows the categories of texts, and one city."""
    import spacy
    from spacy.training import Example

    nlp = spacy.blank("en")
    nlp.add_pipe("textcat")
    told = [("a train", {"cats": {"rail": 1.0, "air": 0.0}}), ("a plane", {"cats": {"rail": 0.0, "air": 1.0}})]
    examples = [Example.from_dict(nlp.make_doc(text), facts) for text, facts in told]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(20):
        nlp.update(examples, sgd=optimizer)
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "CITY", "pattern": "Ulm"}])
    return nlp


@pytest.mark.spacy
class TestSpacy(ArtifactSuite):
    artifact = SpacyModelArtifact("model")
    models: ClassVar = []
    foreign: ClassVar = [
        *(b"", {"meta.json": b"{}"}, {"config.cfg": b""}, {"meta.json": b"{", "config.cfg": b""}),
        {"config.json": b"{}"},
    ]
    not_models: ClassVar = [{}, "ner"]
    library: ClassVar = "spacy"

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "models", [cities()])

    def is_same(self, one: Any, other: Any) -> bool:
        return bool(one(TEXT).to_json() == other(TEXT).to_json())


def written(folder: Path, meta: object) -> Path:
    folder.mkdir()
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    (folder / "config.cfg").touch()
    return folder


def test_a_folder_tells_the_version_that_wrote_it(tmp_path: Path) -> None:
    artifact = SpacyModelArtifact("m")
    assert artifact.needs_of_file(written(tmp_path / "a", META)) == ModelNeeds(("spacy",), {"spacy": "3.8.18"})
    for number, version in enumerate((">=3.8", 3, None)):
        folder = written(tmp_path / str(number), {**META, "spacy_version": version})
        assert artifact.needs_of_file(folder) == ModelNeeds(("spacy",))


def test_a_first_kappafile_takes_texts(tmp_path: Path) -> None:
    assert SpacyModelArtifact("m").input_for(tmp_path) == "string"


def test_a_folder_of_another_kind_is_refused_by_validate(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    written(tmp_path / "cities", META)
    assert problems(tmp_path, "spacy", "bert", input_adapter='"string"') == ["KF309"]
    assert problems(tmp_path, "spacy", "cities", input_adapter='"string"') == []


def test_without_the_library_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `spacy` needs `spacy`"):
        SpacyModelArtifact("m").load(tmp_path)


@pytest.mark.spacy
def test_texts_of_a_batch_are_answered_with_their_categories_and_entities() -> None:
    nlp, texts = cities(), [TEXT, "a plane"]
    answers_of = SpacyModelArtifact("model").caller(nlp, "predict", is_batch=True)
    told = answers_of(texts)
    assert [answer["ents"] for answer in told] == [[ENTITY], []]
    expected = [nlp(text).cats for text in texts]
    assert [answer["cats"] for answer in told] == [pytest.approx(cats) for cats in expected]
    assert [max(cats, key=cats.__getitem__) for cats in expected] == ["rail", "air"]


@pytest.mark.spacy
def test_the_method_pipe_answers_with_all_that_a_document_tells(tmp_path: Path) -> None:
    nlp = cities()
    nlp.to_disk(tmp_path / "own")
    (told,) = answers(tmp_path, "spacy", "own", [TEXT], input_adapter='"json"', method="pipe")
    assert told["tokens"] == nlp(TEXT).to_json()["tokens"]
    assert told["ents"] == [{"start": 11, "end": 14, "label": "CITY"}]


@pytest.mark.spacy
def test_one_text_has_one_answer_and_what_is_no_text_is_the_clients_error() -> None:
    artifact = SpacyModelArtifact("model")
    predict = artifact.caller(cities(), "predict", is_batch=False)
    assert predict(TEXT)["ents"] == [ENTITY]
    assert [answer["ents"] for answer in predict([TEXT, "no"])] == [[ENTITY], []]
    for argument in (0, [TEXT, None], {"text": TEXT}):
        with pytest.raises(BadInputError, match=r"A pipeline takes texts, not `(int|NoneType|dict)`"):
            predict(argument)
