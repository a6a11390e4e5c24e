"""JSON Schemas (draft 2020-12) of the kappafile and of `kappa.yml`, generated from the models and the plugins.

A *family* is what may stand in one place: the input adapters, the output adapters, the artifact types. pydantic knows
a family by its base class alone; its place is filled here with a *choice* among the registered plugins, each with its
own options. A choice is written twice: as ``if``/``then`` by ``type``, so that a validator has one precise complaint
instead of "not valid under any of the given schemas"; and as an ``anyOf`` that nothing fails, from which editors that
pass over ``if`` (taplo) complete and explain.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from kappa.errors import KappaError
from kappa.plugins import ARTIFACTS, INPUT_ADAPTERS, OUTPUT_ADAPTERS, RESOLVERS, PluginRegistry
from kappa.spec.contracts import Plugin, Spec
from kappa.spec.document import Kappafile
from kappa.spec.manifest import BundleManifest
from kappa.spec.service import REFERENCE

__all__ = ["DOCUMENTS", "FAMILIES", "DocumentName", "Family", "json_schema", "schema_text"]

_THIRD_PARTY = r"^[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)+$"
_UNKNOWN = f"{_THIRD_PARTY}|^{REFERENCE.pattern}$"
"""The types that this machine cannot know: of other distributions, and classes of the service's own code."""

Schema = dict[str, Any]
DocumentName = Literal["kappafile", "bundle"]


@dataclass(frozen=True, slots=True)
class Family:
    """One family of plugins: its word, which begins the names of its definitions, and its base class in the models."""

    word: str
    base: str
    registry: PluginRegistry


FAMILIES = (
    Family("input", "InputAdapter", INPUT_ADAPTERS),
    Family("output", "OutputAdapter", OUTPUT_ADAPTERS),
    Family("artifact", "ArtifactPlugin", ARTIFACTS),
)


@dataclass(frozen=True, slots=True)
class _Document:
    model: type[Spec]
    identifier: str
    title: str
    comment: str


DOCUMENTS: Mapping[DocumentName, _Document] = {
    "kappafile": _Document(
        model=Kappafile,
        identifier="https://json.schemastore.org/kappafile.json",
        title="Kappafile",
        comment="For kappafile.toml, kappafile.yaml and kappafile.yml, and for [tool.kappa] in pyproject.toml.",
    ),
    "bundle": _Document(
        model=BundleManifest,
        identifier="https://json.schemastore.org/kappa-bundle.json",
        title="Bundle manifest",
        comment="For the kappa.yml that `kappa build` writes into a bundle.",
    ),
}
"""The documents with a schema."""


def json_schema(document: DocumentName, *, only_built_in: bool = False) -> Schema:
    """Return a document's schema, with the plugins installed here or, to be published, with Kappa's own alone.

    A type with a dot that is not known here is allowed with any options: the machine that builds may have it.
    """
    entry = DOCUMENTS[document]
    schema = _of_model(entry.model)
    definitions: Schema = schema.pop("$defs")
    places: dict[str, Schema] = {}
    for family in FAMILIES:
        definitions.pop(family.base, None)
        plugins = {name: _of_model(plugin) for name, plugin in _plugins(family.registry, only_built_in)}
        for options in plugins.values():
            definitions.update(options.pop("$defs", {}))
        if family.registry is not ARTIFACTS:
            places[family.base] = _adapter_place(family, list(plugins))
        elif "ArtifactTable" in definitions:
            table = definitions.pop("ArtifactTable")
            places["ArtifactTable"] = _artifact_table(family, table, list(plugins))
            plugins = {name: _beside(plugin, table) for name, plugin in plugins.items()}
        else:
            places[family.base] = {"type": "object", "required": ["type"], **_table_by_type(family, list(plugins))}
        definitions |= {_key(family, name): plugin for name, plugin in plugins.items()}
        definitions[_key(family, "types")] = _type_names(plugins)
    definitions["FilesSpec"]["properties"]["resolver"] |= _name_in(RESOLVERS, only_built_in)
    filled = _fill({**schema, "$defs": dict(sorted(definitions.items()))}, places)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": entry.identifier,
        "title": entry.title,
        "$comment": entry.comment,
        **filled,
    }


def schema_text(document: DocumentName, *, only_built_in: bool = False) -> str:
    """Return a document's schema as it is printed and committed."""
    return json.dumps(json_schema(document, only_built_in=only_built_in), indent=2, ensure_ascii=False) + "\n"


def _plugins(registry: PluginRegistry, only_built_in: bool) -> Iterator[tuple[str, type[Plugin]]]:
    for name in sorted(registry.builtins) if only_built_in else registry.names():
        with suppress(KappaError, ImportError):  # what an installed plugin lacks is for `kappa validate` to report
            yield name, registry.load(name)


def _key(family: Family, name: str) -> str:
    return f"{family.word}.{name}"


def _type_names(plugins: Mapping[str, Schema]) -> Schema:
    """Return the schema of the known names, explained one by one for the editors that show it."""
    texts = [plugin.get("description", "") for plugin in plugins.values()]
    return {"enum": list(plugins), "markdownEnumDescriptions": texts, "x-taplo": {"docs": {"enumValues": texts}}}


def _reference(family: Family, name: str) -> Schema:
    return {"$ref": f"#/$defs/{_key(family, name)}"}


def _any_name(family: Family) -> Schema:
    return {"type": "string", "if": {"pattern": _UNKNOWN}, "else": _reference(family, "types")}


def _name_in(registry: PluginRegistry, only_built_in: bool) -> Schema:
    """Return what a place adds that names a plugin without options."""
    names = sorted(registry.builtins) if only_built_in else registry.names()
    return {"if": {"pattern": _THIRD_PARTY}, "else": {"enum": names}}


