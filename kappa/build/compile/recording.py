"""What a service asks its model when it answers its examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr

from kappa.build.compile.calls import Calls
from kappa.build.compile.networks import NetworkRecorder, network_of
from kappa.errors import KappaError, exception_text
from kappa.frameworks.compiled import METHODS, CompiledArtifact
from kappa.services.inference import example_payload
from kappa.services.packed import Artifact
from kappa.services.service import answering, load_parts, load_service
from kappa.services.source import ServiceSource, load_kept
from kappa.spec.contracts import ArtifactPlugin
from kappa.spec.service import ServiceSpec

__all__ = ["observed"]

_ATTRIBUTES = ("classes_", "feature_names_in_", "n_features_in_")


class _Observed(CompiledArtifact):
    """The artifact while its examples are answered by the model itself, which needs frames to be those of pandas."""

    takes_frames_alone: ClassVar[bool] = True

    _resolve: Callable[[Callable[[str], Any]], None] = PrivateAttr()

    @classmethod
    def of(cls, kept: ArtifactPlugin, resolve: Callable[[Callable[[str], Any]], None]) -> _Observed:
        """Return it in place of what keeps the compiled model; ``resolve`` is given what imports the service's code."""
        observed = cls.model_validate(dict(kept))
        observed._resolve = resolve  # noqa: SLF001 - of this class
        return observed

    def resolved(self, load: Callable[[str], Any]) -> _Observed:
        self._resolve(load)
        return self

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        if isinstance(model, NetworkRecorder):
            return model.caller(method, is_batch=is_batch)
        return super().caller(model, method, is_batch=is_batch)


def observed(spec: ServiceSpec, plugin: ArtifactPlugin, models: Path, root: Path) -> tuple[Any, Calls]:
    """Load a model and answer the examples with it; return it with the calls that were made."""
    calls, resolved, loaded = Calls(), [plugin], dict[str, Any]()

    def resolve(load: Callable[[str], Any]) -> None:
        resolved.append(plugin.resolved(load))

    def artifact_of(asked: ArtifactPlugin) -> Artifact:
        name, is_it = asked.name, asked.name == plugin.name
        if name not in loaded:
            loaded[name] = load_kept(resolved[-1] if is_it else asked, models / name)
        if not is_it:
            return Artifact(loaded[name])
        network = network_of(plugin, loaded[name])
        return Artifact(_recorder(loaded[name], plugin, calls) if network is None else NetworkRecorder(network, calls))

    kept = tuple(
        _Observed.of(artifact.kept, resolve) if artifact.name == plugin.name else artifact
        for artifact in spec.artifacts
    )
    source = ServiceSource.of_project(spec.model_copy(update={"artifacts": kept}), {}, root=root)
    source = replace(source, artifact_of=artifact_of)
    load_parts(source)
    if spec.examples:
        try:
            _answer_examples(spec, source, calls, root)
        except KappaError as exc:
            calls.failures.append(str(exc))
    return loaded[plugin.name], calls


def _answer_examples(spec: ServiceSpec, source: ServiceSource, calls: Calls, root: Path) -> None:
    with answering(partial(load_service, source), name=spec.name) as service:
        for example in spec.examples:
            calls.example = example.name
            try:
                payload = example_payload(example, root)._replace(limits=spec.serving.decoding_limits)
                service.apis[example.api].answer_payload(payload)
            except Exception as exc:  # noqa: BLE001 - the user's function may raise anything
                calls.failures.append(f"the example `{example.name}`: {exception_text(exc)}")


def _recorder(model: Any, plugin: ArtifactPlugin, calls: Calls) -> Any:
    """Return what stands for a model: it has what a compiled one has, and keeps what its methods are given."""

    class Recorder:
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if name == "feature_names_in_" and (names := plugin.feature_names_of(model)):
                return list(names)
            if name in _ATTRIBUTES:
                return getattr(model, name)
            if name in METHODS:
                return partial(self._call, name, getattr(model, name))
            if hasattr(model, name):
                calls.absent.append(name)
            raise AttributeError(f"a compiled `{type(model).__name__}` has no `{name}`")

        def _call(self, name: str, method: Callable[[Any], Any], X: Any) -> Any:  # noqa: N803 - as scikit-learn has it
            copied = X.copy() if hasattr(X, "copy") else X
            answer = method(X)
            calls.made.append((calls.example, name, copied))
            calls.methods.add(name)
            return answer

    Recorder.__name__ = type(model).__name__
    return Recorder()
