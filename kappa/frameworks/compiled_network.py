"""Networks that a build has compiled to ONNX: they take arrays by position or by name, and return arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from kappa.errors import BadInputError
from kappa.frameworks.by_shape import answer_by_shape, are_of_several_shapes
from kappa.frameworks.named_inputs import NamedInputs
from kappa.inspection.report import Tensor
from kappa.spec.contracts import Spec
from kappa.wording import listed

__all__ = ["CompiledNetwork", "CompiledTensor", "NetworkFacts", "Structure"]

Structure = Literal["array", "tuple", "list", "mapping"]
"""How a network returns its outputs: a single one by itself, or several."""


class CompiledTensor(Spec):
    """An input of a network."""

    name: str
    dtype: str
    """NumPy's name of its type."""
    shape: tuple[int, ...]
    """Its shape, -1 for lengths that may differ from call to call."""


class NetworkFacts(Spec):
    """What a compiled network is beside its graph, whose inputs and outputs are numbered."""

    layout: Literal["network"] = "network"
    inputs: tuple[CompiledTensor, ...]
    outputs: tuple[str, ...]
    """The names of the outputs."""
    structure: Structure
    methods: tuple[str, ...]
    """The methods by which it is called, beside a call of itself."""
    takes_missing: bool = True
    """Whether it answers for NaN as the network does; else such an input is refused."""
    takes_infinity: bool = True
    source: str
    """The class of the network that it was made from."""


class CompiledNetwork:
    """Answers as the network did that it was made from."""

    def __init__(self, session: Any, facts: NetworkFacts, *, artifact: str = "model") -> None:
        import numpy as np

        self.session = session
        self._facts, self._np, self._artifact = facts, np, artifact
        self._names = [tensor.name for tensor in facts.inputs]
        self._inputs = NamedInputs(_tensors(facts), artifact=artifact, is_batch=False)
        self._floats = [tensor.name for tensor in facts.inputs if np.dtype(tensor.dtype).kind == "f"]
        self._checks = not (facts.takes_missing and facts.takes_infinity)
        for method in facts.methods:
            setattr(self, method, self.__call__)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Return what the network returns, as NumPy's arrays; raises `BadInputError` for what is not its input."""
        values = {**dict(zip(self._names, arguments, strict=False)), **named}
        if len(values) != len(arguments) + len(named):
            raise TypeError(f"the network takes the inputs {listed(self._names)}")
        outputs = self.outputs(self._inputs(values))
        if self._facts.structure == "mapping":
            return outputs
        (first, *_), arrays = outputs.values(), outputs.values()
        return (
            first if self._facts.structure == "array" else {"tuple": tuple, "list": list}[self._facts.structure](arrays)
        )

    def __getattr__(self, name: str) -> Any:
        facts = self.__dict__.get("_facts")
        if facts is None or name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"a compiled `{facts.source}` has no `{name}`; it is called with arrays, and has "
            f"{listed([*facts.methods, 'session'])}. Without `compile`, a bundle holds the network itself"
        )

    def __repr__(self) -> str:
        return f"<{self._facts.source}, compiled to ONNX>"

    def outputs(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs by name; ``arrays`` are the inputs, of the types and shapes that they must have."""
        if self._checks:
            for name in self._floats:
                self._check(name, arrays[name])
        feed = {f"input_{index}": arrays[name] for index, name in enumerate(self._names)}
        values = self.session.run([f"output_{index}" for index in range(len(self._facts.outputs))], feed)
        return dict(zip(self._facts.outputs, values, strict=True))

    def caller(self, *, is_batch: bool) -> Callable[[Any], Any]:
        """Return what answers an API: it is given what the input adapter makes, and returns several outputs by name."""
        inputs = NamedInputs(_tensors(self._facts), artifact=self._artifact, is_batch=is_batch)
        is_single = self._facts.structure == "array"

        def answer(argument: Any) -> Any:
            outputs = self.outputs(inputs(argument))
            return next(iter(outputs.values())) if is_single else outputs

        def by_shape(argument: Any) -> Any:
            return answer_by_shape(answer, argument) if are_of_several_shapes(argument) else answer(argument)

        return by_shape if is_batch else answer

    def _check(self, name: str, array: Any) -> None:
        if not self._facts.takes_missing and self._np.isnan(array).any():
            raise BadInputError(
                f"The input `{name}` holds a missing value (NaN), which the compiled network does not take."
            )
        if not self._facts.takes_infinity and self._np.isinf(array).any():
            raise BadInputError(
                f"The input `{name}` holds an infinite value, which the compiled network does not take."
            )


def _tensors(facts: NetworkFacts) -> Sequence[Tensor]:
    return [Tensor(tensor.name, tensor.dtype, tensor.shape) for tensor in facts.inputs]
