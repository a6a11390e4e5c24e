"""MLflow's own scoring server; it has no batching."""

from __future__ import annotations

import base64
import os
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import mlflow
import models


class Peer(mlflow.pyfunc.PythonModel):
    def __init__(self, name: str, folder: str) -> None:
        self.name, self.folder = name, folder

    def load_context(self, context: Any) -> None:  # noqa: ARG002 - its signature
        sys.path.insert(0, str(Path(self.folder).parent))
        self.model = models.load(self.name, Path(self.folder))

    def predict(self, context: Any, model_input: Any) -> Any:  # noqa: ARG002 - its signature
        values = [list(row) for row in model_input] if self.name in ("iris", "forest") else list(model_input)
        if self.name == "cnn":
            values = [base64.b64decode(value) for value in values]
        return self.model(values)


def main(name: str, port: str, folder: str, workers: str) -> None:
    path = Path(folder) / f"mlflow-{name}"
    if name in ("iris", "forest"):
        import joblib

        model = joblib.load(Path(folder) / f"{name}.joblib")
        # its own default, skops, refuses a forest of trees
        save = lambda: mlflow.sklearn.save_model(model, path, serialization_format="cloudpickle")  # noqa: E731
    else:
        save = lambda: mlflow.pyfunc.save_model(path, python_model=Peer(name, folder), code_paths=[models.__file__])  # noqa: E731
    if not (path / "MLmodel").is_file():
        shutil.rmtree(path, ignore_errors=True)
        save()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    command = str(Path(sys.executable).parent / "mlflow")
    arguments = ["models", "serve", "-m", str(path), "--env-manager", "local", "-h", "127.0.0.1", "-p", port]
    os.execv(command, [command, *arguments, "-w", workers])


if __name__ == "__main__":
    main(*sys.argv[1:])
