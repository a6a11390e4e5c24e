"""Describes requests by importing the classes in the user's code that define them: run in a process of its own,
``python -m kappa.build.code.describe_inputs``. The answer goes to a file, because the user's code may print.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kappa.errors import KappaError, exception_text
from kappa.services.loading import code_of_project, import_reference, loading
from kappa.spec.contracts import InputAdapter, OutputAdapter, PluginOfService
from kappa.spec.service import ServiceSpec

__all__ = ["describe_inputs", "main"]


@loading()
def describe_inputs(spec: ServiceSpec, root: Path, paths: Sequence[str] = ()) -> dict[str, Any]:
    """Return what each adapter of a service is, the input and the output of each API in turn; or the problem.

    Of a registered one its options, with what it refers to written into them; of a class of the service's own its
    OpenAPI content, and the distributions that it needs.
    """
    adapter: InputAdapter | OutputAdapter = spec.apis[0].input
    try:
        load = partial(import_reference, code=code_of_project(root, spec.files.paths, on_path=paths))
        answers = []
        for api in spec.apis:
            for adapter in (api.input, api.output):
                answers.append(_description(adapter, load))
    except KappaError as exc:
        return {"problem": str(exc)}
    except Exception as exc:  # noqa: BLE001 - an adapter of the user's own may raise anything
        return {"problem": f"`{adapter.type}` cannot be asked what requests look like: {exception_text(exc)}."}
    return {"adapters": answers}


def _description(adapter: InputAdapter | OutputAdapter, load: Callable[[str], Any]) -> dict[str, Any]:
    if not isinstance(adapter, PluginOfService):
        described = adapter.described(load) if isinstance(adapter, InputAdapter) else adapter
        return {"options": described.model_dump(mode="json", by_alias=True)}
    resolved: InputAdapter | OutputAdapter = adapter.resolved(load)
    content = resolved.request_content() if isinstance(resolved, InputAdapter) else resolved.response_content()
    return {"content": content, "requires": resolved.requires()}


def main() -> None:
    order, root, answer = map(Path, sys.argv[1:4])
    spec = ServiceSpec.model_validate_json(order.read_text(encoding="utf-8"))
    answer.write_text(json.dumps(describe_inputs(spec, root, sys.argv[4:])), encoding="utf-8")


if __name__ == "__main__":
    main()
