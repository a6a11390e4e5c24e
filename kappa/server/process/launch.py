"""Starts the processes of a server and ends with an error of Kappa's own when they cannot start.

The parent reads no model and imports no user code: the workers do, after the fork. They report to the parent through a
pipe that they are ready or why they cannot be, so that a service that cannot be loaded ends the server with its message
and exit code instead of being started again and again.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, MutableMapping, Sequence

from kappa.errors import KappaError, UsageError, optional_import
from kappa.server import http, process
from kappa.server.http.app import create_app
from kappa.server.http.swap import Application
from kappa.server.machine import set_thread_counts, share_lock
from kappa.server.metrics import Metrics, share_between_workers
from kappa.server.options import ServerOptions
from kappa.server.ports import listen_on, reserve, url_of
from kappa.server.process.allowance import Allowance, WorkerCount, read_allowance, workers_for
from kappa.server.process.parents import Master, Operator
from kappa.server.process.report import FirstStart, Report
from kappa.server.process.rollout import Rollout, SoloRollout
from kappa.server.process.running import ServerFolder
from kappa.server.served import Served
from kappa.spec.service import ArtifactMethod

__all__ = ["serve_gunicorn", "serve_uvicorn"]

_logger = logging.getLogger("kappa.server")


def serve_gunicorn(
    services: Sequence[Served],
    options: ServerOptions,
    *,
    find: Callable[[], Sequence[Served]] | None = None,
    environ: MutableMapping[str, str] = os.environ,
    listener: socket.socket | None = None,
) -> None:
    """Serve until asked to stop (SIGTERM, SIGINT); raises `KappaError` when the services cannot be started.

    ``find`` returns the bundles to serve from now on, verified; it is called for each reload (SIGHUP). One worker may
    get the ``listener`` of its caller. Workers leave through this function too, with `SystemExit`.
    """
    with options.logging():
        allowance = read_allowance()
        chosen = _workers(services, options, allowance)
        workers, cores = chosen.count, allowance.cores
        set_thread_counts(environ, workers=workers, cores=cores)
        report, first_start = Report(), FirstStart(workers)
        folder = ServerFolder()
        try:
            listeners = _listen(options, reserve if workers > 1 else listen_on, listener)
            management_port = _management_port(listeners)
            _logger.info(
                "%s", _start_line(services, options, urls=list(map(url_of, listeners)), workers=chosen, cores=cores)
            )
            rollout = Rollout(services, folder, report, port=listeners[0].getsockname()[1], find=find)
            shared = None
            if workers > 1:
                (shared := folder.path / "metrics").mkdir()
            process.run_arbiter(
                lambda: _worker_app(
                    rollout.services,
                    options,
                    folder,
                    report=report,
                    first_start=first_start,
                    management_port=management_port,
                    workers=workers,
                    cores=cores,
                ),
                listeners,
                options,
                workers=workers,
                report=report,
                first_start=first_start,
                writable=folder.path,
                shared=shared,
                rollout=rollout,
                management_port=management_port,
            )
        finally:
            folder.remove()


def _worker_app(
    services: Sequence[Served],
    options: ServerOptions,
    folder: ServerFolder,
    *,
    report: Report,
    first_start: FirstStart,
    management_port: int | None,
    workers: int,
    cores: int,
) -> Application:
    """Build the application of this worker."""
    share_lock()
    shared = folder.path / "metrics" if workers > 1 else None
    if shared is not None:
        share_between_workers(shared)

    return create_app(
        services,
        batching=options.batching,
        metrics=Metrics(shared_directory=shared),
        parent=Master(report, first_start, folder),
        management_port=management_port,
        processors=max(1, cores // workers),
        workers=workers,
        examples_of=options.examples_of,
        cors_origins=options.cors_origins,
        is_development=options.is_development,
        has_access_log=options.access_log,
        tells_requests=options.log_format == "json",
    )


def _workers(services: Sequence[Served], options: ServerOptions, allowance: Allowance) -> WorkerCount:
    """Return how many workers to start, and why if that was left to the machine."""
    if options.workers != "auto":
        return WorkerCount(options.workers, "")
    model_bytes = sum(
        artifact.size_bytes for served in services if served.manifest for artifact in served.manifest.artifacts
    )
    return workers_for(allowance, model_bytes=model_bytes)


def _listen(
    options: ServerOptions, take: Callable[[str, int], socket.socket], listener: socket.socket | None = None
) -> list[socket.socket]:
    """Return what the service listens on and, if there is one, the management port."""
    if options.management_port is not None and options.management_port == options.port != 0:
        raise UsageError(f"The service itself is at port {options.port}: choose another for `--management-port`.")
    listeners = [listener or take(options.host, options.port)]
    if options.management_port is not None:
        try:
            listeners.append(take(options.host, options.management_port))
        except KappaError as exc:
            listeners[0].close()
            raise type(exc)(str(exc).replace("`--port", "`--management-port")) from None
    return listeners


def _management_port(listeners: Sequence[socket.socket]) -> int | None:
    return int(listeners[1].getsockname()[1]) if len(listeners) > 1 else None


def _start_line(
    services: Sequence[Served],
    options: ServerOptions,
    *,
    urls: Sequence[str],
    workers: WorkerCount,
    cores: int,
) -> str:
    url, *management = urls
    names = ", ".join(f"{served.spec.name}:{served.version}" for served in services)
    count = "1 worker" if workers.count == 1 else f"{workers.count} workers"
    why = f" ({workers.reason})" if workers.reason else ""
    batching = "on" if options.batching.is_enabled else "off"
    has_more = workers.count < cores and not workers.reason
    more = f" {cores} processors are available: `--workers {cores}` uses them all." if has_more else ""
    operations = "".join(f" Metrics are at {url}/metrics." for url in management)
    alone = _one_at_a_time(services) if options.batching.is_enabled else ""
    return f"Serving {names} at {url} with {count}{why}, batching {batching}.{operations}{more}{alone}"


def _one_at_a_time(services: Sequence[Served]) -> str:
    """Say which APIs answer each request by itself and could be batched."""
    apis = [
        f"`{served.spec.name}.{api.name}`" if len(services) > 1 else f"`{api.name}`"
        for served in services
        for api in served.spec.apis
        if not api.batch and api.input.supports_batch and not isinstance(api.target, ArtifactMethod)
    ]
    if not apis:
        return ""
    verb = "answers" if len(apis) == 1 else "answer"
    return f" {', '.join(apis)} {verb} one request at a time; with `batch = true`, requests share calls."


def serve_uvicorn(
    services: Sequence[Served],
    options: ServerOptions,
    *,
    find: Callable[[], Sequence[Served]] | None = None,
    environ: MutableMapping[str, str] = os.environ,
    listener: socket.socket | None = None,
) -> None:
    """Serve from this process with uvicorn, the only server on Windows; raises as `serve_gunicorn` does."""
    with options.logging():
        with optional_import("uvicorn", needed_for="the server `uvicorn`"):
            uvicorn_server = http.KappaUvicorn
        if options.workers not in (1, "auto"):
            raise UsageError("uvicorn serves from one process; use gunicorn for `--workers`.")
        cores = read_allowance().cores
        set_thread_counts(environ, workers=1, cores=cores)
        listeners = _listen(options, listen_on, listener)
        management_port = _management_port(listeners)
        _logger.info(
            "%s", _start_line(services, options, urls=list(map(url_of, listeners)), workers=WorkerCount(1, ""), cores=1)
        )
        folder = ServerFolder()
        rollout = SoloRollout(services, folder, port=listeners[0].getsockname()[1], find=find)
        operator = Operator(rollout)
        app = create_app(
            services,
            batching=options.batching,
            parent=operator,
            management_port=management_port,
            processors=cores,
            examples_of=options.examples_of,
            cors_origins=options.cors_origins,
            is_development=options.is_development,
            has_access_log=options.access_log,
            tells_requests=options.log_format == "json",
        )
        server = operator.server = uvicorn_server(app, options, management_port=management_port)
        share_lock()
        try:
            server.run(sockets=listeners)
        finally:
            folder.remove()
        if operator.failure is not None:
            raise operator.failure
