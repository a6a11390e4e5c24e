"""Explanations of a kappafile's keys and of the codes of its problems: for `kappa explain` and for the reference pages.

Everything comes from where it is declared: keys from the JSON Schema, and so from the models' docstrings; codes from
their table; examples from `kappafile.example.toml`. A key is written as a dotted path in which ``NAME`` and ``NUMBER``
stand for what the user chooses (``apis.NAME.route``); the options of a plugin are below its own key
(``input.dataframe.orient``).
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kappa._resources import resource
from kappa.build.manifest.codes import CODES
from kappa.build.manifest.words import nearest, translate
from kappa.errors import UsageError
from kappa.spec.schema import FAMILIES, Family, json_schema

__all__ = [
    "Explanation",
    "Key",
    "Problem",
    "codes_page",
    "explain",
    "keys",
    "keys_page",
    "render_overview",
    "render_text",
]

_CODE = re.compile(r"kf\d+", re.IGNORECASE)
_KINDS = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "`true` or `false`"}
_PLURALS = {"string": "texts", "integer": "whole numbers", "number": "numbers"}
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a kappafile, or one plugin."""

    key: str
    """Its path, e.g. ``apis.NAME.route``."""
    kind: str
    """Its kind, in words."""
    doc: str
    is_required: bool = False
    default: str = ""
    """As TOML writes it; empty if there is none."""
    allowed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The words that it takes, with what each means where that is said."""
    keys: tuple[str, ...] = ()
    """The paths of the keys in it, if it is a table."""
    example: str = ""
    """A piece of a kappafile, in TOML."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of problem."""

    code: str
    title: str
    explanation: str
    wrong: str = ""
    right: str = ""


Explanation = Key | Problem


def explain(name: str) -> Explanation:
    """Return what a key or a code means; raises `UsageError` that names what was probably meant.

    A key may be given with the user's own names in it (``apis.predict.route``), by its last words where only one ends
    so (``route``), or by another tool's word for it (``dependencies``).
    """
    name = name.strip().strip("[]")
    if _CODE.fullmatch(name):
        return _problem(name.upper())
    entries = keys()
    matches = _matching(name, entries) or _ending(name, entries)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"`{name}` is the end of several keys: {', '.join(f'`{key.key}`' for key in matches)}.")
    if (meant := translate(name.rpartition(".")[2], ())) in entries:
        return entries[meant]
    lasts = {key.rpartition(".")[2]: key for key in reversed(entries)}
    near = nearest(name, entries) or lasts.get(nearest(name.rpartition(".")[2], lasts) or "")
    hint = f" Did you mean `{near}`?" if near else " Run `kappa explain` for all of them."
    raise UsageError(f"`{name}` is not a key of a kappafile.{hint}")


def _problem(code: str) -> Problem:
    if code not in CODES:
        near = nearest(code, CODES)
        raise UsageError(f"There is no code `{code}`.{f' Did you mean `{near}`?' if near else ''}")
    entry = CODES[code]
    return Problem(code, entry.title, entry.explanation, entry.wrong, entry.right)


def _matching(name: str, entries: Mapping[str, Key]) -> list[Key]:
    """Return the key of a path in which any word may stand for ``NAME`` and ``NUMBER``, or nothing for ``NUMBER``."""
    if name in entries:
        return [entries[name]]
    words = re.sub(r"\[(\w*|\*)\]", r".\1", name).split(".")
    shapes = [words, [words[0], "NUMBER", *words[1:]]]
    fitting = [
        (sum(part in shape for part in path.split(".")), key)
        for path, key in entries.items()
        for shape in shapes
        if _fits(path.split("."), shape)
    ]
    best = max((literal for literal, _ in fitting), default=0)
    return [key for literal, key in fitting if literal == best]


def _fits(path: Sequence[str], words: Sequence[str]) -> bool:
    return len(path) == len(words) and all(
        part in (word, "NAME", "NUMBER") for part, word in zip(path, words, strict=True)
    )


def _ending(name: str, entries: Mapping[str, Key]) -> list[Key]:
    return [key for path, key in entries.items() if path.endswith(f".{name}")]


