"""Modules of PyTorch: what is no such file, what runs code, and how a module answers arrays, pictures and JSON."""

from __future__ import annotations

import pickle
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from kappa.build.manifest.nearby_models import type_of_model
from kappa.errors import BadInputError, BundleError, MissingDependencyError
from kappa.frameworks.pytorch import PytorchModelArtifact
from kappa.spec.contracts import ModelNeeds
from tests.frameworks.torch_models import FORMATS, exported, linear, scripted, write
from tests.frameworks.zero_code import problems
from tests.inspection import samples

FACTORY = "tests.frameworks.torch_models:linear"
ROWS = [[1.0, 2.0, 3.0], [3.0, 0.0, 0.0]]
SCORES = [[4.0, 5.0], [3.0, 0.0]]
OF_WEIGHTS = {"weights.safetensors", "weights.pt", "legacy.pth"}
PICKLES = {"module.pt", "program.pt2"}
MODULE = b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81."
CHECKPOINT = b"\x80\x02(S'epoch'\nI1\nS'state_dict'\n" + samples.STATE_DICT[2:-1] + b"d."
COMMAND = b"\x80\x02(S'weight'\ncos\nsystem\n(S'true'\ntRS'bias'\n" + samples.TENSOR + b"d."


def artifact(**options: Any) -> PytorchModelArtifact:
    return PytorchModelArtifact("model", **options).resolved(lambda _: linear)


def of_format(name: str, **options: Any) -> PytorchModelArtifact:
    return artifact(**options, **({"factory": FACTORY} if name in OF_WEIGHTS else {}))


def loaded(name: str, folder: Path, **options: Any) -> Any:
    directory = folder / "artifact"
    directory.mkdir()
    plugin = of_format(name, **options)
    plugin.adopt(write(folder, name), directory)
    return plugin.load(directory)


def caller(module: Any, *, method: str = "predict", is_batch: bool = True) -> Callable[[Any], Any]:
    return artifact().caller(module, method, is_batch=is_batch)


# -- without PyTorch ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (pickle.dumps(1), {}, "it has none of PyTorch's formats, and is not safetensors"),
        (samples.zipped({"a.txt": b""}), {}, "it has none of PyTorch's formats, and is not safetensors"),
        (samples.torch(MODULE)[:-30], {}, "it ends too soon"),
        (samples.torch(MODULE), {"factory": FACTORY}, "it holds a whole model, and `factory` goes with weights alone"),
        (samples.torch(samples.STATE_DICT), {}, "it holds weights alone: name the function that makes their module,"),
        (samples.safetensors(), {}, "it holds weights alone: name the function that makes their module,"),
        (samples.safetensors()[:-1], {"factory": FACTORY}, "it ends too soon"),
        (samples.torch(CHECKPOINT), {"factory": FACTORY}, "it is a table of more than weights: save `model.state_dict"),
        (samples.torch(COMMAND), {"factory": FACTORY}, "it names `os:system`, which weights never do"),
    ],
)
def test_a_file_that_cannot_be_served_is_told(tmp_path: Path, data: bytes, options: Any, reason: str) -> None:
    (tmp_path / "model").write_bytes(data)
    assert (artifact(**options).problem_of(tmp_path / "model") or "").startswith(reason)


