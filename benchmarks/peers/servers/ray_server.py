"""Ray Serve with its batching; as many replicas as workers."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import models
import ray
from ray import serve
from starlette.requests import Request


def main(name: str, port: str, folder: str, workers: str) -> None:
    os.environ["PYTHONPATH"] = str(Path(models.__file__).parent)  # the replicas are processes of their own
    ray.init(num_cpus=max(4, int(workers)), include_dashboard=False, configure_logging=False, log_to_driver=False)

    @serve.deployment(num_replicas=int(workers), max_ongoing_requests=512, ray_actor_options={"num_cpus": 1})
    class Peer:
        def __init__(self) -> None:
            self.model = models.load(name, Path(folder))

        @serve.batch(max_batch_size=models.MAX_BATCH_SIZE, batch_wait_timeout_s=0.005)
        async def predict(self, batch: list[Any]) -> list[Any]:
            return self.model(batch)

        async def __call__(self, request: Request) -> Any:
            value = await request.body() if name == "cnn" else (await request.json())["rows"][0]
            return await self.predict(value)

    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(Peer.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(*sys.argv[1:])
