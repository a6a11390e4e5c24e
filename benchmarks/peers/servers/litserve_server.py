"""LitServe with its batching, one worker per device unless more are asked for."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import litserve
import models


class PeerAPI(litserve.LitAPI):
    def __init__(self, name: str, folder: str, **options: Any) -> None:
        super().__init__(**options)
        self.name, self.folder = name, Path(folder)

    def setup(self, device: str) -> None:  # noqa: ARG002 - its signature
        self.model = models.load(self.name, self.folder)

    def predict(self, batch: list[Any]) -> list[Any]:
        return self.model(batch)

    def encode_response(self, output: Any) -> Any:
        return {"output": output}


class JsonAPI(PeerAPI):
    def decode_request(self, request):  # an annotation would be taken for a parameter of the URL
        return request["rows"][0]


class ImageAPI(PeerAPI):
    def decode_request(self, request):  # an annotation would be taken for a parameter of the URL
        return base64.b64decode(request["image"])


def main(name: str, port: str, folder: str, workers: str) -> None:
    kind = ImageAPI if name == "cnn" else JsonAPI
    api = kind(name, folder, max_batch_size=models.MAX_BATCH_SIZE, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(workers), timeout=60)
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
