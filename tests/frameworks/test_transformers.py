"""Models of Transformers: what is no such folder, what runs code, and how a pipeline answers texts and pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kappa.errors import BadInputError, ConfigurationError, MissingDependencyError
from kappa.frameworks.transformers import TransformersModelArtifact
from kappa.spec.contracts import ModelNeeds
from tests.frameworks.transformers_models import TEXTS, parts, text_pipeline
from tests.frameworks.zero_code import answers, problems
from tests.inspection.samples import safetensors

CONFIG = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], "transformers_version": "5.24.0"}
FOLDER = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": safetensors(),
    "tokenizer.json": b"{}",
}


def written(folder: Path, **changes: bytes | None) -> Path:
    """Write the files of a model without PyTorch's help, but for those that are changed or left out."""
    folder.mkdir()
    named = {name.replace("__", "."): data for name, data in changes.items()}
    for name, data in {**FOLDER, **named}.items():
        if data is not None:
            (folder / name).write_bytes(data)
    return folder


def artifact(**options: Any) -> TransformersModelArtifact:
    return TransformersModelArtifact("model", **options)


# -- without Transformers ----------------------------------------------------------------------------------------------


INDEX = json.dumps({"weight_map": {"a": "model.safetensors", "b": "more.safetensors"}}).encode()
OF_NO_TASK = json.dumps({**CONFIG, "architectures": ["BertModel"]}).encode()
OF_PICTURES = json.dumps({**CONFIG, "architectures": ["ViTForImageClassification"]}).encode()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"config__json": None}, "it has no `config.json` of a model"),
        ({"config__json": b"{"}, "its `config.json` is not JSON"),
        ({"model__safetensors": None}, "it has no file of weights"),
        ({"model__safetensors": None, "tf_model__h5": b""}, "its weights are not those of PyTorch"),
        ({"model__safetensors": safetensors()[:-1]}, "`model.safetensors` in it is not whole"),
        (
            {"model__safetensors__index__json": INDEX},
            "it lacks `more.safetensors`, which `model.safetensors.index.json` names",
        ),
        ({"model__safetensors__index__json": b"{"}, "`model.safetensors.index.json` in it is not whole"),
        ({"tokenizer__json": None}, "it has no tokenizer: save that into the same folder"),
        ({"config__json": OF_NO_TASK}, "its class tells no task that is served: name its `task`, `feature-extraction`"),
        ({"config__json": OF_PICTURES}, "it has no image processor: save that into the same folder"),
    ],
)
def test_a_folder_that_cannot_be_served_is_told(tmp_path: Path, changes: dict[str, bytes | None], reason: str) -> None:
    assert (artifact().problem_of(written(tmp_path / "model", **changes)) or "").startswith(reason)


def test_a_task_is_that_of_the_class_or_the_one_that_is_named(tmp_path: Path) -> None:
    assert artifact().problem_of(written(tmp_path / "a")) is None
    assert artifact(task="feature-extraction").problem_of(written(tmp_path / "b", config__json=OF_NO_TASK)) is None
    pictures = written(tmp_path / "c", config__json=OF_PICTURES, preprocessor_config__json=b"{}")
    assert (artifact().problem_of(pictures), artifact().input_for(pictures)) == (None, "image")
    assert artifact().needs_of_file(pictures).modules == ("PIL", "torch", "transformers")
    assert artifact().input_for(tmp_path / "a") == "string"


def test_the_version_at_save_is_told_and_weights_that_are_a_pickle(tmp_path: Path) -> None:
    needs = ModelNeeds(("torch", "transformers"), {"transformers": "5.24.0"})
    assert artifact().needs_of_file(written(tmp_path / "a")) == needs
    pickled = written(tmp_path / "b", model__safetensors=None, pytorch_model__bin=b"\x80\x02}.")
    assert artifact().needs_of_file(pickled) == needs._replace(is_pickle=True)
    forbidding = '[security]\npickle = "forbid"'
    for name, codes in {"a": [], "b": ["KF315"]}.items():
        assert problems(tmp_path, "transformers", name, input_adapter='"string"', options=forbidding) == codes


@pytest.mark.parametrize("module", ["torch", "transformers"])
def test_without_a_library_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    if module == "transformers":
        pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=f"The artifact type `transformers` needs `{module}`"):
        artifact().load(tmp_path)


