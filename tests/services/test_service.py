"""Services declared in Python, and what is said when one cannot be loaded."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kappa
from kappa.adapters import DataframeInput, JsonInput, JsonOutput
from kappa.bento import BentoService
from kappa.errors import BundleError, ConfigurationError, InferenceFailedError, KappaError, UsageError
from kappa.frameworks.json import JSONArtifact
from kappa.frameworks.pickle import PickleArtifact
from kappa.frameworks.text import TextFileArtifact
from kappa.services.declaring import declared_spec
from kappa.services.packed import Artifact, Artifacts
from kappa.services.service import LoadedService, load_service
from kappa.services.source import ServiceSource
from kappa.spec.document import ArtifactSource, Kappafile
from kappa.spec.service import ApiSpec, EnvSpec, FunctionTarget, ServiceSpec
from kappa.types import Payload

MODULE = "tiers_handlers"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., LoadedService]]:
    """Return a function that writes a project of one module and loads it; the process is left as it was."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def load(code: str, *, environ: dict[str, str] | None = None, **service: Any) -> LoadedService:
        (tmp_path / f"{MODULE}.py").write_text(code, encoding="utf-8")
        (tmp_path / "factor.json").write_text("10", encoding="utf-8")
        options = {
            "name": "Demo",
            "artifacts": [JSONArtifact("factor")],
            "apis": [{"name": "predict", "target": {"function": f"{MODULE}:predict"}, "input": "json"}],
            **service,
        }
        sources = {"factor": ArtifactSource(path=tmp_path / "factor.json", metadata={"rows": 3})}
        environment = {} if environ is None else environ
        return load_service(
            ServiceSource.of_project(ServiceSpec.model_validate(options), sources, root=tmp_path), environ=environment
        )

    yield load
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def answer(service: LoadedService, body: Any) -> Any:
    return json.loads(service.apis["predict"].answer_payload(Payload(json.dumps(body).encode())).body)


def test_artifacts_and_what_setup_returns_are_injected(project: Callable[..., LoadedService], tmp_path: Path) -> None:
    service = project(
        "def connect():\n    return {'db': {'x': 2}, 'unused': 1}\n"
        "def disconnect(db):\n    db['closed'] = True\n"
        "def predict(value, factor, db):\n    return [value * factor, db]\n",
        setup=f"{MODULE}:connect",
        teardown=f"{MODULE}:disconnect",
    )
    assert answer(service, 5) == [50, {"x": 2}]
    assert (service.name, service.version, service.examples_directory) == ("Demo", "development", tmp_path)
    assert service.artifacts["factor"] == Artifact(10, {"rows": 3})
    service.close()
    service.close()
    assert answer(service, 1) == [10, {"x": 2, "closed": True}]


def test_a_teardown_that_takes_everything_gets_everything(project: Callable[..., LoadedService]) -> None:
    service = project(
        "seen = []\ndef connect():\n    return {'a': 1, 'b': 2}\n"
        "def disconnect(a, **rest):\n    seen.append((a, rest))\n"
        "def predict(value):\n    return seen\n",
        setup=f"{MODULE}:connect",
        teardown=f"{MODULE}:disconnect",
    )
    service.close()
    assert answer(service, 0) == [[1, {"b": 2}]]


def test_a_teardown_that_fails_is_logged(
    project: Callable[..., LoadedService], caplog: pytest.LogCaptureFixture
) -> None:
    service = project("def predict(v): ...\ndef end():\n    1 / 0\n", teardown=f"{MODULE}:end")
    with caplog.at_level(logging.ERROR, logger="kappa.service"):
        service.close()
    assert caplog.messages == ["`teardown` of `Demo` failed"]


def test_what_setup_opened_is_closed_when_the_service_cannot_be_bound(project: Callable[..., LoadedService]) -> None:
    code = (
        "closed = []\ndef connect():\n    return {'db': 1}\ndef disconnect(db):\n    closed.append(db)\n"
        "def predict(value, missing): ...\n"
    )
    with pytest.raises(ConfigurationError, match="takes `missing`, which is neither an artifact nor"):
        project(code, setup=f"{MODULE}:connect", teardown=f"{MODULE}:disconnect")
    assert sys.modules[MODULE].closed == [1]


def test_variables_are_set_and_the_environment_wins(
    project: Callable[..., LoadedService],
) -> None:
    environ = {"TOKEN": "t", "B": "theirs"}
    project("def predict(v): ...\n", env={"variables": {"A": "1", "B": "2"}, "secrets": ["TOKEN"]}, environ=environ)
    assert environ == {"TOKEN": "t", "A": "1", "B": "theirs"}


