"""Tables in Parquet: lookup tables, features by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import optional_import
from kappa.frameworks.packing import check_packed
from kappa.inspection.streams import head_of
from kappa.inspection.tensors import read_parquet
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds

__all__ = ["FrameArtifact"]


class FrameArtifact(ArtifactPlugin):
    """A table in Parquet; functions receive a frame of pandas or of Polars."""

    filename: ClassVar[str] = "frame.parquet"
    written_by: ClassVar[str] = "`to_parquet` or `write_parquet`"

    type: Literal["frame"] = "frame"
    library: Literal["pandas", "polars"] = "pandas"
    """The library whose frame it becomes."""

    def requires(self) -> tuple[str, ...]:
        return ("pandas", "pyarrow") if self.library == "pandas" else ("polars",)

    def save(self, model: Any, directory: Path) -> None:
        check_packed(self, model, f"{self.library}.DataFrame")
        path = directory / self.filename
        if self.library == "polars":
            model.write_parquet(path)
        else:
            self._pandas()
            model.to_parquet(path, engine="pyarrow")

    def load(self, directory: Path) -> Any:
        path = directory / self.filename
        if self.library == "polars":
            with optional_import("polars", needed_for="the artifact type `frame`"):
                import polars as pl
            return pl.read_parquet(path)
        return self._pandas().read_parquet(path, engine="pyarrow")

    def sniff(self, path: Path) -> str | None:
        model = read_parquet(path, head_of(path))
        return "it does not begin as Parquet does" if model is None else model.problem or None

    def needs_of_file(self, path: Path) -> ModelNeeds:  # noqa: ARG002 - all of them need the same
        return ModelNeeds(self.requires())

    def needs_of_model(self, model: Any) -> ModelNeeds:  # noqa: ARG002
        return ModelNeeds(self.requires())

    def _pandas(self) -> Any:
        with optional_import("pandas", needed_for="the artifact type `frame`"):
            import pandas as pd
        with optional_import("pyarrow", needed_for="the artifact type `frame`"):
            import pyarrow as pa  # noqa: F401 - pandas imports it when it reads
        return pd
