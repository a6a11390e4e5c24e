"""The concepts page, section by section: what it shows in Python runs as it is shown.

The snippets stand here as the page has them, its obvious slips mended (`typings`, `pandas.Dataframe`, `json-arr`), each
in a module of its own as the page recommends. Every class is also written as a kappafile, and both declare one service.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from sklearn import datasets, svm

import kappa
from kappa import load
from kappa._files import write_atomically
from kappa.actions.building import plan_of
from kappa.bento import BentoService
from kappa.build.class_project import project_of, read_class_project
from kappa.build.packages.lock import Lock
from kappa.cli.main import cli
from kappa.frameworks.sklearn import SklearnModelArtifact
from kappa.services.bundle import open_bundle
from kappa.services.declaring import declared_artifacts, declared_spec
from kappa.spec.service import ServiceSpec
from kappa.testing import client

# -- the classes of the page, and the same services as kappafiles ------------------------------------------------------

IRIS = """\
import kappa
from kappa.adapters import DataframeInput
from kappa.frameworks.sklearn import SklearnModelArtifact

@kappa.env(infer_pip_packages=True)
@kappa.artifacts([SklearnModelArtifact('model')])
class IrisClassifier(kappa.BentoService):

    @kappa.api(input=DataframeInput(), batch=True)
    def predict(self, df):
        return self.artifacts.model.predict(df)
"""

TWO_MODELS = """\
import kappa
from kappa.adapters import DataframeInput
from kappa.frameworks.sklearn import SklearnModelArtifact
from kappa.frameworks.xgboost import XgboostModelArtifact

@kappa.env(infer_pip_packages=True)
@kappa.artifacts([
    SklearnModelArtifact("model_a"),
    XgboostModelArtifact("model_b")
])
class MyPredictionService(kappa.BentoService):

    @kappa.api(input=DataframeInput(), batch=True)
    def predict(self, df):
        # assume the output of model_a will be the input of model_b in this example:
        df = self.artifacts.model_a.predict(df)

        return self.artifacts.model_b.predict(df)
"""

ENVIRONMENTS = """\
import kappa
from kappa import env, artifacts, BentoService
from kappa.adapters import DataframeInput
from kappa.frameworks.sklearn import SklearnModelArtifact

@kappa.env(
  pip_packages=[
    'scikit-learn==0.24.1',
    'pandas @https://github.com/pypa/pip/archive/1.3.1.zip',
  ]
)
class PinnedService(kappa.BentoService):

    @kappa.api(input=DataframeInput(), batch=True)
    def predict(self, df):
        return self.artifacts.model.predict(df)


@kappa.env(
  requirements_txt_file="./requirements.txt"
)
class FileService(kappa.BentoService):

    @kappa.api(input=DataframeInput(), batch=True)
    def predict(self, df):
        return self.artifacts.model.predict(df)


@kappa.artifacts([SklearnModelArtifact('model')])
@kappa.env(
  pip_packages=['pandas', 'h2o==3.24.0.2'],
  conda_channels=['h2oai'],
  conda_dependencies=['h2o==3.24.0.2'],
  conda_override_channels=True,
)
class CondaService(kappa.BentoService):

  @kappa.api(input=DataframeInput(), batch=True)
  def predict(self, df):
      return self.artifacts.model.predict(df)


@env(docker_base_image="mycompany/my-base-image:v123")
@artifacts([SklearnModelArtifact('model')])
class ImageService(BentoService):
    @kappa.api(input=DataframeInput(), batch=True)
    def predict(self, df): ...


@kappa.env(
    infer_pip_packages=True,
    setup_sh="./my_init_script.sh"
)
class ScriptFileService(kappa.BentoService):
    @kappa.api(input=DataframeInput(), batch=True)
    def predict(self, df): ...


@kappa.env(
    infer_pip_packages=True,
    setup_sh=\"\"\"\\
#!/bin/bash
set -e

apt-get install --no-install-recommends nvidia-driver-430
...
  \"\"\"
)
class ScriptTextService(kappa.BentoService):
    @kappa.api(input=DataframeInput(), batch=True)
    def predict(self, df): ...
