"""MLServer with its adaptive batching; its own scikit-learn runtime where that fits, in the process of the server."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import models
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Peer(MLModel):
    async def load(self) -> bool:
        self.model = models.load(os.environ["PEERS_MODEL"], Path(os.environ["PEERS_FOLDER"]))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data = payload.inputs[0].data
        values: list[Any] = list(data.root if hasattr(data, "root") else data)
        if os.environ["PEERS_MODEL"] == "cnn":
            values = [base64.b64decode(value) for value in values]
        import numpy as np

        found = np.asarray(self.model(values)).reshape(-1, 1)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", found)])


def main(name: str, port: str, folder: str, workers: str) -> None:
    project = Path(folder) / f"mlserver-{name}"
    project.mkdir(exist_ok=True)
    parallel = 0 if workers == "1" else int(workers)
    settings = {"http_port": int(port), "grpc_port": int(port) + 1, "metrics_port": int(port) + 2, "host": "127.0.0.1"}
    (project / "settings.json").write_text(
        json.dumps({**settings, "parallel_workers": parallel, "debug": False}), encoding="utf-8"
    )
    is_table = name in ("iris", "forest")
    implementation = "mlserver_sklearn.SKLearnModel" if is_table else "mlserver_server.Peer"
    parameters = {"uri": str(Path(folder) / f"{name}.joblib")} if is_table else {}
    model = {"name": "peer", "implementation": implementation, "parameters": parameters}
    (project / "model-settings.json").write_text(
        json.dumps({**model, "max_batch_size": models.MAX_BATCH_SIZE, "max_batch_time": 0.005}), encoding="utf-8"
    )
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    command = str(Path(sys.executable).parent / "mlserver")
    os.execv(command, [command, "start", str(project)])


if __name__ == "__main__":
    main(*sys.argv[1:])