@pytest.mark.parametrize("data", [samples.torch(samples.STATE_DICT), samples.safetensors()])
def test_weights_with_a_factory_are_right(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model").write_bytes(data)
    assert artifact(factory=FACTORY).problem_of(tmp_path / "model") is None


def test_a_whole_module_is_a_pickle_and_needs_the_modules_of_its_classes(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(samples.torch(b"\x80\x02cnets\nNet\n)\x81."))
    needs = artifact().needs_of_file(tmp_path / "model")
    assert needs == ModelNeeds(("torch", "nets"), {}, made_of="nets:Net", is_pickle=True)


def forbidding(folder: Path, data: bytes, options: str = "") -> list[str]:
    (folder / "model.pt").write_bytes(data)
    (folder / "nets.py").write_text("def make():\n    return None\n")
    more = f'{options}\n[security]\npickle = "forbid"'
    return problems(folder, "pytorch", "model.pt", input_adapter='"ndarray"', options=more)


def test_what_runs_code_is_refused_where_pickles_are_forbidden(tmp_path: Path) -> None:
    hostile = b"\x80\x02cos\nsystem\n(S'true'\ntR."
    program = samples.zipped({"m/models/model.json": b"{}", "m/archive_version": b"0"})
    script = samples.zipped({"m/data.pkl": b".", "m/constants.pkl": b"."})
    for data in (samples.torch(hostile), samples.torch(MODULE), program):
        assert forbidding(tmp_path, data) == ["KF315"]
    assert forbidding(tmp_path, samples.torch(samples.STATE_DICT), 'factory = "nets:make"') == []
    assert forbidding(tmp_path, samples.safetensors(), 'factory = "nets:make"') == []
    assert forbidding(tmp_path, script) == []


def test_a_factory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert forbidding(tmp_path, samples.safetensors(), 'factory = "nets:mak"') == ["KF305"]
    assert forbidding(tmp_path, samples.safetensors(), 'factory = "net:make"') == ["KF304"]


@pytest.mark.parametrize("data", [samples.torch(samples.STATE_DICT), samples.torch(MODULE), samples.safetensors()])
def test_a_file_is_claimed_with_and_without_a_factory(tmp_path: Path, data: bytes) -> None:
    for name in ("net.pt", "net.safetensors"):
        (tmp_path / name).write_bytes(data)
        assert type_of_model(tmp_path / name) == "pytorch"
    (tmp_path / "net.pt").write_bytes(data[:-1])
    assert type_of_model(tmp_path / "net.pt") is None


@pytest.mark.parametrize("device", ["gpu", "cuda:", "auto:1", "cpu:0"])
def test_a_device_that_pytorch_does_not_know_is_refused(device: str) -> None:
    with pytest.raises(ValidationError, match="device"):
        PytorchModelArtifact("model", device=device)


def test_without_the_library_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `pytorch` needs `torch`"):
        artifact().load(tmp_path)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_pytorch_wrote_answers(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    plugin = of_format(name)
    assert plugin.problem_of(path) is None
    assert plugin.needs_of_file(path).is_pickle == (name in PICKLES)
    half = tmp_path / f"half{path.suffix}"
    half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert plugin.problem_of(half) is not None
    directory = tmp_path / "artifact"
    directory.mkdir()
    plugin.adopt(path, directory)
    assert plugin.caller(plugin.load(directory), "predict", is_batch=True)(ROWS).tolist() == SCORES


@pytest.mark.torch
@pytest.mark.parametrize("name", FORMATS)
def test_a_first_row_is_as_wide_as_the_first_layer(tmp_path: Path, name: str) -> None:
    assert of_format(name).first_row(loaded(name, tmp_path)) == [1.5] * 3


@pytest.mark.torch
def test_a_first_row_of_a_module_that_looks_embeddings_up_is_an_index() -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Embedding(2, 3), torch.nn.Flatten(), torch.nn.Linear(3, 1))
    row = of_format("module.pt").first_row(module)
    assert row == [0]
    assert caller(module)([row]).shape == (1, 1)


@pytest.mark.torch
def test_the_version_that_wrote_an_exported_program_is_told(tmp_path: Path) -> None:
    import torch

    needs = artifact().needs_of_file(write(tmp_path, "program.pt2"))
    assert needs == ModelNeeds(("torch",), {"torch": torch.__version__.partition("+")[0]}, is_pickle=True)


@pytest.mark.torch
def test_what_is_packed_is_kept_in_the_format_of_its_kind(tmp_path: Path) -> None:
    kinds = {
        "script": (scripted(), {}, "model.pt", False),
        "program": (exported(), {}, "model.pt2", True),
        "module": (linear(), {}, "model.pt", True),
        "weights": (linear(), {"factory": FACTORY}, "model.safetensors", False),
    }
    for kind, (model, options, filename, is_pickle) in kinds.items():
        (tmp_path / kind).mkdir()
        plugin = artifact(**options)
        plugin.save(model, tmp_path / kind)
        assert [path.name for path in (tmp_path / kind).iterdir()] == [filename]
        assert plugin.needs_of_model(model).is_pickle is is_pickle
        assert plugin.needs_of_file(tmp_path / kind / filename).is_pickle is is_pickle


@pytest.mark.torch
def test_weights_of_one_name_are_shared_by_all_names_that_the_module_has_for_them(tmp_path: Path) -> None:
    import torch

    def tied() -> Any:
        net = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False))
        net[1].weight = net[0].weight
        return net

    plugin = PytorchModelArtifact("model", factory="nets:tied").resolved(lambda _: tied)
    net = tied()
    plugin.save(net, tmp_path)
    assert caller(plugin.load(tmp_path))(ROWS).tolist() == caller(net)(ROWS).tolist()


