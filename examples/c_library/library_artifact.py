"""An artifact type for models that are shared libraries, whatever language they were written in."""

import ctypes
import shutil
from typing import Literal

from kappa.spec.contracts import ArtifactPlugin

__all__ = ["Library", "LibraryArtifact"]


class Library:
    """A library with the function `void predict(const double *rows, size_t count, double *scores)`."""

    def __init__(self, path):
        self.path = path
        self._predict = ctypes.CDLL(str(path)).predict

    def predict(self, rows):
        """Return a score for each row; other Python threads run meanwhile, since ctypes releases the GIL."""
        import numpy as np

        rows, scores = np.ascontiguousarray(rows, dtype="float64"), np.empty(len(rows))
        self._predict(
            ctypes.c_void_p(rows.ctypes.data), ctypes.c_size_t(len(rows)), ctypes.c_void_p(scores.ctypes.data)
        )
        return scores


class LibraryArtifact(ArtifactPlugin):
    """A shared library, called through ctypes."""

    type: Literal["acme.library"] = "acme.library"
    filename = "model.so"
    is_pickle = True  # not one, but loading it runs code of it just the same: `[security] pickle` decides

    def save(self, model, directory):
        shutil.copyfile(model.path, directory / self.filename)

    def load(self, directory):
        return Library(directory / self.filename)

    def requires(self):
        return ("numpy",)

    def sniff(self, path):
        with path.open("rb") as file:
            return None if file.read(4) in _BEGINNINGS else "it is not a shared library of Linux or macOS"


_BEGINNINGS = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