"""

DATABASE = """\
import pandas
import kappa
from kappa.adapters import DataframeInput
from kappa.frameworks.json import JSONArtifact
from my_lib import preprocessing, postprocessing, fetch_user_profile_from_database

@kappa.artifacts([JSONArtifact('offset')])
class ExamplePredictionService(kappa.BentoService):

    @kappa.api(input=DataframeInput(), batch=True)
    def predict(self, df):
        assert type(df) == pandas.core.frame.DataFrame
        user_profile_column = fetch_user_profile_from_database(df['user_id'])
        df['user_profile'] = user_profile_column
        model_input = preprocessing(df)
        model_output = model_input + self.artifacts.offset
        return postprocessing(model_output)
"""

MY_LIB = """\
import pandas

def fetch_user_profile_from_database(ids):
    return ids * 10

def preprocessing(df):
    return df['user_profile']

def postprocessing(output):
    return output.tolist()

def process_custom_json_format(json_arr):
    return pandas.DataFrame(json_arr)
"""

VALIDATION = """\
from typing import List
from kappa import env, artifacts, api, BentoService
from kappa.adapters import JsonInput
from kappa.frameworks.pickle import PickleArtifact
from kappa.types import JsonSerializable, InferenceTask  # type annotations are optional

@env(infer_pip_packages=True)
@artifacts([PickleArtifact('classifier')])
class MyPredictionService(BentoService):

        @api(input=JsonInput(), batch=True)
        def predict_batch(self, parsed_json_list: List[JsonSerializable], tasks: List[InferenceTask]):
             model_input = []
             for json, task in zip(parsed_json_list, tasks):
                  if "text" in json:
                      model_input.append(json['text'])
                  else:
                      task.discard(http_status=400, err_msg="input json must contain `text` field")

             results = self.artifacts.classifier(model_input)

             return results
"""

CONTROL = """\
from typing import List
import kappa
from kappa.adapters import JsonInput
from kappa.frameworks.pickle import PickleArtifact
from kappa.types import JsonSerializable, InferenceTask, InferenceError, InferenceResult

@kappa.artifacts([PickleArtifact('model')])
class MyService(kappa.BentoService):

    @kappa.api(input=JsonInput(), batch=False)
    def predict(self, parsed_json: JsonSerializable, task: InferenceTask) -> InferenceResult:
        if task.http_headers['Accept'] == "application/json":
            predictions = self.artifact.model.predict([parsed_json])
            return InferenceResult(
                data=predictions[0],
                http_status=200,
                http_headers={"Content-Type": "application/json"},
            )
        else:
            return InferenceError(err_msg="application/json output only", http_status=400)

    @kappa.api(input=JsonInput(), batch=True)
    def predict_many(
        self, parsed_json_list: List[JsonSerializable], tasks: List[InferenceTask]
    ) -> List[InferenceResult]:
        rv = []
        predictions = self.artifact.model.predict(parsed_json_list)
        for task, prediction in zip(tasks, predictions):
            if task.http_headers['Accept'] == "application/json":
                rv.append(
                    InferenceResult(
                        data=prediction,
                        http_status=200,
                        http_headers={"Content-Type": "application/json"},
                ))
            else:
                rv.append(InferenceError(err_msg="application/json output only", http_status=400))
                # or task.discard(err_msg="application/json output only", http_status=400)
        return rv
"""

SEVERAL = """\
import pandas
import kappa
from kappa.adapters import DataframeInput, JsonInput
from kappa.frameworks.sklearn import SklearnModelArtifact
from my_lib import process_custom_json_format

@kappa.artifacts([SklearnModelArtifact('model')])
class ExamplePredictionService(kappa.BentoService):

    @kappa.api(input=DataframeInput(), batch=True)
    def predict(self, df: pandas.DataFrame):
        return self.artifacts.model.predict(df)

    @kappa.api(input=JsonInput(), batch=True)
    def predict_json(self, json_arr):
        df = process_custom_json_format(json_arr)
        return self.artifacts.model.predict(df)
