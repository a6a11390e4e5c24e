"""From a tree of values to the models of `kappa.spec.document`, with every problem of a value on the way.

What the walk of `kinds` leaves is validated table by table, so that one wrong table does not hide what is wrong with
the others. The result is a *draft*: the valid parts of the file, for further checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from kappa.build.manifest.diagnostics import Diagnostics
from kappa.build.manifest.kappafile import Document
from kappa.build.manifest.kinds import check_kinds
from kappa.build.manifest.positions import TreePath
from kappa.build.manifest.shapes import fields_of, items_of, table_of
from kappa.build.manifest.words import nearest
from kappa.errors import KappaError, MisplacedError
from kappa.plugins import ARTIFACTS, INPUT_ADAPTERS, RESOLVERS
from kappa.spec.contracts import ArtifactPlugin, InputAdapter, Spec, field_docs
from kappa.spec.document import ApiTable, ArtifactTable, Kappafile, ServiceTable
from kappa.spec.project_paths import NamesPath
from kappa.spec.service import Name
from kappa.wording import explained, known_names, quoted, reason_of, sentence

__all__ = ["Draft", "check_batch", "deepest", "validate"]

_EXCLUSIVE = {
    "apis": ("function", "artifact", "Name a function, or an artifact whose own method answers."),
    "examples": ("input", "input_file", "Give the request itself, or a file that holds it."),
}
"""By kind of table, the two keys of which exactly one is needed."""


@dataclass(slots=True)
class Draft:
    """The valid parts of a kappafile."""

    document: Document
    diagnostics: Diagnostics
    parts: dict[TreePath, Spec] = field(default_factory=dict)
    """The tables without a problem of their own, by path."""
    meant: set[TreePath] = field(default_factory=set)
    """Keys that are there under another word: not missing."""
    own_adapters: dict[TreePath, type[InputAdapter] | None] = field(default_factory=dict)
    """By API, what stands for an input adapter of the service's own code; ``None`` if only importing it tells."""
    paths: Mapping[TreePath, NamesPath] = field(default_factory=dict)
    """Where the file names paths, and of what kind they are."""

    def get(self, *path: str | int) -> Any:
        """Return the value at a path; ``None`` if there is none, or if anything is wrong with it."""
        return None if self.diagnostics.is_bad(path) else self.document.at(path)

    def names(self, table: str) -> list[str]:
        """Return the names of the tables in `[artifacts]` or `[apis]`, right or wrong."""
        return [str(name) for name in self.document.table_at((table,))]

    def input_type(self, api: TreePath) -> str | None:
        """Return the type of an API's input adapter."""
        value = self.get(*api, "input")
        name = value.get("type") if isinstance(value, Mapping) else value
        return name if isinstance(name, str) else None

    def input_adapter(self, api: TreePath) -> type[InputAdapter] | None:
        """Return the class of an API's input adapter; ``None`` if it is not named right, or not known."""
        if api in self.own_adapters:
            return self.own_adapters[api]
        name = self.input_type(api)
        try:
            plugin = INPUT_ADAPTERS.load(name) if name is not None else None
        except (KappaError, ImportError):
            return None
        return plugin if isinstance(plugin, type) and issubclass(plugin, InputAdapter) else None

    def is_unsure(self, *path: str | int) -> bool:
        """Return whether the value at a path, or its absence, may be due to a mistake that is reported already."""
        return not self.document.is_whole or any(
            path[:depth] in self.meant or self.diagnostics.has_error_at(path[:depth])
            for depth in range(1, len(path) + 1)
        )

    @property
    def plugins(self) -> dict[str, ArtifactPlugin]:
        """The artifacts of the tables without a problem, by name."""
        tables = [table for table in self.parts.values() if isinstance(table, ArtifactTable)]
        return {table.plugin.name: table.plugin for table in tables if table.plugin is not None}

    @property
    def uses_class(self) -> bool:
        return self.document.at(("service", "class")) is not None


def validate(document: Document, diagnostics: Diagnostics) -> Draft:
    """Validate every table by itself and report what is wrong."""
    walked = check_kinds(document, diagnostics)
    draft = Draft(document, diagnostics, meant=walked.meant, paths=walked.paths)
    for kind in _EXCLUSIVE:
        _check_exactly_one(draft, kind)
    for name in draft.names("apis"):
        check_batch(draft, ("apis", name))
    for key, info in fields_of(Kappafile).items():
        if key not in document.tree:
            if info.is_required():
                _report_missing(draft, Kappafile, (), key)
            continue
        for path, model in _tables(info, document.tree[key], (key,)):
            _validate_table(draft, model, path)
    if not draft.uses_class:
        _check_without_class(draft)
    _check_range(draft)
    _check_resolver(draft)
    _check_channels(draft)
    return draft


