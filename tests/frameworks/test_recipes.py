"""Frameworks without a type: their classes say what to do, and the recipes of the page answer as it shows."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

import kappa
from kappa.adapters import JsonInput
from kappa.errors import ConfigurationError
from kappa.frameworks.recipes import RecipeArtifact
from tests.frameworks.environments import ROOT
from tests.test_how_to_frameworks import BLOCK, HEAD, run, shortened

PAGE = ROOT / "docs" / "how-to" / "recipes.md"
MOST_LINES = 20
CLASSES = {
    "coreml": ["CoreMLModelArtifact"],
    "detectron": ["DetectronModelArtifact"],
    "easyocr": ["EasyOCRArtifact"],
    "evalml": ["EvalMLModelArtifact"],
    "fastai": ["FastaiModelArtifact", "Fastai1ModelArtifact"],
    "fasttext": ["FasttextModelArtifact"],
    "gluon": ["GluonModelArtifact"],
    "onnxmlir": ["OnnxMlirModelArtifact"],
    "paddle": ["PaddlePaddleModelArtifact"],
}
RECIPES = ["Prophet", "JAX", "fastai", "PaddlePaddle"]


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in CLASSES.items() for name in names])
def test_a_model_packed_in_a_class_of_a_recipe_is_refused_with_what_writes_and_reads_it(module: str, name: str) -> None:
    plugin = getattr(importlib.import_module(f"kappa.frameworks.{module}"), name)

    @kappa.artifacts([plugin("model")])
    class Service(kappa.BentoService):
        @kappa.api(input=JsonInput())
        def predict(self, value: object) -> object:
            return value

    with pytest.raises(ConfigurationError, match=f"`{name}` keeps no model") as refusal:
        Service().pack("model", object())
    for word in (plugin.written_by, plugin.loaded_by, f"`{plugin.package}`", "FileArtifact"):
        assert word in str(refusal.value)
    assert issubclass(plugin, RecipeArtifact)


def blocks_of(heading: str) -> list[tuple[str, str]]:
    return BLOCK.findall(PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0])


@pytest.mark.parametrize("heading", RECIPES)
def test_a_recipe_is_short(heading: str) -> None:
    (code,) = (text for language, text in blocks_of(heading) if language == "python" and text.startswith("# own.py"))
    assert len([line for line in code.splitlines()[1:] if line.strip()]) <= MOST_LINES


@pytest.mark.parametrize(
    "heading",
    [
        pytest.param("Prophet", marks=pytest.mark.prophet),
        pytest.param("JAX", marks=pytest.mark.jax),
        pytest.param("fastai", marks=pytest.mark.fastai),
        pytest.param("PaddlePaddle", marks=pytest.mark.paddle),
    ],
)
def test_a_recipe_answers_as_the_page_shows_and_from_a_bundle(heading: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    command = answer = ""
    for language, text in blocks_of(heading):
        if language == "toml":
            (project / "kappafile.toml").write_text(HEAD + text, encoding="utf-8")
        elif language == "console":
            command, answer = text.strip().removeprefix("$ ").split("\n")
        else:
            name = re.match(r"# (\w+\.py)\n", text)
            assert name is not None
            (project / name[1]).write_text(text, encoding="utf-8")
    run(project, "train.py")
    (project / "train.py").unlink()
    assert shortened(run(project, "-m", *shlex.split(command))) == answer
    run(project, "-m", "kappa", "build", "--resolver", "installed")
    assert shortened(run(tmp_path, "-m", *shlex.split(command.replace("run .", "run Service:latest")))) == answer
