"""The examples of a service, replayed against a project, a bundle or a server."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kappa.actions.targets import ProjectTarget, Target, open_target, read_target_project
from kappa.bundle import open_bundle
from kappa.comparison import Replay, replay_of
from kappa.errors import BadInputError, ConfigurationError, InferenceFailedError
from kappa.inference import Inference, example_payload
from kappa.secret_urls import masked
from kappa.spec.contracts import ArtifactPlugin, InputAdapter
from kappa.spec.models import ExampleSpec, ServiceSpec, ServingSpec
from kappa.types import Answer, Payload
from kappa.versions import names_asked_for, say_differences, say_versions, versions_here, versions_pinned

__all__ = ["Examples", "check_examples", "examples_of", "replay_examples", "say_what_ran"]


_REMOTE_TIMEOUT_S = 60.0
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
"""What TOML takes as a key without quotes."""
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


def examples_of(target: Target) -> Examples:
    """Return the examples of a project or bundle without loading it."""
    if isinstance(target, ProjectTarget):
        project = read_target_project(target)
        sources = [(plugin, project.sources.get(plugin.name)) for plugin in project.spec.artifacts]
        models = tuple((plugin, one.path) for plugin, one in sources if one is not None and one.path is not None)
        return Examples(project.spec, project.root, project.root / "kappafile.lock", models)
    bundle = open_bundle(target.directory)
    directory = None if bundle.is_installed else bundle.directory / "examples"
    return Examples(bundle.manifest.service, directory, bundle.directory / "requirements.txt")


def check_examples(spec: ServiceSpec) -> None:
    """Raise `ConfigurationError` for a service without examples, because a test of nothing must not pass."""
    if not spec.examples:
        lines = _first_example(spec)
        advice = f" Put one into its kappafile, and in `expect` what it must be answered:\n\n{lines}" if lines else ""
        raise ConfigurationError(f"`{spec.name}` has no `[[examples]]`, so there is nothing to test.{advice}")


def _first_example(spec: ServiceSpec) -> str:
    """Return an example to copy, of the first API; its values are to be replaced."""
    if not spec.apis:
        return ""
    api = spec.apis[0]
    return f'[[examples]]\nname = "a first request"\napi = "{api.name}"\n{_request_of(api.input)}'


def _request_of(adapter: InputAdapter) -> str:
    """Return the line of an example that holds its request."""
    if columns := getattr(adapter, "columns", None):
        values = ", ".join(
            f"{name if _BARE.fullmatch(name) else json.dumps(name)} = {_VALUES.get(_dtype_of(columns, name), '1')}"
            for name in columns
        )
        return f"input = [{{ {values} }}]"
    return _REQUESTS.get(adapter.type, 'input_file = "request.bin"')


def _dtype_of(columns: Any, name: str) -> str:
    dtype = columns[name] if isinstance(columns, Mapping) else ""
    return str(dtype["dtype"] if isinstance(dtype, Mapping) else dtype)


_REQUESTS = {
    "dataframe": "input = [[5.1, 3.5, 1.4, 0.2]]",
    "image": 'input_file = "request.png"',
    "json": "input = { key = 1 }",
    "ndarray": "input = [[5.1, 3.5, 1.4, 0.2]]",
    "pytorch_tensor": "input = [[5.1, 3.5, 1.4, 0.2]]",
    "string": 'input = "some text"',
    "tf_tensor": "input = { instances = [[5.1, 3.5, 1.4, 0.2]] }",
}
_VALUES = {"bool": "true", "str": '"text"', "datetime": '"2026-01-31"', "float64": "1.5", "float32": "1.5"}


def say_what_ran(examples: Examples) -> list[str]:
    """Say on which versions a service runs here, and which ones its bundle has instead: one sentence each."""
    spec, lock = examples.spec, _text_of(examples.lock)
    needs = [plugin.needs_of_file(path) for plugin, path in examples.models]
    made_with = {name: version for one in needs for name, version in one.versions.items()}
    plugins = [*spec.artifacts, *(plugin for api in spec.apis for plugin in (api.input, api.output))]
    needed = {match[0].lower() for plugin in plugins for text in plugin.requires() if (match := _NAME.match(text))}
    pinned = {**made_with, **versions_pinned(lock)}
    found = versions_here(sorted({*names_asked_for(lock), *needed, *made_with}), pinned)
    return [sentence for sentence in (say_versions(found), say_differences(found)) if sentence]


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
    check_examples(examples.spec)
    if isinstance(target, str):
        for example in examples.spec.examples:
            route = f"{target.rstrip('/')}/{examples.spec.api(example.api).path}"
            yield _replay(example, examples.directory, partial(_post, route))
        return
    with open_target(target, environ=environ) as service:
        for example in examples.spec.examples:
            ask = partial(_answer, service.apis[example.api], service.spec.serving)
            yield _replay(example, examples.directory, ask)


def _replay(example: ExampleSpec, directory: Path | None, ask: Callable[[Payload], Answer]) -> Replay:
    began = time.perf_counter()
    outcome: Answer | Exception
    try:
        outcome = ask(_payload_of(example, directory))
    except Exception as exc:  # noqa: BLE001 - the user's function may raise anything
        outcome = exc
    return replay_of(example, outcome, duration_ms=(time.perf_counter() - began) * 1000)


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
        raise InferenceFailedError(
            f"The server at `{masked(url)}` does not answer: {reason}. "
            "See that a service runs there, and at which port."
        ) from exc
