"""Problems of kappafiles written for machines: JSON, GitHub's workflow commands, and SARIF.

SARIF is OASIS' Static Analysis Results Interchange Format 2.1.0; the workflow commands are those that GitHub Actions
reads from a step's output and shows beside the lines of a pull request.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kappa._version import __version__
from kappa.build.manifest.codes import CODES
from kappa.build.manifest.diagnostics import Diagnostic, display_path
from kappa.build.manifest.positions import Span

__all__ = ["diagnostic_tree", "render_github", "render_json", "render_sarif"]

_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render_json(diagnostics: Sequence[Diagnostic]) -> str:
    """Write a list of objects, one per problem; lines and columns count from 1, and ends are exclusive."""
    return json.dumps([diagnostic_tree(diagnostic) for diagnostic in diagnostics], indent=2, ensure_ascii=False)


def diagnostic_tree(diagnostic: Diagnostic) -> dict[str, Any]:
    """Return a problem as JSON has it."""
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "file": str(diagnostic.file),
        "line": diagnostic.span.line,
        "column": diagnostic.span.column,
        "end_line": diagnostic.span.end_line,
        "end_column": diagnostic.span.end_column,
        "path": diagnostic.path,
        "help": diagnostic.help,
        "replacement": diagnostic.replacement,
        "labels": [
            {
                "file": str(label.file),
                "line": label.span.line,
                "column": label.span.column,
                "message": label.message,
            }
            for label in diagnostic.labels
        ],
    }


def render_github(diagnostics: Sequence[Diagnostic], *, relative_to: Path | None = None) -> str:
    """Write one workflow command per problem; paths are relative to the repository, where the step runs."""
    return "\n".join(_command(diagnostic, relative_to) for diagnostic in diagnostics)


def _command(diagnostic: Diagnostic, relative_to: Path | None) -> str:
    span = diagnostic.span
    properties: dict[str, Any] = {
        "file": display_path(diagnostic.file, relative_to=relative_to),
        "line": span.line,
        "endLine": span.end_line,
    }
    if span.line == span.end_line:  # columns are allowed on one line only; GitHub's end is inclusive
        properties |= {"col": span.column, "endColumn": max(span.column, span.end_column - 1)}
    properties["title"] = f"kappa ({diagnostic.code})"
    written = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in properties.items())
    return f"::{diagnostic.severity} {written}::{_escaped(_full_message(diagnostic))}"


def _escaped(text: str, also: str = "") -> str:
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _full_message(diagnostic: Diagnostic) -> str:
    return f"{diagnostic.message} {diagnostic.help}".rstrip()


def render_sarif(diagnostics: Sequence[Diagnostic], *, relative_to: Path | None = None) -> str:
    """Write one SARIF log with one run; every code is a rule, whether it was met or not."""
    codes = list(CODES)
    rules = [
        {
            "id": code,
            "shortDescription": {"text": f"{entry.title}."},
            "fullDescription": {"text": entry.explanation},
            "help": {"text": f"{entry.explanation} `kappa explain {code}` says more."},
        }
        for code, entry in CODES.items()
    ]
    driver = {"name": "kappa", "semanticVersion": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(diagnostic, codes, relative_to) for diagnostic in diagnostics],
    }
    return json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _result(diagnostic: Diagnostic, codes: Sequence[str], relative_to: Path | None) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": codes.index(diagnostic.code),
        "level": diagnostic.severity,
        "message": {"text": _full_message(diagnostic)},
        "locations": [{"physicalLocation": _location(diagnostic.file, diagnostic.span, relative_to)}],
    }
    if diagnostic.labels:
        result["relatedLocations"] = [
            {
                "physicalLocation": _location(label.file, label.span, relative_to),
                "message": {"text": label.message},
            }
            for label in diagnostic.labels
        ]
    if diagnostic.replacement is not None:
        replacement = {"deletedRegion": _region(diagnostic.span), "insertedContent": {"text": diagnostic.replacement}}
        change = {
            "artifactLocation": {"uri": _uri(diagnostic.file, relative_to)},
            "replacements": [replacement],
        }
        result["fixes"] = [{"description": {"text": diagnostic.help}, "artifactChanges": [change]}]
    return result


def _location(file: Path, span: Span, relative_to: Path | None) -> dict[str, Any]:
    return {"artifactLocation": {"uri": _uri(file, relative_to)}, "region": _region(span)}


def _uri(file: Path, relative_to: Path | None) -> str:
    """Return a path relative to the repository as a URI reference (RFC 3986), or a `file:` URI for one outside it."""
    shown = Path(display_path(file, relative_to=relative_to))
    if shown.is_absolute():
        return shown.as_uri()
    root = Path("/").absolute()
    return (root / shown).as_uri().removeprefix(root.as_uri())


def _region(span: Span) -> dict[str, int]:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }
