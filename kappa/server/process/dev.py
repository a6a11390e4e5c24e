"""Serves a project while it is edited: a supervisor that starts the server anew after each edit.

The supervisor holds the listening socket and never runs the user's code. After an edit a *coming* child loads the new
state while the *current* one goes on answering; when it can answer, the current one is asked to stop, and when it
cannot, the error is shown and everything stays as it was until the next edit. While there is no current child, the
supervisor itself answers clients with the reason.

A Python process needs seconds to import pandas and scikit-learn. So a *spare* child waits, in which everything that the
current one imported of other distributions is imported already; an edit costs only what the project itself takes to
load. It is a fresh process and no fork, because libraries with threads of their own do not survive a fork.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from kappa.errors import KappaError
from kappa.plugins import load_dotted
from kappa.server.http.stand_in import answer_instead, is_asked
from kappa.server.machine import set_thread_counts
from kappa.server.options import ServerOptions
from kappa.server.ports import bind_to, url_of
from kappa.server.process.allowance import read_allowance
from kappa.server.process.launch import serve_uvicorn
from kappa.server.process.report import Report
from kappa.server.served import Served

__all__ = ["Loader", "serve_dev"]

_logger = logging.getLogger("kappa.server")

_POLL_S = 0.1
_MOST_LOOKS = 20
_STOP_S = 5.0
_LOADING = "The project is being loaded; try again."

Stamps = dict[Path, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Loader:
    """The service to load, in a form that another process understands: ``module:function``, called with one text."""

    target: str
    argument: str

    def __call__(self) -> Served:
        served: Served = load_dotted(self.target)(self.argument)
        return served


def serve_dev(
    loader: Loader,
    options: ServerOptions,
    *,
    watched: Callable[[], Iterable[Path]],
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Serve until interrupted, starting anew within a second of an edit to one of the ``watched`` files.

    ``watched`` is called again after each edit; the files that the service imported from outside of installed
    distributions are watched too. Raises `KappaError` only when the first call of ``watched`` does, or for a port in
    use. An example that fails is a warning, unless the operator wants a gate. On Windows, which cannot share a socket
    this way, the project is served as it is and edits are not seen.
    """
    options = replace(options, is_development=True)
    if os.name != "posix":
        _logger.warning("Edits are not noticed on this system: stop and start again after a change.")
        serve_uvicorn([loader()], options)
        return
    with options.logging():
        _Supervisor(loader, options, watched, dict(environ)).run()


