"""The same ten mistakes, as each tool's users make them.

Every tool has a small correct project; a mistake is an edit of its manifest. The subject is the same everywhere: a
scikit-learn model of irises, a list of packages, a version of Python, a bound on batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["AT_ONCE", "MISTAKES", "PROJECTS", "Edit", "Mistake", "Project"]


@dataclass(frozen=True, slots=True)
class Project:
    """A tool's correct project: its files by path, and which of them is the manifest."""

    files: Mapping[str, str | bytes]
    manifest: str


@dataclass(frozen=True, slots=True)
class Edit:
    """One mistake in one tool's manifest."""

    old: str
    """What the correct manifest says; it stands there once."""
    new: str
    shown: str
    """What a message says if it is about this mistake, as a regular expression."""
    fix: str = ""
    """What a message says if it tells what to write instead, as a regular expression; empty where nothing is meant."""
    table: str = ""
    """Where the table begins in which something is missing."""


@dataclass(frozen=True, slots=True)
class Mistake:
    title: str
    edits: Mapping[str, Edit]


KAPPA_INPUT_TOML = 'input = { type = "dataframe", columns = { petal_length = "float64", petal_width = "float64" } }\n'
KAPPA_INPUT_YAML = "    input: {type: dataframe, columns: {petal_length: float64, petal_width: float64}}\n"

KAPPA_TOML = """\
kappafile = 1

[service]
name = "Iris"
doc = "Tells the species of an iris."

[env]
python = "3.11"
pip_packages = ["scikit-learn"]

[artifacts.model]
type = "sklearn"
path = "model.joblib"

[apis.predict]
artifact = "model"
input = { type = "dataframe", columns = { petal_length = "float64", petal_width = "float64" } }
max_batch_size = 256

[security]
pickle = "allow"
"""

KAPPA_YAML = """\
kappafile: 1

service:
  name: "Iris"
  doc: "Tells the species of an iris."

env:
  python: "3.11"
  pip_packages:
    - scikit-learn

artifacts:
  model:
    type: sklearn
    path: model.joblib

apis:
  predict:
    artifact: model
    input: {type: dataframe, columns: {petal_length: float64, petal_width: float64}}
    max_batch_size: 256

security:
  pickle: allow
"""

BENTOFILE = """\
service: "service:Iris"
description: "Tells the species of an iris."
include:
  - service.py
python:
  lock_packages: false
  packages:
    - scikit-learn
docker:
  distro: debian
  python_version: "3.11"
"""

BENTO_SERVICE = """\
import bentoml


@bentoml.service
class Iris:
    @bentoml.api
    def predict(self, length: float) -> float:
        return length
"""

TRUSS_CONFIG = """\
model_name: iris
description: "Tells the species of an iris."
python_version: py311
model_class_filename: model.py
model_class_name: Model
requirements:
  - scikit-learn
resources:
  cpu: "1"
  memory: 2Gi
  accelerator: T4
"""

TRUSS_MODEL = """\
class Model:
    def load(self):
        pass

    def predict(self, request):
        return request
"""

MLSERVER_MODEL = """\
{
  "name": "iris",
  "implementation": "mlserver_sklearn.SKLearnModel",
  "max_batch_size": 256,
  "max_batch_time": 0.05,
  "inputs": [
    {"name": "length", "datatype": "FP64", "shape": [-1, 1]}
  ],
  "parameters": {
    "uri": "./model.joblib",
    "version": "1.10"
  }
}
"""

MLSERVER_SETTINGS = """\
{
  "debug": false,
  "parallel_workers": 0,
  "http_port": 18080,
  "grpc_port": 18081,
  "metrics_port": 18082
}
"""

NO_MODEL = b"\x80\x05N."  # a pickle of nothing: enough for tools that look at a model's first bytes

