"""Services declared in Python: the decorators of a `kappa.BentoService` class.

Each part of a service has its decorator (see `kappa.spec.declarations`), whose arguments are the keys of a kappafile;
`kappa/__init__.pyi`, which `make generate` writes, has their types. A decorator sets one frozen value on the class or
method it decorates and changes nothing else; `declared_spec` turns those values into the same `ServiceSpec` that a
kappafile gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kappa.errors import ConfigurationError
from kappa.secret_urls import masked
from kappa.services.direct import with_own_tasks
from kappa.spec.contracts import ArtifactPlugin, InputAdapter, OutputAdapter, Spec, plain_module
from kappa.spec.declarations import DECLARATIONS, Part, arguments_of, model_of, signature_of
from kappa.spec.freezing import FrozenDict
from kappa.spec.service import ApiSpec, ExampleSpec, FunctionTarget, ServiceSpec, batch_by_default

__all__ = ["API_MARK", "DECORATORS", "declared_artifacts", "declared_spec"]

Decorator = Callable[[Any], Any]
Table = TypeVar("Table", bound=BaseModel)

API_MARK = "__kappa_apis__"
"""The attribute of a method that holds the options of its endpoint."""


# -- decorators: each gets its part, its name, and its arguments by the names of fields -----------------------------


def _declare_table(part: Part, name: str, model: type[Spec], options: Mapping[str, Any]) -> Decorator:
    return _marking(part, name, _table(model, name, options))


def _declare_example(part: Part, name: str, model: type[Spec], options: Mapping[str, Any]) -> Decorator:
    """May be repeated. On a method that is an API, `api` is this one."""
    called = f"{name}({options.get('name', '')!r})"

    def decorate(decorated: Any) -> Any:
        of_method = {}
        if inspect.isfunction(decorated):
            if "api" in options:
                raise ConfigurationError(f"`@kappa.{called}`: on a method, leave out `api`.")
            of_method = {"api": decorated.__name__}
        made = _table(model, called, {**options, **of_method})
        others = vars(decorated).get(part.mark, ())
        setattr(decorated, part.mark, (made, *others))  # decorators run upwards
        return decorated

    return decorate


def _declare_api(part: Part, name: str, model: type[Spec], keys: Mapping[str, Any]) -> Decorator:  # noqa: ARG001
    """The method itself stays as it is and can be called directly, also without the `task` or `tasks` that it takes.

    Without `batch`, it takes batches where the input takes nothing else. Without `api_name` and `api_doc`, its name and
    its docstring are those of the endpoint.
    """
    keys = {key: value for key, value in keys.items() if value is not None or key == "input"}
    for argument, family in (("input", InputAdapter), ("output", OutputAdapter)):
        if argument in keys and not isinstance(keys[argument], family):
            like = "JsonInput()" if argument == "input" else "JsonOutput()"
            raise ConfigurationError(
                f"`@kappa.{name}`: `{argument}` must be an adapter like `{like}`, not `{keys[argument]!r}`."
            )
    adapter: InputAdapter = keys["input"]
    options = MappingProxyType({"batch": batch_by_default(adapter), **keys})

    def decorate(method: Any) -> Any:
        callable_by_hand = with_own_tasks(method, adapter) if inspect.isfunction(method) else method
        return _marking(part, name, options)(callable_by_hand)

    return decorate


_TABLES: Mapping[str, Callable[[Part, str, type[Spec], Mapping[str, Any]], Decorator]] = {
    "apis": _declare_api,
    "examples": _declare_example,
}
"""By field, what declares a part otherwise than by one table of keys."""


def _artifacts(name: str, declared: ArtifactPlugin | Sequence[ArtifactPlugin]) -> tuple[ArtifactPlugin, ...]:
    """The models of the service, e.g. ``[SklearnModelArtifact("model")]``; `artifact` and `artifacts` are the same."""
    artifacts = tuple(declared) if isinstance(declared, list | tuple) else (declared,)
    for artifact in artifacts:
        if not isinstance(artifact, ArtifactPlugin):
            raise ConfigurationError(f"`@kappa.{name}` takes artifacts, not `{artifact!r}`.")
    return artifacts


def _labels(name: str, labels: Mapping[str, str] | None = None, /, **more: str) -> FrozenDict:
    """As keywords, ``@kappa.label(team="growth")``, or as a mapping, ``@kappa.label({"cicd-status": "success"})``."""
    if not (labels is None or isinstance(labels, Mapping)):
        kind = type(labels).__name__
        raise ConfigurationError(f"`@kappa.{name}`: `labels` must be a mapping of text to text, not `{kind}`.")
    return FrozenDict({**(labels or {}), **more})


def _value(name: str, value: Any = None, /, **more: Any) -> Any:  # noqa: ARG001 - `declared_spec` validates it
    return {**(value or {}), **more} if more else value


_VALUES: Mapping[str, Callable[..., Any]] = {"artifacts": _artifacts, "labels": _labels}
"""By field, what makes the value of a part that has no keys."""


def _decorator_of(part: Part, name: str) -> Callable[..., Decorator]:
    """Make a decorator of one part."""
    signature, model = signature_of(part), model_of(part)
    value_of: Callable[..., Any] = _VALUES.get(part.field, _value)
    declare = _TABLES.get(part.field, _declare_table)

    def decorator(*values: Any, **options: Any) -> Decorator:
        if model is None:
            bound = _bound(signature, name, values, options)
            return _marking(part, name, value_of(name, *bound.args, **bound.kwargs))
        if part.kind == "members":
            _bound(signature, name, values, options)
        return declare(part, name, model, _by_field(part, name, values, options))

    decorator.__name__ = decorator.__qualname__ = name
    decorator.__doc__ = _documentation_of(part)
    decorator.__signature__ = signature  # type: ignore[attr-defined] # what `inspect.signature` returns
    return decorator


def _bound(
    signature: inspect.Signature, name: str, values: Sequence[Any], options: Mapping[str, Any]
) -> inspect.BoundArguments:
    try:
        return signature.bind(*values, **options)
    except TypeError as exc:
        raise TypeError(f"{name}() {exc}") from None


def _by_field(part: Part, name: str, values: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a decorator by the names of fields; the model refuses unknown ones."""
    arguments = arguments_of(part)
    if len(values) > len(arguments):
        raise TypeError(f"{name}() takes {len(arguments)} arguments, not {len(values)}")
    by_field: dict[str, Any] = {}
    argument_of: dict[str, str] = {}
    for argument, value in (*zip(arguments, values, strict=False), *options.items()):
        field = arguments.get(argument, argument)
        if field in by_field:
            message = f"`@kappa.{name}`: `{field}` is given twice, as `{argument_of[field]}` and as `{argument}`."
            raise ConfigurationError(message)
        by_field[field], argument_of[field] = value, argument
    return by_field