# -- the keys, from the schema


def keys() -> dict[str, Key]:
    """Return every key by its path, in the order of the models; then the installed plugins and their options."""
    return _Reader(json_schema("kappafile"), _Examples()).read()


class _Reader:
    """Reads keys out of the kappafile's schema."""

    def __init__(self, schema: Mapping[str, Any], examples: _Examples) -> None:
        self.schema = schema
        self.definitions = schema["$defs"]
        self.examples = examples

    def read(self) -> dict[str, Key]:
        entries = [*self.table("", self.schema)]
        for family in FAMILIES:
            for name in self.definitions[f"{family.word}.types"]["enum"]:
                entries += self.plugin(family, name)
        return {key.key: key for key in entries}

    def plugin(self, family: Family, name: str) -> Iterator[Key]:
        """Yield a plugin and its options; what every artifact's table has beside them is not repeated."""
        path = f"{family.word}.{name}"
        plugin = self.definitions[path]
        options = {
            option: schema
            for option, schema in plugin["properties"].items()
            if option not in ("type", *(("path", "metadata") if family.word == "artifact" else ()))
        }
        yield Key(
            key=path,
            kind=f"an {family.registry.kind}",
            doc=plugin.get("description", ""),
            keys=tuple(f"{path}.{option}" for option in options),
            example=self.examples.plugin(family.word, name),
        )
        for option, schema in options.items():
            example = self.examples.plugin(family.word, name, option)
            is_required = option in plugin.get("required", ())
            yield from self.key(f"{path}.{option}", schema, is_required=is_required, example=example)

    def table(self, path: str, schema: Mapping[str, Any]) -> Iterator[Key]:
        """Yield the keys of a table."""
        required = schema.get("required", ())
        for name, value in schema.get("properties", {}).items():
            below = f"{path}.{name}" if path else name
            yield from self.key(below, value, is_required=name in required, example=self.examples.key(below))

    def key(self, path: str, schema: Mapping[str, Any], *, is_required: bool, example: str) -> Iterator[Key]:
        """Yield a key, and those below it."""
        schema = self.resolved(schema)
        below = list(self.below(path, schema))
        yield Key(
            key=path,
            kind=self.kind(schema),
            doc=schema.get("description", ""),
            is_required=is_required,
            default=_toml(schema["default"]) if "default" in schema else "",
            allowed=self.allowed(schema),
            keys=tuple(key.key for key in below if key.key.count(".") == path.count(".") + 1),
            example=example,
        )
        yield from below

    def below(self, path: str, schema: Mapping[str, Any]) -> Iterator[Key]:
        yield from self.table(path, schema)
        for word, placeholder in (("additionalProperties", "NAME"), ("items", "NUMBER")):
            inner = self.resolved(schema.get(word))
            if "properties" in inner:
                below = f"{path}.{placeholder}"
                yield from self.key(below, inner, is_required=False, example=self.examples.key(below))

    def resolved(self, schema: Any) -> Mapping[str, Any]:
        """Return a schema with what it refers to in it; a table that may be absent is that table."""
        if not isinstance(schema, Mapping):
            return {}
        parts = [part for part in schema.get("anyOf", ()) if part != {"type": "null"}]
        if len(parts) == 1 and "$ref" in parts[0]:
            return {**self.resolved(parts[0]), **{word: part for word, part in schema.items() if word != "anyOf"}}
        if "$ref" not in schema:
            return schema
        target: Mapping[str, Any] = self.definitions[schema["$ref"].removeprefix("#/$defs/")]
        return {**target, **{word: part for word, part in schema.items() if word != "$ref"}}

    def kind(self, schema: Mapping[str, Any]) -> str:
        """Say in words what a schema allows."""
        if "properties" in schema:
            return "a table"
        if "const" in schema:
            return f"`{_toml(schema['const'])}`"
        if "if" in schema and "anyOf" in schema:
            return "a name, or a table with `type`"
        if "anyOf" in schema:
            kinds = [self.kind(part) for part in schema["anyOf"] if part != {"type": "null"}]
            return " or ".join(dict.fromkeys(kinds))
        if "enum" in schema:
            return " or ".join(f"`{_toml(word)}`" for word in schema["enum"] if word is not None)
        kind = schema.get("type", "")
        if kind == "string" and "else" in schema:
            return "a name"
        if isinstance(kind, list):
            kind = next(each for each in kind if each != "null")
        if kind == "array":
            item = self.resolved(schema.get("items"))
            return f"a list of {_PLURALS.get(item.get('type', ''), 'tables' if 'properties' in item else 'values')}"
        if kind == "object":
            return "a table"
        bounds = [f"{words} {schema[bound]}" for bound, words in _BOUNDS.items() if bound in schema]
        return " ".join([_KINDS.get(kind, "any value"), *([" and ".join(bounds)] if bounds else [])])

    def allowed(self, schema: Mapping[str, Any]) -> dict[str, str]:
        branch = schema
        while "else" in branch and "enum" not in branch:
            branch = self.resolved(branch["else"])
        words = [word for word in branch.get("enum", ()) if word is not None]
        texts = branch.get("markdownEnumDescriptions", [""] * len(words))
        return dict(zip(map(str, words), texts, strict=True))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


