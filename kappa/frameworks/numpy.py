"""NumPy arrays: embeddings, weights, tables of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import ConfigurationError, optional_import
from kappa.frameworks.packing import check_packed
from kappa.inspection.numpy_files import read_numpy
from kappa.inspection.streams import head_of
from kappa.spec.contracts import ArtifactPlugin

__all__ = ["NumpyArtifact"]


class NumpyArtifact(ArtifactPlugin):
    """An array, or several by their names, as `numpy.save` and `numpy.savez` write them.

    One array is mapped read-only, so that all workers share its memory; of several, each worker has its own.
    """

    filename: ClassVar[str] = "arrays"
    written_by: ClassVar[str] = "`numpy.save` or `numpy.savez`"
    needed_modules: ClassVar[tuple[str, ...]] = ("numpy",)
    preload_safe: ClassVar[bool] = True

    type: Literal["numpy"] = "numpy"

    def requires(self) -> tuple[str, ...]:
        return ("numpy",)

    def save(self, model: Any, directory: Path) -> None:
        """Write an array, or a mapping of names to arrays."""
        arrays = model if isinstance(model, Mapping) else {"": model}
        for name, array in arrays.items():
            check_packed(self, array, "numpy.ndarray")
            if array.dtype.hasobject:
                kind = f"an array `{name}`" if name else "an `ndarray`"
                raise ConfigurationError(
                    f"The artifact `{self.name}` was given {kind} of Python objects, which its type `{self.type}` does "
                    'not keep: give it a `dtype` of numbers or of text, as `array.astype("U")` does.'
                )
        numpy = _numpy()
        with (directory / self.filename).open("wb") as file:  # NumPy adds an extension to a path
            if isinstance(model, Mapping):
                numpy.savez(file, **model)
            else:
                numpy.save(file, model)

    def load(self, directory: Path) -> Any:
        numpy = _numpy()
        path = directory / self.filename
        # A project's own file is linked and may be written anew: to read what was mapped of it would end the process.
        arrays = numpy.load(path, mmap_mode=None if path.is_symlink() else "r", allow_pickle=False)
        if isinstance(arrays, numpy.ndarray):
            array = numpy.asarray(arrays)
            array.flags.writeable = False
            return array
        with arrays:
            return dict(arrays)

    def sniff(self, path: Path) -> str | None:
        model = read_numpy(path, head_of(path))
        if model is None:
            return "it does not begin as NumPy's formats do, which `numpy.save` and `numpy.savez` write"
        return model.problem or None


def _numpy() -> Any:
    with optional_import("numpy", needed_for="the artifact type `numpy`"):
        import numpy as np
    return np
