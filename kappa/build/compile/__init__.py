"""Models compiled to ONNX: converted in a process of their own, and proven to answer as the originals do."""

__all__: list[str] = []
