"""Requests to begin with: the first example of an API, or one that is made of what its adapter declares."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from kappa.spec.contracts import thaw
from kappa.spec.service import ApiSpec, ServiceSpec

__all__ = ["arguments_for_curl", "arguments_for_run", "sample_request"]


def sample_request(spec: ServiceSpec, api: ApiSpec) -> Any:
    """Return a body that an API may be sent, as a JSON value; ``None`` for one that takes files."""
    shown = [example.input for example in spec.examples if example.api == api.name] + [api.input.http_input_example]
    short = next((value for value in shown if value is not None and len(_text(thaw(value))) <= _LONGEST), None)
    return thaw(short) if short is not None else api.input.sample_body()


def arguments_for_curl(spec: ServiceSpec, api: ApiSpec) -> str:
    """Return what `curl` needs beside the URL to ask an API; with as few quotes as there can be."""
    body = sample_request(spec, api)
    if body is None:
        return " ".join(f"--form {name}=@FILE" for name in api.input.part_names or ("file",))
    columns = list(getattr(api.input, "columns", None) or ())
    if getattr(api.input, "orient", "") is None and _are_rows_of(body, columns):
        body = [[row[name] for name in columns] for row in body]
    return f"--header 'Content-Type: application/json' --data {shlex.quote(_text(body))}"


def arguments_for_run(spec: ServiceSpec, api: ApiSpec) -> str:
    """Return the options of `kappa run` that hold a first input."""
    body = sample_request(spec, api)
    if api.input.part_names:
        return " ".join(f"--input-file-{name} FILE" for name in api.input.part_names)
    if sample := getattr(api.input, "columns_from", None):
        return f"--input-file {shlex.quote(str(sample))}"
    return f"--input {shlex.quote(_text(body))}" if body is not None else "--input-file FILE"


def _text(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False)


def _are_rows_of(body: Any, columns: Sequence[str]) -> bool:
    return (
        bool(columns) and isinstance(body, list) and all(isinstance(row, dict) and list(row) == columns for row in body)
    )


_LONGEST = 300
