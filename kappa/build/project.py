"""A project: one kappafile, the service it declares, and where the models are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from kappa.build import code as reading
from kappa.build.checks.kappafile import check_references
from kappa.build.code.declarations import ClassProblem, Declaration, Opaque
from kappa.build.code.modules import CodeBase, search_path
from kappa.build.code.references import explain_missing_module
from kappa.build.code.sampled_columns import with_signatures
from kappa.build.combining import check_shared_keys, combine
from kappa.build.manifest.diagnostics import Diagnostic, Diagnostics, Label
from kappa.build.manifest.kappafile import kappafile_at, read_kappafile
from kappa.build.manifest.positions import Span
from kappa.build.manifest.validation import Draft, validate
from kappa.build.manifest.words import nearest
from kappa.build.packages.project_sources import project_folders
from kappa.errors import ManifestError
from kappa.log import log
from kappa.spec.document import ArtifactSource, Kappafile
from kappa.spec.project_paths import NamedPath, named_paths
from kappa.spec.service import ApiSpec, ServiceSpec, batch_by_default
from kappa.wording import sentence

__all__ = ["Project", "check_kappafile", "checked_project", "read_project", "with_sources"]


_ADVICE = frozenset({"KF318", "KF325", "KF343"})
"""Warnings that only a validation gives: the service works as it is."""


@dataclass(frozen=True, slots=True)
class Project:
    """A service as its kappafile declares it, with the files it is made of."""

    root: Path
    """Absolute and resolved; the kappafile's relative paths start here."""
    file: Path | None
    """The kappafile; ``None`` for a service that a class declares alone."""
    spec: ServiceSpec
    sources: Mapping[str, ArtifactSource]
    """Where each artifact comes from, by its name."""
    paths: tuple[NamedPath, ...]
    """The paths of its keys, as declared."""
    warned_of: frozenset[str] = frozenset()
    """The warnings that were logged when it was read."""

    @classmethod
    def declared(
        cls, root: Path, file: Path | None, spec: ServiceSpec, sources: Mapping[str, ArtifactSource]
    ) -> Project:
        """Return the project of a service as declared, before samples of its requests are read."""
        return cls(root, file, spec, sources, paths=tuple(named_paths(spec)))

    def with_signatures(self) -> Project:
        """Return the project with what samples and examples tell of requests; raises `ConfigurationError`."""
        return replace(self, spec=with_signatures(self.spec, self.root))


def read_project(path: Path, *, models: Mapping[str, Path] | None = None, text: str | None = None) -> Project:
    """Read a kappafile, or the one of a directory; raises `ManifestError` that carries every problem found.

    With ``text``, that is read in place of the kappafile at ``path``, which need not be there.

    A class whose declaration is not written out is imported in a process of its own. The paths of ``models``, by the
    names of artifacts, stand in place of those in the file, and may lead anywhere.
    """
    file = path.resolve() if text is not None else kappafile_at(path.resolve())
    sources = {name: ArtifactSource(path=model.absolute()) for name, model in (models or {}).items()}
    project = checked_project(file, *check_kappafile(file, text=text, runs_code=True, packed=sources.keys()))
    return with_sources(project, sources)


def checked_project(file: Path, project: Project | None, diagnostics: Diagnostics) -> Project:
    """Return what `check_kappafile` found, if it has no errors; warnings are logged, but for mere advice."""
    diagnostics.check()
    warnings = dict.fromkeys(warning.line for warning in diagnostics if warning.code not in _ADVICE)
    for line in warnings:
        log(line, kind="warning")
    if project is None:
        raise ManifestError(f"`{file}` declares no service.", diagnostics=tuple(diagnostics))
    return replace(project.with_signatures(), warned_of=frozenset(warnings))


def with_sources(project: Project, sources: Mapping[str, ArtifactSource]) -> Project:
    """Return a project with models given besides; metadata of the kappafile holds where none was given."""
    earlier = project.sources
    added = {
        name: replace(source, metadata=earlier[name].metadata) if name in earlier and not source.metadata else source
        for name, source in sources.items()
    }
    return replace(project, sources={**earlier, **added})


