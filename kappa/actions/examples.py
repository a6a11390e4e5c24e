"""The examples of a service, replayed against a project, a bundle or a server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from kappa.actions.targets import ProjectTarget, Target, open_target, read_target_project
from kappa.bundle import open_bundle
from kappa.comparison import differences
from kappa.errors import ConfigurationError, InferenceFailedError, KappaError, said
from kappa.inference import example_payload
from kappa.spec.models import ExampleSpec, ServiceSpec
from kappa.types import Answer, Payload

__all__ = ["Examples", "Replay", "check_examples", "examples_of", "replay_examples"]

_REMOTE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of a service, and the directory of their files."""

    spec: ServiceSpec
    directory: Path | None


@dataclass(frozen=True, slots=True)
class Replay:
    """One example that was sent again; ``problems`` is empty when the answer is what it should be."""

    example: ExampleSpec
    problems: tuple[str, ...]
    got: Any
    """The answer as a value; text if it is not JSON, ``None`` if there is none."""
    duration_ms: float


def examples_of(target: Target) -> Examples:
    """Return the examples of a project or bundle without loading it."""
    if isinstance(target, ProjectTarget):
        project = read_target_project(target)
        return Examples(project.spec, project.root)
    bundle = open_bundle(target.directory)
    return Examples(bundle.manifest.service, None if bundle.is_installed else bundle.directory / "examples")


def check_examples(spec: ServiceSpec) -> None:
    """Raise `ConfigurationError` for a service without examples, because a test of nothing must not pass."""
    if not spec.examples:
        raise ConfigurationError(f"`{spec.name}` has no `[[examples]]`, so there is nothing to test.")


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
            yield _replay(example, examples.directory, service.apis[example.api].answer_payload)


def _replay(example: ExampleSpec, directory: Path | None, ask: Callable[[Payload], Answer]) -> Replay:
    began = time.perf_counter()
    got: Any = None
    try:
        if directory is None and example.input_file is not None:
            raise InferenceFailedError(f"Its file `{example.input_file}` does not come with an installed bundle.")
        answer = ask(example_payload(example, directory or Path()))
        got = _value_of(answer)
        problems = list(_problems_of(example, answer, got))
    except KappaError as exc:
        problems = [str(exc)]
    except Exception as exc:  # noqa: BLE001 - the user's function may raise anything
        problems = [said(exc)]
    return Replay(example, tuple(problems), got, (time.perf_counter() - began) * 1000)


def _problems_of(example: ExampleSpec, answer: Answer, got: Any) -> Iterator[str]:
    if answer.http_status >= 400:
        message = got.get("error", got) if isinstance(got, dict) else got
        yield f"the answer has the status {answer.http_status}: {message}"
    elif example.expect is not None:
        yield from differences(example.expect, got, tolerance=example.tolerance)


def _value_of(answer: Answer) -> Any:
    try:
        return orjson.loads(answer.body)
    except ValueError:
        return answer.body.decode(errors="replace")


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
        raise InferenceFailedError(f"The server at `{url}` does not answer: {reason}.") from exc
