"""FastAPI on uvicorn, as its users write it: no batching; what blocks runs in its thread pool."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import models
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

NAME, FOLDER = os.environ["PEERS_MODEL"], Path(os.environ["PEERS_FOLDER"])
app = FastAPI()
model = models.load(NAME, FOLDER)


class Rows(BaseModel):
    rows: list[Any]


if NAME == "cnn":

    @app.post("/predict")
    async def classify(request: Request) -> list[Any]:
        return await run_in_threadpool(model, [await request.body()])

elif NAME == "iris":

    @app.post("/predict")
    async def predict(body: Rows) -> list[Any]:
        return model(body.rows)  # so quick that a thread would cost more

else:

    @app.post("/predict")
    def predict_in_thread(body: Rows) -> list[Any]:
        return model(body.rows)


if __name__ == "__main__":
    _, _, port, _, workers = sys.argv  # program, model, port, folder, workers
    uvicorn.run("fastapi_server:app", host="127.0.0.1", port=int(port), workers=int(workers), log_level="warning")