@pytest.mark.torch
def test_loading_weights_runs_nothing_of_a_file(tmp_path: Path) -> None:
    import torch

    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "was here",)

    torch.save({"weight": Hostile()}, tmp_path / "model.pt")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        artifact(factory=FACTORY).load(tmp_path)
    assert not (tmp_path / "was here").exists()


@pytest.mark.torch
def test_weights_that_the_module_lacks_are_an_error(tmp_path: Path) -> None:
    import torch

    plugin = PytorchModelArtifact("model", factory="nets:make").resolved(lambda _: lambda: torch.nn.Linear(3, 2))
    (tmp_path / "a").mkdir()
    plugin.adopt(write(tmp_path, "weights.safetensors"), tmp_path / "a")
    with pytest.raises(RuntimeError, match="bias"):
        plugin.load(tmp_path / "a")


@pytest.mark.torch
@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt", "module.pt"])
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_of_a_bundle_are_mapped_and_those_of_a_project_read(tmp_path: Path, name: str) -> None:
    path, plugin = write(tmp_path, name), of_format(name)
    for link in (True, False):
        (tmp_path / str(link)).mkdir()
        plugin.adopt(path, tmp_path / str(link), link=link)
        module = plugin.load(tmp_path / str(link))
        mapped = str((path if link else tmp_path / str(link)).resolve()) in Path("/proc/self/maps").read_text()
        assert mapped is not link
        del module


@pytest.mark.torch
def test_a_file_of_something_else_than_a_module_is_an_error(tmp_path: Path) -> None:
    import torch

    torch.save(torch.nn.Linear(1, 1).weight, tmp_path / "model.pt")
    with pytest.raises(BundleError, match="The artifact `model` holds a `Parameter`, which is not a module"):
        artifact().load(tmp_path)
    plugin = PytorchModelArtifact("model", factory="nets:make").resolved(lambda _: dict)
    with pytest.raises(BundleError, match="The artifact `model` `nets:make` returned a `dict`"):
        plugin.load(tmp_path)


@pytest.mark.torch
def test_a_device_that_is_not_here_is_an_error_and_not_the_cpu(tmp_path: Path) -> None:
    write(tmp_path, "module.pt").rename(tmp_path / "model.pt")
    with pytest.raises(BundleError, match="asks for the device `xpu`, which is not here"):
        artifact(device="xpu").load(tmp_path)
    assert artifact(device="cpu").load(tmp_path).weight.device.type == "cpu"


@pytest.mark.torch
def test_threads_are_those_of_every_thread_that_calls_the_model(tmp_path: Path) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        loaded("module.pt", tmp_path, threads=3)
        counts: list[int] = []
        thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert counts == [3]
    finally:
        torch.set_num_threads(before)


# -- calls -------------------------------------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(ROWS, id="lists"),
        pytest.param(np.array(ROWS), id="float64"),
        pytest.param(np.array(ROWS, dtype="int64"), id="integers"),
        pytest.param([np.array(row, dtype="uint8") for row in ROWS], id="pictures"),
        pytest.param(np.array(ROWS)[:, ::-1][:, ::-1], id="strides"),
        pytest.param([{"input": row} for row in ROWS], id="by name, each"),
        pytest.param({"input": ROWS}, id="by name"),
    ],
)
@pytest.mark.parametrize("make", [linear, scripted, lambda: exported().module()], ids=["module", "script", "program"])
def test_rows_of_any_kind_become_tensors_of_the_weights_type(rows: Any, make: Callable[[], Any]) -> None:
    scores = caller(make())(rows)
    assert (scores.dtype, scores.tolist()) == (np.float32, SCORES)


@pytest.mark.torch
def test_a_table_and_a_tensor_are_rows(tmp_path: Path) -> None:
    import pandas as pd
    import torch

    frame = pd.DataFrame(ROWS, columns=["a", "b", "c"])
    assert caller(linear())(frame).tolist() == SCORES
    assert caller(linear())(torch.tensor(ROWS, dtype=torch.float64)).tolist() == SCORES


