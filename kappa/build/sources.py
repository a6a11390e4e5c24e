"""The user's code: which local modules a service needs, and which distributions those import."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path, PurePosixPath

from kappa.build.project import Project
from kappa.spec.models import FunctionTarget, ServiceSpec

__all__ = ["Code", "collect_code", "collect_includes"]


@dataclass(frozen=True, slots=True)
class Code:
    """The Python files of a service and what they need."""

    files: Mapping[PurePosixPath, Path]
    """Path inside ``<bundle>/<Name>/`` to the file on disk."""
    distributions: Mapping[str, str]
    """Third-party distribution to the first place that imports it, e.g. ``handlers.py:3``."""


def collect_code(project: Project) -> Code:
    """Follow the imports of the service's functions through the project's own modules."""
    files: dict[PurePosixPath, Path] = {}
    distributions: dict[str, str] = {}
    known = packages_distributions()
    waiting = [*_entry_modules(project.spec), *project.spec.files.modules]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        for path in _files_of(project.root, module):
            relative = PurePosixPath(path.relative_to(project.root).as_posix())
            if relative in files:
                continue
            files[relative] = path
            for name, line in _imports(path):
                top = name.partition(".")[0]
                if _files_of(project.root, top):
                    waiting.append(name)
                elif top not in sys.stdlib_module_names and top != "kappa":
                    for distribution in known.get(top, ()):
                        distributions.setdefault(distribution, f"{relative}:{line}")
    return Code(files=dict(sorted(files.items())), distributions=dict(sorted(distributions.items())))


def collect_includes(project: Project) -> Mapping[PurePosixPath, Path]:
    """Find the files of `[bundle] include`, by their place beside the code."""
    found = {
        PurePosixPath(path.relative_to(project.root).as_posix()): path
        for pattern in project.spec.files.include
        for path in project.root.glob(pattern)
        if path.is_file()
    }
    return dict(sorted(found.items()))


def _entry_modules(spec: ServiceSpec) -> Iterator[str]:
    targets = [api.target.function for api in spec.apis if isinstance(api.target, FunctionTarget)]
    for reference in (*targets, spec.setup, spec.teardown, spec.service_class):
        if reference is not None:
            yield reference.partition(":")[0]


def _files_of(root: Path, module: str) -> list[Path]:
    parts = module.split(".")
    found = [init for depth in range(1, len(parts)) if (init := root.joinpath(*parts[:depth], "__init__.py")).is_file()]
    last = root.joinpath(*parts)
    for path in (last / "__init__.py", last.with_name(f"{last.name}.py")):
        if path.is_file():
            found.append(path)
            break
    return found


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_bytes(), filename=str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno
