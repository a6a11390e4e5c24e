"""The examples of a service, replayed against a project, a bundle or a server."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kappa import build
from kappa.actions.targets import ProjectTarget, Target, open_target
from kappa.errors import BadInputError, ConfigurationError, InferenceFailedError, KappaError
from kappa.remote.transport import unanswered
from kappa.rendering.templates import toml_value
from kappa.secret_urls import masked
from kappa.services.comparison import Replay, replay_of
from kappa.services.inference import Inference, example_payload
from kappa.services.sample_requests import sample_request
from kappa.services.service import LoadedService
from kappa.services.versions import names_asked_for, say_differences, say_versions, versions_here, versions_pinned
from kappa.spec.contracts import ArtifactPlugin
from kappa.spec.service import ExampleSpec, ServiceSpec, ServingSpec
from kappa.types import Answer, Payload

__all__ = ["Examples", "check_examples", "examples_of", "replay_examples", "replay_in", "say_what_ran"]


_REMOTE_TIMEOUT_S = 60.0
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of a service, and the directory of their files."""

    spec: ServiceSpec
    directory: Path | None
    lock: Path | None = None
    """Where the lock of the service is, if there is one."""
    models: tuple[tuple[ArtifactPlugin, Path], ...] = ()
    """The model files of a project."""
    not_sent: str = ""
    """The advice for an example without a column of its API's sample."""
    is_of_bundle: bool = False


def examples_of(target: Target) -> Examples:
    """Return the examples of a project or bundle without loading it."""
    if isinstance(target, ProjectTarget):
        project = target.project
        sources = [(plugin, project.sources.get(plugin.name)) for plugin in project.spec.artifacts]
        models = tuple((plugin, source.path) for plugin, source in sources if source and source.path)
        not_sent = _not_sent(project.file) if project.file is not None else ""
        return Examples(project.spec, project.root, project.root / "kappafile.lock", models, not_sent)
    bundle = target.bundle
    lock = bundle.directory / bundle.manifest.env.lock
    return Examples(bundle.manifest.service, bundle.examples, lock, is_of_bundle=True)


def _not_sent(file: Path) -> str:
    """Say what to do with a column that an example does not have, if a kappafile names one sample of rows."""
    document, diagnostics = build.read_kappafile(file)
    if document is None:
        return ""
    paths = [("apis", str(name), "input", "columns_from") for name in document.table_at(("apis",))]
    samples = [path for path in paths if isinstance(document.at(path), str)]
    if len(samples) != 1:
        return ""
    sample, number = document.at(samples[0]), diagnostics.positions.of_value(samples[0]).line
    return (
        f" If clients do not send it, like a column that is predicted, delete it from `{sample}`, which "
        f'`columns_from = "{sample}"` names ({file.name}:{number}); if they do, add it to the example.'
    )


def check_examples(spec: ServiceSpec) -> None:
    """Raise `ConfigurationError` for a service without examples, because a test of nothing must not pass."""
    if not spec.examples:
        lines = _first_example(spec)
        advice = f" Put one into its kappafile, and in `expect` what it must be answered:\n\n{lines}" if lines else ""
        raise ConfigurationError(f"`{spec.name}` has no `[[examples]]`, so there is nothing to test.{advice}")


def _with_columns(spec: ServiceSpec, target: Target, environ: MutableMapping[str, str]) -> ServiceSpec:
    """Return a service without examples with the columns that its models know, so that one can be proposed."""
    if not spec.examples:
        with suppress(KappaError), open_target(target, environ=environ) as service:
            return spec.model_copy(update={"apis": tuple(inference.spec for inference in service.apis.values())})
    return spec


def _first_example(spec: ServiceSpec) -> str:
    """Return an example to copy, of the first API; its values are to be replaced."""
    if not spec.apis:
        return ""
    api = spec.apis[0]
    body = sample_request(spec, api)
    request = (
        f"input = {toml_value(body)}"
        if body is not None
        else f'input_file = "request.{_FILES.get(api.input.type, "bin")}"'
    )
    return f'[[examples]]\nname = "a first request"\napi = "{api.name}"\n{request}'


_FILES = {"image": "png"}