def test_a_class_answers_through_its_methods(project: Callable[..., LoadedService]) -> None:
    code = (
        "import kappa\nfrom kappa.adapters import JsonInput\nfrom kappa.frameworks.json import JSONArtifact\n"
        "@kappa.artifacts([JSONArtifact('factor')])\n"
        "class Demo(kappa.BentoService):\n"
        "    def __init__(self):\n        super().__init__()\n        self.bias = self.artifacts.factor + 1\n"
        "    @kappa.api(input=JsonInput())\n    def predict(self, value):\n        return value + self.bias\n"
    )
    api = {"name": "predict", "target": {"function": f"{MODULE}:Demo.predict"}, "input": "json"}
    service = project(code, service_class=f"{MODULE}:Demo", apis=[api])
    thing: Any = service.as_object()
    assert (answer(service, 1), thing.predict(2)) == (12, 13)
    assert declared_spec(sys.modules[MODULE].Demo) == service.spec


def test_a_service_of_functions_stands_as_an_object(project: Callable[..., LoadedService]) -> None:
    thing: Any = project("def predict(value, factor):\n    return value * factor\n").as_object()
    assert (thing.predict(2), thing.artifacts.factor, thing.artifacts["factor"].metadata) == (20, 10, {"rows": 3})
    with pytest.raises(AttributeError, match="this service has no API `score`; it has `predict`"):
        thing.score(1)


GOOD = "def predict(value): ...\n"


@pytest.mark.parametrize(
    ("code", "service", "error", "message"),
    [
        pytest.param(
            GOOD,
            {"env": {"secrets": ["ONE", "TWO"]}},
            ConfigurationError,
            "`Demo` needs secrets that are not set: `ONE`, `TWO`. Set them in the shell "
            "that starts it: `export ONE=… TWO=…`.",
            id="secrets",
        ),
        pytest.param(
            "import json\n\nx = 1 / 0\n",
            {},
            BundleError,
            f"The module `{MODULE}` cannot be imported: ZeroDivisionError: division by zero ({MODULE}.py:3).",
            id="import fails",
        ),
        pytest.param(
            "import surely_not_installed\n",
            {},
            BundleError,
            f"The module `{MODULE}` cannot be imported: ModuleNotFoundError: No module named 'surely_not_installed' "
            f"({MODULE}.py:1). If `surely_not_installed` is your own, say where it lies in `paths` of `[bundle]`; else "
            "install it, and name the distribution that brings it in `env.pip_packages`.",
            id="package missing",
        ),
        pytest.param(
            "def predict(:\n",
            {},
            BundleError,
            f"The module `{MODULE}` cannot be imported: SyntaxError: invalid syntax ({MODULE}.py, line 1).",
            id="syntax",
        ),
        pytest.param(
            "raise SystemExit(3)\n",
            {},
            BundleError,
            f"The module `{MODULE}` cannot be imported: SystemExit: 3 ({MODULE}.py:1).",
            id="exit",
        ),
        pytest.param("x = 1\n", {}, BundleError, f"The module `{MODULE}` has no `predict`.", id="no function"),
        pytest.param(
            "predict = 5\n",
            {},
            BundleError,
            f"The API `predict` (`{MODULE}:predict`) is not callable: it is a `int`.",
            id="not callable",
        ),
        pytest.param(
            GOOD,
            {"setup": "surely_not_there:connect"},
            BundleError,
            "There is no module `surely_not_there` in `",
            id="no module",
        ),
        pytest.param(
            GOOD + "def connect():\n    {}['x']\n",
            {"setup": f"{MODULE}:connect"},
            InferenceFailedError,
            f"`setup` ({MODULE}:connect) failed: KeyError: 'x' ({MODULE}.py:3).",
            id="setup fails",
        ),
        pytest.param(
            "class Ups:\n    def up(self=None): ...\nclass Inherits(Ups): ...\ndef predict(value): ...",
            {"setup": f"{MODULE}:Inherits.up"},
            BundleError,
            f"Setup (`{MODULE}:Inherits.up`) is a method, which needs an object of its class: name a plain function, "
            f'or write `class = "{MODULE}:Inherits"` in `[service]`, with `@kappa.api` over the method.',
            id="setup is a method",
        ),
        pytest.param(
            GOOD + "def connect():\n    return 5\n",
            {"setup": f"{MODULE}:connect"},
            ConfigurationError,
            f"`setup` ({MODULE}:connect) must return a mapping of names to values, not `int`.",
            id="setup returns",
        ),
        pytest.param(
            GOOD + "def connect():\n    return {'factor': 1}\n",
            {"setup": f"{MODULE}:connect"},
            ConfigurationError,
            "`setup` returns `factor`, which is also the name of an artifact.",
            id="setup returns an artifact",
        ),
        pytest.param(
            GOOD + "connect = 5\n",
            {"setup": f"{MODULE}:connect"},
            BundleError,
            f"Setup (`{MODULE}:connect`) is not callable: it is a `int`.",
            id="setup is no function",
        ),
        pytest.param(
            GOOD + "def end(db, log=None): ...\n",
            {"teardown": f"{MODULE}:end"},
            ConfigurationError,
            f"`teardown` ({MODULE}:end) takes `db`, which `setup` does not return.",
            id="teardown",
        ),
        pytest.param(
            GOOD,
            {"apis": [{"name": "p", "target": {"artifact": "factor", "method": "predict"}, "input": "json"}]},
            BundleError,
            "The artifact `factor` is a `int`, which has no method `predict`.",
            id="no method",
        ),
        pytest.param(
            GOOD + "class Demo: ...\n",
            {"service_class": f"{MODULE}:Demo"},
            BundleError,
            f"`{MODULE}:Demo` is not a subclass of `BentoService`.",
            id="no service",
        ),
        pytest.param(
            "import kappa\nclass Demo(kappa.BentoService):\n    def __init__(self, x): ...\n",
            {"service_class": f"{MODULE}:Demo"},
            BundleError,
            "`Demo()` failed: TypeError: Demo.__init__() missing 1 required positional argument: 'x'.",
            id="init",
        ),
        pytest.param(
            "import kappa\nclass Demo(kappa.BentoService): ...\n",
            {"service_class": f"{MODULE}:Demo"},
            BundleError,
            "The class `Demo` has no method `predict`, which answers `predict`.",
            id="method gone",
        ),
        pytest.param(
            GOOD,
            {"artifacts": [JSONArtifact("factor"), JSONArtifact("other")]},
            ConfigurationError,
            "The artifact `other` has no model: say where its file is, in `[artifacts.other]`.",
            id="no source",
        ),
        pytest.param(
            GOOD,
            {"artifacts": [PickleArtifact("factor")]},
            BundleError,
            "The artifact `factor` (pickle) cannot be loaded from `",
            id="wrong artifact",
        ),
    ],
)
def test_a_service_that_cannot_be_loaded(
    project: Callable[..., LoadedService], code: str, service: dict[str, Any], error: type[KappaError], message: str
) -> None:
    with pytest.raises(error) as raised:
        project(code, **service)
    assert str(raised.value)[: len(message)] == message


