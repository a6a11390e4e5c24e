"""Puts a model's file into a bundle as a class of the service's own code does it: run in a process of its own,
``python -m kappa.build.code.adopt_models``. The answer goes to a file, because the user's code may print.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from kappa.errors import KappaError, exception_text
from kappa.services.loading import code_of_project, import_reference, loading
from kappa.spec.contracts import AnyArtifact, ArtifactPlugin

__all__ = ["adopt_model", "main"]


@loading()
def adopt_model(order: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out an order of `kappa.build.bundle.own_types`; return the class's answers, or the problem."""
    declared: ArtifactPlugin = TypeAdapter(AnyArtifact).validate_python(order["artifact"])
    code = code_of_project(Path(order["root"]), order["paths"], on_path=order["on_path"])
    path = Path(order["path"])
    try:
        plugin = declared.resolved(partial(import_reference, code=code))
        if why := plugin.problem_of(path):
            return {"problem": f"`{path.name}` is not a model of that type: {why}."}
        with code.unpickling():
            plugin.adopt(path, Path(order["directory"]))
    except KappaError as exc:
        return {"problem": str(exc)}
    except Exception as exc:  # noqa: BLE001 - the user's code runs here, and may raise anything
        return {"problem": exception_text(exc)}
    return {"is_pickle": plugin.runs_code(plugin.needs_of_file(path)), "requires": list(plugin.requires())}


def main() -> None:
    order, answer = map(Path, sys.argv[1:])
    outcome = adopt_model(json.loads(order.read_text(encoding="utf-8")))
    answer.write_text(json.dumps(outcome), encoding="utf-8")


if __name__ == "__main__":
    main()
