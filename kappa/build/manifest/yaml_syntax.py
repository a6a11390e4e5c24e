"""YAML with positions: the core schema of YAML 1.2, and of that only what TOML and JSON have too.

ruamel composes the nodes; this module turns them into values, because a loader would lose the positions and know too
much: tags, merge keys, dates. After a mistake the lines that hold it are blanked and the rest is read again.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from kappa.build.manifest.diagnostics import Diagnostics
from kappa.build.manifest.positions import Span, TextLines, TreePath
from kappa.wording import quoted

__all__ = ["parse_yaml"]

_MAX_MISTAKES = 8
_MAX_VALUES = 20_000  # aliases multiply: a file of a few lines can stand for billions of values
_RECOVERABLE_SIZE = 64 * 1024  # PERF: ruamel reads 0.1 MB/s, and each mistake means reading again

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"(true|True|TRUE)|(false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]{1,4000}")
_OCTAL = re.compile(r"0o[0-7]{1,4000}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,4000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")  # YAML 1.2.2, section 10.3.2

_UNCLOSED_QUOTE = "The text that begins here has no closing quote."
_OPENING_QUOTE = re.compile(r"(?:^|[:,\[{-])[ ]*([\"'])(?=[^\n]*$)", re.MULTILINE)
_MAX_SWALLOWED = 4000  # characters that an unclosed quote may take in before it is looked for in vain

_CORE_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}


def parse_yaml(source: TextLines, diagnostics: Diagnostics) -> tuple[Any, bool]:
    """Return the tree, and whether the whole text is in it; fill ``diagnostics`` and its positions."""
    text, blamed = source.text, set[range]()
    try:
        while True:
            try:
                node = _composed(text)
                break
            except (YAMLError, ValueError) as exc:
                rest = _without_mistake(exc, source, text, blamed, diagnostics)
            if len(diagnostics) >= _MAX_MISTAKES or rest == text or len(text) > _RECOVERABLE_SIZE:
                return {}, False
            text = rest
        is_whole = not diagnostics.has_errors
        builder = _Builder(source, diagnostics)
        tree = builder.value(node, ()) if node is not None else {}
    except RecursionError:
        diagnostics.add("KF102", "The values are nested too deeply.", (), span=Span(1, 1, 1, 2))
        return {}, False
    return ({}, False) if builder.is_endless else (tree, is_whole and builder.is_whole)


def _composed(text: str) -> Node | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an anchor that is used again, which YAML allows
        node: Node | None = YAML(typ="safe", pure=True).compose(text)
        return node


# -- mistakes ----------------------------------------------------------------------------------------------------------


def _without_mistake(exc: Exception, source: TextLines, text: str, blamed: set[range], diagnostics: Diagnostics) -> str:
    """Report a mistake and return the text without the lines that hold it, as many characters long."""
    offset = _offset(exc, source)
    if (opening := _unclosed_quote(text, offset)) is not None:
        diagnostics.add("KF102", _UNCLOSED_QUOTE, (), span=source.span(opening, opening + 1))
        line = source.line_at(opening) - 1
        return _blank(source, text, range(line, line + 1))
    line = source.line_at(offset) - 1
    section = _section(source, line)
    if section in blamed:  # most likely a consequence: nothing of this section can be trusted
        return _blank(source, text, section)
    _report(exc, offset, source, diagnostics)
    if "found another document" in str(getattr(exc, "problem", "")):
        return text[:offset]
    blamed.add(section)
    return _blank(source, text, _block(source, line))


def _offset(exc: Exception, source: TextLines) -> int:
    """Return where to point: at the opening of what is not closed, else at what could not be read."""
    if isinstance(exc, ReaderError):
        return int(exc.position)
    if isinstance(exc, MarkedYAMLError):
        is_opening = (exc.context or "").startswith(("while scanning a", "while parsing a flow"))
        for mark in (exc.context_mark, exc.problem_mark) if is_opening else (exc.problem_mark, exc.context_mark):
            if mark is not None:
                return min(int(mark.index), len(source.text))
    return 0


def _unclosed_quote(text: str, offset: int) -> int | None:
    """Return where a quote opens that only a later line's quote closes, right before the mistake at ``offset``.

    YAML lets quoted text span lines, so a forgotten quote shows where the next text begins instead of ending.
    """
    start = max(0, offset - _MAX_SWALLOWED)
    closing = max(text.rfind('"', start, offset), text.rfind("'", start, offset))
    if closing < 0 or "\n" in text[closing:offset]:
        return None
    for match in _OPENING_QUOTE.finditer(text, start, closing):
        opening = match.start(1)
        if text.find(match[1], opening + 1) == closing and "\n" in text[opening:closing]:
            return opening
    return None


def _section(source: TextLines, line: int) -> range:
    """Return the lines, from 0, of the top-level key that a line belongs to."""
    first = line
    while first > 0 and not re.match(r"[^\s#]", source.lines[first]):
        first -= 1
    return range(first, _end_of_block(source, first))


def _block(source: TextLines, line: int) -> range:
    """Return a line and the deeper lines that follow it."""
    return range(line, _end_of_block(source, line))


def _end_of_block(source: TextLines, first: int) -> int:
    indent = _indent(source.lines[first])
    end = first + 1
    while end < len(source.lines) and (not source.lines[end].strip() or _indent(source.lines[end]) > indent):
        end += 1
    return end


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _blank(source: TextLines, text: str, lines: range) -> str:
    start = source.start_of(lines.start + 1)
    end = source.start_of(lines.stop) + len(source.lines[lines.stop - 1])
    return text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]


def _report(exc: Exception, offset: int, source: TextLines, diagnostics: Diagnostics) -> None:
    span, help_ = source.word_at(offset), ""
    problem = str(getattr(exc, "problem", None) or exc).strip()
    context = str(getattr(exc, "context", None) or "")
    line = source.lines[source.line_at(offset) - 1]
    before = line[: offset - source.start_of(source.line_at(offset))]
    if isinstance(exc, ReaderError):
        message = "A control character cannot stand in YAML."
    elif "found character '\\t'" in problem and not before.strip():
        message, help_ = "A tab cannot indent YAML.", "Indent with blanks."
    elif "that cannot start any token" in problem:
        message = f"A value cannot begin with {quoted(source.text[offset : offset + 1])}."
        help_ = "Put it in quotes."
    elif context.startswith("while scanning a quoted scalar"):
        message = _UNCLOSED_QUOTE
    elif context.startswith("while parsing a flow"):
        kind, sign = ("list", "]") if "sequence" in context else ("table", "}")
        message = f"The {kind} is not closed with `{sign}`, or a comma is missing between two of its values."
    elif problem.startswith("mapping values are not allowed"):
        message = "A key with a value cannot stand here."
        help_ = (
            "Put a text that holds `: ` in quotes."
            if re.search(r":\s.*:\s", line)
            else "Check the indentation, and the blank after the `:` of the line before."
        )
    elif problem.startswith("could not find expected ':'"):
        message, help_ = "Expected `:` after the key.", "A key and its value are written `key: value`."
    elif "undefined alias" in problem:
        message = f"The alias {quoted('*' + problem.split(chr(39))[1])} stands for nothing."
        help_ = "A text that begins with `*` needs quotes."
    elif "but found another document" in problem:
        message = "A kappafile is one YAML document; a second one begins here."
    elif problem.startswith("expected <block end>"):
        message, help_ = "This does not belong to the block above.", "Check the indentation."
    else:
        message = f"This is not YAML: {problem.splitlines()[0] if problem else type(exc).__name__}."
    diagnostics.add("KF102", message, (), span=span, help=help_)


# -- values ------------------------------------------------------------------------------------------------------------


class _Builder:
    """Turns nodes into values and records where they stand."""

    def __init__(self, source: TextLines, diagnostics: Diagnostics) -> None:
        self._source, self._diagnostics = source, diagnostics
        self.is_whole = True
        self.is_endless = False
        self._open: list[int] = []
        self._seen: set[int] = set()
        self._repeated = 0

    def value(self, node: Node, path: TreePath) -> Any:
        if node.start_mark.index < node.end_mark.index or path not in self._diagnostics.positions.keys:
            self._diagnostics.positions.values[path] = self._span(node)
        self._repeated += id(node) in self._seen
        self._seen.add(id(node))
        if self._repeated > _MAX_VALUES or id(node) in self._open:
            if not self.is_endless:
                self.is_endless = True
                problem = "contains itself" if id(node) in self._open else f"stands for more than {_MAX_VALUES} values"
                self._diagnostics.add(
                    "KF104", f"Through its aliases the file {problem}.", (), span=self._span(node), help="Write it out."
                )
            return None
        if self._has_foreign_tag(node, path):
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._open.append(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._mapping(node.value, path) if isinstance(node, MappingNode) else None
        finally:
            self._open.pop()

    def _mapping(self, pairs: Sequence[tuple[Node, Node]], path: TreePath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in pairs:
            if not isinstance(key_node, ScalarNode):
                self._diagnostics.add("KF104", "A key must be text.", path, span=self._span(key_node))
                continue
            key = key_node.value
            at = (*path, key)
            if key == "<<" and key_node.style is None:
                self.is_whole = False
                self._diagnostics.add(
                    "KF104",
                    "Merge keys are not part of YAML 1.2.",
                    path,
                    span=self._span(key_node),
                    help="Write the keys out.",
                )
            elif key in values:
                first = self._diagnostics.label(at, "first given here")
                message = f"{quoted(key)} is given twice."
                self._diagnostics.add("KF103", message, at, span=self._span(key_node), labels=[first])
            else:
                self._diagnostics.positions.keys[at] = self._span(key_node)
                values[key] = self.value(value_node, at)
        return values

    def _has_foreign_tag(self, node: Node, path: TreePath) -> bool:
        tag = str(node.tag)
        if tag in _CORE_TAGS or not self._text(node).startswith("!"):
            return False
        message = f"The tag {quoted(self._text(node).split()[0])} is not part of a kappafile."
        self._diagnostics.add("KF104", message, path, help="Write a plain value.")
        return True

    def _scalar(self, node: ScalarNode, path: TreePath) -> Any:
        text: str = node.value
        if node.style is not None or (str(node.tag).endswith(":str") and self._text(node).startswith("!")):
            return text
        if _NULL.fullmatch(text):
            return None
        if match := _BOOL.fullmatch(text):
            return match[1] is not None
        if _INT.fullmatch(text):
            return int(text)
        if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text) and abs(float(text)) < float("inf"):
            return float(text)
        if _NOT_FINITE.fullmatch(text) or _FLOAT.fullmatch(text):
            message = f"{quoted(text)} is a number that JSON does not have."
            self._diagnostics.add("KF104", message, path, help="Write a number or text.")
        return text

    def _text(self, node: Node) -> str:
        return self._source.text[node.start_mark.index : node.end_mark.index]

    def _span(self, node: Node) -> Span:
        """Return where a node stands; a block ends with its last line that holds anything."""
        start, end = node.start_mark.index, node.end_mark.index
        text = self._source.text[start:end].rstrip()
        return self._source.span(start, start + max(len(text), 1 if start < len(self._source.text) else 0))
