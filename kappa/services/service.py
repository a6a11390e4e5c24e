"""Services loaded so that they can answer: code imported, models loaded, `setup` called, every API bound."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kappa.errors import BundleError, ConfigurationError, InferenceFailedError
from kappa.services.awaiting import awaited, is_awaitable, loop_in_use
from kappa.services.declared import DeclaredService
from kappa.services.inference import Inference
from kappa.services.loading import ServiceCode, described, import_reference, loading, user_call
from kappa.services.packed import Artifact, Artifacts
from kappa.services.source import ServiceSource
from kappa.services.threads import ServiceThread
from kappa.spec.contracts import ArtifactPlugin, PluginOfService
from kappa.spec.manifest import BundleManifest
from kappa.spec.service import ApiSpec, ArtifactMethod, ServiceSpec
from kappa.wording import listed, reason_of

__all__ = ["LoadedService", "answering", "caller_for", "load_parts", "load_service"]

_logger = logging.getLogger("kappa.service")


@dataclass(slots=True)
class LoadedService:
    """A service ready to answer: its code imported, its models loaded, `setup` called."""

    spec: ServiceSpec
    version: str
    apis: Mapping[str, Inference]
    artifacts: Artifacts
    instance: DeclaredService | None = None
    """The object whose methods answer, when a class declares the service."""
    manifest: BundleManifest | None = None
    """The bundle it came from; ``None`` for a project served without building."""
    static_directory: Path | None = None
    """The static content at the root."""
    examples_directory: Path | None = None
    """Where the examples' files are."""
    _teardown: Callable[[], Any] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def api_of_own_thread(self) -> str | None:
        """The API whose function is called in the thread that loaded the service, if there is one."""
        synchronous = [name for name, inference in self.apis.items() if not inference.is_async]
        if len(synchronous) != 1 or (self.apis[synchronous[0]].spec.max_concurrency or 1) > 1:
            return None
        return synchronous[0]

    def as_object(self) -> DeclaredService:
        """Return an object with one method per API: the service's instance, or one that stands for its functions."""
        if self.instance is not None:
            return self.instance
        standing = _FunctionService()
        standing.__dict__.update(_facts(self.spec, self.version, self.artifacts), _apis=self.apis)
        return standing

    def close(self) -> None:
        """Call the service's `teardown`, once; its exceptions are logged."""
        teardown, self._teardown = self._teardown, None
        if teardown is not None:
            try:
                teardown()
            except Exception:
                _logger.exception("`teardown` of `%s` failed", self.name)


class _FunctionService(DeclaredService):
    """Stands for a service that no class declares: each API's function is a method."""

    def __getattr__(self, name: str) -> Any:
        apis: Mapping[str, Inference] = self.__dict__.get("_apis", {})
        if name not in apis:
            raise AttributeError(f"this service has no API `{name}`; it has {', '.join(f'`{api}`' for api in apis)}")
        return apis[name].call

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.__dict__.get("_apis", ())]


@contextmanager
def answering(load: Callable[[], LoadedService], *, name: str) -> Iterator[LoadedService]:
    """Load a service, have each API answer in such a thread as it has in a server, and close it at the end."""
    service_thread = ServiceThread(f"kappa-{name}")
    others: list[ServiceThread] = []
    try:
        service = service_thread.run(load)
    except BaseException:
        service_thread.end()
        raise
    try:
        for api, inference in service.apis.items():
            inference.thread = service_thread
            if api != service.api_of_own_thread:
                others.append(ServiceThread(f"kappa-{name}.{api}", service_thread.context.copy()))
                inference.thread = others[-1]
        yield service
    finally:
        for thread in others:
            thread.end()
        service_thread.end_with(service.close).result()


