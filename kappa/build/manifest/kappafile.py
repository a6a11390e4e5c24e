"""Reading a kappafile: from bytes to a tree of values of which every place is known.

TOML, YAML and `[tool.kappa]` give the same tree. Nothing is checked here but what concerns the file as a whole: that it
can be read, and that it is meant for this version of Kappa.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from kappa._version import __version__
from kappa.build import manifest
from kappa.build.manifest.diagnostics import Diagnostics, display_path
from kappa.build.manifest.nearby_models import command_for, find_model, type_of_model
from kappa.build.manifest.other_frameworks import framework_of_file
from kappa.build.manifest.positions import Positions, Span, TextLines, TreePath
from kappa.errors import ConfigurationError, UsageError
from kappa.wording import quoted

__all__ = ["KAPPAFILE_NAMES", "Document", "find_kappafile", "kappafile_at", "kappafiles_in", "read_kappafile"]

KAPPAFILE_NAMES = ("kappafile.toml", "kappafile.yaml", "kappafile.yml")
PYPROJECT = "pyproject.toml"

_MAX_SIZE_BYTES = 1 << 20  # YAML is read at 0.1 MB/s: a larger file is an attack or a mistake
_TOOL_TABLE = re.compile(r"^\s*\[+\s*tool\s*\.\s*kappa\b", re.MULTILINE)
_REQUIRES = re.compile(r"^\s*requires_kappa\s*[=:]\s*(\"[^\"\n]*\"|'[^'\n]*'|[^#\n]*)", re.MULTILINE)
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Document:
    """A kappafile as written."""

    file: Path
    source: TextLines
    tree: Mapping[str, Any]
    positions: Positions
    is_whole: bool
    """Whether all of the text is in the tree; if not, what seems to be missing may be in the rest."""

    @property
    def is_yaml(self) -> bool:
        return self.file.suffix != ".toml"

    def at(self, path: TreePath) -> Any:
        """Return the value at a path; ``None`` if there is none."""
        value: Any = self.tree
        for part in path:
            is_index = isinstance(value, list) and isinstance(part, int) and part < len(value)
            if not (is_index or (isinstance(value, Mapping) and part in value)):
                return None
            value = value[part]
        return value

    def table_at(self, path: TreePath) -> Mapping[str, Any]:
        """Return the table at a path; an empty one if there is none."""
        value = self.at(path)
        return value if isinstance(value, Mapping) else {}

    def text_at(self, span: Span) -> str:
        """Return the source text of a span."""
        start = self.source.start_of(span.line) + span.column - 1
        end = self.source.start_of(span.end_line) + span.end_column - 1
        return self.source.text[start:end]

    def table_name(self, path: TreePath) -> str:
        """Return how the file would write the name of a table."""
        if self.is_yaml:
            return f"`{_dotted(path)}`" if path else "the file"
        names = [str(part) for part in path if not isinstance(part, int)]
        prefix = ["tool", "kappa"] if self.file.name == PYPROJECT else []
        if not (names or prefix):
            return "the file"
        brackets = ("[[", "]]") if path and isinstance(path[-1], int) else ("[", "]")
        return f"`{brackets[0]}{'.'.join([*prefix, *names])}{brackets[1]}`"


def _dotted(path: TreePath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def kappafiles_in(directory: Path) -> list[Path]:
    """Return the kappafiles of ``directory``, of which there should be one."""
    files = [directory / name for name in KAPPAFILE_NAMES if (directory / name).is_file()]
    return [*files, directory / PYPROJECT] if _has_kappa_table(directory / PYPROJECT) else files


def find_kappafile(directory: Path) -> Path:
    """Return the one kappafile of ``directory``; raises `ConfigurationError` for none and for two."""
    files = kappafiles_in(directory)
    if not files:
        names = ", ".join(f"`{name}`" for name in KAPPAFILE_NAMES)
        raise ConfigurationError(
            f"There is no kappafile in `{directory}`: expected one of {names}, or `[tool.kappa]` in `{PYPROJECT}`. "
            f"{_next_step(directory)}"
        )
    if len(files) > 1:
        names = " and ".join(f"`{path.name}`" for path in files)
        raise ConfigurationError(
            f"`{directory}` has more than one kappafile: {names}. Remove all but one, or name the one that is "
            f"meant instead of its folder, e.g. `kappa validate {files[0].name}`."
        )
    return files[0]


def kappafile_at(path: Path) -> Path:
    """Return the kappafile that ``path`` is, or the one of a directory; raises `UsageError` for what is not there."""
    if path.is_dir():
        return find_kappafile(path)
    if not path.exists():
        module, colon, _ = path.name.partition(":")
        is_class = colon and path.with_name(f"{module}.py").is_file()
        hint = " A class is named to `kappa build` alone." if is_class else ""
        raise UsageError(f"There is no kappafile or directory `{display_path(path)}`.{hint}")
    return path


def _next_step(directory: Path) -> str:
    """Say where the kappafile that is meant may be, or what to write into the first one."""
    if (nearby := next(_nearby(directory), None)) is not None:
        return f"There is one at `{nearby}`: go there, or name it."
    model = find_model(directory)
    shown = model.relative_to(directory).as_posix() if model is not None else ""
    if model is not None and (framework := framework_of_file(model)) is not None:
        return (
            f"There is `{shown}`, a model of {framework}, for which there is no artifact type yet; "
            "`kappa explain KF205` shows the lines to write."
        )
    return f"{command_for(shown or 'MODEL_FILE')} writes one for {'the model that is there' if shown else 'a model'}."


def _nearby(directory: Path) -> Iterator[Path]:
    """Yield the kappafiles of the folders around one: those below, and the two above."""
    with suppress(OSError):
        below = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
        for folder in (*below, *directory.parents[:2]):
            yield from (file for name in KAPPAFILE_NAMES if (file := folder / name).is_file())


def _has_kappa_table(pyproject: Path) -> bool:
    try:
        return bool(_TOOL_TABLE.search(pyproject.read_text(encoding="utf-8-sig", errors="replace")))
    except OSError:
        return False


def read_kappafile(file: Path, *, text: str | None = None) -> tuple[Document | None, Diagnostics]:
    """Read a kappafile and its mistakes of syntax; no document if nothing of it can be read.

    With ``text``, that is read in place of the file, which need not be there. A file that requires another version of
    Kappa has that as its only problem, however broken it may look to this one.
    """
    diagnostics = Diagnostics(file, Positions())
    if text is None and (text := _read(file, diagnostics)) is None:
        return None, diagnostics
    source = TextLines(text)
    if (other := _other_syntax(source, is_toml=file.suffix == ".toml")) is not None:
        diagnostics.add("KF102", other, (), span=source.word_at(source.text.index(_statements(source)[0].lstrip())))
        return None, diagnostics
    tree, is_whole = _parse(source, diagnostics)
    if file.name == PYPROJECT:
        tree = _tool_table(tree, diagnostics)
    document = Document(file, source, tree if isinstance(tree, Mapping) else {}, diagnostics.positions, is_whole)
    if (refusal := _version_refusal(document)) is not None:
        return None, refusal
    if not isinstance(tree, Mapping):
        diagnostics.add("KF202", "A kappafile is a table of keys and values.", (), span=Span(1, 1, 1, 2))
        return None, diagnostics
    if not tree and is_whole and not diagnostics.has_errors:
        help_ = f"Begin with `kappafile{': ' if document.is_yaml else ' = '}{_FORMAT}`."
        diagnostics.add("KF203", "The file is empty.", (), span=Span(1, 1, 1, 2), help=help_)
        return None, diagnostics
    return document, diagnostics


def _read(file: Path, diagnostics: Diagnostics) -> str | None:
    start = Span(1, 1, 1, 2)
    if file.suffix not in (".toml", ".yaml", ".yml"):
        diagnostics.add(
            "KF101", "A kappafile ends with `.toml`, `.yaml` or `.yml`.", (), span=start, help=_meant_by(file)
        )
        return None
    try:
        data = file.read_bytes()
    except OSError as exc:
        diagnostics.add("KF101", f"The file cannot be read: {exc.strerror or exc}.", (), span=start)
        return None
    if len(data) > _MAX_SIZE_BYTES:
        message = f"The file has {len(data)} bytes; a kappafile over {_MAX_SIZE_BYTES} bytes is refused."
        diagnostics.add("KF101", message, (), span=start, help="Put data into files of their own.")
        return None
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        before = TextLines(data[: exc.start].decode("utf-8-sig", errors="replace").replace("\r\n", "\n"))
        at = before.span(len(before.text), len(before.text))
        help_ = "Save it as UTF-8."
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            help_ = "It looks like UTF-16, which PowerShell writes: save it as UTF-8."
        span = Span(at.line, at.column, at.line, at.column + 1)
        diagnostics.add("KF101", f"The byte 0x{data[exc.start]:02x} is not UTF-8.", (), span=span, help=help_)
        return None


def _meant_by(file: Path) -> str:
    """Say what to do with a file that was named for a kappafile."""
    if type_of_model(file) is not None:
        return f"This is a model: {command_for(display_path(file))} writes a kappafile for it."
    if (framework := framework_of_file(file)) is not None:
        return f"This is a model of {framework}; `kappa explain KF205` shows what to write for it."
    if file.suffix == ".py":
        return f"Name its class as `{file.stem}:CLASS` to `kappa build`, or its function in a kappafile."
    return ""


def _parse(source: TextLines, diagnostics: Diagnostics) -> tuple[Any, bool]:
    """Parse with the one parser that the file needs (PERF: each takes 20 to 40 ms to import)."""
    if diagnostics.file.suffix == ".toml":
        return manifest.parse_toml(source, diagnostics)
    return manifest.parse_yaml(source, diagnostics)


def _other_syntax(source: TextLines, *, is_toml: bool) -> str | None:
    """Say that a file is written in the syntax of another extension than it has."""
    lines = _statements(source)
    first = lines[0].strip() if lines else ""
    if is_toml and first.startswith("{"):
        return "This is JSON: rename the file to `kappafile.yaml`, since YAML holds all of JSON."
    if is_toml and (first == "---" or _IN_YAML.match(first)) and not any(map(_IN_TOML.match, lines)):
        return "This is YAML: rename the file to `kappafile.yaml`."
    if not is_toml and _IN_TOML.match(first) and not any(map(_IN_YAML.match, lines)):
        return "This is TOML: rename the file to `kappafile.toml`."
    return None


def _statements(source: TextLines) -> list[str]:
    return [line for line in source.lines if line.strip() and not line.lstrip().startswith("#")]


_IN_YAML = re.compile(r"[A-Za-z_][\w-]*\s*:(\s|$)")
_IN_TOML = re.compile(r"\s*(\[\[?\s*[\w.\"' -]+\]\]?\s*(#.*)?$|[\w.\"'-]+\s*=)")


def _tool_table(tree: Any, diagnostics: Diagnostics) -> Any:
    """Return `[tool.kappa]`, with positions and problems counted from there."""
    table = tree.get("tool", {}) if isinstance(tree, Mapping) else {}
    table = table.get("kappa", {}) if isinstance(table, Mapping) else {}
    positions = diagnostics.positions
    for spans in (positions.keys, positions.values):
        below = {path[2:]: span for path, span in spans.items() if path[:2] == ("tool", "kappa")}
        spans.clear()
        spans.update(below)
    diagnostics.keep_below(("tool", "kappa"))
    return table


def _version_refusal(document: Document) -> Diagnostics | None:
    """Return the one problem of a file that needs another version of Kappa, or of another format."""
    diagnostics = Diagnostics(document.file, document.positions)
    path: TreePath = ("requires_kappa",)
    required, span = document.tree.get("requires_kappa"), None
    if required is None and (match := _REQUIRES.search(document.source.text)) and not document.is_whole:
        required, span = match[1].strip().strip("\"'"), document.source.span(match.start(1), match.end(1))
    if isinstance(required, str):
        try:
            is_met = SpecifierSet(required).contains(__version__, prereleases=True)
        except InvalidSpecifier:
            is_met = True  # reported with the other values
        if not is_met:
            message = f"This file requires Kappa {quoted(required)}; this is Kappa {__version__}."
            help_ = "Upgrade Kappa, or change `requires_kappa`."
            diagnostics.add("KF105", message, path, span=span, help=help_)
            return diagnostics
    version = document.tree.get("kappafile")
    if type(version) is int and version > _FORMAT:
        message = f"This file has format {version}; Kappa {__version__} reads format {_FORMAT}."
        diagnostics.add("KF105", message, ("kappafile",), help="Upgrade Kappa.")
        return diagnostics
    return None