"""

WEB = """\
from kappa import api, artifacts, env, web_static_content, BentoService
from kappa.adapters import DataframeInput
from kappa.frameworks.sklearn import SklearnModelArtifact

@env(auto_pip_dependencies=True)
@artifacts([SklearnModelArtifact('model')])
@web_static_content('./static')
class IrisClassifier(BentoService):

    @api(input=DataframeInput(), batch=True)
    def predict(self, df):
        return self.artifacts.model.predict(df)
"""

RETURNS = """\
import numpy
import pandas
import kappa
from kappa.adapters import DataframeInput, JsonInput

class Returns(kappa.BentoService):
    @kappa.api(input=DataframeInput(), batch=True)
    def frame(self, df):
        return df * 2

    @kappa.api(input=DataframeInput(), batch=True)
    def series(self, df):
        return df["a"]

    @kappa.api(input=DataframeInput(), batch=True)
    def array(self, df):
        return df.to_numpy()

    @kappa.api(input=JsonInput(), batch=True)
    def items(self, values):
        return [{"got": value} for value in values]

    @kappa.api(input=JsonInput())
    def one_frame(self, value):
        return pandas.DataFrame([value])

    @kappa.api(input=JsonInput())
    def one_array(self, value):
        return numpy.array(value)

    @kappa.api(input=JsonInput())
    def one_value(self, value):
        return value
"""

MODULES = {
    "concepts_iris": IRIS,
    "concepts_two_models": TWO_MODELS,
    "concepts_environments": ENVIRONMENTS,
    "concepts_database": DATABASE,
    "concepts_validation": VALIDATION,
    "concepts_control": CONTROL,
    "concepts_several": SEVERAL,
    "concepts_web": WEB,
    "concepts_returns": RETURNS,
    "my_lib": MY_LIB,
}
OTHERS = {
    "m": "",
    "my_init_script.sh": "true\n",
    "requirements.txt": "",
    "static/index.html": "<h1>Mine</h1>",
    "static/js/app.js": "go()",
}
MODEL = '[artifacts.{name}]\ntype = "{type}"\npath = "m"\n'
PREDICT = '[apis.predict]\nfunction = "{reference}.predict"\ninput = "dataframe"\nbatch = true\n'
SKLEARN = MODEL.format(name="model", type="sklearn")
INFERRED = "[env]\ninfer_pip_packages = true\n"

BOTH_WAYS = {
    "concepts_iris:IrisClassifier": INFERRED + SKLEARN + PREDICT,
    "concepts_two_models:MyPredictionService": INFERRED
    + MODEL.format(name="model_a", type="sklearn")
    + MODEL.format(name="model_b", type="xgboost")
    + PREDICT,
    "concepts_environments:PinnedService": "[env]\npip_packages = ['scikit-learn==0.24.1', "
    "'pandas @https://github.com/pypa/pip/archive/1.3.1.zip']\n" + PREDICT,
    "concepts_environments:FileService": '[env]\nrequirements_txt_file = "./requirements.txt"\n' + PREDICT,
    "concepts_environments:CondaService": "[env]\npip_packages = ['pandas', 'h2o==3.24.0.2']\n"
    "conda_channels = ['h2oai']\nconda_dependencies = ['h2o==3.24.0.2']\nconda_override_channels = true\n"
    + SKLEARN
    + PREDICT,
    "concepts_environments:ImageService": '[env]\ndocker_base_image = "mycompany/my-base-image:v123"\n'
    + SKLEARN
    + PREDICT,
    "concepts_environments:ScriptFileService": INFERRED + 'setup_sh = "./my_init_script.sh"\n' + PREDICT,
    "concepts_environments:ScriptTextService": INFERRED + "setup_sh = '''\n#!/bin/bash\nset -e\n\n"
    "apt-get install --no-install-recommends nvidia-driver-430\n...\n  '''\n" + PREDICT,
    "concepts_database:ExamplePredictionService": MODEL.format(name="offset", type="json") + PREDICT,
    "concepts_validation:MyPredictionService": INFERRED
    + MODEL.format(name="classifier", type="pickle")
    + '[apis.predict_batch]\nfunction = "{reference}.predict_batch"\ninput = "json"\nbatch = true\n',
    "concepts_control:MyService": MODEL.format(name="model", type="pickle")
    + '[apis.predict]\nfunction = "{reference}.predict"\ninput = "json"\nbatch = false\n'
    + '[apis.predict_many]\nfunction = "{reference}.predict_many"\ninput = "json"\nbatch = true\n',
    "concepts_several:ExamplePredictionService": SKLEARN
    + PREDICT
    + '[apis.predict_json]\nfunction = "{reference}.predict_json"\ninput = "json"\nbatch = true\n',
    "concepts_web:IrisClassifier": INFERRED + SKLEARN + PREDICT,
}
"""The tables of a kappafile, without `[service]`, by the class that declares the same."""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write the page's modules into a folder that Python finds, and forget them afterwards."""
    for name, source in MODULES.items():
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    for name, text in OTHERS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name in MODULES or name.startswith("_kappa_bundle_"):
            del sys.modules[name]


