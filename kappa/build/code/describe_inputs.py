"""Tells what requests look like, as classes in the user's code say it, by importing them: run in a process of its own,
``python -m kappa.build.code.describe_inputs``. The answer goes to a file, because the user's code may print.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kappa.errors import KappaError
from kappa.services.loading import code_of_project, import_reference, loading
from kappa.spec.service import ServiceSpec

__all__ = ["describe_inputs", "main"]


@loading()
def describe_inputs(spec: ServiceSpec, root: Path, paths: Sequence[str] = ()) -> dict[str, Any]:
    """Return the input adapters of a service as JSON, with what they refer to written into them; or the problem."""
    try:
        load = partial(import_reference, code=code_of_project(root, spec.files.paths, on_path=paths))
        inputs = [api.input.described(load) for api in spec.apis]
    except KappaError as exc:
        return {"problem": str(exc)}
    return {"inputs": [adapter.model_dump(mode="json", by_alias=True) for adapter in inputs]}


def main() -> None:
    asked, root, answer = map(Path, sys.argv[1:4])
    spec = ServiceSpec.model_validate_json(asked.read_text(encoding="utf-8"))
    answer.write_text(json.dumps(describe_inputs(spec, root, sys.argv[4:])), encoding="utf-8")


if __name__ == "__main__":
    main()
