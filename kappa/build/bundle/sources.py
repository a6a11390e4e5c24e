"""The files of a service beside its models: the user's own modules, and what keys name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kappa.build.code.absent import AbsentModules, Unknown, direct_imports, unknown_imports
from kappa.build.code.modules import CodeBase, SearchPath, search_path
from kappa.build.code.placing import Placement, place_modules
from kappa.build.code.tracing import Trace, at_import, links_outside, trace
from kappa.build.manifest.diagnostics import Diagnostic, render_text
from kappa.build.manifest.patterns import match, matches_any
from kappa.build.packages.distributions import DistributionIndex
from kappa.build.packages.listed import listed_in
from kappa.build.packages.lock_record import NO_RECORD, Brought, LockRecord
from kappa.build.packages.project_sources import project_folders
from kappa.build.project import Project
from kappa.errors import ManifestError
from kappa.log import log
from kappa.spec.service import FunctionTarget, ServiceSpec
from kappa.wording import quoted

__all__ = ["Code", "collect_code", "project_search", "watched_files"]


@dataclass(frozen=True, slots=True)
class Code:
    """The Python files of a service and what they need."""

    files: Mapping[PurePosixPath, Path]
    """Path inside ``<bundle>/<Name>/`` to the file on disk."""
    placement: Placement
    imported: tuple[Brought, ...]
    """Its third-party imports."""

    @property
    def distributions(self) -> Mapping[str, str]:
        """Third-party distribution to the first place that imports it, e.g. ``handlers.py:3``."""
        places: dict[str, str] = {}
        for brought in self.imported:
            if brought.distribution:
                places.setdefault(brought.distribution, brought.origin)
        return dict(sorted(places.items(), key=lambda item: item[0].lower()))


def project_search(project: Project) -> SearchPath:
    """Return where the modules of a project may be: also in its `paths`, and in other projects that it depends on."""
    pyproject = project.spec.env.pyproject
    folders = project_folders(project.root / pyproject) if pyproject is not None else ()
    return search_path(project.root, paths=[*project.spec.files.paths, *map(str, folders)])


def collect_code(
    project: Project,
    base: CodeBase | None = None,
    *,
    modules: Sequence[str] = (),
    record: LockRecord = NO_RECORD,
) -> Code:
    """Follow the imports of the service's functions, and of further ``modules``, through the user's own modules.

    ``base`` has the modules that the project can reach, if it is at hand. Which distribution brings a module is taken
    from the ``record`` of an earlier lock, where that knows it. Warnings are logged, unless reading the project did;
    raises `ManifestError` for code that cannot be parsed.
    """
    spec = project.spec
    starts = [*_named_modules(spec), *spec.files.modules, *modules]
    base = base or CodeBase(project_search(project))
    traced = trace(base, starts, named=spec.files.modules)
    absent = AbsentModules(base, listed_in(spec.env, project.root), traced, record=record)
    problems = [
        *traced.diagnostics,
        *unknown_imports(traced, absent),
        *direct_imports(traced, base, absent.listed),
        *links_outside(traced, base),
    ]
    imported = tuple(_imported(traced, base, absent, problems))
    if errors := [problem for problem in problems if problem.is_error]:
        raise ManifestError(render_text(errors), diagnostics=errors)
    for line in dict.fromkeys(problem.line for problem in problems):
        if line not in project.warned_of:
            log(line, kind="warning")
    placement = place_modules(
        traced.modules.values(), project.root, folders=(*base.search.local, *base.search.fallback)
    )
    files = {path: file for path, file in sorted(placement.files.items()) if not matches_any(path, spec.files.exclude)}
    return Code(files=files, placement=placement, imported=imported)


def watched_files(project: Project) -> Iterator[Path]:
    """Yield the files that keys name, but for those of a folder, which a server reads anew for each request."""
    for path in project.paths:
        if path.mark.kind == "file":
            yield project.root / path.text
        elif path.mark.kind == "pattern":
            yield from (project.root / file for file in match(project.root, path.text).files)


def _named_modules(spec: ServiceSpec) -> Iterator[str]:
    """Yield the modules that a service names: of its functions, its class, its plugins, `setup` and `teardown`."""
    targets = [api.target.function for api in spec.apis if isinstance(api.target, FunctionTarget)]
    plugins = [*spec.as_kept().artifacts, *(plugin for api in spec.apis for plugin in (api.input, api.output))]
    of_plugins = [reference for plugin in plugins for reference in (plugin.reference, *plugin.references())]
    for reference in (spec.service_class, *targets, *of_plugins, spec.setup, spec.teardown):
        if reference is not None:
            yield reference.partition(":")[0]


def _imported(traced: Trace, code: CodeBase, absent: AbsentModules, problems: list[Diagnostic]) -> Iterator[Brought]:
    """Yield the distribution of each third-party import; report modules that none brings."""
    index = DistributionIndex()
    for foreign in traced.foreign.values():
        origin = f"{foreign.path}:{foreign.statement.line}"
        if (recorded := absent.record.module("import", foreign.module, foreign.names)) is not None:
            yield Brought(recorded.subject, recorded.distribution, origin)
            continue
        package = code.package_of(foreign.module)
        if not foreign.is_installed:
            answer = "" if foreign.statement.is_optional else absent.find(foreign.module, foreign.names)
            if not isinstance(answer, Unknown):
                yield Brought(package, answer, origin)
        elif distribution := index.brings(foreign.module, foreign.names, preferred=absent.listed.names):
            yield Brought(package, distribution, origin)
        else:
            message = f"{quoted(foreign.module)} lies among the packages here, and none of them has brought it."
            help_ = "Put it into the project, or name the distribution that brings it in `pip_packages`."
            problems.append(at_import("KF314", message, foreign.statement, foreign.file, help=help_))
