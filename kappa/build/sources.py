"""The files of a service beside its models: the user's own modules, and what `[bundle] include` names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kappa.build.diagnostics import Diagnostic, render_text
from kappa.build.distributions import DistributionIndex
from kappa.build.lock_record import NO_RECORD, Brought, LockRecord
from kappa.build.modules import CodeBase, SearchPath, search_path
from kappa.build.patterns import match, matches_any
from kappa.build.placing import Placement, place_modules
from kappa.build.project import Project
from kappa.build.tracing import Foreign, Trace, trace, unknown_import
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
    imported: tuple[Brought, ...]
    """What it imports of others."""

    @property
    def distributions(self) -> Mapping[str, str]:
        """Third-party distribution to the first place that imports it, e.g. ``handlers.py:3``."""
        places: dict[str, str] = {}
        for one in self.imported:
            if one.distribution:
                places.setdefault(one.distribution, one.place)
        return dict(sorted(places.items(), key=lambda item: item[0].lower()))


def collect_code(
    project: Project,
    *,
    modules: Sequence[str] = (),
    search: SearchPath | None = None,
    record: LockRecord = NO_RECORD,
) -> Code:
    """Follow the imports of the service's functions, and of further ``modules``, through the user's own modules.

    Which distribution brings a module is taken from the ``record`` of an earlier lock, where that knows it. Warnings
    are logged; raises `ManifestError` for code that cannot be parsed.
    """
    spec = project.spec
    starts = [*_named_modules(spec), *spec.files.modules, *modules]
    search = search or search_path(project.root)
    base = CodeBase(search)
    found = trace(base, starts)
    unknown: list[Diagnostic] = []
    imported = tuple(_imported(found, base, record, unknown))
    problems = [*found.diagnostics, *unknown]
    if errors := [problem for problem in problems if problem.is_error]:
        raise ManifestError(render_text(errors), diagnostics=errors)
    for problem in problems:
        log(f"{problem.file.name}:{problem.span.line}: {problem.message} {problem.help}".rstrip(), kind="warning")
    placement = place_modules(found.modules.values(), project.root, folders=(*search.local, *search.fallback))
    files = {
        place: file for place, file in sorted(placement.files.items()) if not matches_any(place, spec.files.exclude)
    }
    return Code(files=files, placement=placement, imported=imported)


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
    plugins = [*spec.artifacts, *(plugin for api in spec.apis for plugin in (api.input, api.output))]
    own = [plugin.reference for plugin in plugins]
    for reference in (spec.service_class, *targets, *inputs, *own, spec.setup, spec.teardown):
        if reference is not None:
            yield reference.partition(":")[0]


def _imported(found: Trace, code: CodeBase, record: LockRecord, problems: list[Diagnostic]) -> Iterator[Brought]:
    """Say what brings each module of others that the code imports; report what nobody knows."""
    index = DistributionIndex()
    for foreign in found.foreign.values():
        place = f"{foreign.place}:{foreign.found.line}"
        if (recorded := record.module("import", foreign.module, foreign.names)) is not None:
            yield Brought(recorded.asked, recorded.distribution, place)
            continue
        package = code.package_of(foreign.module)
        if foreign.found.is_optional and not foreign.is_installed:
            yield Brought(package, "", place)
        elif (distribution := index.brings(foreign.module, foreign.names)) is not None:
            yield Brought(_deepest(package, foreign, code), distribution, place)
        else:
            problems.append(unknown_import(foreign))


def _deepest(package: str, foreign: Foreign, code: CodeBase) -> str:
    """Return the part of a namespace that an import is about: ``from google.cloud import storage`` is about one."""
    if len(foreign.names) != 1 or (module := code.resolve(package)) is None or module.file is not None:
        return package
    return code.package_of(f"{foreign.module}.{foreign.names[0]}")
