"""Text kept as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import BundleError
from kappa.spec.contracts import ArtifactPlugin

__all__ = ["TextFileArtifact"]


class TextFileArtifact(ArtifactPlugin):
    """A text file."""

    filename: ClassVar[str] = "content.txt"
    preload_safe: ClassVar[bool] = True

    type: Literal["text"] = "text"
    encoding: str = "utf-8"
    """The file's encoding."""

    def save(self, model: Any, directory: Path) -> None:
        (directory / self.filename).write_bytes(model.encode(self.encoding))

    def load(self, directory: Path) -> Any:
        try:
            return (directory / self.filename).read_bytes().decode(self.encoding)
        except UnicodeDecodeError as exc:
            raise BundleError(f"The artifact `{self.name}` is not `{self.encoding}` text: {exc}.") from exc

    def sniff(self, path: Path) -> str | None:
        try:
            path.read_bytes().decode(self.encoding)
        except (LookupError, UnicodeDecodeError) as exc:
            return f"it is not `{self.encoding}` text: {exc}"
        return None
