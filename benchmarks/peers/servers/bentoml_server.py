"""BentoML with its adaptive batching."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import bentoml
import models
import numpy as np

NAME, FOLDER = os.environ["PEERS_MODEL"], Path(os.environ["PEERS_FOLDER"])
WORKERS = int(os.environ["PEERS_WORKERS"])
LATENCY_MS = int(float(os.environ.get("PEERS_TARGET_MS") or 10_000))

if NAME == "cnn":

    @bentoml.service(workers=WORKERS, traffic={"timeout": 60})
    class Peer:
        def __init__(self) -> None:
            self.model = models.load(NAME, FOLDER)

        @bentoml.api(batchable=True, max_batch_size=models.MAX_BATCH_SIZE, max_latency_ms=LATENCY_MS)
        def predict(self, images: list[Path]) -> list[int]:
            return self.model([image.read_bytes() for image in images])

else:

    @bentoml.service(workers=WORKERS, traffic={"timeout": 60})
    class Peer:
        def __init__(self) -> None:
            self.model = models.load(NAME, FOLDER)

        @bentoml.api(batchable=True, max_batch_size=models.MAX_BATCH_SIZE, max_latency_ms=LATENCY_MS)
        def predict(self, rows: np.ndarray) -> np.ndarray:
            return np.asarray(self.model(rows))


if __name__ == "__main__":
    port = sys.argv[2]
    command = [str(Path(sys.executable).parent / "bentoml"), "serve", "bentoml_server:Peer", "--port", port]
    os.chdir(Path(__file__).parent)
    os.execv(command[0], [*command, "--host", "127.0.0.1"])
