"""Networks compiled to ONNX, and the proof that they answer as before: arrays in, arrays out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kappa.adapters.dataframe import DataframeInput
from kappa.build.compile.array_drawing import draw_arrays, with_one
from kappa.build.compile.calls import Calls
from kappa.build.compile.converters import ConversionError
from kappa.build.compile.keras_models import KerasNetwork
from kappa.build.compile.proof import Comparison, RefusedError, versions_of
from kappa.build.compile.torch_models import TorchNetwork
from kappa.errors import BadInputError, KappaError, printable
from kappa.frameworks.by_shape import are_of_several_shapes
from kappa.frameworks.compiled import CompiledArtifact
from kappa.frameworks.compiled_network import CompiledNetwork, CompiledTensor, NetworkFacts, Structure
from kappa.services.inference import read_payload
from kappa.spec.compiling import NO_SAMPLES, CompileOptions
from kappa.spec.contracts import ArtifactPlugin
from kappa.wording import listed

__all__ = ["Network", "NetworkRecorder", "compiled_network", "network_of"]

_ONE_BY_ONE = 3
"""How many drawn rows are asked by themselves, too."""

Arrays = Mapping[str, Any]
"""Arrays by the names of a network's inputs, or outputs."""


class Network(Protocol):
    """A network of some library, by the names of its inputs."""

    source: str
    """The name of its class."""
    methods: tuple[str, ...]
    """The methods by which it is called beside a call of itself."""

    def has(self, attribute: str) -> bool:
        """Return whether the library's own object has an attribute."""

    def caller(self, method: str, *, is_batch: bool) -> Callable[[Any], Any]:
        """Return what answers an API by a method of the network itself."""

    def inputs(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """Return the inputs of a call as arrays of the types that the network is given; raises `BadInputError`."""

    def outputs(self, arrays: Arrays) -> tuple[Structure, dict[str, Any]]:
        """Return how the network returns its outputs, and these; raises `ConversionError` for what no ONNX returns."""

    def first_rows(self) -> Any:
        """Return rows to begin with, ``None`` if nothing tells what it takes."""

    def to_onnx(self, arrays: Arrays, shapes: Mapping[str, Sequence[int]], outputs: Sequence[str]) -> bytes:
        """Return it as a graph whose inputs are `input_0`, … and whose outputs are `output_0`, …; sizes of -1 in
        ``shapes`` may differ from those of ``arrays``. Raises `ConversionError`."""


def network_of(plugin: ArtifactPlugin, model: Any) -> Network | None:
    """Return a model as a network; ``None`` for one that is an estimator of tables."""
    if plugin.type == "keras":
        return KerasNetwork(model, plugin)
    return TorchNetwork(model, plugin) if plugin.type == "pytorch" else None


class NetworkRecorder:
    """Stands for a network while examples are answered: it has what a compiled one has, and keeps what it is given."""

    def __init__(self, network: Network, calls: Calls) -> None:
        self._network, self._calls = network, calls

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        arrays = self._network.inputs(*arguments, **named)
        structure, outputs = self._network.outputs(arrays)
        self._record(arrays)
        if structure == "mapping":
            return outputs
        values = [*outputs.values()]
        return values[0] if structure == "array" else tuple(values) if structure == "tuple" else values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._network.methods:
            return self.__call__
        if self._network.has(name):
            self._calls.absent.append(name)
        raise AttributeError(f"a compiled `{self._network.source}` has no `{name}`")

    def caller(self, method: str, *, is_batch: bool) -> Callable[[Any], Any]:
        """Return what answers an API by itself, and keeps what it is given."""
        answer = self._network.caller(method, is_batch=is_batch)

        def recorded(argument: Any) -> Any:
            for part in [[item] for item in argument] if are_of_several_shapes(argument) else [argument]:
                self._record(self._network.inputs(part))
            return answer(argument)

        return recorded

    def _record(self, arrays: Arrays) -> None:
        self._calls.made.append((self._calls.example, self._network.methods[0], arrays))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows that both networks are asked at once, and what they are called."""

    arrays: Arrays
    names: list[str]


def compiled_network(
    plugin: ArtifactPlugin, network: Network, *, output: Path, root: Path, calls: Calls
) -> dict[str, Any]:
    """Convert a network into the folder ``output``, hold it against the network, and return the proof.

    The file of samples is found in ``root``; ``calls`` are those of the examples. Raises `ConversionError`, or another
    exception that `kappa.build.compile.compiler.failure_of` explains.
    """
    options: CompileOptions = plugin.compiling
    if calls.absent:
        raise RefusedError("attribute", f"An example asks the model for {listed(dict.fromkeys(calls.absent))}.")
    for method in calls.methods:
        network.caller(method, is_batch=False)  # raises for one that is not converted
    asked = [
        _Rows(arrays, [f"row {at + 1} of the example `{example}`" for at in range(_count(arrays))])
        for example, _, arrays in calls.made
    ]
    sampled = _samples(options, network, root)
    if not asked and not sampled and options.samples != NO_SAMPLES:
        why = f" The examples could not be answered: {'; '.join(calls.failures)}." if calls.failures else ""
        raise RefusedError("unproven", f"No example asks the model anything, and no samples are named.{why}")
    base = [*asked, *sampled] or [_first_rows(network)]
    shapes = _shapes([rows.arrays for rows in base])
    structure, outputs = network.outputs(base[0].arrays)
    facts = NetworkFacts(
        inputs=tuple(
            CompiledTensor(name=name, dtype=array.dtype.name, shape=tuple(shapes[name]))
            for name, array in base[0].arrays.items()
        ),
        outputs=tuple(outputs),
        structure=structure,
        methods=network.methods,
        source=network.source,
    )
    graph = network.to_onnx(base[0].arrays, shapes, [*outputs])
    drawn = _Rows(draw_arrays([rows.arrays for rows in base]), [])
    drawn = _Rows(drawn.arrays, [f"drawn row {at + 1}" for at in range(_count(drawn.arrays))])
    with tempfile.TemporaryDirectory(prefix="kappa-") as name:
        twin = _loaded(Path(name), graph, facts)
        compared = Comparison(options.rtol, options.atol, frozenset(), is_by_row=True)
        for rows in [*asked, *sampled, drawn, *_single_rows(drawn)]:
            _compare(network, twin, rows, compared)
        if compared.count:
            raise RefusedError("differs", _say_differences(compared))
        strange, warnings = _strange(network, twin, base[0].arrays, options)
    facts = facts.model_copy(update=strange)
    CompiledArtifact.write(output, graph, facts)
    return {
        "proof": {
            "to": options.to,
            "versions": versions_of(plugin),
            "methods": list(facts.methods),
            "examples": sum(len(rows.names) for rows in asked),
            "samples": sum(len(rows.names) for rows in sampled),
            "drawn": len(drawn.names),
            "equal_labels": None,
            "largest_difference": compared.largest,
            "largest_at": compared.largest_at,
            "rtol": options.rtol,
            "atol": options.atol,
        },
        "warnings": calls.failures,
        "notes": warnings,
    }


def _samples(options: CompileOptions, network: Network, root: Path) -> list[_Rows]:
    """Return the rows of the file of samples: a table, or an array in a `.npy`; none if there is no file."""
    if options.samples in (None, NO_SAMPLES):
        return []
    path = root / str(options.samples)
    try:
        if path.suffix.lower() == ".npy":
            import numpy as np

            rows = np.load(path, allow_pickle=False)
        else:
            adapter = DataframeInput()
            rows = adapter.merge([adapter.decode(read_payload(path))])
        arrays = network.inputs(rows)
    except (BadInputError, OSError, ValueError) as exc:
        raise RefusedError("samples", f"`{options.samples}` does not hold rows of the network: {exc}") from None
    return [_Rows(arrays, [f"row {at + 1} of `{options.samples}`" for at in range(_count(arrays))])]


def _first_rows(network: Network) -> _Rows:
    rows = network.first_rows()
    if rows is None:
        reason = "Nothing tells the shape of what it takes"
        raise RefusedError("unproven", f"{reason}: add an example, or name a file of `samples`.")
    return _Rows(network.inputs(rows), ["a first row"])


def _shapes(tables: Sequence[Arrays]) -> dict[str, list[int]]:
    """Return the shape of each input, -1 for lengths that may differ: the first, and others that do in ``tables``."""
    shapes: dict[str, list[int]] = {name: list(array.shape) for name, array in tables[0].items()}
    for arrays in tables:
        if arrays.keys() != shapes.keys():
            raise ConversionError("", f"it is called with {listed(shapes)}, and with {listed(arrays)}")
        for name, array in arrays.items():
            if array.ndim != len(shapes[name]):
                raise ConversionError("", f"its input `{name}` has {len(shapes[name])} axes, and {array.ndim}")
            shapes[name] = [
                size if size == other else -1 for size, other in zip(shapes[name], array.shape, strict=True)
            ]
    return {name: [-1, *sizes[1:]] if sizes else [] for name, sizes in shapes.items()}


def _count(arrays: Arrays) -> int:
    """Return the number of rows of inputs; those without an axis are of one."""
    return max((len(array) for array in arrays.values() if array.ndim), default=1)


def _loaded(folder: Path, graph: bytes, facts: NetworkFacts) -> CompiledNetwork:
    artifact = CompiledArtifact(name="model")
    CompiledArtifact.write(folder, graph, facts)
    try:
        loaded = artifact.load(folder)
    except KappaError:
        raise
    except Exception as exc:  # ONNX Runtime has no class of its own for what it does not implement
        text = " ".join(str(exc).split())
        raise ConversionError("", f"ONNX Runtime does not run the result: {printable(text[:200])}") from exc
    if not isinstance(loaded, CompiledNetwork):
        raise TypeError(f"a network was written, and a {type(loaded).__name__} was read")
    return loaded


def _single_rows(rows: _Rows) -> Iterator[_Rows]:
    for at in range(min(_ONE_BY_ONE, len(rows.names))):
        arrays = {name: array[at : at + 1] if array.ndim else array for name, array in rows.arrays.items()}
        yield _Rows(arrays, [f"{rows.names[at]} by itself"])


def _compare(network: Network, twin: CompiledNetwork, rows: _Rows, compared: Comparison) -> None:
    """Ask both networks the same rows, and compare every output; the outputs of no row are compared as a whole."""
    before = _answer(lambda: network.outputs(rows.arrays)[1])
    after = _answer(lambda: twin.outputs(rows.arrays))
    if isinstance(before, Exception) or isinstance(after, Exception):
        if not (isinstance(before, Exception) and isinstance(after, Exception)):
            compared.compare("call", lambda _: _raised(before), lambda _: _raised(after), rows, rows.names[:1])
        return
    for name, expected in before.items():
        is_by_row = expected.ndim > 0 and len(expected) == len(rows.names)
        names = rows.names if is_by_row else ["all rows together"]
        compared.compare(name, lambda _, e=expected: e, lambda _, a=after[name]: a, rows, names)  # type: ignore[misc]


def _answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as exc:  # noqa: BLE001 - a network may raise anything, and is then to raise in both forms
        return exc


def _raised(outcome: Any) -> Any:
    """Raise what was raised; return what was not, as an array."""
    if isinstance(outcome, Exception):
        raise outcome
    return next(iter(outcome.values()))


def _strange(
    network: Network, twin: CompiledNetwork, arrays: Arrays, options: CompileOptions
) -> tuple[dict[str, bool], list[str]]:
    """Return which strange numbers are refused, because the compiled network answers otherwise, and words on it."""
    import numpy as np

    refused, notes = {}, []
    for key, value, words in (
        ("takes_missing", np.nan, "missing numbers (NaN)"),
        ("takes_infinity", np.inf, "infinite numbers"),
    ):
        compared = Comparison(options.rtol, options.atol, frozenset(), is_by_row=True)
        for rows in with_one(arrays, value):
            _compare(network, twin, _Rows(rows, [f"a row with {words}" for _ in range(_count(rows))]), compared)
        if compared.count:
            refused[key] = False
            notes.append(f"it refuses {words}, for which the network answers otherwise than its ONNX")
    return refused, notes


def _say_differences(compared: Comparison) -> str:
    lines = [f"- {difference}" for difference in compared.differences]
    if more := compared.count - len(lines):
        lines.append(f"- and {more} more")
    answers = "one answer is" if compared.count == 1 else f"{compared.count} answers are"
    return "\n".join([f"Converted to ONNX, {answers} another:", *lines])
