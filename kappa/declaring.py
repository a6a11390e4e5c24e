"""Services declared in Python: a `BentoService` class and its decorators.

A decorator sets one frozen value on the class or function it decorates and changes nothing else; `declared_spec` turns
those values into the same `ServiceSpec` that a kappafile gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from kappa.errors import ConfigurationError
from kappa.spec.contracts import ArtifactPlugin, InputAdapter, OutputAdapter, freeze
from kappa.spec.models import ApiSpec, EnvSpec, FunctionTarget, ServiceSpec

__all__ = [
    "Artifact",
    "Artifacts",
    "BentoService",
    "Model",
    "api",
    "artifacts",
    "assemble_spec",
    "declared_spec",
    "env",
    "frozen_metadata",
    "web_static_content",
]

Model = Any  # whatever the user's framework calls a model
Decorated = TypeVar("Decorated")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model at hand: its native object and what is known about it."""

    value: Model
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


class Artifacts(Mapping[str, Artifact]):
    """The models of one service: ``artifacts.model`` is the native object, ``artifacts["model"]`` the `Artifact`."""

    def __init__(self, values: Mapping[str, Artifact] | None = None) -> None:
        self._values = dict(values or {})

    def __getitem__(self, name: str) -> Artifact:
        return self._values[name]

    def __getattr__(self, name: str) -> Model:
        try:
            return self.__dict__["_values"][name].value
        except KeyError:
            known = ", ".join(f"`{known}`" for known in self.__dict__.get("_values", {})) or "none"
            raise AttributeError(f"there is no artifact `{name}` here; packed are {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class BentoService:
    """The base of a prediction service declared in Python: subclass it, decorate it, and name it in a kappafile."""

    @property
    def artifacts(self) -> Artifacts:
        """The packed or loaded models."""
        return self.__dict__.setdefault("_artifacts", Artifacts())  # type: ignore[no-any-return]

    def pack(self, name: str, model: Model, *, metadata: Mapping[str, Any] | None = None) -> BentoService:
        """Give the declared artifact ``name`` its model; returns the service, so that calls can be chained."""
        declared = [artifact.name for artifact in _artifacts_of(type(self))]
        if name not in declared:
            known = ", ".join(f"`{known}`" for known in declared) or "none"
            raise ConfigurationError(f"`{type(self).__name__}` declares no artifact `{name}`; declared are {known}.")
        if not isinstance(metadata or {}, Mapping):
            raise ConfigurationError(f"The metadata of `{name}` must be a mapping, not `{type(metadata).__name__}`.")
        packed = Artifact(model, frozen_metadata(name, metadata))
        self.__dict__["_artifacts"] = Artifacts({**self.artifacts, name: packed})
        return self


def env(**options: Any) -> Callable[[Decorated], Decorated]:
    """Declare what the service needs to run; the arguments are the keys of the kappafile's `[env]`."""
    try:
        spec = EnvSpec(**options)
    except ValidationError as exc:
        raise ConfigurationError(f"`@kappa.env`: {_first_problem(exc)}.") from None
    return _marking("__kappa_env__", spec)


def artifacts(declared: Sequence[ArtifactPlugin]) -> Callable[[Decorated], Decorated]:
    """Declare the models of the service, e.g. ``[SklearnModelArtifact("model")]``."""
    if isinstance(declared, ArtifactPlugin):
        raise ConfigurationError("`@kappa.artifacts` takes a list of artifacts.")
    for artifact in declared:
        if not isinstance(artifact, ArtifactPlugin):
            raise ConfigurationError(f"`@kappa.artifacts` takes artifacts, not `{artifact!r}`.")
    return _marking("__kappa_artifacts__", tuple(declared))


def web_static_content(path: str) -> Callable[[Decorated], Decorated]:
    """Declare a folder, relative to the class's file, that the server hosts at its root."""
    return _marking("__kappa_web_static_content__", path)


def api(
    *,
    input: InputAdapter,  # noqa: A002 - the concepts page's word, and the kappafile's
    output: OutputAdapter | None = None,
    api_name: str | None = None,
    route: str | None = None,
    api_doc: str | None = None,
    batch: bool = False,
    max_batch_size: int = 1000,
    max_latency_ms: float | None = None,
) -> Callable[[Decorated], Decorated]:
    """Declare a method as an endpoint; the method itself stays as it is and can be called directly."""
    if not isinstance(input, InputAdapter):
        raise ConfigurationError(f"`@kappa.api`: `input` must be an adapter like `JsonInput()`, not `{input!r}`.")
    given: dict[str, Any] = {
        "input": input,
        "output": output,
        "name": api_name,
        "route": route,
        "doc": api_doc,
        "batch": batch,
        "max_batch_size": max_batch_size,
        "max_latency_ms": max_latency_ms,
    }
    return _marking(
        "__kappa_api__", MappingProxyType({key: value for key, value in given.items() if value is not None})
    )


def frozen_metadata(artifact: str, metadata: Mapping[str, Any] | None) -> Any:
    """Return an artifact's metadata deeply immutable; raises `ConfigurationError` for what JSON cannot hold."""
    try:
        return freeze(metadata or {})
    except ValueError as exc:
        raise ConfigurationError(f"The metadata of `{artifact}`: {exc}.") from None


def _marking(attribute: str, value: Any) -> Callable[[Decorated], Decorated]:
    def decorate(decorated: Decorated) -> Decorated:
        setattr(decorated, attribute, value)
        return decorated

    return decorate


def _artifacts_of(declaring: type) -> tuple[ArtifactPlugin, ...]:
    return getattr(declaring, "__kappa_artifacts__", ())


def declared_spec(declaring: type) -> ServiceSpec:
    """Return what the decorators of a `BentoService` class declare; raises `ConfigurationError`."""
    methods: dict[str, tuple[Mapping[str, Any], str]] = {}
    for owner in reversed(declaring.__mro__):
        for name, function in vars(owner).items():
            if (options := getattr(function, "__kappa_api__", None)) is not None:
                methods[name] = options, function.__doc__ or ""
            else:
                methods.pop(name, None)
    return assemble_spec(
        f"{declaring.__module__}:{declaring.__qualname__}",
        doc=declaring.__doc__ or "",
        env=getattr(declaring, "__kappa_env__", None),
        artifacts=_artifacts_of(declaring),
        methods=methods,
        web_static_content=getattr(declaring, "__kappa_web_static_content__", None),
    )


def assemble_spec(
    reference: str,
    *,
    doc: str,
    env: EnvSpec | None,  # noqa: A002, RUF100 - the decorator's word
    artifacts: Sequence[ArtifactPlugin],
    methods: Mapping[str, tuple[Mapping[str, Any], str]],
    web_static_content: str | None,
) -> ServiceSpec:
    """Build the specification of the class ``reference`` (`module:Class`) from what its decorators say.

    ``methods`` maps each decorated method to the arguments of `@kappa.api` and the method's docstring. The same
    function serves the class itself and a reader that only parsed its source.
    """
    name = reference.rpartition(":")[2].rpartition(".")[2]
    if not methods:
        raise ConfigurationError(f"`{name}` declares no API: decorate a method with `@kappa.api(input=…)`.")
    try:
        apis = []
        for method, (options, method_doc) in methods.items():
            target = FunctionTarget(function=f"{reference}.{method}")
            apis.append(ApiSpec(**{"name": method, "doc": inspect.cleandoc(method_doc), **options, "target": target}))
        return ServiceSpec(
            name=name,
            service_class=reference,
            doc=inspect.cleandoc(doc),
            env=env or EnvSpec(),
            artifacts=tuple(artifacts),
            apis=tuple(apis),
            web_static_content=web_static_content,
        )
    except ValidationError as exc:
        raise ConfigurationError(f"`{name}` is not declared right: {_first_problem(exc)}.") from None


def _first_problem(exc: ValidationError) -> str:
    problem = exc.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"`{where}`: {message}" if where else message
