"""Services: declared by decorators on a `BentoService` class, and loaded so that they can answer.

A decorator sets one frozen value on the class or function it decorates and changes nothing else; `declared_spec` turns
those values into the same `ServiceSpec` that a kappafile gives. `load_service` imports the code, loads the models,
calls `setup` and binds every API.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from kappa.errors import BundleError, ConfigurationError, InferenceFailedError, KappaError
from kappa.inference import Inference
from kappa.spec.contracts import ArtifactPlugin, InputAdapter, OutputAdapter, freeze
from kappa.spec.document import ArtifactSource
from kappa.spec.manifest import BundleManifest
from kappa.spec.models import ApiSpec, ArtifactMethod, EnvSpec, FunctionTarget, ServiceSpec

__all__ = [
    "Artifact",
    "Artifacts",
    "BentoService",
    "LoadedService",
    "api",
    "artifacts",
    "assemble_spec",
    "declared_spec",
    "env",
    "import_reference",
    "load_artifact",
    "load_declared",
    "load_service",
    "prepare_environment",
    "sys_path_entry",
    "web_static_content",
]

Model = Any  # whatever the user's framework calls a model
Decorated = TypeVar("Decorated")

_logger = logging.getLogger("kappa.service")


# -- declaring ---------------------------------------------------------------------------------------------------------


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
        packed = Artifact(model, _frozen_metadata(name, metadata))
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


def _frozen_metadata(artifact: str, metadata: Mapping[str, Any] | None) -> Any:
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


# -- loading -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class LoadedService:
    """A service ready to answer: its code imported, its models loaded, `setup` called."""

    spec: ServiceSpec
    version: str
    apis: Mapping[str, Inference]
    artifacts: Artifacts
    instance: BentoService | None = None
    """The object whose methods answer, when a class declares the service."""
    manifest: BundleManifest | None = None
    """The bundle it came from; ``None`` for a project served without building."""
    static_directory: Path | None = None
    """What is hosted at the root."""
    examples_directory: Path | None = None
    """Where the examples' files are."""
    _teardown: Callable[[], Any] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    def as_object(self) -> BentoService:
        """Return an object with one method per API: the service's instance, or one that stands for its functions."""
        if self.instance is not None:
            return self.instance
        standing = _FunctionService()
        standing.__dict__.update(_artifacts=self.artifacts, _apis=self.apis)
        return standing

    def close(self) -> None:
        """Call the service's `teardown`, once; its exceptions are logged."""
        teardown, self._teardown = self._teardown, None
        if teardown is not None:
            try:
                teardown()
            except Exception:
                _logger.exception("`teardown` of `%s` failed", self.name)


class _FunctionService(BentoService):
    """Stands for a service that no class declares: each API's function is a method."""

    def __getattr__(self, name: str) -> Any:
        apis: Mapping[str, Inference] = self.__dict__.get("_apis", {})
        if name not in apis:
            raise AttributeError(
                f"this service has no API `{name}`; it has {', '.join(f'`{known}`' for known in apis)}"
            )
        return apis[name].call


def load_service(
    spec: ServiceSpec,
    *,
    code_directory: Path,
    artifacts: Mapping[str, Artifact],
    version: str,
    environ: MutableMapping[str, str] = os.environ,
) -> LoadedService:
    """Make ``spec`` answer, with its modules below ``code_directory`` and its models given.

    Sets `env.variables` that the environment does not have. Raises `ConfigurationError` for missing secrets,
    `BundleError` for code that cannot be imported, `InferenceFailedError` when `setup` fails.
    """
    prepare_environment(spec, environ)
    code_directory = code_directory.absolute()
    if missing := [plugin.name for plugin in spec.artifacts if plugin.name not in artifacts]:
        raise BundleError(f"`{spec.name}` needs artifacts that are not here: {_listed(missing)}.")
    instance = None if spec.service_class is None else _instance_of(spec.service_class, artifacts, code_directory)
    teardown = None if spec.teardown is None else _user_function("teardown", spec.teardown, code_directory)
    provided = _call_setup(spec, code_directory)
    teardown = _teardown_of(spec, teardown, provided)
    service = LoadedService(spec, version, {}, Artifacts(artifacts), instance, _teardown=teardown)
    try:
        injectables = {name: artifact.value for name, artifact in artifacts.items()}
        if both := injectables.keys() & provided.keys():
            raise ConfigurationError(f"`setup` returns `{min(both)}`, which is also the name of an artifact.")
        injectables.update(provided)
        service.apis = {
            api.name: Inference(api, _function_of(api, instance, artifacts, code_directory), injectables)
            for api in spec.apis
        }
    except BaseException:
        service.close()  # what `setup` opened must not outlive a service that cannot answer
        raise
    return service


