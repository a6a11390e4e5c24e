"""Services declared in Python: the decorators of a `kappa.BentoService` class.

Each table of a kappafile has its decorator, whose arguments are the table's keys. A decorator sets one frozen value on
the class or method it decorates and changes nothing else; `declared_spec` turns those values into the same
`ServiceSpec` that a kappafile gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from kappa.errors import ConfigurationError
from kappa.secret_urls import masked
from kappa.services.direct import with_own_tasks
from kappa.spec.contracts import ArtifactPlugin, InputAdapter, OutputAdapter, plain_module
from kappa.spec.freezing import FrozenDict
from kappa.spec.service import (
    ApiSpec,
    EnvSpec,
    ExampleSpec,
    FilesSpec,
    FunctionTarget,
    SecuritySpec,
    ServiceSpec,
    ServingSpec,
    VersionPrefix,
    batch_by_default,
)

__all__ = [
    "ENV_ALIASES",
    "Decorator",
    "api",
    "artifact",
    "artifacts",
    "declared_artifacts",
    "declared_spec",
    "env",
    "example",
    "files",
    "label",
    "name",
    "security",
    "serving",
    "setup",
    "teardown",
    "ver",
    "web_static_content",
]

Decorated = TypeVar("Decorated")
Table = TypeVar("Table", bound=BaseModel)


class Decorator(Protocol):
    """What a decorator's call returns: a function that returns the class or method that it is given."""

    def __call__(self, decorated: Decorated, /) -> Decorated: ...


ENV_ALIASES: Mapping[str, str] = {
    "auto_pip_dependencies": "infer_pip_packages",
    "conda_overwrite_channels": "conda_override_channels",
    "pip_dependencies": "pip_packages",
}
"""Former names of arguments of `@kappa.env`, each with what it is called now."""

_API_ALIASES = {"mb_max_batch_size": "max_batch_size", "mb_max_latency": "max_latency_ms"}


# -- decorators of a class: the tables of a kappafile ------------------------------------------------------------------


def env(**options: Any) -> Decorator:
    """Declare what the service needs to run; the arguments are the keys of the kappafile's `[env]`.

    `auto_pip_dependencies` and `pip_dependencies`, former names of `infer_pip_packages` and `pip_packages`, still work.
    """
    given: dict[str, Any] = {}
    for key, value in options.items():
        now = ENV_ALIASES.get(key, key)
        if now in given:
            raise ConfigurationError(f"`@kappa.env`: `{now}` is given twice, once as `{key}` or `{_alias_of(now)}`.")
        given[now] = value
    return _marking("__kappa_env__", _table(EnvSpec, "env", given))


def _alias_of(key: str) -> str:
    return next(alias for alias, now in ENV_ALIASES.items() if now == key)


def artifacts(declared: ArtifactPlugin | Sequence[ArtifactPlugin]) -> Decorator:
    """Declare the models of the service, e.g. ``[SklearnModelArtifact("model")]``; `@kappa.artifact` is the same."""
    given = tuple(declared) if isinstance(declared, list | tuple) else (declared,)
    for one in given:
        if not isinstance(one, ArtifactPlugin):
            raise ConfigurationError(f"`@kappa.artifacts` takes artifacts, not `{one!r}`.")
    return _marking("__kappa_artifacts__", given)


artifact = artifacts


def files(**options: Any) -> Decorator:
    """Declare how the service is packed; the arguments are the keys of the kappafile's `[bundle]`.

    Patterns and folders are relative to the class's file.
    """
    return _marking("__kappa_files__", _table(FilesSpec, "files", options))


def serving(**options: Any) -> Decorator:
    """Declare defaults of the server; the arguments are the keys of the kappafile's `[serving]`."""
    return _marking("__kappa_serving__", _table(ServingSpec, "serving", options))


def security(**options: Any) -> Decorator:
    """Declare what a bundle may contain; the arguments are the keys of the kappafile's `[security]`."""
    return _marking("__kappa_security__", _table(SecuritySpec, "security", options))