def _tables(info: FieldInfo, value: Any, path: TreePath) -> Iterator[tuple[TreePath, type[Spec]]]:
    """Yield the tables that a top-level key holds: itself, or each of those in it."""
    if (model := table_of(info.annotation)) is not None:
        yield path, model
    elif (model := table_of(items_of(info.annotation, value))) is not None:
        for key in value if isinstance(value, Mapping) else range(len(value)):
            yield (*path, key), model


def _validate_table(draft: Draft, model: type[Spec], path: TreePath) -> None:
    """Validate one table by its model; keep it if nothing is wrong with it."""
    diagnostics, value = draft.diagnostics, draft.document.at(path)
    if not isinstance(value, Mapping) or diagnostics.has_error_at(path):
        return
    rest = _without_bad(value, path, diagnostics)
    if model is ArtifactTable:
        try:
            TypeAdapter(Name).validate_python(path[-1])
        except ValidationError as exc:
            diagnostics.add("KF204", sentence(reason_of(exc.errors()[0])), path, at="key")
            return
        if "type" in value:
            rest = {"name": path[-1], **rest}
        else:
            rest = {key: rest[key] for key in ("path", "metadata") if key in rest}
    try:
        validated = model.model_validate(rest)
        if isinstance(validated, ApiTable):
            validated.to_spec(str(path[-1]), draft.plugins)
    except ValidationError as exc:
        for error in exc.errors():
            _explain(draft, model, error, path)
        return
    if not diagnostics.is_bad(path):
        draft.parts[path] = validated


def _without_bad(table: Mapping[str, Any], path: TreePath, diagnostics: Diagnostics) -> dict[str, Any]:
    """Return a table without what was already reported; a list that holds such a thing is left out whole."""
    rest: dict[str, Any] = {}
    for key, value in table.items():
        at = (*path, key)
        if (
            isinstance(value, Mapping)
            and not diagnostics.has_error_at(at)
            and not diagnostics.has_error_at((*at, "type"))
        ):
            rest[key] = _without_bad(value, at, diagnostics)
        elif not diagnostics.is_bad(at):
            rest[key] = value
    return rest


# -- what is missing or too much ---------------------------------------------------------------------------------------


def _report_missing(draft: Draft, model: type[Spec], path: TreePath, key: str) -> None:
    """Report a required key that is absent, unless it is there under another word or may be in what is unread."""
    at, document, diagnostics = (*path, key), draft.document, draft.diagnostics
    is_there = document.at(at) is not None
    if is_there or at in draft.meant or not document.is_whole or diagnostics.has_error_at(at):
        return
    table = document.table_name(path) if path else "The file"
    sign = ": " if document.is_yaml else " = "
    description = field_docs(model).get(key, "").split(". ")[0].rstrip(".")
    help_ = f"`{key}{sign}…`: {description}." if description else f"Add `{key}{sign}…`."
    if not path:
        help_ = f"Begin with `kappafile{sign}1`." if key == "kappafile" else f"Add {document.table_name((key,))}."
    diagnostics.add("KF203", f"{table} has no `{key}`.", at, span=diagnostics.positions.of_key(path), help=help_)


def _check_exactly_one(draft: Draft, kind: str) -> None:
    """Report tables that have both of two keys, or neither."""
    first, other, advice = _EXCLUSIVE[kind]
    document, diagnostics = draft.document, draft.diagnostics
    tables = document.tree.get(kind)
    for key in range(len(tables)) if isinstance(tables, list) else tables if isinstance(tables, Mapping) else ():
        path: TreePath = (kind, key)
        if diagnostics.has_error_at((kind,)):
            return
        table = document.at(path)
        if not isinstance(table, Mapping):
            continue
        present = {key for key in (first, other) if table.get(key) is not None}
        if len(present) == 2:
            labels = [diagnostics.label((*path, first), "the other one")]
            message = f"`{first}` and `{other}` exclude each other."
            diagnostics.add("KF207", message, (*path, other), at="key", labels=labels, help=advice)
        elif not present and not {(*path, first), (*path, other)} & draft.meant and document.is_whole:
            message = f"{document.table_name(path)} has neither `{first}` nor `{other}`."
            diagnostics.add("KF203", message, (*path, first), span=diagnostics.positions.of_key(path), help=advice)