class _Pipeline:
    """As much of a pipeline as is called."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.calls: list[tuple[Any, dict[str, Any]]] = []

    def __call__(self, items: Any, **options: Any) -> Any:
        self.calls.append((items, options))
        return [{"label": "x"} for _ in items] if isinstance(items, list) else [{"label": "x"}]


@pytest.mark.parametrize("task", ["text-classification", "image-classification", "object-detection"])
@pytest.mark.parametrize(
    "item", ["https://example.com/cat.png", "/etc/passwd", 5, {"image": "/etc/passwd"}, ["a", "b"]]
)
def test_no_request_makes_a_pipeline_open_a_path_or_an_address(task: str, item: Any) -> None:
    pipeline = _Pipeline(task)
    if task.startswith("text") and isinstance(item, str):
        return  # which is a text like any other
    for is_batch in (True, False):
        with pytest.raises(BadInputError, match="is needed"):
            artifact().caller(pipeline, "predict", is_batch=is_batch)([item] if is_batch else item)
    assert pipeline.calls == []


def test_pictures_share_one_call_with_the_arguments_of_the_artifact() -> None:
    pipeline = _Pipeline("image-classification")
    predict = artifact(arguments={"top_k": 1}).caller(pipeline, "predict", is_batch=True)
    assert predict([np.zeros((2, 3, 3), dtype="uint8"), np.zeros((4, 4), dtype="uint8")]) == [{"label": "x"}] * 2
    ((pictures, options),) = pipeline.calls
    assert [(picture.size, picture.mode) for picture in pictures] == [((3, 2), "RGB"), ((4, 4), "RGB")]
    assert options == {"batch_size": 2, "top_k": 1}


# -- with it -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that Transformers itself wrote."""
    path = tmp_path_factory.mktemp("models") / "mood"
    for part in parts().values():
        part.save_pretrained(path)
    return path


@pytest.fixture
def connections() -> Iterator[list[str]]:
    """Yield the list of addresses that this process connects to, or looks up, while the test runs."""
    _listening.append(addresses := list[str]())
    if not _hooked:
        sys.addaudithook(_note)
        _hooked.append(True)
    yield addresses
    _listening.remove(addresses)


_listening: list[list[str]] = []
_hooked: list[bool] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo"):
        for addresses in _listening:
            addresses.append(str(arguments))


@pytest.mark.transformers
def test_texts_get_the_labels_that_the_pipeline_gives_them_and_no_hub_is_asked(
    folder: Path, tmp_path: Path, connections: list[str]
) -> None:
    expected = [text_pipeline()(text)[0] for text in TEXTS]
    assert len({answer["label"] for answer in expected}) == 2, "a test of one label tells little"
    plugin = artifact()
    plugin.adopt(folder, tmp_path)
    batch = plugin.caller(plugin.load(tmp_path), "predict", is_batch=True)(TEXTS)
    assert [answer["label"] for answer in batch] == [answer["label"] for answer in expected]
    assert [answer["score"] for answer in batch] == pytest.approx([answer["score"] for answer in expected], abs=1e-5)
    assert connections == []


@pytest.mark.transformers
def test_each_request_of_a_batch_gets_its_own_answer(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "mood")
    options = "arguments = { top_k = 2 }"
    bodies = answers(tmp_path, "transformers", "mood", TEXTS, input_adapter='"json"\nbatch = true', options=options)
    for body, text in zip(bodies, TEXTS, strict=True):
        alone = text_pipeline()(text, top_k=2)
        assert [answer["label"] for answer in body] == [answer["label"] for answer in alone]
        assert [answer["score"] for answer in body] == pytest.approx([answer["score"] for answer in alone], abs=1e-5)


@pytest.mark.transformers
def test_weights_in_a_pickle_are_read_where_there_are_no_others(tmp_path: Path) -> None:
    import torch

    folder = tmp_path / "model"
    for part in parts().values():
        part.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(parts()["model"].state_dict(), folder / "pytorch_model.bin")
    assert artifact().load(tmp_path)(TEXTS[0]) == [pytest.approx(text_pipeline()(TEXTS[0])[0])]


@pytest.mark.transformers
def test_a_pipeline_of_another_task_than_its_class_tells_asks_for_the_task(tmp_path: Path) -> None:
    from transformers import pipeline

    features = pipeline("feature-extraction", device="cpu", **parts())
    with pytest.raises(
        ConfigurationError, match="a pipeline of the task `feature-extraction`, and would be loaded as one of"
    ):
        artifact().save(features, tmp_path)
    plugin = artifact(task="feature-extraction")
    plugin.save(features, tmp_path)
    assert plugin.load(tmp_path).task == "feature-extraction"
