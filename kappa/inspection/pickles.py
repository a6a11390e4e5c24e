"""Reading a pickle or a joblib file without loading it: its modules, its class, its versions and columns.

Loading is what imports modules and runs the code that a file chooses. cloudpickle and dill write functions and classes
*by value*: a module that such a function uses is named by a text that `subimport` is called with, and one that it
imports itself only by its code.
"""

from __future__ import annotations

import dis
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import SEEK_END
from pathlib import Path
from typing import Any

from kappa.inspection.arrays import bytes_of
from kappa.inspection.boosters import xgboost_of_bytes
from kappa.inspection.opcodes import PROTOCOL, Name, Object, PickleReader
from kappa.inspection.streams import (
    HEAD_BYTES,
    TruncatedError,
    UnreadableError,
    compression_of,
    open_stream,
    stream_of,
)
from kappa.spec.contracts import ModelNeeds

__all__ = [
    "PICKLE_EXTENSIONS",
    "PickleContents",
    "class_of",
    "contents_of",
    "may_hold_estimator",
    "needs_of_object",
    "needs_of_pickle",
    "read_contents",
    "sniff_pickle",
]

PICKLE_EXTENSIONS = frozenset({".joblib", ".pickle", ".pkl", ".sav"})
"""The usual extensions of pickles and of joblib's files."""
_MODULE = re.compile(r"[A-Za-z_]\w*(\.\w+)*")
_NOTEBOOK = re.compile(r"ipykernel_\d+|<ipython-input-|\.ipynb")
_SKLEARN_VERSION = "_sklearn_version"
_BOOSTER = Name("xgboost.core", "Booster")
_SNIFFED_BYTES = 4096


@dataclass(frozen=True, slots=True)
class PickleContents:
    """The contents of one pickle."""

    root: Any = None
    """Its value, made of stand-ins."""
    names: tuple[Name, ...] = ()
    needs: ModelNeeds = field(default_factory=ModelNeeds)
    notebooks: tuple[str, ...] = ()
    """Files of notebooks' cells whose functions it holds by value."""
    oddities: tuple[str, ...] = ()
    size_bytes: int = 0
    """Its length, for one in memory that was read to its end."""
    compression: str = ""
    problem: str = ""
    """Why it was not read to its end."""
    is_truncated: bool = False


def needs_of_pickle(path: Path) -> ModelNeeds:
    """Return what a pickle or a joblib file names, as far as it can be read."""
    try:
        return contents_of(path).needs
    except OSError:
        return ModelNeeds()


def needs_of_object(value: Any, *, dumps: Callable[..., bytes] = pickle.dumps) -> ModelNeeds:
    """Return what a pickle of ``value`` would name; nothing for what cannot be pickled. Large arrays are not copied."""
    try:
        data = dumps(value, protocol=5, buffer_callback=lambda _: None)
    except Exception:  # noqa: BLE001 - of others' classes
        return ModelNeeds()
    return read_contents(data).needs


def may_hold_estimator(path: Path) -> bool:
    """Return whether a pickle seems to hold an estimator of scikit-learn: joblib's files nearly always do."""
    modules = needs_of_pickle(path).modules
    return path.suffix.lower() == ".joblib" or any(module.partition(".")[0] == "sklearn" for module in modules)


def sniff_pickle(path: Path) -> str | None:
    """Return why a file cannot be a pickle or a joblib file, by its first bytes."""
    with path.open("rb") as file:
        signature = file.read(HEAD_BYTES)
        file.seek(-1 if signature else 0, SEEK_END)
        is_ended = file.read() == pickle.STOP
    if not signature:
        return "it is empty"
    compression = compression_of(signature)
    if compression == "lz4":
        return None  # which Python cannot unpack by itself
    head = b""
    with suppress(UnreadableError), open_stream(path) as stream:
        head = stream.read_at_most(_SNIFFED_BYTES)
    if PROTOCOL.match(head) or (head and (is_ended or compression) and _begins_as_old_pickle(head)):
        return None
    return "it does not begin as a pickle or a joblib file does"


def _begins_as_old_pickle(head: bytes) -> bool:
    """Return whether bytes begin a pickle of protocol 0 or 1: those have no signature, so the opcodes must make sense.

    They do if they build a value, name a class, or go on after the bytes that are looked at.
    """
    reader, stream = PickleReader(), stream_of(head)
    try:
        reader.read(stream)
    except TruncatedError:
        makes_sense = len(head) == _SNIFFED_BYTES
    except UnreadableError:
        makes_sense = False
    else:
        makes_sense = not stream.rest_bytes
    first = next(iter(reader.names), None)
    return makes_sense if first is None else all(_MODULE.fullmatch(part) for part in first.key)


