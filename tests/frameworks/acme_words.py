"""An artifact type of another distribution, whose models are folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.spec.contracts import ArtifactPlugin


class WordsArtifact(ArtifactPlugin):
    """A vocabulary as a folder: one file for each language."""

    type: Literal["acme.words"] = "acme.words"
    filename: ClassVar[str] = "words"
    takes: ClassVar[Literal["file", "folder", "file or folder"]] = "folder"

    def save(self, model: Any, directory: Path) -> None:
        for language, words in model.items():
            path = directory / self.filename / f"{language}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(words), encoding="utf-8")

    def load(self, directory: Path) -> Any:
        paths = sorted((directory / self.filename).glob("*.json"))
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}

    def sniff(self, path: Path) -> str | None:
        return None if any(path.glob("*.json")) else "it holds no `.json`"
