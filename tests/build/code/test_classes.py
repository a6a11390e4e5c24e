"""What a class declares is read from its source, and is what the class itself would say."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kappa.build.class_project import read_class_project
from kappa.build.code.classes import import_class, read_class
from kappa.build.code.declarations import ClassProblem, Declaration, Location, Opaque
from kappa.build.code.modules import CodeBase, search_path
from kappa.build.manifest.positions import Span
from kappa.build.project import read_project
from kappa.errors import ConfigurationError, ManifestError
from kappa.log import Kind, listening
from kappa.services.declaring import declared_spec
from kappa.spec.service import FunctionTarget, ServiceSpec

HEAD = """\
import kappa
from kappa import BentoService, api, artifacts, env
from kappa.adapters import DataframeInput, JsonInput, JsonOutput as Out
from kappa.frameworks.sklearn import SklearnModelArtifact
import kappa.frameworks.json as frameworks
"""

WRITTEN_OUT = {
    "the concepts page's": """
@kappa.env(infer_pip_packages=True)
@kappa.artifacts([SklearnModelArtifact('model')])
class Service(kappa.BentoService):
    '''Tells something.

        Indented.
    '''

    @kappa.api(input=DataframeInput(), batch=True)
    def predict(self, df):
        "Predict."
        return self.artifacts.model.predict(df)
""",
    "names, constants and options": """
COLUMNS = ("a", "b")
LIMIT: int = 32


@env(pip_packages=["redis>=5"], variables={"A": "b"}, secrets=("TOKEN",), python="3.11")
@artifacts((SklearnModelArtifact("model"), frameworks.JSONArtifact(name="weights")))
@kappa.web_static_content("static")
class Service(BentoService):
    other = "ignored"

    def __init__(self):
        self.anything = make()

    @api(input=DataframeInput(columns=COLUMNS, orient="split"), output=Out(), batch=True, max_batch_size=LIMIT)
    def predict(self, df, tasks):
        return df

    @api(input=JsonInput(http_input_example={"x": [1, -2.5, None, True]}), route="v1/x", api_name="why", api_doc="Why?")
    def explain(self, value, model):
        def inner(): ...
        return value

    def helper(self): ...

    @staticmethod
    def other_helper(): ...
""",
    "a decorator for every table": """
LIMIT = 64


@kappa.name("Renamed")
@kappa.label({"cicd-status": "success"}, team="growth")
@kappa.ver(major=1, minor=2)
@kappa.setup("hooks:connect")
@kappa.teardown("hooks:disconnect")
@kappa.files(include=["lookup/*.csv"], modules=["plugins.eu"])
@kappa.serving(workers=2)
@kappa.security(pickle="allow")
@kappa.example("one", api="first", input={"x": 1}, expect=[1])
@kappa.example("two", api="why", input_file="two.json", tolerance=1e-6)
@env(auto_pip_dependencies=True, pip_dependencies=["redis"])
class Service(BentoService):
    @kappa.example("above", input=1)
    @kappa.example("again", input=2)
    @api(input=JsonInput(), mb_max_batch_size=LIMIT, mb_max_latency=300, batch=True)
    def first(self, values): ...

    @api(input=JsonInput(), api_name="why")
    @kappa.example("below", input=3)
    def second(self, value): ...
""",
    "inherited": """
class Mixin:
    def note(self): ...


class Base(kappa.BentoService):
    @api(input=JsonInput())
    def first(self, value): ...

    @api(input=JsonInput(), route="x")
    def second(self, value): ...

    @api(input=JsonInput())
    def third(self, value): ...


@env(pip_packages=["redis"])
class Service(Mixin, Base):
    @api(input=JsonInput(), batch=True)
    def second(self, values): ...

    def third(self, value): ...
