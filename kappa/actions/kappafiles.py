"""Problems of kappafiles: checked, and reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from kappa.build.manifest.diagnostics import Diagnostic, display_path, render_text
from kappa.build.manifest.kappafile import kappafile_at
from kappa.build.manifest.reports import diagnostic_tree, render_github, render_json, render_sarif
from kappa.build.project import check_kappafile
from kappa.environment import expanded

__all__ = ["ReportForm", "check_kappafiles", "problem_trees", "report"]

ReportForm = Literal["text", "json", "github", "sarif"]


def check_kappafiles(targets: Sequence[str]) -> tuple[list[Path], list[Diagnostic]]:
    """Return the kappafiles that targets are or have, and every problem of them; nothing of the user's is run.

    Raises `ConfigurationError` or `UsageError` for a target that has none.
    """
    files = list(dict.fromkeys(kappafile_at(expanded(target).resolve()) for target in targets))
    return files, [diagnostic for file in files for diagnostic in check_kappafile(file)[1]]


def report(problems: Sequence[Diagnostic], form: ReportForm, *, files: Sequence[Path] = (), color: bool = False) -> str:
    """Write problems as a text for people, or in a format of machines; ``files`` are those that were checked.

    The text is empty for GitHub where there are no problems.
    """
    if form == "json":
        return render_json(problems)
    if form == "sarif":
        return render_sarif(problems)
    if form == "github":
        return render_github(problems)
    if problems:
        return render_text(problems, color=color)
    return "\n".join(f"`{display_path(file)}` has no problems." for file in files)


def problem_trees(problems: Sequence[Diagnostic]) -> list[dict[str, Any]]:
    """Return problems as JSON has them."""
    return [diagnostic_tree(problem) for problem in problems]