def example(name: str, **options: Any) -> Decorator:
    """Declare a golden request; the arguments are the keys of one of the kappafile's `[[examples]]`.

    May be repeated. On a method that is an API, `api` is this one.
    """

    def decorate(decorated: Decorated) -> Decorated:
        given = {"name": name, **options}
        if inspect.isfunction(decorated):
            if "api" in options:
                raise ConfigurationError(f"`@kappa.example({name!r})`: on a method, leave out `api`.")
            given["api"] = decorated.__name__
        made = _table(ExampleSpec, f"example({name!r})", given)
        others: tuple[ExampleSpec, ...] = vars(decorated).get("__kappa_examples__", ())
        decorated.__kappa_examples__ = (made, *others)  # type: ignore[attr-defined] # decorators run upwards
        return decorated

    return decorate


# -- decorators of a class: the keys of `[service]` --------------------------------------------------------------------


def name(text: str) -> Decorator:
    """Declare what the service is called, where that is not the name of its class."""
    return _marking("__kappa_name__", text)


def label(labels: Mapping[str, str] | None = None, /, **more: str) -> Decorator:
    """Declare labels: ``@kappa.label(team="growth")``, or ``@kappa.label({"cicd-status": "success"})``."""
    if not (labels is None or isinstance(labels, Mapping)):
        kind = type(labels).__name__
        raise ConfigurationError(f"`@kappa.label`: `labels` must be a mapping of text to text, not `{kind}`.")
    return _marking("__kappa_labels__", FrozenDict({**(labels or {}), **more}))


def web_static_content(path: str) -> Decorator:
    """Declare a folder, relative to the class's file, that the server hosts at its root."""
    return _marking("__kappa_web_static_content__", path)


def setup(reference: str) -> Decorator:
    """Name the function (`module:function`) that is called once per worker; methods get what it returns by name."""
    return _marking("__kappa_setup__", reference)


def teardown(reference: str) -> Decorator:
    """Name the function (`module:function`) that is called with what `setup` returned when a worker stops."""
    return _marking("__kappa_teardown__", reference)


def ver(major: int, minor: int) -> Decorator:
    """Begin the service's versions with two numbers: ``@kappa.ver(1, 2)`` makes them `1.2.<version>`."""
    return _marking("__kappa_ver__", _table(VersionPrefix, "ver", {"major": major, "minor": minor}))


# -- the decorator of a method -----------------------------------------------------------------------------------------


def api(
    *,
    input: InputAdapter,  # noqa: A002 - the concepts page's word, and the kappafile's
    output: OutputAdapter | None = None,
    api_name: str | None = None,
    route: str | None = None,
    api_doc: str | None = None,
    batch: bool | None = None,
    **options: Any,
) -> Decorator:
    """Declare a method as an endpoint; the method itself stays as it is and can be called directly, also without the
    `task` or `tasks` that it takes.

    Without `batch`, the method takes batches where the input takes nothing else. Further arguments are the keys of the
    kappafile's `[apis.NAME]`, like `max_batch_size` and `max_latency_ms`;
    `mb_max_batch_size` and `mb_max_latency`, former names of these two, still work.
    """
    for what, adapter, family in (("input", input, InputAdapter), ("output", output, OutputAdapter)):
        if adapter is not None and not isinstance(adapter, family):
            like = "JsonInput()" if what == "input" else "JsonOutput()"
            raise ConfigurationError(f"`@kappa.api`: `{what}` must be an adapter like `{like}`, not `{adapter!r}`.")
    own: dict[str, Any] = {"input": input, "output": output, "name": api_name, "route": route, "doc": api_doc}
    own["batch"] = batch_by_default(input) if batch is None else batch
    further = {_API_ALIASES.get(key, key): value for key, value in options.items()}
    if len(further) < len(options) or further.keys() & {*own, "target"}:
        raise ConfigurationError(f"`@kappa.api`: {', '.join(f'`{key}`' for key in options)} cannot be given together.")
    if unknown := [key for key, now in zip(options, further, strict=True) if now not in ApiSpec.model_fields]:
        raise TypeError(f"api() got an unexpected keyword argument '{unknown[0]}'")
    given = {key: value for key, value in {**own, **further}.items() if value is not None}

    def decorate(method: Decorated) -> Decorated:
        callable_by_hand = with_own_tasks(method, input) if inspect.isfunction(method) else method
        marked: Decorator = _marking("__kappa_api__", MappingProxyType(given))
        return marked(callable_by_hand)

    return decorate


# -- what was declared -------------------------------------------------------------------------------------------------


def declared_artifacts(declaring: type) -> tuple[ArtifactPlugin, ...]:
    """Return the artifacts that a class declares."""
    return getattr(declaring, "__kappa_artifacts__", ())


