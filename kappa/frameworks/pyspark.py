"""Pipelines of Spark ML's, in the folder that their `save` writes, answered by a local session of Spark's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import BadInputError, BundleError, optional_import
from kappa.frameworks.jvm import CONDA_JAVA, DEBIAN_JAVA, check_java, threads_here
from kappa.frameworks.packing import check_packed
from kappa.inspection.folders import read_spark
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds

__all__ = ["PysparkModel", "PysparkModelArtifact"]

_JVM_CLASSES = "org.apache.spark."


class PysparkModelArtifact(ArtifactPlugin):
    """A fitted pipeline of Spark ML's, as its `save` writes it; functions receive a `PysparkModel`."""

    filename: ClassVar[str] = "model"
    takes: ClassVar[Literal["file", "folder", "file or folder"]] = "folder"
    written_by: ClassVar[str] = "the `save` of a `PipelineModel`"
    row_methods: ClassVar[frozenset[str]] = frozenset({"predict", "transform"})
    needed_modules: ClassVar[tuple[str, ...]] = ("pyspark",)
    thread_bound: ClassVar[bool] = True
    system_packages: ClassVar[tuple[str, ...]] = DEBIAN_JAVA
    conda_packages: ClassVar[tuple[str, ...]] = CONDA_JAVA

    type: Literal["pyspark"] = "pyspark"

    def requires(self) -> tuple[str, ...]:
        return ("pyspark", "pandas<3")

    def save(self, model: Any, directory: Path) -> None:
        pipeline = model.pipeline if isinstance(model, PysparkModel) else model
        check_packed(self, pipeline, "pyspark.PipelineModel")
        pipeline.save(_url_of(directory / self.filename))

    def load(self, directory: Path) -> PysparkModel:
        path = directory / self.filename
        with optional_import("pyspark", needed_for="the artifact type `pyspark`"):
            from pyspark.ml import PipelineModel
        check_java(self)
        session, model = _session(), read_spark(path)
        return PysparkModel(
            PipelineModel.load(_url_of(path)), session, model.feature_names if model is not None else ()
        )

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        """Return the model's method; `predict` needs a pipeline that ends in a model that predicts."""
        if method == "predict" and isinstance(model, PysparkModel) and model.prediction is None:
            raise BundleError(
                f"The pipeline of the artifact `{self.name}` ends in no model that predicts: write "
                '`method = "transform"` for its API, which returns its columns.'
            )
        return super().caller(model, method, is_batch=is_batch)

    def feature_names_of(self, model: Any) -> tuple[str, ...]:
        return model.columns if isinstance(model, PysparkModel) else ()

    def sniff(self, path: Path) -> str | None:
        model = read_spark(path)
        if model is None:
            return "it has no `metadata` as Spark ML's `save` writes it"
        if model.problem:
            return model.problem
        if model.artifact_type != self.type:
            name = model.made_of.rpartition(":")[2]
            return f"it is a `{name}`, and must be a `PipelineModel`: make it the stage of a pipeline, and save that"
        return None

    def needs_of_file(self, path: Path) -> ModelNeeds:
        model = read_spark(path)
        if model is None:
            return ModelNeeds(self.needed_modules)
        kinds = [model.made_of, *(step.made_of for step in model.steps)]
        is_pickle = not all(kind.startswith(_JVM_CLASSES) for kind in kinds)  # Python's are imported by their name
        return ModelNeeds(model.modules, model.versions, is_pickle=is_pickle)


class PysparkModel:
    """A fitted pipeline and its session: takes and returns tables of pandas'."""

    def __init__(self, pipeline: Any, session: Any, columns: tuple[str, ...]) -> None:
        self.pipeline = pipeline
        """Spark's own object, which takes and returns frames of Spark's."""
        self.session = session
        self.columns = columns
        """The names of the columns that it takes; empty if its stages do not tell."""
        predicting = [stage for stage in pipeline.stages[-1:] if stage.hasParam("predictionCol")]
        self.prediction: str | None = predicting[0].getOrDefault("predictionCol") if predicting else None
        """The column with what it predicts, if its last stage does that."""

    def predict(self, table: Any) -> Any:
        """Return the prediction for each row, as an array."""
        return self._answered(table).select(self.prediction).toPandas()[self.prediction].to_numpy()

    def transform(self, table: Any) -> Any:
        """Return the table with the columns that the stages add; a vector is a list."""
        from pyspark.ml.functions import vector_to_array
        from pyspark.ml.linalg import VectorUDT

        frame = self._answered(table)
        for field in frame.schema.fields:
            if isinstance(field.dataType, VectorUDT):
                frame = frame.withColumn(field.name, vector_to_array(field.name))
        return frame.toPandas()

    def _answered(self, table: Any) -> Any:
        from pyspark.errors import AnalysisException, IllegalArgumentException

        try:
            return self.pipeline.transform(self.session.createDataFrame(table))
        except (AnalysisException, IllegalArgumentException) as exc:
            raise BadInputError(
                f"The pipeline does not take these columns: {str(exc).partition(' SQLSTATE')[0]}"
            ) from exc


def _url_of(path: Path) -> str:
    """Return a path of this machine's, whatever file system Spark is set to; Spark takes blanks as they are."""
    return f"file:///{path.resolve().as_posix().removeprefix('/')}"


@cache
def _session() -> Any:
    """Return the session of this process, which listens for nobody else and keeps no files."""
    from pyspark.sql import SparkSession

    options = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.warehouse.dir": _url_of(Path(tempfile.mkdtemp(prefix="kappa-spark-"))),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    return SparkSession.builder.master(f"local[{threads_here()}]").appName("kappa").config(map=options).getOrCreate()