""",
}


@pytest.fixture(autouse=True)
def modules_are_forgotten() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in ("declared", "base"):
        sys.modules.pop(name, None)


def read(root: Path, text: str, qualname: str = "Service") -> Declaration | Opaque | ClassProblem:
    (root / "declared.py").write_text(HEAD + text, encoding="utf-8")
    code = CodeBase(search_path(root))
    module = code.resolve("declared")
    assert module is not None
    return read_class(code, module, qualname)


def spec_of_the_class_itself(root: Path) -> ServiceSpec:
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    return declared_spec(importlib.import_module("declared").Service)


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_what_is_written_out_is_read_as_the_class_says_it(name: str, tmp_path: Path) -> None:
    told = read(tmp_path, WRITTEN_OUT[name])
    assert isinstance(told, Declaration)
    assert told.spec == spec_of_the_class_itself(tmp_path)
    assert "declared" in sys.modules
    assert told.spec.service_class == "declared:Service"


def test_reading_a_class_runs_nothing_of_its_module(tmp_path: Path) -> None:
    text = WRITTEN_OUT["the concepts page's"]
    told = read(tmp_path, f"raise SystemExit('imported')\n{text}\nimport surely_not_installed\n")
    assert isinstance(told, Declaration)
    assert "declared" not in sys.modules


def test_bases_in_other_modules_are_followed(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(
        f"{HEAD}class Base(BentoService):\n    @api(input=JsonInput())\n    def a(self, x): ...\n"
    )
    told = read(tmp_path, "from base import Base as B\nclass Service(B):\n    pass\n")
    assert isinstance(told, Declaration)
    assert told.spec == spec_of_the_class_itself(tmp_path)


def test_places_of_decorators_are_known(tmp_path: Path) -> None:
    told = read(tmp_path, WRITTEN_OUT["names, constants and options"])
    assert isinstance(told, Declaration)
    lines = (tmp_path / "declared.py").read_text().split("\n")

    def text_at(*path: str) -> str:
        span = told.places[path].span
        return lines[span.line - 1][span.column - 1 : span.end_column - 1]

    assert text_at("env", "secrets") == "secrets"
    assert text_at("artifacts", "model", "type") == 'SklearnModelArtifact("model")'
    assert text_at("artifacts", "weights", "type") == 'frameworks.JSONArtifact(name="weights")'
    assert text_at("apis", "explain") == "explain"
    assert text_at("service", "web_static_content") == 'kappa.web_static_content("static")'


def test_places_are_known_by_the_names_that_keys_have_now(tmp_path: Path) -> None:
    told = read(tmp_path, WRITTEN_OUT["a decorator for every table"])
    assert isinstance(told, Declaration)
    keys = {path for path in told.places if path[0] not in ("apis", "artifacts")}
    assert keys == {
        *(("service", key) for key in ("name", "labels", "ver", "setup", "teardown")),
        ("bundle", "include"),
        ("bundle", "modules"),
        ("serving", "workers"),
        ("security", "pickle"),
        ("env", "infer_pip_packages"),
        ("env", "pip_packages"),
    }


OPAQUE = {
    "a computed argument": (
        "@env(pip_packages=[p for p in 'ab'])\nclass Service(BentoService): ...",
        "is not written out",
    ),
    "a function's result": (
        "@env(pip_packages=read())\nclass Service(BentoService): ...",
        "`read()` is not written out",
    ),
    "a constant that is set twice": (
        "P = ['a']\nP = ['b']\n@env(pip_packages=P)\nclass Service(BentoService): ...",
        "`P` is not written out",
    ),
    "unpacked options": ("@env(**{'python': '3.11'})\nclass Service(BentoService): ...", "arguments are unpacked"),
    "a foreign decorator": ("@traced\nclass Service(BentoService): ...", "`@traced` is not Kappa's"),
    "a foreign decorator of a method": (
        "class Service(BentoService):\n    @traced\n    @api(input=JsonInput())\n    def p(self, x): ...",
        "`p` has decorators that are not Kappa's",
    ),
    "a foreign base": ("from acme import Base\nclass Service(Base): ...", "the base class `Base` cannot be read"),
    "an API without a decorator": (
        "def f(self, x): ...\nclass Service(BentoService):\n    p = api(input=JsonInput())(f)",
        "an API is declared otherwise than by a decorator",
    ),
    "an adapter of somebody else": (
        "from acme import Parquet\nclass Service(BentoService):\n    @api(input=Parquet())\n    def p(self, x): ...",
        "`Parquet()` is not written out",
    ),
    "a metaclass": ("class Service(BentoService, metaclass=M): ...", "the class has arguments"),
    "a class that is made": ("Service = make_service()", "is not defined by a `class` statement"),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_what_is_not_written_out_is_left_to_importing(name: str, tmp_path: Path) -> None:
    text, why = OPAQUE[name]
    told = read(tmp_path, text)
    assert isinstance(told, Opaque)
    assert why in told.why


def test_nothing_of_kappas_but_decorators_and_plugins_is_called(tmp_path: Path) -> None:
    told = read(tmp_path, "@env(pip_packages=kappa.load('/tmp/evil'))\nclass Service(BentoService): ...")
    assert isinstance(told, Opaque)


PROBLEMS = {
    "no such class": ("class Servise(BentoService): ...", "`declared` has no class `Service`."),
    "a function": ("def Service(): ...", "`Service` is a function, not a class."),
    "no service": ("class Service: ...", "`Service` is not a `kappa.BentoService`."),
    "no API": ("class Service(BentoService): ...", "`Service` declares no API"),
    "an unknown option": ("@env(pip_package=['a'])\nclass Service(BentoService): ...", "pip_package"),
    "an option that is refused": (
        "class Service(BentoService):\n    @api(input=DataframeInput(orient='recods'))\n    def p(self, x): ...",
        "`orient` must be `records`, `values`, `split`, `columns`, `index` or `table`, not `recods`.",
    ),
    "a wrong call": (
        "class Service(BentoService):\n    @api(inputs=JsonInput())\n    def p(self, x): ...",
        "`api` is not called right",
    ),
    "a decorator without its call": (
        "class Service(BentoService):\n    @api\n    def p(self, x): ...",
        "`@api` needs its arguments: write `@api(…)`.",
    ),
    "an adapter that does not fit": (
        "class Service(BentoService):\n    @api(input=DataframeInput(), batch=False)\n    def p(self, x): ...",
        "batch",
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_the_class_itself_would_refuse_is_a_problem(name: str, tmp_path: Path) -> None:
    text, words = PROBLEMS[name]
    told = read(tmp_path, text)
    assert isinstance(told, ClassProblem)
    assert words in told.message


# -- importing ---------------------------------------------------------------------------------------------------------

COMPUTED = """
PACKAGES = [name.lower() for name in ("REDIS",)]

