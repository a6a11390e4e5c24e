"""Any file or folder, which code of the user's own reads."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import ConfigurationError
from kappa.spec.contracts import ArtifactPlugin

__all__ = ["FileArtifact"]

_EXTENSION = re.compile(r"(?<=[^.])(\.[A-Za-z0-9_-]{1,16}){1,2}$")
"""One or two, as in `.tar.gz`."""


class FileArtifact(ArtifactPlugin):
    """A file or folder; functions receive its path, a `pathlib.Path`, which keeps the extension."""

    filename: ClassVar[str] = "content"
    takes: ClassVar[Literal["file", "folder", "file or folder"]] = "file or folder"
    written_by: ClassVar[str] = "any program"
    preload_safe: ClassVar[bool] = True

    type: Literal["file"] = "file"

    def save(self, model: Any, directory: Path) -> None:
        """Copy the file or folder at a path."""
        path = Path(model) if isinstance(model, str | os.PathLike) else None
        if path is None or not path.exists():
            kind = f"a `{type(model).__name__}`" + ("" if path is None else f", `{model}`, where nothing is")
            raise ConfigurationError(
                f"The artifact `{self.name}` was given {kind}, and its type `{self.type}` keeps what is at a path."
            )
        self.adopt(path, directory)

    def load(self, directory: Path) -> Path:
        (path,) = directory.glob(f"{self.filename}*")
        return path.resolve() if path.is_symlink() else path

    def filename_of(self, path: Path) -> str:
        extension = None if path.is_dir() else _EXTENSION.search(path.name)
        return self.filename + (extension[0] if extension is not None else "")

    def sniff(self, path: Path) -> str | None:  # noqa: ARG002 - it may hold anything
        return None
