"""Serving a bundle or a project, reloading a server, and tuning one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from kappa import build, server
from kappa.actions.targets import BundleTarget, ProjectTarget, Target, find_bundle, verified_bundle
from kappa.errors import ConfigurationError, InferenceFailedError, KappaError, UsageError
from kappa.log import log
from kappa.services.inference import example_payload
from kappa.settings import ServerSettings, read_settings
from kappa.spec.service import ExampleSpec, ServiceSpec

__all__ = [
    "project_files",
    "reload_server",
    "serve_bundle",
    "serve_project",
    "served_project",
    "served_target",
    "server_settings",
    "tune_bundle",
    "tuning_charts",
]

_RELOAD_POLL_S = 0.05
_USUAL_TARGET_MS = 100.0


def server_settings(environ: Mapping[str, str] = os.environ) -> ServerSettings:
    """Return the defaults that the environment and `config.yml` set for servers."""
    return read_settings(environ).server


def served_target(target: Target) -> server.Served:
    """Describe a bundle or a project to a server, which loads it in each of its processes."""
    return server.Served.of(target.source())


def served_project(path: str) -> server.Served:
    """Describe a project as it is now; what the development server calls in each of its processes."""
    return served_target(ProjectTarget(Path(path)))


def serve_bundle(
    target: BundleTarget,
    options: server.ServerOptions,
    *,
    program: Literal["gunicorn", "uvicorn"] = "gunicorn",
    environ: MutableMapping[str, str] = os.environ,
) -> None:
    """Verify a bundle and serve it until asked to stop, and after a reload what the same text names then.

    Raises `KappaError` when it cannot be started.
    """

    def verified(resolved: BundleTarget) -> list[server.Served]:
        return [served_target(verified_bundle(resolved, environ=environ))]

    def find() -> list[server.Served]:
        return verified(find_bundle(str(target), environ=environ))

    serve = server.serve_gunicorn if program == "gunicorn" else server.serve_uvicorn
    serve(verified(target), options, find=find, environ=environ)


def reload_server(port: int | None, *, timeout_s: float) -> tuple[str, ...]:
    """Have a server on this machine serve the newest version of what it serves, and return it as `Name:version`.

    Raises `UsageError` if it is not clear which server is meant, `InferenceFailedError` if it stays with the old one.
    """
    servers = [running for running in server.running_servers() if port in (None, running[1].port)]
    if len(servers) != 1:
        where = "" if port is None else f" on port {port}"
        if not servers:
            raise UsageError(f"No server that could reload was found{where}: `kappa serve-gunicorn` starts one.")
        listed = "; ".join(f"{', '.join(running.services)} on port {running.port}" for _, running in servers)
        raise UsageError(f"Several servers run here: {listed}. Say which one with `--port`.")
    folder, before = servers[0]
    os.kill(before.pid, signal.SIGHUP)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        time.sleep(_RELOAD_POLL_S)
        try:
            now = server.read_announcement(folder)
        except OSError:
            raise InferenceFailedError("The server ended before it had reloaded.") from None
        if now.state == "failed" and now.reloads > before.reloads:
            raise InferenceFailedError(f"The server stays with {', '.join(now.services)}: {now.message}")
        if now.state == "done" and now.reloads > before.reloads:
            return now.services
    raise InferenceFailedError(
        f"The server has not reloaded within {timeout_s:g} seconds; its log says how it goes on."
    )


def tune_bundle(target: str, api_name: str | None, *, target_ms: float | None, seconds: float) -> server.Tuning:
    """Measure an API of a bundle with its first example, simulate it, and recommend settings.

    Raises `UsageError` if it is not clear which API, `ConfigurationError` without an example for it.
    """
    bundle = find_bundle(target).bundle
    service = bundle.manifest.service
    example = _example_to_tune_with(service, api_name)
    api = service.api(example.api)
    return server.tune(
        str(bundle.directory),
        f"/{api.path}",
        example_payload(example, bundle.layout.examples),
        api=api.name,
        max_batch_size=api.max_batch_size if api.batch else 1,
        target_ms=target_ms or api.max_latency_ms or _USUAL_TARGET_MS,
        seconds=seconds,
        cores=server.read_allowance().cores,
        say=log,
    )


def _example_to_tune_with(service: ServiceSpec, api_name: str | None) -> ExampleSpec:
    if api_name is not None and api_name not in {api.name for api in service.apis}:
        names = ", ".join(f"`{api.name}`" for api in service.apis)
        raise UsageError(f"`{service.name}` has no API `{api_name}`. It has {names}.")
    examples = {example.api: example for example in reversed(service.examples) if api_name in (None, example.api)}
    if not examples:
        owner = f"the API `{api_name}`" if api_name else f"`{service.name}`"
        raise ConfigurationError(
            f"There is no example for {owner} to measure with: add `[[examples]]` to the kappafile and build it again."
        )
    if len(examples) > 1:
        names = ", ".join(f"`{name}`" for name in sorted(examples))
        raise UsageError(f"`{service.name}` has examples for {names}: say with `--api` which one to tune.")
    return next(iter(examples.values()))


def tuning_charts(tuning: server.Tuning) -> str:
    """Draw a tuning as SVG."""
    return server.charts_of(tuning)


def serve_project(target: ProjectTarget, options: server.ServerOptions) -> None:
    """Serve a project without building it until interrupted, starting anew after each edit."""
    path = target.path.resolve()
    loader = server.Loader("kappa.actions.serving:served_project", str(path))
    server.serve_dev(loader, options, watched=lambda: project_files(path))


def project_files(path: Path) -> list[Path]:
    """Return the files that a project is made of, as far as its kappafile and its imports tell without running them."""
    project = ProjectTarget(path).project
    files = [project.file] if project.file is not None else []
    with suppress(KappaError):  # code with a mistake in it is still watched as far as it is known
        files += build.collect_code(project).files.values()
    for source in (source.path for source in project.sources.values() if source.path is not None):
        files += source.rglob("*") if source.is_dir() else [source]
    return [*files, *build.watched_files(project)]
