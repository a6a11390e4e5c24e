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
from typing import Any

from kappa.containers.context import RECIPE, lent_context, open_context
from kappa.containers.failures import explain_build, explain_engine, explain_pull, explain_push
from kappa.containers.images import ImageFacts, pinned
from kappa.containers.process import Done, call, follow
from kappa.containers.progress import tell_step
from kappa.containers.recipes import with_mounts
from kappa.containers.request import ImageRequest
from kappa.errors import ContainerError, UsageError
from kappa.log import log
from kappa.spec.layout import BundleLayout

__all__ = ["CommandContainer", "CommandEngine", "connect_command"]

_FIRST_PLUGIN_VERSION = 23
"""From this version on, Docker's command has BuildKit only as a plugin; before, it is built in."""

_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")


def connect_command(command: str, environ: Mapping[str, str]) -> CommandEngine:
    """Ask the engine behind a command whether it answers; raises `ContainerError` that says why it does not."""
    told = call([command, "--version"], environ=environ)
    is_podman = "podman" in told.output.lower()
    engine = "podman" if is_podman else "Docker"
    done = call([command, "version", "--format", "{{json .}}"], environ=environ)
    versions = _object(done.output)
    if done.code != 0 or not (is_podman or versions.get("Server")):
        raise ContainerError(explain_engine(done.error or told.error, engine=engine))
    has_buildkit = not is_podman and _has_buildkit(command, str(versions.get("Client", {}).get("Version")), environ)
    return CommandEngine(command, dict(environ), is_podman=is_podman, has_buildkit=has_buildkit)


def _has_buildkit(command: str, version: str, environ: Mapping[str, str]) -> bool:
    if environ.get("DOCKER_BUILDKIT") == "0":
        return False
    major = re.match(r"\d+", version)
    if major is not None and int(major[0]) < _FIRST_PLUGIN_VERSION:
        return True
    return call([command, "buildx", "version"], environ=environ).code == 0


