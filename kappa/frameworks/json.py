"""Data kept as JSON: vocabularies, thresholds, class names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import BundleError
from kappa.spec.contracts import ArtifactPlugin

__all__ = ["JSONArtifact"]


class JSONArtifact(ArtifactPlugin):
    """Any JSON value, in UTF-8."""

    filename: ClassVar[str] = "content.json"
    preload_safe: ClassVar[bool] = True

    type: Literal["json"] = "json"

    def save(self, model: Any, directory: Path) -> None:
        text = json.dumps(model, ensure_ascii=False, sort_keys=True)
        (directory / self.filename).write_text(text, encoding="utf-8")

    def load(self, directory: Path) -> Any:
        path = directory / self.filename
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as exc:
            raise BundleError(f"The artifact `{self.name}` is not JSON: {exc}.") from exc

    def sniff(self, path: Path) -> str | None:
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as exc:
            return f"it is not JSON: {exc}"
        return None