@loading()
def load_service(source: ServiceSource, *, environ: MutableMapping[str, str] = os.environ) -> LoadedService:
    """Set the variables of a service, import its code, load its models, call its `setup`, and bind its APIs.

    Raises `KappaError`: `ConfigurationError` for missing secrets or models, `BundleError` for code that cannot be
    imported and models that cannot be loaded, `InferenceFailedError` when `setup` fails.
    """
    spec, code, artifacts = load_parts(source, environ=environ)
    instance = source.instance
    if instance is None and spec.service_class is not None:
        instance = _instance_of(spec.service_class, _facts(spec, source.version, artifacts), code)
    teardown = None if spec.teardown is None else _user_function("teardown", spec.teardown, code)
    provided = _call_setup(spec, code)
    teardown = _teardown_of(spec, teardown, provided)
    service = LoadedService(
        spec,
        source.version,
        {},
        artifacts,
        instance,
        manifest=source.manifest,
        static_directory=source.static_directory,
        examples_directory=source.examples_directory,
        _teardown=teardown,
    )
    try:
        injectables = {name: artifact.value for name, artifact in artifacts.items()}
        if both := injectables.keys() & provided.keys():
            raise ConfigurationError(f"`setup` returns `{min(both)}`, which is also the name of an artifact.")
        injectables.update(provided)
        load = partial(import_reference, code=code)
        apis = [_resolved(api, load) for api in spec.apis]
        service.spec = spec.model_copy(update={"apis": tuple(apis)})
        plugins = {plugin.name: plugin for plugin in spec.artifacts}
        apis = [_for_model(api, artifacts, plugins) for api in apis]
        service.apis = {
            api.name: Inference(
                api, _function_of(api, instance, artifacts, code, plugins=plugins), injectables, load=load
            )
            for api in apis
        }
    except BaseException:
        service.close()  # what `setup` opened must not outlive a service that cannot answer
        raise
    return service


def load_parts(
    source: ServiceSource, *, environ: MutableMapping[str, str] = os.environ
) -> tuple[ServiceSpec, ServiceCode, Artifacts]:
    """Do the first half of `load_service`: what a service is made of, before anything is called that it defines.

    The specification that is returned has the artifact types that the service's own code brings.
    """
    spec = source.spec
    _prepare_environment(spec, environ)
    code = source.code()
    if source.instance is None and spec.service_class is not None:
        import_reference(spec.service_class, code)  # models may need its module
    load = partial(import_reference, code=code)
    spec = spec.model_copy(update={"artifacts": tuple(plugin.resolved(load) for plugin in spec.artifacts)})
    with code.unpickling():  # artifacts that are pickles may name classes of the service's own
        artifacts = {plugin.name: source.artifact_of(plugin) for plugin in spec.artifacts}
    return spec, code, Artifacts(artifacts)


def _facts(spec: ServiceSpec, version: str, artifacts: Artifacts) -> dict[str, Any]:
    """Return what a service that was loaded knows about itself."""
    return {"_artifacts": artifacts, "_loaded_spec": spec, "_version": version}


def _instance_of(reference: str, facts: Mapping[str, Any], code: ServiceCode) -> DeclaredService:
    declaring = import_reference(reference, code)
    if not (isinstance(declaring, type) and issubclass(declaring, DeclaredService)):
        raise BundleError(f"`{reference}` is not a subclass of `BentoService`.")
    instance = declaring.__new__(declaring)
    instance.__dict__.update(facts)
    user_call(instance.__init__, failed=f"`{declaring.__name__}()` failed", code=code)  # type: ignore[misc]
    return instance


def _prepare_environment(spec: ServiceSpec, environ: MutableMapping[str, str]) -> None:
    """Set the declared variables that are not set; raises `ConfigurationError` that lists every missing secret."""
    if missing := [name for name in spec.env.secrets if not environ.get(name)]:
        raise ConfigurationError(
            f"`{spec.name}` needs secrets that are not set: {listed(missing)}. "
            f"Set them in the shell that starts it: `export {' '.join(f'{name}=…' for name in missing)}`."
        )
    for name, value in spec.env.variables.items():
        environ.setdefault(name, value)


def _user_function(role: str, reference: str, code: ServiceCode) -> Callable[..., Any]:
    function = import_reference(reference, code)
    if not callable(function):
        raise BundleError(
            f"{role[0].upper()}{role[1:]} (`{reference}`) is not callable: it is a `{type(function).__name__}`."
        )
    owner, _, name = reference.rpartition(".")
    if owner.count(":") and inspect.isfunction(function):
        declaring = import_reference(owner, code)
        if isinstance(declaring, type) and inspect.isfunction(inspect.getattr_static(declaring, name, None)):
            raise BundleError(
                f"{role[0].upper()}{role[1:]} (`{reference}`) is a method, which needs an object of its class: name a "
                f'plain function, or write `class = "{owner}"` in `[service]`, with `@kappa.api` over the method.'
            )
    return function  # type: ignore[no-any-return]


