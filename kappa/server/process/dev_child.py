"""The process that serves a project for `kappa.server.process.dev`, which runs it with ``python -m``.

It reads one order from its standard input, imports what it names, waits for the order to load, loads, and serves until
it is asked to stop or its parent is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from kappa.errors import KappaError, exception_text
from kappa.server.http.app import create_app
from kappa.server.http.swap import Application
from kappa.server.machine import share_lock, writable_directory
from kappa.server.options import BatchingOptions, ServerOptions
from kappa.server.parent import NoParent
from kappa.server.process.arbiter import run_alone
from kappa.server.process.dev import EXIT_STALE, Loader
from kappa.server.process.report import say_failed, say_ready
from kappa.server.served import Served

__all__ = ["main"]


def main() -> int:
    """Carry out the order on standard input and return the exit code."""
    if not (line := sys.stdin.readline()):
        return 0  # the parent is gone, or withdrew the order
    order = json.loads(line)
    options = ServerOptions(**{**order["options"], "batching": BatchingOptions(**order["options"]["batching"])})
    with options.logging():
        return _carry_out(order, options)


def _carry_out(order: Mapping[str, Any], options: ServerOptions) -> int:
    writer: int = order["report"]
    for name in order["modules"]:
        with suppress(Exception):  # a failed import fails again with the project, which reports it
            import_module(name)
    sys.dont_write_bytecode = True  # a .pyc tells edits within one second apart by nothing
    if sys.stdin.readline() != "load\n":
        return 0
    try:
        served = Loader(**order["loader"])()
        if order["modules"] and dict(served.spec.env.variables) != order["variables"]:
            return EXIT_STALE
    except KappaError as exc:
        say_failed(writer, exc)
        return exc.exit_code
    except Exception as exc:
        say_failed(writer, KappaError(f"The project cannot be loaded: {exception_text(exc)}."))
        raise
    listener = socket.socket(fileno=order["listener"])
    _serve(served, options, listener, writer, parent=order["parent"])
    return 0


class _Watcher(NoParent):
    """The process that watches the project's files, at the other end of the pipe ``writer``."""

    def __init__(self, writer: int, served: Served, may_listen: asyncio.Event) -> None:
        self._writer = writer
        self._served = served
        self._may_listen = may_listen

    def ready(self) -> None:
        variables = dict(self._served.spec.env.variables)
        say_ready(self._writer, modules=_installed_modules(), files=_project_files(), variables=variables)
        self._may_listen.set()  # not before: what a client has seen must not be given up as never ready

    def failed(self, error: KappaError) -> None:
        say_failed(self._writer, error)
        os._exit(error.exit_code)


def _serve(served: Served, options: ServerOptions, listener: socket.socket, writer: int, *, parent: int) -> None:
    may_listen = asyncio.Event()

    def make_app() -> Application:
        share_lock()
        return create_app(
            [served],
            batching=options.batching,
            parent=_Watcher(writer, served, may_listen),
            examples_of=options.examples_of,
            cors_origins=options.cors_origins,
            is_development=options.is_development,
            has_access_log=options.access_log,
            tells_requests=options.log_format == "json",
        )

    run_alone(make_app, listener, options, writable=writable_directory(), may_listen=may_listen, parent=parent)


def _installed_modules() -> list[str]:
    """Return the modules of installed distributions, in the order in which they were imported."""
    return [name for name, file in _modules_with_files() if _is_installed(file) and not name.startswith("kappa.")]


def _project_files() -> list[str]:
    """Return the files of modules that belong neither to Python nor to an installed distribution."""
    package = Path(__file__).parents[2]
    standard = Path(sysconfig.get_path("stdlib"))
    return [
        str(file)
        for name, file in _modules_with_files()
        if not (_is_installed(file) or file.is_relative_to(standard) or file.is_relative_to(package))
    ]


def _modules_with_files() -> list[tuple[str, Path]]:
    files: list[tuple[str, Any]] = [
        (name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items()) if name != "__main__"
    ]
    return [(name, Path(file)) for name, file in files if isinstance(file, str)]


def _is_installed(file: Path) -> bool:
    return any(part in ("site-packages", "dist-packages") for part in file.parts)


if __name__ == "__main__":
    sys.exit(main())
