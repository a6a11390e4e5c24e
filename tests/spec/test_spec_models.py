"""What a service may declare: each rule with the values that break it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from kappa.frameworks.json import JSONArtifact
from kappa.spec import document, manifest, service
from kappa.spec.contracts import Spec, field_docs
from kappa.spec.document import ApiTable, ServiceTable
from kappa.spec.service import RESERVED_NAMES, ApiOptions, ApiSpec, EnvSpec, ExampleSpec, ServiceFacts, ServiceSpec


def api(**options: Any) -> dict[str, Any]:
    return {"name": "predict", "target": {"function": "m:f"}, "input": "json", **options}


def problems_of(model: Any, options: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as error:
        model.model_validate(options)
    return [problem["msg"].removeprefix("Value error, ") for problem in error.value.errors()]


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES - {"docs.json"}))
def test_names_and_routes_of_the_server_are_taken(name: str) -> None:
    assert problems_of(ApiSpec, api(name=name)) == [f"`{name}` is one of the server's own routes: choose another name"]
    message = f"`/{name}` is one of the server's own routes: choose another one"
    assert problems_of(ApiSpec, api(route=f"/{name}/x")) == [message]


@pytest.mark.parametrize(
    "route", ["", "/", "//a", "a//b", "a/", "a?b", "a#b", "a b", "{x}", "a:b", "ä", "..", "a/../b", "./a", "a\n"]
)
def test_what_is_no_route(route: str) -> None:
    message = f"`{route}` is not a route: use path segments of letters, digits, `-`, `_`, `.` and `~`"
    assert problems_of(ApiSpec, api(route=route)) == [message]


@pytest.mark.parametrize(("route", "path"), [(None, "predict"), ("/v1/x", "v1/x"), ("v1.0/a-b_c~d", "v1.0/a-b_c~d")])
def test_the_path_of_an_api(route: str | None, path: str) -> None:
    assert ApiSpec.model_validate(api(route=route)).path == path


@pytest.mark.parametrize("reference", ["m", "m:", ":f", "m:f:g", "m.:f", "1m:f", "m:ä"])
def test_what_refers_to_no_function(reference: str) -> None:
    message = f"`{reference}` does not name anything: write `module:function`, e.g. `handlers:predict`"
    assert message in problems_of(ApiSpec, api(target={"function": reference}))


@pytest.mark.parametrize("reference", ["m:f()", "m:f\n", "m.f", "./m.py:f", "m/f"])
def test_what_means_a_function_is_told_its_spelling(reference: str) -> None:
    message = f"`{reference}` does not name anything: did you mean `m:f`?"
    assert message in problems_of(ApiSpec, api(target={"function": reference}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"python": "3"}, '`3` is not a Python version: write major and minor as text, e.g. "3.11"'),
        ({"python": "3.11.2"}, '`3.11.2` is not a Python version: write major and minor as text, e.g. "3.11"'),
        *(
            (
                {"python": old},
                f"Python {old} is too old: Kappa, which every bundle carries, needs 3.10 or newer",
            )
            for old in ("2.7", "3.0", "3.8", "3.9")
        ),
        ({"python": "3.١١"}, '`3.١١` is not a Python version: write major and minor as text, e.g. "3.11"'),
        ({"python": 3.1}, "Input should be a valid string"),
        ({"pip_packages": ["a\nb"]}, "a line break or control character cannot stand here"),
        ({"docker_base_image": "a\nRUN b"}, "a line break or control character cannot stand here"),
        ({"variables": {"A B": "1"}}, "`A B` cannot name an environment variable"),
        ({"variables": {"A": 1}}, "`A` must be text"),
        ({"variables": {"A": "1\n2"}}, "a line break or control character cannot stand here"),
        ({"secrets": ["a=b"]}, "`a=b` is not a name: use letters, digits and `_`, beginning with a letter"),
        ({"pip_dependencies": []}, "Extra inputs are not permitted"),
    ],
)
def test_an_environment_that_cannot_be(options: dict[str, Any], message: str) -> None:
    assert problems_of(EnvSpec, options) == [message]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"apis": []}, "Tuple should have at least 1 item after validation, not 0"),
        ({"apis": [api(), api()]}, "two APIs are called `predict`"),
        (
            {"apis": [api(), api(name="b", route="predict")]},
            "the APIs `predict` and `b` have the same route `/predict`",
        ),
        ({"artifacts": [JSONArtifact("a"), JSONArtifact("a")]}, "two artifacts are called `a`"),
        (
            {"apis": [api(target={"artifact": "gone"})]},
            "the API `predict` calls the artifact `gone`, which is not declared",
        ),
        (
            {"examples": [{"name": "e", "api": "gone", "input": 1}]},
            "the example `e` calls the API `gone`, which is not declared",
        ),
        (
            {
                "apis": [api(), api(), api(name="b", target={"artifact": "x"})],
                "artifacts": [JSONArtifact("b"), JSONArtifact("b"), JSONArtifact("a"), JSONArtifact("a")],
            },
            "two artifacts are called `b`; two artifacts are called `a`; two APIs are called `predict`; the API `b` ",
        ),
        ({"labels": {"a b": "c"}}, "`a b` cannot be the key of a label: use 1 to 63 letters, digits, "),
        ({"labels": {"a": 1}}, "the label `a` must be text"),
        ({"name": "kappa"}, "`kappa` cannot name a service: its package would take the place of Kappa's own"),
    ],
)
def test_a_service_that_cannot_be(options: dict[str, Any], message: str) -> None:
    (problem,) = problems_of(ServiceSpec, {"name": "S", "apis": [api()], **options})
    assert problem[: len(message)] == message


@pytest.mark.parametrize("options", [{}, {"input": 1, "input_file": "a"}])
def test_an_example_has_one_input(options: dict[str, Any]) -> None:
    message = "an example has either `input` or `input_file`"
    assert problems_of(ExampleSpec, {"name": "e", "api": "a", **options}) == [message]


def test_an_api_is_found_by_its_name() -> None:
    spec = ServiceSpec.model_validate({"name": "S", "apis": [api(), api(name="b")]})
    assert spec.api("b").name == "b"
    with pytest.raises(KeyError):
        spec.api("c")


def test_an_example_expects_only_what_a_manifest_can_hold() -> None:
    with pytest.raises(ValidationError, match="`nan` cannot be kept"):
        ExampleSpec(name="e", api="a", input=1, expect=[float("nan")])
    assert ExampleSpec(name="e", api="a", input=[1], expect={"a": [1.5]}).model_dump()["expect"] == {"a": [1.5]}


# -- one key, one place ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "declared", "shared", "narrowed"),
    [(ApiTable, ApiSpec, ApiOptions, {"batch"}), (ServiceTable, ServiceSpec, ServiceFacts, {"name"})],
    ids=["api", "service"],
)
def test_what_is_written_and_what_is_declared_inherit_their_keys(
    written: type[Spec], declared: type[Spec], shared: type[Spec], narrowed: set[str]
) -> None:
    assert written.model_fields.keys() & declared.model_fields.keys() == shared.model_fields.keys() | narrowed
    for key in shared.model_fields.keys() - narrowed:
        owners = [
            next(owner for owner in model.__mro__ if key in vars(owner).get("__annotations__", ()))
            for model in (written, declared)
        ]
        assert owners == [shared, shared], key


def test_no_key_is_documented_twice() -> None:
    models = {
        model
        for module in (document, manifest, service)
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, Spec) and model.__module__ == module.__name__
    }
    texts = [text for model in models for key, text in field_docs(model).items() if key in model.__annotations__]
    assert sorted({text for text in texts if texts.count(text) > 1}) == []