def _documentation_of(part: Part) -> str:
    """Return the part of a decorator, and its maker if it has a special one."""
    special = _VALUES.get(part.field) or _TABLES.get(part.field)
    summary = f"Declare {part.title} of a kappafile; `kappa explain {'.'.join(part.key)}` says what it means."
    return "\n\n".join([summary, *([inspect.getdoc(special) or ""] if special is not None else [])])


DECORATORS: Mapping[str, Callable[..., Decorator]] = MappingProxyType(
    {name: _decorator_of(part, name) for part in DECLARATIONS for name in part.decorators}
)
"""The decorators by name; `kappa` offers each of them."""


# -- what was declared -------------------------------------------------------------------------------------------------


def declared_artifacts(declaring: type) -> tuple[ArtifactPlugin, ...]:
    """Return the artifacts that a class declares."""
    (part,) = (part for part in DECLARATIONS if part.field == "artifacts")
    return getattr(declaring, part.mark, ())


def declared_spec(declaring: type, *, module: str | None = None) -> ServiceSpec:
    """Return what the decorators of a `BentoService` class declare; raises `ConfigurationError`.

    ``module`` is the name under which the class will be imported, where that is not the one it has now.
    """
    reference = f"{module or plain_module(declaring.__module__)}:{declaring.__qualname__}"
    if not (methods := _api_methods(declaring)):
        raise ConfigurationError(
            f"`{declaring.__name__}` declares no API: decorate a method with `@kappa.api(input=…)`."
        )
    declared = {part.field: getattr(declaring, part.mark, None) for part in DECLARATIONS if part.decorators}
    fields: dict[str, Any] = {
        "name": declaring.__name__,
        "doc": inspect.cleandoc(declaring.__doc__ or ""),
        **{field: value for field, value in declared.items() if value is not None},
        "examples": tuple(_examples(declaring, methods)),
    }
    try:
        apis = tuple(_api_spec(method, function, reference) for method, function in methods.items())
        return ServiceSpec(**{**fields, "service_class": reference, "apis": apis})
    except ValidationError as exc:
        raise ConfigurationError(f"`{declaring.__name__}` is not declared right: {_first_problem(exc)}.") from None


def _api_methods(declaring: type) -> dict[str, Any]:
    """Return the methods that are APIs, in the order in which they are first defined, those of bases first."""
    methods: dict[str, Any] = {}
    for owner in reversed(declaring.__mro__):
        for method, function in vars(owner).items():
            if getattr(function, API_MARK, None) is not None:
                methods[method] = function
            else:
                methods.pop(method, None)
    return methods


def _api_spec(method: str, function: Any, reference: str) -> ApiSpec:
    doc = inspect.cleandoc(function.__doc__ or "")
    target = FunctionTarget(function=f"{reference}.{method}")
    return ApiSpec(**{"name": method, "doc": doc, **getattr(function, API_MARK), "target": target})


def _examples(declaring: type, methods: Mapping[str, Any]) -> Iterator[ExampleSpec]:
    yield from getattr(declaring, "__kappa_examples__", ())
    for method, function in methods.items():
        called = getattr(function, API_MARK).get("name", method)
        for made in getattr(function, "__kappa_examples__", ()):
            yield made.model_copy(update={"api": called})


def _marking(part: Part, name: str, value: Any) -> Decorator:
    def decorate(decorated: Any) -> Any:
        if part.mark in vars(decorated):
            raise ConfigurationError(
                f"`{getattr(decorated, '__name__', decorated)}` is decorated twice with `@kappa.{name}`: "
                "say everything in one of them."
            )
        setattr(decorated, part.mark, value)
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
"""Kinds of values in words, by the prefixes of pydantic's error types."""


def _first_problem(exc: ValidationError) -> str:
    problem = exc.errors()[0]
    kind, value = problem["type"], problem["input"]
    where = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    if kind == "extra_forbidden":
        return f"there is no `{where}`"
    if kind == "missing":
        return f"`{where}` is missing"
    wanted = _WANTED.get(kind.partition("_")[0]) if kind.endswith(("_type", "_parsing")) else None
    if kind == "literal_error":
        wanted = problem["ctx"]["expected"].replace("'", "`")
    if wanted is not None:
        shown = masked(repr(value))
        return f"`{where}` must be {wanted}, not `{shown if len(shown) <= 60 else shown[:57] + '…'}`"
    message = problem["msg"].removeprefix("Value error, ")
    return f"`{where}`: {message}" if where else message