def instance_of(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)()


def lock_for(service: BentoService, home: Path) -> None:
    """Put a lock where saving looks for one, so that nothing is asked of an index."""
    asked = plan_of(project_of(service)).lock_inputs
    lock = Lock(asked.digest, asked.python, asked.platform, "pip-compile 7.6", "falcon==4.4.0 --hash=sha256:00\n")
    write_atomically(home / "locks" / asked.digest.replace(":", "-"), lock.text.encode())


def trained() -> svm.SVC:
    clf = svm.SVC(gamma="scale")
    iris = datasets.load_iris()
    X, y = iris.data, iris.target
    clf.fit(X, y)
    return clf


@pytest.fixture
def saved_path(page: Path, kappa_home: Path) -> str:
    """Save the iris classifier as the page does, and return its path."""
    iris_classifier_service = instance_of("concepts_iris:IrisClassifier")
    iris_classifier_service.pack("model", trained())
    lock_for(iris_classifier_service, kappa_home)
    return str(iris_classifier_service.save())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="kappa", terminal_width=200)


# -- every class, both ways --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", BOTH_WAYS)
def test_class_and_kappafile_declare_one_service(page: Path, reference: str) -> None:
    by_class = declared_spec(type(instance_of(reference)))
    name = reference.partition(":")[2]
    static = 'web_static_content = "./static"\n' if reference == "concepts_web:IrisClassifier" else ""
    text = (
        f'kappafile = 1\n[service]\nname = "{name}"\n{static}{BOTH_WAYS[reference].replace("{reference}", reference)}'
    )
    (page / "kappafile.toml").write_text(text, encoding="utf-8")
    by_file = spec_of_kappafile(page)
    assert by_file.model_copy(update={"service_class": reference}) == by_class
    (page / "kappafile.toml").unlink()
    read = read_class_project(reference, page)
    assert read.spec == by_class


def spec_of_kappafile(folder: Path) -> ServiceSpec:
    """Read a kappafile as far as it declares: that its models are empty files is not asked here."""
    from kappa.build.manifest.kappafile import read_kappafile
    from kappa.spec.document import Kappafile

    document, found = read_kappafile(folder / "kappafile.toml")
    assert document is not None
    assert not found.has_errors
    return Kappafile.model_validate(document.tree).to_spec()


# -- the introduction --------------------------------------------------------------------------------------------------


def test_iris_is_packed_called_and_saved(page: Path, kappa_home: Path) -> None:
    from concepts_iris import IrisClassifier  # type: ignore[import-not-found]

    iris_classifier_service = IrisClassifier()
    assert iris_classifier_service.pack("model", trained()) is iris_classifier_service
    assert iris_classifier_service.predict([[5.1, 3.5, 1.4, 0.2]]).tolist() == [0]
    lock_for(iris_classifier_service, kappa_home)
    saved_path = iris_classifier_service.save()
    assert Path(saved_path).parent == kappa_home / "repository" / "IrisClassifier"
    assert {"kappa.yml", "requirements.txt", "Dockerfile"} <= {path.name for path in Path(saved_path).iterdir()}
    assert (Path(saved_path) / "IrisClassifier" / "concepts_iris.py").read_text() == IRIS


