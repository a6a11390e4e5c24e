"""Two ONNX graphs of one model become one: what both compute is computed once."""

from __future__ import annotations

from typing import Any

__all__ = ["with_output"]


def with_output(graph: bytes, other: bytes, *, output: int, name: str) -> bytes:
    """Return a graph with one more output, called ``name``: that of number ``output`` of another graph of the same
    inputs."""
    import onnx

    joined, added = onnx.load_from_string(graph), onnx.load_from_string(other)
    versions = {opset.domain: opset for opset in joined.opset_import}
    for opset in added.opset_import:
        versioned = versions.get(opset.domain) or joined.opset_import.add(domain=opset.domain)
        versioned.version = max(versioned.version, opset.version)
    tensors = {_content(tensor): tensor.name for tensor in joined.graph.initializer}
    nodes = {_content(node): list(node.output) for node in joined.graph.node}
    names: dict[str, str] = {value.name: value.name for value in added.graph.input} | {"": ""}
    for tensor in added.graph.initializer:
        names[tensor.name] = tensors.get(_content(tensor), f"other_{tensor.name}")
        if _content(tensor) not in tensors:
            joined.graph.initializer.add().CopyFrom(tensor)
            joined.graph.initializer[-1].name = names[tensor.name]
    for node in added.graph.node:
        renamed = type(node)()
        renamed.CopyFrom(node)
        renamed.input[:] = [names[value] for value in node.input]
        same = nodes.get(_content(renamed))
        renamed.output[:] = same or [f"other_{value}" if value else "" for value in node.output]
        names.update(zip(node.output, renamed.output, strict=True))
        if same is None:
            renamed.name = f"other_{node.name}"
            joined.graph.node.append(renamed)
    result = added.graph.output[output]
    joined.graph.node.append(onnx.helper.make_node("Identity", [names[result.name]], [name]))
    joined.graph.output.add().CopyFrom(result)
    joined.graph.output[-1].name = name
    onnx.checker.check_model(joined)
    return bytes(joined.SerializeToString(deterministic=True))


def _content(part: Any) -> bytes:
    """Return what a node or a tensor is, without its name and those of what it computes."""
    nameless = type(part)()
    nameless.CopyFrom(part)
    nameless.ClearField("name")
    if hasattr(part, "op_type"):
        nameless.ClearField("output")
    return bytes(nameless.SerializeToString(deterministic=True))
