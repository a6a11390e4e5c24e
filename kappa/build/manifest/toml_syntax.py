"""TOML with positions, and with everything that a mistake leaves readable.

Values come from tomli, positions from tree-sitter. After a mistake the statement that holds it is blanked and the rest
read again, so that every mistake of a file is found in one go. A *statement* is a key and its value, or a table header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

import tomli
import tree_sitter
import tree_sitter_toml

from kappa.build.manifest.diagnostics import Diagnostics, Label
from kappa.build.manifest.positions import Positions, Span, TextLines, TreePath
from kappa.wording import quoted

__all__ = ["parse_toml"]

_MAX_MISTAKES = 25
_MAX_STATEMENT_LINES = 400
_HEADER = re.compile(r"\s*\[\[?\s*[\w\"'][^=]*\]")
_TOO_DEEP = "The values are nested too deeply."


def parse_toml(source: TextLines, diagnostics: Diagnostics) -> tuple[dict[str, Any], bool]:
    """Return the tree, and whether the whole text is in it; fill ``diagnostics`` and its positions."""
    text, mistakes, last_blanked = source.text, 0, -1
    while True:
        try:
            tree = tomli.loads(text)
            break
        except tomli.TOMLDecodeError as exc:
            statement = _Statement.around(source, text, exc.pos)
            is_continuation = statement.first == last_blanked + 1 and not _begins_statement(
                source.lines[statement.first]
            )
            if not is_continuation:
                mistakes += 1
                _report(exc, statement, source, text, diagnostics)
            blanked = statement.blank(text)
            last_blanked = statement.last
        except RecursionError:
            diagnostics.add("KF102", _TOO_DEEP, (), span=Span(1, 1, 1, 2))
            return {}, False
        except ValueError as exc:  # a number of thousands of digits
            offset = match.start() if (match := re.search(r"\d{4000}", text)) else 0
            diagnostics.add("KF102", f"A value cannot be read: {exc}.", (), span=source.span(offset, offset + 1))
            return {}, False
        if mistakes >= _MAX_MISTAKES or blanked == text:
            return {}, False
        text = blanked
    try:
        _locate(TextLines(text), diagnostics.positions)
        _refuse_foreign_values(tree, (), diagnostics)
    except RecursionError:
        diagnostics.add("KF102", _TOO_DEEP, (), span=Span(1, 1, 1, 2))
        return {}, False
    return tree, not mistakes


class _Statement:
    """The lines of the text that a mistake makes unreadable, from 0, both included."""

    def __init__(self, source: TextLines, first: int, last: int) -> None:
        self.source, self.first, self.last = source, first, last

    @classmethod
    def around(cls, source: TextLines, text: str, offset: int) -> _Statement:
        """Find where the statement begins: the last line before the mistake up to which everything can be read."""
        at = source.line_at(min(offset, len(text))) - 1
        first = at
        for line in range(at, max(-1, at - _MAX_STATEMENT_LINES), -1):
            try:
                tomli.loads(text[: source.start_of(line + 1)])
            except (ValueError, RecursionError):
                continue
            first = line
            break
        last = at
        before = source.lines[at][: offset - source.start_of(at + 1)]
        if at > first and not before.strip() and _begins_statement(source.lines[at]):
            last = at - 1  # the mistake shows at the next statement, which is not to blame
        if _HEADER.match(source.lines[first]) or source.lines[first].lstrip().startswith("["):
            while last + 1 < len(source.lines) and not source.lines[last + 1].lstrip().startswith("["):
                last += 1  # without its header, these keys belong to no table
        return cls(source, first, last)

    @property
    def start(self) -> int:
        return self.source.start_of(self.first + 1)

    @property
    def text(self) -> str:
        return "\n".join(self.source.lines[self.first : self.last + 1])

    def blank(self, text: str) -> str:
        end = self.start + len(self.text)
        return text[: self.start] + re.sub(r"[^\n]", " ", text[self.start : end]) + text[end:]


def _begins_statement(line: str) -> bool:
    return bool(re.match(r"\s*([\w.-]+|\"[^\"]*\"|'[^']*')\s*[=:]", line) or _HEADER.match(line))


# -- explaining mistakes -----------------------------------------------------------------------------------------------

_DUPLICATES = ("Cannot overwrite", "Cannot declare", "Cannot redefine", "Cannot mutate", "Duplicate inline")


def _report(
    exc: tomli.TOMLDecodeError, statement: _Statement, source: TextLines, text: str, diagnostics: Diagnostics
) -> None:
    if exc.msg.startswith(_DUPLICATES):
        _report_duplicate(statement, source, text, diagnostics)
        return
    line = source.line_at(exc.pos) - 1
    rest = source.lines[line][exc.pos - source.start_of(line + 1) :] if line < len(source.lines) else ""
    word = re.split(r"\s+#|\s*[,\]}]|\s*$", rest, maxsplit=1)[0]
    span, help_, replacement = source.word_at(exc.pos), "", None
    value_at = _value_offset(statement)
    if exc.msg.startswith("Expected '=' after a key") and rest.startswith(":"):
        message, replacement = "TOML joins a key and its value with `=`, not with `:`.", " ="
        span = source.span(exc.pos, exc.pos + 1)
        help_ = _with_equals(source.lines[line], exc.pos - source.start_of(line + 1))
    elif exc.msg.startswith("Expected '=' after a key"):
        message, help_ = (
            "Expected `=` and a value after the key.",
            "A key with blanks or special characters needs quotes.",
        )
    elif exc.msg == "Invalid value" and (not word or line > statement.last):
        message = "A value is missing here."
        if line > statement.last and value_at is not None:
            span = source.word_at(len(statement.text.rstrip()) + statement.start)
    elif exc.msg == "Invalid value":
        span = source.span(exc.pos, exc.pos + len(word))
        if word.lower() in ("true", "false"):
            message, replacement = f"TOML writes {quoted(word)} in lower case.", word.lower()
        elif word.lower() in ("none", "null", "nil", "~"):
            message, help_ = f"TOML has no {quoted(word)}.", "Leave the key out to keep its default."
        elif word.lower() in ("yes", "no", "on", "off"):
            message = f"TOML has no {quoted(word)}."
            replacement = "true" if word.lower() in ("yes", "on") else "false"
            help_ = f"Write `{replacement}`."
        else:
            message, replacement = f"{quoted(word)} is not a value: text needs quotes.", _toml_text(word)
    elif exc.msg == "Unterminated string" or exc.msg.startswith("Illegal character '\\n'"):
        opening = value_at if value_at is not None else exc.pos
        if line == statement.first and (quote := re.search(r"[\"']", source.lines[line])) and value_at is None:
            opening = statement.start + quote.start()
        span, message = source.span(opening, opening + 1), "The text that begins here has no closing quote."
    elif exc.msg in ("Unclosed array", "Unclosed inline table"):
        kind, sign = ("list", "]") if exc.msg == "Unclosed array" else ("inline table", "}")
        message = f"The {kind} is not closed with `{sign}`, or a comma is missing between two of its values."
        if value_at is not None:
            span = source.span(value_at, value_at + 1)
    elif exc.msg.startswith("Expected newline or end of document") and (whole := _bare_text(statement, value_at)):
        message, replacement = f"{quoted(whole)} is not a value: text needs quotes.", _toml_text(whole)
        span = source.span(value_at or 0, (value_at or 0) + len(whole))
    elif exc.msg.startswith("Expected newline or end of document"):
        message, help_ = "Expected the end of the line after the value.", "Text needs quotes; a list needs brackets."
    elif exc.msg == "Invalid statement":
        message = "Expected a key with a value, a table header like `[env]`, or a comment."
    elif exc.msg.startswith(("Unescaped '\\'", "Invalid hex value")):
        message, help_ = (
            "A backslash begins an escape sequence.",
            "Write `\\\\` for a backslash, or put the text in single quotes.",
        )
    elif "at the end of a table declaration" in exc.msg:
        message = f"A table header ends with {'`]]`' if ']]' in exc.msg else '`]`'}."
    else:
        message = f"{exc.msg}."
    if replacement is not None and not help_:
        help_ = f"Write `{replacement}`."
    diagnostics.add("KF102", message, (), span=span, help=help_, replacement=replacement)


def _with_equals(line: str, colon: int) -> str:
    """Return the advice to write a line with `=` for the colon in it; its value in quotes, if it needs them."""
    key, value = line[:colon].strip(), line[colon + 1 :].partition(" #")[0].strip()
    try:
        tomli.loads(f"value = {value}")
    except tomli.TOMLDecodeError:
        if not value or set(value) & set("\"'[]{},"):
            return ""
        value = _toml_text(value)
    return f"Write `{key} = {value}`."


def _value_offset(statement: _Statement) -> int | None:
    """Return where the value of a statement begins, if it has the form ``key = value``."""
    match = re.match(r"\s*([\w.\s-]+|\"[^\"\n]*\"|'[^'\n]*')\s*=[ \t]*(?=\S)", statement.text)
    return statement.start + match.end() if match else None


def _bare_text(statement: _Statement, value_at: int | None) -> str:
    """Return the text after ``=`` if it may lack its quotes."""
    if value_at is None:
        return ""
    rest = statement.text[value_at - statement.start :].split("\n")[0].split(" #")[0].strip()
    return rest if not set(rest) & set("\"'[]{},") else ""


def _toml_text(word: str) -> str:
    return f'"{word}"' if word.isprintable() and not set(word) & set('"\\') else "''"


_FIRST_LINE = 2
"""Of a statement that stands below the header it belongs to."""


def _report_duplicate(statement: _Statement, source: TextLines, text: str, diagnostics: Diagnostics) -> None:
    """Blame the second definition and show the first, both read from the text before the mistake."""
    before = text[: statement.start]
    here, first = Positions(), Positions()
    header = next(
        (line for line in reversed(before.split("\n")) if _HEADER.match(line)),
        "",
    )
    prefix = "" if _HEADER.match(statement.text) else header
    _locate(TextLines(f"{prefix}\n{statement.text}"), here)
    _locate(TextLines(before), first)
    shift = statement.first - 1
    by_depth = sorted((path for path in here.keys if here.keys[path].line > 1), key=len)
    # of a header or a dotted key, all of it before its parts
    candidates = [path for path in reversed(by_depth) if here.keys[path].line == _FIRST_LINE] + by_depth
    path: TreePath = next((path for path in candidates if path in first.keys), by_depth[0] if by_depth else ())
    labels: list[Label] = []
    if path in first.keys:
        labels.append(Label(diagnostics.file, first.keys[path], "first given here"))
    if path:
        span = here.keys[path]
        span = Span(span.line + shift, span.column, span.end_line + shift, span.end_column)
        is_header = not prefix and here.keys[path].line == _FIRST_LINE
        name = f"[{'.'.join(map(str, path))}]" if is_header else str(path[-1])
        message = f"{quoted(name)} is given twice."
    else:
        span, message = source.word_at(statement.start), "A key is given twice."
    diagnostics.add("KF103", message, (), span=span, labels=labels)


# -- positions ---------------------------------------------------------------------------------------------------------


def _locate(source: TextLines, positions: Positions) -> None:
    """Fill the spans of all keys and values; places that tree-sitter cannot read are left out."""
    language = tree_sitter.Language(tree_sitter_toml.language())
    root = tree_sitter.Parser(language).parse(source.text.encode()).root_node
    _Walk(source, positions).document(root)


class _Walk:
    def __init__(self, source: TextLines, positions: Positions) -> None:
        self._source, self._positions = source, positions
        self._counts: dict[TreePath, int] = {}

    def document(self, root: tree_sitter.Node) -> None:
        for node in root.children:
            if node.type == "pair":
                self._pair(node, ())
            elif node.type in ("table", "table_array_element"):
                self._table(node)

    def _table(self, node: tree_sitter.Node) -> None:
        key = next((child for child in node.named_children if child.type.endswith("_key")), None)
        if key is None:
            return
        path = self._keys(key, (), is_header=True)
        header = self._span(key)
        if node.type == "table_array_element":
            index = self._counts[path] = self._counts.get(path, -1) + 1
            path = (*path, index)
            self._positions.keys.setdefault(path, header)
        self._positions.values.setdefault(path, header)
        for child in node.named_children:
            if child.type == "pair":
                self._pair(child, path)

    def _pair(self, node: tree_sitter.Node, prefix: TreePath) -> None:
        if len(node.named_children) < 2:
            return
        path = self._keys(node.named_children[0], prefix)
        self._value(node.named_children[1], path)

    def _value(self, node: tree_sitter.Node, path: TreePath) -> None:
        self._positions.values.setdefault(path, self._span(node))
        if node.type == "array":
            items = [child for child in node.named_children if child.type != "comment"]
            for index, child in enumerate(items):
                self._value(child, (*path, index))
        elif node.type == "inline_table":
            for child in node.named_children:
                if child.type == "pair":
                    self._pair(child, path)

    def _keys(self, node: tree_sitter.Node, prefix: TreePath, *, is_header: bool = False) -> TreePath:
        """Record every part of a possibly dotted key; in headers, parts that are lists of tables mean the last one."""
        path = prefix
        parts = list(self._parts(node))
        for depth, part in enumerate(parts):
            path = (*path, self._key_text(part))
            self._positions.keys.setdefault(path, self._span(part))
            if is_header and path in self._counts and depth + 1 < len(parts):
                path = (*path, self._counts[path])
        return path

    def _parts(self, node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
        if node.type == "dotted_key":
            for child in node.named_children:
                yield from self._parts(child)
        else:
            yield node

    def _key_text(self, node: tree_sitter.Node) -> str:
        text = (node.text or b"").decode()
        if node.type == "quoted_key":
            try:
                return next(iter(tomli.loads(f"{text} = 0")))
            except ValueError:
                return text[1:-1]
        return text

    def _span(self, node: tree_sitter.Node) -> Span:
        return self._source.span_of_bytes(node.start_point, node.end_point)


def _refuse_foreign_values(tree: Any, path: TreePath, diagnostics: Diagnostics) -> None:
    """Report what JSON and YAML do not have: dates, times, infinities and NaN."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            _refuse_foreign_values(value, (*path, key), diagnostics)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            _refuse_foreign_values(value, (*path, index), diagnostics)
    elif isinstance(tree, datetime | date | time):
        diagnostics.add(
            "KF104",
            f"`{path[-1]}` is a date or time, which kappafiles do not have.",
            path,
            help="Write it as text.",
            replacement=f'"{tree.isoformat()}"',
        )
    elif isinstance(tree, float) and not abs(tree) < float("inf"):
        diagnostics.add(
            "KF104", f"`{path[-1]}` is {tree}, which JSON does not have.", path, help="Write a number or text."
        )