def say_what_ran(examples: Examples) -> list[str]:
    """Say on which versions a service runs here, and which ones its bundle will have instead: one sentence each.

    Of a bundle that is there already, the latter is said when it is loaded.
    """
    spec, lock = examples.spec, _text_of(examples.lock)
    needs = [plugin.needs_of_file(path) for plugin, path in examples.models]
    made_with = {name: version for need in needs for name, version in need.versions.items()}
    plugins = [*spec.artifacts, *(plugin for api in spec.apis for plugin in (api.input, api.output))]
    needed = {match[0].lower() for plugin in plugins for text in plugin.requires() if (match := _NAME.match(text))}
    pinned = {**made_with, **versions_pinned(lock)}
    versions = versions_here(sorted({*names_asked_for(lock), *needed, *made_with}), pinned)
    differences = "" if examples.is_of_bundle else say_differences(versions)
    return [sentence for sentence in (say_versions(versions), differences) if sentence]


def _text_of(lock: Path | None) -> str:
    try:
        return lock.read_text(encoding="utf-8-sig") if lock is not None else ""
    except (OSError, UnicodeDecodeError):
        return ""


def replay_examples(
    target: Target | str, examples: Examples, *, environ: MutableMapping[str, str] = os.environ
) -> Iterator[Replay]:
    """Send every example to a project or bundle, loaded in this process, or to the server at a URL.

    Raises as `check_examples` does.
    """
    check_examples(examples.spec if isinstance(target, str) else _with_columns(examples.spec, target, environ))
    if isinstance(target, str):
        for example in examples.spec.examples:
            route = f"{target.rstrip('/')}/{examples.spec.api(example.api).path}"
            yield _replay(example, examples, partial(_post, route))
        return
    with open_target(target, environ=environ) as service:
        for example in examples.spec.examples:
            yield replay_in(service, example, examples)


def replay_in(service: LoadedService, example: ExampleSpec, examples: Examples) -> Replay:
    """Send an example to a service that is loaded."""
    ask = partial(_answer, service.apis[example.api], service.spec.serving)
    return _replay(example, examples, ask)


def _replay(example: ExampleSpec, examples: Examples, ask: Callable[[Payload], Answer]) -> Replay:
    began = time.perf_counter()
    outcome: Answer | Exception
    try:
        outcome = ask(_payload_of(example, examples.directory))
    except Exception as exc:  # noqa: BLE001 - the user's function may raise anything
        outcome = exc
    duration_ms = (time.perf_counter() - began) * 1000
    return replay_of(example, outcome, duration_ms=duration_ms, not_sent=examples.not_sent)


def _payload_of(example: ExampleSpec, directory: Path | None) -> Payload:
    if directory is None and example.input_file is not None:
        raise InferenceFailedError(f"Its file `{example.input_file}` does not come with an installed bundle.")
    try:
        return example_payload(example, directory or Path())
    except BadInputError as exc:  # the file is at fault, and not what is in it
        raise InferenceFailedError(str(exc)) from None


def _answer(inference: Inference, serving: ServingSpec, payload: Payload) -> Answer:
    """Answer a payload within the limits that a server would set."""
    if len(payload.data) > (most := serving.max_request_size_bytes):
        raise BadInputError(f"The body is larger than the {most} bytes that are taken here.", http_status=413)
    return inference.answer_payload(payload._replace(limits=serving.decoding_limits))


def _post(url: str, payload: Payload) -> Answer:
    """Send a payload to a server and return its answer, whatever its status."""
    from urllib.error import HTTPError, URLError  # PERF: 38 of the 410 ms that importing this took
    from urllib.request import Request, urlopen

    request = Request(url, payload.data, {"Content-Type": payload.media_type}, method="POST")  # noqa: S310 - see below
    try:
        with urlopen(request, timeout=_REMOTE_TIMEOUT_S) as response:  # noqa: S310 - `kappa test` checks the scheme
            return Answer(response.read(), response.headers.get_content_type(), response.status)
    except HTTPError as exc:
        with exc:
            return Answer(exc.read(), exc.headers.get_content_type(), exc.code)
    except (URLError, OSError) as exc:
        reason = exc.reason if isinstance(exc, URLError) else exc
        raise InferenceFailedError(unanswered(masked(url), reason)) from exc