def _call_setup(spec: ServiceSpec, code: ServiceCode) -> Mapping[str, Any]:
    if spec.setup is None:
        return {}
    setup = _user_function("setup", spec.setup, code)
    try:
        provided = setup()
        if is_awaitable(provided):
            provided = awaited(provided, loop_in_use())
    except (Exception, SystemExit) as exc:
        raise InferenceFailedError(f"`setup` ({spec.setup}) failed: {described(exc, code)}") from exc
    if provided is None:
        return {}
    if not isinstance(provided, Mapping):
        kind = type(provided).__name__
        instead = " Return what it yields, and close it in `teardown`." if kind.endswith("generator") else ""
        raise ConfigurationError(
            f"`setup` ({spec.setup}) must return a mapping of names to values, not `{kind}`.{instead}"
        )
    return provided


def _teardown_of(
    spec: ServiceSpec, teardown: Callable[..., Any] | None, provided: Mapping[str, Any]
) -> Callable[[], Any] | None:
    """Bind `teardown` to those of its parameters that `setup` provided."""
    if teardown is None:
        return None
    parameters = inspect.signature(teardown).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    arguments = {name: value for name, value in provided.items() if takes_all or name in parameters}
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    if missing := [name for name in needed if name not in arguments]:
        message = f"`teardown` ({spec.teardown}) takes {listed(missing)}, which `setup` does not return."
        raise ConfigurationError(message)
    return partial(_tear_down, teardown, arguments, loop_in_use())


def _tear_down(teardown: Callable[..., Any], arguments: Mapping[str, Any], loop: Any) -> None:
    ended = teardown(**arguments)
    if is_awaitable(ended):
        awaited(ended, loop)
    elif hasattr(ended, "send") or hasattr(ended, "asend"):
        raise ConfigurationError("It is a generator, so nothing of it was run: write it without `yield`.")


def _resolved(api: ApiSpec, load: Callable[[str], Any]) -> ApiSpec:
    """Return an API with the adapters that stand in it for classes of the service's own code, and with all schemas."""
    resolved = api.model_copy(
        update={"input": api.input.resolved(load).described(load), "output": api.output.resolved(load)}
    )
    if isinstance(api.input, PluginOfService):
        try:
            ApiSpec.model_validate(dict(resolved))
        except ValidationError as exc:
            raise ConfigurationError(f"The API `{api.name}`: {reason_of(exc.errors()[0])}.") from None
    return resolved


def _for_model(api: ApiSpec, artifacts: Mapping[str, Artifact], plugins: Mapping[str, ArtifactPlugin]) -> ApiSpec:
    """Return an API whose requests are brought to the columns of the model that answers them, if it knows any."""
    if not isinstance(target := api.target, ArtifactMethod):
        return api
    plugin = plugins[target.artifact]
    adapter = api.input.for_features(plugin.feature_names_of(artifacts[target.artifact].value))
    return api.model_copy(update={"input": adapter if plugin.takes_frames_alone else adapter.without_frames()})


def caller_for(api: ApiSpec, target: ArtifactMethod, plugin: ArtifactPlugin, artifact: Artifact) -> Callable[..., Any]:
    """Return what answers an API by a model's own method; raises `BundleError` if the model does not have it."""
    called = plugin.caller(artifact.value, target.method, is_batch=api.batch)
    return plugin.for_outputs(called, api.outputs) if api.outputs else called


def _function_of(
    api: ApiSpec,
    instance: DeclaredService | None,
    artifacts: Mapping[str, Artifact],
    code: ServiceCode,
    *,
    plugins: Mapping[str, ArtifactPlugin],
) -> Callable[..., Any]:
    target = api.target
    if isinstance(target, ArtifactMethod):
        return caller_for(api, target, plugins[target.artifact], artifacts[target.artifact])
    name = target.function.partition(":")[2].rpartition(".")[2]
    if instance is None:
        return _user_function(f"the API `{api.name}`", target.function, code)
    if not callable(method := getattr(instance, name, None)):
        raise BundleError(f"The class `{type(instance).__name__}` has no method `{name}`, which answers `{api.name}`.")
    return method  # type: ignore[no-any-return]