def check_batch(draft: Draft, path: TreePath) -> None:
    """Report a `batch` that the input adapter cannot do."""
    diagnostics, batch, adapter = draft.diagnostics, draft.get(*path, "batch"), draft.input_adapter(path)
    if adapter is None or not isinstance(batch, bool):
        return
    labels = [diagnostics.label((*path, "input"), "this input")]
    if batch and not adapter.supports_batch:
        message = f"`{draft.input_type(path)}` cannot be batched."
        diagnostics.add(
            "KF308", message, (*path, "batch"), labels=labels, help="Set it to `false`.", replacement="false"
        )
    elif not batch and not adapter.supports_single:
        message = f"`{draft.input_type(path)}` always brings rows, which come in batches."
        diagnostics.add("KF308", message, (*path, "batch"), labels=labels, help="Set it to `true`.", replacement="true")


def _check_without_class(draft: Draft) -> None:
    """Report the missing parts of a service without a class."""
    document, diagnostics = draft.document, draft.diagnostics
    if isinstance(document.at(("service",)), Mapping) and document.at(("service", "name")) is None:
        _report_missing(draft, ServiceTable, ("service",), "name")
    if (
        not draft.names("apis")
        and ("apis",) not in draft.meant
        and document.is_whole
        and not diagnostics.is_bad(("apis",))
    ):
        help_ = f"Add {document.table_name(('apis', 'predict'))}, or name a class in `service.class`."
        span = diagnostics.positions.of_key(("apis",))
        diagnostics.add("KF203", "The file declares no API.", ("apis",), span=span, help=help_)
    for name in draft.names("artifacts"):
        path: TreePath = ("artifacts", name)
        table, at = document.at(path), (*path, "type")
        if isinstance(table, Mapping) and "type" not in table and at not in draft.meant and document.is_whole:
            message = f"{document.table_name(path)} has no `type`."
            diagnostics.add(
                "KF203", message, at, span=diagnostics.positions.of_key(path), help=known_names(ARTIFACTS.names())
            )


def _check_range(draft: Draft) -> None:
    if isinstance(required := draft.get("requires_kappa"), str):
        try:
            SpecifierSet(required)
        except InvalidSpecifier:
            message = f"{quoted(required)} is not a range of versions."
            draft.diagnostics.add("KF204", message, ("requires_kappa",), help='Write, for example, `">=0.1"`.')


def _check_channels(draft: Draft) -> None:
    """Report that conda's own channels are switched off, and no others named."""
    path: TreePath = ("env", "conda_override_channels")
    if draft.get(*path) is True and not draft.get("env", "conda_channels") and not draft.is_unsure("env"):
        message = "`conda_override_channels` says something only beside `conda_channels`."
        draft.diagnostics.add("KF207", message, path, at="key", help="Name the channels, or leave it out.")


def _check_resolver(draft: Draft) -> None:
    resolver, names = draft.get("bundle", "resolver"), RESOLVERS.names()
    if isinstance(resolver, str) and resolver not in names:
        near = nearest(resolver, names, cutoff=0.6)
        help_ = f"Did you mean `{near}`?" if near else known_names(names)
        replacement = f'"{near}"' if near else None
        message = f"There is no resolver {quoted(resolver)}."
        draft.diagnostics.add("KF205", message, ("bundle", "resolver"), help=help_, replacement=replacement)


# -- what pydantic finds -----------------------------------------------------------------------------------------------


def _explain(draft: Draft, model: type[Spec], error: ErrorDetails, path: TreePath) -> None:
    """Turn an error of pydantic's into a diagnostic; those inside a plugin come wrapped in one."""
    diagnostics, at = draft.diagnostics, _place_of(draft.document, error, path)
    inner = error.get("ctx", {}).get("error")
    if isinstance(inner, ValidationError):
        for nested in inner.errors():
            _explain(draft, model, nested, at)
        return
    if isinstance(inner, MisplacedError):
        at = deepest(draft.document, at, inner.path)
    if error["type"] == "missing":
        owner = model if at[:-1] == path else None
        _report_missing(draft, owner if owner and at[-1] in fields_of(owner) else Spec, at[:-1], str(at[-1]))
    elif diagnostics.is_bad(at):
        return
    else:
        diagnostics.add("KF204", explained(error, f"`{at[-1]}`"), at, at="key" if at == path else "value")


def deepest(document: Document, path: TreePath, inner: TreePath) -> TreePath:
    """Return ``path`` with as much of a path inside its value as is written there."""
    for part in inner:
        value = document.at(path)
        if not isinstance(value, Mapping | list) or document.at((*path, part)) is None:
            break
        path = (*path, part)
    return path


def _place_of(document: Document, error: ErrorDetails, path: TreePath) -> TreePath:
    """Return the path of an error: where its location leads in the tree, without the names of alternatives."""
    at, location = path, error["loc"]
    for part in location[:-1] if error["type"] == "missing" else location:
        value = document.at(at)
        is_index = isinstance(value, list) and isinstance(part, int)
        if is_index or (isinstance(value, Mapping) and part in value):
            at = (*at, part)
    return (*at, location[-1]) if error["type"] == "missing" else at
