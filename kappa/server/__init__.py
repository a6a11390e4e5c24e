"""The server, from below: batches (`batching`), the way of a request in no protocol's words (`endpoint`), HTTP at its
doors (`http`), and its processes (`process`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.server.options import ServerOptions as ServerOptions
    from kappa.server.ports import listen_on as listen_on
    from kappa.server.process.allowance import read_allowance as read_allowance
    from kappa.server.process.dev import Loader as Loader
    from kappa.server.process.dev import serve_dev as serve_dev
    from kappa.server.process.launch import serve_gunicorn as serve_gunicorn
    from kappa.server.process.launch import serve_uvicorn as serve_uvicorn
    from kappa.server.process.running import read_announcement as read_announcement
    from kappa.server.process.running import running_servers as running_servers
    from kappa.server.served import Served as Served
    from kappa.server.tuning.tune import Tuning as Tuning
    from kappa.server.tuning.tune import charts_of as charts_of
    from kappa.server.tuning.tune import tune as tune

_HOMES = {
    "Loader": "kappa.server.process.dev",
    "Served": "kappa.server.served",
    "ServerOptions": "kappa.server.options",
    "Tuning": "kappa.server.tuning.tune",
    "charts_of": "kappa.server.tuning.tune",
    "listen_on": "kappa.server.ports",
    "read_allowance": "kappa.server.process.allowance",
    "read_announcement": "kappa.server.process.running",
    "running_servers": "kappa.server.process.running",
    "serve_dev": "kappa.server.process.dev",
    "serve_gunicorn": "kappa.server.process.launch",
    "serve_uvicorn": "kappa.server.process.launch",
    "tune": "kappa.server.tuning.tune",
}

__all__ = [
    "Loader",
    "Served",
    "ServerOptions",
    "Tuning",
    "charts_of",
    "listen_on",
    "read_allowance",
    "read_announcement",
    "running_servers",
    "serve_dev",
    "serve_gunicorn",
    "serve_uvicorn",
    "tune",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
