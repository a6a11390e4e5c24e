"""A server in a process of its own, for tests: serves the functions of a `handlers.py`, each as an API.

python server_process.py FOLDER '{"batch": ["double"], "options": {"port": 0}}'
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from kappa.errors import KappaError
from kappa.server import decoding
from kappa.server.http import bounds
from kappa.server.options import BatchingOptions, ServerOptions
from kappa.server.process.dev import Loader, serve_dev
from kappa.server.process.launch import serve_gunicorn, serve_uvicorn
from kappa.server.served import Served
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec


def described(folder: Path, wanted: dict[str, Any]) -> Served:
    batched, single = wanted.get("batch", []), wanted.get("single", [])
    spec = ServiceSpec(
        name="Numbers",
        apis=tuple(
            ApiSpec(
                name=name,
                target=FunctionTarget(function=f"handlers:{name}"),
                batch=name in batched,
                **{"input": "json", **wanted.get("api", {}).get(name, {})},
            )
            for name in [*batched, *single]
        ),
        **wanted.get("spec", {}),
    )
    return Served(spec, "1", partial(load_service, ServiceSource.of_project(spec, {}, root=folder)))


def described_by(text: str) -> Served:
    """Describe what ``{"folder": …}`` and the rest of a JSON text say; the target of a `Loader`."""
    wanted = json.loads(text)
    return described(Path(wanted["folder"]), wanted)


def edited(folder: str, wanted: dict[str, Any]) -> None:
    """Serve a project that is edited meanwhile."""
    loader = Loader("server_process:described_by", json.dumps({"folder": folder, **wanted}))
    options = ServerOptions(host="127.0.0.1", port=0)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    serve_dev(loader, options, watched=lambda: [Path(folder, "handlers.py")], environ=environ)


def main(folder: str, text: str) -> int:
    wanted = json.loads(text)
    if wanted.pop("edited", False):
        edited(folder, wanted)
        return 0
    for name, seconds in wanted.get("bounds", {}).items():  # the servers' own modules are imported after this
        (module,) = (module for module in (bounds, decoding) if hasattr(module, name))
        setattr(module, name, seconds)
    options = ServerOptions(host="127.0.0.1", batching=BatchingOptions(), **{"port": 0, **wanted.get("options", {})})
    serve = serve_uvicorn if wanted.get("server") == "uvicorn" else serve_gunicorn
    try:
        serve([described(Path(folder), wanted)], options)
    except KappaError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
