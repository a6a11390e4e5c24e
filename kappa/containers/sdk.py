"""Docker's API through its SDK for Python, for machines that have an engine to reach and no command.

The API builds without BuildKit: no mounts, so no secrets; everything else is as with the command.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kappa.containers.context import RECIPE, lent_context, open_context
from kappa.containers.engine import Engine
from kappa.containers.facts import ImageFacts
from kappa.containers.failures import explain_build, explain_engine, explain_push
from kappa.containers.progress import tell_step
from kappa.containers.request import ImageRequest
from kappa.errors import ContainerError, UsageError, optional_import
from kappa.log import log

__all__ = ["connect_sdk"]


def connect_sdk(environ: Mapping[str, str]) -> Engine:
    """Connect to the engine that ``DOCKER_HOST`` names, or the local one; raises `ContainerError`."""
    with optional_import("docker", needed_for="talking to Docker without its command"):
        from docker import errors, from_env  # which a mere folder called `docker` does not have
    try:
        _check_socket(environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
        client = from_env(environment=dict(environ), timeout=600)
    except (OSError, errors.DockerException) as exc:
        raise ContainerError(explain_engine(str(exc), engine="Docker")) from exc
    return Engine(_SdkBuilder(client, dict(environ)), _SdkRegistry(client), _SdkRunner(client))


def _check_socket(host: str) -> None:
    """Raise `OSError` if no process listens at a socket: the SDK would leave it open."""
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as trying:
            trying.connect(host.removeprefix("unix://"))


@dataclass(frozen=True, slots=True)
class _SdkBuilder:
    _client: Any
    _environ: Mapping[str, str]
    title: str = "Docker (SDK)"

    def build(self, request: ImageRequest) -> ImageFacts:
        if len(request.platforms) > 1:
            raise UsageError("An image for several platforms needs Docker's command with BuildKit.")
        context = lent_context(request, self._environ)
        arguments = {**request.build_arguments, **dict.fromkeys(context.arguments)}
        lines: list[str] = []
        image = ""
        with _explained(), open_context(request.directory, context.files) as stream:
            events = self._client.api.build(
                fileobj=stream,
                custom_context=True,
                dockerfile=RECIPE,
                decode=True,
                buildargs={key: self._environ.get(key, "") if v is None else v for key, v in arguments.items()},
                labels=dict(request.labels),
                platform=request.platforms[0] if request.platforms else None,
                nocache=request.no_cache,
                pull=request.pull,
                rm=True,
                forcerm=True,
            )
            for event in events:
                image = event.get("aux", {}).get("ID", image)
                for line in _lines(event):
                    lines.append(line)
                    tell_step(line)
                if "error" in event:
                    raise ContainerError(
                        explain_build(lines, engine="Docker", command="docker", base=request.base_image)
                    )
        with _explained():
            for tag in request.tags:
                name, _, label = tag.rpartition(":") if ":" in tag.rpartition("/")[2] else (tag, "", "latest")
                self._client.api.tag(image, name, label)
            made = self._client.images.get(image)
        return ImageFacts(made.id, int(made.attrs["Size"]), tuple(made.attrs.get("RepoDigests") or ()))


@dataclass(frozen=True, slots=True)
class _SdkRegistry:
    _client: Any

    def push(self, image: str) -> str:
        lines: list[str] = []
        digest = ""
        with _explained():
            for event in self._client.api.push(image, stream=True, decode=True):
                digest = event.get("aux", {}).get("Digest", digest)
                for line in _lines(event):
                    lines.append(line)
                    log(line, kind="output")
                if "error" in event:
                    output = "\n".join(lines)
                    raise ContainerError(explain_push(output, engine="Docker", command="docker", image=image))
        return digest

    def pin(self, image: str) -> str:
        if "@" in image:
            return image
        with _explained(image):
            return f"{image}@{self._client.images.get_registry_data(image).id}"


@dataclass(frozen=True, slots=True)
class _SdkRunner:
    _client: Any

    @contextmanager
    def run(self, image: str, *, variables: Mapping[str, str]) -> Iterator[_SdkContainer]:
        with _explained(image):
            container = self._client.containers.run(
                image, detach=True, environment=dict(variables), ports={"5000/tcp": ("127.0.0.1", None)}
            )
        try:
            yield _SdkContainer(container)
        finally:
            with _explained():
                container.remove(force=True, v=True)


@dataclass(frozen=True, slots=True)
class _SdkContainer:
    """A container that the SDK started."""

    _container: Any

    @property
    def url(self) -> str:
        self._container.reload()
        ports = self._container.ports.get("5000/tcp") or ()
        return f"http://127.0.0.1:{ports[0]['HostPort']}" if ports else ""

    def has_ended(self) -> bool:
        self._container.reload()
        return bool(self._container.status not in ("created", "running"))

    def logs(self) -> str:
        return str(self._container.logs().decode(errors="replace"))


def _lines(event: Mapping[str, Any]) -> list[str]:
    """Return the lines of an event."""
    text = str(event.get("stream") or event.get("error") or event.get("status") or "")
    return [line for line in text.splitlines() if line.strip()]


@contextmanager
def _explained(image: str = "") -> Iterator[None]:
    """Turn exceptions of the SDK and its HTTP client into `ContainerError`."""
    import requests

    from docker import errors

    try:
        yield
    except errors.DockerException as exc:
        message = str(getattr(exc, "explanation", None) or exc)
        raise ContainerError(explain_build([message], engine="Docker", command="docker", base=image)) from exc
    except requests.exceptions.RequestException as exc:
        raise ContainerError(explain_engine(str(exc), engine="Docker")) from exc
