"""Docker and podman through their commands."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from kappa.containers.context import RECIPE, lent_context, open_context
from kappa.containers.engine import Engine
from kappa.containers.facts import ImageFacts, pinned
from kappa.containers.failures import explain_build, explain_engine, explain_pull, explain_push
from kappa.containers.process import Done, call, follow
from kappa.containers.progress import tell_step
from kappa.containers.recipes import with_mounts
from kappa.containers.request import ImageRequest
from kappa.errors import ContainerError, UsageError
from kappa.log import log
from kappa.spec.layout import BundleLayout

__all__ = ["connect_command"]

_FIRST_PLUGIN_VERSION = 23
"""From this version on, Docker's command has BuildKit only as a plugin; before, it is built in."""

_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")


def connect_command(command: str, environ: Mapping[str, str]) -> Engine:
    """Ask the engine behind a command whether it answers; raises `ContainerError` that says why it does not."""
    version = call([command, "--version"], environ=environ)
    is_podman = "podman" in version.output.lower()
    engine = "podman" if is_podman else "Docker"
    done = call([command, "version", "--format", "{{json .}}"], environ=environ)
    versions = _object(done.output)
    if done.code != 0 or not (is_podman or versions.get("Server")):
        raise ContainerError(explain_engine(done.error or version.error, engine=engine))
    has_buildkit = not is_podman and _has_buildkit(command, str(versions.get("Client", {}).get("Version")), environ)
    client = _Command(command, dict(environ), is_podman=is_podman, has_buildkit=has_buildkit)
    return Engine(_CommandBuilder(client), _CommandRegistry(client), _CommandRunner(client))


def _has_buildkit(command: str, version: str, environ: Mapping[str, str]) -> bool:
    if environ.get("DOCKER_BUILDKIT") == "0":
        return False
    major = re.match(r"\d+", version)
    if major is not None and int(major[0]) < _FIRST_PLUGIN_VERSION:
        return True
    return call([command, "buildx", "version"], environ=environ).code == 0


@dataclass(frozen=True, slots=True)
class _Command:
    """A command that takes Docker's arguments, and the engine behind it."""

    path: str
    environ: Mapping[str, str]
    is_podman: bool
    has_buildkit: bool

    @property
    def engine(self) -> str:
        """The engine's name in messages."""
        return "podman" if self.is_podman else "Docker"

    @property
    def shown(self) -> str:
        """The command's name in messages."""
        return "podman" if self.is_podman else "docker"

    def call(self, *words: str, variables: Mapping[str, str] | None = None) -> Done:
        return call([self.path, *words], environ={**self.environ, **(variables or {})})

    def follow(self, words: Sequence[str], *, stdin: BinaryIO | None = None) -> Done:
        environ = {**self.environ, "DOCKER_BUILDKIT": "1" if self.has_buildkit else "0"}
        command = [self.path, *words]
        return follow(command, environ=environ, on_line=tell_step, stdin=stdin, runs_containers=self.is_podman)

    def facts_of(self, image: str) -> ImageFacts:
        done = self.call("image", "inspect", image)
        facts = _object(done.output)
        if done.code != 0 or "Id" not in facts:
            raise ContainerError(f"{self.engine} has no image `{image}`: {done.error.strip() or 'it says nothing'}")
        return ImageFacts(
            id=f"sha256:{facts['Id'].removeprefix('sha256:')}",
            size_bytes=int(facts.get("Size", 0)),
            digests=tuple(facts.get("RepoDigests") or ()),
        )


