"""One input, three ways: over HTTP, on the command line and from Python the answer is the same, for every adapter."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

import kappa.testing
from kappa.actions.targets import ProjectTarget, open_target
from kappa.adapters.json import encode_json
from kappa.adapters.multipart import form_payload
from kappa.cli.main import cli
from kappa.plugins import INPUT_ADAPTERS, OUTPUT_ADAPTERS
from kappa.testing import Client
from kappa.types import FileLike, Payload
from tests.adapters.every_adapter import APIS, FRAMEWORKS, MODULE, write_project


def picture(*size: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.arange(size[0] * size[1] * 3, dtype="uint8").reshape(size[1], size[0], 3)
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def pixels_of(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


ROW = np.array([[1.5, 2.0]])
FRAME = pd.DataFrame({"a": [1, 2], "b": [0.5, None]})
LINES = b'{"a":1,"b":0.5}\n{"b":null,"a":2}\n'
RECORDS = b'[{"a":1,"b":0.5},{"a":2,"b":null}]'


@dataclass
class Case:
    """One input: as a body or a form, and as what a function receives."""

    api: str
    body: bytes = b""
    media_type: str = ""
    extension: str = ""
    """That of a file with the body; without it, the command line gets the body as text."""
    parts: Mapping[str, bytes] = field(default_factory=dict)
    """The parts of a form instead; those with a `.` in their name are files."""
    arguments: Sequence[Any] = ()


CASES = {
    "string": Case("upper", "héllo".encode(), "text/plain", arguments=[["héllo"]]),
    "string-file": Case("upper", b"a\nb", "text/plain", ".txt", arguments=[["a\nb"]]),
    "json-typed": Case("total", b'{"item":"tea","count":2}', "application/json", arguments=["ORDER"]),
    "json": Case("describe", b'[1,{"a":null}]', "application/json", arguments=[[1, {"a": None}]]),
    "json-file": Case("describe", b'"x"', "application/json", ".json", arguments=["x"]),
    "dataframe-json": Case("add", RECORDS, "application/json", arguments=[FRAME]),
    "dataframe-csv": Case("add", b"a,b\n1,0.5\n2,\n", "text/csv", ".csv", arguments=[FRAME]),
    "dataframe-lines": Case(
        "sums", b'{"a":1,"b":0.5}\n{"b":null,"a":2}\n', "application/x-ndjson", ".jsonl", arguments=[FRAME]
    ),
    "dataframe-parquet": Case("add", parquet(FRAME), "application/vnd.apache.parquet", ".parquet", arguments=[FRAME]),
    "dataframe-signature": Case("sums", b"b,c,a\n0.5,x,1\n,y,2\n", "text/csv", ".csv", arguments=[FRAME]),
    "file": Case(
        "size", b"\x00\xff", "application/octet-stream", ".bin", arguments=[[FileLike(b"\x00\xff", name="input.bin")]]
    ),
    "file-out": Case("reverse", b"abc", extension=".bin", arguments=[FileLike(b"abc")]),
    "image-out": Case("halve", picture(5, 4), "image/png", ".png", arguments=[pixels_of(picture(5, 4))]),
    "image": Case("shape", picture(5, 4), "image/png", ".png", arguments=[[np.zeros((4, 5))]]),
    "multi-file": Case("names", parts={"left": b"l", "right": b"r"}, arguments=[FileLike(b"l"), FileLike(b"r")]),
    "multi-file-absent": Case("names", parts={"left": b"l"}, arguments=[FileLike(b"l"), None]),
    "multi-image": Case(
        "same",
        parts={"left.png": picture(2, 1), "right.png": picture(2, 1)},
        arguments=[[pixels_of(picture(2, 1))], [pixels_of(picture(2, 1))]],
    ),
    "annotated-image": Case(
        "boxes",
        parts={"image.png": picture(2, 1), "annotations": b'{"x":[1]}'},
        arguments=[pixels_of(picture(2, 1)), {"x": [1]}],
    ),
    "ndarray-json": Case("double", b"[[1,2.5],[3,4]]", "application/json", arguments=[np.array([[1, 2.5], [3, 4]])]),
    "ndarray-npy": Case(
        "double", npy(np.array([[1, 2]])), "application/x-npy", ".npy", arguments=[np.array([[1.0, 2.0]])]
    ),
    "tensorflow": Case(
        "double_tf", b'{"instances":[[1.5],[2]]}', "application/json", arguments=[np.array([[1.5], [2]])]
    ),
    "torch": Case("double_torch", b"[[1.5],[2]]", "application/json", arguments=[np.array([[1.5], [2]])]),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("three-ways")
    write_project(root)
    path = list(sys.path)
    yield root
    sys.path[:] = path


@pytest.fixture(scope="module")
def http(project: Path) -> Iterator[Client]:
    with kappa.testing.client(project) as client:
        yield client


def asked_through_http(client: Client, case: Case) -> bytes:
    body, content_type = case.body, case.media_type
    if case.parts:
        form = form_payload((name.partition(".")[0], Payload(data, name=name)) for name, data in case.parts.items())
        body, content_type = form.data, f'{form.media_type}; boundary="{form.boundary}"'
    elif case.extension == ".bin":  # so that the file has its name here as well
        form = form_payload([("file", Payload(case.body, name=f"input{case.extension}"))])
        body, content_type = form.data, f'{form.media_type}; boundary="{form.boundary}"'
    answer = client.post(f"/{case.api}", body=body, headers={"Content-Type": content_type})
    assert answer.status_code == 200, answer.text
    return answer.content


def asked_on_the_command_line(project: Path, case: Case, folder: Path) -> bytes:
    arguments: list[str] = []
    for name, data in case.parts.items():
        if "." in name:
            (folder / name).write_bytes(data)
            arguments += [f"--input-file-{name.partition('.')[0]}", str(folder / name)]
        else:
            arguments += [f"--input-{name}", data.decode()]
    if case.extension:
        (folder / f"input{case.extension}").write_bytes(case.body)
        arguments = ["--input-file", str(folder / f"input{case.extension}")]
    elif not case.parts:
        arguments = ["--input", case.body.decode()]
    result = CliRunner().invoke(cli, ["run", str(project), case.api, *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


def asked_from_python(project: Path, case: Case, convert: Callable[[str, Any], Any]) -> Any:
    with open_target(ProjectTarget(project / "kappafile.toml")) as service:
        arguments = [convert(case.api, argument) for argument in case.arguments]
        return getattr(service.as_object(), case.api)(*arguments)


def native(api: str, argument: Any) -> Any:
    """Return an argument as the frameworks and models of the user's have it."""
    if isinstance(argument, str) and argument == "ORDER":
        return sys.modules[MODULE].Order(item="tea", count=2)
    if api == "double_tf":
        import tensorflow as tf

        return tf.constant(argument)
    if api == "double_torch":
        import torch

        return torch.tensor(argument)
    if isinstance(argument, FileLike):
        argument.seek(0)
    return argument


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=getattr(pytest.mark, name) if name in FRAMEWORKS.values() else ()) for name in CASES],
)
def test_the_answer_is_the_same_each_way(name: str, project: Path, http: Client, tmp_path: Path) -> None:
    case = CASES[name]
    over_http = asked_through_http(http, case)
    printed = asked_on_the_command_line(project, case, tmp_path)
    value = asked_from_python(project, case, native)
    if case.api == "reverse":
        assert over_http == printed == value.getvalue() == b"cba"
    elif case.api == "halve":
        assert over_http == printed
        np.testing.assert_array_equal(pixels_of(over_http), value)
    else:
        assert printed == over_http + b"\n"
        if case.api == "add":
            data = value.astype(object).where(value.notna(), None).to_numpy().tolist()
            value = {"columns": list(value.columns), "index": list(value.index), "data": data}
        expected = json.loads(encode_json(value))
        is_one_item = case.api in ("upper", "size", "shape", "same")
        assert json.loads(over_http) == (expected[0] if is_one_item else expected)


def test_every_adapter_is_among_them() -> None:
    text = "\n".join(APIS.values())
    used = {name for name in (*INPUT_ADAPTERS.builtins, *OUTPUT_ADAPTERS.builtins) if f'"{name}"' in text}
    assert used | {"default"} == {*INPUT_ADAPTERS.builtins, *OUTPUT_ADAPTERS.builtins}
