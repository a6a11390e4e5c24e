"""Folders of Spark ML's: what they say without Spark, and how a session answers with them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from kappa.build.bundle.plan import plan_build
from kappa.build.project import read_project
from kappa.errors import BadInputError, BundleError, MissingDependencyError
from kappa.frameworks.pyspark import PysparkModelArtifact
from kappa.inspection.detection import inspect_path
from kappa.spec.contracts import ModelNeeds
from kappa.testing.artifacts import ArtifactSuite, _unpickled
from tests.frameworks.zero_code import answers, problems

INDEXER = {"class": "org.apache.spark.ml.feature.StringIndexerModel", "inputCol": "district", "outputCol": "d"}
ASSEMBLER = {"class": "org.apache.spark.ml.feature.VectorAssembler", "inputCols": ["area", "d"], "outputCol": "x"}
TREE = {"class": "org.apache.spark.ml.classification.DecisionTreeClassificationModel", "featuresCol": "x"}
FORMULA = {"class": "org.apache.spark.ml.feature.RFormulaModel", "formula": "y ~ area"}


def folder_of(folder: Path, *stages: dict[str, Any], made_of: str = "org.apache.spark.ml.PipelineModel") -> Path:
    """Write the metadata of a pipeline of stages as Spark does."""
    uids = [f"Stage_{number}" for number in range(len(stages))]
    written(folder, {"class": made_of, "stageUids": uids}, "Pipeline_0")
    for number, (uid, stage) in enumerate(zip(uids, stages, strict=True)):
        written(folder / "stages" / f"{number}_{uid}", stage, uid)
    return folder


def written(folder: Path, options: dict[str, Any], uid: str) -> None:
    (folder / "metadata").mkdir(parents=True)
    params = {key: value for key, value in options.items() if key != "class"}
    metadata = {"class": options["class"], "uid": uid, "sparkVersion": "4.1.0", "paramMap": params}
    metadata["defaultParamMap"] = (
        {"predictionCol": "prediction", "labelCol": "label"} if "featuresCol" in params else {}
    )
    (folder / "metadata" / "part-00000-1.txt").write_text(json.dumps(metadata), encoding="utf-8")
    (folder / "metadata" / "_SUCCESS").touch()


def test_a_folder_tells_its_stages_and_the_columns_that_none_of_them_makes(tmp_path: Path) -> None:
    model = inspect_path(folder_of(tmp_path / "model", INDEXER, ASSEMBLER, TREE))
    assert model is not None
    assert (model.kind, model.artifact_type, model.problem) == ("pyspark", "pyspark", "")
    assert model.feature_names == ("district", "area")
    assert model.versions == {"pyspark": "4.1.0"}
    assert [step.made_of.rpartition(":")[2] for step in model.steps] == [
        "StringIndexerModel",
        "VectorAssembler",
        "DecisionTreeClassificationModel",
    ]


def test_a_stage_that_names_no_columns_leaves_them_open(tmp_path: Path) -> None:
    model = inspect_path(folder_of(tmp_path / "model", FORMULA, TREE))
    assert model is not None
    assert (model.feature_names, model.feature_count) == ((), None)


def test_a_folder_that_is_not_whole_or_not_a_pipeline_is_refused(tmp_path: Path) -> None:
    artifact = PysparkModelArtifact("m")
    cut = folder_of(tmp_path / "cut", INDEXER, ASSEMBLER)
    shutil.rmtree(cut / "stages" / "1_Stage_1")
    assert artifact.problem_of(cut) == "the stage `Stage_1` of it is not in it"
    bare = folder_of(tmp_path / "bare", made_of="org.apache.spark.ml.classification.LinearSVCModel")
    assert (artifact.problem_of(bare) or "").startswith("it is a `LinearSVCModel`, and must be a `PipelineModel`")
    assert artifact.problem_of(tmp_path) == "it has no `metadata` as Spark ML's `save` writes it"


def test_a_stage_of_python_is_a_module_that_is_needed_and_runs(tmp_path: Path) -> None:
    needs = PysparkModelArtifact("m").needs_of_file
    own = folder_of(tmp_path / "own", {"class": "features.Scale"}, made_of="pyspark.ml.pipeline.PipelineModel")
    assert needs(own) == ModelNeeds(("pyspark", "features"), {"pyspark": "4.1.0"}, is_pickle=True)
    assert needs(folder_of(tmp_path / "plain", INDEXER)) == ModelNeeds(("pyspark",), {"pyspark": "4.1.0"})


def test_its_image_has_java_and_its_lock_a_pandas_that_spark_takes(tmp_path: Path) -> None:
    folder_of(tmp_path / "model", INDEXER)
    assert problems(tmp_path, "pyspark", "model") == []
    plan = plan_build(read_project(tmp_path), version=None, labels={}, environ={})
    assert plan.spec.env.system_packages == ("default-jre-headless",)
    wanted = {requirement.text.partition("==")[0] for requirement in plan.requirements}
    assert {"pyspark", "pandas<3" if pd.__version__ >= "3" else "pandas"} <= wanted


def test_without_the_library_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `pyspark` needs `pyspark`"):
        PysparkModelArtifact("m").load(tmp_path)


TABLE = pd.DataFrame({"area": [50.0, 60.0, 90.0, 120.0], "district": ["n", "s", "n", "s"]})
REQUESTS = [[{"district": "n", "area": 50}], [{"district": "s", "area": 120}, {"district": "n", "area": 60}]]


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Any]:
    """Return a fitted pipeline."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import StringIndexer, VectorAssembler

    from kappa.frameworks.pyspark import _session

    frame = _session().createDataFrame(TABLE.assign(label=[0.0, 0.0, 1.0, 1.0]))
    stages = [
        StringIndexer(inputCol="district", outputCol="d", handleInvalid="keep"),
        VectorAssembler(inputCols=["area", "d"], outputCol="features"),
        LogisticRegression(maxIter=5),
    ]
    yield Pipeline(stages=stages).fit(frame)
    _session().stop()
    _session.cache_clear()


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore")
def test_its_own_folder_answers_tables_in_their_order(pipeline: Any, tmp_path: Path) -> None:
    pipeline.save((tmp_path / "own").as_uri())
    assert answers(tmp_path, "pyspark", "own", REQUESTS) == [[0.0], [1.0, 0.0]]
    (first, _) = answers(tmp_path, "pyspark", "own", REQUESTS, method="transform")
    assert first[0].keys() >= {"area", "district", "features", "probability", "prediction"}
    assert sum(first[0]["probability"]) == pytest.approx(1.0)


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore")
def test_columns_that_the_pipeline_cannot_take_are_the_clients_error(pipeline: Any, tmp_path: Path) -> None:
    artifact = PysparkModelArtifact("model")
    artifact.save(pipeline, tmp_path)
    model = artifact.load(tmp_path)
    assert artifact.feature_names_of(model) == ("district", "area")
    for table in (TABLE[["district"]], TABLE.assign(area="old")):
        with pytest.raises(BadInputError, match="The pipeline does not take these columns: "):
            model.predict(table)


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_that_predicts_nothing_is_sent_to_transform(pipeline: Any, tmp_path: Path) -> None:
    from pyspark.ml import PipelineModel

    artifact = PysparkModelArtifact("model")
    artifact.save(PipelineModel(pipeline.stages[:2]), tmp_path)
    model = artifact.load(tmp_path)
    with pytest.raises(BundleError, match='write `method = "transform"` for its API'):
        artifact.caller(model, "predict", is_batch=True)
    assert len(artifact.caller(model, "transform", is_batch=True)(TABLE)) == 4


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore")
class TestPyspark(ArtifactSuite):
    artifact = PysparkModelArtifact("model")
    models: ClassVar = []
    foreign: ClassVar = [b"", {"metadata": b"{}"}, {"metadata/part-00000": b"{"}, {"MLmodel": b"flavors: {}"}]
    not_models: ClassVar = [LinearRegression(), {}]
    library: ClassVar = "pyspark"
    question = "model.predict(__import__('pandas').DataFrame({'area': [60.0], 'district': ['s']})).tolist()"

    @pytest.fixture(autouse=True)
    def with_models(self, pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "models", [pipeline])

    def test_whether_it_is_a_pickle_is_true(self) -> None:
        """Rows come out of the JVM as pickles of Spark's own; what is in the folder names nothing."""
        with self._saved(self.models[0]) as folder, _unpickled() as names:
            self.artifact.load(folder)
        assert {name.rpartition(".")[0] for name in names} <= {"`pyspark.sql.types"}

    def is_same(self, one: Any, other: Any) -> bool:
        return [stage.uid for stage in getattr(one, "pipeline", one).stages] == [
            stage.uid for stage in getattr(other, "pipeline", other).stages
        ]
