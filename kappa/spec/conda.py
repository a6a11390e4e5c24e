"""A conda environment file, as `conda env update` takes it."""

from __future__ import annotations

import io
from collections.abc import Sequence

__all__ = ["environment_text"]


def environment_text(
    service: str, *, python: str, channels: Sequence[str] = ("defaults",), dependencies: Sequence[str] = ()
) -> str:
    """Return the environment of a service: Python and pip, then ``dependencies``, from ``channels`` in their order."""
    from ruamel.yaml import YAML  # PERF: 30 ms, and few services need conda

    tree = {
        "name": f"kappa-{service}",
        "channels": list(channels),
        "dependencies": [f"python={python}", "pip", *dependencies],
    }
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    buffer = io.StringIO()
    yaml.dump(tree, buffer)
    return buffer.getvalue()
