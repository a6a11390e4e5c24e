"""Bundles as rows of text."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

__all__ = ["age_of", "bundle_table", "text_table", "yaml_text"]

_UNITS = (("year", 31_557_600), ("week", 604_800), ("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
_CELL_WIDTH = 60
_NOT_TEXT_IN_YAML_1_1 = re.compile(r"[-+.\d][\d_.:eE+-]*|y|yes|n|no|on|off", re.IGNORECASE)


def bundle_table(
    bundles: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    now: datetime | None = None,
    more: Mapping[str, Callable[[int], str]] | None = None,
) -> str:
    """Return one line per bundle, each given as its tag and its metadata (`kappa.spec.views`).

    With its age if ``now`` is given, else with the time it was built, in this machine's time zone. ``more`` are further
    columns: by heading, what the row of a number holds.
    """
    further = more or {}
    rows = [["MODEL_VERSION", "CREATED_AT" if now is None else "AGE", "APIS", "ARTIFACTS", *further]]
    for number, (tag, view) in enumerate(bundles):
        created = datetime.fromisoformat(view["createdAt"].replace("Z", "+00:00"))
        rows.append(
            [
                tag,
                f"{created.astimezone():%Y-%m-%d %H:%M}" if now is None else age_of(created, now=now),
                _enumerated([f"{api['name']}<{api['InputType']}>" for api in view["apis"]]),
                _enumerated([f"{artifact['name']}<{artifact['artifactType']}>" for artifact in view["artifacts"]]),
                *(cell(number) for cell in further.values()),
            ]
        )
    return text_table(rows)


def _enumerated(words: Sequence[str]) -> str:
    """Return words in one line, those that make it too long as a number."""
    shown = len(words)
    while shown > 1 and len(", ".join(words[:shown])) > _CELL_WIDTH:
        shown -= 1
    rest = len(words) - shown
    return f"{', '.join(words[:shown])} and {rest} more" if rest else ", ".join(words)


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns with two blanks between them, none at the end of a line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def age_of(created: datetime, *, now: datetime) -> str:
    """Return the two largest units of the time since ``created``: ``1 day and 22 hours``."""
    rest = max(0, int((now - created).total_seconds()))
    parts = []
    for unit, seconds in _UNITS:
        count, rest = divmod(rest, seconds)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " and ".join(parts[:2]) or "0 seconds"


def yaml_text(tree: Any) -> str:
    """Return plain values as YAML, without a newline at the end.

    Text that YAML 1.1, which many programs still read, takes for a number or a truth value is in quotes.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import SafeRepresenter

    class Representer(SafeRepresenter):
        """Writes text that is only text."""

    def write(representer: SafeRepresenter, text: str) -> Any:
        style = "'" if _NOT_TEXT_IN_YAML_1_1.fullmatch(text) else None
        return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Representer.add_representer(str, write)
    buffer = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(tree, buffer)
    return buffer.getvalue().removesuffix("\n").removesuffix("\n...")