def contents_of(path: Path) -> PickleContents:
    """Return what a file says; one that has not changed is read once. Raises `OSError`."""
    status = path.stat()
    return _contents_of(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=16)
def _contents_of(path: Path, mtime_ns: int, size_bytes: int) -> PickleContents:  # noqa: ARG001
    with path.open("rb") as file:
        compression = compression_of(file.read(HEAD_BYTES))
    reading = _Reading()
    if compression:
        reading.modules |= {"joblib", "lz4"} if compression == "lz4" else {"joblib"}
    with reading.noting_problems(), open_stream(path) as stream:
        reading.root = reading.reader.read(stream)
    return reading.contents(compression)


def read_contents(data: bytes) -> PickleContents:
    """Return what a pickle in memory says."""
    reading, stream = _Reading(), stream_of(data)
    with reading.noting_problems():
        reading.root = reading.reader.read(stream)
    return replace(reading.contents(), size_bytes=len(data) - (stream.rest_bytes or 0))


class _Reading:
    """Collects what a pickle says while it is read; what was read until a problem counts."""

    def __init__(self) -> None:
        self.reader = PickleReader(on_state=self._note_versions)
        self.root: Any = None
        self.modules: set[str] = set()
        self.versions: dict[str, str] = {}
        self.problem = ""
        self.is_truncated = False

    @contextmanager
    def noting_problems(self) -> Iterator[None]:
        try:
            yield
        except UnreadableError as exc:
            self.problem, self.is_truncated = str(exc), isinstance(exc, TruncatedError)

    def _note_versions(self, target: Object) -> None:
        attributes = target.attributes
        version = attributes.get(_SKLEARN_VERSION)
        if isinstance(version, str):
            self.versions.setdefault("scikit-learn", version)
        if target.made_by == _BOOSTER and (facts := xgboost_of_bytes(bytes_of(attributes.get("handle")))):
            self.versions.update(facts["versions"])

    def contents(self, compression: str = "") -> PickleContents:
        reader = self.reader
        modules = self.modules | {name.module for name in reader.names} | reader.imported.keys()
        modules = {module for module in modules if _MODULE.fullmatch(module)}
        later = {module for code in reader.codes for module in _imports_of(code)}
        return PickleContents(
            self.root,
            tuple(reader.names),
            ModelNeeds(
                tuple(sorted(modules)),
                self.versions,
                tuple(sorted(later - modules)),
                tuple(dict.fromkeys(name.name for name in reader.names if name.module == "__main__")),
                class_of(self.root),
            ),
            tuple(dict.fromkeys(filter(None, map(_notebook_of, reader.codes)))),
            tuple(reader.oddities),
            compression=compression,
            problem=self.problem,
            is_truncated=self.is_truncated,
        )


def class_of(value: Any) -> str:
    """Return the class of an object as ``module:Class``; empty if only loading it could tell."""
    if not (isinstance(value, Object) and value.is_instance and isinstance(value.made_by, Name)):
        return ""
    return str(value.made_by) if all(_MODULE.fullmatch(part) for part in value.made_by.key) else ""


def _parts_of(code: tuple[Any, ...]) -> tuple[bytes, tuple[Any, ...]]:
    """Return the bytecode of a code object, and the names that it uses, from the arguments that make it.

    In every version of Python, the first bytes are the bytecode, and constants and names follow it.
    """
    index = next((index for index, part in enumerate(code) if isinstance(part, bytes)), len(code))
    names = code[index + 2] if index + 2 < len(code) else ()
    return (code[index], names) if isinstance(names, tuple) and index < len(code) else (b"", ())


def _imports_of(code: tuple[Any, ...]) -> Iterator[str]:
    """Yield what a code object imports; the bytecode of another Python gives nothing, or names that mean nothing."""
    bytecode, names = _parts_of(code)
    extended = 0
    for opcode, argument in zip(bytecode[::2], bytecode[1::2], strict=False):
        index = extended << 8 | argument
        extended = index if opcode == dis.EXTENDED_ARG else 0
        is_import = opcode == dis.opmap["IMPORT_NAME"] and index < len(names)
        if is_import and isinstance(names[index], str) and names[index]:
            yield names[index]


def _notebook_of(code: tuple[Any, ...]) -> str:
    """Return the file of the notebook's cell that a code object was compiled from; empty for other code."""
    return next((text for text in code if isinstance(text, str) and _NOTEBOOK.search(text)), "")
