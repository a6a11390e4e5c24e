"""gunicorn's master process, configured in code: no command line, no configuration file, no control socket."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger
from gunicorn.sock import TCP6Socket, TCPSocket

from kappa.errors import InferenceFailedError, KappaError
from kappa.log_format import LogFormat, formatter_of
from kappa.server.http.swap import Application
from kappa.server.http.worker import KappaWorker
from kappa.server.metrics import forget_worker
from kappa.server.options import ServerOptions
from kappa.server.process.report import FirstStart, Report
from kappa.server.process.rollout import Rollout
from kappa.server.process.succession import Succession

__all__ = ["GunicornApplication", "KappaArbiter", "Retries", "gunicorn_settings", "run_alone", "run_arbiter"]

_logger = logging.getLogger("kappa.server")
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_STANDS_STILL = (
    "Process %d stood still for %d seconds (`--timeout`) and is replaced: something keeps the GIL, or an `async def` "
    "does not await."
)


class GunicornApplication(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """The application as gunicorn expects it; ``make_app`` is called in each worker."""

    def __init__(
        self,
        make_app: Callable[[], Application],
        settings: Mapping[str, Any],
        *,
        drain_delay_s: float = 0.0,
        may_listen: asyncio.Event | None = None,
        management_port: int | None = None,
        reserved: Sequence[socket.socket] = (),
    ) -> None:
        self.drain_delay_s = drain_delay_s
        self.reserved = reserved
        """The sockets that reserve the ports that each worker binds when it begins to listen."""
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

    It ends when one of the first workers cannot load the service. Later nothing that happens to a worker ends it: one
    that cannot replace another is tried again, after a pause that grows. A worker that hangs is replaced, but may take
    its time to load. One that says that it leaves is replaced at once; one that asks to be replaced leaves when its
    successor is ready. On SIGHUP the workers reload, one after the other, instead of being replaced.
    """

    WORKER_BOOT_ERROR = APP_LOAD_ERROR = -1
    """No exit code: the base ends the server when a worker leaves with these, for whatever reason it did."""

    def __init__(self, app: GunicornApplication, report: Report, rollout: Rollout | None = None) -> None:
        self._report = report
        self._rollout = rollout
        self._retries = Retries()
        self._succession = Succession(app.cfg.workers)
        self._is_stopping = False
        super().__init__(app)

    def manage_workers(self) -> None:
        self._report.read()
        serving = (self.WORKERS.keys() & self._report.ready.keys()) - self._report.leaving
        if (leaver := self._succession.look(self._report.worn, serving)) is not None:
            self._report.leaving.add(leaver)
            self.kill_worker(leaver, signal.SIGTERM)
        leaving = self._report.leaving & self.WORKERS.keys()
        wanted = self.cfg.workers + len(leaving) + self._succession.is_awaited
        self.num_workers = min(wanted, len(self.WORKERS)) if self._retries.is_pausing else wanted
        try:
            super().manage_workers()
        except OSError as exc:  # of a fork
            self._try_again(f"no process can be started: {exc.strerror}")
        if self._rollout is not None:
            self._rollout.look((self.WORKERS.keys() & self._report.ready.keys()) - leaving)

    def murder_workers(self) -> None:
        """Replace workers that hang. One that loads may: libraries that read models often keep the GIL."""
        for pid, worker in list(self.WORKERS.items()):
            if pid not in self._report.ready or not self._stands_still(worker):
                continue
            if not worker.aborted:
                _logger.error(_STANDS_STILL, pid, self.timeout)
            self.kill_worker(pid, signal.SIGKILL if worker.aborted else signal.SIGABRT)
            worker.aborted = True

    def _stands_still(self, worker: KappaWorker) -> bool:
        try:
            return bool(monotonic() - worker.tmp.last_update() > self.timeout)
        except (OSError, ValueError):  # it has just ended
            return False

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

    def worker_ended(self, worker: KappaWorker) -> None:
        """End the server if one of the first workers could not load the service."""
        if self._is_stopping:
            return
        self._report.read()
        if worker.pid in self._report.leaving or worker.pid in self._report.ready:
            return
        failure = self._report.failure or InferenceFailedError(
            "A worker process ended while it loaded the service. If the log above does not say why, it may have run "
            "out of memory."
        )
        if worker.age <= self.cfg.workers:
            self._report.failure = failure
            raise HaltServer(str(failure), failure.exit_code)
        self._report.failure = None
        self._try_again(str(failure).rstrip("."))

    def _try_again(self, reason: str) -> None:
        pause_s = self._retries.failed(len(self._report.ready))
        text = "A worker could not be replaced: %s. The next attempt is made in %g seconds."
        _logger.error(text, reason, pause_s)


class Retries:
    """The pause before the next start after replacements have failed, one after the other."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._in_row = 0
        self._ready = 0
        self._until = 0.0

    def failed(self, ready: int) -> float:
        """Record a failure, and how many workers were ever ready; return the pause in seconds."""
        self._in_row = min(self._in_row + 1, 10) if ready == self._ready else 1
        self._ready = ready
        pause_s = min(_FIRST_PAUSE_S * 2.0 ** (self._in_row - 1), _LONGEST_PAUSE_S)
        self._until = self._clock() + pause_s
        return pause_s

    @property
    def is_pausing(self) -> bool:
        return self._clock() < self._until


def _logger_class(log_format: LogFormat) -> type[Logger]:
    """Return gunicorn's logger, its lines written as Kappa's."""

    class ServerLogger(Logger):  # type: ignore[misc] # gunicorn has no types
        def setup(self, cfg: Any) -> None:
            super().setup(cfg)
            for handler in self.error_log.handlers:
                handler.setFormatter(formatter_of(log_format))

    return ServerLogger


def gunicorn_settings(options: ServerOptions, *, writable: Path) -> dict[str, Any]:
    """Return gunicorn's settings that do not depend on how many workers there are."""
    return {
        "worker_class": KappaWorker,
        "worker_connections": options.max_connections,
        "worker_tmp_dir": str(writable),
        "timeout": max(1, round(options.timeout_s)),
        "graceful_timeout": max(2, round(options.drain_delay_s + options.graceful_timeout_s)),
        "keepalive": max(1, round(options.keep_alive_s)),
        "logger_class": _logger_class(options.log_format),
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
    first_start: FirstStart,
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
        arbiter.worker_ended(worker)

    is_shared = workers > 1
    settings = {
        **gunicorn_settings(options, writable=writable),
        "workers": workers,
        "post_fork": lambda _arbiter, worker: first_start.join(worker.age),
        "child_exit": worker_ended,
        "reuse_port": is_shared,
        "bind": [] if is_shared else [f"fd://{listener.detach()}" for listener in listeners],
    }
    app = GunicornApplication(
        make_app,
        settings,
        drain_delay_s=options.drain_delay_s,
        management_port=management_port,
        reserved=listeners if is_shared else (),
    )
    parent = os.getpid()
    try:
        KappaArbiter(app, report, rollout).run()
    except SystemExit as exc:
        if os.getpid() != parent:
            raise  # a worker that ends
        if exc.code and report.failure is not None:
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
