"""Networks of PyTorch compiled to ONNX: proven, answering as before, and refused with the reason where they are not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kappa.actions.building import build_project, project_to_build
from kappa.adapters.dataframe import DataframeInput
from kappa.build.compile.calls import Calls
from kappa.build.compile.converters import ConversionError
from kappa.build.compile.networks import compiled_network, network_of
from kappa.errors import BadInputError, ManifestError
from kappa.frameworks.compiled import CompiledArtifact
from kappa.frameworks.compiled_network import CompiledNetwork
from kappa.frameworks.pytorch import PytorchModelArtifact
from kappa.services.bundle import open_bundle
from kappa.services.service import LoadedService, load_service
from kappa.services.source import ServiceSource
from kappa.types import Payload
from tests.frameworks.torch_models import exported, scripted

if TYPE_CHECKING or find_spec("torch") is not None:
    from tests.frameworks import compiled_nets

pytestmark = [pytest.mark.torch, pytest.mark.onnxscript, pytest.mark.engine]

RANDOM = np.random.default_rng(5)
NETS = Path(__file__).with_name("compiled_nets.py")
ROW = [[0.5, -1.0, 2.0, 0.25]]
EXAMPLES: Mapping[str, tuple[str, list[Any]]] = {
    "dense": ("ndarray", [ROW]),
    "pictures": ("ndarray", [np.round(RANDOM.random((2, 1, 8, 8)), 3).tolist()]),
    "doubles": ("ndarray", [ROW]),
    "attention": ("ndarray", [np.round(RANDOM.normal(size=(1, 3, 8)), 3).tolist()]),
    "several": ("ndarray", [ROW]),
    "named": ("ndarray", [ROW]),
    "mapping": ("ndarray", [ROW]),
    "words": ("ndarray", [[[1, 2, 3]], [[4, 19, 0, 7, 5]]]),
    "pair": ("json", [{"town": 3, "numbers": [0.5, 1.5]}, {"town": 0, "numbers": [-2.0, 9.0]}]),
}
"""Requests, by the functions of `compiled_nets` that make the modules that answer them."""


def write(
    folder: Path,
    factory: str,
    examples: list[Any],
    *,
    adapter: str = "ndarray",
    target: str = 'artifact = "model"\nbatch = true',
    compiled: str = '"onnx"',
    code: str = "",
) -> Path:
    from safetensors.torch import save_model

    folder.mkdir(exist_ok=True)
    shutil.copyfile(NETS, folder / "nets.py")
    save_model(getattr(compiled_nets, factory)(), str(folder / "model.safetensors"))
    (folder / "handlers.py").write_text(code, encoding="utf-8")
    tables = [
        f'[[examples]]\nname = "example {at}"\napi = "predict"\ninput_file = "example{at}.json"\n'
        for at in range(len(examples))
    ]
    for at, example in enumerate(examples):
        (folder / f"example{at}.json").write_text(json.dumps(example), encoding="utf-8")
    (folder / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nname = "Service"\n'
        f'[artifacts.model]\ntype = "pytorch"\npath = "model.safetensors"\nfactory = "nets:{factory}"\n'
        f'compile = {compiled}\n[apis.predict]\n{target}\ninput = "{adapter}"\n[bundle]\nresolver = "installed"\n'
        + "".join(tables),
        encoding="utf-8",
    )
    return folder


def build(project: Path, *, no_try: bool = True) -> Path:
    return build_project(lambda: project_to_build(project), output=project / "bundle", no_try=no_try).directory


def load(bundle: Path) -> LoadedService:
    return load_service(ServiceSource.of_bundle(open_bundle(bundle), on_path=False), environ={})


def answer(service: LoadedService, request: Any) -> Any:
    return json.loads(service.apis["predict"].answer_payload(Payload(json.dumps(request).encode())).body)


def network_and_proof(name: str, arguments: list[Any], folder: Path) -> tuple[Any, Mapping[str, Any]]:
    """Compile a module in this process, whose service has asked it for ``arguments``; raises what a build explains."""
    artifact, calls = PytorchModelArtifact("model", compile="onnx"), Calls()
    network = network_of(artifact, getattr(compiled_nets, name)().eval())
    assert network is not None
    calls.made += [("example", "predict", network.inputs(argument)) for argument in arguments]
    outcome = compiled_network(artifact, network, output=folder, root=folder, calls=calls)
    return CompiledArtifact(name="model").load(folder), outcome


def largest_difference(one: Any, other: Any) -> float:
    """Return how far answers of the same form are apart."""
    if isinstance(one, Mapping):
        assert one.keys() == other.keys()
        return max(largest_difference(one[name], other[name]) for name in one)
    assert np.shape(one) == np.shape(other)
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_compiled_network_answers_as_before(name: str, tmp_path: Path) -> None:
    _, examples = EXAMPLES[name]
    arguments = [[example] if isinstance(example, dict) else np.array(example) for example in examples]
    network, outcome = network_and_proof(name, arguments, tmp_path)
    module = getattr(compiled_nets, name)().eval()
    before = PytorchModelArtifact("model").caller(module, "predict", is_batch=True)
    after = CompiledArtifact(name="model").caller(network, "predict", is_batch=True)
    for argument in arguments:
        assert largest_difference(after(argument), before(argument)) < 1e-5
        many = argument * 50 if isinstance(argument, list) else np.repeat(argument, 50, axis=0)
        assert largest_difference(after(many), before(many)) < 1e-5
    proof = outcome["proof"]
    assert (proof["examples"], proof["drawn"]) == (sum(map(len, arguments)), 48)
    assert 0 < proof["largest_difference"] < 1e-5
    assert proof["largest_at"]
    assert {"onnxscript", "torch"} <= proof["versions"].keys()


def test_a_table_is_the_only_input_of_a_network(tmp_path: Path) -> None:
    network, _ = network_and_proof("dense", [np.array(ROW)], tmp_path)
    after = CompiledArtifact(name="model").caller(network, "predict", is_batch=True)
    adapter = DataframeInput(columns=["a", "b", "c", "d"]).without_frames()
    table = adapter.merge([adapter.decode(Payload(json.dumps(ROW * 2).encode(), "application/json"))])
    assert largest_difference(after(table), after(np.array(ROW * 2))) == 0


def test_rows_of_several_lengths_share_a_batch_as_before(tmp_path: Path) -> None:
    arguments = [np.array(example) for example in EXAMPLES["words"][1]]
    network, _ = network_and_proof("words", arguments, tmp_path)
    after = CompiledArtifact(name="model").caller(network, "predict", is_batch=True)
    rows = [row for argument in arguments for row in argument] * 3
    for row, together in zip(rows, after(rows), strict=True):
        assert largest_difference(together, after(row[None])[0]) < 1e-6


def test_strange_numbers_are_answered_as_before_or_refused_with_a_reason(tmp_path: Path) -> None:
    for name, shape in (("dense", (1, 4)), ("pictures", (1, 1, 8, 8))):
        (tmp_path / name).mkdir()
        network, outcome = network_and_proof(name, [np.ones(shape)], tmp_path / name)
        module = getattr(compiled_nets, name)().eval()
        before = PytorchModelArtifact("model").caller(module, "predict", is_batch=True)
        for value, word in ((np.nan, "missing"), (np.inf, "infinite"), (-np.inf, "infinite"), (1e30, "")):
            rows = np.repeat(np.ones(shape, dtype="float32"), 3, axis=0)
            rows[1].flat[rows[1].size // 2] = value
            if word and any(note.startswith(f"it refuses {word} numbers") for note in outcome["notes"]):
                with pytest.raises(BadInputError, match=word):
                    network(rows)
            else:
                np.testing.assert_allclose(network(rows), before(rows), rtol=1e-3, atol=1e-5)


REFUSED: Mapping[str, tuple[str, str]] = {
    "branches": ("inner", "its code branches by the numbers"),
    "fixed_rows": ("", "its code fixes a length that differs from call to call"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_cannot_be_converted_says_which_step_and_why(name: str, tmp_path: Path) -> None:
    step, reason = REFUSED[name]
    with pytest.raises(ConversionError, match=reason) as caught:
        network_and_proof(name, [np.ones((5, 4))], tmp_path)
    assert caught.value.step == step
    assert not list(tmp_path.iterdir())


def test_the_bundle_holds_no_pickle_and_neither_torch_nor_the_code_of_the_module(tmp_path: Path) -> None:
    bundle = build(write(tmp_path / "project", "dense", [ROW]), no_try=False)
    names = {path.relative_to(bundle / "Service").as_posix() for path in (bundle / "Service").rglob("*.*")}
    assert {"artifacts/model/compiled.json", "artifacts/model/model.onnx"} <= names
    assert not [name for name in names if name.endswith(("nets.py", ".safetensors"))]
    lock = (bundle / "requirements.txt").read_text(encoding="utf-8")
    assert "onnxruntime==" in lock
    assert "torch==" not in lock
    code = (
        "import sys\nfor name in ('torch', 'safetensors', 'onnxscript', 'onnx'):\n    sys.modules[name] = None\n"
        "from kappa.cli.main import main\nmain()\n"
    )
    arguments = [sys.executable, "-c", code, "run", str(bundle), "predict", "--input", json.dumps(ROW)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    (row,) = json.loads(done.stdout)
    assert sum(row) == pytest.approx(1.0, abs=1e-5)


def test_what_a_network_is_not_given_is_refused(tmp_path: Path) -> None:
    network = load(build(write(tmp_path / "project", "dense", [ROW]))).artifacts.model
    assert repr(network) == "<Sequential, compiled to ONNX>"
    for wrong in (np.zeros((2, 3)), np.zeros(4), np.array([["a", "b", "c", "d"]])):
        with pytest.raises(BadInputError, match="The input `input`"):
            network(wrong)
    with pytest.raises(BadInputError, match="takes the inputs `input`, not `x`"):
        network(x=np.zeros((1, 4)))
    with pytest.raises(TypeError):
        network(np.zeros((1, 4)), np.zeros((1, 4)))
    with pytest.raises(AttributeError, match="a compiled `Sequential` has no `eval`; it is called with arrays"):
        network.eval()


def test_a_function_is_given_a_network_that_takes_and_returns_arrays(tmp_path: Path) -> None:
    code = (
        "import numpy as np\n\ndef predict(rows, model):\n"
        "    one, two = model(np.asarray(rows, dtype='float32'))\n    return one * two + model.forward(x=rows)[1]\n"
    )
    target = 'function = "handlers:predict"\nbatch = true'
    bundle = build(write(tmp_path / "project", "several", [ROW], target=target, code=code), no_try=False)
    (artifact,) = open_bundle(bundle).manifest.artifacts
    assert artifact.compiled is not None
    assert artifact.compiled.examples == 2
    assert len(answer(load(bundle), ROW)[0]) == 3


def test_a_network_that_cannot_be_converted_is_an_error_where_it_stands(tmp_path: Path) -> None:
    project = write(tmp_path / "project", "predicting", [ROW])
    with pytest.raises(ManifestError, match="its own method `predict` answers an API") as caught:
        build(project)
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.span.line) == ("KF350", 8)
    assert not (project / "bundle").exists()


def test_without_examples_samples_prove_a_network(tmp_path: Path) -> None:
    project = write(tmp_path / "project", "dense", [], compiled='{ samples = "rows.npy" }')
    np.save(project / "rows.npy", RANDOM.normal(size=(30, 4)))
    (artifact,) = open_bundle(build(project)).manifest.artifacts
    assert artifact.compiled is not None
    assert (artifact.compiled.examples, artifact.compiled.samples) == (0, 30)


def test_samples_of_another_shape_are_refused(tmp_path: Path) -> None:
    project = write(tmp_path / "project", "dense", [], compiled='{ samples = "rows.csv" }')
    (project / "rows.csv").write_text("a,b\n1,x\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=r"`rows\.csv` does not hold rows of the network") as caught:
        build(project)
    assert caught.value.diagnostics[0].code == "KF352"


def test_an_attribute_that_only_the_module_has_is_an_error_at_its_line(tmp_path: Path) -> None:
    code = "def predict(rows, model):\n    return model.eval()(rows)\n"
    target = 'function = "handlers:predict"\nbatch = true'
    with pytest.raises(ManifestError) as caught:
        build(write(tmp_path / "project", "dense", [ROW], target=target, code=code))
    (problem,) = [problem for problem in caught.value.diagnostics if problem.is_error]
    assert (problem.code, problem.file.name, problem.span.line) == ("KF353", "handlers.py", 2)


def test_an_exported_program_is_compiled_and_torchscript_is_not(tmp_path: Path) -> None:
    artifact, calls = PytorchModelArtifact("model", compile={"samples": "none"}), Calls()
    program = network_of(artifact, exported().module())
    assert program is not None
    compiled_network(artifact, program, output=tmp_path, root=tmp_path, calls=calls)
    network = CompiledArtifact(name="model").load(tmp_path)
    assert isinstance(network, CompiledNetwork)
    assert network([[1.0, 2.0, 3.0]]).tolist() == [[4.0, 5.0]]
    with pytest.raises(ConversionError, match="TorchScript has no conversion"):
        network_of(artifact, scripted())