PROJECTS: Mapping[str, Project] = {
    "kappa-toml": Project({"kappafile.toml": KAPPA_TOML, "model.joblib": NO_MODEL}, "kappafile.toml"),
    "kappa-yaml": Project({"kappafile.yaml": KAPPA_YAML, "model.joblib": NO_MODEL}, "kappafile.yaml"),
    "bentoml": Project({"bentofile.yaml": BENTOFILE, "service.py": BENTO_SERVICE}, "bentofile.yaml"),
    "truss": Project(
        {"config.yaml": TRUSS_CONFIG, "model/__init__.py": "", "model/model.py": TRUSS_MODEL}, "config.yaml"
    ),
    "mlserver": Project(
        {"model-settings.json": MLSERVER_MODEL, "settings.json": MLSERVER_SETTINGS}, "model-settings.json"
    ),
}

MISTAKES = (
    Mistake(
        "A typo in a key",
        {
            "kappa-toml": Edit("pip_packages =", "pip_pakages =", "pip_pakages", r"\bpip_packages"),
            "kappa-yaml": Edit("pip_packages:", "pip_pakages:", "pip_pakages", r"\bpip_packages"),
            "bentoml": Edit("include:", "inclued:", "inclued", r"\binclude\b"),
            "truss": Edit("requirements:", "requirments:", "requirments", r"\brequirements\b"),
            "mlserver": Edit('"max_batch_size"', '"max_batchsize"', "max_batchsize", "max_batch_size"),
        },
    ),
    Mistake(
        "A key of another tool",
        {
            "kappa-toml": Edit("pip_packages =", "requirements =", "requirements", "pip_packages"),
            "kappa-yaml": Edit("pip_packages:", "requirements:", "requirements", "pip_packages"),
            "bentoml": Edit("  packages:", "  requirements:", "requirements", r"\bpackages\b"),
            "truss": Edit("requirements:", "pip_packages:", "pip_packages", r"\brequirements\b"),
            "mlserver": Edit('"max_batch_time": 0.05', '"max_latency_ms": 50', "max_latency_ms", "max_batch_time"),
        },
    ),
    Mistake(
        "A value of the wrong kind",
        {
            "kappa-toml": Edit('["scikit-learn"]', '"scikit-learn"', "pip_packages", "list|array|sequence"),
            "kappa-yaml": Edit(
                "pip_packages:\n    - scikit-learn", "pip_packages: scikit-learn", "pip_packages", "list|array|sequence"
            ),
            "bentoml": Edit(
                "packages:\n    - scikit-learn", "packages: scikit-learn", "packages", "list|array|sequence"
            ),
            "truss": Edit(
                "requirements:\n  - scikit-learn", "requirements: scikit-learn", "requirements", "list|array|sequence"
            ),
            "mlserver": Edit('"max_batch_size": 256', '"max_batch_size": "many"', "max_batch_size", "integer|number"),
        },
    ),
    Mistake(
        "A required key is missing",
        {
            "kappa-toml": Edit(KAPPA_INPUT_TOML, "", r"\binput\b", r"\binput\b", "[apis.predict]"),
            "kappa-yaml": Edit(KAPPA_INPUT_YAML, "", r"\binput\b", r"\binput\b", "  predict:"),
            "bentoml": Edit("docker:", "models:\n  - alias: iris\ndocker:", r"\btag\b", r"\btag\b"),
            "truss": Edit(
                "requirements:", "model_cache:\n  - revision: main\nrequirements:", r"\brepo_id\b", r"\brepo_id\b"
            ),
            "mlserver": Edit(
                '  "implementation": "mlserver_sklearn.SKLearnModel",\n', "", "implementation", "implementation"
            ),
        },
    ),
    Mistake(
        "A file or model that does not exist",
        {
            "kappa-toml": Edit('"model.joblib"', '"modle.joblib"', r"modle\.joblib", r"\bmodel\.joblib"),
            "kappa-yaml": Edit("model.joblib", "modle.joblib", r"modle\.joblib", r"\bmodel\.joblib"),
            "bentoml": Edit("docker:", 'models:\n  - "iris_modle:latest"\ndocker:', "iris_modle"),
            "truss": Edit("model_class_filename: model.py", "model_class_filename: modle.py", r"modle\.py"),
            "mlserver": Edit('"./model.joblib"', '"./modle.joblib"', r"modle\.joblib", r"\bmodel\.joblib"),
        },
    ),
    Mistake(
        "A reference to what is not declared",
        {
            "kappa-toml": Edit('artifact = "model"', 'artifact = "modle"', r"modle\b(?!\.)", r"`model`"),
            "kappa-yaml": Edit("artifact: model", "artifact: modle", r"modle\b(?!\.)", r"`model`"),
            "bentoml": Edit("service:Iris", "service:Irsi", "Irsi", r"\bIris\b"),
            "truss": Edit("model_class_name: Model", "model_class_name: Modle", "Modle", r"\bModel\b"),
            "mlserver": Edit("SKLearnModel", "SKLearnModle", "SKLearnModle", r"\bSKLearnModel\b"),
        },
    ),
    Mistake(
        "A version without quotes",
        {
            "kappa-toml": Edit('python = "3.11"', "python = 3.10", r"\bpython\b", "quot|text|string"),
            "kappa-yaml": Edit('python: "3.11"', "python: 3.10", r"\bpython\b", "quot|text|string"),
            "bentoml": Edit(
                'python_version: "3.11"', "python_version: 3.10", r"python_version|\b3\.1\b", "quot|text|string"
            ),
            "truss": Edit(
                "python_version: py311", "python_version: 3.10", "python_version|3\\.1", "quot|text|string|py310"
            ),
            "mlserver": Edit('"version": "1.10"', '"version": 1.10', "version", "quot|text|string"),
        },
    ),
    Mistake(
        "A key given twice",
        {
            "kappa-toml": Edit('python = "3.11"\n', 'python = "3.11"\npython = "3.12"\n', r"\bpython\b"),
            "kappa-yaml": Edit('  python: "3.11"\n', '  python: "3.11"\n  python: "3.12"\n', r"\bpython\b"),
            "bentoml": Edit(
                '  python_version: "3.11"\n',
                '  python_version: "3.11"\n  python_version: "3.12"\n',
                "python_version",
            ),
            "truss": Edit(
                "python_version: py311\n", "python_version: py311\npython_version: py312\n", "python_version"
            ),
            "mlserver": Edit(
                '"max_batch_size": 256,', '"max_batch_size": 256,\n  "max_batch_size": 16,', "max_batch_size"
            ),
        },
    ),
    Mistake(
        "A syntax error",
        {
            "kappa-toml": Edit('an iris."', "an iris.", "doc|quote|string|expected"),
            "kappa-yaml": Edit('an iris."', "an iris.", "doc|quote|string|scalar|expected"),
            "bentoml": Edit('an iris."', "an iris.", "scalar|quote|string|expected"),
            "truss": Edit('an iris."', "an iris.", "scalar|quote|string|expected"),
            "mlserver": Edit('"max_batch_size": 256,', '"max_batch_size": 256', "delimiter|comma"),
        },
    ),
    Mistake(
        "A word that is not one of those allowed",
        {
            "kappa-toml": Edit('type = "sklearn"', 'type = "sklaern"', "sklaern", r"\bsklearn\b"),
            "kappa-yaml": Edit("type: sklearn", "type: sklaern", "sklaern", r"\bsklearn\b"),
            "bentoml": Edit("distro: debian", "distro: debain", "debain", r"\bdebian\b"),
            "truss": Edit("accelerator: T4", "accelerator: T5", r"\bT5\b|accelerator", r"\bT4\b"),
            "mlserver": Edit('"FP64"', '"FP46"', "FP46|datatype", r"\bFP64\b"),
        },
    ),
)

AT_ONCE = (0, 4, 5, 6, 9)
"""Mistakes that can stand in one manifest together."""