@dataclass(frozen=True, slots=True)
class _CommandBuilder:
    _command: _Command

    @property
    def title(self) -> str:
        if self._command.is_podman:
            return "podman"
        return "Docker (BuildKit)" if self._command.has_buildkit else "Docker (classic builder)"

    def build(self, request: ImageRequest) -> ImageFacts:
        command = self._command
        if len(request.platforms) > 1 and not (command.has_buildkit and request.push):
            raise UsageError(
                "An image for several platforms needs BuildKit and `--push`: name one platform, or push it."
            )
        with tempfile.TemporaryDirectory(prefix="kappa-image-") as folder:
            result = Path(folder, "id")
            options = [*self._options(request), "--iidfile", str(result)]
            has_mounts = command.is_podman or command.has_buildkit
            build = partial(self._with_mounts, folder=Path(folder)) if has_mounts else self._sent
            done = build(request, options)
            if done.code != 0:
                lines = done.output.splitlines()
                raise ContainerError(
                    explain_build(lines, engine=command.engine, command=command.shown, base=request.base_image)
                )
            image = result.read_text(encoding="utf-8").strip()
        return command.facts_of(image) if not request.push else ImageFacts(image, 0, ())

    def _options(self, request: ImageRequest) -> list[str]:
        is_podman = self._command.is_podman
        options = [option for tag in request.tags for option in ("--tag", tag)]
        for key, value in sorted(request.build_arguments.items()):
            options += ["--build-arg", key if value is None else f"{key}={value}"]
        for key, value in sorted(request.labels.items()):
            options += ["--label", f"{key}={value}"]
        options += ["--platform", ",".join(request.platforms)] if request.platforms else []
        options += ["--no-cache"] if request.no_cache else []
        if request.pull:
            options.append("--pull=always" if is_podman else "--pull")
        # Only Docker's own format holds a health check, and only podman has to be told.
        options += ["--format", "docker", "--layers"] if is_podman else []
        return [*options, "--force-rm"] if not self._command.has_buildkit else [*options, "--progress", "plain"]

    def _with_mounts(self, request: ImageRequest, options: Sequence[str], *, folder: Path) -> Done:
        secrets = {secret.id: secret for secret in (*request.lent, *request.secrets)}
        recipe = BundleLayout(folder).dockerfile
        text = BundleLayout(request.directory).dockerfile.read_text(encoding="utf-8")
        recipe.write_text(with_mounts(text, secrets=list(secrets)), encoding="utf-8")
        secret_options = [word for secret in secrets.values() for word in ("--secret", secret.option)]
        build = ["buildx", "build", "--push"] if request.push else ["build"]
        return self._command.follow([*build, *options, *secret_options, "--file", str(recipe), str(request.directory)])

    def _sent(self, request: ImageRequest, options: Sequence[str]) -> Done:
        """Build where nothing can be mounted: the context is sent, with what is lent in it."""
        context = lent_context(request, self._command.environ)
        arguments = [word for name in context.arguments for word in ("--build-arg", name)]
        with open_context(request.directory, context.files) as stream:
            return self._command.follow(["build", *options, *arguments, "--file", RECIPE, "-"], stdin=stream)


@dataclass(frozen=True, slots=True)
class _CommandRegistry:
    _command: _Command

    def push(self, image: str) -> str:
        command = self._command
        with tempfile.TemporaryDirectory(prefix="kappa-push-") as folder:
            result = Path(folder, "digest")
            done = command.follow(["push", *(["--digestfile", str(result)] if command.is_podman else []), image])
            if done.code != 0:
                reason = explain_push(done.output, engine=command.engine, command=command.shown, image=image)
                raise ContainerError(reason)
            if result.exists():
                return result.read_text(encoding="utf-8").strip()
        digests = _DIGEST.findall(done.output)
        return str(digests[-1]) if digests else ""

    def pin(self, image: str) -> str:
        command = self._command
        log(f"Pulling {image}", kind="step")
        done = command.follow(["pull", image])
        if done.code != 0:
            reason = explain_pull(done.output, engine=command.engine, command=command.shown, image=image)
            raise ContainerError(reason)
        return pinned(image, command.facts_of(image))


@dataclass(frozen=True, slots=True)
class _CommandRunner:
    _command: _Command

    @contextmanager
    def run(self, image: str, *, variables: Mapping[str, str]) -> Iterator[_CommandContainer]:
        env_options = [word for name in variables for word in ("--env", name)]
        words = ["run", "--detach", *env_options, "--publish", "127.0.0.1::5000", image]
        done = self._command.call(*words, variables=variables)
        if done.code != 0:
            raise ContainerError(f"`{image}` does not start: {done.error.strip()}")
        container = _CommandContainer(self._command, done.output.strip().splitlines()[-1])
        try:
            yield container
        finally:
            self._command.call("rm", "--force", "--volumes", container.id)


@dataclass(frozen=True, slots=True)
class _CommandContainer:
    """A container that an engine's command started."""

    _command: _Command
    id: str

    @property
    def url(self) -> str:
        done = self._command.call("port", self.id, "5000/tcp")
        port = done.output.strip().rpartition(":")[2]
        return f"http://127.0.0.1:{port}" if port else ""

    def has_ended(self) -> bool:
        return self._command.call("inspect", "--format", "{{.State.Running}}", self.id).output.strip() != "true"

    def logs(self) -> str:
        done = self._command.call("logs", self.id)
        return f"{done.output}{done.error}"


def _object(text: str) -> dict[str, Any]:
    """Read one JSON object, or the first of a list; an empty one for anything else."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, dict) else {}