def declared_spec(declaring: type, *, module: str | None = None) -> ServiceSpec:
    """Return what the decorators of a `BentoService` class declare; raises `ConfigurationError`.

    ``module`` is the name under which the class will be imported, where that is not the one it has now.
    """
    reference = f"{module or plain_module(declaring.__module__)}:{declaring.__qualname__}"
    if not (methods := _api_methods(declaring)):
        raise ConfigurationError(
            f"`{declaring.__name__}` declares no API: decorate a method with `@kappa.api(input=…)`."
        )
    given: dict[str, Any] = {
        "name": getattr(declaring, "__kappa_name__", None) or declaring.__name__,
        "doc": inspect.cleandoc(declaring.__doc__ or ""),
        "examples": tuple(_examples(declaring, methods)),
    }
    for key in ("env", "artifacts", "files", "serving", "security", "labels", "ver"):
        if (value := getattr(declaring, f"__kappa_{key}__", None)) is not None:
            given[key] = value
    for key in ("web_static_content", "setup", "teardown"):
        given[key] = getattr(declaring, f"__kappa_{key}__", None)
    try:
        apis = tuple(_api_spec(method, function, reference) for method, function in methods.items())
        return ServiceSpec(service_class=reference, apis=apis, **given)
    except ValidationError as exc:
        raise ConfigurationError(f"`{declaring.__name__}` is not declared right: {_first_problem(exc)}.") from None


def _api_methods(declaring: type) -> dict[str, Any]:
    """Return the methods that are APIs, in the order in which they are first defined, those of bases first."""
    methods: dict[str, Any] = {}
    for owner in reversed(declaring.__mro__):
        for method, function in vars(owner).items():
            if getattr(function, "__kappa_api__", None) is not None:
                methods[method] = function
            else:
                methods.pop(method, None)
    return methods


def _api_spec(method: str, function: Any, reference: str) -> ApiSpec:
    doc = inspect.cleandoc(function.__doc__ or "")
    target = FunctionTarget(function=f"{reference}.{method}")
    return ApiSpec(**{"name": method, "doc": doc, **function.__kappa_api__, "target": target})


def _examples(declaring: type, methods: Mapping[str, Any]) -> Iterator[ExampleSpec]:
    yield from getattr(declaring, "__kappa_examples__", ())
    for method, function in methods.items():
        called = function.__kappa_api__.get("name", method)
        for made in getattr(function, "__kappa_examples__", ()):
            yield made.model_copy(update={"api": called})


def _marking(attribute: str, value: Any) -> Decorator:
    def decorate(decorated: Decorated) -> Decorated:
        if attribute in vars(decorated):
            word = attribute.removeprefix("__kappa_").removesuffix("__")
            raise ConfigurationError(
                f"`{getattr(decorated, '__name__', decorated)}` is decorated twice with "
                f"`@kappa.{'label' if word == 'labels' else word}`: say everything in one of them."
            )
        setattr(decorated, attribute, value)
        return decorated

    return decorate


def _table(model: type[Table], decorator: str, options: Mapping[str, Any]) -> Table:
    try:
        return model(**options)
    except ValidationError as exc:
        raise ConfigurationError(f"`@kappa.{decorator}`: {_first_problem(exc)}.") from None


_WANTED = {
    "tuple": "a list",
    "string": "text",
    "bool": "`True` or `False`",
    "int": "a whole number",
    "float": "a number",
}
"""What Python's own words for the kinds of values are in sentences, by how the types of pydantic's errors begin."""


def _first_problem(exc: ValidationError) -> str:
    problem = exc.errors()[0]
    kind, given = problem["type"], problem["input"]
    where = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    if kind == "extra_forbidden":
        return f"there is no `{where}`"
    if kind == "missing":
        return f"`{where}` is missing"
    wanted = _WANTED.get(kind.partition("_")[0]) if kind.endswith(("_type", "_parsing")) else None
    if kind == "literal_error":
        wanted = problem["ctx"]["expected"].replace("'", "`")
    if wanted is not None:
        shown = masked(repr(given))
        return f"`{where}` must be {wanted}, not `{shown if len(shown) <= 60 else shown[:57] + '…'}`"
    message = problem["msg"].removeprefix("Value error, ")
    return f"`{where}`: {message}" if where else message