@pytest.mark.engine
def test_the_development_server_answers_and_stops(page: Path) -> None:
    iris_classifier_service = instance_of("concepts_iris:IrisClassifier").pack("model", trained())
    url = iris_classifier_service.start_dev_server()
    with kappa.client(url) as asking:
        assert asking.predict([[5.1, 3.5, 1.4, 0.2]]) == [0]
    iris_classifier_service.stop_dev_server()


def test_bundles_are_listed(saved_path: str) -> None:
    lines = run("list", "-o", "wide").stdout.splitlines()
    assert lines[0].split()[:4] == ["MODEL_VERSION", "CREATED_AT", "APIS", "ARTIFACTS"]
    assert lines[1].startswith(f"IrisClassifier:{Path(saved_path).name}")
    assert "predict<DataframeInput>" in lines[1]
    assert "model<SklearnModelArtifact>" in lines[1]


# -- creating a service: where the class may be ------------------------------------------------------------------------


def test_a_class_of_the_interactive_shell_cannot_be_saved() -> None:
    program = f"{IRIS}\nIrisClassifier().pack('model', 1).save()\n"
    done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True, check=False)
    assert "%%writefile iris_classifier.py" in done.stderr


# -- artifacts and their metadata --------------------------------------------------------------------------------------


class Halving:
    """Stands for the second model, whose library need not be installed here."""

    def predict(self, values: Any) -> Any:
        return np.asarray(values) / 2


def test_two_models_answer_one_after_the_other(page: Path) -> None:
    svc = instance_of("concepts_two_models:MyPredictionService")
    svc.pack("model_a", trained())
    svc.pack("model_b", Halving())
    with client(svc) as asking:
        assert asking.predict([[6.3, 3.3, 6.0, 2.5]]) == [1.0]


def test_metadata_is_kept_and_cannot_be_changed(page: Path, kappa_home: Path) -> None:
    svc = instance_of("concepts_several:ExamplePredictionService")
    svc.pack("model", trained(), metadata={"precision_score": 0.876, "created_by": "joe", "rows": 150})
    lock_for(svc, kappa_home)
    path = svc.save()
    shown = json.loads(run("get", "ExamplePredictionService:latest").stdout)
    expected = {"precision_score": 0.876, "created_by": "joe", "rows": 150}
    assert shown["bentoServiceMetadata"]["artifacts"][0]["metadata"] == expected
    with client(path) as asking:
        assert asking.get("/metadata").json["artifacts"][0]["metadata"] == expected
    svc = load(path)
    metadata = svc.artifacts["model"].metadata
    assert (repr(metadata), type(metadata["rows"])) == (repr(expected), int)
    with pytest.raises(TypeError):
        metadata["rows"] = 1  # type: ignore[index]


# -- API functions -----------------------------------------------------------------------------------------------------


def test_a_function_may_fetch_and_process_what_it_likes(page: Path) -> None:
    with client(instance_of("concepts_database:ExamplePredictionService").pack("offset", 1)) as asking:
        assert asking.predict([{"user_id": 2}, {"user_id": 3}]) == [21, 31]
        csv = asking.post("/predict", body="user_id\n4\n", headers={"Content-Type": "text/csv"})
        assert csv.json == [41]


@pytest.mark.parametrize(
    ("api", "request_", "answer"),
    [
        ("frame", [{"a": 1}, {"a": 2}], [{"a": 2}, {"a": 4}]),
        ("series", [{"a": 1}, {"a": 2}], [1, 2]),
        ("array", [{"a": 1, "b": 2}], [[1, 2]]),
        ("items", {"x": None}, {"got": {"x": None}}),
        ("one_frame", {"a": 1}, [{"a": 1}]),
        ("one_array", [1, 2], [1, 2]),
        ("one_value", "text", "text"),
    ],
)
def test_functions_return_what_the_page_lists(page: Path, api: str, request_: Any, answer: Any) -> None:
    with client(instance_of("concepts_returns:Returns")) as asking:
        assert asking.call(api, request_, returns="json") == answer