def _table_by_type(family: Family, names: Sequence[str]) -> Schema:
    """Return the words that let a table's ``type`` decide about the rest of it."""
    return {
        "properties": {"type": _any_name(family)},
        "allOf": [
            {"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": _reference(family, name)}
            for name in names
        ],
    }


def _adapter_place(family: Family, names: Sequence[str]) -> Schema:
    """Return what stands where an adapter is meant: its name, or a table with its options."""
    return {
        "if": {"type": "object"},
        "then": {"required": ["type"], **_table_by_type(family, names)},
        "else": _any_name(family),
        "anyOf": [True, _reference(family, "types"), *(_reference(family, name) for name in names)],
    }


def _artifact_table(family: Family, table: Schema, names: Sequence[str]) -> Schema:
    """Return the schema of ``[artifacts.NAME]``: the type's options stand beside the table's own keys.

    A table without a ``type`` says where the model is of an artifact that the service's class declares.
    """
    keys = {name: schema for name, schema in table["properties"].items() if name != "plugin"}
    by_type = _table_by_type(family, names)
    kind = {**table["properties"]["plugin"], **by_type["properties"]["type"]}
    kind.pop("anyOf", None)
    return {
        **{word: part for word, part in table.items() if word != "additionalProperties"},
        "properties": {"type": kind, **keys},
        "if": {"required": ["type"]},
        "then": {"allOf": by_type["allOf"]},
        "else": {"properties": dict.fromkeys(keys, True), "additionalProperties": False},
        "anyOf": [True, *(_reference(family, name) for name in names)],
    }


def _beside(plugin: Schema, table: Schema) -> Schema:
    """Return a plugin's schema with the keys of the table in which it stands; the table's own key is its name."""
    options = {name: schema for name, schema in plugin["properties"].items() if name not in ("type", "name")}
    keys = {name: schema for name, schema in table["properties"].items() if name != "plugin"}
    required = [name for name in plugin["required"] if name != "name"]
    return {
        **plugin,
        "properties": {"type": plugin["properties"]["type"], **keys, **options},
        "required": [*required, *table["required"]],
    }


def _of_model(model: type[Spec]) -> Schema:
    """Return pydantic's schema of a model in the house's form."""
    schema: Schema = _tidy(model.model_json_schema(by_alias=True))
    if issubclass(model, Plugin):
        schema["properties"]["type"].pop("default", None)
        schema["required"] = ["type", *(name for name in schema.get("required", ()) if name != "type")]
    return _in_order(schema)


_ORDER = (
    "$ref",
    "description",
    "type",
    "const",
    "enum",
    "pattern",
    "default",
    "required",
    "properties",
    "additionalProperties",
    "propertyNames",
    "items",
    "if",
    "then",
    "else",
    "allOf",
    "anyOf",
)
"""How the words of a schema follow each other; the others come after these, by their alphabet."""


def _in_order(schema: Schema) -> Schema:
    rank = {word: index for index, word in enumerate(_ORDER)}
    return dict(sorted(schema.items(), key=lambda item: (rank.get(item[0], len(_ORDER)), item[0])))


def _map_parts(schema: Schema, function: Callable[[Any], Any]) -> Schema:
    """Return a schema with the function applied to each schema directly inside it."""
    result = dict(schema)
    for word, part in schema.items():
        if word in ("$defs", "properties", "patternProperties"):
            result[word] = {name: function(each) for name, each in part.items()}
        elif word in ("allOf", "anyOf", "oneOf", "prefixItems"):
            result[word] = [function(each) for each in part]
        elif word in ("items", "additionalProperties", "propertyNames", "not", "if", "then", "else"):
            result[word] = function(part)
    return result


def _tidy(schema: Any) -> Any:
    """Take out what pydantic adds for machines: titles, defaults that say nothing, alternatives of null.

    Descriptions become Markdown in one line per paragraph; of a class, only the first paragraph is for its users.
    """
    if not isinstance(schema, dict):
        return schema
    result = _map_parts(schema, _tidy)
    result.pop("title", None)
    if result.get("default") in (None, "") or isinstance(result.get("default"), dict | list):
        result.pop("default", None)
    if "anyOf" in result:
        result = _with_null(result)
    if "patternProperties" in result and len(result["patternProperties"]) == 1:
        (pattern, values) = next(iter(result.pop("patternProperties").items()))
        names = {"pattern": pattern, **result.pop("propertyNames", {})}
        result = {**result, "additionalProperties": values, "propertyNames": names}
    if "description" in result:
        text = inspect.cleandoc(result.pop("description")).replace("``", "`")
        paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
        text = paragraphs[0] if "properties" in result else "\n\n".join(paragraphs)
        result["description"] = text
    return _in_order(result)


def _with_null(schema: Schema) -> Schema:
    """Fold an alternative of null, which YAML has for "not given", into the type of the only other alternative."""
    others = [part for part in schema["anyOf"] if part != {"type": "null"}]
    if len(others) != 1 or len(others) == len(schema["anyOf"]) or not isinstance(others[0].get("type"), str):
        return schema
    merged = {**others[0], "type": [others[0]["type"], "null"]}
    if "enum" in merged:
        merged["enum"] = [*merged["enum"], None]
    return {**{word: part for word, part in schema.items() if word != "anyOf"}, **merged}


def _fill(schema: Any, places: Mapping[str, Schema]) -> Any:
    """Put each family's place where its base class is referred to; what is said of the place itself stays."""
    if not isinstance(schema, dict):
        return schema
    base = str(schema.get("$ref", "")).rpartition("/")[2]
    if base not in places:
        return _map_parts(schema, lambda part: _fill(part, places))
    siblings = {word: part for word, part in schema.items() if word != "$ref"}
    return _in_order({**places[base], **siblings})