@dataclass(frozen=True, slots=True)
class CommandEngine:
    """An engine behind a command that takes Docker's arguments."""

    command: str
    environ: Mapping[str, str]
    is_podman: bool
    has_buildkit: bool

    @property
    def name(self) -> str:
        return "podman" if self.is_podman else "Docker"

    @property
    def title(self) -> str:
        if self.is_podman:
            return "podman"
        return "Docker (BuildKit)" if self.has_buildkit else "Docker (classic builder)"

    @property
    def has_mounts(self) -> bool:
        return self.is_podman or self.has_buildkit

    # -- building

    def build(self, request: ImageRequest) -> ImageFacts:
        if len(request.platforms) > 1 and not (self.has_buildkit and request.push):
            raise UsageError(
                "An image for several platforms needs BuildKit and `--push`: name one platform, or push it."
            )
        with tempfile.TemporaryDirectory(prefix="kappa-image-") as folder:
            result = Path(folder, "id")
            options = [*self._options(request), "--iidfile", str(result)]
            build = partial(self._with_mounts, folder=Path(folder)) if self.has_mounts else self._sent
            done = build(request, options)
            if done.code != 0:
                raise self._failed(done, base=request.base_image)
            image = result.read_text(encoding="utf-8").strip()
        return self.inspect(image) if not request.push else ImageFacts(image, 0, ())

    def _options(self, request: ImageRequest) -> list[str]:
        options = [option for tag in request.tags for option in ("--tag", tag)]
        for key, value in sorted(request.build_arguments.items()):
            options += ["--build-arg", key if value is None else f"{key}={value}"]
        for key, value in sorted(request.labels.items()):
            options += ["--label", f"{key}={value}"]
        options += ["--platform", ",".join(request.platforms)] if request.platforms else []
        options += ["--no-cache"] if request.no_cache else []
        if request.pull:
            options.append("--pull=always" if self.is_podman else "--pull")
        # Only Docker's own format holds a health check, and only podman has to be told.
        options += ["--format", "docker", "--layers"] if self.is_podman else []
        return [*options, "--force-rm"] if not self.has_buildkit else [*options, "--progress", "plain"]

    def _failed(self, done: Done, *, base: str) -> ContainerError:
        lines = done.output.splitlines()
        return ContainerError(explain_build(lines, engine=self.name, command=self._shown, base=base))

    def _with_mounts(self, request: ImageRequest, options: Sequence[str], *, folder: Path) -> Done:
        secrets = {secret.id: secret for secret in (*request.lent, *request.secrets)}
        recipe = BundleLayout(folder).dockerfile
        text = BundleLayout(request.directory).dockerfile.read_text(encoding="utf-8")
        recipe.write_text(with_mounts(text, secrets=list(secrets)), encoding="utf-8")
        given = [word for secret in secrets.values() for word in ("--secret", secret.option)]
        build = ["buildx", "build", "--push"] if request.push else ["build"]
        return self._follow([*build, *options, *given, "--file", str(recipe), str(request.directory)])

    def _sent(self, request: ImageRequest, options: Sequence[str]) -> Done:
        """Build where nothing can be mounted: the context is sent, with what is lent in it."""
        context = lent_context(request, self.environ)
        arguments = [word for name in context.arguments for word in ("--build-arg", name)]
        with open_context(request.directory, context.files) as stream:
            return self._follow(["build", *options, *arguments, "--file", RECIPE, "-"], stdin=stream)

    def _follow(self, words: Sequence[str], **options: Any) -> Done:
        environ = {**self.environ, "DOCKER_BUILDKIT": "1" if self.has_buildkit else "0"}
        command = [self.command, *words]
        return follow(command, environ=environ, told=tell_step, runs_containers=self.is_podman, **options)

    # -- what is built

    def inspect(self, image: str) -> ImageFacts:
        done = call([self.command, "image", "inspect", image], environ=self.environ)
        facts = _object(done.output)
        if done.code != 0 or "Id" not in facts:
            raise ContainerError(f"{self.name} has no image `{image}`: {done.error.strip() or 'it says nothing'}")
        return ImageFacts(
            id=f"sha256:{facts['Id'].removeprefix('sha256:')}",
            size_bytes=int(facts.get("Size", 0)),
            digests=tuple(facts.get("RepoDigests") or ()),
        )

    def push(self, image: str) -> str:
        with tempfile.TemporaryDirectory(prefix="kappa-push-") as folder:
            result = Path(folder, "digest")
            words = ["push", *(["--digestfile", str(result)] if self.is_podman else []), image]
            done = self._follow(words)
            if done.code != 0:
                raise ContainerError(explain_push(done.output, engine=self.name, command=self._shown, image=image))
            if result.exists():
                return result.read_text(encoding="utf-8").strip()
        found = _DIGEST.findall(done.output)
        return str(found[-1]) if found else ""

    def pin(self, image: str) -> str:
        log(f"Pulling {image}", kind="step")
        done = self._follow(["pull", image])
        if done.code != 0:
            raise ContainerError(explain_pull(done.output, engine=self.name, command=self._shown, image=image))
        return pinned(image, self.inspect(image))

    # -- running

    @contextmanager
    def run(self, image: str, *, variables: Mapping[str, str]) -> Iterator[CommandContainer]:
        given = [word for name in variables for word in ("--env", name)]
        words = [self.command, "run", "--detach", *given, "--publish", "127.0.0.1::5000", image]
        done = call(words, environ={**self.environ, **variables})
        if done.code != 0:
            raise ContainerError(f"`{image}` does not start: {done.error.strip()}")
        container = CommandContainer(self, done.output.strip().splitlines()[-1])
        try:
            yield container
        finally:
            call([self.command, "rm", "--force", "--volumes", container.id], environ=self.environ)

    @property
    def _shown(self) -> str:
        return "podman" if self.is_podman else "docker"


@dataclass(frozen=True, slots=True)
class CommandContainer:
    """A container that an engine's command started."""

    engine: CommandEngine
    id: str

    @property
    def url(self) -> str:
        done = self._call("port", self.id, "5000/tcp")
        port = done.output.strip().rpartition(":")[2]
        return f"http://127.0.0.1:{port}" if port else ""

    def has_ended(self) -> bool:
        return self._call("inspect", "--format", "{{.State.Running}}", self.id).output.strip() != "true"

    def logs(self) -> str:
        done = self._call("logs", self.id)
        return f"{done.output}{done.error}"

    def _call(self, *words: str) -> Done:
        return call([self.engine.command, *words], environ=self.engine.environ)


def _object(text: str) -> dict[str, Any]:
    """Read one JSON object, or the first of a list; an empty one for anything else."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, dict) else {}