class Lengths:
    def __call__(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts]


def test_a_batch_discards_what_is_invalid(page: Path) -> None:
    with client(instance_of("concepts_validation:MyPredictionService").pack("classifier", Lengths())) as asking:
        assert asking.post("/predict_batch", json={"text": "four"}).json == 4
        refused = asking.post("/predict_batch", json={"words": "four"})
        assert (refused.status_code, refused.json["error"]) == (400, "input json must contain `text` field")


class Same:
    def predict(self, values: list[Any]) -> list[Any]:
        return [{"prediction": value} for value in values]


@pytest.mark.parametrize("api", ["predict", "predict_many"])
def test_a_function_decides_about_the_whole_answer(page: Path, api: str) -> None:
    with client(instance_of("concepts_control:MyService").pack("model", Same())) as asking:
        answer = asking.post(f"/{api}", json=5, headers={"Accept": "application/json"})
        assert (answer.status_code, answer.json, answer.headers["content-type"]) == (
            200,
            {"prediction": 5},
            "application/json",
        )
        for headers in ({"Accept": "text/csv"}, {}):
            refused = asking.post(f"/{api}", json=5, headers=headers)
            assert (refused.status_code, refused.json["error"]) == (400, "application/json output only")


def test_several_apis_answer_beside_each_other(page: Path) -> None:
    with client(instance_of("concepts_several:ExamplePredictionService").pack("model", trained())) as asking:
        row = [5.1, 3.5, 1.4, 0.2]
        assert asking.predict([row]) == [0]
        assert asking.predict_json(row) == 0


def test_static_content_is_hosted(page: Path, kappa_home: Path) -> None:
    service = instance_of("concepts_web:IrisClassifier").pack("model", trained())
    lock_for(service, kappa_home)
    for target in (service, service.save()):
        with client(target) as asking:
            assert asking.get("/", headers={"Accept": "text/html"}).text == "<h1>Mine</h1>"
            assert asking.get("/js/app.js").text == "go()"
            assert asking.predict([[5.1, 3.5, 1.4, 0.2]]) == [0]


# -- saving and loading ------------------------------------------------------------------------------------------------


def test_a_service_is_saved_to_a_directory_and_loaded_from_there(page: Path, kappa_home: Path, tmp_path: Path) -> None:
    service = instance_of("concepts_iris:IrisClassifier").pack("model", trained())
    lock_for(service, kappa_home)
    service.save_to_dir(str(tmp_path / "bundle"))
    bento_service = kappa.load(str(tmp_path / "bundle"))
    result = bento_service.predict(pd.DataFrame([[5.1, 3.5, 1.4, 0.2]]))  # type: ignore[attr-defined]
    assert result.tolist() == [0]
    assert run("list", "--format", "json").stdout.strip() == "[]"


def test_labels_are_set_when_saving(page: Path, kappa_home: Path) -> None:
    svc = instance_of("concepts_iris:IrisClassifier")
    svc.pack("model", trained())
    lock_for(svc, kappa_home)
    path = svc.save(labels={"framework": "xgboost", "data-cohort": "2020.9.10-2020.9.11", "created_by": "Tim_Apple"})
    assert open_bundle(Path(path)).manifest.labels["data-cohort"] == "2020.9.10-2020.9.11"
    listed = run("list", "--labels", "framework In (xgboost, lightgbm)", "--format", "json")
    assert [record["name"] for record in json.loads(listed.stdout)] == ["IrisClassifier"]


# -- access from the command line --------------------------------------------------------------------------------------


def test_the_command_line_answers_inputs_and_files(saved_path: str, page: Path) -> None:
    (page / "iris_test_data.csv").write_text("a,b,c,d\n5.1,3.5,1.4,0.2\n", encoding="utf-8")
    assert in_process("run", "IrisClassifier:latest", "predict", "--input", "[[5.1, 3.5, 1.4, 0.2]]") == "[0]\n"
    assert in_process("run", saved_path, "predict", "--input-file", "./iris_test_data.csv") == "[0]\n"
    assert run("get", "IrisClassifier:latest", "--print-location", "--quiet").stdout.strip() == saved_path


