"""Asking a model's file through a kappafile that names nothing but the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kappa.build.project import check_kappafile, read_project
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.types import Payload

__all__ = ["answers", "problems"]

_KAPPAFILE = """\
kappafile = 1
[service]
name = "Service"
[artifacts.model]
type = "{kind}"
path = "{path}"
{options}
[apis.predict]
artifact = "model"
method = "{method}"
input = {input}
"""


def problems(folder: Path, kind: str, path: str, *, input_adapter: str = '"dataframe"', options: str = "") -> list[str]:
    """Return the codes of what `kappa validate` reports as wrong with such a kappafile."""
    return _errors(_written(folder, kind, path, input_adapter=input_adapter, options=options))


def answers(
    folder: Path,
    kind: str,
    path: str,
    requests: Sequence[Any],
    *,
    method: str = "predict",
    input_adapter: str = '"dataframe"',
    options: str = "",
) -> list[Any]:
    """Return how the model at ``path`` in ``folder`` answers JSON ``requests``: as JSON, those of one batch."""
    file = _written(folder, kind, path, input_adapter=input_adapter, options=options, method=method)
    assert not _errors(file)
    project = read_project(folder)
    service = load_service(ServiceSource.of_project(project.spec, project.sources, root=folder), environ={})
    try:
        api = service.apis["predict"]
        tasks = [api.decode(Payload(json.dumps(request).encode())) for request in requests]
        return [json.loads(answer.body) for answer in api.answer(tasks)]
    finally:
        service.close()


def _written(folder: Path, kind: str, path: str, *, input_adapter: str, options: str, method: str = "predict") -> Path:
    text = _KAPPAFILE.format(kind=kind, path=path, options=options, method=method, input=input_adapter)
    (folder / "kappafile.toml").write_text(text, encoding="utf-8")
    return folder / "kappafile.toml"


def _errors(file: Path) -> list[str]:
    return [problem.code for problem in check_kappafile(file)[1] if problem.is_error]
