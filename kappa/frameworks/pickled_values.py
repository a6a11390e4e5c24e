"""What a pickle would do, told without doing it: its calls are made of stand-ins that import and run nothing.

cloudpickle and dill write functions and classes *by value*: a module that such a function uses is named by a text that
`subimport` is called with, and one that it imports itself only by its code.
"""

from __future__ import annotations

import dis
import pickle
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from types import CodeType
from typing import Any

__all__ = ["imported_by_values"]

_IMPORTERS = frozenset(
    {("cloudpickle.cloudpickle", "subimport"), ("cloudpickle", "subimport"), ("dill._dill", "_import_module")}
)
_CODE_ARGUMENTS = 12
"""Fewer than a code object of any Python has."""


def imported_by_values(data: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """Return the modules that values of a pickle need, and those that their functions import when they are called."""
    reader = _Reader(data)
    with suppress(Exception):  # raw arrays are no opcodes; what was read until then counts
        reader.load()
    inner = [value for value in reader.texts if value[:1] == b"\x80" and b"cloudpickle" in value]
    imports = [imported_by_values(value) for value in inner]
    needed = frozenset(reader.modules).union(*(modules for modules, _ in imports))
    return needed, frozenset(reader.later).union(*(later for _, later in imports))


class _Reader(pickle.Unpickler):
    """Reads a pickle with stand-ins for everything that it names."""

    def __init__(self, data: bytes) -> None:
        super().__init__(BytesIO(data))
        self.modules: set[str] = set()
        self.later: set[str] = set()
        self.texts: list[bytes] = []

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # how protocols before 3 write bytes
            return lambda text, encoding: text.encode("latin-1") if encoding == "latin1" else b""
        if (module, name) in (("__builtin__", "bytes"), ("builtins", "bytes")):
            return lambda *_: b""
        return type(name, (_StandIn,), {"_reader": self, "_importer": (module, name) in _IMPORTERS})

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002 - the signature of unpicklers
        return None

    def called(self, arguments: tuple[Any, ...], *, is_importer: bool) -> None:
        if is_importer:
            self.modules.update(argument for argument in arguments[:1] if isinstance(argument, str))
        self.texts += [argument for argument in arguments if isinstance(argument, bytes)]
        if len(arguments) > _CODE_ARGUMENTS:
            self.later.update(_imports_of(arguments))


class _StandIn:
    """Stands for a class, a function, and whatever they return."""

    _reader: _Reader
    _importer = False

    def __new__(cls, *arguments: Any, **_: Any) -> _StandIn:
        cls._reader.called(arguments, is_importer=cls._importer)
        return object.__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None: ...

    def __call__(self, *arguments: Any, **_: Any) -> _StandIn:
        return type(self)(*arguments)

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...

    def add(self, value: Any) -> None: ...


def _imports_of(arguments: tuple[Any, ...]) -> Iterator[str]:
    """Yield what a code object imports, made of its arguments; nothing if they are those of another Python."""
    try:
        code = CodeType(*arguments)
        names = [
            instruction.argval for instruction in dis.get_instructions(code) if instruction.opname == "IMPORT_NAME"
        ]
    except Exception:  # noqa: BLE001 - whatever is in the file
        return
    yield from (name for name in names if isinstance(name, str) and name)