def _instance_of(reference: str, artifacts: Mapping[str, Artifact], code_directory: Path) -> BentoService:
    declaring = import_reference(reference, code_directory)
    if not (isinstance(declaring, type) and issubclass(declaring, BentoService)):
        raise BundleError(f"`{reference}` is not a subclass of `BentoService`.")
    instance = declaring.__new__(declaring)
    instance.__dict__["_artifacts"] = Artifacts(artifacts)
    _user_call(instance.__init__, failed=f"`{declaring.__name__}()` failed", code_directory=code_directory)  # type: ignore[misc]
    return instance


def load_declared(
    spec: ServiceSpec,
    sources: Mapping[str, ArtifactSource],
    *,
    root: Path,
    environ: MutableMapping[str, str] = os.environ,
) -> LoadedService:
    """Load a project as it lies on disk, without building it: code and models are taken from where they are."""
    prepare_environment(spec, environ)
    sys_path_entry(root)  # artifacts that are pickles may name classes of the project
    loaded: dict[str, Artifact] = {}
    with tempfile.TemporaryDirectory(prefix="kappa-") as folder:
        for plugin in spec.artifacts:
            source = sources.get(plugin.name)
            if source is None:
                raise ConfigurationError(
                    f"The artifact `{plugin.name}` has no model: say where its file is, in `[artifacts.{plugin.name}]`."
                )
            metadata = _frozen_metadata(plugin.name, source.metadata)
            if source.path is None:
                loaded[plugin.name] = Artifact(source.value, metadata)
                continue
            if not source.path.exists():
                raise ConfigurationError(f"The artifact `{plugin.name}`: there is no `{source.path}`.")
            directory = Path(folder) / plugin.name
            directory.mkdir()
            plugin.adopt(source.path, directory, link=True)
            loaded[plugin.name] = Artifact(load_artifact(plugin, directory, shown=source.path), metadata)
    service = load_service(spec, code_directory=root, artifacts=loaded, version="project", environ=environ)
    service.examples_directory = root
    if spec.web_static_content is not None:
        service.static_directory = root / spec.web_static_content
    return service


def load_artifact(plugin: ArtifactPlugin, directory: Path, *, shown: Path | None = None) -> Model:
    """Load one model; whatever its framework raises becomes a `BundleError` that names the artifact."""
    try:
        return plugin.load(directory)
    except KappaError:
        raise
    except Exception as exc:
        message = f"The artifact `{plugin.name}` ({plugin.type}) cannot be loaded from `{shown or directory}`"
        raise BundleError(f"{message}: {_described(exc)}") from exc


def prepare_environment(spec: ServiceSpec, environ: MutableMapping[str, str]) -> None:
    """Set the declared variables that are not set; raises `ConfigurationError` that lists every missing secret."""
    if missing := [name for name in spec.env.secrets if not environ.get(name)]:
        raise ConfigurationError(
            f"`{spec.name}` needs secrets that are not set: {_listed(missing)}. "
            "Set them in the environment before starting it."
        )
    for name, value in spec.env.variables.items():
        environ.setdefault(name, value)


def sys_path_entry(code_directory: Path) -> None:
    """Put the folder of a service's code first on `sys.path`, once."""
    entry = str(code_directory)
    if entry not in sys.path:
        sys.path.insert(0, entry)