# -- examples, from the file that has every key


@dataclass(frozen=True, slots=True)
class _Line:
    table: str
    """The header that it stands under, with its brackets."""
    key: str
    text: str


class _Examples:
    """Finds the lines about a key in `kappafile.example.toml`; a key that excludes others stands there in a comment."""

    _HEADER = re.compile(r"(\[+[\w.]+\]+)")
    _KEY = re.compile(r"(?:# )?(\w+) = ")

    def __init__(self) -> None:
        self.lines: list[_Line] = []
        table = ""
        for text in resource("kappafile.example.toml").read_text(encoding="utf-8").splitlines():
            if header := self._HEADER.match(text):
                table = header[1]
            elif key := self._KEY.match(text):
                self.lines.append(_Line(table, key[1], text.removeprefix("# ").partition("  # ")[0].rstrip()))

    def key(self, path: str) -> str:
        """Return an example of a key, or of a whole table."""
        table, _, last = path.rpartition(".")
        for line in self.lines:
            if line.key == last and _is_header_of(line.table, table):
                return "\n".join(filter(None, [line.table, line.text]))
        headers = (line.table for line in self.lines if line.table)
        tables = (path, f"{path}.NAME")
        return self.table(next((each for each in headers if any(_is_header_of(each, table) for table in tables)), ""))

    def table(self, header: str) -> str:
        lines: dict[str, str] = {}
        for line in self.lines:
            if header and line.table == header and line.key not in lines:
                lines[line.key] = line.text
            elif lines:
                break
        return "\n".join([header, *lines.values()]) if lines else ""

    def plugin(self, word: str, name: str, option: str = "") -> str:
        """Return an example of a plugin, or of one of its options."""
        end = f".{word}]"
        for line in self.lines:
            is_here = line.table.startswith("[artifacts.") if word == "artifact" else line.table.endswith(end)
            if is_here and line.text == f'type = "{name}"':
                lines = [each.text for each in self.lines if each.table == line.table and each.key == option]
                if lines or not option:
                    return "\n".join([line.table, line.text, *lines]) if option else self.table(line.table)
        for line in self.lines:
            if not option and line.text == f'{word} = "{name}"':
                return f"{line.table}\n{line.text}"
            if option and line.key == option and line.table.endswith(end):  # what all plugins of a family have
                return f"{line.table}\n{line.text}"
        return ""


def _is_header_of(header: str, path: str) -> bool:
    words = header.strip("[]").split(".")
    return _fits(path.removesuffix(".NUMBER").split("."), words)


# -- pages


