"""From a bundle to an image, and to the files that run and check it elsewhere."""

from __future__ import annotations

import os
import platform as platform_module
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kappa import build
from kappa._version import __version__
from kappa.actions.examples import check_examples, examples_of, replay_examples
from kappa.actions.targets import BundleTarget, ProjectTarget, Target, find_bundle, verified_bundle
from kappa.containers.choosing import choose_engine
from kappa.containers.engine import Runner
from kappa.containers.facts import ImageFacts
from kappa.containers.request import ImageRequest, lent_proxies, lent_secrets
from kappa.errors import ContainerError, ExampleFailedError, UsageError
from kappa.images import BuilderName, Secret, check_image, default_image
from kappa.log import log
from kappa.rendering.deployables import ComposeContext, WorkflowContext
from kappa.rendering.templates import render
from kappa.secret_urls import password_in, secret_in
from kappa.spec.manifest import BundleManifest
from kappa.spec.platforms import PLATFORMS, running_python
from kappa.tag import Tag

__all__ = ["Containerized", "compose_file", "containerize", "github_workflow"]

_START_UP_S = 300.0
"""How long a container may load its models."""
_PLATFORM_NAMES = {name: system.name for name, system in PLATFORMS.items() if system.sys_platform == "linux"}
"""The platforms of images, and what locks call them."""


@dataclass(frozen=True, slots=True)
class Containerized:
    """An image of a bundle, and where it is."""

    manifest: BundleManifest
    builder: str
    tags: tuple[str, ...]
    image: ImageFacts
    pushed: Mapping[str, str]
    """The digest of each tag in its registry, for those that were pushed."""

    def to_tree(self) -> dict[str, Any]:
        return {
            "bundle": str(self.manifest.tag),
            "bundle_digest": self.manifest.bundle_digest,
            "builder": self.builder,
            "tags": list(self.tags),
            "image_id": self.image.id,
            "size_bytes": self.image.size_bytes,
            "pushed": [{"tag": tag, "digest": digest} for tag, digest in self.pushed.items()],
        }


