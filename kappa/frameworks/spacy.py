"""Pipelines of spaCy's, which answer texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import BadInputError, optional_import
from kappa.frameworks.packing import check_packed
from kappa.inspection.folders import read_spacy
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds

__all__ = ["SpacyModelArtifact"]


class SpacyModelArtifact(ArtifactPlugin):
    """A pipeline of spaCy's, the folder that `nlp.to_disk` writes; functions receive the `Language`."""

    filename: ClassVar[str] = "pipeline"
    takes: ClassVar[Literal["file", "folder", "file or folder"]] = "folder"
    written_by: ClassVar[str] = "spaCy's `nlp.to_disk`"
    row_methods: ClassVar[frozenset[str]] = frozenset({"pipe", "predict"})
    needed_modules: ClassVar[tuple[str, ...]] = ("spacy",)

    type: Literal["spacy"] = "spacy"

    def requires(self) -> tuple[str, ...]:
        return ("spacy",)

    def save(self, model: Any, directory: Path) -> None:
        check_packed(self, model, "spacy.Language")
        model.to_disk(directory / self.filename)

    def load(self, directory: Path) -> Any:
        with optional_import("spacy", needed_for="the artifact type `spacy`"):
            import spacy
        return spacy.load(directory / self.filename)

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        """Return the pipeline's method; `predict` answers a text with its categories and entities, and `pipe` with all
        that `Doc.to_json` tells. The texts of a batch pass through the pipeline together."""
        if method not in self.row_methods:
            return super().caller(model, method, is_batch=is_batch)
        written = _summary if method == "predict" else _whole

        def answer(argument: Any) -> Any:
            is_one = isinstance(argument, str)
            texts = [argument] if is_one else _texts(argument)
            answers = [written(doc) for doc in model.pipe(texts)]
            return answers[0] if is_one else answers

        return answer

    def input_for(self, path: Path) -> str:  # noqa: ARG002 - all of them take texts
        return "string"

    def sniff(self, path: Path) -> str | None:
        model = read_spacy(path)
        return "it holds no `meta.json` and `config.cfg`" if model is None else model.problem or None

    def needs_of_file(self, path: Path) -> ModelNeeds:
        model = read_spacy(path)
        return ModelNeeds(self.needed_modules, {} if model is None else model.versions)


def _texts(argument: Any) -> list[str]:
    texts = list(argument) if isinstance(argument, list | tuple) else [argument]
    if others := [text for text in texts if not isinstance(text, str)]:
        raise BadInputError(f"A pipeline takes texts, not `{type(others[0]).__name__}`.")
    return texts


def _summary(doc: Any) -> dict[str, Any]:
    entities = [
        {"text": span.text, "label": span.label_, "start": span.start_char, "end": span.end_char} for span in doc.ents
    ]
    return {"cats": dict(doc.cats), "ents": entities}


def _whole(doc: Any) -> dict[str, Any]:
    tree: dict[str, Any] = doc.to_json()
    return tree
