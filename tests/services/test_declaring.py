"""What the decorators take, what they refuse, and what an instance knows of itself."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import kappa
from kappa.adapters import DataframeInput, JsonInput, JsonOutput
from kappa.bento import BentoService
from kappa.errors import ConfigurationError, UsageError
from kappa.frameworks.json import JSONArtifact
from kappa.services.declaring import DECORATORS, declared_spec
from kappa.spec.declarations import DECLARATIONS, arguments_of
from kappa.spec.document import ApiTable, Kappafile, ServiceTable
from kappa.spec.service import EnvSpec, ServiceSpec


@kappa.env(auto_pip_dependencies=True, pip_dependencies=["numpy"])
@kappa.artifacts([JSONArtifact("model")])
@kappa.ver(1, 2)
@kappa.label({"cicd-status": "success"}, team="growth")
@kappa.setup("hooks:connect")
@kappa.teardown("hooks:disconnect")
@kappa.files(include=["*.csv"])
@kappa.serving(workers=2)
@kappa.security(pickle="allow")
@kappa.example("first", api="why", input=1)
class Scorer(BentoService):
    @kappa.example("in the middle", input=[[1]])
    @kappa.api(input=DataframeInput(), batch=True, mb_max_batch_size=7, mb_max_latency=300)
    def predict(self, df: Any) -> Any:
        return self.artifact.model

    @kappa.api(input=JsonInput(), api_name="why")
    @kappa.example("last", input_file="why.json", expect={"a": 1}, tolerance=0.5)
    def explain(self, value: Any) -> Any:
        return value


def test_every_table_and_key_is_in_the_table_of_declarations() -> None:
    keys: set[tuple[str, ...]] = {("service", field.alias or key) for key, field in ServiceTable.model_fields.items()}
    keys |= {(key,) for key in Kappafile.model_fields}
    not_of_the_service = {("kappafile",), ("requires_kappa",), ("service",), ("service", "class")}
    assert {part.key for part in DECLARATIONS} == keys - not_of_the_service
    assert {part.field for part in DECLARATIONS} == ServiceSpec.model_fields.keys() - {"service_class"}


def test_every_part_has_a_decorator_that_kappa_offers() -> None:
    assert [part.field for part in DECLARATIONS if not part.decorators] == ["doc"]
    others = {"BentoService", "__version__", "async_client", "client", "load"}
    assert set(DECORATORS) == set(kappa.__all__) - others
    assert all(getattr(kappa, name) is decorator for name, decorator in DECORATORS.items())


def test_every_key_of_an_api_is_an_argument_of_its_decorator() -> None:
    keys = set(ApiTable.model_fields) - {"function", "artifact", "method"}
    taken = set(inspect.signature(kappa.api).parameters)
    assert {{"doc": "api_doc"}.get(key, key) for key in keys} - taken == set()


def test_the_specification_holds_what_every_decorator_says() -> None:
    spec = declared_spec(Scorer)
    assert spec.env == EnvSpec(infer_pip_packages=True, pip_packages=("numpy",))
    assert (str(spec.ver), spec.labels) == ("1.2", {"cicd-status": "success", "team": "growth"})
    assert (spec.setup, spec.teardown) == ("hooks:connect", "hooks:disconnect")
    assert (spec.files.include, spec.serving.workers, spec.security.pickle) == (("*.csv",), 2, "allow")
    assert [(api.name, api.max_batch_size, api.max_latency_ms) for api in spec.apis] == [
        ("predict", 7, 300.0),
        ("why", 1000, None),
    ]
    assert [(example.name, example.api) for example in spec.examples] == [
        ("first", "why"),
        ("in the middle", "predict"),
        ("last", "why"),
    ]


def test_decorators_take_the_former_names_of_their_arguments() -> None:
    former = {
        name: field
        for part in DECLARATIONS
        for name, field in arguments_of(part).items()
        if name not in (field, f"api_{field}")
    }
    assert former == {
        "auto_pip_dependencies": "infer_pip_packages",
        "conda_overwrite_channels": "conda_override_channels",
        "mb_max_batch_size": "max_batch_size",
        "mb_max_latency": "max_latency_ms",
        "pip_dependencies": "pip_packages",
    }


def test_a_class_may_say_its_name() -> None:
    @kappa.name("Renamed")
    class Anything(BentoService):
        @kappa.api(input=JsonInput())
        def predict(self, value: Any) -> Any: ...

    Anything.__qualname__ = "Anything"  # as at the top of a module
    spec = declared_spec(Anything, module="m")
    assert (spec.name, spec.service_class) == ("Renamed", "m:Anything")


# an instance


def test_an_instance_says_what_it_is() -> None:
    scorer = Scorer()
    assert (scorer.name, scorer.env.pip_packages) == ("Scorer", ("numpy",))
    assert [api.name for api in scorer.inference_apis] == ["predict", "why"]
    assert (scorer.get_inference_api().name, scorer.get_inference_api("why").name) == ("predict", "why")
    with pytest.raises(UsageError, match="`Scorer` has no API `whi`; it has `predict`, `why`"):
        scorer.get_inference_api("whi")
    assert scorer.version.startswith("1.2.")
    assert scorer.tag == f"Scorer:{scorer.version}"
    assert scorer.pack("model", 5).predict(None) == 5


def test_an_instance_keeps_the_version_that_it_was_asked_for() -> None:
    scorer = Scorer()
    assert scorer.version == scorer.version
    assert scorer.set_version("7") == scorer.version == "1.2.7"
    assert Scorer().version != scorer.version


def test_metadata_survives_copies_and_processes() -> None:
    packed = Scorer().pack("model", 5, metadata={"rows": 3, "auc": 1.0, "steps": [{"a": None}]}).artifacts["model"]
    for again in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        assert again == packed
        assert [type(value) for value in again.metadata.values()] == [int, float, tuple]
        with pytest.raises(TypeError):
            again.metadata["rows"] = 4  # type: ignore[index] # as a user may try
        with pytest.raises(TypeError):
            again.metadata["steps"][0]["a"] = 1


def test_artifacts_are_listed_for_people_and_completion() -> None:
    artifacts = Scorer().pack("model", 5).artifacts
    assert repr(artifacts) == "<artifacts: model>"
    assert "model" in dir(artifacts)
    assert repr(Scorer().artifacts) == "<artifacts: none>"


def test_stopping_a_development_server_that_does_not_run_does_nothing() -> None:
    Scorer().stop_dev_server()


# what is refused


def twice() -> object:
    return kappa.env(python="3.11")(kappa.env(python="3.12")(type("Any", (), {})))


def declare_save() -> object:
    class Saver(BentoService):
        @kappa.api(input=JsonInput())
        def save(self, value: Any) -> Any: ...  # type: ignore[override]

    return Saver


def example_of_another() -> object:
    @kappa.example("x", api="other", input=1)
    def predict(self: Any, value: Any) -> Any: ...

    return predict


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (twice, "`Any` is decorated twice with `@kappa.env`: say everything in one of them."),
        (
            declare_save,
            (
                "`Saver.save` cannot be an API: every service has a `save` already. Rename the method; "
                '`api_name="save"` keeps the endpoint\'s name.'
            ),
        ),
        (example_of_another, "`@kappa.example('x')`: on a method, leave out `api`."),
        (lambda: kappa.ver(-1, 2), "`@kappa.ver`: `major`: Input should be greater than or equal to 0."),
        (lambda: kappa.ver("1", 2.5), "`@kappa.ver`: `minor`:"),  # type: ignore[arg-type]
        (lambda: kappa.files(includes=[]), "`@kappa.files`: there is no `includes`."),
        (lambda: kappa.serving(workers=0), "`@kappa.serving`: `workers"),
        (lambda: kappa.security(pickle="never"), "`@kappa.security`: `pickle`"),  # type: ignore[arg-type]
        (
            lambda: kappa.env(pip_dependencies=["a"], pip_packages=["b"]),
            "`@kappa.env`: `pip_packages` is given twice, as `pip_dependencies` and as `pip_packages`.",
        ),
        (
            lambda: kappa.api(input=JsonInput(), output=JsonOutput),  # type: ignore[arg-type]
            "`@kappa.api`: `output` must be an adapter like `JsonOutput()`, not `<class",
        ),
        (
            lambda: kappa.api(input=JsonInput(), mb_max_batch_size=1, max_batch_size=2),
            "`@kappa.api`: `max_batch_size` is given twice, as `mb_max_batch_size` and as `max_batch_size`.",
        ),
    ],
)
def test_what_cannot_be_declared(declare: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        declare()
    assert str(error.value)[: len(message)] == message


def test_an_example_needs_its_input_where_it_is_declared() -> None:
    with pytest.raises(ConfigurationError, match=r"`@kappa\.example\('x'\)`: an example has either `input` or"):
        kappa.example("x", api="a")(type("Any", (), {}))


def test_an_unknown_argument_of_an_api_is_a_wrong_call() -> None:
    with pytest.raises(TypeError, match="api\\(\\) got an unexpected keyword argument 'max_size'"):
        kappa.api(input=JsonInput(), max_size=3)