def test_a_model_file_that_is_not_there_is_named(tmp_path: Path, project: Callable[..., LoadedService]) -> None:
    spec = project(GOOD).spec
    sources = {"factor": ArtifactSource(path=tmp_path / "gone.json")}
    with pytest.raises(ConfigurationError) as raised:
        load_service(ServiceSource.of_project(spec, sources, root=tmp_path), environ={})
    assert str(raised.value) == f"The artifact `factor`: there is no `{tmp_path / 'gone.json'}`."


def test_an_instance_without_one_of_its_models_says_which() -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_service(ServiceSource.of_instance(Declared().pack("words", "some")), environ={})
    assert str(raised.value) == "The artifact `model` has no model yet: pack it first."


def test_a_module_of_the_same_name_from_elsewhere_is_never_taken(
    tmp_path: Path, project: Callable[..., LoadedService], monkeypatch: pytest.MonkeyPatch
) -> None:
    project("def predict(value):\n    return 'first'\n")
    other = tmp_path / "other"
    other.mkdir()
    (other / f"{MODULE}.py").write_text("def predict(value):\n    return 'second'\n", encoding="utf-8")
    spec = ServiceSpec(
        name="Other", apis=(ApiSpec(name="p", target=FunctionTarget(function=f"{MODULE}:predict"), input=JsonInput()),)
    )
    with pytest.raises(BundleError, match=f"A module `{MODULE}` is already loaded from"):
        load_service(ServiceSource.of_project(spec, {}, root=other), environ={})


# what decorators declare


@kappa.env(pip_packages=["numpy>=1"], infer_pip_packages=True)
@kappa.artifacts([JSONArtifact("model"), TextFileArtifact("words", encoding="latin-1")])
@kappa.web_static_content("./static")
class Declared(BentoService):
    """What it does."""

    @kappa.api(input=DataframeInput(), batch=True, max_batch_size=5, max_latency_ms=2.5)
    def predict(self, df: Any) -> Any:
        """Predict.

        From rows.
        """
        return self.artifacts.model(df)

    @kappa.api(input=JsonInput(), output=JsonOutput(), api_name="other", route="v1/other", api_doc="Other.")
    def second(self, value: Any) -> Any: ...

    def helper(self) -> None: ...


