"""Models of H2O's, kept as a MOJO and answered by a JVM of the process's own."""

from __future__ import annotations

import atexit
import io
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kappa.errors import optional_import
from kappa.frameworks.jvm import CONDA_JAVA, DEBIAN_JAVA, check_java, end_with_this_process, threads_here
from kappa.frameworks.packing import check_packed
from kappa.inspection.report import Model
from kappa.inspection.streams import head_of
from kappa.inspection.zipped import read_zipped
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds

__all__ = ["H2oModel", "H2oModelArtifact"]

_PREDICTION = "predict"
_CLASSIFIERS = frozenset({"Binomial", "Multinomial", "Ordinal"})


class H2oModelArtifact(ArtifactPlugin):
    """A model of H2O's, as `download_mojo` writes it; functions receive an `H2oModel`."""

    filename: ClassVar[str] = "model.zip"
    extensions: ClassVar[frozenset[str]] = frozenset({".mojo", ".zip"})
    written_by: ClassVar[str] = "H2O's `download_mojo`"
    row_methods: ClassVar[frozenset[str]] = frozenset({"predict"})
    needed_modules: ClassVar[tuple[str, ...]] = ("h2o",)
    thread_bound: ClassVar[bool] = True
    system_packages: ClassVar[tuple[str, ...]] = DEBIAN_JAVA
    conda_packages: ClassVar[tuple[str, ...]] = CONDA_JAVA

    type: Literal["h2o"] = "h2o"
    heap_mb: Annotated[int, Field(ge=64)] = 1024
    """The largest heap of the JVM, in MiB; each worker has one, for all of its models, which the first one starts."""

    def requires(self) -> tuple[str, ...]:
        return ("h2o", "pandas")

    def save(self, model: Any, directory: Path) -> None:
        estimator = model.estimator if isinstance(model, H2oModel) else model
        check_packed(self, estimator, "h2o.ModelBase")
        estimator.download_mojo(path=str(directory / self.filename))

    def load(self, directory: Path) -> H2oModel:
        path = (directory / self.filename).resolve()
        with optional_import("h2o", needed_for="the artifact type `h2o`"):
            import h2o
        check_java(self)
        _start(h2o, self.heap_mb)
        facts = read_zipped(path, head_of(path))
        return H2oModel(h2o.import_mojo(str(path)), facts.feature_names if facts is not None else ())

    def feature_names_of(self, model: Any) -> tuple[str, ...]:
        return model.columns if isinstance(model, H2oModel) else ()

    def sniff(self, path: Path) -> str | None:
        model = _read(path)
        if model is None or model.kind != self.type:
            return "it is not an archive as H2O's `download_mojo` writes it"
        return model.problem or None

    def needs_of_file(self, path: Path) -> ModelNeeds:
        model = _read(path)
        return ModelNeeds(self.needed_modules, model.versions if model is not None and model.kind == self.type else {})


class H2oModel:
    """A model in the JVM; ``estimator`` is H2O's own object for it, which takes and returns frames of H2O's."""

    def __init__(self, estimator: Any, columns: tuple[str, ...]) -> None:
        self.estimator = estimator
        self.columns = columns
        """The names of the columns that it was trained with, but for the one that it predicts."""
        output = estimator._model_json["output"]  # noqa: SLF001 - H2O has no other word for it
        self._levels: Mapping[str, Any] = dict(zip(output["names"], output["domains"], strict=True))
        self._tells_a_class = output["model_category"] in _CLASSIFIERS

    def predict(self, table: Any) -> Any:
        """Return a frame of pandas' with a row for each of ``table``'s: `predict`, and a column for each class."""
        import h2o
        import pandas as pd

        kinds = {name: "enum" if self._levels[name] else "numeric" for name in table.columns if name in self._levels}
        with _calls:
            frame = h2o.H2OFrame(table, column_types=kinds)
            answer = self.estimator.predict(frame)
            text = answer.get_frame_data()
            h2o.remove([frame, answer])
        dtype = {_PREDICTION: "str"} if self._tells_a_class else None
        return pd.read_csv(io.StringIO(text), dtype=dtype, keep_default_na=False, na_values=[""])


_calls = Lock()
"""H2O's client has one connection for all threads."""


def _start(h2o: Any, heap_mb: int) -> None:
    """Start the JVM of this process on a port of its own, once, and connect to it; `stdout` is for results alone."""
    if _connections:
        return
    from h2o.backend import H2OLocalServer

    server = H2OLocalServer.start(
        nthreads=threads_here(), max_mem_size=heap_mb << 20, enable_assertions=False, verbose=False
    )
    end_with_this_process(server._process.pid)  # noqa: SLF001 - H2O tells it nowhere else
    with redirect_stdout(sys.stderr):
        _connections.append(h2o.connect(server=server, verbose=False))
    atexit.register(_connections[0].close)  # which is silent, where H2O's own word goes to `stdout`
    h2o.no_progress()


_connections: list[Any] = []


def _read(path: Path) -> Model | None:
    return read_zipped(path, head_of(path))
