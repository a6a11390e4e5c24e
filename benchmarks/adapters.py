"""What adapters cost per request, beside the obvious way to write the same by hand: `make bench-adapters`.

    python benchmarks/adapters.py [--rounds 7]

A request is decoded, merged with those of its batch, given to a function that does next to nothing, split and encoded.
By hand, each request is parsed, made an argument of, given to the same function and encoded by itself. Both are timed
in turn in every round, in processor time, which other load on the machine moves least; the figures are medians, in
microseconds per request.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson
import pandas as pd
from PIL import Image
from pydantic import BaseModel

from kappa.adapters.multipart import form_payload, parts_of
from kappa.services.inference import Inference
from kappa.spec.service import ApiSpec, FunctionTarget
from kappa.types import Payload

__all__ = ["main"]

BATCHES = (1, 16, 128)


class Order(BaseModel):
    item: str
    count: int
    tags: list[str]


@dataclass(frozen=True)
class Case:
    name: str
    options: dict[str, Any]
    payload: Payload
    function: Callable[..., Any]
    """What answers: takes a batch."""
    by_hand: Callable[[bytes], bytes]
    """The obvious way to answer one request."""


def first_column(frame: Any) -> Any:
    return frame.iloc[:, 0].to_numpy()


def by_pandas(read: Callable[[bytes], Any]) -> Callable[[bytes], bytes]:
    return lambda body: orjson.dumps(first_column(read(body)).tolist())


def by_numpy(read: Callable[[bytes], Any]) -> Callable[[bytes], bytes]:
    return lambda body: orjson.dumps(read(body).sum(axis=1).tolist())


def as_json(value: Any) -> Payload:
    return Payload(orjson.dumps(value), "application/json")


def saved(save: Callable[[io.BytesIO], Any], media_type: str) -> Payload:
    buffer = io.BytesIO()
    save(buffer)
    return Payload(buffer.getvalue(), media_type)


def picture_by_hand(body: bytes) -> bytes:
    return orjson.dumps(list(np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).shape))


NUMBERS = {"a": 5.1, "b": 3.5, "c": 1.4, "d": 0.2}
MIXED = {"n": 3, "x": 1.5, "flag": True, "city": "Bern", "note": None, "m": 4, "y": 2.5, "zip": "01", "z": 0.5, "k": 7}
DTYPES = {"n": "int64", "x": "float64", "flag": "bool", "city": "str", "note": "str", "m": "int64", "y": "float64"}
FRAME = pd.DataFrame([MIXED] * 1000)
PIXELS = np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype="uint8")
FORM = form_payload([("left", Payload(b"x" * 1000, name="l.bin")), ("right", Payload(b"y" * 1000, name="r.bin"))])


def form_by_hand(body: bytes) -> bytes:
    parts = dict(parts_of(Payload(body, FORM.media_type, boundary=FORM.boundary)))
    return orjson.dumps(len(parts["left"].data) + len(parts["right"].data))


CASES = [
    Case(
        "dataframe: a row of 4 numbers",
        {"input": "dataframe"},
        as_json([NUMBERS]),
        first_column,
        by_pandas(lambda body: pd.DataFrame(orjson.loads(body))),
    ),
    Case(
        "dataframe: a row of 10 mixed columns",
        {"input": "dataframe"},
        as_json([MIXED]),
        first_column,
        by_pandas(lambda body: pd.DataFrame(orjson.loads(body))),
    ),
    Case(
        "dataframe: the same with declared columns",
        {"input": {"type": "dataframe", "columns": DTYPES}},
        as_json([MIXED]),
        first_column,
        by_pandas(lambda body: pd.DataFrame(orjson.loads(body))[list(DTYPES)].astype({"n": "int64", "x": "float64"})),
    ),
    Case(
        "dataframe: a row of CSV",
        {"input": "dataframe"},
        Payload(b"a,b,c,d\n5.1,3.5,1.4,0.2\n", "text/csv"),
        first_column,
        by_pandas(lambda body: pd.read_csv(io.BytesIO(body))),
    ),
    Case(
        "dataframe: 1000 rows of Parquet",
        {"input": "dataframe"},
        saved(FRAME.to_parquet, "application/vnd.apache.parquet"),
        first_column,
        by_pandas(lambda body: pd.read_parquet(io.BytesIO(body))),
    ),
    Case(
        "ndarray: a row of 4 numbers",
        {"input": "ndarray"},
        as_json([list(NUMBERS.values())]),
        lambda array: array.sum(axis=1),
        by_numpy(lambda body: np.array(orjson.loads(body))),
    ),
    Case(
        "ndarray: a row of 784 numbers as float32",
        {"input": {"type": "ndarray", "dtype": "float32"}},
        as_json([[0.5] * 784]),
        lambda array: array.sum(axis=1),
        by_numpy(lambda body: np.array(orjson.loads(body), dtype="float32")),
    ),
    Case(
        "ndarray: the same as .npy",
        {"input": "ndarray"},
        saved(lambda file: np.save(file, np.full((1, 784), 0.5, dtype="float32")), "application/x-npy"),
        lambda array: array.sum(axis=1),
        by_numpy(lambda body: np.load(io.BytesIO(body))),
    ),
    Case(
        "json: a small object", {"input": "json"}, as_json(MIXED), list, lambda body: orjson.dumps(orjson.loads(body))
    ),
    Case(
        "json: a pydantic model",
        {"input": {"type": "json", "schema": "shop:Order"}},
        as_json({"item": "tea", "count": 2, "tags": ["a", "b"]}),
        lambda orders: [order.count for order in orders],
        lambda body: orjson.dumps(Order.model_validate_json(body).count),
    ),
    Case(
        "string: a hundred letters",
        {"input": "string"},
        Payload(b"x" * 100, "text/plain"),
        lambda texts: [len(text) for text in texts],
        lambda body: orjson.dumps(len(body.decode())),
    ),
    Case(
        "image: a JPEG of 224 × 224",
        {"input": "image"},
        saved(lambda file: Image.fromarray(PIXELS).save(file, "jpeg"), "image/jpeg"),
        lambda images: [image.shape for image in images],
        picture_by_hand,
    ),
    Case(
        "multi_file: two files of 1 kB",
        {"input": {"type": "multi_file", "input_names": ["left", "right"]}},
        FORM,
        lambda lefts, rights: [len(a.read()) + len(b.read()) for a, b in zip(lefts, rights, strict=True)],
        form_by_hand,
    ),
]


def answered(inference: Inference, payload: Payload, count: int) -> None:
    tasks = [inference.decode(payload, task_id="request") for _ in range(count)]
    for task in tasks:
        inference.group_of(task)
    inference.answer(tasks)


def timed(call: Callable[[], Any], count: int) -> float:
    """Return the seconds that a call takes for each of ``count`` requests."""
    started = time.process_time()
    call()
    return (time.process_time() - started) / count


def measure(case: Case, rounds: int) -> list[float]:
    """Return the median microseconds per request: by hand, then for each size of a batch."""
    spec = ApiSpec(name="api", target=FunctionTarget(function="bench:api"), batch=True, **case.options)
    inference = Inference(spec, case.function, {}, load=lambda _: Order)
    once = max(timed(lambda: case.by_hand(case.payload.data), 1), 1e-6)
    repeats = max(1, min(2000, int(0.02 / once)))

    def by_hand() -> None:
        for _ in range(repeats):
            case.by_hand(case.payload.data)

    def in_batches(size: int) -> None:
        for _ in range(max(1, repeats // size)):
            answered(inference, case.payload, size)

    seconds: list[list[float]] = [[] for _ in range(1 + len(BATCHES))]
    for number in range(rounds + 1):
        taken = [timed(by_hand, repeats)]
        taken += [timed(partial(in_batches, size), size * max(1, repeats // size)) for size in BATCHES]
        if number:  # the first round warms up
            for each, one in zip(seconds, taken, strict=True):
                each.append(one)
    return [statistics.median(each) * 1e6 for each in seconds]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    heads = ["by hand", *(f"batch of {size}" for size in BATCHES), f"by hand ÷ {BATCHES[-1]}"]
    print(f"{'µs per request':44}" + "".join(f"{head:>15}" for head in heads))
    for case in CASES:
        figures = measure(case, rounds)
        print(
            f"{case.name:44}" + "".join(f"{figure:15.1f}" for figure in figures) + f"{figures[0] / figures[-1]:15.1f}"
        )
    print(f"{rounds} rounds; pandas {pd.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