print("hello from the module")


@env(pip_packages=PACKAGES, infer_pip_packages=True)
@artifacts([SklearnModelArtifact("model")])
class Service(BentoService):
    @api(input=DataframeInput(columns=["a"]), batch=True)
    def predict(self, df): ...
"""


def test_an_opaque_class_is_imported_in_a_process_of_its_own_and_this_is_said(tmp_path: Path) -> None:
    told = read(tmp_path, COMPUTED)
    assert isinstance(told, Opaque)
    lines: list[tuple[str, Kind]] = []
    with listening(lambda message, kind: lines.append((message, kind))):
        imported = import_class("declared:Service", tmp_path, told)
    assert isinstance(imported, Declaration)
    assert "declared" not in sys.modules
    assert imported.spec == spec_of_the_class_itself(tmp_path)
    assert imported.spec.env.model_fields_set == {"pip_packages", "infer_pip_packages"}
    why = "`[name.lower() for name in ('REDIS',)]` is not written out"
    assert lines == [
        (f"Importing `declared:Service` to see what it declares, because {why}.", "step"),
        ("hello from the module", "output"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("raise RuntimeError('no database')", "no database", id="raises"),
        pytest.param("import os; os._exit(3)", "Importing `declared:Service` failed: it said nothing.", id="dies"),
        pytest.param("Service = print", "`declared:Service` is not a `kappa.BentoService`.", id="no class"),
    ],
)
def test_an_import_that_fails_is_a_problem_with_its_reason(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "declared.py").write_text(text, encoding="utf-8")
    opaque = Opaque("it is made", Location(tmp_path / "declared.py", Span(1, 1, 1, 2)))
    told = import_class("declared:Service", tmp_path, opaque)
    assert isinstance(told, ClassProblem)
    assert words in told.message


def test_a_runner_may_be_given(tmp_path: Path) -> None:
    calls: list[Sequence[str]] = []

    def run(arguments: Sequence[str], _directory: Path, /, **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(arguments)
        return subprocess.CompletedProcess(arguments, 1, stdout="", stderr="ImportError: nothing here\n")

    opaque = Opaque("it is made", Location(tmp_path / "declared.py", Span(1, 1, 1, 2)))
    told = import_class("declared:Service", tmp_path, opaque, run=run)
    assert told == ClassProblem("Importing `declared:Service` failed: ImportError: nothing here.", opaque.location)
    assert calls[0][1:5] == ["-m", "kappa.build.code.describe", "declared:Service", str(tmp_path)]


# -- with a kappafile --------------------------------------------------------------------------------------------------

DECLARED = """
@env(pip_packages=["redis"])
@artifacts([frameworks.JSONArtifact("weights")])
class Service(BentoService):
    "Scores."

    @api(input=JsonInput())
    def predict(self, value, weights): ...
