"""Paths and patterns that a kappafile names: they exist, are what they should be, and stay inside the project."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from kappa._files import strangeness
from kappa.build.checks.including import Finding, check_pattern, check_selection
from kappa.build.manifest.diagnostics import Severity
from kappa.build.manifest.patterns import match, matches_any
from kappa.build.manifest.positions import TreePath
from kappa.build.manifest.validation import Draft
from kappa.build.manifest.words import nearest
from kappa.spec.project_paths import PathKind
from kappa.wording import quoted

__all__ = ["PathChecks"]


class PathChecks:
    """Checks the paths of one kappafile; links are followed before a path is judged.

    Those of ``others`` lead to what comes from elsewhere, and are not looked at.
    """

    def __init__(self, draft: Draft, *, others: Collection[TreePath] = ()) -> None:
        self._draft, self._diagnostics = draft, draft.diagnostics
        self._root = draft.document.file.parent
        self._real_root = self._root.resolve()
        self._places: dict[TreePath, Path | None] = dict.fromkeys(others)

    def check_all(self) -> None:
        """Check every path that the file names."""
        for path in self._draft.paths:
            self.at(path)

    def at(self, path: TreePath) -> Path | None:
        """Check the path at a place in the file, once; return its target if it may be used."""
        if path not in self._places:
            mark, text = self._draft.paths.get(path), self._draft.get(*path)
            self._places[path] = self._checked(mark.kind, text, path) if mark and isinstance(text, str) else None
        return self._places[path]

    def _checked(self, kind: PathKind, text: str, path: TreePath) -> Path | None:
        if kind == "exclusion":
            return None
        if kind == "pattern":
            self._check_pattern(text, path)
            return None
        if kind == "folder of code":
            self._check_folder_of_code(text, path)
            return None
        target = self._existing(kind, text, path)
        if target is not None and kind == "folder":
            self._check_selection(text, path)
        return target

    def _existing(self, kind: PathKind, text: str, path: TreePath) -> Path | None:
        if not self._is_inside(text, path):
            return None
        target = self._root / text
        try:
            is_there = target.exists()
        except OSError as exc:  # a name that is too long
            self._diagnostics.add("KF302", f"{quoted(text)} is not a path: {exc.strerror}.", path)
            return None
        if not is_there:
            self._report_absent(text, target, path, kind)
            return None
        strange = strangeness(target.resolve())
        if strange or (kind == "file" and not target.is_file()) or (kind == "folder" and not target.is_dir()):
            actual = strange or ("a folder" if target.is_dir() else "a file")
            self._diagnostics.add("KF302", f"{quoted(text)} is {actual}; `{path[-1]}` names a {kind}.", path)
            return None
        return target

    def _check_folder_of_code(self, text: str, path: TreePath) -> None:
        """Check a folder of the user's own code, which may lie outside of the project, but not anywhere."""
        if text.startswith("~") or Path(text).is_absolute():
            help_ = "Write it relative to the kappafile, e.g. `../common`, so that it means the same on every machine."
            self._diagnostics.add("KF303", f"{quoted(text)} is a place of this machine.", path, help=help_)
        elif not os.path.isdir(self._root / text):  # noqa: PTH112 - it takes any name, however long
            self._report_absent(text, self._root / text, path, "folder")

    def _check_pattern(self, pattern: str, path: TreePath) -> None:
        """Check a glob pattern: it stays in the project, with what it matches, and matches something."""
        if Path(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts or pattern.startswith("~"):
            help_ = "Patterns are relative to the project and stay inside it."
            self._diagnostics.add("KF303", f"{quoted(pattern)} leaves the project.", path, help=help_)
            return
        include = self._patterns("include")
        exclude = self._patterns("exclude")
        findings = check_pattern(self._root, pattern, match(self._root, pattern), include=include, exclude=exclude)
        self._report(findings, path)

    def _check_selection(self, name: str, path: TreePath) -> None:
        """Check the files of a folder: all of them become part of the bundle."""
        files = [file for file in match(self._root, name).files if not matches_any(file, self._patterns("exclude"))]
        self._report(check_selection(self._root, name, files, include=self._patterns("include")), path)

    def _report(self, findings: Iterable[Finding], path: TreePath) -> None:
        for finding in findings:
            severity: Severity = "error" if finding.is_error else "warning"
            self._diagnostics.add(finding.code, finding.message, path, help=finding.help, severity=severity)

    def _patterns(self, key: str) -> list[str]:
        patterns = self._draft.get("bundle", key) or ()
        return [pattern for pattern in patterns if isinstance(pattern, str)]

    def _is_inside(self, text: str, path: TreePath) -> bool:
        if text.startswith("~"):
            message = f"{quoted(text)} begins with `~`, which means nothing here."
            help_ = f"Put the file into the project, and name it from there.{_elsewhere(path)}"
            self._diagnostics.add("KF303", message, path, help=help_)
            return False
        try:
            target = (self._root / text).resolve()
        except (OSError, ValueError, RuntimeError) as exc:  # a loop of links, a NUL
            self._diagnostics.add("KF302", f"{quoted(text)} is not a path: {exc}.", path)
            return False
        if target.is_relative_to(self._real_root):
            return True
        is_link = not Path(text).is_absolute() and ".." not in Path(text).parts
        message = f"{quoted(text)} {'is a link that leads out of' if is_link else 'is outside of'} the project."
        help_ = f"Move it into the project, and write `{path[-1]} = {json.dumps(Path(text).name, ensure_ascii=False)}`."
        help_ = f"{'Put the file itself there.' if is_link else help_}{_elsewhere(path)}"
        self._diagnostics.add("KF303", message, path, help=help_)
        return False

    def _report_absent(self, text: str, target: Path, path: TreePath, kind: PathKind) -> None:
        near = nearest(target.name, _names_in(target.parent), cutoff=0.7) if "\\" not in text else None
        replacement = f'"{PurePosixPath(text).with_name(near)}"' if near else None
        help_ = f"Did you mean `{PurePosixPath(text).with_name(near)}`?" if near else ""
        if not near:
            help_ = "Write `/` between folders." if "\\" in text else "Paths begin at the kappafile's own folder."
        message = f"There is no {kind} {quoted(text)}."
        self._diagnostics.add("KF302", message, path, help=help_, replacement=replacement)


def _elsewhere(path: TreePath) -> str:
    """Return the advice for a model that is to stay where it is."""
    return f" Or pack it from there: `kappa build --artifact {path[1]}=PATH`." if path[0] == "artifacts" else ""


def _names_in(folder: Path) -> Sequence[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return ()
