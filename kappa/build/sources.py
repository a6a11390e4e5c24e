"""The files of a service beside its models: the user's own modules, and what `[bundle] include` names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kappa.build.diagnostics import Diagnostic, render_text
from kappa.build.distributions import DistributionIndex
from kappa.build.modules import CodeBase, SearchPath, search_path
from kappa.build.patterns import match, matches_any
from kappa.build.placing import Placement, place_modules
from kappa.build.project import Project
from kappa.build.tracing import Trace, trace, unknown_import
from kappa.errors import ManifestError
from kappa.log import log
from kappa.spec.models import FunctionTarget, ServiceSpec

__all__ = ["Code", "collect_code", "collect_includes"]


@dataclass(frozen=True, slots=True)
class Code:
    """The Python files of a service and what they need."""

    files: Mapping[PurePosixPath, Path]
    """Path inside ``<bundle>/<Name>/`` to the file on disk."""
    placement: Placement
    distributions: Mapping[str, str]
    """Third-party distribution to the first place that imports it, e.g. ``handlers.py:3``."""


def collect_code(project: Project, *, modules: Sequence[str] = (), search: SearchPath | None = None) -> Code:
    """Follow the imports of the service's functions, and of further ``modules``, through the user's own modules.

    Warnings are logged; raises `ManifestError` for code that cannot be parsed.
    """
    spec = project.spec
    starts = [*_named_modules(spec), *spec.files.modules, *modules]
    search = search or search_path(project.root)
    found = trace(CodeBase(search), starts)
    unknown: list[Diagnostic] = []
    distributions = _distributions(found, unknown)
    problems = [*found.diagnostics, *unknown]
    if errors := [problem for problem in problems if problem.is_error]:
        raise ManifestError(render_text(errors), diagnostics=errors)
    for problem in problems:
        log(f"{problem.file.name}:{problem.span.line}: {problem.message} {problem.help}".rstrip(), kind="warning")
    placement = place_modules(found.modules.values(), project.root, folders=(*search.local, *search.fallback))
    files = {
        place: file for place, file in sorted(placement.files.items()) if not matches_any(place, spec.files.exclude)
    }
    return Code(files=files, placement=placement, distributions=distributions)


def collect_includes(project: Project) -> Mapping[PurePosixPath, Path]:
    """Find the files of `[bundle] include`, by their place in the project; those of `exclude` are left out."""
    files = project.spec.files
    included = {
        path: project.root / path
        for pattern in files.include
        for path in match(project.root, pattern).files
        if not matches_any(path, files.exclude)
    }
    return dict(sorted(included.items()))


def _named_modules(spec: ServiceSpec) -> Iterator[str]:
    """Yield the modules that a service names: of its functions, its class, its inputs, `setup` and `teardown`."""
    targets = [api.target.function for api in spec.apis if isinstance(api.target, FunctionTarget)]
    inputs = [reference for api in spec.apis for reference in api.input.references()]
    for reference in (spec.service_class, *targets, *inputs, spec.setup, spec.teardown):
        if reference is not None:
            yield reference.partition(":")[0]


def _distributions(found: Trace, problems: list[Diagnostic]) -> dict[str, str]:
    """Map what the code imports of others to distributions; report what nobody knows."""
    index = DistributionIndex()
    places: dict[str, str] = {}
    for foreign in found.foreign.values():
        distribution = index.brings(foreign.module, foreign.names)
        if distribution is not None:
            places.setdefault(distribution, f"{foreign.place}:{foreign.found.line}")
        else:
            problems.append(unknown_import(foreign))
    return dict(sorted(places.items(), key=lambda item: item[0].lower()))