def import_reference(reference: str, code_directory: Path) -> Any:
    """Import ``module:qualname`` from a service's code; raises `BundleError` that says where the user's code failed."""
    module_name, _, qualname = reference.partition(":")
    sys_path_entry(code_directory)
    base = code_directory.joinpath(*module_name.split("."))
    expected = [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
    loaded = sys.modules.get(module_name)
    if loaded is not None and expected and Path(loaded.__file__ or "").resolve() != expected[0].resolve():
        raise BundleError(
            f"A module `{module_name}` is already loaded from `{loaded.__file__}`, "
            f"so the service's own `{expected[0]}` cannot be: load it in a process of its own."
        )
    if not expected and loaded is None and importlib.util.find_spec(module_name.partition(".")[0]) is None:
        raise BundleError(f"There is no module `{module_name}` in `{code_directory}`.")
    value: Any = _user_call(
        lambda: importlib.import_module(module_name),
        failed=f"The module `{module_name}` cannot be imported",
        code_directory=code_directory,
    )
    try:
        for part in qualname.split("."):
            value = getattr(value, part)
    except AttributeError:
        raise BundleError(f"The module `{module_name}` has no `{qualname}`.") from None
    return value


def _user_call(function: Callable[[], Any], *, failed: str, code_directory: Path) -> Any:
    """Call into the user's code while loading; an exception becomes a `BundleError` that says where it came from."""
    try:
        return function()
    except KappaError:
        raise
    except (Exception, SystemExit) as exc:
        _logger.debug("%s", failed, exc_info=exc)
        raise BundleError(f"{failed}: {_described(exc, code_directory)}") from exc


def _described(exc: BaseException, code_directory: Path | None = None) -> str:
    """Say what an exception of others' code is, where in the service's own code it came from, and what may help."""
    where = ""
    for frame in traceback.extract_tb(exc.__traceback__):
        if code_directory is not None and Path(frame.filename).is_relative_to(code_directory):
            where = f" ({Path(frame.filename).relative_to(code_directory)}:{frame.lineno})"
    hint = " Install it, or add it to `env.pip_packages`." if isinstance(exc, ModuleNotFoundError) else ""
    return f"{type(exc).__name__}: {exc}{where}.{hint}"


def _user_function(what: str, reference: str, code_directory: Path) -> Callable[..., Any]:
    function = import_reference(reference, code_directory)
    if not callable(function):
        raise BundleError(f"{what[0].upper()}{what[1:]} (`{reference}`) is a `{type(function).__name__}`, no function.")
    return function  # type: ignore[no-any-return]


def _call_setup(spec: ServiceSpec, code_directory: Path) -> Mapping[str, Any]:
    if spec.setup is None:
        return {}
    setup = _user_function("setup", spec.setup, code_directory)
    try:
        provided = setup()
    except (Exception, SystemExit) as exc:
        raise InferenceFailedError(f"`setup` ({spec.setup}) failed: {_described(exc, code_directory)}") from exc
    if provided is None:
        return {}
    if not isinstance(provided, Mapping):
        kind = type(provided).__name__
        raise ConfigurationError(f"`setup` ({spec.setup}) must return a mapping of names to values, not `{kind}`.")
    return provided


def _teardown_of(
    spec: ServiceSpec, teardown: Callable[..., Any] | None, provided: Mapping[str, Any]
) -> Callable[[], Any] | None:
    """Bind `teardown` to those of its parameters that `setup` provided."""
    if teardown is None:
        return None
    parameters = inspect.signature(teardown).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    given = {name: value for name, value in provided.items() if takes_all or name in parameters}
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    if missing := [name for name in needed if name not in given]:
        message = f"`teardown` ({spec.teardown}) takes {_listed(missing)}, which `setup` does not return."
        raise ConfigurationError(message)
    return partial(teardown, **given)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _function_of(
    api: ApiSpec, instance: BentoService | None, artifacts: Mapping[str, Artifact], code_directory: Path
) -> Callable[..., Any]:
    target = api.target
    if isinstance(target, ArtifactMethod):
        method = getattr(artifacts[target.artifact].value, target.method, None)
        if not callable(method):
            kind = type(artifacts[target.artifact].value).__name__
            raise BundleError(f"The artifact `{target.artifact}` is a `{kind}`, which has no method `{target.method}`.")
        return method  # type: ignore[no-any-return]
    name = target.function.partition(":")[2].rpartition(".")[2]
    if instance is None:
        return _user_function(f"the API `{api.name}`", target.function, code_directory)
    if not callable(method := getattr(instance, name, None)):
        raise BundleError(f"The class `{type(instance).__name__}` has no method `{name}`, which answers `{api.name}`.")
    return method  # type: ignore[no-any-return]