"""


def test_a_kappafile_adds_what_the_class_does_not_say(tmp_path: Path) -> None:
    told = read(tmp_path, DECLARED)
    assert isinstance(told, Declaration)
    (tmp_path / "weights.json").write_text("{}")
    (tmp_path / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nname = "Renamed"\nclass = "declared:Service"\nlabels = { team = "growth" }\n'
        '[env]\npython = "3.12"\n[artifacts.weights]\npath = "weights.json"\nmetadata = { auc = 0.9 }\n'
        '[[examples]]\nname = "one"\napi = "predict"\ninput = 1\n[serving]\nworkers = 2\n'
    )
    project = read_project(tmp_path)
    assert project.spec.name == "Renamed"
    assert (project.spec.env.python, project.spec.env.pip_packages) == ("3.12", ("redis",))
    assert project.spec.labels == {"team": "growth"}
    assert project.spec.serving.workers == 2
    assert [example.name for example in project.spec.examples] == ["one"]
    assert project.spec.apis == told.spec.apis
    assert project.spec.artifacts == told.spec.artifacts
    assert project.sources["weights"].path == tmp_path / "weights.json"
    assert project.sources["weights"].metadata == {"auc": 0.9}


def test_both_ways_of_declaring_give_one_specification(tmp_path: Path) -> None:
    read(tmp_path, f"{DECLARED}\ndef predict(value, weights): ...\n")
    (tmp_path / "weights.json").write_text("{}")
    (tmp_path / "kappafile.yaml").write_text(
        "kappafile: 1\nservice: {name: Service, doc: Scores.}\nenv: {pip_packages: [redis]}\n"
        "artifacts: {weights: {type: json, path: weights.json}}\n"
        "apis:\n  predict: {function: 'declared:predict', input: json}\n"
    )
    by_class = read_class_project("declared:Service", tmp_path).spec
    by_file = read_project(tmp_path).spec
    method = FunctionTarget(function="declared:Service.predict")
    apis = tuple(api.model_copy(update={"target": method}) for api in by_file.apis)
    assert by_file.model_copy(update={"service_class": "declared:Service", "apis": apis}) == by_class


BOTH = """
@kappa.name("Renamed")
@kappa.files(include=["*.csv"])
@kappa.serving(workers=2)
@kappa.ver(1, 0)
class Service(BentoService):
    @api(input=JsonInput())
    def predict(self, value): ...
