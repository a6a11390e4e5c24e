"""A project with every adapter in it, for tests that ask them all."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

__all__ = ["APIS", "FRAMEWORKS", "MODULE", "write_project"]

MODULE = "functions_of_every_adapter"

SOURCE = """\
import numpy as np
from pydantic import BaseModel

from kappa.types import FileLike


class Order(BaseModel):
    item: str
    count: int


def upper(texts):
    return [text.upper() for text in texts]


def total(order):
    return {"item": order.item, "total": order.count * 2.5}


def describe(value):
    return {"got": value, "none": None}


def add(frame):
    return frame.assign(total=frame.sum(axis=1, numeric_only=True))


def sums(frame):
    return frame.sum(axis=1, numeric_only=True)


def size(files):
    return [[len(file.read()), file.name] for file in files]


def reverse(file):
    return FileLike(file.read()[::-1], name="reversed.bin")


def halve(image):
    return image[::2, ::2]


def shape(images):
    return [image.shape for image in images]


def names(left, right):
    return [None if file is None else file.read().decode(errors="replace") for file in (left, right)]


def same(lefts, rights):
    return [bool((left == right).all()) for left, right in zip(lefts, rights)]


def boxes(image, notes):
    return {"size": image.shape[:2], "notes": notes}


def double(array):
    return array * 2
"""

APIS: Mapping[str, str] = {
    "upper": 'input = "string"\nbatch = true',
    "total": 'input = { type = "json", schema = "MODULE:Order" }\noutput = "json"',
    "describe": 'input = "json"',
    "add": 'input = "dataframe"\noutput = { type = "dataframe", orient = "split" }',
    "sums": 'input = { type = "dataframe", columns = { a = "int64", b = "float64" } }\noutput = "series"',
    "size": 'input = "file"\nbatch = true',
    "reverse": 'input = "file"\noutput = "file"',
    "halve": 'input = "image"\noutput = "image"',
    "shape": 'input = { type = "image", pilmode = "L" }\nbatch = true',
    "names": 'input = { type = "multi_file", input_names = ["left", "right"], allow_none = true }',
    "same": 'input = { type = "multi_image", input_names = ["left", "right"] }\nbatch = true',
    "boxes": 'input = "annotated_image"',
    "double": 'input = { type = "ndarray", dtype = "float32", shape = [2] }\noutput = "ndarray"',
    "double_tf": 'function = "MODULE:double"\ninput = "tf_tensor"\noutput = "tf_tensor"',
    "double_torch": 'function = "MODULE:double"\ninput = { type = "pytorch_tensor", dtype = "float32" }\nbatch = true',
}
FRAMEWORKS = {"double_tf": "tensorflow", "double_torch": "torch"}


def write_project(root: Path) -> Path:
    """Write the project into a folder, without the APIs whose frameworks are not installed; return its kappafile."""
    (root / f"{MODULE}.py").write_text(SOURCE, encoding="utf-8")
    tables = ['kappafile = 1\n[service]\nname = "Everything"']
    for name, text in APIS.items():
        if find_spec(FRAMEWORKS.get(name, "numpy")):
            function = "" if "function" in text else f'function = "{MODULE}:{name}"\n'
            tables.append(f"[apis.{name}]\n{function}{text.replace('MODULE', MODULE)}")
    file = root / "kappafile.toml"
    file.write_text("\n".join(tables), encoding="utf-8")
    return file
