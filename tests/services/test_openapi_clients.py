"""The OpenAPI document is taken by the generators of others' clients, and what they generate asks a real server."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kappa.bento import BentoService
from kappa.services.declaring import declared_spec
from kappa.services.openapi import openapi_document

pytestmark = [pytest.mark.index, pytest.mark.engine]

SOURCE = '''\
import kappa
from kappa.adapters import (
    AnnotatedImageInput, DataframeInput, DataframeOutput, FileInput, FileOutput, ImageInput, ImageOutput, JsonInput,
    MultiFileInput, NdarrayInput, NdarrayOutput, SeriesOutput, StringInput, TfTensorInput,
)

class Answering(kappa.BentoService):
    """Answers every kind of request that needs no framework."""

    @kappa.api(
        input=DataframeInput(columns={"age": "int64", "city": "str"}), output=DataframeOutput(), batch=True,
        route="v1/people/score",
    )
    def score(self, frame):
        """Double the ages."""
        return frame.assign(age=frame["age"] * 2)

    @kappa.api(input=DataframeInput(), output=SeriesOutput(), batch=True)
    def any_frame(self, frame): ...

    @kappa.api(input=NdarrayInput(), output=NdarrayOutput(), batch=True)
    def array(self, array): ...

    @kappa.api(input=JsonInput(http_input_example={"a": 1}))
    def value(self, value):
        return {"got": value}

    @kappa.api(input=StringInput())
    def text(self, text): ...

    @kappa.api(input=FileInput(), output=FileOutput())
    def file(self, file): ...

    @kappa.api(input=ImageInput(), output=ImageOutput())
    def image(self, image): ...

    @kappa.api(input=MultiFileInput(input_names=("left", "right")))
    def files(self, left, right): ...

    @kappa.api(input=AnnotatedImageInput())
    def annotated(self, image, annotations): ...


class Generated(Answering):
    """Answers every kind of request."""

    @kappa.api(input=TfTensorInput(), batch=True)
    def tensor(self, tensor): ...
'''
APIS = ("score", "any_frame", "array", "value", "text", "file", "image", "files", "annotated", "tensor")

PYTHON = """\
import importlib
import pkgutil
import sys
import generated_client.api.predictions as predictions
for module in pkgutil.iter_modules(predictions.__path__):
    importlib.import_module(f"generated_client.api.predictions.{module.name}")
from generated_client import Client
from generated_client.api.predictions import value
from generated_client.api.predictions import score
from generated_client.models import ScoreJsonBodyType0Item
client = Client(base_url=sys.argv[1])
answer = value.sync_detailed(client=client, body={"b": [1, None]})
print(answer.status_code.value, answer.content.decode())
answer = score.sync_detailed(client=client, body=[ScoreJsonBodyType0Item(age=20, city="Ulm")])
print(answer.status_code.value, answer.content.decode())
answer = score.sync_detailed(client=client, body=[])
print(answer.status_code.value, type(answer.parsed).__name__, answer.parsed.error)
"""

TYPESCRIPT = """\
import type { paths } from "./docs";

type Post<P extends keyof paths> = NonNullable<paths[P]["post"]>;
type Body = NonNullable<Post<"/v1/people/score">["requestBody"]>["content"]["application/json"];
const rows: Body = [{ age: 20, city: "Ulm" }];

export async function score(url: string): Promise<unknown> {
  const answer = await fetch(`${url}/v1/people/score`, { method: "POST", body: JSON.stringify(rows) });
  if (!answer.ok) {
    const problem: Post<"/v1/people/score">["responses"]["422"]["content"]["application/json"] = await answer.json();
    throw new Error(`${problem.error} (${problem.request_id})`);
  }
  return answer.json();
}

// @ts-expect-error an age is a number
export const wrong: Body = [{ age: "twenty", city: "Ulm" }];
"""


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BentoService]:
    folder = tmp_path_factory.mktemp("generated")
    (folder / "generated_of_openapi.py").write_text(SOURCE, encoding="utf-8")
    sys.path.insert(0, str(folder))
    made = importlib.import_module("generated_of_openapi").Answering()
    yield made
    made.stop_dev_server()
    sys.path.remove(str(folder))
    del sys.modules["generated_of_openapi"]


def write_document(folder: Path) -> Path:
    file = folder / "docs.json"
    spec = declared_spec(sys.modules["generated_of_openapi"].Generated)
    file.write_text(json.dumps(openapi_document(spec, version="1.0")), encoding="utf-8")
    return file


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_generated_python_client_asks_the_service(answering: BentoService, tmp_path: Path) -> None:
    document = write_document(tmp_path)
    run(sys.executable, "-m", "venv", "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "openapi-python-client>=0.26", cwd=tmp_path)
    run(python.with_name("openapi-python-client"), "generate", "--path", document, cwd=tmp_path)
    generated = tmp_path / "generated-client"
    modules = {path.stem for path in (generated / "generated_client" / "api" / "predictions").glob("*.py")}
    assert modules - {"__init__"} == set(APIS)
    (generated / "ask.py").write_text(PYTHON, encoding="utf-8")
    answers = run(python, "ask.py", answering.start_dev_server(0), cwd=generated).splitlines()
    assert answers[:2] == ['200 {"got":{"b":[1,null]}}', '200 [{"age":40,"city":"Ulm"}]']
    assert answers[2].startswith("400 Error ")


@pytest.mark.node
def test_generated_typescript_types_say_what_the_service_takes(answering: BentoService, tmp_path: Path) -> None:
    write_document(tmp_path)
    npx = ("npx", "--yes", "--package", "openapi-typescript@7", "--package", "typescript@5", "--")
    run(*npx, "openapi-typescript", "docs.json", "--output", "docs.d.ts", cwd=tmp_path)
    (tmp_path / "ask.ts").write_text(TYPESCRIPT, encoding="utf-8")
    run(
        *npx,
        "tsc",
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        "--target",
        "es2022",
        "--lib",
        "es2022,dom",
        "ask.ts",
        cwd=tmp_path,
    )