def test_decorators_and_a_kappafile_declare_the_same() -> None:
    module = Declared.__module__
    tables = {
        "kappafile": 1,
        "service": {"name": "Declared", "doc": "What it does.", "web_static_content": "./static"},
        "env": {"pip_packages": ["numpy>=1"], "infer_pip_packages": True},
        "artifacts": {
            "model": {"type": "json", "path": "m"},
            "words": {"type": "text", "encoding": "latin-1", "path": "w"},
        },
        "apis": {
            "predict": {
                "function": f"{module}:Declared.predict",
                "input": "dataframe",
                "doc": "Predict.\n\nFrom rows.",
                "max_batch_size": 5,
                "max_latency_ms": 2.5,
            },
            "other": {
                "function": f"{module}:Declared.second",
                "input": {"type": "json"},
                "output": "json",
                "route": "/v1/other",
                "doc": "Other.",
            },
        },
    }
    spec = Kappafile.model_validate(tables).to_spec()
    assert declared_spec(Declared) == spec.model_copy(update={"service_class": f"{module}:Declared"})


class Sub(Declared):
    def second(self, value: Any) -> Any: ...

    @kappa.api(input=JsonInput())
    def third(self, value: Any) -> Any: ...


class Twice(BentoService):
    @kappa.api(input=JsonInput(), api_name="a")
    def one(self, value: Any) -> Any: ...

    @kappa.api(input=JsonInput(), api_name="a")
    def other(self, value: Any) -> Any: ...


def test_a_subclass_keeps_what_it_does_not_override() -> None:
    assert [api.name for api in declared_spec(Sub).apis] == ["predict", "third"]
    assert [api.name for api in declared_spec(Declared).apis] == ["predict", "other"]


def test_packing_fills_one_instance_and_never_the_class() -> None:
    one, other = Declared(), Declared()
    metadata = {"auc": 0.9, "steps": [1, {"x": 2}]}
    assert one.pack("model", "a", metadata=metadata) is one
    metadata["steps"][1]["x"] = 3  # type: ignore[index]
    assert (one.artifacts.model, dict(other.artifacts)) == ("a", {})
    assert one.artifacts["model"].metadata == {"auc": 0.9, "steps": (1, {"x": 2})}
    with pytest.raises(TypeError):
        one.artifacts["model"].metadata["auc"] = 1  # type: ignore[index]
    with pytest.raises(TypeError):
        one.artifacts["model"].metadata["steps"][1]["x"] = 1
    with pytest.raises(AttributeError, match=r"There is no artifact `words` here\. Packed are `model`\."):
        one.artifacts.words  # noqa: B018
    with pytest.raises(AttributeError, match=r'`service\.pack\("model", …\)` gives one'):
        one.artifacts.model = "b"
    assert isinstance(one.artifacts, Artifacts)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: kappa.env(pip=["numpy"]), "`@kappa.env`: there is no `pip`."),
        (lambda: kappa.env(python="3"), "`@kappa.env`: `python`: `3` is not a Python version: "),
        (lambda: kappa.artifacts([5]), "`@kappa.artifacts` takes artifacts, not `5`."),  # type: ignore[list-item]
        (lambda: kappa.artifacts("m"), "`@kappa.artifacts` takes artifacts, not `'m'`."),  # type: ignore[arg-type]
        (lambda: kappa.label("team"), "`@kappa.label`: `labels` must be a mapping of text to text, not `str`."),  # type: ignore[arg-type]
        (
            lambda: kappa.api(input=JsonInput),  # type: ignore[arg-type]
            "`@kappa.api`: `input` must be an adapter like `JsonInput()`, not `<class",
        ),
        (lambda: declared_spec(BentoService), "`BentoService` declares no API: decorate a method with "),
        (
            lambda: Declared().pack("modle", 1),
            "`Declared` declares no artifact `modle`; declared are `model`, `words`.",
        ),
        (lambda: Declared().pack("model", 1, metadata=[1]), "The metadata of `model` must be a mapping, not `list`."),  # type: ignore[arg-type]
        (lambda: Declared().pack("model", 1, metadata=[]), "The metadata of `model` must be a mapping, not `list`."),  # type: ignore[arg-type]
        (
            lambda: Declared().pack("model", 1, metadata={"x": object()}),
            "The metadata of `model`: a `object` cannot be kept: use text, numbers, true, false, lists and tables.",
        ),
    ],
)
def test_what_cannot_be_declared(declare: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        declare()
    assert str(error.value)[: len(message)] == message


def test_labels_that_are_none_are_refused_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`labels` must be a mapping of text to text, not `list`"):
        Declared().save_to_dir(tmp_path / "out", labels=["team"])  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_two_methods_with_one_name_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="`Twice` is not declared right: two APIs are called `a`"):
        declared_spec(Twice)


def test_a_decorated_method_can_be_called_directly() -> None:
    assert Declared().pack("model", len).predict([1, 2]) == 2
    assert EnvSpec(pip_packages=("numpy>=1",), infer_pip_packages=True) == declared_spec(Declared).env
