"""A server that lives as long as its parent: ``python -m kappa.server.process.attended FOLDER SOCKET``.

It serves the snapshot (`kappa.services.snapshot`) in the folder, at a listening socket that it is given by its number,
and ends when its standard input does: a notebook's kernel that is killed leaves no server behind.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path

from kappa.errors import KappaError
from kappa.server.options import ServerOptions
from kappa.server.process.launch import serve_gunicorn, serve_uvicorn
from kappa.server.served import Served
from kappa.services.source import ServiceSource

__all__ = ["main"]


def main() -> int:
    """Serve until asked to stop; return the exit code."""
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=_end_with_input, daemon=True).start()
    serve = serve_gunicorn if os.name == "posix" else serve_uvicorn
    try:
        service = Served.of(ServiceSource.of_snapshot(folder))
        serve([service], ServerOptions(is_development=True), listener=socket.socket(fileno=number))
    except KappaError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - this is a program
        return exc.exit_code
    return 0


def _end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
