"""The models that every server in this comparison serves; imported in each one's own environment.

python models.py prepare FOLDER            # train and draw what the servers need
python models.py bare FOLDER MODEL         # load one model, say its memory, and how long a call takes
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["IMAGE", "MAX_BATCH_SIZE", "MODELS", "load", "prepare"]

MODELS = ("iris", "forest", "simulated", "overload", "cnn")
MAX_BATCH_SIZE = int(os.environ.get("PEERS_MAX_BATCH_SIZE") or 64)
IMAGE = "picture.png"
"""About 100 kB."""


def prepare(folder: Path) -> None:
    """Write the models and the picture into ``folder``."""
    import joblib
    from sklearn.datasets import load_breast_cancer, load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.svm import SVC

    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(SVC(gamma="scale").fit(*load_iris(return_X_y=True)), folder / "iris.joblib")
    forest = RandomForestClassifier(100, random_state=0, n_jobs=1)
    joblib.dump(forest.fit(*load_breast_cancer(return_X_y=True)), folder / "forest.joblib")
    _draw(folder / IMAGE)
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.manual_seed(0)
    torch.save(network().state_dict(), folder / "cnn.pt")


def _draw(path: Path) -> None:
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (184, 184, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def network() -> Any:
    """Return a small convolutional network for pictures of 64 times 64 pixels."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def tensor_of(image: bytes) -> Any:
    """Decode a picture and make it 64 times 64 pixels."""
    import numpy as np
    import torch
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        small = np.asarray(opened.convert("RGB").resize((64, 64)), dtype="float32")
    return torch.from_numpy(small).permute(2, 0, 1) / 255


def load(name: str, folder: Path) -> Callable[[Sequence[Any]], list[Any]]:
    """Return a function of a batch: rows of numbers, values, or pictures as bytes."""
    if name in ("iris", "forest"):
        import joblib
        import numpy as np

        model = joblib.load(folder / f"{name}.joblib")
        return lambda rows: model.predict(np.asarray(rows, dtype="float64")).tolist()
    if name == "films":  # of `benchmarks/compile.py`
        import joblib
        import pandas as pd

        pipeline = joblib.load(folder / f"{name}.joblib")
        return lambda rows: pipeline.predict(pd.DataFrame(rows).fillna({"price": float("nan")})).tolist()
    if name == "simulated":
        return lambda values: _sleep(values, 0.005, 0.0001)
    if name == "overload":
        return lambda values: _sleep(values, 0.05, 0.001)
    import torch

    torch.set_num_threads(1)
    net = network()
    net.load_state_dict(torch.load(folder / "cnn.pt"))
    net.eval()

    def classify(images: Sequence[bytes]) -> list[int]:
        with torch.inference_mode():
            return [int(n) for n in net(torch.stack([tensor_of(image) for image in images])).argmax(dim=1)]

    return classify


def _sleep(values: Sequence[Any], base_s: float, item_s: float) -> list[Any]:
    time.sleep(base_s + item_s * len(values))
    return list(values)


def request_of(name: str, folder: Path) -> Any:
    """Return what one client asks: a row, a value, or a picture."""
    if name == "iris":
        return [5.1, 3.5, 1.4, 0.2]
    if name == "forest":
        return [17.99, 10.38, 122.8, 1001.0, 0.1184, 0.2776, 0.3001, 0.1471, 0.2419, 0.07871] * 3
    if name == "films":
        return {"length": 96.0, "price": None, "country": "Japan", "review": "good plot bad music good end"}
    if name == "cnn":
        return (folder / IMAGE).read_bytes()
    return 1.5


def main(arguments: list[str]) -> None:
    task, folder = arguments[0], Path(arguments[1])
    if task == "prepare":
        prepare(folder)
        return
    name = arguments[2]
    call = load(name, folder)
    one = [request_of(name, folder)]
    call(one)
    began = time.perf_counter()
    calls = 0
    while time.perf_counter() - began < 1:
        call(one)
        calls += 1
    seconds = (time.perf_counter() - began) / calls
    print(json.dumps({"call_ms": 1000 * seconds, "pid": os.getpid()}), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(sys.argv[1:])
