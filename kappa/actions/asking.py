"""Asks a model its first request: run in a process of its own, ``python -m kappa.actions.asking``, because that loads
it. The answer goes to a file, because the user's code may print.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kappa.actions.examples import examples_of, replay_in
from kappa.actions.targets import ProjectTarget, open_target
from kappa.errors import KappaError, exception_text
from kappa.services.service import LoadedService
from kappa.spec.service import ExampleSpec

__all__ = ["ask_first", "main"]


def ask_first(order: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out an order of `kappa.actions.starting`; return the request that the model was sent, its answer and the
    columns that it knows, or the problem."""
    target = ProjectTarget(Path(order["file"]), order["text"])
    try:
        with open_target(target) as service:
            request, columns = _request(service, order)
            example = ExampleSpec(name="a first request", api=order["api"], **request)
            replay = replay_in(service, example, examples_of(target))
    except KappaError as exc:
        return {"problem": str(exc)}
    except Exception as exc:  # noqa: BLE001 - the user's code runs here, and may raise anything
        return {"problem": exception_text(exc)}
    if replay.problems:
        return {"problem": replay.problems[0]}
    return {"request": request, "columns": columns, "got": replay.got}


def _request(service: LoadedService, order: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return `input` or `input_file` of the first example, with values that the model itself knows, and the names of
    its columns where the kappafile gives no dtypes."""
    request, (plugin,) = dict(order["request"]), service.spec.artifacts
    adapter = service.spec.api(order["api"]).input
    row = plugin.first_row(service.artifacts[plugin.name].value)
    is_open = adapter.type == "dataframe" and not isinstance(adapter.options.get("columns"), Mapping)
    if "input" in request and row is not None and (is_open or (adapter.type == "ndarray" and not adapter.options)):
        request["input"] = [row]
    return request, [*row] if is_open and isinstance(row, Mapping) else []


def main() -> None:
    order, answer = map(Path, sys.argv[1:])
    outcome = ask_first(json.loads(order.read_text(encoding="utf-8")))
    answer.write_text(json.dumps(outcome, default=str), encoding="utf-8")


if __name__ == "__main__":
    main()