def check_kappafile(
    file: Path,
    *,
    text: str | None = None,
    runs_code: bool = False,
    declaration: Declaration | None = None,
    packed: Collection[str] = (),
) -> tuple[Project | None, Diagnostics]:
    """Read and check a kappafile; return the project if it has no errors, and every problem in any case.

    Unless ``runs_code``, nothing of the user's runs: a class whose declaration is not written out is then left
    unchecked, and there is no project. ``declaration`` saves reading the class; files of artifacts that are ``packed``
    from elsewhere need not be there. ``text`` is read in place of the file, if it is given.
    """
    file = file.absolute()
    document, diagnostics = read_kappafile(file, text=text)
    if document is None:
        return None, diagnostics
    draft = validate(document, diagnostics)
    code = CodeBase(search_path(file.parent, paths=_paths(draft, declaration)))
    if declaration is None and draft.uses_class:
        declaration = _declaration(draft, code, runs_code=runs_code)
    if declaration is not None:
        check_shared_keys(draft, declaration)
    check_references(draft, code, declaration, packed=packed)
    if diagnostics.has_errors or (draft.uses_class and declaration is None):
        return None, diagnostics
    return _project(draft, declaration), diagnostics


def _with_batch(api: ApiSpec, draft: Draft, kappafile: Kappafile) -> ApiSpec:
    """Return an API with the `batch` that an input adapter of the service's own means where the file says nothing."""
    adapter, table = draft.own_adapters.get(("apis", api.name)), kappafile.apis.get(api.name)
    if adapter is None or table is None or table.batch is not None:
        return api
    artifacts = {name: table.plugin for name, table in kappafile.artifacts.items() if table.plugin is not None}
    return api.model_copy(update={"batch": batch_by_default(adapter, is_row_wise=table.is_row_wise(artifacts))})


def _paths(draft: Draft, declaration: Declaration | None) -> list[str]:
    """Return what `paths` of `[bundle]` names, in the file or on the class, and projects that this one depends on."""
    named = [text for text in draft.get("bundle", "paths") or () if isinstance(text, str)]
    if isinstance(pyproject := draft.get("env", "pyproject"), str):
        named += map(str, project_folders(draft.document.file.parent / pyproject))
    if declaration is None:
        return named
    folder = declaration.location.file.parent
    return [*named, *(str(folder / text) for text in declaration.spec.files.paths)]


def _declaration(draft: Draft, code: CodeBase, *, runs_code: bool) -> Declaration | None:
    """Return what the kappafile's class declares; report what is wrong with it."""
    path, diagnostics = ("service", "class"), draft.diagnostics
    reference = draft.get(*path)
    if not isinstance(reference, str):
        return None
    name, _, qualname = reference.partition(":")
    module = code.resolve(name)
    if module is None:
        missing = explain_missing_module(code, name, qualname)
        replacement = f'"{missing.meant}"' if missing.meant is not None else None
        diagnostics.add("KF304", missing.message, path, help=missing.help, replacement=replacement)
        return None
    if isinstance(code.tree(module), SyntaxError):
        return None  # reported with the other code
    declared: Declaration | Opaque | ClassProblem = reading.read_class(code, module, qualname)
    if isinstance(declared, Opaque):
        if not runs_code:
            log(f"`{reference}` is not checked: only importing it could tell what it declares, because {declared.why}.")
            return None
        declared = reading.import_class(
            reference, draft.document.file.parent, declared, paths=_paths(draft, declaration=None)
        )
    if isinstance(declared, Declaration):
        return declared
    if declared.is_there and declared.location is not None:
        labels = [diagnostics.label(path, "named here")]
        diagnostics.append(
            Diagnostic(
                "KF402",
                sentence(declared.message),
                declared.location.file,
                declared.location.span,
                labels=tuple(labels),
            )
        )
        return None
    near = nearest(qualname, declared.names)
    diagnostics.add(
        "KF402",
        sentence(declared.message),
        path,
        help=f"Did you mean `{name}:{near}`?" if near else "",
        replacement=f'"{name}:{near}"' if near else None,
        labels=[Label(declared.location.file, declared.location.span, "here")] if declared.location is not None else [],
    )
    return None


def _project(draft: Draft, declaration: Declaration | None) -> Project | None:
    file, diagnostics = draft.document.file, draft.diagnostics
    try:
        kappafile = Kappafile.model_validate(draft.document.tree)
        spec = combine(kappafile, declaration, file.parent) if declaration is not None else kappafile.to_spec()
        spec = spec.model_copy(update={"apis": tuple(_with_batch(api, draft, kappafile) for api in spec.apis)})
    except ValidationError as exc:  # errors that no check above reports more precisely
        for error in exc.errors():
            diagnostics.add("KF204", sentence(error["msg"].removeprefix("Value error, ")), (), span=Span(1, 1, 1, 2))
        return None
    sources = {
        name: ArtifactSource(path=file.parent / table.path, metadata=table.metadata)
        for name, table in kappafile.artifacts.items()
    }
    return Project.declared(file.parent, file, spec, sources)
