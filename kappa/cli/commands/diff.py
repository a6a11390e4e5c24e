"""`kappa diff`: what changed between two bundles."""

from __future__ import annotations

import json
from typing import Any

from kappa import actions
from kappa.cli.arguments import bundle_argument, format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.tables import text_table, yaml_text
from kappa.errors import printable

__all__ = ["command"]

_MARKS = {"added": "+", "removed": "-", "changed": "~"}
_WIDTH = 60


@kappa_command(
    "diff",
    uses_store=True,
    examples=[
        "kappa diff IrisClassifier:1.0 IrisClassifier:2.0",
        "kappa diff IrisClassifier:production IrisClassifier:latest --format json",
        "kappa diff dist/iris IrisClassifier:latest",
    ],
)
@bundle_argument("before")
@bundle_argument("after")
@format_option("table", "json", "yaml")
def command(before: str, after: str, *, output_format: str) -> None:
    """Show what changed between two bundles.

    BEFORE and AFTER are tags, aliases or paths. Compared are packages, environment, APIs with their schemas, models
    with their metadata, labels, files, and code line by line. Of a bundle on a server only what is compared is fetched.
    """
    difference = actions.difference_of(before, after)
    if output_format != "table":
        tree = difference.to_tree()
        print_result(json.dumps(tree, indent=2) if output_format == "json" else yaml_text(tree))
        return
    if difference.is_empty:
        print_note(
            f"Both are `{difference.before}`, and the same."
            if difference.before == difference.after
            else f"`{difference.before}` and `{difference.after}` are the same but for their versions."
        )
        return
    blocks = [f"{difference.before} -> {difference.after}"]
    for name, changes in difference.sections:
        if changes:
            rows = [
                [_MARKS[change.kind], change.subject, _shown(change.before), _shown(change.after)] for change in changes
            ]
            blocks.append(f"{name.upper()}\n{text_table([['', 'SUBJECT', 'BEFORE', 'AFTER'], *rows])}")
    for path, text in difference.code.items():
        lines = [printable(line.expandtabs()) for line in text.rstrip().split("\n")] if text else ["differs"]
        blocks.append("\n".join([f"CODE {printable(path)}", *lines]))
    print_result("\n\n".join(blocks))


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    text = printable(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