def in_process(*arguments: str) -> str:
    """Run a command in a process of its own: it imports the bundle's modules under their own names."""
    done = subprocess.run([sys.executable, "-m", "kappa", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_record_of_a_version_is_the_pages(saved_path: str) -> None:
    record = json.loads(run("get", f"IrisClassifier:{Path(saved_path).name}").stdout)
    assert record["uri"] == {"type": "LOCAL", "uri": saved_path}
    described = record["bentoServiceMetadata"]
    assert (described["name"], described["version"]) == ("IrisClassifier", Path(saved_path).name)
    assert described["artifacts"][0]["artifactType"] == "SklearnModelArtifact"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", described["createdAt"])
    env = described["env"]
    assert env["condaEnv"].startswith("name: kappa-IrisClassifier\nchannels:\n- defaults\ndependencies:\n- python=")
    assert "scikit-learn" in env["pipDependencies"]
    assert env["pythonVersion"] == platform.python_version()
    api = {"name": "predict", "InputType": "DataframeInput", "docs": "BentoService API"}
    assert api.items() <= described["apis"][0].items()
    assert {"orient": "records", "typ": "frame", "dtypes": None}.items() <= described["apis"][0]["inputConfig"].items()


@pytest.mark.parametrize("adapter", ["DataframeInput()", "DataframeInput(orient='records')"])
def test_the_layout_that_a_client_is_told_is_one_that_it_may_send(page: Path, adapter: str) -> None:
    source = IRIS.replace("DataframeInput(), batch=True", f"{adapter}, output=JsonOutput()")
    source = source.replace("import DataframeInput", "import DataframeInput, JsonOutput")
    source = source.replace("(df)", "(df.to_numpy())")
    name = f"concepts_{'records' if 'orient' in adapter else 'plain'}"
    write_atomically(page / f"{name}.py", source.encode())
    importlib.invalidate_caches()
    service = instance_of(f"{name}:IrisClassifier").pack("model", trained())
    with client(service) as asking:
        for body in ([[5.1, 3.5, 1.4, 0.2]], [{"a": 5.1, "b": 3.5, "c": 1.4, "d": 0.2}]):
            assert asking.post("/predict", json=body).json == [0]


def test_the_decorator_of_artifacts_is_known_by_both_names() -> None:
    def declared(decorator: Any) -> Any:
        return declared_artifacts(decorator(type("Service", (BentoService,), {})))

    one = SklearnModelArtifact("model")
    assert declared(kappa.artifact([one])) == declared(kappa.artifact(one)) == declared(kappa.artifacts([one]))


@pytest.mark.index
@pytest.mark.engine
def test_an_installed_bundle_is_a_package_and_a_command(page: Path, tmp_path: Path) -> None:
    iris_classifier_service = instance_of("concepts_iris:IrisClassifier").pack("model", trained())
    saved_path = iris_classifier_service.save_to_dir(tmp_path / "bundle")
    environ = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def shell(*command: str | Path) -> str:
        done = subprocess.run([*map(str, command)], cwd="/", env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shell(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    shell(python, "-m", "pip", "install", "--quiet", saved_path)
    program = (
        "import IrisClassifier\n\n"
        "installed_svc = IrisClassifier.load()\n"
        "print(installed_svc.predict([[5.1, 3.5, 1.4, 0.2]]).tolist())"
    )
    assert shell(python, "-W", "ignore", "-c", program) == "[0]\n"
    command = python.with_name("IrisClassifier")
    (tmp_path / "iris_test_data.csv").write_text("a,b,c,d\n5.1,3.5,1.4,0.2\n", encoding="utf-8")
    assert shell(command, "run", "predict", "--input", "[[5.1, 3.5, 1.4, 0.2]]") == "[0]\n"
    assert shell(command, "run", "predict", "--input-file", tmp_path / "iris_test_data.csv") == "[0]\n"