def render_text(explanation: Explanation) -> str:
    """Write an explanation for a terminal."""
    if isinstance(explanation, Problem):
        parts = [f"{explanation.code}: {explanation.title}", _wrapped(explanation.explanation)]
        if explanation.wrong:
            parts += ["Wrong:", _indented(explanation.wrong), "Right:", _indented(explanation.right)]
        return "\n\n".join(parts)
    parts = [f"{explanation.key}: {explanation.kind}", _wrapped(explanation.doc)]
    if explanation.is_required:
        parts.append("It is required.")
    elif explanation.default:
        parts.append(f"Default: {explanation.default}")
    if any(explanation.allowed.values()):
        width = max(map(len, explanation.allowed))
        lines = (_wrapped(f"{word:<{width}}  {text}", hang=width + 4) for word, text in explanation.allowed.items())
        parts.append("\n".join(lines))
    if explanation.keys:
        parts.append(_wrapped(_say_keys(explanation)))
    if explanation.example:
        parts += ["Example:", _indented(explanation.example)]
    return "\n\n".join(filter(None, parts))


def _say_keys(entry: Key) -> str:
    """List the keys of a table; of tables in a list, or by names of the user's, those that each of them has."""
    inner = entry.keys[0] if len(entry.keys) == 1 else ""
    words = "Keys: "
    if inner.endswith((".NAME", ".NUMBER")):
        entry = keys()[inner]
        words = "Each of its tables has these keys: "
    return words + ", ".join(key.rpartition(".")[2] for key in entry.keys)


def render_overview() -> str:
    """Write every key with its kind, and every code with its title, one a line."""
    rows = [(key.key, key.kind) for key in keys().values()]
    rows += [(code, entry.title) for code, entry in CODES.items()]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def _wrapped(text: str, *, hang: int = 0) -> str:
    """Break lines at 100 columns; with ``hang``, the first is indented by 2 and the others by that much."""
    return "\n".join(
        textwrap.fill(
            line,
            width=100,
            initial_indent="  " if hang else "",
            subsequent_indent=" " * hang,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.splitlines()
    )


def _indented(text: str) -> str:
    return textwrap.indent(text, "    ")


def keys_page() -> str:
    """Return the body of the reference of keys, in Markdown: a section for each table and for each plugin."""
    by_path = _Reader(json_schema("kappafile", only_built_in=True), _Examples()).read()
    families = {family.word: family for family in FAMILIES}
    tables = [key for key in by_path.values() if key.key.partition(".")[0] not in families and _has_section(key)]
    top = [key for key in by_path.values() if "." not in key.key and not key.keys]
    sections = ["## The top of the file", _key_table(top)]
    for table in tables:
        inner = [by_path[path] for path in table.keys]
        header = f"[[{table.key.removesuffix('.NUMBER')}]]" if table.key.endswith(".NUMBER") else f"[{table.key}]"
        sections += [f"## `{header}`", table.doc, _key_table(inner)]
    for word, family in families.items():
        sections.append(f"## {family.registry.kind.capitalize()}s")
        for name in sorted(family.registry.builtins):
            plugin = by_path[f"{word}.{name}"]
            sections += [
                f"### `{name}`",
                f"`{family.registry.load(name).__name__}` in Python. {plugin.doc}",
                _key_table([by_path[path] for path in plugin.keys]),
            ]
    example = resource("kappafile.example.toml").read_text(encoding="utf-8").partition("\n")[2]
    sections += ["## A file that uses every key", f"```toml\n{example.rstrip()}\n```"]
    return "\n\n".join(filter(None, sections))


def _has_section(key: Key) -> bool:
    return bool(key.keys) and not key.keys[0].endswith((".NAME", ".NUMBER"))


def _key_table(rows: list[Key]) -> str:
    if not rows:
        return ""
    lines = ["| key | type | default | |", "| --- | --- | --- | --- |"]
    for key in rows:
        default = "required" if key.is_required else f"`{key.default}`" if key.default else ""
        cells = (f"`{key.key.rpartition('.')[2]}`", key.kind, default, " ".join(key.doc.split()))
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def codes_page() -> str:
    """Return the body of the reference of codes, in Markdown: a section for each."""
    sections = []
    for code, entry in CODES.items():
        sections += [f"### {code}", f"**{entry.title}.** {entry.explanation}"]
        if entry.wrong:
            sections += [f"Wrong:\n\n```toml\n{entry.wrong}\n```", f"Right:\n\n```toml\n{entry.right}\n```"]
    return "\n\n".join(sections)
