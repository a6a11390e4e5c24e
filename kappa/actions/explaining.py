"""Explanations of a kappafile's keys and of the codes of its problems."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Literal

from kappa.build.manifest.explain import explain, keys, render_overview, render_text

__all__ = ["explain_name"]


def explain_name(name: str | None, form: Literal["text", "json"]) -> str:
    """Write what a key or a code means, or all of the keys and codes; raises `UsageError` for one that is not known."""
    if name is None:
        return _json([asdict(key) for key in keys().values()]) if form == "json" else render_overview()
    explained = explain(name)
    return _json(asdict(explained)) if form == "json" else render_text(explained)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