@pytest.mark.torch
def test_a_module_is_called_in_its_mode_for_answers_and_without_gradients() -> None:
    import torch

    class Net(torch.nn.Dropout):  # type: ignore[misc]
        def forward(self, rows: Any) -> Any:
            assert torch.is_inference_mode_enabled()
            return super().forward(rows)

    assert caller(Net(0.9))(ROWS).tolist() == ROWS


@pytest.mark.torch
def test_integers_stay_such_for_a_model_that_looks_them_up() -> None:
    import torch

    net = torch.nn.Sequential(torch.nn.EmbeddingBag(5, 2), torch.nn.Linear(2, 1))
    assert caller(net)([[1, 2], [3, 4]]).shape == (2, 1)


@pytest.mark.torch
def test_outputs_are_arrays_by_name_and_each_request_gets_its_own() -> None:
    import torch

    class Outputs(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, form: Any) -> None:
            super().__init__()
            self.form = form

        def forward(self, rows: Any) -> Any:
            return self.form(rows, rows.sum(1).to(torch.bfloat16))

    expected = [ROWS, [6.0, 3.0]]
    named: Any = OrderedDict
    for form, names in [
        (lambda a, b: (a, b), ("output_0", "output_1")),
        (lambda a, b: named(rows=a, total=b, absent=None), ("rows", "total")),
        (lambda a, b: torch.return_types.max((a, b)), ("values", "indices")),
    ]:
        outputs = caller(Outputs(form))(np.array(ROWS))
        assert {name: output.tolist() for name, output in outputs.items()} == dict(zip(names, expected, strict=True))
    detections = caller(Outputs(lambda a, b: [{"box": row} for row in a]))(np.array(ROWS))
    assert [detection["box"].tolist() for detection in detections] == ROWS


@pytest.mark.torch
def test_pictures_of_several_sizes_in_a_batch_are_answered_each_as_alone() -> None:
    import torch

    class Mean(torch.nn.Module):  # type: ignore[misc]
        def forward(self, pictures: Any) -> Any:
            return {
                "mean": pictures.float().mean(dim=(1, 2)),
                "size": torch.tensor([pictures[0].numel()] * len(pictures)),
            }

    pictures = [np.full(shape, number, dtype="uint8") for number, shape in enumerate([(2, 3), (4, 4), (2, 3)])]
    results = caller(Mean())(pictures)
    assert [(float(result["mean"]), int(result["size"])) for result in results] == [(0, 6), (1, 16), (2, 6)]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ([[1.0], [1.0, 2.0]], "The input cannot be made a tensor"),
        ([["a", "b", "c"]], "The input holds values that are not numbers"),
        ({"rows": ROWS}, r"The model takes `input`, not `rows`\."),
        ([{"input": ROWS[0]}, {"rows": ROWS[0]}], r"Each item needs the same names, `input`\."),
    ],
)
def test_what_no_tensor_can_be_made_of_is_the_clients_error(argument: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        caller(linear())(argument)


@pytest.mark.torch
def test_an_exported_program_refuses_another_shape_as_the_clients_error() -> None:
    with pytest.raises(BadInputError, match="has the shape"):
        caller(exported())([[1.0, 2.0]])


@pytest.mark.torch
def test_a_program_of_a_fixed_length_is_not_batched() -> None:
    with pytest.raises(BundleError, match="takes exactly 1 at a time: write `batch = false`"):
        caller(exported(length=1))
    assert caller(exported(length=1), is_batch=False)([ROWS[0]]).tolist() == [SCORES[0]]


@pytest.mark.torch
def test_a_method_of_the_modules_own_is_called_with_tensors() -> None:
    import torch

    class Net(torch.nn.Linear):  # type: ignore[misc]
        def classify(self, rows: Any) -> Any:
            return self(rows).argmax(1)

        def predict(self, rows: Any) -> Any:
            return self(rows).argmin(1)

    net = Net(3, 2, bias=False)
    net.load_state_dict(linear().state_dict())
    assert caller(net, method="classify")(ROWS).tolist() == [1, 0]
    assert caller(net)(ROWS).tolist() == [0, 1]
    assert caller(net, method="forward")(ROWS).tolist() == SCORES
