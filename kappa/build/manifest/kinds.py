"""The walk through a kappafile's tree beside the models: unknown keys, values of the wrong kind, unknown plugins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo

from kappa.build.manifest.diagnostics import Diagnostics
from kappa.build.manifest.kappafile import Document
from kappa.build.manifest.keys import advise
from kappa.build.manifest.other_frameworks import advice_for_type
from kappa.build.manifest.positions import TreePath
from kappa.build.manifest.shapes import arms_of, described, fields_of, fits, items_of, kind_of, registry_of, table_of
from kappa.build.manifest.words import nearest, normal
from kappa.errors import MissingDependencyError, PluginNotFoundError
from kappa.labels import check_label
from kappa.plugins import ARTIFACTS, PluginRegistry
from kappa.spec.contracts import Plugin, Spec
from kappa.spec.document import ArtifactTable, Kappafile
from kappa.spec.project_paths import NamesPath, path_mark
from kappa.spec.service import REFERENCE
from kappa.wording import known_names, quoted, sentence

__all__ = ["Walked", "check_kinds"]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FREE_TEXTS = (("service", "labels"), ("env", "variables"))
"""Tables of texts whose keys the user chooses."""
_ANYTHING = FieldInfo.from_annotation(Any)
_YES, _NO = ("true", "yes", "on"), ("false", "no", "off")


class Walked(NamedTuple):
    """The result of a walk through a kappafile."""

    meant: set[TreePath]
    """Keys that are there, but under another word."""
    paths: Mapping[TreePath, NamesPath]
    """Where the file names paths, and of what kind they are."""


def check_kinds(document: Document, diagnostics: Diagnostics) -> Walked:
    """Report keys and kinds that do not fit."""
    walk = _Walk(document, diagnostics)
    walk.table(Kappafile, document.tree, ())
    return Walked(walk.meant, walk.paths)


class _Walk:
    def __init__(self, document: Document, diagnostics: Diagnostics) -> None:
        self._document, self._diagnostics = document, diagnostics
        self.meant: set[TreePath] = set()
        self.paths: dict[TreePath, NamesPath] = {}

    def table(self, model: type[Spec], table: Mapping[str, Any], path: TreePath) -> None:
        if model is ArtifactTable:
            self._artifact(table, path)
            return
        self._fields(fields_of(model), table, path)

    def value(self, annotation: Any, value: Any, path: TreePath) -> None:
        if path in _FREE_TEXTS and isinstance(value, Mapping):
            self._texts(value, path)
        elif value is None and not self._document.is_whole:
            return  # the missing value may be in the unreadable part
        elif not fits(annotation, value):
            self._misfit(annotation, value, path)
        elif value is None:
            return
        elif (registry := registry_of(annotation)) is not None:
            self._plugin(registry, value, path)
        elif isinstance(value, Mapping) and (model := table_of(annotation)) is not None:
            self.table(model, value, path)
        elif (items := items_of(annotation, value)) is not None:
            if self._is_unnamed(items, value, path):
                return
            for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
                self.value(items, item, (*path, key))

    def _is_unnamed(self, items: Any, value: Any, path: TreePath) -> bool:
        """Report keys that stand in `[apis]` itself instead of in a table with the name of an API."""
        model = table_of(items)
        if model is None or not isinstance(value, Mapping):
            return False
        key = next((key for key in fields_of(model) if key in value and not isinstance(value[key], Mapping)), None)
        if key is None:
            return False
        name = self._document.table_name
        message = f"`{key}` is a key of {name((*path, 'NAME'))}, not of {name(path)}."
        self._diagnostics.add("KF201", message, path, span=self._diagnostics.positions.of_key((*path, key)))
        return True

    def _fields(self, fields: Mapping[str, FieldInfo], table: Mapping[str, Any], path: TreePath) -> None:
        for key, value in table.items():
            if key in fields:
                self._field(fields[key], value, (*path, key))
            else:
                self._unknown(key, fields, path)

    def _field(self, field: FieldInfo, value: Any, path: TreePath) -> None:
        self.value(field.annotation, value, path)
        if (mark := path_mark(field)) is not None:
            texts = (
                {(*path, index): text for index, text in enumerate(value)} if isinstance(value, list) else {path: value}
            )
            self.paths |= {at: mark for at, text in texts.items() if isinstance(text, str) and mark.covers(text)}

    def _artifact(self, table: Mapping[str, Any], path: TreePath) -> None:
        """Walk an artifact's table, which holds its own keys and the options of its type."""
        fields = {key: info for key, info in fields_of(ArtifactTable).items() if key != "plugin"}
        if _is_reference(table.get("type")):
            self._fields(fields | dict.fromkeys({*table} - {*fields}, _ANYTHING), table, path)
            return
        if "type" in table:
            options = self._options(ARTIFACTS, table, path)
            self._fields(
                fields | options if options is not None else dict.fromkeys(table, _ANYTHING) | fields, table, path
            )
            return
        for key, value in table.items():
            if key in fields:
                self._field(fields[key], value, (*path, key))
            elif (advice := advise(key, {*fields, "type"}, path, self._document)).replacement is not None:
                self._report_unknown(key, path, advice.help, advice.replacement)
                self.meant.update([advice.meant] if advice.meant else [])

    def _texts(self, table: Mapping[str, Any], path: TreePath) -> None:
        for key, value in table.items():
            at = (*path, key)
            is_label = path[-1] == "labels"
            if is_label:
                self._label(key, "key", at)
            elif not _VARIABLE.fullmatch(key):
                message = f"{quoted(key)} cannot name an environment variable."
                self._diagnostics.add("KF204", message, at, at="key", help="Use letters, digits and `_`.")
            if not isinstance(value, str):
                self._misfit(str, value, at)
            elif is_label:
                self._label(value, "value", at)
            elif any(ord(character) < 32 for character in value):
                message = f"{quoted(key)} holds a line break or control character."
                self._diagnostics.add("KF204", message, at, at="key", help="A variable is one line of text.")

    def _label(self, text: str, part: str, path: TreePath) -> None:
        try:
            check_label(text, part=part)
        except ValueError as exc:
            self._diagnostics.add("KF204", sentence(str(exc)), path, at="key" if part == "key" else "value")

    # -- plugins

    def _plugin(self, registry: PluginRegistry, value: Any, path: TreePath) -> None:
        if _is_reference(value.get("type") if isinstance(value, Mapping) else value):
            return
        if isinstance(value, str):
            self._load(registry, value, path)
        elif "type" not in value:
            self._without_type(registry, value, path)
        elif (options := self._options(registry, value, path)) is not None:
            self._fields(options, value, path)

    def _without_type(self, registry: PluginRegistry, value: Mapping[str, Any], path: TreePath) -> None:
        other = next((key for key in value if normal(key) in ("name", "adapter", "kind", "format")), None)
        if other is not None:
            self._report_unknown(other, path, f"The {registry.kind} is named by its `type`.", "type")
            return
        message = f"`{path[-1]}` has no `type`, which names the {registry.kind}."
        span = self._diagnostics.positions.of_key(path)
        self._diagnostics.add("KF203", message, (*path, "type"), span=span, help=known_names(registry.names()))

    def _options(
        self, registry: PluginRegistry, table: Mapping[str, Any], path: TreePath
    ) -> dict[str, FieldInfo] | None:
        """Return the options of the plugin that ``type`` names; an artifact's `name` is the key of its table."""
        kind = table["type"]
        if not isinstance(kind, str):
            self._misfit(str, kind, (*path, "type"))
            return None
        if (plugin := self._load(registry, kind, (*path, "type"))) is None:
            return None
        options = {key: info for key, info in fields_of(plugin).items() if key != "name" or registry is not ARTIFACTS}
        return {**options, "type": _ANYTHING}

    def _load(self, registry: PluginRegistry, name: str, path: TreePath) -> type[Plugin] | None:
        try:
            plugin = registry.load(name)
        except PluginNotFoundError:
            names = registry.names()
            advice = self._advice(name, str(path[1])) if registry is ARTIFACTS else None
            near = advice[1] if advice is not None else nearest(name, names, cutoff=0.6)
            help_ = advice[0] if advice is not None else f"Did you mean `{near}`?" if near else known_names(names)
            message = f"There is no {registry.kind} {quoted(name)}."
            self._diagnostics.add("KF205", message, path, help=help_, replacement=f'"{near}"' if near else None)
        except MissingDependencyError as exc:
            self._diagnostics.add("KF206", str(exc), path)
        except Exception as exc:  # noqa: BLE001 - a third party's module may raise anything when it is imported
            message = f"The {registry.kind} {quoted(name)} cannot be loaded: {type(exc).__name__}: {exc}."
            self._diagnostics.add("KF206", message, path)
        else:
            if isinstance(plugin, type) and issubclass(plugin, Plugin):
                return plugin
            message = f"The {registry.kind} {quoted(name)} cannot be used: it is not a plugin of Kappa's."
            self._diagnostics.add("KF206", message, path)
        return None

    def _advice(self, kind: str, artifact: str) -> tuple[str, str | None] | None:
        tables = self._document.tree.get("apis")
        apis = tables.items() if isinstance(tables, Mapping) else ()
        answered = [name for name, api in apis if isinstance(api, Mapping) and api.get("artifact") == artifact]
        return advice_for_type(kind, artifact=artifact, apis=answered)

    # -- messages

    def _unknown(self, key: str, fields: Mapping[str, Any], path: TreePath) -> None:
        advice = advise(key, fields, path, self._document)
        if advice.meant is not None:
            self.meant.add(advice.meant)
        self._report_unknown(key, path, advice.help, advice.replacement)

    def _report_unknown(self, key: str, path: TreePath, help_: str, replacement: str | None) -> None:
        table = self._document.table_name(path) if path else "a kappafile"
        message = f"{quoted(key)} is not a key of {table}."
        self._diagnostics.add("KF201", message, (*path, key), at="key", help=help_, replacement=replacement)

    def _misfit(self, annotation: Any, value: Any, path: TreePath) -> None:
        last = path[-1]
        subject = f"`{last}`" if isinstance(last, str) else f"Item {last + 1} of `{path[-2]}`"
        source = self._document.text_at(self._diagnostics.positions.of_value(path)).strip()
        words = list(_words(annotation))
        if isinstance(value, str) and words:
            message = f"{subject} must be {described(annotation)}, not {quoted(value)}."
            near = nearest(value, words)
            help_, replacement = (f"Did you mean `{near}`?", f'"{near}"') if near else ("", None)
            self._diagnostics.add("KF204", message, path, help=help_, replacement=replacement)
            return
        message = f"{subject} must be {described(annotation)}, not {kind_of(value)}."
        if type(value) is float and str in arms_of(annotation) and source != str(value):
            message = f"{subject} must be text: as a number, {quoted(source)} is {value}."
        if path[:2] == ("env", "variables"):
            message = f"{subject} must be text."  # values may be credentials
        help_, replacement = self._remedy(annotation, value, path, source)
        self._diagnostics.add("KF202", message, path, help=help_, replacement=replacement)

    def _remedy(self, annotation: Any, value: Any, path: TreePath, source: str) -> tuple[str, str | None]:
        """Return what to do about a value of the wrong kind, and what to write instead of ``source``."""
        arms, name = arms_of(annotation), self._document.table_name
        if str in arms and isinstance(value, bool | int | float):
            return "Put it in quotes.", f'"{source}"'
        if bool in arms and isinstance(value, str) and normal(value) in (*_YES, *_NO):
            word = "true" if normal(value) in _YES else "false"
            return f"Write `{word}`, without quotes.", word
        if {int, float} & set(arms) and isinstance(value, str) and re.fullmatch(r"[1-9]\d{0,15}", value):
            return "Write it without quotes.", value
        if len(path) == 1 and path[0] in ("apis", "artifacts"):
            return f"Write {name((*path, 'NAME'))}, once for each.", None
        if len(path) == 2 and path[0] in ("apis", "artifacts"):
            return f"Each one is a table of its own: {name((path[0], 'NAME'))}.", None
        if isinstance(value, Mapping) and table_of(items_of(annotation, [])) is not None:
            form = "a list, each item after a `-`" if self._document.is_yaml else f"{name((*path, 0))}, once for each"
            return f"Write {form}.", None
        items = items_of(annotation, [])
        if items is not None and value is not None and fits(items, value) and "\n" not in source:
            return "Put it in brackets.", f"[{source}]"
        return "", None


def _is_reference(kind: object) -> bool:
    """Return whether a type is a class of the service's own code, which only importing it could ask for its options."""
    return isinstance(kind, str) and re.fullmatch(REFERENCE, kind) is not None


def _words(annotation: Any) -> Iterator[str]:
    """Yield the texts that a `Literal` in an annotation allows."""
    for arm in arms_of(annotation):
        for word in getattr(arm, "__args__", ()):
            if isinstance(word, str):
                yield word