def containerize(
    target: str,
    *,
    tags: Sequence[str] = (),
    push: bool = False,
    build_arguments: Mapping[str, str | None] | None = None,
    secrets: Sequence[Secret] = (),
    platforms: Sequence[str] = (),
    builder: BuilderName = "auto",
    no_cache: bool = False,
    pull: bool = False,
    allow_unlocked: bool = False,
    test: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Containerized:
    """Make an image of a bundle, under every one of ``tags`` or the bundle's own, and push it if asked to.

    With ``test`` the image is run, and the bundle's examples are replayed, before anything is pushed. Raises
    `UsageError` for what cannot be meant, `BundleError` for a bundle that is not what it says, `ExampleFailedError` for
    an image that answers otherwise, and `ContainerError`, after which nothing is left running.
    """
    resolved = verified_bundle(find_bundle(target, environ=environ), environ=environ)
    bundle, manifest = resolved.bundle, resolved.bundle.manifest
    try:
        names = tuple(dict.fromkeys(map(check_image, tags))) or (default_image(manifest.tag),)
    except ValueError as exc:
        raise UsageError(f"{exc}.") from None
    arguments = {**lent_proxies(environ), **(build_arguments or {})}
    for key, value in (build_arguments or {}).items():
        text = (environ.get(key, "") if value is None else value) if key not in lent_proxies(environ) else ""
        if (part := password_in(text) or secret_in(text)) not in (None, "a query"):
            raise UsageError(
                f"`--build-arg {key}` has {part} in its URL, which the history of the image would keep: set pip's own "
                "variables, e.g. `PIP_INDEX_URL`, which are lent to the build and kept nowhere, or use `--secret`."
            )
    if missing := [key for key, value in arguments.items() if value is None and key not in environ]:
        raise UsageError(f"`--build-arg {missing[0]}` takes the value of a variable that is not set.")
    if manifest.env.unlocked and not allow_unlocked:
        raise UsageError(
            f"The packages of `{manifest.tag}` have no hashes, so an image of it promises nothing: build it where an "
            "index can be asked, or allow it with `--allow-unlocked`."
        )
    platforms = _platforms(manifest, platforms)
    if test:
        _check_testable(manifest, platforms, environ)
    engine = choose_engine(builder, environ=environ)
    request = ImageRequest(
        directory=bundle.directory,
        base_image=manifest.env.docker_base_image,
        tags=names,
        build_arguments={**arguments, **({"KAPPA_ALLOW_UNLOCKED": "1"} if manifest.env.unlocked else {})},
        secrets=tuple(secrets),
        lent=lent_secrets(environ),
        labels={"kappa.bundle.digest": manifest.bundle_digest},
        platforms=tuple(platforms),
        no_cache=no_cache,
        pull=pull,
        push=push and len(platforms) > 1,
    )
    log(f"Building {names[0]} with {engine.builder.title}", kind="step")
    image = engine.builder.build(request)
    if test:
        _test_image(engine.runner, names[0], resolved, environ)
    pushed: dict[str, str] = {}
    for name in names if push and not request.push else ():
        log(f"Pushing {name}", kind="step")
        pushed[name] = engine.registry.push(name)
    return Containerized(manifest, engine.builder.title, names, image, pushed)


def _platforms(manifest: BundleManifest, requested: Sequence[str]) -> Sequence[str]:
    """Return the platforms to build for: those asked for if the packages are pinned for them, else one that is.

    Nothing is named where the packages are pinned for this machine's own.
    """
    locked = manifest.env.platforms
    for platform in requested:
        system = _PLATFORM_NAMES.get(platform)
        if system is None:
            raise UsageError(f"`--platform {platform}` is not one: write `{'` or `'.join(_PLATFORM_NAMES)}`.")
        if locked and system not in locked:
            raise UsageError(
                f"The packages of `{manifest.tag}` are pinned for {', '.join(locked)}, not for `{platform}`: name it "
                "in `platforms` of `[bundle]`, and build again."
            )
    if requested or not locked:
        return requested
    possible = [name for name, system in _PLATFORM_NAMES.items() if system in locked]
    if not possible:
        raise UsageError(
            f"The packages of `{manifest.tag}` are pinned for {', '.join(locked)}, and an image runs Linux: name "
            "`linux/amd64` in `platforms` of `[bundle]`, and build again."
        )
    is_native = any(_PLATFORM_NAMES[name].endswith(f"_{platform_module.machine().lower()}") for name in possible)
    return () if is_native else possible[:1]


def _check_testable(manifest: BundleManifest, platforms: Sequence[str], environ: Mapping[str, str]) -> None:
    check_examples(manifest.service)
    if missing := [name for name in manifest.service.env.secrets if name not in environ]:
        raise UsageError(
            f"`--test` runs the service, which needs {', '.join(f'`{name}`' for name in missing)}: set them."
        )
    if len(platforms) > 1:
        raise UsageError("`--test` runs one image: name one platform.")


def _test_image(runner: Runner, image: str, target: BundleTarget, environ: Mapping[str, str]) -> None:
    """Run an image and replay the examples of its bundle; raises `ContainerError` or `ExampleFailedError`."""
    log(f"Testing {image}", kind="step")
    variables = {name: environ[name] for name in target.spec.env.secrets if name in environ}
    variables["KAPPA_SERVER__EXAMPLES"] = "skip"  # a server that refused to start would not say what it answers
    with runner.run(image, variables=variables) as running:
        deadline = time.monotonic() + _START_UP_S
        while not _answers(f"{running.url}/readyz"):
            if running.has_ended() or time.monotonic() > deadline:
                last = "\n".join(f"  {line}" for line in running.logs().splitlines()[-12:])
                raise ContainerError(f"`{image}` does not become ready. It says:\n{last}")
            time.sleep(0.1)
        replays = list(replay_examples(running.url, examples_of(target)))
    failed = [f"`{replay.example.name}`: {problem}" for replay in replays for problem in replay.problems]
    if failed:
        problems = "\n".join(f"- {line}" for line in failed)
        raise ExampleFailedError(f"`{image}` does not answer as the examples expect, and was not pushed:\n{problems}")


def _answers(url: str) -> bool:
    """Return whether a server answers with 200; a container that just began has no port yet."""
    from urllib.request import urlopen

    with suppress(OSError, ValueError), urlopen(url, timeout=5) as response:  # noqa: S310 - the engine's own address
        return bool(response.status == 200)
    return False


def compose_file(target: Target) -> str:
    """Return a Compose file that runs the image of a bundle, or the newest one of a project."""
    spec = target.spec
    tag = Tag(spec.name, target.version if isinstance(target, BundleTarget) else "latest")
    return render(
        ComposeContext(
            name=spec.name,
            service=default_image(tag).partition(":")[0],
            kappa_version=__version__,
            image=default_image(tag),
            secrets=spec.env.secrets,
            has_gpu=spec.env.cuda is not None,
        )
    )


def github_workflow(target: ProjectTarget) -> str:
    """Return a workflow of GitHub's that validates, builds and tests a project, and makes its image."""
    project = target.project
    file = project.file if project.file is not None else target.path
    path = project.root / build.LOCK_NAME
    lock = build.read_lock(path)
    return render(
        WorkflowContext(
            name=project.spec.name,
            service=default_image(Tag(project.spec.name, "latest")).partition(":")[0],
            kappa_version=__version__,
            python_version=project.spec.env.python or (lock.python if lock is not None else running_python()),
            kappafile=_inside_repository(file.resolve()),
            lock=_inside_repository(path.resolve()) if path.is_file() else "",
            imports_code=_imports_code(project),
        )
    )


def _imports_code(project: build.Project) -> bool:
    """Return whether only importing the code of a project tells all of its declaration."""
    spec = project.spec
    plugins = [*spec.artifacts, *(plugin for api in spec.apis for plugin in (api.input, api.output))]
    if any(api.input.references() for api in spec.apis) or any(plugin.reference for plugin in plugins):
        return True
    return project.file is not None and build.check_kappafile(project.file)[0] is None


def _inside_repository(path: Path) -> str:
    """Return a path as the steps of a workflow name it: from the top of the repository, if it is in one."""
    top = next((folder for folder in path.parents if (folder / ".git").exists()), path.parent)
    return path.relative_to(top).as_posix()
