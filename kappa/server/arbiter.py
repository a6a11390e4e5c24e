"""gunicorn's master process, configured in code: no command line, no configuration file, no control socket."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.sock import TCP6Socket, TCPSocket

from kappa.errors import InferenceFailedError, KappaError
from kappa.server.access_log import PrintableLogger
from kappa.server.metrics import forget_worker
from kappa.server.options import ServerOptions
from kappa.server.ports import url_of
from kappa.server.report import Report
from kappa.server.rollout import Rollout
from kappa.server.swap import Application
from kappa.server.worker import KappaWorker

__all__ = ["GunicornApplication", "KappaArbiter", "gunicorn_settings", "run_alone", "run_arbiter"]


class GunicornApplication(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """What gunicorn asks about the application; ``make_app`` is called in each worker."""

    def __init__(
        self,
        make_app: Callable[[], Application],
        settings: Mapping[str, Any],
        *,
        drain_delay_s: float = 0.0,
        may_listen: asyncio.Event | None = None,
        management_port: int | None = None,
    ) -> None:
        self.drain_delay_s = drain_delay_s
        self.management_port = management_port
        self.may_listen = may_listen
        self._make_app = make_app
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Application:
        return self._make_app()


class KappaArbiter(Arbiter):  # type: ignore[misc] # gunicorn has no types
    """The master process.

    It ends when a worker cannot load the service, instead of starting the next one. A worker that says that it leaves
    is replaced at once. On SIGHUP the workers reload, one after the other, instead of being replaced.
    """

    def __init__(self, app: GunicornApplication, report: Report, rollout: Rollout | None = None) -> None:
        self._report = report
        self._rollout = rollout
        self._is_stopping = False
        super().__init__(app)

    def manage_workers(self) -> None:
        self._report.read()
        leaving = self._report.leaving & self.WORKERS.keys()
        self.num_workers = self.cfg.workers + len(leaving)
        super().manage_workers()
        if self._rollout is not None:
            self._rollout.look((self.WORKERS.keys() & self._report.ready.keys()) - leaving)

    def reload(self) -> None:
        """Bring a new version to the workers (SIGHUP)."""
        if self._rollout is not None:
            self._rollout.begin()

    def stop(self, graceful: bool = True) -> None:
        self._is_stopping = True
        super().stop(graceful)

    def halt(self, reason: str | None = None, exit_status: int = 0) -> None:  # noqa: ARG002 - the report has it
        """End, without the base's own words about it."""
        self.stop()
        sys.exit(exit_status)

    def worker_ended(self, pid: int) -> None:
        """End the server if the worker could not load the service."""
        if self._is_stopping:
            return
        self._report.read()
        if pid in self._report.leaving:
            return
        if self._report.failure is None and pid not in self._report.ready:
            self._report.failure = InferenceFailedError(
                "A worker process ended while it loaded the service. If the log above does not say why, it may have "
                "run out of memory."
            )
        if self._report.failure is not None:
            raise HaltServer(str(self._report.failure), self._report.failure.exit_code)


def gunicorn_settings(options: ServerOptions, *, writable: Path) -> dict[str, Any]:
    """Return gunicorn's settings that do not depend on how many workers there are."""
    return {
        "worker_class": KappaWorker,
        "worker_connections": options.max_connections,
        "worker_tmp_dir": str(writable),
        "timeout": max(1, round(options.timeout_s)),
        "graceful_timeout": max(2, round(options.drain_delay_s + options.graceful_timeout_s)),
        "keepalive": max(1, round(options.keep_alive_s)),
        "accesslog": "-" if options.access_log else None,
        "logger_class": PrintableLogger,
        "loglevel": "warning",
        "proc_name": "kappa",
        "asgi_loop": "uvloop",
        "asgi_lifespan": "on",
        "asgi_disconnect_grace_period": 0,
        "control_socket_disable": True,
    }


def run_arbiter(
    make_app: Callable[[], Application],
    listeners: Sequence[socket.socket],
    options: ServerOptions,
    *,
    workers: int,
    report: Report,
    writable: Path,
    shared: Path | None,
    rollout: Rollout | None = None,
    management_port: int | None = None,
) -> None:
    """Run master and workers until asked to stop; raises the `KappaError` that a worker reported.

    With one worker the master holds the listening sockets, so that connections wait while a dead worker is replaced.
    With more, each binds the ports itself (PERF: otherwise 4 to 16 keep-alive connections often sit on one of two).
    """

    def worker_ended(arbiter: KappaArbiter, worker: KappaWorker) -> None:
        if shared is not None:
            forget_worker(shared, worker.pid)
        arbiter.worker_ended(worker.pid)

    settings = {
        **gunicorn_settings(options, writable=writable),
        "workers": workers,
        "child_exit": worker_ended,
        "reuse_port": workers > 1,
        "bind": [
            url_of(listener).removeprefix("http://") if workers > 1 else f"fd://{listener.detach()}"
            for listener in listeners
        ],
    }
    app = GunicornApplication(make_app, settings, drain_delay_s=options.drain_delay_s, management_port=management_port)
    parent = os.getpid()
    try:
        KappaArbiter(app, report, rollout).run()
    except SystemExit as exc:
        if os.getpid() != parent:
            raise  # a worker that ends
        report.read()
        if report.failure is not None:
            raise report.failure from None
        if exc.code:
            raise KappaError(f"The server ended with exit code {exc.code}; the lines above say why.") from None


def run_alone(
    make_app: Callable[[], Application],
    listener: socket.socket,
    options: ServerOptions,
    *,
    writable: Path,
    may_listen: asyncio.Event,
    parent: int,
) -> None:
    """Run one worker in this process, without a master; it ends with the process ``parent`` and listens when it may."""
    settings = gunicorn_settings(options, writable=writable)
    app = GunicornApplication(make_app, settings, may_listen=may_listen)
    log = app.cfg.logger_class(app.cfg)
    kind = TCP6Socket if listener.family == socket.AF_INET6 else TCPSocket
    address = listener.getsockname()
    sockets = [kind(address, app.cfg, log, fd=listener.detach())]
    worker = KappaWorker(0, parent, sockets, app, app.cfg.timeout, app.cfg, log)
    worker.pid = os.getpid()
    worker.init_process()