class _Child:
    """One server process, which waits for the order to load."""

    def __init__(
        self,
        loader: Loader,
        options: ServerOptions,
        listener: socket.socket,
        environ: Mapping[str, str],
        *,
        modules: Iterable[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.report = Report()
        self.began, self.began_at_ns = 0.0, 0
        writer = self.report.detach_writer()
        order = {
            "loader": asdict(loader),
            "options": asdict(options),
            "listener": listener.fileno(),
            "report": writer,
            "parent": os.getpid(),
            "modules": list(modules),
            "variables": dict(variables or {}),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kappa.server.process.dev_child"],
            stdin=subprocess.PIPE,
            env={**(variables or {}), **environ},
            pass_fds=(listener.fileno(), writer),
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops its children in order
        )
        os.close(writer)
        self._tell(json.dumps(order))

    def load(self) -> None:
        """Begin to load and serve."""
        self.began, self.began_at_ns = time.monotonic(), time.time_ns()
        self._tell("load")

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenPipeError):  # it is dead; `poll` will say so
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    @property
    def announcement(self) -> dict[str, Any] | None:
        """Its report when it became ready; ``None`` before."""
        self.report.read()
        report: dict[str, Any] | None = self.report.ready.get(self.process.pid)
        return report

    @property
    def failure(self) -> KappaError | None:
        """Why it cannot serve, if it cannot."""
        ended = self.process.poll()
        self.report.read()
        if self.report.failure is None and ended is not None:
            return KappaError(f"The server process ended with {_exit_of(ended)}.")
        return self.report.failure

    def stop(self) -> None:
        """Ask it to end once it has answered what it accepted."""
        if self.process.poll() is None:
            self.process.terminate()

    def end(self, *, patience_s: float) -> None:
        """Wait for its end, and kill it when that takes too long."""
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        self.report.close()


def _exit_of(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


class _StopRequested(BaseException):
    """SIGTERM or SIGHUP arrived."""


def _request_stop(_signal: int, _frame: FrameType | None) -> None:
    raise _StopRequested


class _Supervisor:
    def __init__(
        self,
        loader: Loader,
        options: ServerOptions,
        watched: Callable[[], Iterable[Path]],
        environ: dict[str, str],
    ) -> None:
        set_thread_counts(environ, workers=1, cores=read_allowance().cores)
        self._loader = loader
        self._options = options
        self._environ = environ
        self._list_watched = watched
        self._watched = set(watched())
        self._stamps: Stamps = {}
        self._listener = bind_to(options.host, options.port)
        self._current: _Child | None = None
        self._coming: _Child | None = None
        self._spare: _Child | None = None
        self._leaving: list[_Child] = []
        self._absence = _LOADING
        """The error to answer with while nothing is served."""
        self._imports: dict[str, Any] = {}
        """The imports and environment variables of the last good state."""

    def run(self) -> None:
        """Serve until SIGINT, SIGTERM or SIGHUP."""
        before = {number: signal.signal(number, _request_stop) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            with suppress(KeyboardInterrupt, _StopRequested):
                self._listener.listen()
                _logger.info(
                    "Serving %s at %s until Ctrl-C; edits are noticed.",
                    f"`{self._loader.argument}`",
                    url_of(self._listener),
                )
                self._stamps = _stamps(self._watched)
                self._load()
                while True:
                    self._look()
                    self._pause()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._end()

    def _pause(self) -> None:
        """Wait a moment; answer clients with the error while nothing is served."""
        if self._current is not None:
            time.sleep(_POLL_S)
        elif is_asked(self._listener, within_s=_POLL_S) and not self._is_coming_ready():
            answer_instead(self._listener, self._absence)

    def _is_coming_ready(self) -> bool:
        return self._coming is not None and self._coming.announcement is not None

    def _look(self) -> None:
        """Handle the events since the last call."""
        if changed := self._changes():
            _logger.info("%s changed.", ", ".join(f"`{path.name}`" for path in changed))
            self._load()
        if self._coming is not None:
            self._look_at_coming(self._coming)
        if self._current is not None and (failure := self._current.failure) is not None:
            self._absence = f"{failure} It is started again with the next edit."
            _logger.error("%s", self._absence)
            self._leaving.append(self._current)
            self._current = None
        for child in [child for child in self._leaving if child.process.poll() is not None]:
            child.end(patience_s=0)
            self._leaving.remove(child)

    def _changes(self) -> list[Path]:
        """Return the watched files that changed, once they have stopped changing."""
        now = _stamps(self._watched)
        changed = sorted(path for path in self._watched if now.get(path) != self._stamps.get(path))
        if not changed:
            return []
        for _ in range(_MOST_LOOKS):  # editors and version control write one file after the other
            time.sleep(_POLL_S / 2)
            before, now = now, _stamps(self._watched)
            if now == before:
                break
        with suppress(KappaError):  # the child meets the same error and reports it
            self._watched |= set(self._list_watched())
        self._stamps = _stamps(self._watched)
        return changed

    def _load(self) -> None:
        """Load the present state in a child, the spare one if it is there."""
        if self._is_coming_ready():
            self._promote()
        if self._coming is not None:
            self._dismiss(self._coming)
        spare, self._spare = self._spare, None
        if spare is not None and spare.process.poll() is not None:
            self._leaving.append(spare)
            spare = None
        self._coming = spare or self._new_child()
        self._coming.load()
        self._absence = _LOADING

    def _promote(self) -> None:
        """Make the coming child, which can answer, the current one."""
        child, self._coming = self._coming, None
        assert child is not None  # noqa: S101 - it is ready
        announcement = child.announcement
        assert announcement is not None  # noqa: S101
        _logger.info("Ready after %.2f s.", time.monotonic() - child.began)
        if self._current is not None:
            self._dismiss(self._current)
        self._current = child
        self._watch_also((Path(file) for file in announcement["files"]), loaded_since_ns=child.began_at_ns)
        self._imports = {"modules": announcement["modules"], "variables": announcement["variables"]}

    def _look_at_coming(self, child: _Child) -> None:
        if child.announcement is not None:
            self._promote()
            self._spare = self._new_child(**self._imports)
        elif (failure := child.failure) is not None:
            self._coming = None
            self._leaving.append(child)
            if child.process.poll() == EXIT_STALE:
                self._load()
                return
            after = "The last good state is still served." if self._current is not None else "Nothing is served."
            self._absence = f"{failure}\n{after} Waiting for the next edit."
            _logger.error("%s", self._absence)
            if self._imports:
                self._spare = self._new_child(**self._imports)

    def _watch_also(self, files: Iterable[Path], *, loaded_since_ns: int) -> None:
        """Watch further files from now on; one that was written after the load began counts as edited."""
        new = set(files) - self._watched
        self._watched |= new
        self._stamps.update({path: stamp for path, stamp in _stamps(new).items() if stamp[0] < loaded_since_ns})

    def _new_child(self, **imports: Any) -> _Child:
        return _Child(self._loader, self._options, self._listener, self._environ, **imports)

    def _dismiss(self, child: _Child) -> None:
        child.stop()
        self._leaving.append(child)

    def _end(self) -> None:
        children = [child for child in (self._current, self._coming, self._spare) if child is not None]
        for child in children:
            child.stop()
        for child in [*children, *self._leaving]:
            child.end(patience_s=_STOP_S)
        self._listener.close()


EXIT_STALE = 75
"""The exit code of a spare child whose imports were made under other variables than the service now declares."""


def _stamps(files: Iterable[Path]) -> Stamps:
    """Return when each file was last written, and its size; absent files are left out."""
    stamps: Stamps = {}
    for path in files:
        with suppress(OSError):
            status = path.stat()
            stamps[path] = (status.st_mtime_ns, status.st_size)
    return stamps