"""


@pytest.mark.parametrize("is_opaque", [False, True], ids=["read", "imported"])
def test_a_key_of_any_table_is_said_once(is_opaque: bool, tmp_path: Path) -> None:
    read(tmp_path, BOTH.replace('["*.csv"]', '[pattern for pattern in ("*.csv",)]') if is_opaque else BOTH)
    (tmp_path / "some.csv").touch()
    (tmp_path / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nname = "Other"\nclass = "declared:Service"\nver = { major = 2, minor = 0 }\n'
        '[bundle]\ninclude = ["*.csv"]\nexclude = ["*.txt"]\n'
        "[serving]\nworkers = 3\nmax_queue_requests = 5\n"
    )
    with pytest.raises(ManifestError) as error:
        read_project(tmp_path)
    assert [(problem.code, problem.span.line) for problem in error.value.diagnostics] == [
        ("KF401", 3),
        ("KF401", 5),
        ("KF401", 7),
        ("KF401", 10),
    ]


def test_what_only_the_kappafile_says_is_added_to_the_tables_of_the_class(tmp_path: Path) -> None:
    read(tmp_path, BOTH)
    (tmp_path / "some.csv").touch()
    (tmp_path / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nclass = "declared:Service"\n[bundle]\nexclude = ["*.txt"]\n'
        "[serving]\nmax_queue_requests = 5\n"
    )
    spec = read_project(tmp_path).spec
    assert (spec.name, spec.files.include, spec.files.exclude) == ("Renamed", ("*.csv",), ("*.txt",))
    assert (spec.serving.workers, spec.serving.max_queue_requests, str(spec.ver)) == (2, 5, "1.0")


def test_paths_of_a_class_are_relative_to_its_module(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    text = (
        '@kappa.web_static_content("static")\n@env(requirements_txt_file="../requirements.txt", setup_sh="setup.sh")\n'
        '@kappa.files(include=["lookup/*.csv"], exclude=["**/test_*.py"])\n'
        '@kappa.example("one", api="predict", input_file="one.json")\n'
    )
    (package / "declared.py").write_text(HEAD + text + DECLARED.split("\n", 3)[3])
    spec = read_class_project("pkg.declared:Service", tmp_path).spec
    assert spec.web_static_content == "pkg/static"
    assert (spec.files.include, spec.files.exclude) == (("pkg/lookup/*.csv",), ("pkg/**/test_*.py",))
    assert [example.input_file for example in spec.examples] == ["pkg/one.json"]
    assert (spec.env.requirements_txt_file, spec.env.setup_sh) == ("requirements.txt", "pkg/setup.sh")


def test_a_class_that_cannot_be_read_is_imported_by_a_build_and_not_by_validation(tmp_path: Path) -> None:
    from kappa.build.project import check_kappafile

    (tmp_path / "declared.py").write_text(HEAD + COMPUTED.replace('[SklearnModelArtifact("model")]', "[]"))
    file = tmp_path / "kappafile.toml"
    file.write_text('kappafile = 1\n[service]\nclass = "declared:Service"\n')
    project, found = check_kappafile(file)
    assert project is None
    assert list(found) == []
    assert read_project(file).spec.env.pip_packages == ("redis",)


def test_a_missing_module_and_a_class_without_apis_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no module `declared`"):
        read_class_project("declared:Service", tmp_path)
    read(tmp_path, "class Service(BentoService): ...")
    with pytest.raises(ManifestError, match=r"declared\.py:6:7: error\[KF402\]: `Service` declares no API"):
        read_class_project("declared:Service", tmp_path)
