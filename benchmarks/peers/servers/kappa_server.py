"""Kappa: models without code where they are files, functions where they are not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import models

from kappa.build.project import read_project
from kappa.server.options import BatchingOptions, ServerOptions
from kappa.server.process.launch import serve_gunicorn
from kappa.server.served import Served
from kappa.services.source import ServiceSource

TABLE = """
kappafile = 1
[service]
name = "Peer"
[artifacts.model]
type = "sklearn"
path = "model.joblib"
[apis.predict]
artifact = "model"
batch = true
input = "dataframe"
"""
FUNCTION = """
kappafile = 1
[service]
name = "Peer"
setup = "handlers:setup"
[apis.predict]
function = "handlers:predict"
batch = true
input = "{adapter}"
"""
HANDLERS = """
import os, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import models

def setup():
    return {{"model": models.load({name!r}, Path({folder!r}))}}

def predict(values, model):
    return model({values})
"""


def main(name: str, port: str, folder: str, workers: str) -> None:
    project = Path(folder) / f"kappa-{name}"
    project.mkdir(exist_ok=True)
    if name in ("iris", "forest"):
        (project / "model.joblib").write_bytes((Path(folder) / f"{name}.joblib").read_bytes())
        (project / "kappafile.toml").write_text(TABLE, encoding="utf-8")
    else:
        adapter, values = ("file", "[value.read() for value in values]") if name == "cnn" else ("json", "values")
        code = HANDLERS.format(here=str(Path(models.__file__).parent), name=name, folder=folder, values=values)
        (project / "handlers.py").write_text(code, encoding="utf-8")
        (project / "kappafile.toml").write_text(FUNCTION.format(adapter=adapter), encoding="utf-8")
    read = read_project(project)
    source = ServiceSource.of_project(read.spec, read.sources, root=read.root)
    target = os.environ.get("PEERS_TARGET_MS")
    max_latency_ms = float(target) if target else None
    batching = BatchingOptions(max_batch_size=models.MAX_BATCH_SIZE, max_latency_ms=max_latency_ms)
    options = ServerOptions(host="127.0.0.1", port=int(port), workers=int(workers), batching=batching)
    serve_gunicorn([Served.of(source)], options)


if __name__ == "__main__":
    main(*sys.argv[1:])
